package room

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"sotto/sfu/layer"
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
				peer: p, rung: layer.Paused, tid: layer.AllLayers,
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
	p.urgent = true
	r.assign(now, p, false, out)
}

// compare orders wishes by what they are about. A list of all wishes meets all tracks of the room at every change.
func (w Wish) compare(v Wish) int {
	return cmp.Or(cmp.Compare(w.Publisher, v.Publisher), cmp.Compare(w.Source, v.Source))
}
