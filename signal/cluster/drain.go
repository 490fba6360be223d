package cluster

import (
	"context"
	"sync"
	"time"

	"sotto/sfu"
)

// movesPerBeat is how many participants are told to join elsewhere at a time; a room goes as a whole. With four beats a second
// it is some 200 joins a second, DTLS handshakes and key frames, for the nodes that take them.
const movesPerBeat = 50

// comeBack is how long rooms stay on a node that drains when signaling has just started and found them there: their participants
// have 20 s to resume (PROTOCOL.md section 12), and are known to nobody before.
const comeBack = 21 * time.Second

// Drain is the order to empty a media node, given by its process or over the cluster. It cannot be taken back. Safe for
// concurrent use.
type Drain struct {
	once  sync.Once
	begun chan struct{}
}

// NewDrain returns an order that has not been given.
func NewDrain() *Drain { return &Drain{begun: make(chan struct{})} }

// Begin gives the order.
func (d *Drain) Begin() { d.once.Do(func() { close(d.begun) }) }

// Begun is closed when the order has been given.
func (d *Drain) Begun() <-chan struct{} { return d.begun }

// Drain has a node emptied: its rooms move to other nodes and no new ones come, while its process goes on. ErrNoNode: no live
// node has this id.
func (r *Remote) Drain(ctx context.Context, node string) error {
	if !ValidNodeID(node) {
		return errNoNode()
	}
	_, err := r.ask(ctx, node, opDrain, request{})
	return err
}

// move tells participants of a node that drains to join again, room by room; r.mu is held. Their media sessions go on until they
// close them or the node ends. Without another node they stay.
func (r *Remote) move(n *node) {
	if r.roomy() == 0 {
		return
	}
	rooms := make(map[string][]*session)
	for key, s := range n.sessions {
		if s.placed && r.rooms[key.room].joins == 0 { // who is joining has to be told as well: later
			rooms[key.room] = append(rooms[key.room], s)
		}
	}
	moved := 0
	for room, sessions := range rooms {
		if moved >= movesPerBeat {
			break
		}
		delete(r.rooms, room)
		for _, s := range sessions {
			s.placed = false
			r.tell(sfu.Event{Kind: sfu.EventClosed, Room: room, Peer: s.state.Peer, Reason: sfu.ReasonDrained})
		}
		moved += len(sessions)
	}
	r.moved += uint64(moved)
}

// roomy is how many nodes take new rooms; r.mu is held.
func (r *Remote) roomy() int {
	count := 0
	for _, n := range r.nodes {
		if n.known && !n.draining {
			count++
		}
	}
	return count
}
