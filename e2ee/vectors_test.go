// Package e2ee_test checks the formats that two implementations share: the
// files in testdata are written by this test (go test ./e2ee -update) and read
// by it and by the tests of e2ee/js, which must produce the same bytes.
package e2ee_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sotto/e2ee/file"
	"sotto/e2ee/link"
	"sotto/e2ee/safety"
	"sotto/e2ee/sframe"
)

var update = flag.Bool("update", false, "write the files in testdata")

var now = time.Unix(1_800_000_000, 0)

type linkVector struct {
	Secret    string `json:"secret"` // base64url; everything else is hex
	PRK       string `json:"prk"`
	Seed      string `json:"link_sig_seed"`
	Public    string `json:"link_sig_public"`
	RoomID    string `json:"room_id"`
	Seal      string `json:"k_seal"`
	PSK       string `json:"psk"`
	Host      string `json:"host"`
	Nonce     string `json:"nonce"`
	Conn      string `json:"conn_id"`
	Signature string `json:"connect_signature"`
}

type envelopeVector struct {
	Secret    string   `json:"secret"`
	From      string   `json:"from_conn"`
	To        string   `json:"to_conn"`
	Messages  []string `json:"messages"`
	Envelopes []string `json:"envelopes"` // counters 0, 1, 2, …
}

type frameVector struct {
	Base   string `json:"base_key"`
	KID    uint64 `json:"kid"`
	CTR    uint64 `json:"ctr"`
	Codec  string `json:"codec"`
	Key    bool   `json:"key_frame"`
	Frame  string `json:"frame"`
	Sealed string `json:"protected"`
}

// safetyVector is how people compare codes. The list has 256 entries.
type safetyVector struct {
	Emoji  []safety.Emoji `json:"emoji"`
	Group  []groupCode    `json:"group_codes"`
	Person []personCode   `json:"person_codes"`
}

type groupCode struct {
	Authenticator string `json:"epoch_authenticator"`
	GroupID       string `json:"group_id"`
	shownCode
}

type personCode struct {
	Keys         [2]string `json:"signature_keys"`
	Fingerprints [2]string `json:"fingerprints"`
	Tags         [2]string `json:"tags"`
	shownCode
}

type shownCode struct {
	Code   string   `json:"code"`
	Digits string   `json:"digits"`
	Names  []string `json:"names"` // of the emoji
}

// fileVector has the plaintext of pattern(size, first).
type fileVector struct {
	Key    string `json:"key"`
	Size   int    `json:"size"`
	First  byte   `json:"first"`
	Sealed string `json:"sealed,omitempty"` // of files of one chunk and less than that
	Hash   string `json:"sha256"`           // of the ciphertext
}

// pattern is n bytes that differ from each other, beginning with first.
func pattern(n int, first byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)*7
	}
	return b
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var x = hex.EncodeToString

func linkVectors() (all []linkVector) {
	for i := range byte(3) {
		secret := link.Secret(pattern(link.SecretSize, 50*i))
		prk := must(hkdf.Extract(sha256.New, secret[:], []byte("sotto-e2ee/1")))
		expand := func(info string, n int) []byte { return must(hkdf.Expand(sha256.New, prk, info, n)) }
		keys := must(link.Derive(secret))
		conn, nonce := link.ConnID(pattern(16, i+1)), pattern(16+int(i), i+3)
		host := []string{"meet.example", "127.0.0.1:8443", "[::1]:9000"}[i]
		all = append(all, linkVector{
			Secret: secret.Encode(), PRK: x(prk), Seed: x(expand("link-sig", 32)), Public: x(keys.Public()),
			RoomID: keys.RoomID(), Seal: x(expand("seal", 32)), PSK: x(must(keys.PSK())),
			Host: host, Nonce: x(nonce), Conn: x(conn[:]), Signature: x(keys.ConnectSignature(host, nonce, conn)),
		})
	}
	return all
}

func envelopeVectors() (all []envelopeVector) {
	for i, to := range []link.ConnID{{}, link.ConnID(pattern(16, 9))} {
		secret, from := link.Secret(pattern(32, 77)), link.ConnID(pattern(16, byte(i)+20))
		v := envelopeVector{Secret: secret.Encode(), From: x(from[:]), To: x(to[:])}
		sealer := must(must(link.Derive(secret)).Sealer(from))
		for n := range 3 {
			message := pattern(256*n+1, byte(n))
			v.Messages = append(v.Messages, x(message))
			v.Envelopes = append(v.Envelopes, x(must(sealer.Seal(link.Header{Type: link.TypeApp, To: to}, message))))
		}
		all = append(all, v)
	}
	return all
}

var mimes = map[sframe.Codec]string{sframe.Opus: "audio/opus", sframe.VP8: "video/VP8", sframe.VP9: "video/VP9", sframe.AV1: "video/AV1"}

func frameVectors() (all []frameVector) {
	base := pattern(16, 200)
	for _, codec := range []sframe.Codec{sframe.Opus, sframe.VP8, sframe.VP9, sframe.AV1} {
		context := sframe.Camera
		if codec == sframe.Opus {
			context = sframe.ScreenAudio
		}
		kid := sframe.MakeKID(context, 0xfe, 0)
		sender := sframe.NewSender(must(sframe.DeriveKey(base, kid)))
		// Sizes around the steps of leb128, and counters around those of the header.
		for i, size := range []int{1, 2, 105, 106, 107, 108, 109, 110, 160, 300} {
			frame, key := pattern(size, byte(i)), i%2 == 0
			ctr := sender.Next()
			all = append(all, frameVector{x(base), uint64(kid), ctr, mimes[codec], key, x(frame), x(must(sender.Protect(nil, codec, key, frame)))})
		}
		for sender.Next() < 256 {
			must(sender.Protect(nil, codec, false, []byte{0}))
		}
		all = append(all, frameVector{x(base), uint64(kid), 256, mimes[codec], false, x([]byte("frame")), x(must(sender.Protect(nil, codec, false, []byte("frame"))))})
	}
	return all
}

func show(c safety.Code) shownCode {
	v := shownCode{Code: x(c[:]), Digits: c.Digits()}
	for _, e := range c.Emoji() {
		v.Names = append(v.Names, e.Name)
	}
	return v
}

func safetyVectors() (v safetyVector) {
	for i := range 256 {
		e := safety.Code{byte(i)}.Emoji()
		v.Emoji = append(v.Emoji, e[0])
	}
	for i := range byte(3) {
		authenticator, id := pattern(32, i+60), pattern(48, i+61)
		v.Group = append(v.Group, groupCode{x(authenticator), x(id), show(safety.GroupCode(authenticator, id))})
		one, two := pattern(32, i+70), pattern(32, i+71)
		a, b := safety.FingerprintOf(one), safety.FingerprintOf(two)
		v.Person = append(v.Person, personCode{
			[2]string{x(one), x(two)}, [2]string{x(a[:]), x(b[:])}, [2]string{a.Tag(), b.Tag()}, show(safety.PersonCode(a, b)),
		})
	}
	return v
}

func fileVectors() (all []fileVector) {
	for i, size := range []int{0, 1, 300, file.ChunkSize - 1, file.ChunkSize, file.ChunkSize + 1, 3 * file.ChunkSize} {
		v := fileVector{Size: size, First: byte(i) + 80}
		key, plain, sealed := file.Key(pattern(32, byte(i)+90)), pattern(size, v.First), []byte(nil)
		sealer := file.NewSealer(key)
		for last := false; !last; {
			n := min(len(plain), file.ChunkSize)
			last = n == len(plain)
			sealed = must(sealer.Seal(sealed, plain[:n], last))
			plain = plain[n:]
		}
		info := must(sealer.Info())
		v.Key, v.Hash = x(key[:]), x(info.Hash[:])
		if size < 1000 {
			v.Sealed = x(sealed)
		}
		all = append(all, v)
	}
	return all
}

func TestVectors_unchanged(t *testing.T) {
	for name, v := range map[string]any{
		"link.json": linkVectors(), "envelope.json": envelopeVectors(), "frame.json": frameVectors(),
		"safety.json": safetyVectors(), "file.json": fileVectors(),
	} {
		got := append(must(json.MarshalIndent(v, "", "  ")), '\n')
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: a wire format changed", name)
		}
	}
}

// The vectors are not only repeatable, they open.
func TestVectors_open(t *testing.T) {
	for _, v := range linkVectors() {
		public := ed25519.NewKeyFromSeed(must(hex.DecodeString(v.Seed))).Public().(ed25519.PublicKey)
		if x(public) != v.Public {
			t.Errorf("%s: public key", v.RoomID)
		}
		conn, sig, nonce := must(hex.DecodeString(v.Conn)), must(hex.DecodeString(v.Signature)), must(hex.DecodeString(v.Nonce))
		if !link.VerifyConnect(public, v.Host, nonce, link.ConnID(conn), sig) {
			t.Errorf("%s: signature", v.RoomID)
		}
	}
	for _, v := range envelopeVectors() {
		keys := must(link.Derive(must(link.ParseSecret(v.Secret))))
		opener := must(keys.Opener(link.ConnID(must(hex.DecodeString(v.From)))))
		for i, e := range v.Envelopes {
			if _, m, err := opener.Open(must(hex.DecodeString(e))); err != nil || x(m) != v.Messages[i] {
				t.Errorf("envelope %d: %v", i, err)
			}
		}
	}
	for i, v := range frameVectors() {
		codec, _ := sframe.CodecOf(v.Codec)
		receiver := sframe.NewReceiver(must(sframe.DeriveKey(must(hex.DecodeString(v.Base)), sframe.KID(v.KID))))
		f, err := sframe.Parse(codec, must(hex.DecodeString(v.Sealed)))
		if err != nil || f.CTR != v.CTR {
			t.Fatalf("frame %d: %+v, %v", i, f.Header, err)
		}
		var order sframe.Order
		if got, err := receiver.Open(nil, now, &order, 0, f); err != nil || x(got) != v.Frame {
			t.Errorf("frame %d: %v", i, err)
		}
	}
}
