package room

import (
	"cmp"
	"slices"
	"time"

	"sotto/sfu/packet"
)

// wanted is a track that a peer wants, and how.
type wanted struct {
	t    *track
	wish Wish
	slot *slot
}

// assignment is the room's memory for giving out slots.
type assignment struct {
	mark  uint64   // of the tracks in list
	found []wanted // by publisher and source
	list  []wanted // the most important first
}

// change is what happened to the tracks of a peer.
type change struct {
	removed, added []*track
	recoded        bool // other slots may carry the rest now
}

// tracksChanged brings the slots of all but from up to date, whose tracks have changed. In a large room that is a publisher's
// dearest command, so a peer's slots are given out anew only where one became free for somebody who waits.
func (r *Room) tracksChanged(now time.Time, from *peer, c change, out *Batch) {
	for _, p := range r.peers {
		if p == from {
			continue
		}
		for _, t := range c.removed {
			if _, ok := p.wishOf(t); ok {
				p.waiting--
			}
		}
		p.waiting += p.lost // those did not wait
		p.lost = 0
		switch {
		case c.recoded, p.moved && p.waiting > 0, !r.admit(now, p, c.added, out):
			r.assign(now, p, false, out)
		case p.moved:
			r.settle(now, p, false, out)
		}
	}
	if len(c.removed) > 0 { // let go of them
		a := &r.assigning
		clear(a.found[:cap(a.found)])
		clear(a.list[:cap(a.list)])
	}
}

// admit puts new tracks that a peer wants into free slots, or into those of lesser tracks. It reports false if that is not all
// there is to do.
func (r *Room) admit(now time.Time, p *peer, added []*track, out *Batch) bool {
	for _, t := range added {
		wish, ok := p.wishOf(t)
		if !ok {
			continue
		}
		s := p.best(t)
		if s == nil || s.track != nil && s.wish.Priority >= wish.Priority {
			p.waiting++
			continue
		}
		lesser, rank := s.track, s.wish.Priority
		s.release()
		r.subscribe(now, s, t, wish, out)
		if lesser == nil {
			continue
		}
		p.waiting++
		if other := p.best(lesser); other != nil && (other.track == nil || other.wish.Priority < rank) {
			return false // a slot for other codecs
		}
	}
	return true
}

// wishOf returns how a peer wants a track, and whether it does.
func (p *peer) wishOf(t *track) (Wish, bool) {
	none := Wish{Publisher: t.peer.id, Source: t.source}
	if i, found := slices.BinarySearchFunc(p.wishes, none, Wish.compare); found {
		return p.wishes[i], true
	}
	return none, t.source.Kind() == Audio
}

// best returns the slot that is best given to a track: a free one, else that of the least important track; nil if none can carry it.
func (p *peer) best(t *track) (best *slot) {
	for _, s := range p.slots {
		switch {
		case !s.takes(t):
		case s.track == nil:
			return s
		case best == nil, s.wish.Priority < best.wish.Priority,
			s.wish.Priority == best.wish.Priority && s.wish.compare(best.wish) > 0:
			best = s
		}
	}
	return best
}

// assign gives a peer's slots to the tracks that it wants. A wanted track keeps its slot; others take free ones by
// priority, and then the slot of a track of lower priority.
func (r *Room) assign(now time.Time, p *peer, tell bool, out *Batch) {
	list := r.wantedBy(p)
	for _, s := range p.slots {
		t := s.track
		if t == nil {
			continue
		}
		if t.mark != r.assigning.mark || !s.takes(t) {
			s.release()
			continue
		}
		w := &list[t.place]
		w.slot = s
		r.rewish(now, s, w.wish, out)
	}
	p.waiting = 0
	var full [Kinds][1 << (packet.AV1 + 1)]bool // by codecs: whoever comes later in the list finds no slot either
	for i := range list {
		w := &list[i]
		if w.slot != nil {
			continue
		}
		none := &full[w.t.source.Kind()][w.t.codecs()]
		var s *slot
		if !*none {
			s = p.place(w, list)
		}
		if s == nil {
			*none = true
			p.waiting++
			continue
		}
		if s.track != nil {
			s.release() // whose track waits now: it comes later in the list
		}
		w.slot = s
		r.subscribe(now, s, w.t, w.wish, out)
	}
	r.settle(now, p, tell, out)
}

// settle tells a peer its slots, where they have changed, and has its layers chosen: at once if there is something to send, else
// with the next housekeeping.
func (r *Room) settle(now time.Time, p *peer, tell bool, out *Batch) {
	p.tell(tell || p.moved, out)
	switch {
	case p.urgent:
		r.allocate(now, p, out)
	case p.moved:
		p.dirty = true
	}
	p.moved, p.urgent = false, false
}

// wantedBy lists the tracks that a peer wants, the most important first, and marks them with their places.
func (r *Room) wantedBy(p *peer) []wanted {
	a := &r.assigning
	a.mark++
	a.found = a.found[:0]
	var places [256]int // by falling priority
	wishes := p.wishes
	for _, q := range r.peers {
		if q == p {
			continue
		}
		for _, t := range q.tracks {
			if t == nil {
				continue
			}
			wish := Wish{Publisher: q.id, Source: t.source}
			for len(wishes) > 0 && wishes[0].compare(wish) < 0 { // both lists are in the same order
				wishes = wishes[1:]
			}
			switch {
			case len(wishes) > 0 && wishes[0].compare(wish) == 0:
				wish = wishes[0]
			case t.source.Kind() == Video:
				continue
			}
			places[255-wish.Priority]++
			a.found = append(a.found, wanted{t: t, wish: wish})
		}
	}
	// Sorting by counting: rooms are large and priorities few, and what is equal keeps its order.
	first := 0
	for i, n := range places {
		places[i], first = first, first+n
	}
	a.list = slices.Grow(a.list[:0], len(a.found))[:len(a.found)]
	for _, w := range a.found {
		at := &places[255-w.wish.Priority]
		w.t.mark, w.t.place = a.mark, *at
		a.list[*at] = w
		*at++
	}
	return a.list
}

// place returns a slot for w: a free one, or that of the least important track below w's priority.
func (p *peer) place(w *wanted, list []wanted) *slot {
	for _, s := range p.slots {
		if s.track == nil && s.takes(w.t) {
			return s
		}
	}
	for i := len(list) - 1; i >= 0; i-- {
		v := &list[i]
		if v.wish.Priority >= w.wish.Priority {
			return nil
		}
		if v.slot != nil && v.slot.takes(w.t) {
			s := v.slot
			v.slot = nil
			return s
		}
	}
	return nil
}

// subscribe puts a track into a free slot.
func (r *Room) subscribe(now time.Time, s *slot, t *track, wish Wish, out *Batch) {
	s.track, s.wish, s.why = t, wish, NotPaused
	s.peer.moved = true
	at, _ := slices.BinarySearchFunc(t.subs, s.peer.id, func(s *slot, id PeerID) int { return cmp.Compare(s.peer.id, id) })
	t.subs = slices.Insert(t.subs, at, s)
	r.raise(now, t, t.wanted(&wish), out)
	s.restart()
	for _, st := range t.streams {
		if st == nil {
			continue
		}
		s.peer.urgent = true
		if st.clock.Known() {
			st.clockTo(s)
		}
	}
}

// rewish takes over how the peer wants the track of the slot now.
func (r *Room) rewish(now time.Time, s *slot, w Wish, out *Batch) {
	if s.wish == w {
		return
	}
	s.wish = w
	s.track.constraint().stale = true
	r.raise(now, s.track, s.track.wanted(&w), out)
}

// tell reports the slots, if they are not as last told or always is set.
func (p *peer) tell(always bool, out *Batch) {
	if len(p.told) != len(p.slots) {
		p.told, always = make([]SlotState, len(p.slots)), true
	}
	for i, s := range p.slots {
		state := SlotState{MID: s.MID}
		if s.track != nil {
			state = SlotState{MID: s.MID, Active: true, Publisher: s.track.peer.id, Source: s.track.source, Paused: s.why}
		}
		if state != p.told[i] {
			p.told[i], always = state, true
		}
	}
	if always {
		out.Events = append(out.Events, SlotsChanged{Peer: p.id, Slots: slices.Clone(p.told), Waiting: p.waiting})
	}
}

// tellPauses reports the slots if a picture in them paused, goes on, or has another reason not to.
func (p *peer) tellPauses(now time.Time, out *Batch) {
	changed := false
	for _, s := range p.slots {
		if s.track == nil || s.Kind == Audio {
			continue
		}
		if why := s.paused(now); why != s.why {
			s.why, changed = why, true
		}
	}
	if changed {
		p.tell(false, out)
	}
}
