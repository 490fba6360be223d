package signal

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/zap"

	"sotto/sfu"
	"sotto/signal/delivery"
	"sotto/signal/protocol"
)

// room is who is there and the order of what they are told.
type room struct {
	id       protocol.RoomID
	name     string // id as text, the media node's name for the room
	counters *counters
	log      *zap.Logger

	// Guarded by Server.mu.
	refs  int        // members, and connects that are about to become one
	names []roomName // besides id, in the order of their ordinals

	mu      sync.Mutex
	group   *delivery.Group // and the order of all envelopes
	collect *time.Timer     // settles the group after a restart, nil: nobody is back
	members map[protocol.ConnID]*member
	// leaving are connections that are gone from the room, but not yet from
	// the media node: their ids cannot be taken again until then.
	leaving map[protocol.ConnID]struct{}
	leaves  [protocol.MaxPeers]*member
	next    int // where the search for a free leaf begins
}

// newRoom makes a room. Its order begins with the time in microseconds: more
// than a room sends, so that the numbers rise over a restart of the service,
// and no more than JSON holds exactly, for centuries.
func newRoom(id protocol.RoomID, key []byte, c *counters, log *zap.Logger, now time.Time) *room {
	return &room{
		id: id, name: id.String(), counters: c, log: log,
		group:   delivery.New(id, key, delivery.NewMemory(uint64(now.UnixMicro()))),
		members: make(map[protocol.ConnID]*member),
		leaving: make(map[protocol.ConnID]struct{}),
	}
}

// join admits a connection, answers its connect with welcome and tells the
// others. leaf -1 takes a free one. The refusal is nil on success.
func (r *room) join(m *member, id uint32, welcome *protocol.Welcome, resumeToken func(leaf int) string) *refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.free(m.conn) {
		return &refusal{id: &id, code: protocol.CodeDuplicateConn, text: "conn_id is in the room", fatal: true}
	}
	switch {
	case m.leaf < 0:
		leaf, ok := r.freeLeaf()
		if !ok {
			return &refusal{id: &id, code: protocol.CodeRoomFull, text: "no free leaf", fatal: true}
		}
		m.leaf = leaf
	case r.leaves[m.leaf] != nil:
		return &refusal{id: &id, code: protocol.CodeResumeRefused, text: "the leaf is taken", fatal: true}
	}
	welcome.ID, welcome.Leaf, welcome.Peers = id, m.leaf, r.peers(m)
	welcome.Resume, welcome.Group = resumeToken(m.leaf), r.position()
	m.session.send(welcome)
	r.tell(m, &protocol.PeerJoined{ConnID: m.conn, Leaf: m.leaf})
	if len(m.tracks) > 0 {
		r.tell(m, &protocol.PeerTracks{ConnID: m.conn, Tracks: m.tracks})
	}
	r.members[m.conn] = m
	r.leaves[m.leaf] = m
	r.group.Join(m.conn)
	return nil
}

// free reports whether a connection id can be taken.
func (r *room) free(conn protocol.ConnID) bool {
	_, there := r.members[conn]
	_, leaving := r.leaving[conn]
	return !there && !leaving
}

// freeLeaf goes round, so that a leaf rests before it names somebody else.
func (r *room) freeLeaf() (int, bool) {
	for i := range r.leaves {
		leaf := (r.next + i) % len(r.leaves)
		if r.leaves[leaf] == nil {
			r.next = (leaf + 1) % len(r.leaves)
			return leaf, true
		}
	}
	return 0, false
}

// peers lists everybody but one in the order of their leaves. r.mu is held.
func (r *room) peers(except *member) []protocol.Peer {
	var list []protocol.Peer
	for _, m := range r.leaves {
		if m != nil && m != except {
			list = append(list, m.peer())
		}
	}
	return list
}

// attach gives a member another connection: its welcome, then the envelopes
// that it missed. It returns the connection before, if there is one still.
func (r *room) attach(m *member, s *session, id uint32, after uint64, welcome *protocol.Welcome) (before *session, _ *refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.members[m.conn] != m {
		return nil, &refusal{id: &id, code: protocol.CodeResumeRefused, text: "nothing to resume", fatal: true}
	}
	missed, ok := m.outbox.after(after)
	if !ok {
		return nil, &refusal{id: &id, code: protocol.CodeResumeGap, text: "too many envelopes were missed", fatal: true}
	}
	welcome.ID, welcome.Leaf, welcome.Peers = id, m.leaf, r.peers(m)
	welcome.Lost = m.restored // it still waits for the list of peers
	welcome.Group = r.position()
	s.send(welcome)
	s.queue.replay(missed)
	before, m.session = m.session, s
	r.giveTicket(m) // the last one may have been lost
	r.tellNoGroup(m)
	if m.expiry != nil {
		m.expiry.Stop()
		m.expiry = nil
	}
	return before, nil
}

// detach notes that a member has lost its connection. expire is called when it
// has been away for too long; it may be called too early and looks itself. It
// reports false when the member has left, or goes on over another connection.
func (r *room) detach(m *member, by *session, patience time.Duration, expire func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.members[m.conn] != m || m.session != by {
		return false
	}
	m.session = nil
	m.until = time.Now().Add(patience)
	m.expiry = time.AfterFunc(patience, expire)
	return true
}

// leave takes a member out whose connection is s, and tells the others. It
// reports false when that is not so (any more).
func (r *room) leave(m *member, s *session, reason string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.members[m.conn] != m || m.session != s {
		return false
	}
	r.remove(m, reason)
	return true
}

// expire takes a member out that has been away for too long.
func (r *room) expire(m *member, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.members[m.conn] != m || m.session != nil || now.Before(m.until) {
		return false
	}
	r.remove(m, protocol.LeftGone)
	return true
}

// evict takes a member out, whatever its connection does, and returns that.
func (r *room) evict(m *member, reason string) (*session, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.members[m.conn] != m {
		return nil, false
	}
	r.remove(m, reason)
	return m.session, true
}

// remove is what every way out has in common. r.mu is held.
func (r *room) remove(m *member, reason string) {
	delete(r.members, m.conn)
	r.leaves[m.leaf] = nil
	r.leaving[m.conn] = struct{}{}
	if m.expiry != nil {
		m.expiry.Stop()
		m.expiry = nil
	}
	r.tell(m, &protocol.PeerLeft{ConnID: m.conn, Reason: reason})
	r.counters.left.add(reason)
	if r.group.Leave(m.conn) {
		r.tell(m, &protocol.Group{})
	}
}

// forget gives the member's conn_id free, after the media node let it go.
func (r *room) forget(m *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.leaving, m.conn)
}

// publish replaces what the others know of a member's tracks.
func (r *room) publish(m *member, tracks []protocol.Track) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Equal(m.tracks, tracks) {
		return
	}
	m.tracks = tracks
	if r.members[m.conn] == m {
		r.tell(m, &protocol.PeerTracks{ConnID: m.conn, Tracks: tracks})
	}
}

// setSlots takes note of what a member's slots carry, and tells it if it is
// time to.
func (r *room) setSlots(m *member, slots []sfu.Slot, tell bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.slots = slots
	if tell {
		r.tellSlots(m)
	}
}

// resendSlots tells a member its slots, as they were last.
func (r *room) resendSlots(m *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tellSlots(m)
}

// tellSlots leaves out slots that name somebody who is not in the room: the
// client has been told so already. One that came back after a restart may know
// those who have not yet. r.mu is held.
func (r *room) tellSlots(m *member) {
	if r.members[m.conn] != m || m.session == nil {
		return
	}
	msg := &protocol.Slots{}
	for _, s := range m.slots {
		conn, err := protocol.ParseConnID(s.Peer)
		if err != nil || r.members[conn] == nil && !m.restored {
			continue
		}
		msg.Slots = append(msg.Slots, protocol.Slot{MID: s.MID, ConnID: conn, Source: protocol.Source(s.Source), Paused: s.Paused})
	}
	m.session.send(msg)
}

// returned tells the slots that carry somebody who is back after a restart to
// those who did not know it before.
func (r *room) returned(back *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.leaves {
		if m != nil && m != back && !m.restored && slices.ContainsFunc(m.slots, func(s sfu.Slot) bool { return s.Peer == back.name }) {
			r.tellSlots(m)
		}
	}
}

// settle ends the time after a restart: those who are back get the list of
// everybody who is.
func (r *room) settle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.leaves {
		if m == nil || !m.restored {
			continue
		}
		m.restored = false
		if m.session != nil {
			m.session.send(&protocol.Peers{Peers: r.peers(m)})
			if len(m.slots) > 0 {
				r.tellSlots(m)
			}
		}
	}
}

// advance moves the order past a number that a participant saw before a
// restart, if it is not far ahead.
func (r *room) advance(seen, limit uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.group.Advance(seen, limit)
}

// relay gives an application envelope its number and queues it to its
// receivers. It is copied.
func (r *room) relay(from *member, by *session, h protocol.EnvelopeHeader, envelope []byte) {
	p := newPosting(envelope)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.speaks(from, by) {
		return
	}
	if !h.To.IsZero() && (r.members[h.To] == nil || h.To == from.conn) {
		r.counters.dropped.add(droppedNoReceiver)
		return
	}
	seq, refused := r.group.App(h, p.envelope())
	switch refused {
	case delivery.Accepted:
	case delivery.NotMember:
		r.counters.dropped.add(droppedNotMember)
		return
	default:
		r.counters.dropped.add(droppedLog)
		return
	}
	p.number(seq)
	r.counters.envelopes.Add(1)
	if !h.To.IsZero() {
		r.deliver(r.members[h.To], p)
		return
	}
	r.broadcast(from, p)
}

// speaks reports whether a member still speaks over that connection. One that
// was kicked a moment ago does not: nothing follows peer_left. r.mu is held.
func (r *room) speaks(m *member, over *session) bool {
	return r.members[m.conn] == m && m.session == over
}

// posting is an envelope on its way to its receivers, who share it.
type posting struct {
	seq   uint64
	frame frame
}

// newPosting copies an envelope.
func newPosting(envelope []byte) *posting {
	data := make([]byte, protocol.SequenceSize+len(envelope))
	copy(data[protocol.SequenceSize:], envelope)
	return &posting{frame: frame{kind: websocket.MessageBinary, data: data}}
}

func (p *posting) envelope() []byte { return p.frame.data[protocol.SequenceSize:] }

// number writes the order number. It comes before the first delivery.
func (p *posting) number(seq uint64) {
	p.seq = seq
	binary.BigEndian.PutUint64(p.frame.data, seq)
}

// broadcast delivers to everybody but one, or with nil to everybody. r.mu is held.
func (r *room) broadcast(except *member, p *posting) {
	for _, m := range r.leaves {
		if m != nil && m != except {
			r.deliver(m, p)
		}
	}
}

func (r *room) deliver(m *member, p *posting) {
	f := p.frame
	m.outbox.add(p.seq, f)
	if m.session != nil && m.session.queue.push(f) {
		r.counters.copies.Add(1)
		r.counters.bytes.Add(uint64(len(f.data)))
	}
}

// member finds a connection of the room.
func (r *room) member(conn protocol.ConnID) *member {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.members[conn]
}

// attached reports whether a member's connection is s.
func (r *room) attached(m *member, s *session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return m.session == s
}

// all lists the members in the order of their leaves.
func (r *room) all() []*member {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*member, 0, len(r.members))
	for _, m := range r.leaves {
		if m != nil {
			list = append(list, m)
		}
	}
	return list
}

// count is how many members there are, how many of them are away, and whether
// there is a group.
func (r *room) count() (members, away int, group bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		if m.session == nil {
			away++
		}
	}
	return len(r.members), away, r.group.Position() != nil
}

// send queues a message to a member that is not away.
func (r *room) send(m *member, msg protocol.ServerMessage) {
	f, ok := encode(r.log, msg)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.session != nil {
		m.session.queue.push(f)
	}
}

// tell queues a message to everybody but one. r.mu is held.
func (r *room) tell(except *member, msg protocol.ServerMessage) {
	f, ok := encode(r.log, msg)
	if !ok {
		return
	}
	for _, m := range r.leaves {
		if m != nil && m != except && m.session != nil {
			m.session.queue.push(f)
		}
	}
}

// encode writes a message. What does not encode is a fault of the service or
// of the media node: it is logged by its type and not sent.
func encode(log *zap.Logger, msg protocol.ServerMessage) (frame, bool) {
	data, err := protocol.Encode(msg)
	if err != nil {
		log.Error("message does not encode", zap.String("type", msg.Type()))
		return frame{}, false
	}
	return frame{kind: websocket.MessageText, data: data}, true
}
