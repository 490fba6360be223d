package sfu

import (
	"context"
	"fmt"

	"sotto/sfu/room"
	"sotto/sfu/shard"
	"sotto/sfu/transport"
)

// reader is one Events channel.
type reader struct {
	queue *shard.Queue[eventKey, Event]
}

// eventKey is what makes a later event replace one that still waits. A track's start and stop are one key.
type eventKey struct {
	session uint64
	kind    EventKind
	source  string
}

// readerBacklog is how many events per session may wait for a reader before it is cut off: connected, closed, slots, wanted and
// one for each source are all that a live session can have, the rest are sessions that came and went meanwhile.
const readerBacklog = 16

// Events returns a channel of events: first a snapshot of all sessions, ended by EventSynced, then what happens. What waits
// for a slow reader is merged to the latest state of each session; one that falls behind by far more than a snapshot is cut
// off. The channel is closed when ctx ends, the node closes or the reader is cut off: call Events again for a new snapshot.
func (n *Node) Events(ctx context.Context) (<-chan Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, ErrClosed
	}
	if len(n.readers) >= n.limits.EventReaders {
		return nil, fmt.Errorf("%w: event readers", ErrLimit)
	}
	r := &reader{queue: shard.NewQueue[eventKey, Event]()}
	for _, s := range n.sessions {
		n.snapshot(r, s)
	}
	r.queue.Push(eventKey{kind: EventSynced}, Event{Kind: EventSynced})
	n.readers[r] = struct{}{}
	out := make(chan Event)
	n.pumping.Go(func() { n.pump(ctx, r, out) })
	return out, nil
}

// snapshot queues the state of a session; Node.mu is held.
func (n *Node) snapshot(r *reader, s *session) {
	if !s.connected {
		return
	}
	r.push(s, Event{Kind: EventConnected})
	for source, running := range s.running {
		if running {
			r.push(s, Event{Kind: EventTrackStarted, Source: room.Source(source).String()})
		}
	}
	if len(s.filled) > 0 {
		r.push(s, Event{Kind: EventSlots, Slots: s.filled})
	}
	if len(s.wanted) > 0 {
		r.push(s, Event{Kind: EventWanted, Wanted: s.wanted})
	}
}

// push completes and queues an event of a session; Node.mu is held.
func (r *reader) push(s *session, e Event) int {
	e.Room, e.Peer = s.home.name, s.name
	key := eventKey{session: s.key, kind: e.Kind, source: e.Source}
	if key.kind == EventTrackStopped {
		key.kind = EventTrackStarted
	}
	return r.queue.Push(key, e)
}

// tell queues an event for every reader; Node.mu is held.
func (n *Node) tell(s *session, e Event) {
	for r := range n.readers {
		if r.push(s, e) > readerBacklog*n.limits.Peers {
			delete(n.readers, r)
			r.queue.Close()
		}
	}
}

// pump moves events from a reader's queue into its channel.
func (n *Node) pump(ctx context.Context, r *reader, out chan<- Event) {
	defer func() {
		n.mu.Lock()
		delete(n.readers, r)
		n.mu.Unlock()
		close(out)
	}()
	for {
		list, more := r.queue.Take()
		if !more {
			return
		}
		for _, e := range list {
			select {
			case out <- e:
			case <-ctx.Done():
				return
			case <-n.done:
				return
			}
		}
		if len(list) > 0 {
			continue
		}
		select {
		case <-r.queue.Ready():
		case <-ctx.Done():
			return
		case <-n.done:
			return
		}
	}
}

// drain takes the notices of a shard until it is closed.
func (n *Node) drain(s *served) {
	for {
		list, more := s.Notices().Take()
		if !more {
			return
		}
		for _, notice := range list {
			n.apply(notice)
		}
		if len(list) == 0 {
			<-s.Notices().Ready()
		}
	}
}

// apply brings a notice into the registry and to the readers.
func (n *Node) apply(notice shard.Notice) {
	n.mu.Lock()
	s := n.sessions[notice.Key]
	n.mu.Unlock()
	if s == nil {
		return // ended by the node meanwhile
	}
	if notice.Kind == shard.NoticeClosed {
		n.forget(s, closeReason(notice.Reason))
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sessions[s.key] != s {
		return
	}
	switch notice.Kind {
	case shard.NoticeConnected:
		s.connected = true
		n.tell(s, Event{Kind: EventConnected})
	case shard.NoticeSlots:
		s.filled = make([]Slot, len(notice.Slots))
		for i, slot := range notice.Slots {
			s.filled[i] = Slot{MID: slot.MID, Peer: slot.Publisher, Source: slot.Source.String()}
			if slot.Paused != room.NotPaused {
				s.filled[i].Paused = slot.Paused.String()
			}
		}
		n.tell(s, Event{Kind: EventSlots, Slots: s.filled})
	case shard.NoticeTrack:
		s.running[notice.Source] = notice.Running
		kind := EventTrackStopped
		if notice.Running {
			kind = EventTrackStarted
		}
		n.tell(s, Event{Kind: kind, Source: notice.Source.String()})
	case shard.NoticeWanted:
		source := notice.Source.String()
		s.setWanted(source, func(w *Wanted) { w.Layers = notice.Layers })
		n.tell(s, Event{Kind: EventWanted, Wanted: s.wanted})
	}
}

// closeReason maps the words of shard and transport to those of EventClosed.
func closeReason(word string) string {
	switch word {
	case ReasonLeft, ReasonKicked:
		return word
	case shard.ReasonFault:
		return ReasonFault
	case shard.ReasonClosed:
		return ReasonNodeClosed
	case transport.ReasonConsent.String(), transport.ReasonNoCheck.String():
		return ReasonTimeout
	}
	return ReasonTransport
}
