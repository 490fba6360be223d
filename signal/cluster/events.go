package cluster

import (
	"context"
	"sync"
	"time"

	"sotto/sfu"
)

// reader is one channel of Events.
type reader struct {
	ready chan struct{} // holds one while something waits

	mu       sync.Mutex
	waiting  []sfu.Event
	isSynced bool
	over     bool // too much waited
}

// Events returns a channel of the events of all nodes: first a snapshot, ended by sfu.EventSynced, then what happens. In the
// first moments of a Remote the snapshot grows, and ends when the nodes have had the time to tell what they have. When a
// node is lost, each of its sessions gets an EventClosed with sfu.ReasonNodeClosed; the other nodes' go on. The channel is
// closed when ctx ends, after Close, or when the reader falls far behind: call Events again for a new snapshot.
func (r *Remote) Events(ctx context.Context) (<-chan sfu.Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, sfu.ErrClosed
	}
	q := &reader{ready: make(chan struct{}, 1)}
	for _, n := range r.nodes {
		for _, s := range n.sessions {
			if s.placed {
				q.push(differences(&sessionState{}, &s.state)...)
			}
		}
	}
	if !time.Now().Before(r.settled) {
		q.synced()
	}
	r.readers[q] = struct{}{}
	out := make(chan sfu.Event)
	r.running.Go(func() {
		defer close(out)
		q.pump(ctx, r.ctx, out)
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.readers, q)
	})
	return out, nil
}

// settle ends the snapshots that began before the nodes were known.
func (r *Remote) settle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for q := range r.readers {
		q.synced()
	}
}

// tell queues events for every reader; r.mu is held.
func (r *Remote) tell(events ...sfu.Event) {
	for q := range r.readers {
		q.push(events...)
	}
}

func (q *reader) push(events ...sfu.Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.over || len(events) == 0 {
		return
	}
	if len(q.waiting)+len(events) > maxWaiting {
		q.over, q.waiting = true, nil
	} else {
		q.waiting = append(q.waiting, events...)
	}
	q.wake()
}

// synced ends the snapshot, once.
func (q *reader) synced() {
	q.mu.Lock()
	was := q.isSynced
	q.isSynced = true
	q.mu.Unlock()
	if !was {
		q.push(sfu.Event{Kind: sfu.EventSynced})
	}
}

func (q *reader) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// pump moves events into the channel until one of the contexts ends or nothing follows.
func (q *reader) pump(ctx, remote context.Context, out chan<- sfu.Event) {
	for {
		select {
		case <-q.ready:
		case <-ctx.Done():
			return
		case <-remote.Done():
			return
		}
		q.mu.Lock()
		list, over := q.waiting, q.over
		q.waiting = nil
		q.mu.Unlock()
		if over {
			return // what waits would be out of date in a moment
		}
		for _, e := range list {
			select {
			case out <- e:
			case <-ctx.Done():
				return
			case <-remote.Done():
				return
			}
		}
	}
}
