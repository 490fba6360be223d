package signal

import (
	"time"

	"go.uber.org/zap"

	"sotto/sfu"
	"sotto/signal/protocol"
)

// followMedia hands the media node's events to the sessions until the server
// ends. When the node's stream breaks, the sessions' media is taken as ended
// and the stream is asked for again.
func (s *Server) followMedia() {
	const first, last = 100 * time.Millisecond, 5 * time.Second
	for wait := first; ; wait = min(2*wait, last) {
		events, err := s.media.Events(s.ctx)
		if err == nil {
			for e := range events {
				s.mediaEvent(e)
				wait = first
			}
			if s.ctx.Err() != nil {
				return
			}
			s.log.Warn("media node lost")
			s.mediaLost()
		}
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// mediaEvent hands one event to its session. It never blocks.
func (s *Server) mediaEvent(e sfu.Event) {
	if e.Kind != sfu.EventSlots && e.Kind != sfu.EventClosed {
		return
	}
	room, err := protocol.ParseRoomID(e.Room)
	if err != nil {
		return
	}
	conn, err := protocol.ParseConnID(e.Peer)
	if err != nil {
		return
	}
	m := s.member(room, conn)
	if m == nil {
		return // it left a moment ago
	}
	n := m.session.negotiationOf()
	if n == nil {
		return
	}
	switch {
	case e.Kind == sfu.EventSlots:
		n.slots(e.Slots)
	case e.Reason == sfu.ReasonLeft:
		// Signaling said so.
	case e.Reason == sfu.ReasonKicked:
		if m.room.leave(m, protocol.LeftKicked) {
			m.session.end(&refusal{code: protocol.CodeKicked, text: "removed from the room", fatal: true})
		}
	default:
		s.log.Info("media session ended", logRoom(room), logConn(conn), zap.String("reason", clip(e.Reason, 32)))
		n.ended(clip(e.Reason, 32))
	}
}

// mediaLost ends the media of every session.
func (s *Server) mediaLost() {
	s.mu.Lock()
	rooms := make([]*room, 0, len(s.rooms))
	for _, r := range s.rooms {
		rooms = append(rooms, r)
	}
	s.mu.Unlock()
	for _, r := range rooms {
		for _, m := range r.all() {
			if n := m.session.negotiationOf(); n != nil {
				n.ended(sfu.ReasonNodeClosed)
			}
		}
	}
}
