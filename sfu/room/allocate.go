package room

import (
	"time"

	"sotto/sfu/layer"
	"sotto/sfu/unit"
)

// allocateEvery is how long targets stay without a reason to change them: rates of layers drift.
const allocateEvery = time.Second

// spare is how much of the estimate more the least that is forwarded may take, one part in so many: a cut goes below what the path
// carries for a moment, and a picture that comes and goes is worse than a short queue.
const spare = 5

// allocScratch is the room's memory for allocations.
type allocScratch struct {
	slots   []*slot
	sources []layer.Source
	points  [][layer.MaxSteps]point // what the steps of the sources are
	targets []int8                  // steps that fit
	wanted  []int8                  // steps that are wanted
}

// unlimited is a budget that everything wanted fits.
var unlimited = layer.Budget{Keep: 1 << 50, Change: 1 << 50}

// allocate sets the targets of all of a peer's subscriptions: audio always, video as the budget allows.
func (r *Room) allocate(now time.Time, p *peer, out *Batch) {
	p.dirty, p.allocAt = false, now.Add(allocateEvery)
	a := &r.alloc
	a.slots, a.sources, a.points = a.slots[:0], a.sources[:0], a.points[:0]
	var audio unit.Bitrate
	for _, s := range p.slots {
		switch {
		case s.track == nil:
		case s.wish.Paused:
			r.target(now, s, paused, out)
		case s.Kind == Audio:
			r.target(now, s, point{0, layer.AllLayers}, out)
			if st := s.track.streams[0]; st != nil && now.Sub(st.last) < liveFor {
				audio += st.rate.rate(0)
			}
		case s.track.holding && s.sw.Current() < 0:
			// Its first layer would be left for the next one a moment later.
		default:
			src, points := s.track.ladder(s, r.thin.rung)
			a.slots, a.sources, a.points = append(a.slots, s), append(a.sources, src), append(a.points, points)
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
	budget := layer.Budget{Keep: max(keep, min(keep+keep/spare, a.least()+audio)) - audio, Change: max(p.climb.allowed(now)-audio, 0)}
	p.spent = layer.Allocate(budget, a.sources, targets) + audio
	over := a.current()+audio > keep+keep/4
	raised, lowered := false, false
	for i, s := range a.slots {
		src, points := &a.sources[i], &a.points[i]
		aimed := point{s.aimed(), s.tid}
		last, aim := stepOf(src, points, aimed), paused
		if targets[i] != layer.Paused {
			aim = points[targets[i]]
		}
		switch {
		case targets[i] > max(last, src.Base):
			raised = true
		case targets[i] < last && wanted[i] >= last: // for want of bandwidth alone
			lowered = true
			if over && aim.rung < aimed.rung {
				r.abandon(now, s)
			}
		}
		s.short = targets[i] < wanted[i]
		r.target(now, s, aim, out)
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
			sum += a.sources[i].Steps[c].Rate
		}
	}
	return sum
}

// least returns the rate of what is forwarded now, each source at no more than the step that everybody gets before anybody more.
func (a *allocScratch) least() (sum unit.Bitrate) {
	for i := range a.sources {
		if src := &a.sources[i]; src.Current >= 0 {
			sum += src.Steps[min(src.Current, src.Base)].Rate
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
		_, cost, _ := a.sources[i].Next(target) // wanted[i] exists
		if cost = max(cost, 1); least == 0 || cost < least {
			least = cost
		}
	}
	return least
}

// target aims one subscription and asks for the key frame that it needs.
func (r *Room) target(now time.Time, s *slot, p point, out *Batch) {
	s.tid = p.tid
	s.sw.SetMaxTID(min(p.tid, r.thin.tid))
	s.aim(p.rung)
	if p.rung == layer.Paused {
		r.switched(s, out)
	}
	r.wantKey(now, s, out)
}
