package signal

import (
	"net/netip"
	"sort"
	"time"

	"sotto/sfu"
	"sotto/signal/protocol"
)

// member is a participation: a place in a room and what goes with it. It
// outlives its WebSocket by Limits.ResumeTimeout, and while it does the others
// are told nothing.
type member struct {
	// These never change.
	room        *room
	conn        protocol.ConnID
	name        string // conn as text, the media node's name for the peer
	leaf        int
	grant       grant
	entry       roomName // by which it came
	negotiation *negotiation

	// kept is the address that its connection came from, while away. Guarded by
	// Server.mu.
	kept   netip.Addr
	isKept bool

	// These are guarded by room.mu.
	session  *session         // nil: away
	until    time.Time        // while away: when it is gone
	expiry   *time.Timer      // while away: ends it then
	tracks   []protocol.Track // what the others were told
	slots    []sfu.Slot       // what the node said last
	outbox   outbox
	restored bool // came back after a restart; its list of peers is still open
}

// peer is the member as the others see it. room.mu is held.
func (m *member) peer() protocol.Peer {
	return protocol.Peer{ConnID: m.conn, Leaf: m.leaf, Tracks: m.tracks}
}

// outbox keeps the latest envelopes for a member, for its next WebSocket: what
// was written to one that broke may not have arrived. Its frames are shared
// with the other receivers.
type outbox struct {
	maxFrames, maxBytes int
	kept                []numbered
	bytes               int
	dropped             uint64 // order number of the last one that is no longer kept
}

// numbered is an envelope with its order number.
type numbered struct {
	seq   uint64
	frame frame
}

func (o *outbox) add(seq uint64, f frame) {
	o.kept = append(o.kept, numbered{seq, f})
	o.bytes += len(f.data)
	for len(o.kept) > o.maxFrames || o.bytes > o.maxBytes {
		o.dropped = o.kept[0].seq
		o.bytes -= len(o.kept[0].frame.data)
		o.kept[0] = numbered{}
		o.kept = o.kept[1:]
	}
}

// after returns what followed a number, or false when some of it is no longer
// kept.
func (o *outbox) after(seq uint64) ([]frame, bool) {
	if seq < o.dropped {
		return nil, false
	}
	first := sort.Search(len(o.kept), func(i int) bool { return o.kept[i].seq > seq })
	frames := make([]frame, 0, len(o.kept)-first)
	for _, n := range o.kept[first:] {
		frames = append(frames, n.frame)
	}
	return frames, true
}
