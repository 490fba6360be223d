package group

import (
	"slices"
	"time"

	"sotto/e2ee/link"
	"sotto/e2ee/mls"
)

// padding: application messages are filled with spaces, which JSON ignores, to
// a multiple of this, so that sizes tell little.
const padding = 256

// kindHeartbeat is the one kind of application message that this package looks
// at: who sends it is alive in its epoch.
const kindHeartbeat = 2

// maxBody is the longest body of an application message in bytes: what is left
// of an envelope of 32 KiB.
const maxBody = 30 << 10

// queued is an application message that is not sealed yet.
type queued struct {
	kind uint8
	body []byte
}

// Send sends an application message to all members. It may wait for a commit
// under way. The error is [ErrNotMember] before the admission, [ErrMessage] if
// it is too long, or [ErrFull].
func (g *Group) Send(now time.Time, kind uint8, body []byte, out *Actions) error {
	if g.cur == nil {
		return ErrNotMember
	}
	if len(body) > maxBody {
		return ErrMessage
	}
	if kind == kindHeartbeat { // one tells all that those before it told
		g.queue = slices.DeleteFunc(g.queue, func(q queued) bool { return q.kind == kind })
	}
	if len(g.queue) >= maxQueue {
		return ErrFull
	}
	g.queue = append(g.queue, queued{kind, slices.Clone(body)})
	g.run(now, out)
	return nil
}

// unseal puts back a message whose epoch ended while it waited for a signature:
// who has been removed meanwhile is not to read it.
func (g *Group) unseal() {
	g.dropTask(taskMessage)
	if g.sealing != nil {
		g.queue = slices.Insert(g.queue, 0, *g.sealing)
		g.sealing = nil
	}
}

// sealNext seals the first message of the queue.
func (g *Group) sealNext(out *Actions) {
	q := g.queue[0]
	g.queue = g.queue[1:]
	e := g.cur
	signing, err := e.group.Seal(encodeMessage(q.kind, q.body), nil, 0)
	if err != nil {
		return
	}
	g.sealing = &q
	sign(g, taskMessage, signing, out, func(_ time.Time, s *mls.Sealed, out *Actions) {
		g.sealing = nil
		h := link.Header{Type: link.TypeApp, Gen: g.gen, Group: g.at.Group, Epoch: e.number}
		if envelope, err := g.sealer.Seal(h, s.Message); err == nil {
			out.Send = append(out.Send, envelope)
		}
	})
}

// encodeMessage returns u8 kind || body || spaces.
func encodeMessage(kind uint8, body []byte) []byte {
	size := (1 + len(body) + padding - 1) / padding * padding
	data := append(append(make([]byte, 0, size), kind), body...)
	for len(data) < size {
		data = append(data, ' ')
	}
	return data
}

func decodeMessage(data []byte) (kind uint8, body []byte, err error) {
	if len(data) == 0 || len(data)%padding != 0 {
		return 0, nil, ErrMessage
	}
	return data[0], data[1:], nil
}

// message takes an application message, of the current epoch or of one before.
func (g *Group) message(now time.Time, h link.Header, data []byte, out *Actions) error {
	if h.Slot != 0 || !g.grouped || h.Group != g.at.Group || h.To != (link.ConnID{}) && h.To != g.cfg.Conn || h.From == g.cfg.Conn {
		return ErrEnvelope
	}
	sealed, err := g.open(h, data)
	if err != nil {
		return err
	}
	e := g.epochOf(h.Epoch)
	if e == nil {
		if g.doubt.on && h.Epoch > g.cur.number {
			g.doubt.ahead = true
		}
		return ErrEnvelope
	}
	received, err := e.group.Process(sealed)
	if err != nil {
		return err
	}
	p := e.byLeaf(received.Sender)
	if received.Kind != mls.KindApplication || p == nil || p.Conn != h.From {
		return ErrEnvelope
	}
	if g.cur != nil && g.cur.byConn(p.Conn) == nil {
		return ErrNotMember // removed since: nothing more is heard of it
	}
	kind, body, err := decodeMessage(received.Data)
	if err != nil {
		return err
	}
	if e == g.cur {
		g.heard(now, p.Conn, kind, out)
	}
	out.Messages = append(out.Messages, Message{Conn: p.Conn, Leaf: p.Leaf, Epoch: e.number, Kind: kind, Body: body})
	return nil
}

// epochOf finds the epoch of a message: the current one, or an old one that is
// still accepted.
func (g *Group) epochOf(number uint64) *epoch {
	if g.cur != nil && g.cur.number == number {
		return g.cur
	}
	for _, e := range g.old {
		if e.number == number {
			return e
		}
	}
	return nil
}
