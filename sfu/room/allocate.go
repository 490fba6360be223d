package room

import (
	"time"

	"sotto/sfu/layer"
	"sotto/sfu/unit"
)

// allocateEvery is how long targets stay without a reason to change them: rates of layers drift.
const allocateEvery = time.Second

// What is assumed of a layer before it is measured or said.
var (
	guessedRate   = [layer.MaxRungs]unit.Bitrate{150 * unit.Kbps, 500 * unit.Kbps, 1700 * unit.Kbps}
	guessedHeight = [layer.MaxRungs]uint16{180, 360, 720}
)

// allocScratch is the room's memory for allocations.
type allocScratch struct {
	slots   []*slot
	sources []layer.Source
	targets []int8
}

// allocate sets the targets of all of a peer's subscriptions: audio always, video as the budget allows.
func (r *Room) allocate(now time.Time, p *peer, out *Batch) {
	p.dirty, p.allocAt = false, now.Add(allocateEvery)
	a := &r.alloc
	a.slots, a.sources = a.slots[:0], a.sources[:0]
	var audio unit.Bitrate
	for _, s := range p.slots {
		switch {
		case s.track == nil:
		case s.wish.Paused:
			r.target(now, s, layer.Paused, out)
		case s.Kind == Audio:
			r.target(now, s, 0, out)
			if st := s.track.streams[0]; st != nil && now.Sub(st.last) < liveFor {
				audio += st.rate.rate(0)
			}
		default:
			a.slots = append(a.slots, s)
			a.sources = append(a.sources, s.track.ladder(s))
		}
	}
	if len(a.slots) == 0 {
		return
	}
	for len(a.targets) < len(a.slots) {
		a.targets = append(a.targets, 0)
	}
	est := p.estimator.Estimate()
	budget := layer.Budget{Keep: max(est.Keep-audio, 0), Change: max(est.Change-audio, 0)}
	layer.Allocate(budget, a.sources, a.targets[:len(a.slots)])
	for i, s := range a.slots {
		r.target(now, s, a.targets[i], out)
	}
}

// target aims one subscription and asks for the key frame that it needs.
func (r *Room) target(now time.Time, s *slot, rung int8, out *Batch) {
	if s.sw.Target() != rung {
		s.sw.SetTarget(rung)
		if rung == layer.Paused {
			r.switched(s, out)
		}
	}
	r.wantKey(now, s, out)
}

// ladder describes a track to the allocator, as one subscriber wants it.
func (t *track) ladder(s *slot) layer.Source {
	src := layer.Source{Priority: s.wish.Priority, Want: s.wish.Height, Current: s.sw.Current()}
	known := true
	live := 0
	for _, st := range t.streams {
		if st != nil && st.live {
			live++
			known = known && st.height != 0
		}
	}
	var last uint16
	for i, st := range t.streams {
		if st == nil || !st.live && live > 0 {
			continue
		}
		rung := &src.Rungs[i]
		rung.Rate = max(st.rate.rate(guessedRate[i]), unit.Kbps)
		rung.Height = st.height
		if !known || rung.Height <= last {
			// VP8 without dependency descriptor does not tell its size: go by rank, as browsers scale by two.
			rung.Height = max(guessedHeight[i], last+1)
		}
		last = rung.Height
	}
	return src
}
