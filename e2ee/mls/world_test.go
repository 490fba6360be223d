package mls

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"testing"
)

// A world is a group as its members see it: every member has a state of its
// own, and all messages pass through its hands.
type world struct {
	t       testing.TB
	suite   CipherSuite
	psks    fixedPSKs
	members []*person
	serial  int
}

// person is one member with its signature key.
type person struct {
	name  string
	key   crypto.Signer
	group *Group
}

// fixedPSKs maps the ids of external PSKs to their secrets; "" is for all
// resumption PSKs.
type fixedPSKs map[string][]byte

func (f fixedPSKs) PSK(id PSKID) ([]byte, bool) {
	secret, ok := f[string(id.ID)]
	return secret, ok
}

const (
	linkPSK          = "link"
	privateExtension = ExtensionType(0xF050) // a private extension that all members support
	grease           = 0x1A1A
)

// newWorld has a group of one member.
func newWorld(t testing.TB) *world { return newWorldOf(t, X25519AES128SHA256Ed25519) }

func newWorldOf(t testing.TB, suite CipherSuite) *world {
	w := &world{t: t, suite: suite, psks: fixedPSKs{linkPSK: bytes.Repeat([]byte{7}, 32), "": {8}}}
	p := w.person()
	g := must(NewGroup(w.config(), w.member(p), []byte("a group")))(t)
	p.group = must(g.Sign(p.key))(t)
	w.members = []*person{p}
	return w
}

// newWorldWith has n members, added by the first in one commit.
func newWorldWith(t testing.TB, n int) *world {
	w := newWorld(t)
	if n > 1 {
		w.join(w.members[0], n-1)
	}
	return w
}

func (w *world) config() Config { return Config{PSKs: w.psks} }

func (w *world) person() *person {
	w.serial++
	p := &person{name: fmt.Sprintf("person %d", w.serial)}
	if w.suite == P256AES128SHA256P256 {
		p.key = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(w.t)
	} else {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			w.t.Fatal(err)
		}
		p.key = key
	}
	return p
}

// member is what p says of itself; it greases its capabilities.
func (w *world) member(p *person) Member {
	capabilities := DefaultCapabilities(w.suite, privateExtension, grease)
	capabilities.Suites = append(capabilities.Suites, grease)
	capabilities.Proposals = append(capabilities.Proposals, grease)
	capabilities.Credentials = append(capabilities.Credentials, grease)
	return Member{
		Suite:        w.suite,
		SignatureKey: must(SignatureKeyOf(w.suite, p.key.Public()))(w.t),
		Credential:   BasicCredential([]byte(p.name)),
		Capabilities: capabilities,
		Extensions:   Extensions{{Type: grease, Data: []byte("grease")}},
		Lifetime:     Lifetime{NotBefore: 1, NotAfter: 1 << 40},
	}
}

func (w *world) invitation(p *person) *Invitation {
	s := must(NewInvitation(w.member(p), Extension{Type: grease}))(w.t)
	return must(s.Sign(p.key))(w.t)
}

// add is the proposal to add whom the invitation is for, by way of the wire.
func (w *world) add(inv *Invitation) *Add {
	return &Add{KeyPackage: must(ParseKeyPackage(inv.KeyPackage.Message(), w.suite))(w.t)}
}

// commit lets p make a commit, which nobody has received yet.
func (w *world) commit(p *person, options CommitOptions) *Committed {
	w.t.Helper()
	return must(must(p.group.Commit(options))(w.t).Sign(p.key))(w.t)
}

// deliver gives a commit to all members; those it removes leave the world. It
// returns them.
func (w *world) deliver(from *person, c *Committed) (removed []*person) {
	w.t.Helper()
	var stay []*person
	for _, p := range w.members {
		if p == from {
			p.group = c.Group
			stay = append(stay, p)
			continue
		}
		r, err := p.group.Process(c.Message)
		if err != nil {
			w.t.Fatalf("%s: %v", p.name, err)
		}
		if r.Group == nil {
			removed = append(removed, p)
			continue
		}
		p.group = r.Group
		stay = append(stay, p)
	}
	w.members = stay
	return removed
}

// join lets p add n new members in one commit, with extra proposals.
func (w *world) join(p *person, n int, extra ...Proposal) {
	w.t.Helper()
	w.joinWith(p, n, CommitOptions{Proposals: extra})
}

func (w *world) joinWith(p *person, n int, options CommitOptions) {
	w.t.Helper()
	var people []*person
	var invitations []*Invitation
	for range n {
		people = append(people, w.person())
		inv := w.invitation(people[len(people)-1])
		invitations = append(invitations, inv)
		options.Proposals = append(options.Proposals, w.add(inv))
	}
	c := w.commit(p, options)
	w.deliver(p, c)
	for i, inv := range invitations {
		joined, err := Join(w.config(), inv, c.Welcome, nil)
		if err != nil {
			w.t.Fatalf("%s: %v", people[i].name, err)
		}
		if joined.Committer != p.group.Own() || joined.Group.Own() != c.Added[i] {
			w.t.Fatalf("joined at %d by %d", joined.Group.Own(), joined.Committer)
		}
		people[i].group = joined.Group
	}
	w.members = append(w.members, people...)
}

// agree fails unless all members are in the same state, and their trees and
// private keys are in order.
func (w *world) agree() {
	w.t.Helper()
	first := w.members[0].group
	exported := exporter(w.t, first)
	for _, p := range w.members {
		g := p.group
		if g.Epoch() != first.Epoch() || !bytes.Equal(g.EpochAuthenticator(), first.EpochAuthenticator()) ||
			!bytes.Equal(exporter(w.t, g), exported) || !bytes.Equal(g.encoded, first.encoded) {
			w.t.Fatalf("%s is in another state", p.name)
		}
		if g.Tree().Members() != len(w.members) {
			w.t.Fatalf("%s sees %d members of %d", p.name, g.Tree().Members(), len(w.members))
		}
		if string(g.Leaf(g.Own()).Credential.Identity) != p.name {
			w.t.Fatalf("%s sits at the leaf of another", p.name)
		}
		checkKeys(w.t, g)
	}
	if err := decodeTree(w.t, marshal(first.tree)).check(w.suite, first.ID()); err != nil {
		w.t.Fatal(err)
	}
}

// checkKeys is the tree invariant of RFC 9420 4.2: a member has the private
// keys of the nodes above its leaf, but not of those where it is unmerged, and
// no others.
func checkKeys(t testing.TB, g *Group) {
	t.Helper()
	n := len(g.keys)
	if err := g.keys.prune(g.tree, g.own); err != nil || len(g.keys) != n {
		t.Fatalf("private keys that are not in the tree: %v", err)
	}
	want := 1
	for _, x := range directPath(g.own, g.tree.size()) {
		p := g.tree.nodes[x].parent
		if p == nil {
			continue
		}
		unmerged := false
		for _, l := range p.unmerged {
			unmerged = unmerged || l == g.own
		}
		if !unmerged {
			want++
		}
	}
	if n != want {
		t.Fatalf("leaf %d has %d private keys, want %d", g.own, n, want)
	}
}

func exporter(t testing.TB, g *Group) []byte {
	t.Helper()
	return must(g.Export("SFrame 1.0 Base Key", nil, 16))(t)
}
