package signal

import (
	"slices"
	"time"

	"sotto/signal/delivery"
	"sotto/signal/protocol"
)

// collectTime is how long the tickets of a group are collected after a restart,
// from the first participant that is back.
const collectTime = 3 * time.Second

// handshake takes a create, a key package or a commit of a member.
func (r *room) handshake(from *member, by *session, h protocol.EnvelopeHeader, envelope []byte, now time.Time) {
	p := newPosting(envelope)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.speaks(from, by) {
		return
	}
	var seq uint64
	var refused delivery.Refusal
	switch h.Type {
	case protocol.EnvelopeCreate:
		seq, refused = r.group.Create(h, p.envelope())
	case protocol.EnvelopeKP:
		seq, refused = r.group.KeyPackage(now, h, p.envelope())
	case protocol.EnvelopeCommit:
		seq, refused = r.group.Commit(now, h, p.envelope(), nil, nil)
	default:
		return // the caller sends no other type
	}
	if !r.accepted(from, refused) {
		return
	}
	p.number(seq)
	if h.Type == protocol.EnvelopeKP {
		r.broadcast(from, p)
		if r.position() == nil { // it was the last that had not lost the group
			r.tell(nil, &protocol.Group{})
		}
		return
	}
	r.broadcast(nil, p)
	r.giveTickets()
}

// bundle takes a commit with its welcome.
func (r *room) bundle(from *member, by *session, h protocol.EnvelopeHeader, b protocol.Bundle, now time.Time) {
	commit, welcome := newPosting(b.Commit), newPosting(b.Welcome)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.speaks(from, by) {
		return
	}
	seq, refused := r.group.Commit(now, h, commit.envelope(), welcome.envelope(), b.Admits)
	if !r.accepted(from, refused) {
		return
	}
	commit.number(seq)
	r.broadcast(nil, commit)
	welcome.number(seq + 1)
	r.counters.envelopes.Add(1)
	for _, m := range r.leaves {
		if m != nil && slices.Contains(b.Admits, m.conn) {
			r.deliver(m, welcome)
		}
	}
	r.giveTickets()
}

// accepted counts a message of the group by its result, and tells its sender
// where the group stands when it was refused. r.mu is held.
func (r *room) accepted(from *member, refused delivery.Refusal) bool {
	if refused == delivery.Accepted {
		r.counters.group.add(groupOK)
		r.counters.envelopes.Add(1)
		return true
	}
	r.counters.group.add(string(refused))
	if refused == delivery.KeyRate {
		return false
	}
	stale := &protocol.Stale{}
	if p := r.position(); p != nil {
		stale.GI, stale.Slot = &p.GI, &p.Slot
	}
	from.session.send(stale)
	if refused == delivery.NoGroup {
		from.session.send(&protocol.Group{}) // nothing is to be waited for
	}
	return false
}

// position is where the group stands. r.mu is held.
func (r *room) position() *protocol.GroupPosition {
	at := r.group.Position()
	if at == nil {
		return nil
	}
	return &protocol.GroupPosition{GI: at.Group, Slot: at.Slot}
}

// giveTickets gives every member connection its ticket. r.mu is held.
func (r *room) giveTickets() {
	for _, m := range r.leaves {
		if m != nil {
			r.giveTicket(m)
		}
	}
}

// giveTicket gives a member its ticket, if it is a member connection that is
// not away. r.mu is held.
func (r *room) giveTicket(m *member) {
	t, ok := r.group.Ticket(m.conn)
	if ok && m.session != nil {
		m.session.send(&protocol.Ticket{GI: t.Group, Slot: t.Slot, HostTag: t.HostTag[:], Ticket: t.Ticket})
	}
}

// claim takes the ticket of a member that is back after a restart. The first to
// be back starts the time in which the others bring theirs.
func (r *room) claim(m *member, c *protocol.GroupClaim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.group.Recovering() && r.collect == nil {
		r.collect = time.AfterFunc(collectTime, r.settleGroup)
	}
	if c == nil {
		return
	}
	claim := delivery.Claim{Position: delivery.Position{Group: c.GI, Slot: c.Slot}, Ticket: c.Ticket}
	copy(claim.HostTag[:], c.HostTag)
	if !r.group.Claim(m.conn, claim) {
		r.counters.tickets.add(ticketForged)
		return
	}
	r.counters.tickets.add(ticketOK)
	r.giveTicket(m) // it came late
}

// settleGroup ends the collecting of tickets and tells everybody the result. It
// may be called too often.
func (r *room) settleGroup() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.group.Recovering() {
		return
	}
	r.stopCollecting()
	r.group.Settle()
	msg := &protocol.Group{}
	if p := r.position(); p != nil {
		msg.GI, msg.Slot = &p.GI, &p.Slot
	}
	r.tell(nil, msg)
}

// close ends what a room does by itself.
func (r *room) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopCollecting()
}

// stopCollecting ends the timer of claim. r.mu is held.
func (r *room) stopCollecting() {
	if r.collect != nil {
		r.collect.Stop()
		r.collect = nil
	}
}

// isHost reports whether a token is that of the creator of the room's group.
func (r *room) isHost(token []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.group.IsHost(token)
}

// mayCommit reports whether a member is a member connection.
func (r *room) mayCommit(m *member) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.group.IsMember(m.conn)
}
