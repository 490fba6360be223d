// Command wasmprobe uses the pure packages of e2ee as a browser's worker does
// and nothing else, so that the size of its WebAssembly build is what they
// cost. The test of package e2ee builds it, compares it with the budget and
// runs it: it prints "ok", or panics.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"time"

	"sotto/e2ee/file"
	"sotto/e2ee/link"
	"sotto/e2ee/mls"
	"sotto/e2ee/safety"
	"sotto/e2ee/sframe"
)

func main() {
	room, err := link.New("https://meet.example")
	must(err)
	exported := group(room)
	envelope(room)
	frame(exported)
	upload()
	println("ok")
}

type psks struct{ secret []byte }

func (p psks) PSK(mls.PSKID) ([]byte, bool) { return p.secret, true }

func member(name string) (ed25519.PrivateKey, mls.Member) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	must(err)
	return key, mls.Member{
		Suite:        mls.X25519AES128SHA256Ed25519,
		SignatureKey: public,
		Credential:   mls.BasicCredential([]byte(name)),
		Capabilities: mls.DefaultCapabilities(mls.X25519AES128SHA256Ed25519),
		Lifetime:     mls.Lifetime{NotAfter: 1 << 40},
	}
}

// group adds a member, lets it speak and update, and returns what both export.
func group(room *link.Link) []byte {
	psk, err := room.Keys.PSK()
	must(err)
	config := mls.Config{PSKs: psks{psk}}
	aliceKey, alice := member("Alice")
	bobKey, bob := member("Bob")
	inviting, err := mls.NewInvitation(bob)
	must(err)
	invitation, err := inviting.Sign(bobKey)
	must(err)
	creating, err := mls.NewGroup(config, alice, []byte("room"))
	must(err)
	a, err := creating.Sign(aliceKey)
	must(err)
	kp, err := mls.ParseKeyPackage(invitation.KeyPackage.Message(), mls.X25519AES128SHA256Ed25519)
	must(err)
	committing, err := a.Commit(mls.CommitOptions{Proposals: []mls.Proposal{&mls.Add{KeyPackage: kp}, mls.NewExternalPSK([]byte("link"))}})
	must(err)
	added, err := committing.Sign(aliceKey)
	must(err)
	joined, err := mls.Join(config, invitation, added.Welcome, nil)
	must(err)
	a, b := added.Group, joined.Group

	sealing, err := b.Seal([]byte("hello"), nil, 0)
	must(err)
	sealed, err := sealing.Sign(bobKey)
	must(err)
	received, err := a.Process(sealed.Message)
	must(err)
	if string(received.Data) != "hello" {
		panic("application message")
	}
	committing, err = b.Commit(mls.CommitOptions{})
	must(err)
	updated, err := committing.Sign(bobKey)
	must(err)
	received, err = a.Process(updated.Message)
	must(err)
	if safety.GroupCode(received.Group.EpochAuthenticator(), a.ID()).Digits() != safety.GroupCode(updated.Group.EpochAuthenticator(), a.ID()).Digits() {
		panic("codes differ")
	}
	one, err := received.Group.Export("SFrame 1.0 Base Key", nil, sframe.BaseKeySize)
	must(err)
	two, err := updated.Group.Export("SFrame 1.0 Base Key", nil, sframe.BaseKeySize)
	must(err)
	if !bytes.Equal(one, two) {
		panic("exported secrets differ")
	}
	return one
}

// envelope sends a message through the service.
func envelope(room *link.Link) {
	from := link.NewConnID()
	sealer, err := room.Keys.Sealer(from)
	must(err)
	opener, err := room.Keys.Opener(from)
	must(err)
	sealed, err := sealer.Seal(link.Header{Type: link.TypeApp}, []byte("hello"))
	must(err)
	if _, message, err := opener.Open(sealed); err != nil || string(message) != "hello" {
		panic("envelope")
	}
}

// frame protects a media frame.
func frame(base []byte) {
	key, err := sframe.DeriveKey(base, sframe.MakeKID(sframe.Camera, 1, 1))
	must(err)
	sealed, err := sframe.NewSender(key).Protect(nil, sframe.VP8, true, []byte("frame"))
	must(err)
	parsed, err := sframe.Parse(sframe.VP8, sealed)
	must(err)
	var order sframe.Order
	plain, err := sframe.NewReceiver(key).Open(nil, time.Now(), &order, 1, parsed)
	if err != nil || string(plain) != "frame" {
		panic("frame")
	}
}

// upload encrypts a file.
func upload() {
	sealer := file.NewSealer(file.NewKey())
	sealed, err := sealer.Seal(nil, []byte("text"), true)
	must(err)
	info, err := sealer.Info()
	must(err)
	opener, err := file.NewOpener(info)
	must(err)
	plain, err := opener.Open(nil, sealed)
	must(err)
	must(opener.Close())
	if string(plain) != "text" {
		panic("file")
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
