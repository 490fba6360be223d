package mls

import (
	"bytes"
	"testing"
)

// An eavesdropper knows the link's pre-shared key and everything that a member
// once held, hears every message, sees every tree, and tries whatever the key
// schedule allows.
type eavesdropper struct {
	t     testing.TB
	psks  PSKSource
	keys  []*privateKey
	inits [][]byte
}

// learn takes all that a state holds.
func (e *eavesdropper) learn(g *Group) {
	for _, key := range g.keys.clone() {
		e.keys = append(e.keys, key)
	}
	e.inits = append(e.inits, bytes.Clone(g.secrets.init))
}

// follow tries to derive the epoch after a commit, given what is public of the
// states before and after it. What it finds on the way it remembers.
func (e *eavesdropper) follow(before, after *Group, c *Committed) (exporter []byte, ok bool) {
	e.t.Helper()
	var m message
	if err := unmarshal(c.Message, &m); err != nil {
		e.t.Fatal(err)
	}
	body := m.public.content.commit
	commitSecrets := [][]byte{make([]byte, hashSize)}
	if body.path != nil {
		provisional := after.context
		provisional.ConfirmedTranscriptHash = before.context.ConfirmedTranscriptHash
		commitSecrets = append(commitSecrets, e.openPath(body.path, marshal(&provisional))...)
	}
	var ids []PSKID
	for _, p := range body.proposals {
		if psk, ok := p.proposal.(*PreSharedKey); ok {
			ids = append(ids, psk.ID)
		}
	}
	psk := must(gatherPSKs(e.psks, ids))(e.t)
	var joiners [][]byte
	for _, init := range e.inits {
		for _, secret := range commitSecrets {
			joiners = append(joiners, joinerSecret(init, secret, after.encoded))
		}
	}
	joiners = append(joiners, e.openWelcome(c.Welcome)...)
	for _, joiner := range joiners {
		secrets := deriveEpoch(memberSecret(joiner, psk), after.encoded)
		if bytes.Equal(mac(secrets.confirmation, after.context.ConfirmedTranscriptHash), m.public.confirmationTag) {
			e.inits = append(e.inits, secrets.init)
			return secrets.exporter, true
		}
	}
	return nil, false
}

// openPath tries all keys on all ciphertexts and returns every secret that may
// be the commit secret.
func (e *eavesdropper) openPath(path *updatePath, context []byte) (secrets [][]byte) {
	for _, n := range path.nodes {
		for _, sealed := range n.secrets {
			for _, key := range e.keys {
				secret, err := key.decryptWithLabel("UpdatePathNode", context, sealed)
				if err != nil {
					continue
				}
				chain, last := deriveSecrets(secret, maxDepth)
				for _, s := range append(chain, last) {
					secrets = append(secrets, s)
					e.keys = append(e.keys, must(key.suite.nodeKey(s))(e.t))
				}
			}
		}
	}
	return secrets
}

// openWelcome tries all keys on a Welcome, which may be nil.
func (e *eavesdropper) openWelcome(encoded []byte) (joiners [][]byte) {
	if encoded == nil {
		return nil
	}
	var m message
	if err := unmarshal(encoded, &m); err != nil {
		e.t.Fatal(err)
	}
	for _, s := range m.welcome.secrets {
		for _, key := range e.keys {
			plain, err := key.decryptWithLabel("Welcome", m.welcome.groupInfo, s.secrets)
			if err != nil {
				continue
			}
			var secrets groupSecrets
			if err := unmarshal(plain, &secrets); err != nil {
				e.t.Fatal(err)
			}
			joiners = append(joiners, secrets.joiner)
		}
	}
	return joiners
}

// TestGroup_removedMemberIsLockedOut removes a member and lets the group go on
// in all the ways it can, the commits without a path that add members (one of
// them at the victim's leaf) included. An eavesdropper with all that the victim
// ever held derives none of the epochs. To show that it is able to, one with the
// state of a member that stays derives them all.
func TestGroup_removedMemberIsLockedOut(t *testing.T) {
	for _, n := range []int{4, 6} {
		w := newWorldWith(t, n)
		victim, loyal := w.members[n-1], w.members[1]
		outside := &eavesdropper{t: t, psks: w.psks}
		inside := &eavesdropper{t: t, psks: w.psks}
		outside.learn(victim.group)
		for _, p := range w.members { // so that the victim holds keys of every node above it
			w.deliver(p, w.commit(p, CommitOptions{}))
			outside.learn(victim.group)
		}
		inside.learn(loyal.group)

		newcomer := func() Proposal { return w.add(w.invitation(w.person())) }
		psk := func() Proposal { return NewExternalPSK([]byte(linkPSK)) }
		w.psks["second"] = randomBytes(32)
		for i, proposals := range [][]Proposal{
			{&Remove{Leaf: victim.group.Own()}},
			{newcomer(), psk()}, // at the victim's leaf
			{},
			{newcomer(), newcomer(), psk()},
			{&GroupContextExtensions{Extensions{{Type: privateExtension, Data: []byte{1}}}}},
			{psk()},
			{&Remove{Leaf: victim.group.Own()}, newcomer(), psk()},
			{},
		} {
			by := w.members[i%2*2] // not the loyal one, to whom its own path would not be encrypted
			before := by.group
			c := w.commit(by, CommitOptions{Proposals: proposals})
			if _, ok := outside.follow(before, c.Group, c); ok {
				t.Fatalf("%d members: the removed member derives the epoch after commit %d", n, i)
			}
			if got, ok := inside.follow(before, c.Group, c); !ok || !bytes.Equal(got, c.Group.secrets.exporter) {
				t.Fatalf("%d members: the eavesdropper is too weak: it cannot follow a member through commit %d", n, i)
			}
			for _, p := range w.members[:3] {
				if p != by {
					p.group = must(p.group.Process(c.Message))(t).Group
				}
			}
			by.group = c.Group
		}
	}
}

// TestGroup_removalWithoutPathLocksNobodyOut is why commits without a path are
// refused where somebody is removed: there are implementations that send them.
func TestGroup_removalWithoutPathLocksNobodyOut(t *testing.T) {
	w := newWorldWith(t, 3)
	by, other, victim := w.members[0], w.members[1], w.members[2]
	outside := &eavesdropper{t: t, psks: w.psks}
	outside.learn(victim.group)
	c := forgeCommit(t, by, []Proposal{&Remove{Leaf: victim.group.Own()}})
	if _, err := other.group.Process(c.Message); err == nil {
		t.Error("a member follows")
	}
	if _, ok := outside.follow(by.group, c.Group, c); !ok {
		t.Error("the eavesdropper is too weak: this epoch follows from the one before")
	}
}
