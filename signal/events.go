package signal

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"sotto/sfu"
	"sotto/signal/protocol"
)

// followMedia hands the media node's events to the members until the server
// ends. A stream that breaks is asked for again; its snapshot says which media
// sessions are still there. They are taken as ended when the node is closed,
// or stays away for too long.
func (s *Server) followMedia() {
	const first, last = 100 * time.Millisecond, 5 * time.Second
	away := time.Now()
	for wait := first; ; wait = min(2*wait, last) {
		events, err := s.media.Events(s.ctx)
		if err == nil {
			seen := make(map[*member]struct{})
			for e := range events {
				if e.Kind == sfu.EventSynced {
					s.mediaSynced(seen)
					seen = nil
				} else if m := s.mediaEvent(e); m != nil && seen != nil {
					seen[m] = struct{}{}
				}
				wait = first
			}
			if s.ctx.Err() != nil {
				return
			}
			s.log.Warn("events of the media node broke off")
			away = time.Now()
		}
		if errors.Is(err, sfu.ErrClosed) || time.Since(away) >= s.limits.MediaGrace {
			s.mediaLost()
		}
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// mediaEvent hands one event to its member, and returns that. It never blocks.
func (s *Server) mediaEvent(e sfu.Event) *member {
	id, ok := peerOf(e)
	if !ok {
		return nil
	}
	s.mu.Lock()
	m := s.find(id.room, id.conn)
	if m == nil && s.recovery != nil {
		s.recovery.event(id, e)
		s.settleGroup(id.room)
	}
	s.mu.Unlock()
	if m == nil {
		return nil // it left a moment ago, or is not back yet
	}
	if e.Kind == sfu.EventClosed {
		m.negotiation.demand(nil) // what was wanted of that session
	}
	switch {
	case e.Kind == sfu.EventConnected:
		m.negotiation.up()
	case e.Kind == sfu.EventSlots:
		m.negotiation.slots(e.Slots)
	case e.Kind == sfu.EventWanted:
		m.negotiation.demand(e.Wanted)
	case e.Kind != sfu.EventClosed || e.Reason == sfu.ReasonLeft:
		// Signaling said so, or need not know.
	case e.Reason == sfu.ReasonKicked:
		if s.evictKicked(m) {
			go s.dismiss(m, false)
		}
	default:
		s.log.Info("media session ended", logRoom(id.room), logConn(id.conn), zap.String("reason", clip(e.Reason, 32)))
		m.negotiation.ended(clip(e.Reason, 32))
	}
	return m
}

func peerOf(e sfu.Event) (orphanID, bool) {
	room, err := protocol.ParseRoomID(e.Room)
	if err != nil {
		return orphanID{}, false
	}
	conn, err := protocol.ParseConnID(e.Peer)
	return orphanID{room, conn}, err == nil
}

// mediaSynced compares a snapshot of the node with what the members think it has.
func (s *Server) mediaSynced(seen map[*member]struct{}) {
	for _, m := range s.everybody() {
		if _, there := seen[m]; !there {
			m.negotiation.missing()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.recovery; r != nil && !r.isKnown {
		r.isKnown = true
		close(r.synced)
		for id := range s.rooms {
			s.settleGroup(id)
		}
	}
}

// mediaLost ends the media of everybody.
func (s *Server) mediaLost() {
	for _, m := range s.everybody() {
		m.negotiation.ended(sfu.ReasonNodeClosed)
	}
}

// everybody lists the members of all rooms.
func (s *Server) everybody() []*member {
	s.mu.Lock()
	rooms := make([]*room, 0, len(s.rooms))
	for _, r := range s.rooms {
		rooms = append(rooms, r)
	}
	s.mu.Unlock()
	var list []*member
	for _, r := range rooms {
		list = append(list, r.all()...)
	}
	return list
}
