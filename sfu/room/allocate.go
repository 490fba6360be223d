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
	targets []int8 // that fit
	wanted  []int8 // that are wanted
}

// unlimited is a budget that everything wanted fits.
var unlimited = layer.Budget{Keep: 1 << 50, Change: 1 << 50}

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
		case s.track.holding && s.sw.Current() < 0:
			// Its first layer would be left for the next one a moment later.
		default:
			a.slots = append(a.slots, s)
			a.sources = append(a.sources, s.track.ladder(s))
		}
	}
	if len(a.slots) == 0 {
		p.spent = audio
		p.estimator.SetWanted(0, 0)
		return
	}
	for len(a.targets) < len(a.slots) {
		a.targets, a.wanted = append(a.targets, 0), append(a.wanted, 0)
	}
	n := len(a.slots)
	wanted, targets := a.wanted[:n], a.targets[:n]
	all := layer.Allocate(unlimited, a.sources, wanted) + audio
	keep := p.estimator.Estimate().Keep
	budget := layer.Budget{Keep: max(keep-audio, 0), Change: max(p.climb.allowed(now)-audio, 0)}
	p.spent = layer.Allocate(budget, a.sources, targets) + audio
	over := a.current()+audio > keep+keep/4
	raised, lowered := false, false
	for i, s := range a.slots {
		last := s.aimed()
		switch {
		case targets[i] > max(last, 0):
			raised = true
		case targets[i] < last && wanted[i] >= last: // for want of bandwidth alone
			lowered = true
			if over {
				r.abandon(now, s)
			}
		}
		s.short = targets[i] < wanted[i]
		r.target(now, s, targets[i], out)
	}
	if lowered {
		p.climb.lowered(now)
	} else if raised {
		p.climb.raised(now)
	}
	need := a.nextStep(wanted, targets)
	if need > 0 && !now.Before(p.climb.blocked) {
		need = p.climb.before(p.spent + need)
	} else {
		need = 0
	}
	p.estimator.SetWanted(need, p.climb.before(all))
}

// abandon ends what a subscriber is sent of a track, until the key frame of a lower layer comes: the path carries so much less
// that the frames of the old layer would only lengthen the queue in front of it.
func (r *Room) abandon(now time.Time, s *slot) {
	s.sw.SetTarget(layer.Paused)
	r.stats.Drops[DropQueue] += uint64(s.peer.pacer.Drop(s.index))
	s.abandoned, s.abandonedAt = s.sw.Newest(), now
}

// current returns the rate of what is forwarded now.
func (a *allocScratch) current() (sum unit.Bitrate) {
	for i := range a.sources {
		if c := a.sources[i].Current; c >= 0 {
			sum += a.sources[i].Rungs[c].Rate
		}
	}
	return sum
}

// nextStep returns what the cheapest step towards what is wanted costs, 0 if nothing is missing.
func (a *allocScratch) nextStep(wanted, targets []int8) (least unit.Bitrate) {
	for i, target := range targets {
		if target >= wanted[i] {
			continue
		}
		rungs := &a.sources[i].Rungs
		next := target + 1
		for rungs[next].Rate <= 0 { // wanted[i] exists
			next++
		}
		cost := rungs[next].Rate
		if target != layer.Paused {
			cost -= rungs[target].Rate
		}
		if cost = max(cost, 1); least == 0 || cost < least {
			least = cost
		}
	}
	return least
}

// target aims one subscription and asks for the key frame that it needs.
func (r *Room) target(now time.Time, s *slot, rung int8, out *Batch) {
	s.aim(rung)
	if rung == layer.Paused {
		r.switched(s, out)
	}
	r.wantKey(now, s, out)
}

// ladder describes a track to the allocator, as one subscriber wants it.
func (t *track) ladder(s *slot) layer.Source {
	src := layer.Source{Priority: s.wish.Priority, Want: s.wish.Height, Current: s.shown()}
	if st := t.svc(); st != nil {
		st.ladder(&src)
		return src
	}
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
