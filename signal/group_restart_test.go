package signal

import (
	"crypto/ed25519"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sotto/sfu"
	"sotto/signal/protocol"
)

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

// TestRestart_everybodyIsAhead: the service was killed after all had got a
// commit, and before any had got its ticket. Nobody stands where the service
// settles, so nobody can add anybody: the group is given up for a new one.
func TestRestart_everybodyIsAhead(t *testing.T) {
	inGroups(t, outlived(), func(w *world) {
		all, tickets := restarting(w, 2, nil) // and slot 2, which the test imagines
		a, b := all[0].backWith(w, tickets[0]), all[1].backWith(w, tickets[1])
		a.drain()
		b.drain()
		a.keyPackage(testGroup)
		b.gets(a, protocol.EnvelopeKP, 0)
		b.quiet()
		b.keyPackage(testGroup)
		a.gets(b, protocol.EnvelopeKP, 0)
		a.getsGroup(nil)
		b.getsGroup(nil)
		b.create(protocol.GroupInstance{8})
		a.gets(b, protocol.EnvelopeCreate, 0)
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
