package group

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"sotto/e2ee/link"
	"sotto/e2ee/mls"
)

// TestAttack10_commitsDroppedReorderedDuplicated: who misses a commit, or gets
// it late, notices at the next one at the latest and is added again; what comes
// twice is dropped. No nonce and no key is used twice: the world looks.
func TestAttack10_commitsDroppedReorderedDuplicated(t *testing.T) {
	t.Run("dropped", func(t *testing.T) {
		w := newWorld(t, 10)
		all := w.room(4)
		victim := all[2]
		w.service.filter = func(to *client, h link.Header) bool { return to != victim || h.Type != link.TypeCommit }
		victim.mute = func(h link.Header) bool { return h.Type == link.TypeCommit } // it would notice at once
		all = append(all, w.join("E"))
		w.run(time.Second)
		w.service.filter, victim.mute = nil, nil
		if victim.g.Epoch() == all[0].g.Epoch() {
			t.Fatal("the commit was not withheld")
		}
		all = append(all, w.join("F"))
		w.settle(3*time.Second, all...)
		if !slices.Contains(victim.notices, NoticeOutOfSync) || !slices.Contains(victim.notices, NoticeRejoined) {
			t.Errorf("notices %v", victim.notices)
		}
	})
	t.Run("duplicated", func(t *testing.T) {
		w := newWorld(t, 11)
		all := w.room(4)
		w.service.echoes = 3
		all = append(all, w.join("E"))
		w.run(time.Second)
		all = append(all, w.join("F"))
		w.settle(3*time.Second, all...)
		for _, c := range all {
			c.do(func(out *Actions) { must(0, c.g.Send(w.now, 4, []byte("{}"), out)) })
		}
		w.run(time.Second)
		for _, c := range all {
			if len(c.messages) != len(all)-1 {
				t.Errorf("%s has %d messages", c.name, len(c.messages))
			}
			if slices.Contains(c.notices, NoticeInvalidCommit) || slices.Contains(c.notices, NoticeOutOfSync) {
				t.Errorf("%s: notices %v", c.name, c.notices)
			}
		}
	})
	t.Run("reordered", func(t *testing.T) {
		w := newWorld(t, 12)
		all := w.room(4)
		victim := all[2]
		var held [][]byte
		victim.intercept = func(data []byte) bool {
			if h, _, _ := link.ParseEnvelope(data[8:]); h.Type == link.TypeCommit && len(held) == 0 {
				held = append(held, data)
				return true
			}
			return false
		}
		all = append(all, w.join("E"))
		w.run(time.Second)
		all = append(all, w.join("F"))
		w.until(2*time.Second, "the second commit", func() bool { return victim.g.State() == StateOutOfSync })
		victim.intercept = nil
		victim.hears(held[0])
		w.settle(4*time.Second, all...)
	})
}

// TestAttack11_equivocation: the service accepts two commits for one epoch and
// shows each to half of the room. The halves have different authenticators and
// cannot hear each other; each notices the silence of the other, stops sending
// and says so. When the service is honest again all come together.
func TestAttack11_equivocation(t *testing.T) {
	w := newWorld(t, 11)
	w.service.forked = true
	all := w.room(4)
	for _, c := range all {
		c.beat()
	}
	w.run(20 * time.Second)
	half := func(c *client) int { return slices.Index(all, c) / 2 }
	// Both make a commit for the same slot.
	all[0].do(func(out *Actions) { all[0].g.commit(w.now, out) })
	all[2].do(func(out *Actions) { all[2].g.commit(w.now, out) })
	w.service.equivocate = true
	w.service.filter = func(to *client, h link.Header) bool {
		from := slices.IndexFunc(all, func(c *client) bool { return c.conn == h.From })
		return h.Type != link.TypeCommit || from/2 == half(to)
	}
	w.run(time.Second)
	if bytes.Equal(all[0].g.Authenticator(), all[2].g.Authenticator()) || !bytes.Equal(all[0].g.Authenticator(), all[1].g.Authenticator()) ||
		!bytes.Equal(all[2].g.Authenticator(), all[3].g.Authenticator()) || all[0].g.Epoch() != all[2].g.Epoch() {
		t.Fatal("the room is not split")
	}
	w.service.equivocate, w.service.filter = false, nil
	took := w.until(16*time.Second, "somebody stops", func() bool {
		return slices.ContainsFunc(all, func(c *client) bool { return !c.sends && slices.Contains(c.notices, NoticeOutOfSync) })
	})
	t.Logf("noticed after %v", took)
	w.settle(20*time.Second, all...)
}

// TestAttack12_withheldRemove: the service does not show one member that another
// was removed. That member stops sending within three heartbeat intervals and
// says so; everybody else has switched soon after the commit.
func TestAttack12_withheldRemove(t *testing.T) {
	w := newWorld(t, 12)
	all := w.room(5)
	for _, c := range all {
		c.beat()
	}
	w.run(20 * time.Second)
	victim := all[1]
	rest := []*client{all[0], all[2], all[3]}
	w.service.filter = func(to *client, h link.Header) bool { return to != victim || h.Type == link.TypeApp }
	all[0].kick(all[4])
	w.run(300 * time.Millisecond)
	for _, c := range rest {
		if c.sendWith != c.g.Epoch() || c.g.Epoch() == victim.g.Epoch() {
			t.Errorf("%s has not switched", c.name)
		}
	}
	took := w.until(16*time.Second, "the victim stops", func() bool { return !victim.sends })
	t.Logf("stopped after %v", took)
	if victim.g.State() != StateOutOfSync || !slices.Contains(victim.notices, NoticeOutOfSync) {
		t.Errorf("state %d, notices %v", victim.g.State(), victim.notices)
	}
	for _, c := range rest {
		if c.g.State() != StateMember || !c.sends {
			t.Errorf("%s stopped as well", c.name)
		}
	}
}

// Silence that ends by itself, such as of a service that hung, ends the
// suspicion too.
func TestGroup_silenceEnds(t *testing.T) {
	w := newWorld(t, 13)
	all := w.room(3)
	for _, c := range all {
		c.beat()
	}
	w.run(20 * time.Second)
	w.service.filter = func(*client, link.Header) bool { return false }
	w.run(17 * time.Second)
	for _, c := range all {
		if c.sends || c.g.State() != StateOutOfSync {
			t.Errorf("%s goes on", c.name)
		}
	}
	w.service.filter = nil
	w.until(20*time.Second, "agreement", func() bool { return settled(w.live()...) })
	// One of two who sleeps does not lock the other out for good.
	w = newWorld(t, 14)
	pair := w.room(2)
	for _, c := range pair {
		c.beat()
	}
	w.run(20 * time.Second)
	pair[1].crash()
	w.run(16 * time.Second)
	if pair[0].sends {
		t.Error("sends on")
	}
	w.run(10 * time.Second)
	w.settle(time.Second, pair[0])
}

// TestAttack13_falseGone: the service says that somebody has gone who has not.
// That one falls out, which is no reason to leave, and asks to be added again;
// the others see one key leave and join.
func TestAttack13_falseGone(t *testing.T) {
	w := newWorld(t, 13)
	all := w.room(4)
	victim := all[2]
	for _, c := range all {
		if c != victim {
			c.receive(func() { c.do(func(out *Actions) { c.g.PeerLeft(w.now, victim.conn, out) }) })
		}
	}
	w.until(2*time.Second, "removal", func() bool { return slices.Contains(victim.notices, NoticeOutOfSync) })
	if victim.g.State() != StateOutOfSync || slices.Contains(victim.notices, NoticeRemoved) {
		t.Errorf("state %d, notices %d", victim.g.State(), victim.notices)
	}
	for _, c := range all {
		if c != victim {
			c.receive(func() { c.do(func(out *Actions) { must(0, c.g.PeerJoined(w.now, victim.conn, out)) }) })
		}
	}
	w.settle(6*time.Second, all...)
	for _, c := range []*client{all[0], all[1], all[3]} {
		if !slices.Contains(c.notices, NoticeLeft) || c.notices[len(c.notices)-1] != NoticeJoined {
			t.Errorf("%s: notices %v", c.name, c.notices)
		}
	}
}

// TestAttack14_replays: everything that was ever relayed is played again, to
// members and to a newcomer: nothing of it has an effect.
func TestAttack14_replays(t *testing.T) {
	w := newWorld(t, 14)
	all := w.room(4)
	for _, c := range all {
		c.do(func(out *Actions) { must(0, c.g.Send(w.now, 4, []byte("{}"), out)) })
	}
	w.run(15 * time.Second)
	var recorded [][]byte
	for _, c := range all {
		recorded = append(recorded, c.inbox...)
	}
	epoch := all[0].g.Epoch()
	for _, c := range all {
		c.messages, c.notices = nil, nil
		for _, data := range recorded {
			c.hears(slices.Clone(data))
		}
		if len(c.messages) != 0 || len(c.notices) != 0 || c.g.State() != StateMember || c.g.Epoch() != epoch {
			t.Errorf("%s: %d messages, notices %v, state %d, epoch %d", c.name, len(c.messages), c.notices, c.g.State(), c.g.Epoch())
		}
	}
	w.run(5 * time.Second)
	w.settle(0, all...)
	late := w.join("late")
	w.run(100 * time.Millisecond)
	for _, data := range recorded {
		late.hears(slices.Clone(data))
	}
	all = append(all, late)
	w.settle(5*time.Second, all...)
	for _, data := range recorded {
		late.hears(slices.Clone(data))
	}
	if len(late.messages) != 0 {
		t.Error("a newcomer was told what was said before")
	}
	w.run(5 * time.Second)
	w.settle(5*time.Second, all...)
}

// TestAttack43_keyPackageTwice: a key package that was used is not used again,
// when its owner has left and the service plays it once more.
func TestAttack43_keyPackageTwice(t *testing.T) {
	w := newWorld(t, 43)
	all := w.room(3)
	joiner := w.join("joiner")
	w.settle(2*time.Second, append(slices.Clone(all), joiner)...)
	var kp []byte
	for _, data := range all[0].inbox {
		if h, _, _ := link.ParseEnvelope(data[8:]); h.Type == link.TypeKeyPackage && h.From == joiner.conn {
			kp = data
		}
	}
	joiner.leave()
	w.settle(2*time.Second, all...)
	for _, c := range all {
		c.do(func(out *Actions) { must(0, c.g.PeerJoined(w.now, joiner.conn, out)) }) // it lies
		if err := c.g.Envelope(w.now, kp, new(Actions)); err == nil {
			t.Errorf("%s takes it", c.name)
		}
		// The same in a fresh envelope, as an accomplice with the link could seal it.
		if _, err := c.g.judge(w.now, joiner.conn, must(mls.ParseKeyPackage(plaintext(w, kp), suite))); err != errReused {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	w.run(5 * time.Second)
	if len(all[0].g.Members()) != 3 {
		t.Error("added")
	}
}

func plaintext(w *world, data []byte) []byte {
	h, _, _ := link.ParseEnvelope(data[8:])
	_, message, err := must(w.keys.Opener(h.From)).Open(data[8:])
	return must(message, err)
}

// TestAttack15_otherRoom: a link whose room does not belong to its secret is
// refused before anything is sent, and whoever joins by one link takes nothing
// that is sealed with another.
func TestAttack15_otherRoom(t *testing.T) {
	a, b := must(link.New("https://meet.example")), must(link.New("https://meet.example"))
	if _, err := link.Parse("https://meet.example/r/" + a.Keys.RoomID() + "#" + b.Secret.Encode()); err != link.ErrRoomMismatch {
		t.Errorf("error %v", err)
	}
	w := newWorld(t, 15)
	all := w.room(2)
	wrong := w.add("wrong", nil, func(c *Config) { c.Link = a.Keys })
	wrong.connect()
	w.run(10 * time.Second)
	if wrong.g.State() != StateWaiting || len(all[0].g.Members()) != 2 {
		t.Errorf("state %d", wrong.g.State())
	}
}

// TestAttack17_downgrade: there is one version and one suite, and no mode
// without encryption: whatever else is offered is refused.
func TestAttack17_downgrade(t *testing.T) {
	w := newWorld(t, 17)
	all := w.room(2)
	kp, _, _ := w.stranger(nil)
	for _, at := range []int{5, 7} { // version and suite of the key package
		m := kp.Message()
		m[at] = 2
		if _, err := mls.ParseKeyPackage(m, suite); err == nil {
			t.Errorf("byte %d", at)
		}
	}
	// A member cannot be made to leave the epoch's keys by anything but a commit.
	before := all[0].g.Epoch()
	for version := range 256 {
		data := slices.Clone(all[0].inbox[len(all[0].inbox)-1])
		data[8] = byte(version)
		all[0].hears(data)
	}
	if all[0].g.Epoch() != before || all[0].g.State() != StateMember || !all[0].sends {
		t.Error("changed by a header")
	}
}

// TestAttack46_squattingCreate: a create that is not sealed with the link's
// secret founds nothing: nobody follows it.
func TestAttack46_squattingCreate(t *testing.T) {
	w := newWorld(t, 46)
	squatter := w.add("squatter", nil, func(c *Config) { c.Link = must(link.Derive(link.NewSecret())) })
	c := w.join("C", func(c *Config) { c.Policy.Knock = true })
	w.run(15 * time.Millisecond)
	var out Actions
	h := link.Header{Type: link.TypeCreate, Group: [16]byte{9}}
	forged := append(binary.BigEndian.AppendUint64(nil, 5), must(squatter.g.sealer.Seal(h, nil))...)
	w.run(30 * time.Millisecond)
	must(0, c.g.PeerJoined(w.now, squatter.conn, &out))
	if err := c.g.Envelope(w.now, forged, &out); err == nil || c.g.grouped {
		t.Errorf("followed: %v", err)
	}
	w.settle(2*time.Second, c)
}

// TestAttack48_forgedTicket: after a restart of the service a client claims a
// slot far ahead. Its ticket is not valid, and the room goes on where it was.
func TestAttack48_forgedTicket(t *testing.T) {
	w := newWorld(t, 48)
	all := w.room(4)
	w.run(time.Second)
	all[1].ticket = &ticket{gi: all[1].ticket.gi, slot: 1 << 63, mac: all[1].ticket.mac}
	epoch, slot := all[0].g.Epoch(), w.service.slot
	w.service.restart()
	w.run(6 * time.Second)
	if w.service.slot < slot || w.service.slot > slot+4 || all[0].g.Epoch() < epoch {
		t.Errorf("slot %d, epoch %d", w.service.slot, all[0].g.Epoch())
	}
	w.run(20 * time.Second)
	w.settle(10*time.Second, all...)
}

// TestAttack38_lossyPath: connections break again and again while people come
// and go; what is lost with them is made good.
func TestAttack38_lossyPath(t *testing.T) {
	for seed := range uint64(4) {
		w := newWorld(t, seed)
		var all []*client
		for i := range 8 {
			c := w.join(string(rune('A' + i)))
			all = append(all, c)
			w.run(time.Duration(w.rng.IntN(300)) * time.Millisecond)
			if victim := all[w.rng.IntN(len(all))]; !victim.broken && victim.g.State() != StateConnecting {
				victim.drop()
				w.at(time.Duration(w.rng.IntN(800))*time.Millisecond, victim.resume)
			}
		}
		w.settle(8*time.Second, all...)
	}
}
