package model

import (
	"slices"
	"strconv"
)

// limits bound the search: without them rooms live for ever.
type limits struct {
	epochs int8 // commits made
	faults bool // crashes, losses, repetitions, restarts and lies
}

// steps calls visit with every state that follows s, and what happened.
func (r Rules) steps(s state, l limits, visit func(next state, what string, who int)) {
	for c := range clients {
		now := s.clients[c]
		do := func(what string, step func(next *state)) {
			next := s
			step(&next)
			visit(next, what, c)
		}
		switch now.phase {
		case absent:
			do("asks", func(n *state) { n.ask(c) })
		case waiting:
			if s.in() == 0 && s.n < l.epochs {
				do("creates", func(n *state) { n.create(c) })
			}
			if !s.asking.has(c) {
				do("asks again", func(n *state) { n.ask(c) })
			}
		case crashed:
			do("starts again", func(n *state) { r.restart(n, c) })
		case member:
			if now.own == none && s.n < l.epochs {
				if pending := s.asking | s.gone&s.epochs[now.epoch].members; pending != 0 {
					do("commits what is pending", func(n *state) { r.commit(n, c, true) })
				}
				do("commits new keys", func(n *state) { r.commit(n, c, false) })
			}
			if now.own != none {
				do("is heard by the service", func(n *state) { r.accept(n, c) })
			}
			if !now.sent {
				do("sends a frame", func(n *state) { n.send(c) })
			}
			do("leaves", func(n *state) { n.leave(c, absent) })
		}
		if now.phase == member || now.phase == waiting {
			if now.cursor < s.length[s.view(c)] || (now.phase == member && now.cursor != now.pos) {
				do("gets the next commit", func(n *state) { r.deliver(n, c) })
			}
		}
		if !l.faults {
			continue
		}
		if now.phase == member || now.phase == waiting {
			do("crashes", func(n *state) { n.leave(c, crashed) })
			if now.cursor < s.length[s.view(c)] {
				do("loses the next commit", func(n *state) { n.clients[c].cursor++ })
			}
		}
		if now.phase == member && now.own == none && s.n < l.epochs && now.pos == s.length[s.view(c)] && !s.lied() {
			for victim := range clients {
				if victim != c && s.epochs[now.epoch].members.has(victim) && s.clients[victim].phase == member {
					do("adds an older key package of client "+strconv.Itoa(victim), func(n *state) { r.displace(n, c, victim) })
				}
			}
		}
		if now.phase == member && now.pos > 0 {
			do("gets a commit twice", func(n *state) { r.repeat(n, c) })
		}
		if now.phase == member && !s.forked {
			do("has the ticket after a restart of the service", func(n *state) { r.restartService(n, c) })
		}
	}
	if l.faults && !s.forked {
		for side := set(1); side < everybody; side++ {
			if in := s.in(); side&in == side && side != in {
				next := s
				next.forked, next.side = true, side
				next.log[1], next.length[1] = next.log[0], next.length[0]
				visit(next, "the service forks the log", int(side))
			}
		}
	}
	if l.faults && !s.asking.has(ghost) && s.n < l.epochs {
		next := s
		next.asking |= one(ghost)
		visit(next, "the service forges a key package", ghost)
	}
}

func (s *state) ask(c int) {
	s.asking |= one(c)
	s.clients[c] = client{phase: waiting, epoch: none, own: none, cursor: s.length[s.view(c)]}
	// A key package that nobody has used yet.
	for i := range s.epochs[:s.n] {
		if e := &s.epochs[i]; e.adds.has(c) {
			s.clients[c].kp = max(s.clients[c].kp, e.kps[c]+1)
		}
	}
}

// create makes a new group: there is nobody to join.
func (s *state) create(c int) {
	s.epochs[s.n] = epoch{parent: none, group: s.groups, members: one(c), knows: one(c)}
	s.groups++
	s.length, s.forked, s.side = [2]uint8{}, false, 0
	s.asking, s.gone = s.asking.without(one(c)), 0
	for i := range s.clients {
		s.clients[i].cursor = 0
	}
	s.clients[c] = client{phase: member, epoch: s.n, own: none}
	s.n++
}

// leave ends a client's membership, on purpose or by a crash.
func (s *state) leave(c int, to phase) {
	if s.clients[c].phase == member {
		s.gone |= one(c)
	}
	s.asking = s.asking.without(one(c))
	s.clients[c].phase = to
	s.clients[c].own = none
}

func (r Rules) restart(s *state, c int) {
	if r.Fresh || s.clients[c].epoch == none {
		s.ask(c)
		return
	}
	s.clients[c].phase, s.clients[c].sent = member, false
	s.gone = s.gone.without(one(c))
}

// commit makes a commit of c: of everything that is pending, or of new keys for
// itself only.
func (r Rules) commit(s *state, c int, pending bool) {
	from := s.clients[c].epoch
	old := s.epochs[from]
	e := epoch{parent: from, group: old.group, number: old.number + 1, members: old.members}
	var removes set
	if pending {
		e.adds = s.asking.without(one(c))
		// Who asks while it is in the tree has lost its state: its leaf is replaced.
		removes = (s.gone | e.adds) & old.members.without(one(c))
		e.members = old.members.without(removes) | e.adds
		for x := range clients {
			if e.adds.has(x) {
				e.kps[x] = s.clients[x].kp
			}
		}
	}
	e.path = (removes != 0 && r.Path) || (removes == 0 && e.adds == 0)
	e.psk = e.adds != 0 && r.PSK
	e.knows = r.derives(s, e)
	s.epochs[s.n] = e
	if !r.Welcome {
		s.epochs[from].knows |= e.adds & e.knows
	}
	s.clients[c].own = s.n
	s.n++
	if !r.Echo {
		s.enter(c, s.clients[c].own)
	}
}

// lied reports whether a member has done so: once is enough.
func (s *state) lied() bool {
	return slices.ContainsFunc(s.epochs[:s.n], func(e epoch) bool { return e.older })
}

// displace is the commit of a member that puts an older key package of another
// in its place, and that the service accepts. Nobody has the keys for that one
// any more.
func (r Rules) displace(s *state, c, victim int) {
	from := s.clients[c].epoch
	old := s.epochs[from]
	e := epoch{parent: from, group: old.group, number: old.number + 1, members: old.members, path: true, psk: true, older: true}
	e.knows = old.knows.without(one(victim))
	s.epochs[s.n] = e
	s.clients[c].own = s.n
	s.n++
	r.accept(s, c)
	s.clients[c].own = none
}

// derives says who can compute the secret of e from all that was ever sent: who
// knew the epoch before and, where there are new path secrets, is still in the
// tree to be told them; and who got a Welcome. Without the link neither is
// enough where its key is mixed in.
func (r Rules) derives(s *state, e epoch) set {
	before := s.epochs[e.parent].knows
	if e.path {
		before &= e.members.without(e.adds)
	}
	all := before | e.adds
	if e.psk {
		all = all.without(one(ghost))
	}
	return all
}

// accept lets the service judge the commit of c.
func (r Rules) accept(s *state, c int) {
	v, own := s.view(c), s.clients[c].own
	if r.Slots && s.clients[c].pos != s.length[v] {
		// Stale: c learns from the log who was faster.
		return
	}
	if int(s.length[v]) == len(s.log[v]) {
		return
	}
	for _, e := range s.log[v][:s.length[v]] {
		if e == own {
			return // heard twice
		}
	}
	if !r.Slots {
		// The service orders nothing: each member gets what it was not yet sent.
		at := min(s.clients[c].pos, s.length[v])
		s.log[1], s.length[1] = s.log[0], s.length[0]
		s.log[1][at], s.length[1] = own, at+1
		s.side |= one(c)
		s.served(own)
		return
	}
	s.log[v][s.length[v]] = own
	s.length[v]++
	s.served(own)
}

// served takes off the list what the commit has done.
func (s *state) served(e int8) {
	for x := range clients {
		if s.welcomes(e, x) {
			s.asking = s.asking.without(one(x))
		}
	}
	s.asking = s.asking.without(s.epochs[e].adds & one(ghost))
	s.gone &= s.epochs[e].members
}

// welcomes reports whether the commit to epoch e adds c as c is now.
func (s *state) welcomes(e int8, c int) bool {
	return s.epochs[e].adds.has(c) && s.epochs[e].kps[c] == s.clients[c].kp
}

// enter makes c a member of epoch e, with a fresh counter.
func (s *state) enter(c int, e int8) {
	s.clients[c].phase, s.clients[c].epoch = member, e
	s.clients[c].own, s.clients[c].sent = none, false
}

// deliver gives c the next entry of its log.
func (r Rules) deliver(s *state, c int) {
	me := &s.clients[c]
	v := s.view(c)
	if me.phase == waiting {
		e := s.log[v][me.cursor]
		me.cursor++
		if s.welcomes(e, c) {
			me.pos = me.cursor
			s.enter(c, e)
		}
		return
	}
	if me.cursor != me.pos {
		if r.Resume {
			me.cursor = me.pos
		} else {
			me.cursor, me.pos = s.length[v], s.length[v]
		}
		return
	}
	e := s.log[v][me.cursor]
	me.cursor++
	me.pos++
	r.process(s, c, e)
}

// process follows a commit. One that does not fit the own epoch is invalid: it
// has used up its slot and changes nothing.
func (r Rules) process(s *state, c int, e int8) {
	me := &s.clients[c]
	switch {
	case s.epochs[e].parent != me.epoch || me.epoch == e || s.epochs[e].older && r.Newer:
		me.own = none
	case s.epochs[e].older && !s.epochs[e].knows.has(c):
		s.leave(c, absent)
		s.displaced = true
	case !s.epochs[e].members.has(c) || s.epochs[e].adds.has(c):
		s.leave(c, absent)
	default:
		s.enter(c, e)
	}
}

// repeat delivers the last commit to c once more.
func (r Rules) repeat(s *state, c int) {
	if r.Once {
		return
	}
	me := &s.clients[c]
	if e := s.log[s.view(c)][me.pos-1]; e == me.epoch {
		s.enter(c, e)
	}
}

// restartService empties the service. c is the first to come back with the
// highest ticket in time, and uploads the log that it has; so does everybody
// who is not ahead of it.
func (r Rules) restartService(s *state, c int) {
	slots := s.clients[c].pos
	s.length[0] = slots
	for i := range s.clients {
		other := &s.clients[i]
		if other.phase == member && other.pos > slots && r.Claims {
			s.leave(i, crashed)
		}
		other.cursor = min(other.cursor, slots)
		if other.phase == member {
			other.pos = min(other.pos, slots)
			other.cursor = other.pos
		}
	}
	s.gone = everybody.without(s.in()) // who does not come back is gone
}

// send uses counter 0 of the key that c has in its epoch.
func (s *state) send(c int) {
	e := &s.epochs[s.clients[c].epoch]
	if e.used.has(c) {
		s.reused = true
	}
	e.used |= one(c)
	s.clients[c].sent = true
}
