package cluster

import (
	"maps"
	"slices"
	"sync"

	"sotto/sfu"
)

// registry is what a node knows of its sessions, and the writer of its stream. Everything that changes it is published under
// its lock, so that the numbers of the stream and of snapshots are those of its states.
type registry struct {
	publish    func(subject string, data []byte) // does not wait for the other side; what is lost is noticed by its number
	node       string
	generation string

	mu       sync.Mutex
	draining bool
	number   uint64
	sessions map[sessionKey]*entry
}

type sessionKey struct{ room, peer string }

// entry is a session of the node.
type entry struct {
	state  sessionState
	joined bool          // by a Join that Serve saw; otherwise an event came first
	gone   chan struct{} // closed when the session has ended
}

func newRegistry(node, generation string, publish func(string, []byte)) *registry {
	return &registry{
		publish: publish, node: node, generation: generation,
		sessions: make(map[sessionKey]*entry),
	}
}

// joined enters a session that the node has made. If the node's event about the end of a former session of that peer is still
// on its way, it returns the channel to wait for before trying again; force does not wait.
func (r *registry) joined(key sessionKey, force bool) (wait <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.sessions[key]
	if e != nil && e.joined && !force {
		return e.gone
	}
	if e == nil {
		e = r.add(key)
	}
	e.joined = true
	r.tell(&event{Kind: kindOpened, Room: key.room, Peer: key.peer})
	return nil
}

// keys lists the sessions.
func (r *registry) keys() []sessionKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.sessions))
}

func (r *registry) add(key sessionKey) *entry {
	e := &entry{state: sessionState{Room: key.room, Peer: key.peer}, gone: make(chan struct{})}
	r.sessions[key] = e
	return e
}

func (r *registry) remove(key sessionKey) {
	if e := r.sessions[key]; e != nil {
		delete(r.sessions, key)
		close(e.gone)
	}
}

// apply takes an event of the node and publishes it.
func (r *registry) apply(e sfu.Event) {
	key := sessionKey{e.Room, e.Peer}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sessions[key]
	switch {
	case e.Kind == sfu.EventSynced:
		return
	case e.Kind == sfu.EventClosed:
		r.remove(key)
	case s == nil:
		s = r.add(key)
	}
	if s != nil {
		s.state.apply(e)
	}
	r.tell(wireEvent(e))
}

// apply brings an event into the state. Both sides do it alike.
func (s *sessionState) apply(e sfu.Event) {
	i := slices.Index(s.Running, e.Source)
	switch e.Kind {
	case sfu.EventConnected:
		s.Connected = true
	case sfu.EventSlots:
		s.Slots = e.Slots
	case sfu.EventWanted:
		s.Wanted = e.Wanted
	case sfu.EventTrackStarted:
		if i < 0 {
			s.Running = append(s.Running, e.Source)
		}
	case sfu.EventTrackStopped:
		if i >= 0 {
			s.Running = slices.Delete(s.Running, i, i+1)
		}
	}
}

// tell publishes an event under the next number; r.mu is held.
func (r *registry) tell(e *event) {
	r.number++
	r.send(subjectEvents(r.node), notice{Event: e})
}

// send completes a message of the stream and publishes it; r.mu is held.
func (r *registry) send(subject string, n notice) {
	n.Generation, n.Number, n.Draining = r.generation, r.number, r.draining
	r.publish(subject, encode(n))
}

// beat publishes the last number, so that a lost event is noticed also when no other follows.
func (r *registry) beat() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.send(subjectEvents(r.node), notice{})
}

// drain publishes that the node is to be emptied, from now on with everything.
func (r *registry) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = true
	r.send(subjectEvents(r.node), notice{})
}

// bye publishes that the node stops.
func (r *registry) bye() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.send(subjectEvents(r.node), notice{Bye: true})
}

// snapshot publishes all sessions to one signaling, in parts. No event comes between them.
func (r *registry) snapshot(signal string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := part{}
	size := 0
	send := func() {
		r.send(subjectSnapshot(r.node, signal), notice{Part: &p})
		p = part{Index: p.Index + 1}
		size = 0
	}
	for _, e := range r.sessions {
		p.Sessions = append(p.Sessions, e.state)
		// A slot is three ids of at most some 130 bytes; the estimate need not be exact, parts are far below the cap.
		if size += 300 + 200*len(e.state.Slots); size > maxPart {
			send()
		}
	}
	p.Last = true
	send()
}
