package cluster

import (
	"context"
	"hash/fnv"
	"time"
)

// placement is where a room lives, for as long as it has sessions or a join is open.
type placement struct {
	node     *node
	sessions int
	joins    int
}

// place returns the node of a room, which it chooses if there is none, and keeps it until placed is called.
func (r *Remote) place(ctx context.Context, room string) (node string, err error) {
	if err := r.waitSettled(ctx, room); err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.rooms[room]
	if p == nil {
		n := r.choose(room)
		if n == nil {
			return "", errNoNode()
		}
		p = &placement{node: n}
		r.rooms[room] = p
	}
	p.joins++
	return p.node.id, nil
}

// placed ends what place began.
func (r *Remote) placed(room, node string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.rooms[room]; p != nil && p.node.id == node && p.joins > 0 {
		p.joins--
		r.release(room, p)
	}
}

// release forgets an empty room; r.mu is held.
func (r *Remote) release(room string, p *placement) {
	if p.sessions == 0 && p.joins == 0 {
		delete(r.rooms, room)
	}
}

// find returns the node of a room, or the one that would be chosen: a session may exist of which the event is on its way.
func (r *Remote) find(ctx context.Context, room string) (node string, err error) {
	if err := r.waitSettled(ctx, room); err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.rooms[room]; p != nil {
		return p.node.id, nil
	}
	if n := r.choose(room); n != nil {
		return n.id, nil
	}
	return "", errNoNode()
}

// waitSettled waits, in the first moments of a Remote, until the nodes have told which rooms they have.
func (r *Remote) waitSettled(ctx context.Context, room string) error {
	for {
		r.mu.Lock()
		closed, known := r.closed, r.rooms[room] != nil
		r.mu.Unlock()
		rest := time.Until(r.settled)
		switch {
		case closed:
			return errNoNode()
		case known || rest <= 0:
			return nil
		}
		timer := time.NewTimer(min(rest, r.timing.Beat))
		select {
		case <-timer.C:
		case <-ctx.Done():
		case <-r.ctx.Done():
		}
		timer.Stop()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// choose is rendezvous hashing over the live nodes: every signaling comes to the same node, and a node that comes or goes moves
// no other room. A node that drains is better than none: its rooms move as soon as there is another. r.mu is held.
func (r *Remote) choose(room string) *node {
	var best *node
	var most uint64
	roomy := r.roomy() > 0
	for _, n := range r.nodes {
		if !n.known || n.draining && roomy {
			continue
		}
		w := weight(n.id, room)
		if best == nil || w > most || w == most && n.id < best.id {
			best, most = n, w
		}
	}
	return best
}

func weight(node, room string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(node))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(room))
	// FNV mixes its last bytes little; these are the finishing steps of MurmurHash3.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
