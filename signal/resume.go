package signal

import (
	"context"
	"time"

	"go.uber.org/zap"

	"sotto/sfu"
	"sotto/signal/protocol"
)

// recovery is the time after a restart in which the participants of before may
// come back. Guarded by Server.mu.
type recovery struct {
	// orphans are the node's sessions that belong to nobody here yet. There are
	// no more than the node has.
	orphans map[orphanID]*orphan
	rooms   map[protocol.RoomID]int // how many of them, where there are some
	synced  chan struct{}           // closed when the node has told all it has
	isKnown bool                    // synced is closed
}

type orphanID struct {
	room protocol.RoomID
	conn protocol.ConnID
}

// orphan is a media session without its participant.
type orphan struct {
	slots  []sfu.Slot
	wanted []sfu.Wanted
}

func newRecovery() *recovery {
	return &recovery{orphans: make(map[orphanID]*orphan), rooms: make(map[protocol.RoomID]int), synced: make(chan struct{})}
}

// awaits reports whether somebody of a room may come back.
func (r *recovery) awaits(room protocol.RoomID) bool {
	return !r.isKnown || r.rooms[room] > 0
}

func (r *recovery) add(id orphanID) {
	if r.orphans[id] == nil {
		r.rooms[id.room]++
	}
	r.orphans[id] = &orphan{}
}

func (r *recovery) remove(id orphanID) {
	if r.orphans[id] == nil {
		return
	}
	delete(r.orphans, id)
	if r.rooms[id.room]--; r.rooms[id.room] == 0 {
		delete(r.rooms, id.room)
	}
}

// newcomersLeaf is where newcomers to a room take their leaves from while those
// of before, whose leaves are not known, come back: far from zero, where most
// rooms begin, and elsewhere after every restart. Who meets its leaf taken all
// the same has to join anew.
func newcomersLeaf(now time.Time) int {
	const quarter = protocol.MaxPeers / 4
	return quarter + int(uint64(now.Unix())*37%(2*quarter))
}

// event takes note of what the node says of a session that nobody has.
func (r *recovery) event(id orphanID, e sfu.Event) {
	switch e.Kind {
	case sfu.EventConnected:
		r.add(id)
	case sfu.EventSlots:
		if o := r.orphans[id]; o != nil {
			o.slots = e.Slots
		}
	case sfu.EventWanted:
		if o := r.orphans[id]; o != nil {
			o.wanted = e.Wanted
		}
	case sfu.EventClosed:
		r.remove(id)
	}
}

// settleGroup settles a room's group when nobody of before is awaited in it.
// s.mu is held.
func (s *Server) settleGroup(id protocol.RoomID) {
	if r := s.rooms[id]; r != nil && (s.recovery == nil || !s.recovery.awaits(id)) {
		r.settleGroup()
	}
}

// recover ends the recovery after its time: who is back learns who is, and the
// media of those who are not ends.
func (s *Server) recover() {
	select {
	case <-s.ctx.Done():
		return
	case <-time.After(s.limits.ResumeTimeout):
	}
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return // the sessions are the next service's
	}
	orphans := s.recovery.orphans
	s.recovery = nil
	rooms := make([]*room, 0, len(s.rooms))
	for _, r := range s.rooms {
		rooms = append(rooms, r)
	}
	s.mu.Unlock()
	for _, r := range rooms {
		r.settleGroup()
		r.settle()
	}
	for id := range orphans {
		ctx, cancel := context.WithTimeout(s.ctx, s.limits.MediaTimeout)
		err := s.media.Leave(ctx, id.room.String(), id.conn.String())
		cancel()
		if err != nil && !gone(err) {
			s.log.Warn("media session not ended", logRoom(id.room), logConn(id.conn), zap.String("code", string(mediaCode(err))))
		}
	}
	s.log.Info("recovery over", zap.Int("not back", len(orphans)))
}

// resume continues a participation over another connection. lost says that the
// service was restarted meanwhile.
func (s *Server) resume(ctx context.Context, by *session, c *protocol.Connect) (_ *member, lost bool, _ *refusal) {
	now := time.Now()
	refused := &refusal{id: &c.ID, code: protocol.CodeResumeRefused, text: "nothing to resume", fatal: true}
	t, ok := s.resumeKey.open(c.Resume.Token, c.Room, c.ConnID, now)
	if !ok {
		return nil, false, refused
	}
	s.mu.Lock()
	m, recovery := s.find(t.room, c.ConnID), s.recovery
	s.mu.Unlock()
	if m == nil && recovery != nil {
		select {
		case <-recovery.synced:
		case <-time.After(s.limits.MediaTimeout):
			return nil, false, &refusal{id: &c.ID, code: protocol.CodeBusy, text: "no word of the media node yet", fatal: true}
		case <-ctx.Done():
			return nil, false, refused
		}
		var why *refusal
		if m, why = s.restore(by, c, t, now); m != nil {
			return m, true, nil
		} else if why != nil {
			return nil, false, why
		}
		m = s.member(t.room, c.ConnID) // another connection may have been faster
	}
	if m == nil || m.leaf != t.leaf {
		return nil, false, refused
	}
	s.mu.Lock()
	s.unkeep(m)
	s.mu.Unlock()
	welcome := s.welcome(m)
	welcome.Resumed, welcome.Resume = true, s.sealer(m, now)(m.leaf)
	before, why := m.negotiation.attach(by, c, welcome)
	if why != nil {
		if why.code == protocol.CodeResumeGap {
			s.drop(m)
		}
		return nil, false, why
	}
	if before != nil { // half open, or slower than its successor
		before.end(&refusal{code: protocol.CodeReplaced, text: "another connection goes on", fatal: true})
	}
	return m, welcome.Lost, nil
}

// drop ends a participation that its client cannot continue.
func (s *Server) drop(m *member) {
	before, ok := m.room.evict(m, protocol.LeftGone)
	if !ok {
		return
	}
	if before != nil {
		before.end(&refusal{code: protocol.CodeReplaced, text: "another connection goes on", fatal: true})
	}
	go s.dismiss(m, false) // the client need not wait for the node
}

// maxClockStep bounds how far a client's word moves a room's order: the clock
// may have been put back while the service was down.
const maxClockStep = time.Hour

// restore makes a member of a participant of before the restart, whose media
// session the node still has. Both results are nil when it has none.
func (s *Server) restore(by *session, c *protocol.Connect, t ticket, now time.Time) (*member, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recovery == nil {
		return nil, nil
	}
	id := orphanID{t.room, c.ConnID}
	o := s.recovery.orphans[id]
	if o == nil {
		return nil, nil
	}
	r, refused := s.roomOf(t.room, c.ID)
	if refused != nil {
		return nil, refused
	}
	s.nameAgain(r, c.Room, t.ordinal)
	m := s.newMember(r, by, c, t)
	m.restored = true
	m.negotiation.restore(c.Resume.Tracks, o)
	welcome := s.welcome(m)
	welcome.Resumed, welcome.Lost = true, true
	r.advance(c.Resume.LastSeq, uint64(maxClockStep.Microseconds()))
	s.running.Add(1)
	if refused := r.join(m, c.ID, welcome, s.sealer(m, now)); refused != nil {
		s.running.Done()
		m.negotiation.cancel()
		s.unref(r)
		return nil, refused
	}
	r.claim(m, c.Resume.Group)
	s.recovery.remove(id)
	s.settleGroup(r.id)
	m.negotiation.begin()
	r.returned(m)
	return m, nil
}
