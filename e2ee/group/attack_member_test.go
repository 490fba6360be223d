package group

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sotto/e2ee/link"
	"sotto/e2ee/mls"
)

// TestAttack21_removedMember: who was kicked, or has left, has all secrets up to
// then and gets every ciphertext after; it derives no later key.
func TestAttack21_removedMember(t *testing.T) {
	for _, kick := range []bool{false, true} {
		w := newWorld(t, 21)
		all := w.room(3)
		rest := slices.Clone(all)
		victim := w.add("victim", nil)
		victim.greedy = true // it keeps all it gets
		victim.connect()
		all = append(all, victim)
		w.settle(2*time.Second, all...)
		before, last := victim.shadow, victim.g.Epoch()
		if kick {
			all[0].kick(victim)
		} else {
			victim.closed = true
			w.service.left(victim, "leave")
		}
		w.run(time.Second)
		w.settle(2*time.Second, rest...)
		w.run(time.Second)
		for _, c := range rest {
			c.do(func(out *Actions) { must(0, c.g.Send(w.now, 4, []byte("{}"), out)) })
		}
		w.run(time.Second)
		// Everything the others have received since, tried with everything it has.
		links := []*link.Keys{w.keys}
		opened := 0
		for _, data := range all[2].inbox {
			h, _, _ := link.ParseEnvelope(data[8:])
			if h.Epoch < last {
				continue
			}
			for _, keys := range links {
				opener := must(keys.Opener(h.From))
				_, message, err := opener.Open(data[8:])
				if err != nil {
					continue
				}
				received, err := before.Process(message)
				if err == nil && h.Type == link.TypeApp && h.Epoch > last {
					t.Fatal("the removed member reads on")
				}
				if err == nil && received.Kind == mls.KindCommit {
					opened++
					if received.Group != nil {
						t.Fatal("the removed member enters the next epoch")
					}
				}
			}
		}
		if opened == 0 {
			t.Fatal("the test found no commit to try")
		}
		// Its keys are none of those that are in use.
		for _, r := range victim.records {
			if r.base == all[0].keys[all[0].sendWith].Base {
				t.Fatal("the removed member has the key in use")
			}
		}
	}
}

// TestAttack22_joinerReadsNothingEarlier: a new member has no key of an epoch
// before its admission, and cannot open messages of them.
func TestAttack22_joinerReadsNothingEarlier(t *testing.T) {
	w := newWorld(t, 22)
	all := w.room(3)
	for _, c := range all {
		c.do(func(out *Actions) { must(0, c.g.Send(w.now, 4, []byte(`{"text":"secret"}`), out)) })
	}
	w.run(time.Second)
	joiner := w.join("joiner")
	w.settle(2*time.Second, append(slices.Clone(all), joiner)...)
	for _, r := range joiner.records {
		for _, c := range all {
			for _, earlier := range c.records {
				if earlier.name.number < joiner.g.Epoch() && earlier.base == r.base {
					t.Fatal("the joiner has an earlier key")
				}
			}
		}
	}
	tried := 0
	for _, data := range all[0].inbox {
		h, _, _ := link.ParseEnvelope(data[8:])
		if h.Type != link.TypeApp {
			continue
		}
		_, message, err := must(w.keys.Opener(h.From)).Open(data[8:])
		if err != nil {
			t.Fatal(err)
		}
		tried++
		if _, err := joiner.g.cur.group.Process(message); err == nil {
			t.Fatal("the joiner reads an earlier message")
		}
		if err := joiner.g.Envelope(w.now, data, new(Actions)); err == nil {
			t.Fatal("accepted an earlier message")
		}
	}
	if tried == 0 {
		t.Fatal("nothing to try")
	}
}

// TestAttack45_removedLeaf: frames of a removed leaf are dropped at once, also if
// the leaf is given to somebody else.
func TestAttack45_removedLeaf(t *testing.T) {
	w := newWorld(t, 45)
	all := w.room(4)
	victim, leaf, last := all[2], all[2].leaf(), all[0].g.Epoch()
	var seen []LeafEpoch
	all[0].hook = func(out *Actions) { seen = append(seen, out.Dropped...) }
	all[0].kick(victim)
	w.run(time.Second)
	if !slices.Equal(seen, []LeafEpoch{{leaf, last}}) {
		t.Fatalf("dropped %v", seen)
	}
	w.useLink(all[0].links[0])
	next := w.join("next")
	w.settle(2*time.Second, all[0], all[1], all[3], next)
	if next.leaf() != leaf {
		t.Fatalf("leaf %d is not reused", leaf)
	}
	// What the victim could inject is of an epoch in which the leaf is dropped; in
	// later ones the leaf's key is one that it never had.
	for _, k := range all[0].keys {
		if k.Epoch <= last {
			continue
		}
		for _, r := range victim.records {
			if r.base == k.Base {
				t.Error("the victim has a key in which its leaf is accepted")
			}
		}
	}
}

// TestAttack42_maliciousRank: the member who is first in rank does not do its
// work: it sends empty commits, or Welcomes that do not open. Another one admits
// the joiner within two seconds.
func TestAttack42_maliciousRank(t *testing.T) {
	for seed := range uint64(8) {
		w := newWorld(t, seed)
		all := w.room(4)
		w.run(time.Second)
		evil := all[w.rng.IntN(4)]
		// Its own commits are replaced by empty ones, and it makes some more.
		evil.mute = func(h link.Header) bool { return h.Type == link.TypeCommit && !evil.lies }
		joiner := w.join("joiner")
		for i := range 3 {
			w.at(time.Duration(100+450*i)*time.Millisecond, func() {
				evil.lies = true
				evil.forge(nil, nil)
				evil.lies = false
			})
		}
		took := w.until(2*time.Second, "admission", func() bool { return joiner.g.State() == StateMember })
		t.Logf("seed %d: admitted after %v", seed, took)
	}
	// A Welcome that does not open: the joiner asks again, and is added anew.
	w := newWorld(t, 42)
	all := w.room(3)
	w.service.spoil = true
	joiner := w.join("joiner")
	w.run(1 * time.Second)
	w.service.spoil = false
	w.settle(5*time.Second, append(slices.Clone(all), joiner)...)
}

// TestAttack28_maliciousKeyPackages are refused on arrival, and never shown.
func TestAttack28_maliciousKeyPackages(t *testing.T) {
	named := func(name string) func(m *mls.Member, c link.ConnID) {
		return func(m *mls.Member, c link.ConnID) {
			m.Credential = mls.BasicCredential(Credential{Name: name, Conn: c}.Append(nil))
		}
	}
	w := newWorld(t, 28)
	a := w.join("A", func(c *Config) { c.Policy.Knock = true })
	w.settle(time.Second, a)
	cases := []struct {
		name   string
		change func(m *mls.Member, c link.ConnID)
		spoil  func(kp []byte) []byte
		shown  bool
	}{
		{name: "good", change: named("Eve"), shown: true},
		{name: "HTML is a name", change: named("<img src=x>"), shown: true},
		{name: "no name", change: named(""), shown: true},
		{name: "GREASE", change: func(m *mls.Member, c link.ConnID) {
			named("Eve")(m, c)
			m.Capabilities.Extensions = append(m.Capabilities.Extensions, 0x7a7a)
			m.Capabilities.Proposals = append(m.Capabilities.Proposals, 0x3a3a)
			m.Extensions = mls.Extensions{{Type: 0x7a7a, Data: []byte("grease")}}
		}, shown: true},
		{name: "an extension that means something", change: func(m *mls.Member, c link.ConnID) {
			named("Eve")(m, c)
			m.Extensions = mls.Extensions{{Type: mls.ExtensionApplicationID, Data: []byte("id")}}
		}},
		{name: "bidi name", change: named("a\u202eb")},
		{name: "invisible name", change: named("\u200b")},
		{name: "name too long", change: named(strings.Repeat("n", 65))},
		{name: "line break", change: named("a\nb")},
		{name: "not UTF-8", change: named("\xff")},
		{name: "credential of 6 kB", change: func(m *mls.Member, c link.ConnID) { m.Credential.Identity = make([]byte, 6000) }},
		{name: "another connection", change: func(m *mls.Member, c link.ConnID) { named("Eve")(m, link.NewConnID()) }},
		{name: "signature", change: named("Eve"), spoil: func(kp []byte) []byte { kp[len(kp)-1] ^= 1; return kp }},
		{name: "suite", change: named("Eve"), spoil: func(kp []byte) []byte { kp[7] ^= 3; return kp }},
		{name: "version", change: named("Eve"), spoil: func(kp []byte) []byte { kp[5] ^= 3; return kp }},
		{name: "truncated", change: named("Eve"), spoil: func(kp []byte) []byte { return kp[:len(kp)-1] }},
		{name: "init key", change: named("Eve"), spoil: func(kp []byte) []byte { kp[20] ^= 1; return kp }},
		{name: "no support for the policy", change: func(m *mls.Member, c link.ConnID) {
			named("Eve")(m, c)
			m.Capabilities = mls.DefaultCapabilities(suite)
		}},
		{name: "expired", change: func(m *mls.Member, c link.ConnID) {
			named("Eve")(m, c)
			m.Lifetime = mls.Lifetime{NotBefore: 1, NotAfter: 2}
		}},
		{name: "lives for ever", change: func(m *mls.Member, c link.ConnID) { named("Eve")(m, c); m.Lifetime.NotAfter = 1 << 60 }},
	}
	for _, c := range cases {
		e := w.join("")
		e.mute = func(h link.Header) bool { return !e.lies }
		w.run(100 * time.Millisecond)
		_, _, inv := w.stranger(func(m *mls.Member) { c.change(m, e.conn) })
		kp := inv.KeyPackage.Message()
		if c.spoil != nil {
			kp = c.spoil(kp)
		}
		e.lies = true
		e.post(must(e.g.sealer.Seal(link.Header{Type: link.TypeKeyPackage, Group: e.g.at.Group}, kp)))
		w.run(100 * time.Millisecond)
		if shown := len(a.knocks) == 1; shown != c.shown {
			t.Errorf("%s: shown %v", c.name, shown)
		}
		if c.shown && a.knocks[0].Key == [32]byte{} {
			t.Errorf("%s: without its key", c.name)
		}
		e.leave()
		w.run(100 * time.Millisecond)
	}
	if len(a.knocks) != 0 {
		t.Error("who has left is still shown")
	}
}

// TestAttack16_changedKeyPackage: no byte of what a newcomer says of itself can
// be changed, since its signature covers all of it. Only who has the link could
// try.
func TestAttack16_changedKeyPackage(t *testing.T) {
	w := newWorld(t, 16)
	kp, _, _ := w.stranger(nil)
	message := kp.Message()
	for i := range message {
		for _, bit := range []byte{1, 0x80} {
			changed := bytes.Clone(message)
			changed[i] ^= bit
			if _, err := mls.ParseKeyPackage(changed, suite); err == nil {
				t.Fatalf("byte %d of %d may be changed", i, len(message))
			}
		}
	}
}

// TestAttack27_sameName: the keys of two people of one name are shown apart.
func TestAttack27_sameName(t *testing.T) {
	w := newWorld(t, 27)
	a, b, c := w.join("Ada"), w.join("Bob"), w.join("Ada")
	w.settle(2*time.Second, a, b, c)
	keys := map[[32]byte]string{}
	for _, p := range b.g.Members() {
		keys[p.Key] = p.Name
	}
	if len(keys) != 3 {
		t.Errorf("%d keys", len(keys))
	}
	for _, x := range []*client{a, b, c} {
		if keys[[32]byte(x.identity.Public().(ed25519.PublicKey))] != x.name {
			t.Error("the key of " + x.name)
		}
	}
}

// TestAttack36_clockSkew: clocks that are a day off do not matter.
func TestAttack36_clockSkew(t *testing.T) {
	for _, skew := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		w := newWorld(t, 36)
		var all []*client
		for i := range 4 {
			c := w.add(fmt.Sprint("P", i), nil)
			if i%2 == 1 {
				c.skew = skew
			}
			all = append(all, c)
			c.connect()
			w.settle(2*time.Second, all...)
		}
	}
}

// TestGroup_kickMeetsAReload: who reloads at the moment of its removal has
// another connection, and the host means the person.
func TestGroup_kickMeetsAReload(t *testing.T) {
	w := newWorld(t, 7)
	all := w.room(3)
	host, victim := all[0], all[2]
	host.mute = func(h link.Header) bool { return h.Type == link.TypeCommit }
	host.do(func(out *Actions) {
		if err := host.g.Kick(w.now, victim.conn, out); err != nil {
			t.Error(err)
		}
	})
	again := victim.again()
	w.until(3*time.Second, "reload", func() bool {
		return again.g.State() == StateMember && host.g.cur.byConn(again.conn) != nil
	})
	host.mute = nil
	w.until(15*time.Second, "removal", func() bool { return again.g.State() == StateRemoved })
	if !slices.Contains(again.notices, NoticeRemoved) || len(again.links) != 0 {
		t.Errorf("notices %d, %d new links", again.notices, len(again.links))
	}
}

// TestGroup_knockKeepsItsFace: who waits for a person's hand does not turn into
// somebody else under it.
func TestGroup_knockKeepsItsFace(t *testing.T) {
	w := newWorld(t, 8)
	a := w.add("A", nil, func(c *Config) { c.Policy.Knock = true })
	a.connect()
	w.settle(time.Second, a)
	b := w.join("B")
	w.until(2*time.Second, "knock", func() bool { return len(a.knocks) == 1 })
	other, _, _ := w.stranger(func(m *mls.Member) {
		m.Credential = mls.BasicCredential(Credential{Name: "C", Conn: b.conn}.Append(nil))
	})
	h := link.Header{Type: link.TypeKeyPackage, Group: b.g.at.Group}
	b.post(must(b.g.sealer.Seal(h, other.Message())))
	w.run(time.Second)
	if n := a.g.newcomers; len(n) != 1 || n[0].name != "B" || a.knocks[0].Name != "B" {
		t.Errorf("knocks %v", a.knocks)
	}
}
