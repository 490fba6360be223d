package group

import (
	"crypto/ed25519"
	"slices"
	"testing"
	"time"

	"sotto/e2ee/link"
	"sotto/e2ee/mls"
)

// TestAttack43_ownOldKeyPackage: a member puts an older key package of somebody
// in that one's place, who could not go on with it. It is refused by everybody:
// the connection is over, or has a newer one in the tree.
func TestAttack43_ownOldKeyPackage(t *testing.T) {
	cases := map[string]func(w *world, victim *client) *mls.KeyPackage{
		"of a participation that is over": func(w *world, victim *client) *mls.KeyPackage {
			return w.oldKeyPackage(victim, link.NewConnID(), 9)
		},
		"by which it was added": func(w *world, victim *client) *mls.KeyPackage {
			for _, data := range w.clients[0].inbox {
				if h, _, _ := link.ParseEnvelope(data[8:]); h.Type == link.TypeKeyPackage && h.From == victim.conn {
					return must(mls.ParseKeyPackage(plaintext(w, data), suite))
				}
			}
			return nil
		},
		"before that by which it was added": func(w *world, victim *client) *mls.KeyPackage {
			return w.oldKeyPackage(victim, victim.conn, 0)
		},
	}
	for name, kp := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 44)
			honest := w.room(3)
			evil := w.add("evil", nil)
			evil.greedy = true
			evil.connect()
			w.settle(2*time.Second, append(slices.Clone(honest), evil)...)
			epoch, slot, victim := honest[0].g.Epoch(), w.service.slot, honest[2]
			evil.replace(victim, kp(w, victim))
			w.run(brief)
			w.expectRefused(honest, evil, epoch, slot+1)
			if victim.g.State() != StateMember || slices.Contains(victim.notices, NoticeOutOfSync) {
				t.Errorf("the victim: state %d, notices %d", victim.g.State(), victim.notices)
			}
		})
	}
}

// oldKeyPackage is one that a person made earlier.
func (w *world) oldKeyPackage(owner *client, conn link.ConnID, serial uint32) *mls.KeyPackage {
	at := uint64(w.now.Unix())
	return must(must(mls.NewInvitation(mls.Member{
		Suite: suite, SignatureKey: owner.identity.Public().(ed25519.PublicKey),
		Credential:   mls.BasicCredential(Credential{Name: owner.name, Conn: conn, Serial: serial}.Append(nil)),
		Capabilities: mls.DefaultCapabilities(suite, extensionPolicy),
		Lifetime:     mls.Lifetime{NotBefore: at - 10, NotAfter: at + 100},
	})).Sign(owner.identity)).KeyPackage
}

// replace forges a commit that puts a key package in a member's place.
func (c *client) replace(victim *client, kp *mls.KeyPackage) {
	c.forge([]mls.Proposal{
		&mls.Remove{Leaf: mls.LeafIndex(victim.leaf())}, &mls.Add{KeyPackage: kp}, mls.NewExternalPSK(c.w.keys.PSKID(0)),
	}, nil)
}

// A page that crashed stays in the room for a while, and its key package can be
// put in the place of the page that was opened next. That one does not take it
// for a second tab: it comes back.
func TestAttack43_keyPackageOfACrashedPage(t *testing.T) {
	w := newWorld(t, 45)
	all := w.room(3)
	crashed := all[2]
	crashed.crash()
	victim := w.add("victim", crashed)
	victim.connect()
	w.settle(2*time.Second, all[0], all[1], victim)
	all[1].replace(victim, w.oldKeyPackage(crashed, crashed.conn, 9))
	w.until(time.Second, "out", func() bool { return victim.g.State() == StateOutOfSync })
	w.until(6*time.Second, "back", func() bool { return victim.g.State() == StateMember })
	if slices.Contains(victim.notices, NoticeDuplicateIdentity) {
		t.Errorf("notices %d", victim.notices)
	}
}

// A newcomer who goes at the moment of its admission takes none of those along
// who are added by the same commit: it counts as present until the next one.
func TestGroup_newcomerGoesWhileAdded(t *testing.T) {
	w := newWorld(t, 46)
	all := w.room(3)
	stays, goes := w.join("stays"), w.join("goes")
	made := 0
	for _, c := range all {
		c.mute = func(h link.Header) bool {
			if h.Type == link.TypeCommit && !goes.closed {
				made++
				goes.closed = true
				w.service.left(goes, "leave") // before the commit is there
			}
			return false
		}
	}
	w.settle(2*time.Second, append(slices.Clone(all), stays)...)
	if made != 1 {
		t.Fatal("it went too early")
	}
	for _, c := range append(all, stays) {
		if slices.Contains(c.notices, NoticeInvalidCommit) || slices.Contains(c.notices, NoticeOutOfSync) {
			t.Errorf("%s: notices %d", c.name, c.notices)
		}
	}
}

// Who resumes follows the commits that it missed, although those whom they added
// may be gone by now.
func TestGroup_missedAdmissionOfSomebodyGone(t *testing.T) {
	w := newWorld(t, 47)
	all := w.room(3)
	all[2].drop()
	guest := w.join("guest")
	w.until(2*time.Second, "admission", func() bool { return guest.g.State() == StateMember })
	guest.leave()
	w.until(2*time.Second, "removal", func() bool { return all[0].g.Epoch() == all[2].g.Epoch()+2 })
	all[2].resume()
	w.settle(time.Second, all...)
	if slices.Contains(all[2].notices, NoticeInvalidCommit) || slices.Contains(all[2].notices, NoticeOutOfSync) {
		t.Errorf("notices %d", all[2].notices)
	}
}

// A restart of the service in the middle of an admission: the commit is posted
// again, by its author or for those who missed it, and the one whom it adds does
// not come back. All who are there follow it, or nobody.
func TestGroup_admissionOverARestart(t *testing.T) {
	for seed := range uint64(40) / fewer {
		w := newWorld(t, seed)
		all := w.room(4)
		guest := w.join("guest")
		w.run(time.Duration(w.rng.IntN(150)) * time.Millisecond)
		guest.crash()
		w.service.restart()
		w.run(6 * time.Second)
		for _, c := range all {
			if slices.Contains(c.notices, NoticeInvalidCommit) || c.g.stats.CommitsRefused > 0 {
				t.Errorf("seed %d, %s: %d commits refused, notices %d", seed, c.name, c.g.stats.CommitsRefused, c.notices)
			}
		}
		w.settle(25*time.Second, all...)
	}
}

// A committer judges its own commit where it stands in the order: whom it
// removes may have come back before, and then everybody else refuses it.
func TestGroup_ownCommitIsJudgedInItsPlace(t *testing.T) {
	w := newWorld(t, 48)
	all := w.room(4)
	victim := all[3]
	epoch := victim.g.Epoch()
	tell := func(do func(c *client, out *Actions)) {
		for _, c := range all[:3] {
			c.receive(func() { c.do(func(out *Actions) { do(c, out) }) })
		}
	}
	for _, c := range all[:3] {
		c.mute = func(h link.Header) bool {
			if h.Type == link.TypeCommit && h.Epoch == epoch && c.mute != nil {
				for _, c := range all {
					c.mute = nil
				}
				tell(func(c *client, out *Actions) { must(0, c.g.PeerJoined(w.now, victim.conn, out)) })
			}
			return false
		}
	}
	tell(func(c *client, out *Actions) { c.g.PeerLeft(w.now, victim.conn, out) })
	w.until(time.Second, "the commit", func() bool { return all[0].g.at.Slot == w.service.slot && all[0].mute == nil })
	w.run(brief)
	for _, c := range all[:3] {
		if c.g.Epoch() != epoch || c.g.State() != StateMember {
			t.Errorf("%s: epoch %d, state %d", c.name, c.g.Epoch(), c.g.State())
		}
	}
	w.settle(6*time.Second, all...)
}
