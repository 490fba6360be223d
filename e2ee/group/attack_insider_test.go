package group

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"strings"
	"testing"
	"time"

	"sotto/e2ee/link"
	"sotto/e2ee/mls"
)

// forge makes a member commit what its own rules would not let it commit. The
// outcome of the commit is dropped: the offender goes out of step with itself.
func (c *client) forge(proposals []mls.Proposal, change func(h *link.Header, message []byte) []byte) {
	c.w.t.Helper()
	group := c.g.cur.group
	if c.shadow != nil {
		group = c.shadow
	}
	signing, err := group.Commit(mls.CommitOptions{Proposals: proposals})
	if err != nil {
		c.w.t.Fatalf("forge: %v", err)
	}
	committed := must(signing.Sign(c.identity))
	h := link.Header{Type: link.TypeCommit, Gen: c.g.gen, Group: c.g.at.Group, Slot: c.g.at.Slot, Epoch: c.g.cur.number}
	message := committed.Message
	if change != nil {
		message = change(&h, message)
	}
	c.post(must(c.g.sealer.Seal(h, message)))
}

// stranger makes a key package that is not posted.
func (w *world) stranger(change func(m *mls.Member)) (*mls.KeyPackage, ed25519.PrivateKey, *mls.Invitation) {
	public, key, _ := ed25519.GenerateKey(nil)
	at := uint64(w.now.Unix())
	m := mls.Member{
		Suite: suite, SignatureKey: public,
		Credential:   mls.BasicCredential(Credential{Name: "stranger", Conn: link.NewConnID()}.Append(nil)),
		Capabilities: mls.DefaultCapabilities(suite, extensionPolicy),
		Lifetime:     mls.Lifetime{NotBefore: at - 10, NotAfter: at + 100},
	}
	if change != nil {
		change(&m)
	}
	inv := must(must(mls.NewInvitation(m)).Sign(key))
	return inv.KeyPackage, key, inv
}

// TestAttack24_unacceptableCommits: an insider commits what the rules forbid.
// Everybody skips it, names the offender and stays; the group goes on. That a
// Remove without a path, an external init and a tree of ten thousand leaves are
// refused is tested in package mls, which does not let them through to here.
func TestAttack24_unacceptableCommits(t *testing.T) {
	add := func(change func(m *mls.Member)) func(w *world, by *client) []mls.Proposal {
		return func(w *world, by *client) []mls.Proposal {
			kp, _, _ := w.stranger(change)
			return []mls.Proposal{&mls.Add{KeyPackage: kp}, mls.NewExternalPSK(w.keys.PSKID(0))}
		}
	}
	credential := func(c Credential) func(m *mls.Member) {
		return func(m *mls.Member) { m.Credential = mls.BasicCredential(c.Append(nil)) }
	}
	// A member who is to be removed cannot know whether the others agree that it
	// is gone: it asks to be added again, and is at once.
	removes := func(victim int) func(w *world, by *client) []mls.Proposal {
		return func(w *world, by *client) []mls.Proposal {
			w.clients[victim].unsure = true
			return []mls.Proposal{&mls.Remove{Leaf: mls.LeafIndex(w.clients[victim].leaf())}}
		}
	}
	cases := []struct {
		name      string
		proposals func(w *world, by *client) []mls.Proposal
	}{
		{"add without PSK", func(w *world, _ *client) []mls.Proposal {
			kp, _, _ := w.stranger(nil)
			return []mls.Proposal{&mls.Add{KeyPackage: kp}}
		}},
		{"PSK without add", func(w *world, _ *client) []mls.Proposal {
			return []mls.Proposal{mls.NewExternalPSK(w.keys.PSKID(0))}
		}},
		{"PSK twice", func(w *world, _ *client) []mls.Proposal {
			kp, _, _ := w.stranger(nil)
			return []mls.Proposal{&mls.Add{KeyPackage: kp}, mls.NewExternalPSK(w.keys.PSKID(0)), mls.NewExternalPSK(w.keys.PSKID(0))}
		}},
		{"PSK of another generation", func(w *world, _ *client) []mls.Proposal {
			kp, _, _ := w.stranger(nil)
			return []mls.Proposal{&mls.Add{KeyPackage: kp}, mls.NewExternalPSK(w.keys.PSKID(1))}
		}},
		{"removes a member who is there", removes(2)},
		{"removes the host", removes(0)},
		{"changes the policy", func(w *world, by *client) []mls.Proposal {
			return []mls.Proposal{&mls.GroupContextExtensions{Extensions: mls.Extensions{policy{Policy: Policy{Locked: true}}.extension()}}}
		}},
		{"rotates the link", func(w *world, by *client) []mls.Proposal {
			return []mls.Proposal{&mls.GroupContextExtensions{Extensions: mls.Extensions{policy{gen: 1}.extension()}}}
		}},
		{"takes the policy away", func(w *world, by *client) []mls.Proposal {
			return []mls.Proposal{&mls.GroupContextExtensions{}}
		}},
		{"lifetime of a month", add(func(m *mls.Member) { m.Lifetime.NotAfter += 30 * 24 * 3600 })},
		{"connection of another member", func(w *world, by *client) []mls.Proposal {
			return add(credential(Credential{Conn: w.clients[2].conn}))(w, by)
		}},
		{"connection zero", add(credential(Credential{}))},
		{"claims to be host", add(credential(Credential{Conn: link.ConnID{1}, Role: RoleHost}))},
		{"unknown role", add(credential(Credential{Conn: link.ConnID{1}, Role: 2}))},
		{"name that turns text around", add(credential(Credential{Conn: link.ConnID{1}, Name: "a\u202eb"}))},
		{"name too long", add(credential(Credential{Conn: link.ConnID{1}, Name: strings.Repeat("x", 65)}))},
		{"credential of 60 kB", add(func(m *mls.Member) { m.Credential = mls.BasicCredential(make([]byte, 60<<10)) })},
		{"empty credential", add(func(m *mls.Member) {
			m.Credential = mls.Credential{Type: mls.CredentialBasic}
		})},
		{"leaf extension", add(func(m *mls.Member) {
			m.Extensions = mls.Extensions{{Type: 0xF0F0, Data: []byte{1}}}
			m.Capabilities.Extensions = append(m.Capabilities.Extensions, 0xF0F0)
		})},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 24)
			honest := w.room(3)
			evil := w.add("evil", nil)
			evil.greedy = true
			evil.connect()
			w.settle(2*time.Second, append(slices.Clone(honest), evil)...)
			epoch, slot := honest[0].g.Epoch(), w.service.slot
			evil.forge(c.proposals(w, evil), nil)
			w.run(brief)
			w.expectRefused(honest, evil, epoch, slot+1)
			for _, c := range honest {
				if slices.Contains(c.notices, NoticeRemoved) {
					t.Errorf("%s was told that it is out", c.name)
				}
			}
		})
	}
}

// brief is enough for a commit to arrive, and for none that answers it.
const brief = 90 * time.Millisecond

// expectRefused checks that the honest stayed in their epoch, count the slot,
// named the offender, and go on.
func (w *world) expectRefused(honest []*client, offender *client, epoch, slot uint64) {
	w.t.Helper()
	for _, c := range honest {
		if c.unsure {
			continue
		}
		if c.g.Epoch() != epoch || c.g.at.Slot != slot || c.g.State() != StateMember {
			w.t.Errorf("%s: epoch %d, slot %d, state %d", c.name, c.g.Epoch(), c.g.at.Slot, c.g.State())
		}
		if !slices.Equal(c.named, []link.ConnID{offender.conn}) {
			w.t.Errorf("%s named %v", c.name, c.named)
		}
	}
	late := w.join("late")
	w.until(3*time.Second, "the group goes on", func() bool { return late.g.State() == StateMember })
	w.run(time.Second)
	for _, c := range honest {
		if c.g.State() != StateMember || !bytes.Equal(c.g.Authenticator(), late.g.Authenticator()) {
			w.t.Errorf("%s: state %d, another epoch", c.name, c.g.State())
		}
	}
}

// TestAttack41_garbageCommit: a commit that is none uses up its slot, nothing
// else; the offender is named. Who is not a member does not get past the
// service.
func TestAttack41_garbageCommit(t *testing.T) {
	cases := map[string]func(h *link.Header, m []byte) []byte{
		"garbage":               func(_ *link.Header, m []byte) []byte { return []byte("garbage") },
		"empty":                 func(_ *link.Header, m []byte) []byte { return nil },
		"bit turned":            func(_ *link.Header, m []byte) []byte { m[len(m)/2] ^= 1; return m },
		"header contradicts it": func(h *link.Header, m []byte) []byte { m[7+48+7]++; return m },
		"other generation":      func(h *link.Header, m []byte) []byte { h.Gen = 7; return m },
		"truncated":             func(_ *link.Header, m []byte) []byte { return m[:len(m)-1] },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 41)
			all := w.room(4)
			epoch, slot := all[0].g.Epoch(), w.service.slot
			all[1].forge(nil, change)
			w.run(brief)
			w.expectRefused([]*client{all[0], all[2], all[3]}, all[1], epoch, slot+1)
		})
	}
	w := newWorld(t, 41)
	all := w.room(2)
	outsider := w.join("outsider")
	outsider.mute = func(h link.Header) bool { return h.Type == link.TypeKeyPackage }
	w.run(time.Second)
	before := w.service.slot
	h := link.Header{Type: link.TypeCommit, Group: outsider.g.at.Group, Slot: before, Epoch: all[0].g.Epoch()}
	outsider.post(must(outsider.g.sealer.Seal(h, []byte("garbage"))))
	w.run(time.Second)
	if w.service.slot != before {
		t.Error("a commit of somebody outside was accepted")
	}
	w.settle(0, all...)
}

// A member who cries wolf, with commits of an epoch that nobody is in and some
// that are none, costs the others a moment of doubt. They do not all leave: the
// group, and with it its host, stays.
func TestAttack41_commitOfLaterEpoch(t *testing.T) {
	for _, also := range []bool{false, true} {
		w := newWorld(t, 41)
		all := w.room(5)
		group := w.service.gi
		later := func(h *link.Header, m []byte) []byte { h.Epoch += 7; return m }
		all[1].forge(nil, later)
		if also {
			for i, change := range []func(h *link.Header, m []byte) []byte{
				later, func(_ *link.Header, m []byte) []byte { return m[:9] },
			} {
				w.at(time.Duration(60*(i+1))*time.Millisecond, func() { all[1].forge(nil, change) })
			}
		}
		w.run(200 * time.Millisecond)
		w.settle(5*time.Second, all...)
		w.run(20 * time.Second)
		w.settle(0, all...)
		if w.service.gi != group || !all[0].g.IsHost() {
			t.Error("the group was given up")
		}
	}
}

// TestAttack47_hostRole: the role of the host belongs to the key of the creator.
func TestAttack47_hostRole(t *testing.T) {
	w := newWorld(t, 47)
	all := w.room(3)
	epoch, slot := all[0].g.Epoch(), w.service.slot
	all[1].forge([]mls.Proposal{&mls.Remove{Leaf: mls.LeafIndex(all[2].leaf())}, &mls.GroupContextExtensions{Extensions: mls.Extensions{policy{gen: 1}.extension()}}}, nil)
	w.run(brief)
	w.expectRefused([]*client{all[0], all[2]}, all[1], epoch, slot+1)
	for _, c := range all[:1] {
		for _, p := range c.g.Members() {
			if p.Host != (p.Conn == all[0].conn) {
				t.Errorf("%s is host: %v", p.Name, p.Host)
			}
		}
	}
}

// TestAttack09_ghost: nobody enters without the secret of the link. Without it
// a key package does not open anywhere; with the seal key but not the PSK,
// neither does the commit pass nor the Welcome open.
func TestAttack09_ghost(t *testing.T) {
	w := newWorld(t, 9)
	all := w.room(3)
	// Sealed with another secret, as the service would have to.
	ghost := w.add("ghost", nil, func(c *Config) { c.Link = must(link.Derive(link.NewSecret())) })
	ghost.connect()
	w.run(5 * time.Second)
	if ghost.g.State() != StateWaiting || len(all[0].g.newcomers) != 0 {
		t.Error("a key package without the secret was heard")
	}
	ghost.leave()
	// An accomplice inside seals for it, and leaves the PSK out.
	kp, _, inv := w.stranger(nil)
	epoch, slot := all[0].g.Epoch(), w.service.slot
	all[1].forge([]mls.Proposal{&mls.Add{KeyPackage: kp}}, nil)
	w.run(brief)
	w.expectRefused([]*client{all[0], all[2]}, all[1], epoch, slot+1)
	// With the PSK in the commit the Welcome is of no use to who has it not.
	signing := must(all[0].g.cur.group.Commit(mls.CommitOptions{Proposals: []mls.Proposal{&mls.Add{KeyPackage: kp}, mls.NewExternalPSK(w.keys.PSKID(0))}}))
	committed := must(signing.Sign(all[0].identity))
	other := must(New(Config{Link: must(link.Derive(link.NewSecret())), Conn: link.NewConnID(), Identity: make([]byte, 32)}))
	for _, config := range []mls.Config{{}, other.config()} {
		if _, err := mls.Join(config, inv, committed.Welcome, nil); err == nil {
			t.Error("joined without the PSK")
		}
	}
	if _, err := mls.Join(all[0].g.config(), inv, committed.Welcome, nil); err != nil {
		t.Errorf("with the PSK: %v", err)
	}
}

// TestAttack09_hiddenMember: a member with all it takes adds somebody whom the
// service does not show to the others: they refuse. A member that the service
// shows no more is removed by the first in rank, as one who left.
func TestAttack09_hiddenMember(t *testing.T) {
	w := newWorld(t, 10)
	honest := w.room(3)
	evil := w.add("evil", nil)
	evil.greedy = true
	evil.connect()
	w.settle(2*time.Second, append(slices.Clone(honest), evil)...)
	epoch, slot := honest[0].g.Epoch(), w.service.slot
	kp, _, _ := w.stranger(nil)
	evil.forge([]mls.Proposal{&mls.Add{KeyPackage: kp}, mls.NewExternalPSK(w.keys.PSKID(0))}, nil)
	w.run(brief)
	w.expectRefused(honest, evil, epoch, slot+1)

	w = newWorld(t, 11)
	all := w.room(4)
	for _, c := range all[:3] {
		c.receive(func() { c.do(func(out *Actions) { c.g.PeerLeft(w.now, all[3].conn, out) }) })
	}
	all[3].mute = func(h link.Header) bool { return true }
	w.settle(time.Second, all[:3]...)
}

// TestAttack45_removedWhileAway: who comes back by a Welcome has not followed the
// removal of somebody; that one's frames are dropped all the same.
func TestAttack45_removedWhileAway(t *testing.T) {
	w := newWorld(t, 46)
	all := w.room(4)
	behind, goes := all[1], all[3]
	leaf, last := goes.leaf(), behind.g.Epoch()
	w.service.filter = func(to *client, h link.Header) bool { return to != behind || h.Type != link.TypeCommit }
	behind.mute = func(h link.Header) bool { return h.Type == link.TypeCommit }
	goes.leave()
	w.run(time.Second)
	w.service.filter, behind.mute = nil, nil
	var dropped []LeafEpoch
	behind.hook = func(out *Actions) { dropped = append(dropped, out.Dropped...) }
	late := w.join("late")
	w.settle(6*time.Second, all[0], behind, all[2], late)
	if !slices.Contains(behind.notices, NoticeRejoined) || !slices.Contains(dropped, LeafEpoch{leaf, last}) {
		t.Errorf("notices %d, dropped %v", behind.notices, dropped)
	}
}

// A commit that is given up leaves no keys behind.
func TestGroup_erasesWhatIsGivenUp(t *testing.T) {
	w := newWorld(t, 49)
	all := w.room(2)
	all[0].mute = func(h link.Header) bool { return h.Type == link.TypeCommit }
	all[0].do(func(out *Actions) { all[0].g.commit(w.now, out) })
	made := all[0].g.pending
	all[1].do(func(out *Actions) { all[1].g.commit(w.now, out) })
	w.run(time.Second)
	if all[0].g.pending != nil {
		t.Fatal("not given up")
	}
	if _, err := made.committed.Group.Export("x", nil, 16); err == nil {
		t.Error("its keys are there")
	}
}
