package signal

import (
	"cmp"
	"slices"

	"sotto/signal/protocol"
)

// roomName is a name of a room: the id of one of its links. The first name has
// ordinal 0, each further one the next.
type roomName struct {
	id      protocol.RoomID
	ordinal int
}

// newest is the name by which the room can be joined. Server.mu is held.
func (r *room) newest() roomName {
	if n := len(r.names); n > 0 {
		return r.names[n-1]
	}
	return roomName{id: r.id}
}

// named finds a room by any of its names. s.mu is held.
func (s *Server) named(id protocol.RoomID) *room {
	if r := s.rooms[id]; r != nil {
		return r
	}
	return s.aliases[id]
}

// ordinal is that of a room's name.
func (s *Server) ordinal(r *room, id protocol.RoomID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range r.names {
		if n.id == id {
			return n.ordinal
		}
	}
	return 0
}

// alias gives the room of a member another name. Its signature is checked.
func (s *Server) alias(m *member, by *session, a *protocol.Alias) *refusal {
	refused := func(code protocol.Code, text string) *refusal { return &refusal{id: &a.ID, code: code, text: text} }
	r := m.room
	switch {
	case len(a.Host) > 0 && !r.isHost(a.Host):
		return refused(protocol.CodeNotHost, "not the host's token")
	case len(a.Host) == 0 && !r.mayCommit(m):
		return refused(protocol.CodeAliasRefused, "not a member connection")
	}
	most := protocol.MaxAliases
	if len(a.Host) > 0 {
		most = protocol.MaxHostAliases
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rooms[r.id] != r || !r.attached(m, by) {
		return nil // it left a moment ago
	}
	switch other := s.named(a.Room); {
	case other == r:
		return nil
	case other != nil || s.recovery != nil && s.recovery.rooms[a.Room] > 0:
		return refused(protocol.CodeAliasRefused, "the name of another room")
	case len(r.names) >= most:
		return refused(protocol.CodeAliasRefused, "too many names")
	}
	s.name(r, roomName{a.Room, r.newest().ordinal + 1})
	return nil
}

// nameAgain gives a room back a name of before a restart, by which somebody
// entered it, if nobody else has taken it meanwhile. s.mu is held.
func (s *Server) nameAgain(r *room, id protocol.RoomID, ordinal int) {
	if s.named(id) == nil && len(r.names) < protocol.MaxHostAliases {
		s.name(r, roomName{id, ordinal})
	}
}

func (s *Server) name(r *room, n roomName) {
	s.aliases[n.id] = r
	r.names = append(r.names, n)
	slices.SortStableFunc(r.names, func(a, b roomName) int { return cmp.Compare(a.ordinal, b.ordinal) })
}
