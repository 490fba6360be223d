package cluster

import (
	"cmp"
	"slices"
)

// Stats is a snapshot of what signaling sees of its nodes.
type Stats struct {
	Running, Draining int    // live nodes
	Moved             uint64 // participants told to join on another node because theirs drains
	Cut               uint64 // participants that a draining node still had when it ended
}

// Stats returns the counters.
func (r *Remote) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Stats{Moved: r.moved, Cut: r.cut}
	for _, n := range r.nodes {
		if n.draining {
			s.Draining++
		} else if n.known {
			s.Running++
		}
	}
	return s
}

// NodeInfo is a live node.
type NodeInfo struct {
	ID       string
	Draining bool
	Rooms    []RoomInfo // by name
}

// RoomInfo is what a node has of a room.
type RoomInfo struct {
	Room      string
	Sessions  int // of media
	Connected int // of them with a transport that is up
	Tracks    int // that send
}

// Overview lists the nodes whose sessions are known, by id. A Remote knows all after Timing.Settle.
func (r *Remote) Overview() []NodeInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []NodeInfo
	for _, n := range r.nodes {
		if n.known {
			list = append(list, NodeInfo{ID: n.id, Draining: n.draining, Rooms: n.rooms()})
		}
	}
	slices.SortFunc(list, func(a, b NodeInfo) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// rooms sums up the sessions of a node.
func (n *node) rooms() []RoomInfo {
	byRoom := make(map[string]*RoomInfo)
	for key, s := range n.sessions {
		i := byRoom[key.room]
		if i == nil {
			i = &RoomInfo{Room: key.room}
			byRoom[key.room] = i
		}
		i.Sessions++
		i.Tracks += len(s.state.Running)
		if s.state.Connected {
			i.Connected++
		}
	}
	list := make([]RoomInfo, 0, len(byRoom))
	for _, i := range byRoom {
		list = append(list, *i)
	}
	slices.SortFunc(list, func(a, b RoomInfo) int { return cmp.Compare(a.Room, b.Room) })
	return list
}
