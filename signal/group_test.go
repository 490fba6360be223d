package signal

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"sotto/sfu"
	"sotto/signal/delivery"
	"sotto/signal/protocol"
)

var (
	testGroup = protocol.GroupInstance{0xb0}
	hostToken = bytes.Repeat([]byte{0x90}, protocol.HostTokenSize)
)

// inGroups runs f with clients that take part in groups.
func inGroups(t *testing.T, config Config, f func(w *world)) {
	t.Helper()
	inBubbleWith(t, config, func(w *world) {
		w.grouped = true
		f(w)
	})
}

func openRooms() Config { return Config{OpenRooms: true} }

// sealed is an envelope of a kind with a sealed part of n bytes.
func (c *client) sealed(h protocol.EnvelopeHeader, n int) []byte {
	h.From = c.conn
	return append(h.AppendHeader(nil), make([]byte, n)...)
}

func (c *client) create(gi protocol.GroupInstance) {
	c.t.Helper()
	h := protocol.EnvelopeHeader{Type: protocol.EnvelopeCreate, GroupInstance: gi, To: protocol.HostTag(hostToken)}
	c.write(websocket.MessageBinary, c.sealed(h, protocol.SealOverhead))
}

func (c *client) keyPackage(gi protocol.GroupInstance) {
	c.t.Helper()
	c.write(websocket.MessageBinary, c.sealed(protocol.EnvelopeHeader{Type: protocol.EnvelopeKP, GroupInstance: gi}, 1000))
}

func (c *client) commit(gi protocol.GroupInstance, slot uint64) {
	c.t.Helper()
	c.write(websocket.MessageBinary, c.sealed(protocol.EnvelopeHeader{Type: protocol.EnvelopeCommit, GroupInstance: gi, Slot: slot, Epoch: slot}, 2000))
}

// admit commits with a welcome for others.
func (c *client) admit(gi protocol.GroupInstance, slot uint64, whom ...*client) {
	c.t.Helper()
	c.bundle(gi, slot, 2000, 3000, whom...)
}

func (c *client) bundle(gi protocol.GroupInstance, slot uint64, commit, welcome int, whom ...*client) {
	c.t.Helper()
	b := protocol.Bundle{
		Commit:  c.sealed(protocol.EnvelopeHeader{Type: protocol.EnvelopeCommit, GroupInstance: gi, Slot: slot, Epoch: slot}, commit),
		Welcome: c.sealed(protocol.EnvelopeHeader{Type: protocol.EnvelopeWelcome, GroupInstance: gi, Epoch: slot + 1}, welcome),
	}
	for _, m := range whom {
		b.Admits = append(b.Admits, m.conn)
	}
	c.write(websocket.MessageBinary, b.Append(nil))
}

// gets is the next message: an envelope of that kind and slot, by from.
func (c *client) gets(from *client, kind protocol.EnvelopeType, slot uint64) {
	c.t.Helper()
	before := c.seq
	r := c.next()
	seq, e, err := protocol.ParseRelayed(r.envelope)
	if err != nil || e.From != from.conn || e.Type != kind || e.Slot != slot || seq <= before {
		c.t.Fatalf("got %T %+v, envelope %+v (%d after %d), %v", r.msg, r.msg, e.EnvelopeHeader, seq, before, err)
	}
}

// getsTicket is the next message, and keeps it.
func (c *client) getsTicket(slot uint64) *protocol.Ticket {
	c.t.Helper()
	m := expect[*protocol.Ticket](c)
	if m.Slot != slot || m.GI != testGroup || !bytes.Equal(m.HostTag, tagOf(hostToken)) {
		c.t.Fatalf("ticket %+v, want slot %d", m, slot)
	}
	return m
}

func tagOf(token []byte) []byte {
	tag := protocol.HostTag(token)
	return tag[:]
}

func (c *client) getsStale(at *protocol.GroupPosition) {
	c.t.Helper()
	m := expect[*protocol.Stale](c)
	checkPosition(c.t, m.GI, m.Slot, at)
}

func (c *client) getsGroup(at *protocol.GroupPosition) {
	c.t.Helper()
	m := expect[*protocol.Group](c)
	checkPosition(c.t, m.GI, m.Slot, at)
}

func checkPosition(t *testing.T, gi *protocol.GroupInstance, slot *uint64, want *protocol.GroupPosition) {
	t.Helper()
	if want == nil {
		if gi != nil || slot != nil {
			t.Fatalf("a position where there is none: %v, %v", gi, slot)
		}
	} else if gi == nil || slot == nil || *gi != want.GI || *slot != want.Slot {
		t.Fatalf("position %v, %v, want %+v", gi, slot, want)
	}
}

func at(slot uint64) *protocol.GroupPosition {
	return &protocol.GroupPosition{GI: testGroup, Slot: slot}
}

// joinGroup joins and checks where the group stands by the welcome.
func (w *world) joinGroup(want *protocol.GroupPosition) *client {
	w.t.Helper()
	c := w.open()
	c.send(c.connectMessage())
	welcome := expect[*protocol.Welcome](c)
	c.leaf, c.peers, c.resume = welcome.Leaf, welcome.Peers, welcome.Resume
	if (welcome.Group == nil) != (want == nil) || want != nil && *welcome.Group != *want {
		w.t.Fatalf("group %+v, want %+v", welcome.Group, want)
	}
	return c
}

// groupOfTwo is a founder and a member connection at slot 1, everything read.
func groupOfTwo(w *world) (founder, member *client) {
	founder, member = w.joinGroup(nil), w.joinGroup(nil)
	founder.create(testGroup)
	founder.admit(testGroup, 0, member)
	founder.drain()
	member.drain()
	return founder, member
}

func TestGroup_fromCreateToCommit(t *testing.T) {
	inGroups(t, openRooms(), func(w *world) {
		a, b := w.joinGroup(nil), w.joinGroup(nil)
		expect[*protocol.PeerJoined](a)

		// The first create wins, and everybody sees it, its sender too.
		a.create(testGroup)
		a.gets(a, protocol.EnvelopeCreate, 0)
		a.getsTicket(0)
		b.gets(a, protocol.EnvelopeCreate, 0)
		b.create(protocol.GroupInstance{1})
		b.getsStale(at(0))

		// Key packages go to all others.
		c := w.joinGroup(at(0))
		expect[*protocol.PeerJoined](a)
		expect[*protocol.PeerJoined](b)
		b.keyPackage(testGroup)
		a.gets(b, protocol.EnvelopeKP, 0)
		c.gets(b, protocol.EnvelopeKP, 0)
		b.keyPackage(protocol.GroupInstance{1})
		b.getsStale(at(0))

		// A bundle moves the slot and makes a member connection.
		b.commit(testGroup, 0)
		b.getsStale(at(0))
		a.admit(testGroup, 0, b)
		a.gets(a, protocol.EnvelopeCommit, 0)
		a.getsTicket(1)
		b.gets(a, protocol.EnvelopeCommit, 0)
		b.gets(a, protocol.EnvelopeWelcome, 0)
		b.getsTicket(1)
		c.gets(a, protocol.EnvelopeCommit, 0)
		c.quiet() // it is not on the list: no welcome, no ticket
		b.commit(testGroup, 1)
		for _, x := range []*client{a, b, c} {
			x.gets(b, protocol.EnvelopeCommit, 1)
		}
		a.getsTicket(2)
		b.getsTicket(2)

		// Who was slower learns where it stands.
		a.commit(testGroup, 1)
		a.getsStale(at(2))
		a.bundle(testGroup, 1, 100, 100, c)
		a.getsStale(at(2))
		c.quiet()

		// The group goes with its last member connection.
		a.send(&protocol.Leave{})
		for _, x := range []*client{b, c} {
			expect[*protocol.PeerLeft](x)
			x.quiet()
		}
		b.send(&protocol.Leave{})
		expect[*protocol.PeerLeft](c)
		c.getsGroup(nil)
		c.commit(testGroup, 2)
		c.getsStale(nil)
		c.create(protocol.GroupInstance{7})
		c.gets(c, protocol.EnvelopeCreate, 0)

		st := w.server.Stats()
		want := map[string]uint64{
			groupOK: 5, string(delivery.GroupExists): 1, string(delivery.OtherGroup): 1, string(delivery.NotMember): 1,
			string(delivery.StaleSlot): 2, string(delivery.NoGroup): 1,
		}
		for result, n := range st.Group {
			if n != want[result] {
				t.Errorf("%s: %d, want %d", result, n, want[result])
			}
		}
		if st.Groups != 1 {
			t.Errorf("%d groups", st.Groups)
		}
	})
}

// TestGroup_twentyCommitAtOnce: one is accepted, and everybody sees the same one.
func TestGroup_twentyCommitAtOnce(t *testing.T) {
	inGroups(t, openRooms(), func(w *world) {
		const n = 20
		all := []*client{w.joinGroup(nil)}
		all[0].create(testGroup)
		for len(all) < n {
			all = append(all, w.joinGroup(at(0)))
		}
		all[0].admit(testGroup, 0, all[1:]...)
		for _, c := range all {
			c.drain()
		}
		w.together = true
		for round := range uint64(3) {
			slot := 1 + round
			done := make(chan struct{})
			for _, c := range all {
				go func() { defer func() { done <- struct{}{} }(); c.commit(testGroup, slot) }()
			}
			for range all {
				<-done
			}
			synctest.Wait()
			var winner []byte
			stale := 0
			for _, c := range all {
				for len(c.in) > 0 {
					switch r := c.next(); m := r.msg.(type) {
					case *protocol.Stale:
						stale++
					case nil:
						if winner != nil && !bytes.Equal(r.envelope, winner) {
							t.Fatal("two commits for one slot")
						}
						winner = r.envelope
					case *protocol.Ticket:
						if m.Slot != slot+1 {
							t.Errorf("ticket for slot %d", m.Slot)
						}
					}
				}
			}
			if winner == nil || stale != n-1 {
				t.Fatalf("slot %d: %d were refused", slot, stale)
			}
			time.Sleep(time.Second)
		}
	})
}

// TestGroup_largestBundles: the limits of the connection let the largest
// messages of a group through, also over a resumption.
func TestGroup_largestBundles(t *testing.T) {
	inGroups(t, openRooms(), func(w *world) {
		a, b := w.joinGroup(nil), w.joinGroup(nil)
		a.create(testGroup)
		a.drain()
		b.drain()
		b.drop() // it hears all of it later
		synctest.Wait()
		for slot := range uint64(2) {
			a.bundle(testGroup, slot, protocol.MaxSealedCommit, protocol.MaxSealedWelcome, b)
			a.gets(a, protocol.EnvelopeCommit, slot)
			a.getsTicket(slot + 1)
		}
		b2 := w.back(b, false)
		for slot := range uint64(2) {
			b2.gets(a, protocol.EnvelopeCommit, slot)
			b2.gets(a, protocol.EnvelopeWelcome, 0)
		}
		b2.getsTicket(2)

		// One byte more is refused, and breaks nothing.
		time.Sleep(10 * time.Second)
		a.bundle(testGroup, 2, protocol.MaxSealedCommit+1, 100, b)
		a.expectError(protocol.CodeTooLarge, false)
		a.write(websocket.MessageBinary, a.sealed(protocol.EnvelopeHeader{Type: protocol.EnvelopeKP, GroupInstance: testGroup}, protocol.MaxSealedCreate+1))
		a.expectError(protocol.CodeTooLarge, false)
		a.commit(testGroup, 2)
		a.gets(a, protocol.EnvelopeCommit, 2)

		// What cannot be a commit is cut while it is read.
		b2.drain()
		b2.write(websocket.MessageBinary, b2.envelope(protocol.ConnID{}, protocol.MaxMessage))
		b2.expectClose(websocket.StatusMessageTooBig)
	})
}

func TestGroup_refusesBadBundles(t *testing.T) {
	inGroups(t, openRooms(), func(w *world) {
		watcher, victim := groupOfTwo(w)
		for name, change := range map[string]func(c *client, b *protocol.Bundle){
			"welcome of another": func(_ *client, b *protocol.Bundle) { copy(b.Welcome[36:], victim.conn[:]) },
			"both of another": func(_ *client, b *protocol.Bundle) {
				copy(b.Welcome[36:], victim.conn[:])
				copy(b.Commit[36:], victim.conn[:])
			},
			"welcome of another group": func(_ *client, b *protocol.Bundle) { b.Welcome[4] ^= 1 },
			"two commits":              func(_ *client, b *protocol.Bundle) { b.Welcome = b.Commit },
			"two welcomes":             func(_ *client, b *protocol.Bundle) { b.Commit = b.Welcome },
			"admits itself":            func(c *client, b *protocol.Bundle) { b.Admits[0] = c.conn },
			"admits one twice":         func(_ *client, b *protocol.Bundle) { b.Admits = append(b.Admits, b.Admits[0]) },
			"admits nobody":            func(_ *client, b *protocol.Bundle) { b.Admits = nil },
			"no welcome":               func(_ *client, b *protocol.Bundle) { b.Welcome = nil },
		} {
			c := w.joinGroup(at(1))
			b := protocol.Bundle{
				Admits:  []protocol.ConnID{victim.conn},
				Commit:  c.sealed(protocol.EnvelopeHeader{Type: protocol.EnvelopeCommit, GroupInstance: testGroup, Slot: 1}, 100),
				Welcome: c.sealed(protocol.EnvelopeHeader{Type: protocol.EnvelopeWelcome, GroupInstance: testGroup}, 100),
			}
			change(c, &b)
			c.write(websocket.MessageBinary, b.Append(nil))
			if e := expect[*protocol.Error](c); e.Code != protocol.CodeBadEnvelope || !e.Fatal {
				t.Errorf("%s: %+v", name, e)
			}
			c.expectClose(websocket.StatusUnsupportedData)
		}
		watcher.drain()
		watcher.commit(testGroup, 1) // nothing has moved
		watcher.gets(watcher, protocol.EnvelopeCommit, 1)
	})
}

// TestGroup_strangersCannotTouchIt are attacks 32, 41 and 46: who knows the path
// alone is not admitted, and so creates nothing; who holds the link, but is no
// member connection, commits nothing.
func TestGroup_strangersCannotTouchIt(t *testing.T) {
	inGroups(t, openRooms(), func(w *world) {
		squatter := w.open()
		squatter.create(testGroup)
		squatter.expectError(protocol.CodeBadState, true)
		squatter = w.open()
		m := squatter.connectMessage()
		public, own, _ := ed25519.GenerateKey(nil)
		m.LinkPub = protocol.Bytes(public)
		m.LinkSig = ed25519.Sign(own, protocol.ConnectSigned(testHost, squatter.hello.Nonce, squatter.conn))
		squatter.send(m)
		squatter.expectError(protocol.CodeNotAdmitted, true)
		squatter = w.open()
		m = squatter.connectMessage()
		m.LinkSig[0] ^= 1
		squatter.send(m)
		squatter.expectError(protocol.CodeBadSignature, true)

		a, b := groupOfTwo(w)
		c := w.joinGroup(at(1))
		a.drain()
		b.drain()
		for range 3 {
			c.commit(testGroup, 1)
			c.getsStale(at(1))
		}
		c.admit(testGroup, 1, a)
		c.getsStale(at(1))
		c.admit(testGroup, 1, a) // too many, and answered all the same
		c.getsStale(at(1))
		a.quiet()
		b.quiet()
		if st := w.server.Stats(); st.Group[string(delivery.NotMember)] != 4 || st.Group[string(delivery.CommitRate)] != 1 {
			t.Errorf("results %v", st.Group)
		}
	})
}

func TestGroup_keyPackageFlood(t *testing.T) {
	inGroups(t, openRooms(), func(w *world) {
		a, _ := groupOfTwo(w)
		c := w.joinGroup(at(1))
		a.drain()
		for range 20 {
			c.keyPackage(testGroup)
		}
		c.quiet()
		if n := len(a.in); n != 4 {
			t.Errorf("%d key packages came through", n)
		}
		if got := w.server.Stats().Group[string(delivery.KeyRate)]; got != 16 {
			t.Errorf("%d were counted as dropped", got)
		}
	})
}

// TestGroup_resumptionKeepsMembership: a lost WebSocket costs nothing, and a
// ticket that was lost with it is given again.
func TestGroup_resumptionKeepsMembership(t *testing.T) {
	inGroups(t, openRooms(), func(w *world) {
		a, b := groupOfTwo(w)
		b.drop()
		synctest.Wait()
		a.commit(testGroup, 1)
		a.drain()
		o := w.open()
		o.send(o.resumeMessage(b))
		welcome := expect[*protocol.Welcome](o)
		if welcome.Group == nil || *welcome.Group != *at(2) {
			t.Errorf("group %+v", welcome.Group)
		}
		o.gets(a, protocol.EnvelopeCommit, 1)
		o.getsTicket(2)
		o.commit(testGroup, 2)
		o.gets(o, protocol.EnvelopeCommit, 2)
		a.gets(o, protocol.EnvelopeCommit, 2)
	})
}

// back after a restart, with a claim.
func (c *client) backWith(w *world, m *protocol.Ticket) *client {
	c.t.Helper()
	o := w.open()
	msg := o.resumeMessage(c)
	if m != nil {
		msg.Resume.Group = &protocol.GroupClaim{GI: m.GI, Slot: m.Slot, HostTag: m.HostTag, Ticket: m.Ticket}
	}
	o.send(msg)
	welcome := expect[*protocol.Welcome](o)
	if !welcome.Lost {
		c.t.Fatalf("welcome %+v", welcome)
	}
	o.resume = welcome.Resume
	return o
}

// only takes what comes of the group, and leaves out the rest.
func (c *client) only(keep func(received) bool) []received {
	synctest.Wait()
	var list []received
	for len(c.in) > 0 {
		if r := c.next(); keep(r) {
			list = append(list, r)
		}
	}
	return list
}

func isGroup(r received) bool {
	switch r.msg.(type) {
	case *protocol.Group, *protocol.Stale, *protocol.Ticket:
		return true
	}
	return r.envelope != nil
}

// restarting is a room of n member connections with media at slot 1, whose
// service has crashed and is up again, and their tickets.
func restarting(w *world, n int, between func(all []*client)) ([]*client, []*protocol.Ticket) {
	all := []*client{w.joinGroup(nil)}
	for len(all) < n {
		all = append(all, w.joinGroup(nil))
	}
	for _, c := range all {
		c.drain()
		c.send(offerOf(2, "of "+c.conn.String()[:4], protocol.SourceMic))
	}
	all[0].create(testGroup)
	all[0].admit(testGroup, 0, all[1:]...)
	tickets := make([]*protocol.Ticket, n)
	keep := func() {
		for i, c := range all {
			for _, r := range c.only(isGroup) {
				if m, ok := r.msg.(*protocol.Ticket); ok {
					tickets[i] = m
				}
			}
		}
	}
	keep()
	if between != nil {
		between(all)
		keep()
	}
	w.crash()
	time.Sleep(time.Second)
	w.start()
	synctest.Wait()
	return all, tickets
}

func TestRestart_groupGoesOn(t *testing.T) {
	inGroups(t, outlived(), func(w *world) {
		all, tickets := restarting(w, 4, func(all []*client) {
			all[1].drop() // misses a commit and its ticket
			synctest.Wait()
			all[0].commit(testGroup, 1)
		})
		a := all[0].backWith(w, tickets[0])
		b := all[1].backWith(w, tickets[1])
		c := all[2].backWith(w, nil)
		n := w.joinGroup(nil)
		a.drain()
		b.drain()
		c.drain()

		// Nothing is accepted meanwhile, from nobody.
		n.create(protocol.GroupInstance{9})
		n.getsStale(nil)
		a.commit(testGroup, 2)
		a.getsStale(nil)
		a.send(&protocol.Evict{ID: 5, ConnID: b.conn, Host: hostToken})
		a.expectError(protocol.CodeNotHost, false)
		time.Sleep(collectTime - time.Millisecond)
		n.quiet()
		time.Sleep(time.Millisecond)
		for _, x := range []*client{a, b, c, n} {
			x.getsGroup(at(2))
			x.quiet()
		}

		// Whoever had a ticket is a member connection, an old one too.
		c.commit(testGroup, 2)
		c.getsStale(at(2))
		b.commit(testGroup, 2)
		b.gets(b, protocol.EnvelopeCommit, 2)
		b.getsTicket(3)
		a.gets(b, protocol.EnvelopeCommit, 2)
		a.getsTicket(3)
		d := all[3].backWith(w, tickets[3]) // late
		d.getsTicket(3)
		d.only(isGroup)
		d.commit(testGroup, 3)
		d.gets(d, protocol.EnvelopeCommit, 3)

		a.drain()
		b.drain()
		a.send(&protocol.Evict{ID: 6, ConnID: b.conn, Host: hostToken})
		b.expectError(protocol.CodeKicked, true)
		if st := w.server.Stats(); st.Tickets[ticketOK] != 3 || st.Tickets[ticketForged] != 0 || st.Groups != 1 {
			t.Errorf("tickets %v, %d groups", st.Tickets, st.Groups)
		}
	})
}

// TestRestart_everybodyBackAtOnce: nobody waits for the time to pass.
func TestRestart_everybodyBackAtOnce(t *testing.T) {
	inGroups(t, outlived(), func(w *world) {
		all, tickets := restarting(w, 3, nil)
		start := time.Now()
		var back []*client
		for i, c := range all {
			back = append(back, c.backWith(w, tickets[i]))
		}
		for _, c := range back {
			list := c.only(func(r received) bool { _, ok := r.msg.(*protocol.Group); return ok })
			if len(list) != 1 {
				t.Fatalf("%d positions", len(list))
			}
			m := list[0].msg.(*protocol.Group)
			checkPosition(t, m.GI, m.Slot, at(1))
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("settled after %v", took)
		}
	})
}

// TestRestart_forgedTickets is attack 48 over the wire.
func TestRestart_forgedTickets(t *testing.T) {
	inGroups(t, outlived(), func(w *world) {
		all, tickets := restarting(w, 3, nil)
		forged := *tickets[0]
		forged.Slot = protocol.MaxSequence
		liar := all[0].backWith(w, &forged)
		stolen := all[1].backWith(w, tickets[2]) // another's
		o := w.open()
		msg := o.resumeMessage(all[2])
		msg.Resume.Group = &protocol.GroupClaim{GI: testGroup, Slot: 1, HostTag: tickets[2].HostTag, Ticket: tickets[2].Ticket}
		text, err := protocol.Encode(msg)
		if err != nil {
			t.Fatal(err)
		}
		o.text(strings.Replace(string(text), `"slot":1,`, `"slot":9223372036854775808,`, 1))
		o.expectError(protocol.CodeBadMessage, true)
		honest := all[2].backWith(w, tickets[2])
		for _, c := range []*client{liar, stolen, honest} {
			list := c.only(func(r received) bool { _, ok := r.msg.(*protocol.Group); return ok })
			if len(list) != 1 {
				t.Fatalf("%d positions", len(list))
			}
			m := list[0].msg.(*protocol.Group)
			checkPosition(t, m.GI, m.Slot, at(1))
		}
		for _, c := range []*client{liar, stolen} {
			c.commit(testGroup, 1)
			c.getsStale(at(1))
		}
		honest.commit(testGroup, 1)
		honest.gets(honest, protocol.EnvelopeCommit, 1)
		if st := w.server.Stats(); st.Tickets[ticketOK] != 1 || st.Tickets[ticketForged] != 2 {
			t.Errorf("tickets %v", st.Tickets)
		}
	})
}

func TestRestart_withoutTicketsThereIsNoGroup(t *testing.T) {
	inGroups(t, outlived(), func(w *world) {
		all, _ := restarting(w, 2, nil)
		n := w.joinGroup(nil)
		n.create(protocol.GroupInstance{9})
		n.getsStale(nil) // those of before are awaited
		a := all[0].backWith(w, nil)
		time.Sleep(collectTime)
		a.only(func(received) bool { return false })
		n.only(func(received) bool { return false })
		a.create(testGroup)
		a.gets(a, protocol.EnvelopeCreate, 0)
	})
}

// TestRestart_nobodyComesBack: a newcomer waits until the time for it is over.
func TestRestart_nobodyComesBack(t *testing.T) {
	inGroups(t, outlived(), func(w *world) {
		restarting(w, 2, nil)
		start := time.Now()
		n := w.joinGroup(nil)
		n.create(testGroup)
		n.getsStale(nil)
		n.getsGroup(nil)
		if took := time.Since(start); took > protocol.ResumeTimeout {
			t.Errorf("waited %v", took)
		}
		n.create(testGroup)
		n.gets(n, protocol.EnvelopeCreate, 0)
	})
}

// TestRestart_otherRoomsDoNotWait: where nobody is awaited a group is made at once.
func TestRestart_otherRoomsDoNotWait(t *testing.T) {
	inGroups(t, outlived(), func(w *world) {
		restarting(w, 2, nil)
		_, link, _ := ed25519.GenerateKey(nil)
		w.link = link
		n := w.joinGroup(nil)
		n.create(testGroup)
		n.gets(n, protocol.EnvelopeCreate, 0)
	})
}

// TestRestart_newcomerBeforeTheNodeSpoke: it is told as soon as it is known that
// nobody is awaited.
func TestRestart_newcomerBeforeTheNodeSpoke(t *testing.T) {
	inGroups(t, outlived(), func(w *world) {
		w.crash()
		w.media.set(func() { w.media.mute = true })
		w.start()
		synctest.Wait()
		n := w.joinGroup(nil)
		n.create(testGroup)
		n.getsStale(nil)
		w.media.events <- sfu.Event{Kind: sfu.EventSynced}
		n.getsGroup(nil)
		n.create(testGroup)
		n.gets(n, protocol.EnvelopeCreate, 0)
		w.media.set(func() { w.media.mute = false })
	})
}

// TestGroup_nothingOfItInTheLog: positions, tickets and tokens are for clients.
func TestGroup_nothingOfItInTheLog(t *testing.T) {
	inGroups(t, outlived(), func(w *world) {
		all, tickets := restarting(w, 2, nil)
		a := all[0].backWith(w, tickets[0])
		a.send(&protocol.Evict{ID: 5, ConnID: all[1].conn, Host: make([]byte, protocol.HostTokenSize)})
		synctest.Wait()
		var text strings.Builder
		for _, e := range w.logs.All() {
			fmt.Fprintf(&text, "%s %v\n", e.Message, e.ContextMap())
		}
		for _, secret := range []string{
			testGroup.String(), tickets[0].Ticket.String(), tickets[0].HostTag.String(), protocol.Bytes(hostToken).String(),
			a.conn.String(), w.room().String(),
		} {
			if strings.Contains(text.String(), secret) {
				t.Errorf("%s is in the log", secret)
			}
		}
	})
}
