package delivery

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"sotto/signal/protocol"
)

const ticketDomain = "sotto-ticket/1"

// Claim is what a connection says of the group to a service that has forgotten
// it: the latest ticket, and what it covers.
type Claim struct {
	Position
	HostTag [protocol.HostTagSize]byte
	Ticket  []byte
}

// claims are what is known of a group after a restart, until it is settled.
type claims struct {
	best    *Claim                                     // with the highest slot, nil: none yet
	holders map[protocol.ConnID]protocol.GroupInstance // valid tickets by connection
}

// Ticket is the service's word that a connection was a member connection with
// the group where it stands now. ok is false if it is none.
func (g *Group) Ticket(id protocol.ConnID) (_ Claim, ok bool) {
	at := g.Position()
	if at == nil || !g.IsMember(id) {
		return Claim{}, false
	}
	return Claim{Position: *at, HostTag: g.hostTag, Ticket: g.mac(*at, id, g.hostTag)}, true
}

func (g *Group) mac(at Position, id protocol.ConnID, hostTag [protocol.HostTagSize]byte) []byte {
	m := hmac.New(sha256.New, g.key)
	m.Write([]byte(ticketDomain))
	m.Write(g.room[:])
	m.Write(at.Group[:])
	m.Write(binary.BigEndian.AppendUint64(nil, at.Slot))
	m.Write(id[:])
	m.Write(hostTag[:])
	return m.Sum(nil)
}

// Recover makes a new group one that stands where its tickets say. Nothing is
// accepted until Settle.
func (g *Group) Recover() {
	g.claims = &claims{holders: make(map[protocol.ConnID]protocol.GroupInstance)}
}

// Recovering reports whether the group waits for Settle.
func (g *Group) Recovering() bool { return g.claims != nil }

// Claim takes a connection's ticket and reports whether it is a good one. The
// connection has joined. After Settle, one of the same group still makes a
// member connection; it does not move the group.
func (g *Group) Claim(id protocol.ConnID, c Claim) bool {
	holder := g.conns[id]
	if holder == nil || c.Group.IsZero() || !hmac.Equal(c.Ticket, g.mac(c.Position, id, c.HostTag)) {
		return false
	}
	if g.claims == nil {
		if at := g.log.Position(); at != nil && at.Group == c.Group {
			g.admit(holder)
		}
		return true
	}
	g.claims.holders[id] = c.Group
	if b := g.claims.best; b == nil || c.Slot > b.Slot || c.Slot == b.Slot && bytes.Compare(c.Group[:], b.Group[:]) < 0 {
		g.claims.best = &c
	}
	return true
}

// Settle ends the collecting of tickets: the group stands where the best of them
// says, or there is none, and those who hold one of it are member connections.
func (g *Group) Settle() {
	c := g.claims
	g.claims = nil
	if c == nil || c.best == nil {
		return
	}
	var there []*conn // the others have left again
	for id, group := range c.holders {
		if holder := g.conns[id]; holder != nil && group == c.best.Group {
			there = append(there, holder)
		}
	}
	at := c.best.Position
	if len(there) == 0 {
		return
	}
	if _, err := g.log.Move(nil, &at); err != nil {
		return
	}
	g.hostTag = c.best.HostTag
	for _, holder := range there {
		g.admit(holder)
	}
}
