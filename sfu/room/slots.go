package room

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"sotto/sfu/layer"
	"sotto/sfu/packet"
)

// checkSlots tells what is wrong with a list of slots.
func (p *peer) checkSlots(defs []Slot) error {
	if len(defs) > MaxSlots {
		return fmt.Errorf("%w: %d slots", ErrLimit, len(defs))
	}
	known := append(slices.Clone(p.slots), p.retired...)
	fresh := 0
	for i, d := range defs {
		for _, e := range defs[:i] {
			if e.SSRC == d.SSRC || collide(&e, &d) {
				return fmt.Errorf("%w: an SSRC is in two slots", ErrInvalid)
			}
		}
		if d.Kind >= Kinds || d.SSRC == d.RTXSSRC || len(d.Codecs) > maxCodecs || len(d.MID) > maxMID || !clocked(d.Codecs) {
			return fmt.Errorf("%w: slot %d", ErrInvalid, i)
		}
		j := slices.IndexFunc(known, func(s *slot) bool { return s.SSRC == d.SSRC })
		if j < 0 {
			fresh++
			if slices.ContainsFunc(known, func(s *slot) bool { return collide(&s.Slot, &d) }) {
				return fmt.Errorf("%w: slot %d takes an SSRC of another slot", ErrInvalid, i)
			}
		} else if known[j].RTXSSRC != d.RTXSSRC || known[j].Kind != d.Kind {
			return fmt.Errorf("%w: slot %d changed its kind or RTX SSRC", ErrInvalid, i)
		}
	}
	if len(known)+fresh > 2*MaxSlots {
		return fmt.Errorf("%w: slots of a session", ErrLimit)
	}
	return nil
}

// setSlots replaces a peer's list of slots. Slots are told apart by SSRC; one that left the list and comes back goes on with
// its numbers.
func (r *Room) setSlots(now time.Time, p *peer, defs []Slot, out *Batch) {
	known := append(slices.Clone(p.slots), p.retired...)
	var list []*slot
	for i, d := range defs {
		var s *slot
		if j := slices.IndexFunc(known, func(s *slot) bool { return s.SSRC == d.SSRC }); j >= 0 {
			s = known[j]
			known = slices.Delete(known, j, j+1)
		} else {
			s = &slot{
				peer: p, rung: layer.Paused,
				// Below 2^15, so that the far end's guess of the rollover counter cannot be wrong (RFC 3711 3.3.1).
				sw:     layer.NewSwitch(uint16(r.rng.Uint32N(1<<15)), r.rng.Uint32()),
				rtxSeq: uint16(r.rng.Uint32N(1 << 15)),
			}
		}
		s.configure(d)
		s.index = uint16(i)
		list = append(list, s)
	}
	for _, s := range known {
		s.release()
	}
	p.slots, p.retired = list, known
	r.assign(now, p, true, out)
}

// collide reports whether an RTX SSRC of two different slots is used twice: two streams with one SSRC would share nonces.
func collide(a, b *Slot) bool {
	return a.RTXSSRC != 0 && (a.RTXSSRC == b.RTXSSRC || a.RTXSSRC == b.SSRC) || b.RTXSSRC != 0 && b.RTXSSRC == a.SSRC
}

// checkWishes tells what is wrong with a list of wishes.
func checkWishes(wishes []Wish) error {
	if len(wishes) > MaxWishes {
		return fmt.Errorf("%w: %d wishes", ErrLimit, len(wishes))
	}
	for _, w := range wishes {
		if err := checkSource(w.Source); err != nil {
			return err
		}
	}
	return nil
}

// want replaces a peer's wishes.
func (r *Room) want(now time.Time, p *peer, wishes []Wish, out *Batch) {
	p.wishes = slices.Clone(wishes)
	slices.SortStableFunc(p.wishes, Wish.compare)
	r.assign(now, p, false, out)
	r.allocate(now, p, out)
}

// compare orders wishes by what they are about. A list of all wishes meets all tracks of the room at every change.
func (w Wish) compare(v Wish) int {
	return cmp.Or(cmp.Compare(w.Publisher, v.Publisher), cmp.Compare(w.Source, v.Source))
}

func (r *Room) assignAll(now time.Time, out *Batch) {
	for _, p := range r.peers {
		r.assign(now, p, false, out)
	}
}

// wanted is a track that a peer wants, and how.
type wanted struct {
	t    *track
	wish Wish
	slot *slot
}

// assign gives a peer's slots to the tracks that it wants. A wanted track keeps its slot; others take free ones by
// priority, and then the slot of a track of lower priority.
func (r *Room) assign(now time.Time, p *peer, tell bool, out *Batch) {
	list := r.wantedBy(p)
	changed := false
	for _, s := range p.slots {
		if s.track == nil {
			continue
		}
		i := slices.IndexFunc(list, func(w wanted) bool { return w.t == s.track })
		if i < 0 || !s.takes(s.track) {
			s.release()
			changed = true
			continue
		}
		list[i].slot, s.wish = s, list[i].wish
	}
	waiting := 0
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
			waiting++
			continue
		}
		if s.track != nil {
			s.release() // whose track waits now: it comes later in the list
		}
		w.slot = s
		r.subscribe(s, w)
		changed = true
	}
	p.tell(waiting, tell, out)
	if changed {
		r.allocate(now, p, out)
	}
}

// tell reports the slots, if they are not as last told or always is set.
func (p *peer) tell(waiting int, always bool, out *Batch) {
	states := make([]SlotState, len(p.slots))
	for i, s := range p.slots {
		states[i] = SlotState{MID: s.MID}
		if s.track != nil {
			states[i] = SlotState{MID: s.MID, Active: true, Publisher: s.track.peer.id, Source: s.track.source}
		}
	}
	if !always && waiting == p.waiting && slices.Equal(states, p.told) {
		return
	}
	p.waiting, p.told = waiting, states
	out.Events = append(out.Events, SlotsChanged{Peer: p.id, Slots: slices.Clone(states), Waiting: waiting})
}

// wantedBy lists the tracks that a peer wants, the most important first.
func (r *Room) wantedBy(p *peer) (list []wanted) {
	for _, q := range r.peers {
		if q == p {
			continue
		}
		for _, t := range q.tracks {
			if t == nil {
				continue
			}
			i, found := slices.BinarySearchFunc(p.wishes, Wish{Publisher: q.id, Source: t.source}, Wish.compare)
			switch {
			case found:
				list = append(list, wanted{t: t, wish: p.wishes[i]})
			case t.source.Kind() == Audio:
				list = append(list, wanted{t: t, wish: Wish{Publisher: q.id, Source: t.source}})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b wanted) int { return cmp.Compare(b.wish.Priority, a.wish.Priority) })
	return list
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
func (r *Room) subscribe(s *slot, w *wanted) {
	s.track, s.wish = w.t, w.wish
	at, _ := slices.BinarySearchFunc(w.t.subs, s.peer.id, func(s *slot, id PeerID) int { return cmp.Compare(s.peer.id, id) })
	w.t.subs = slices.Insert(w.t.subs, at, s)
	s.restart()
	for _, st := range w.t.streams {
		if st != nil && st.clock.Known() {
			st.clockTo(s)
		}
	}
}
