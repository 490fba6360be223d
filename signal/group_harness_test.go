package signal

import (
	"bytes"
	"testing"

	"github.com/coder/websocket"

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

// form makes member connections of clients, the first of which founds the
// group. Everything they got until then is read.
func form(founder *client, others ...*client) {
	founder.t.Helper()
	founder.create(testGroup)
	founder.admit(testGroup, 0, others...)
	founder.drain()
	for _, c := range others {
		c.drain()
	}
}
