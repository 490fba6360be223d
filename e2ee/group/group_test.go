package group

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sotto/e2ee/link"
)

// room lets n clients join, one after the other.
func (w *world) room(n int) []*client {
	w.t.Helper()
	var all []*client
	for i := range n {
		all = append(all, w.join(fmt.Sprint("P", i)))
		w.settle(2*time.Second, all...)
	}
	return all
}

func TestGroup_oneByOne(t *testing.T) {
	w := newWorld(t, 1)
	all := w.room(8)
	for n := 7; n > 0; n-- {
		all[n].leave()
		all = all[:n]
		w.settle(2*time.Second, all...)
	}
	if w.service.refused != 0 {
		t.Errorf("%d commits refused without a race", w.service.refused)
	}
	all[0].leave()
	w.run(time.Second)
	again := w.join("again")
	w.settle(time.Second, again)
}

// The founder goes, and the others stay.
func TestGroup_founderLeaves(t *testing.T) {
	w := newWorld(t, 2)
	all := w.room(3)
	all[0].leave()
	w.settle(2*time.Second, all[1:]...)
	d := w.join("D")
	w.settle(2*time.Second, all[1], all[2], d)
	for _, c := range []*client{all[1], all[2], d} {
		if c.g.IsHost() || slices.ContainsFunc(c.g.Members(), func(p Person) bool { return p.Host }) {
			t.Errorf("%s sees a host", c.name)
		}
	}
}

// Two open the room at the same time: one group.
func TestGroup_foundedTwice(t *testing.T) {
	w := newWorld(t, 3)
	all := []*client{w.join("A"), w.join("B"), w.join("C")}
	w.settle(2*time.Second, all...)
}

// The page is loaded anew: the same key replaces its old leaf in one commit, also
// in a locked room.
func TestGroup_reload(t *testing.T) {
	for _, locked := range []bool{false, true} {
		w := newWorld(t, 4)
		all := w.room(4)
		if locked {
			all[0].do(func(out *Actions) { must(0, all[0].g.SetPolicy(w.now, Policy{Locked: true}, out)) })
			w.run(time.Second)
		}
		epoch := all[0].g.Epoch()
		all[2].crash() // the service notices it later
		all[2] = w.add("P2", all[2])
		all[2].connect()
		w.settle(2*time.Second, all...)
		if got := all[0].g.Epoch(); got != epoch+1 {
			t.Errorf("locked %v: %d commits for a reload", locked, got-epoch)
		}
		if !slices.Contains(all[0].notices, NoticeReplaced) || slices.Contains(all[0].notices, NoticeLeft) {
			t.Errorf("notices %v", all[0].notices)
		}
		w.run(30 * time.Second)
		w.settle(0, all...)
	}
}

// The creator comes back and is the host again.
func TestGroup_hostReloads(t *testing.T) {
	w := newWorld(t, 5)
	all := w.room(3)
	all[0].leave()
	w.settle(2*time.Second, all[1:]...)
	all[0] = w.add("P0", all[0])
	all[0].connect()
	w.settle(2*time.Second, all...)
	if !all[0].g.IsHost() {
		t.Fatal("not the host")
	}
	all[0].kick(all[2])
	w.settle(2*time.Second, all[:2]...)
}

func (c *client) kick(victim *client) {
	c.w.t.Helper()
	c.do(func(out *Actions) {
		if err := c.g.Kick(c.w.now, victim.conn, out); err != nil {
			c.w.t.Errorf("kick: %v", err)
		}
	})
}

func (c *client) setPolicy(p Policy) {
	c.w.t.Helper()
	c.do(func(out *Actions) {
		if err := c.g.SetPolicy(c.w.now, p, out); err != nil {
			c.w.t.Errorf("policy: %v", err)
		}
	})
}

func TestGroup_kick(t *testing.T) {
	w := newWorld(t, 6)
	all := w.room(5)
	victim := all[3]
	rest := append(slices.Clone(all[:3]), all[4])
	all[1].do(func(out *Actions) {
		if err := all[1].g.Kick(w.now, victim.conn, out); err != ErrNotHost {
			t.Errorf("kick by a member: %v", err)
		}
	})
	all[0].kick(victim)
	if took := w.settle(2*time.Second, rest...); took > 500*time.Millisecond {
		t.Errorf("took %v", took)
	}
	if victim.g.State() != StateRemoved || victim.sends || len(victim.keys) != 0 {
		t.Errorf("the victim is %v, sends %v, has %d keys", victim.g.State(), victim.sends, len(victim.keys))
	}
	// The old link admits nobody any more, the new one does.
	stranger := w.join("stranger")
	w.run(20 * time.Second)
	if stranger.g.State() != StateWaiting || len(all[0].g.Members()) != 4 {
		t.Errorf("stranger: %v", stranger.g.State())
	}
	for _, c := range rest {
		if len(c.links) != 1 || c.links[0] != all[0].links[0] || c.links[0].Gen != 1 {
			t.Fatalf("links %v", c.links)
		}
	}
	stranger.leave()
	w.useLink(all[0].links[0])
	friend := w.join("friend")
	w.settle(2*time.Second, append(slices.Clone(rest), friend)...)
}

func TestGroup_lock(t *testing.T) {
	w := newWorld(t, 7)
	all := w.room(3)
	all[0].setPolicy(Policy{Locked: true})
	w.run(time.Second)
	d := w.join("D")
	w.run(5 * time.Second)
	if len(all[0].knocks) != 1 || all[0].knocks[0].Name != "D" || len(all[1].knocks) != 0 {
		t.Fatalf("knocks %v %v", all[0].knocks, all[1].knocks)
	}
	all[1].do(func(out *Actions) {
		if err := all[1].g.Admit(w.now, d.conn, out); err != ErrNotHost {
			t.Errorf("admit by a member: %v", err)
		}
	})
	all[0].do(func(out *Actions) { must(0, all[0].g.Admit(w.now, d.conn, out)) })
	all = append(all, d)
	w.settle(time.Second, all...)
	if len(all[0].knocks) != 0 {
		t.Error("the knock is still shown")
	}
	all[0].setPolicy(Policy{})
	w.run(time.Second)
	all = append(all, w.join("E"))
	w.settle(time.Second, all...)
}

func TestGroup_knock(t *testing.T) {
	w := newWorld(t, 8)
	a := w.join("A", func(c *Config) { c.Policy.Knock = true })
	w.settle(time.Second, a)
	b, c := w.join("B"), w.join("C")
	w.run(10 * time.Second)
	if len(a.knocks) != 2 || len(b.knocks) != 0 || len(a.g.Members()) != 1 {
		t.Fatalf("knocks %v", a.knocks)
	}
	a.do(func(out *Actions) { must(0, a.g.Admit(w.now, b.conn, out)) })
	if took := w.settle(time.Second, a, b); took > 500*time.Millisecond {
		t.Errorf("took %v", took)
	}
	// Who was let in sees who is waiting, and may let them in.
	if len(b.knocks) != 1 || b.knocks[0].Conn != c.conn {
		t.Fatalf("knocks at B %v", b.knocks)
	}
	b.do(func(out *Actions) { must(0, b.g.Admit(w.now, c.conn, out)) })
	w.settle(time.Second, a, b, c)
	if !a.g.Policy().Knock || !c.g.Policy().Knock {
		t.Error("policy")
	}
	d := w.join("D")
	w.run(2 * time.Second)
	a.do(func(out *Actions) { must(0, a.g.Refuse(w.now, d.conn, out)) })
	w.run(20 * time.Second)
	if len(a.knocks) != 0 || len(b.knocks) != 1 {
		t.Errorf("knocks %v %v", a.knocks, b.knocks)
	}
}

// useLink makes later clients come by another link.
func (w *world) useLink(l NewLink) {
	w.secret, w.keys = l.Secret, must(link.Derive(l.Secret))
}

func TestGroup_rotation(t *testing.T) {
	w := newWorld(t, 9)
	all := w.room(3)
	for gen := uint16(1); gen <= 3; gen++ {
		all[0].do(func(out *Actions) { must(0, all[0].g.RotateLink(w.now, out)) })
		w.run(200 * time.Millisecond)
		w.settle(time.Second, all...)
		for _, c := range all {
			l := c.links[len(c.links)-1]
			if l.Gen != gen || !l.Secret.Equal(all[0].links[gen-1].Secret) {
				t.Fatalf("%s: generation %d", c.name, l.Gen)
			}
			if keys, own := c.g.Keys(); own != gen || keys.RoomID() == w.keys.RoomID() {
				t.Errorf("keys of generation %d", own)
			}
		}
		w.useLink(all[0].links[gen-1])
		all = append(all, w.join(fmt.Sprint("new", gen)))
		w.settle(2*time.Second, all...)
	}
	// Everybody hears everybody after all of that.
	for _, c := range all {
		c.messages = nil
	}
	for _, c := range all {
		c.do(func(out *Actions) { must(0, c.g.Send(w.now, 4, []byte(`{"text":"hi"}`), out)) })
	}
	w.run(time.Second)
	for _, c := range all {
		if len(c.messages) != len(all)-1 {
			t.Errorf("%s has %d messages", c.name, len(c.messages))
		}
	}
}

// What is sealed while a commit comes in arrives all the same.
func TestGroup_messagesOverEpochs(t *testing.T) {
	w := newWorld(t, 10)
	all := w.room(4)
	for _, c := range all {
		c.signing = 4 * time.Millisecond
	}
	for i := range 40 {
		c := all[i%4]
		w.at(time.Duration(i)*25*time.Millisecond, func() {
			c.do(func(out *Actions) { must(0, c.g.Send(w.now, 4, fmt.Appendf(nil, `{"id":%d}`, i), out)) })
		})
	}
	w.join("late1")
	w.at(300*time.Millisecond, func() { w.join("late2") })
	w.at(600*time.Millisecond, func() { w.join("late3") })
	w.run(3 * time.Second)
	for _, c := range all {
		if len(c.messages) != 30 {
			t.Errorf("%s has %d messages of 30", c.name, len(c.messages))
		}
		for _, m := range c.messages {
			if (len(m.Body)+1)%padding != 0 || m.Kind != 4 {
				t.Errorf("message of %d bytes", len(m.Body))
			}
		}
	}
}

func TestGroup_queueIsBounded(t *testing.T) {
	w := newWorld(t, 11)
	all := w.room(2)
	all[0].signing = time.Hour
	var err error
	sent := 0
	for ; err == nil && sent < 1000; sent++ {
		all[0].do(func(out *Actions) { err = all[0].g.Send(w.now, 4, []byte("{}"), out) })
	}
	if err != ErrFull || sent > maxQueue+3 {
		t.Errorf("%d queued: %v", sent, err)
	}
	all[0].do(func(out *Actions) { err = all[0].g.Send(w.now, 4, make([]byte, maxBody+1), out) })
	if err != ErrMessage {
		t.Errorf("too long: %v", err)
	}
}

// An old epoch is forgotten ten seconds after an Add and two after a Remove.
func TestGroup_forgets(t *testing.T) {
	w := newWorld(t, 12)
	all := w.room(3)
	w.run(11 * time.Second)
	old := all[0].g.Epoch()
	d := w.join("D")
	w.settle(2*time.Second, append(all, d)...)
	if len(all[0].keys) != 2 || all[0].sendWith != old+1 {
		t.Fatalf("%d epochs", len(all[0].keys))
	}
	w.run(9500 * time.Millisecond)
	if len(all[0].keys) != 2 {
		t.Fatalf("%d epochs", len(all[0].keys))
	}
	w.run(time.Second)
	if len(all[0].keys) != 1 {
		t.Fatalf("%d epochs", len(all[0].keys))
	}
	d.leave()
	w.settle(2*time.Second, all...)
	if len(all[0].keys) != 2 {
		t.Fatalf("%d epochs", len(all[0].keys))
	}
	w.run(2 * time.Second)
	if len(all[0].keys) != 1 {
		t.Fatalf("%d epochs", len(all[0].keys))
	}
	if len(all[0].g.old) != 0 {
		t.Error("an old epoch is kept")
	}
}

// A quiet room renews its keys: an epoch lives ten minutes, and everybody brings
// in new keys within the hour.
func TestGroup_renewsKeys(t *testing.T) {
	w := newWorld(t, 13)
	all := w.room(3)
	first := all[0].g.Epoch()
	made := func() (out []uint64) {
		for _, c := range all {
			out = append(out, c.g.Stats().CommitsMade)
		}
		return out
	}
	before := made()
	for range 66 {
		w.run(time.Minute)
	}
	w.settle(time.Second, all...)
	commits := all[0].g.Epoch() - first
	t.Logf("%d commits in 66 minutes", commits)
	if commits < 6 || commits > 12 {
		t.Errorf("%d commits", commits)
	}
	for i, n := range made() {
		if n == before[i] {
			t.Errorf("%s brought in no keys", all[i].name)
		}
	}
}

// The same identity enters from elsewhere: the older one is replaced and stays
// away.
func TestGroup_duplicateIdentity(t *testing.T) {
	w := newWorld(t, 15)
	all := w.room(3)
	second := w.add("P1", all[1])
	second.connect()
	w.settle(2*time.Second, all[0], second, all[2])
	if all[1].g.State() != StateRemoved || !slices.Contains(all[1].notices, NoticeDuplicateIdentity) || all[1].sends || len(all[1].keys) != 0 {
		t.Errorf("state %d, notices %v", all[1].g.State(), all[1].notices)
	}
	w.run(30 * time.Second)
	w.settle(0, all[0], second, all[2])
}

// A signature that is false, or that nobody asked for, changes nothing; the
// operation is tried again.
func TestGroup_falseSignatures(t *testing.T) {
	w := newWorld(t, 16)
	a := w.add("A", nil)
	real := a.identity
	a.falseSigns = 3
	a.connect()
	w.settle(5*time.Second, a)
	b := w.add("B", nil)
	b.falseSigns = 1
	b.connect()
	w.settle(8*time.Second, a, b)
	a.identity = real
	for _, id := range []uint32{0, 1 << 30} {
		if err := a.g.Signed(w.now, id, make([]byte, 64), new(Actions)); err != ErrSignature {
			t.Errorf("id %d: %v", id, err)
		}
	}
	if err := a.g.Signed(w.now, 1, nil, new(Actions)); err != nil {
		t.Errorf("an old one: %v", err)
	}
}

func TestGroup_callsOutOfOrder(t *testing.T) {
	w := newWorld(t, 17)
	if _, err := New(Config{}); err != ErrConfig {
		t.Errorf("empty configuration: %v", err)
	}
	a := w.add("A", nil)
	var out Actions
	for name, err := range map[string]error{
		"resumed":  a.g.Resumed(w.now, nil, nil, false, &out),
		"joined":   a.g.PeerJoined(w.now, link.NewConnID(), &out),
		"envelope": a.g.Envelope(w.now, nil, &out),
	} {
		if err != ErrOrder {
			t.Errorf("%s before the welcome: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"send":   a.g.Send(w.now, 4, nil, &out),
		"admit":  a.g.Admit(w.now, a.conn, &out),
		"kick":   a.g.Kick(w.now, a.conn, &out),
		"policy": a.g.SetPolicy(w.now, Policy{}, &out),
		"rotate": a.g.RotateLink(w.now, &out),
	} {
		if err != ErrNotMember {
			t.Errorf("%s before the admission: %v", name, err)
		}
	}
	a.connect()
	w.settle(time.Second, a)
	for name, err := range map[string]error{
		"second welcome": a.g.Welcome(w.now, nil, nil, &out),
	} {
		if err != ErrOrder {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := a.g.PeerJoined(w.now, a.conn, &out); err != ErrRoster {
		t.Errorf("itself: %v", err)
	}
	if err := a.g.Kick(w.now, a.conn, &out); err != ErrUnknown {
		t.Errorf("itself: %v", err)
	}
	for i := range maxRoster + 1 {
		if err := a.g.PeerJoined(w.now, link.NewConnID(), &out); (err != nil) != (i == maxRoster) {
			t.Fatalf("%d in the room: %v", i, err)
		}
	}
}
