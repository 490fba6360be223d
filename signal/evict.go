package signal

import (
	"context"

	"go.uber.org/zap"

	"sotto/signal/protocol"
)

// hostEvicts removes a connection from the room of a member that shows the
// host's token.
func (s *Server) hostEvicts(m *member, by *session, e *protocol.Evict) *refusal {
	if !m.room.attached(m, by) {
		return nil
	}
	if !m.room.isHost(e.Host) {
		return &refusal{id: &e.ID, code: protocol.CodeNotHost, text: "not the host's token"}
	}
	target := m.room.member(e.ConnID)
	switch {
	case target == nil:
		s.evictOrphan(orphanID{m.room.id, e.ConnID})
	case s.evictKicked(target):
		go func() { // nobody waits for the node
			ctx, cancel := context.WithTimeout(s.ctx, s.limits.MediaTimeout)
			defer cancel()
			s.logExpelled(s.expel(ctx, target))
		}()
	}
	return nil
}

// evictOrphan ends a media session of before a restart, so that nobody comes
// back to it.
func (s *Server) evictOrphan(id orphanID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recovery == nil || s.recovery.orphans[id] == nil {
		return
	}
	s.recovery.remove(id)
	s.settleGroup(id.room)
	s.events.Go(func() {
		ctx, cancel := context.WithTimeout(s.ctx, s.limits.MediaTimeout)
		defer cancel()
		s.logExpelled(s.media.Kick(ctx, id.room.String(), id.conn.String()))
	})
}

// logExpelled tells of a node that did not end somebody's media.
func (s *Server) logExpelled(err error) {
	if err != nil && !gone(err) {
		s.log.Warn("media of an evicted member", zap.String("code", string(mediaCode(err))))
	}
}
