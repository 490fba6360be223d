package signal

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/coder/websocket"

	"sotto/sfu"
	"sotto/signal/protocol"
)

// room is who is there and the order of what they are told.
type room struct {
	id       protocol.RoomID
	name     string // id as text, the media node's name for the room
	counters *counters

	refs int // sessions that use the room; guarded by Server.mu

	mu      sync.Mutex
	seq     uint64 // of the last relayed envelope
	members map[protocol.ConnID]*member
	// leaving are connections that are gone from the room, but not yet from
	// the media node: their ids cannot be taken again until then.
	leaving map[protocol.ConnID]struct{}
	leaves  [protocol.MaxPeers]*member
	next    int // where the search for a free leaf begins
}

// member is an admitted connection. Its fields but tracks never change.
type member struct {
	room    *room
	conn    protocol.ConnID
	name    string // conn as text, the media node's name for the peer
	leaf    int
	session *session

	tracks []protocol.Track // what the others were told; guarded by room.mu
}

func newRoom(id protocol.RoomID, c *counters) *room {
	return &room{
		id: id, name: id.String(), counters: c,
		members: make(map[protocol.ConnID]*member),
		leaving: make(map[protocol.ConnID]struct{}),
	}
}

// join admits a connection, answers its connect and tells the others. The
// refusal is nil on success.
func (r *room) join(s *session, c *protocol.Connect) (*member, *refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, there := r.members[c.ConnID]
	_, leaving := r.leaving[c.ConnID]
	if there || leaving {
		return nil, &refusal{id: &c.ID, code: protocol.CodeDuplicateConn, text: "conn_id is in the room", fatal: true}
	}
	leaf, ok := r.freeLeaf()
	if !ok {
		return nil, &refusal{id: &c.ID, code: protocol.CodeRoomFull, text: "no free leaf", fatal: true}
	}
	m := &member{room: r, conn: c.ConnID, name: c.ConnID.String(), leaf: leaf, session: s}
	welcome := &protocol.Welcome{ID: c.ID, Leaf: leaf}
	for _, other := range r.leaves {
		if other != nil {
			welcome.Peers = append(welcome.Peers, protocol.Peer{
				ConnID: other.conn, Leaf: other.leaf, Tracks: other.tracks,
			})
		}
	}
	s.send(welcome)
	r.tell(m, &protocol.PeerJoined{ConnID: m.conn, Leaf: m.leaf})
	r.members[m.conn] = m
	r.leaves[leaf] = m
	return m, nil
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

// leave takes a member out and tells the others. It reports false when
// somebody else did before.
func (r *room) leave(m *member, reason string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.members[m.conn] != m {
		return false
	}
	delete(r.members, m.conn)
	r.leaves[m.leaf] = nil
	r.leaving[m.conn] = struct{}{}
	r.tell(m, &protocol.PeerLeft{ConnID: m.conn, Reason: reason})
	r.counters.left.add(reason)
	return true
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
	if r.members[m.conn] != m || slices.Equal(m.tracks, tracks) {
		return
	}
	m.tracks = tracks
	r.tell(m, &protocol.PeerTracks{ConnID: m.conn, Tracks: tracks})
}

// slots tells a member what its slots carry. Slots that name somebody who is
// not in the room are left out: the client has been told so already.
func (r *room) slots(m *member, slots []sfu.Slot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.members[m.conn] != m {
		return
	}
	msg := &protocol.Slots{}
	for _, s := range slots {
		conn, err := protocol.ParseConnID(s.Peer)
		if err != nil || r.members[conn] == nil {
			continue
		}
		msg.Slots = append(msg.Slots, protocol.Slot{MID: s.MID, ConnID: conn, Source: protocol.Source(s.Source)})
	}
	m.session.send(msg)
}

// relay gives an envelope its number and queues it to its receivers. sealed is
// the whole envelope; it is copied.
func (r *room) relay(from *member, to protocol.ConnID, envelope []byte) {
	data := make([]byte, protocol.SequenceSize+len(envelope))
	copy(data[protocol.SequenceSize:], envelope)
	f := frame{kind: websocket.MessageBinary, data: data}

	r.mu.Lock()
	defer r.mu.Unlock()
	if r.members[from.conn] != from {
		return // kicked a moment ago: nothing follows peer_left
	}
	if !to.IsZero() && (r.members[to] == nil || to == from.conn) {
		r.counters.dropped.add(droppedNoReceiver)
		return
	}
	r.seq++
	binary.BigEndian.PutUint64(data, r.seq)
	r.counters.envelopes.Add(1)
	if !to.IsZero() {
		r.deliver(r.members[to], f)
		return
	}
	for _, m := range r.leaves {
		if m != nil && m != from {
			r.deliver(m, f)
		}
	}
}

func (r *room) deliver(m *member, f frame) {
	if m.session.queue.push(f) {
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

// tell queues a message to everybody but one. r.mu is held.
func (r *room) tell(except *member, msg protocol.ServerMessage) {
	f, ok := except.session.encode(msg)
	if !ok {
		return
	}
	for _, m := range r.leaves {
		if m != nil && m != except {
			m.session.queue.push(f)
		}
	}
}
