package cluster

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"sotto/sfu"
)

// node is a live media node. All fields are guarded by Remote.mu, and written by the goroutine of Remote.follow alone.
type node struct {
	id         string
	generation string
	number     uint64 // of the last message that was taken in
	sessions   map[sessionKey]*session
	known      bool // a snapshot has been taken once: its rooms are known
	draining   bool // it is being emptied
	heard      time.Time

	sync     syncState
	asked    time.Time // for a snapshot
	nextPart int
	incoming []sessionState // parts so far
}

// syncState is how far a node's stream is followed.
type syncState uint8

const (
	syncLost      syncState = iota // a snapshot was asked for
	syncReading                    // its first parts have come
	syncFollowing                  // every message up to number is in
)

// session is a session of a node.
type session struct {
	state sessionState
	// placed: the room lives on this node. A session that is left over on another one, from before that was taken as lost, says
	// nothing to signaling.
	placed bool
}

// follow takes in the streams of the nodes until Close.
func (r *Remote) follow() {
	beat := time.NewTicker(r.timing.Beat)
	defer beat.Stop()
	settled := time.NewTimer(time.Until(r.settled))
	defer settled.Stop()
	r.hello()
	last := time.Now()
	for {
		select {
		case <-r.ctx.Done():
			return
		case m := <-r.stream:
			r.take(time.Now(), m)
		case <-beat.C:
			now := time.Now()
			if now.Before(r.settled) {
				r.hello() // the first may have been lost
			}
			for range len(r.stream) { // who has spoken is not silent
				r.take(now, <-r.stream)
			}
			r.check(now, last)
			last = now
		case <-settled.C:
			r.settle()
		}
	}
}

// hello makes the nodes beat at once.
func (r *Remote) hello() { _ = r.nc.Publish(subjectSignal, encode(signalHello{Signal: r.id})) }

// check looks for nodes that fell silent and snapshots that did not come. last is when it was called before: after a long pause
// of this process their beats may still wait to be read.
func (r *Remote) check(now, last time.Time) {
	listening := r.nc.IsConnected() && now.Sub(last) <= r.timing.Lost/2
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.nodes {
		switch {
		case !listening:
			n.heard = now // nothing can be said about anybody
		case now.Sub(n.heard) > r.timing.Lost:
			r.log.Warn("media node lost", zap.String("node", n.id), zap.Int("sessions", len(n.sessions)))
			r.lose(n)
		case n.sync != syncFollowing && now.Sub(n.asked) > 4*r.timing.Beat:
			r.resync(now, n)
		}
		if listening && n.draining && n.sync == syncFollowing && now.After(r.movable) {
			r.move(n)
		}
	}
}

// take takes in a message of a node.
func (r *Remote) take(now time.Time, m *nats.Msg) {
	id, _, _ := strings.Cut(strings.TrimPrefix(m.Subject, subjectEvents("")), ".")
	msg, err := decode[notice](m.Data)
	if err != nil || !ValidNodeID(id) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.nodes[id]
	switch {
	case msg.Bye:
		if n != nil && n.generation == msg.Generation {
			r.log.Info("media node stopped", zap.String("node", id))
			r.lose(n)
		}
		return
	case n != nil && n.generation != msg.Generation:
		r.log.Warn("media node started anew", zap.String("node", id), zap.Int("sessions", len(n.sessions)))
		r.lose(n)
		n = nil
	}
	if n == nil {
		if len(r.nodes) >= maxNodes {
			return
		}
		n = &node{id: id, generation: msg.Generation, sessions: make(map[sessionKey]*session)}
		r.nodes[id] = n
		r.resync(now, n)
	}
	n.heard = now
	if msg.Draining && !n.draining {
		n.draining = true
		r.log.Info("media node drains", zap.String("node", id), zap.Int("sessions", len(n.sessions)))
	}
	switch {
	case msg.Part != nil:
		r.takePart(now, n, msg.Number, msg.Part)
	case n.sync == syncReading: // parts come without anything between
		r.resync(now, n)
	case n.sync == syncLost:
	case msg.Event == nil && msg.Number == n.number:
	case msg.Event != nil && msg.Number == n.number+1:
		n.number++
		r.apply(n, msg.Event)
	default:
		r.log.Info("events of a media node are missing", zap.String("node", id))
		r.resync(now, n)
	}
}

// resync asks a node for a snapshot; r.mu is held.
func (r *Remote) resync(now time.Time, n *node) {
	n.sync, n.asked, n.incoming = syncLost, now, nil
	_ = r.nc.Publish(subjectNode(n.id, opSnapshot), encode(request{Signal: r.id}))
}

// takePart collects a snapshot and takes it in when it is complete; r.mu is held.
func (r *Remote) takePart(now time.Time, n *node, number uint64, p *part) {
	switch {
	case p.Index == 0:
		n.sync, n.number, n.nextPart, n.incoming = syncReading, number, 0, nil
	case n.sync != syncReading:
		return // the beginning was lost; check asks again
	}
	if p.Index != n.nextPart || number != n.number || len(n.incoming)+len(p.Sessions) > maxSessions {
		r.resync(now, n)
		return
	}
	n.nextPart++
	n.incoming = append(n.incoming, p.Sessions...)
	if p.Last {
		if now.Before(r.settled) && len(n.incoming) > 0 {
			r.movable = now.Add(comeBack)
		}
		r.install(n, n.incoming)
		n.sync, n.known, n.incoming = syncFollowing, true, nil
	}
}

// install makes a snapshot the state of the node, and tells the readers what is different; r.mu is held.
func (r *Remote) install(n *node, list []sessionState) {
	there := make(map[sessionKey]bool, len(list))
	for _, s := range list {
		there[sessionKey{s.Room, s.Peer}] = true
	}
	for key := range maps.Clone(n.sessions) {
		if !there[key] {
			r.remove(n, key, sfu.ReasonTransport)
		}
	}
	for _, state := range list {
		s := r.add(n, sessionKey{state.Room, state.Peer})
		if s == nil {
			continue
		}
		before := s.state
		s.state = state
		if s.placed {
			r.tell(differences(&before, &state)...)
		}
	}
}

// differences are the events that lead from one state of a session to another.
func differences(from, to *sessionState) []sfu.Event {
	var list []sfu.Event
	tell := func(e sfu.Event) {
		e.Room, e.Peer = to.Room, to.Peer
		list = append(list, e)
	}
	if to.Connected && !from.Connected {
		tell(sfu.Event{Kind: sfu.EventConnected})
	}
	for _, source := range from.Running {
		if !slices.Contains(to.Running, source) {
			tell(sfu.Event{Kind: sfu.EventTrackStopped, Source: source})
		}
	}
	for _, source := range to.Running {
		if !slices.Contains(from.Running, source) {
			tell(sfu.Event{Kind: sfu.EventTrackStarted, Source: source})
		}
	}
	if !slices.Equal(from.Slots, to.Slots) {
		tell(sfu.Event{Kind: sfu.EventSlots, Slots: to.Slots})
	}
	if !slices.Equal(from.Wanted, to.Wanted) {
		tell(sfu.Event{Kind: sfu.EventWanted, Wanted: to.Wanted})
	}
	return list
}

// apply takes in an event; r.mu is held.
func (r *Remote) apply(n *node, w *event) {
	key := sessionKey{w.Room, w.Peer}
	e := sfu.Event{
		Kind: eventKind(w.Kind), Room: w.Room, Peer: w.Peer,
		Slots: w.Slots, Wanted: w.Wanted, Source: w.Source, Reason: w.Reason,
	}
	switch {
	case w.Kind == kindOpened:
		r.add(n, key)
	case e.Kind == 0: // of a newer version
	case e.Kind == sfu.EventClosed:
		r.remove(n, key, w.Reason)
	default:
		if s := r.add(n, key); s != nil {
			s.state.apply(e)
			if s.placed {
				r.tell(e)
			}
		}
	}
}

// add finds or makes a session, and places its room if no node has it; nil above the cap. r.mu is held.
func (r *Remote) add(n *node, key sessionKey) *session {
	if s := n.sessions[key]; s != nil {
		return s
	}
	if r.count >= maxSessions {
		return nil
	}
	r.count++
	s := &session{state: sessionState{Room: key.room, Peer: key.peer}}
	n.sessions[key] = s
	p := r.rooms[key.room]
	if p == nil {
		p = &placement{node: n}
		r.rooms[key.room] = p
	}
	if p.node == n {
		p.sessions++
		s.placed = true
	}
	return s
}

// remove ends a session; r.mu is held.
func (r *Remote) remove(n *node, key sessionKey, reason string) {
	s := n.sessions[key]
	if s == nil {
		return
	}
	r.count--
	delete(n.sessions, key)
	if !s.placed {
		return
	}
	p := r.rooms[key.room]
	p.sessions--
	r.release(key.room, p)
	r.tell(sfu.Event{Kind: sfu.EventClosed, Room: key.room, Peer: key.peer, Reason: reason})
}

// lose forgets a node with its sessions and rooms; r.mu is held.
func (r *Remote) lose(n *node) {
	for key, s := range maps.Clone(n.sessions) {
		if n.draining && s.placed {
			r.cut++
		}
		r.remove(n, key, sfu.ReasonNodeClosed)
	}
	for room, p := range r.rooms {
		if p.node == n { // joins are open, and will fail
			delete(r.rooms, room)
		}
	}
	delete(r.nodes, n.id)
}
