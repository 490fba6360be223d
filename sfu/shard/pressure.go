package shard

import (
	"time"

	"sotto/sfu/room"
)

const (
	// pressureStep is the least time from one level to the next higher one: what was left out must have had time to help.
	pressureStep = 100 * time.Millisecond
	// pressureHold is how long the socket must have taken everything before there is more again: longer than the estimators
	// need, which see what was lost and lower what each subscriber gets. It doubles, up to pressureHoldMax, each time that the
	// socket refuses something again within pressureTrial: layers that come and go are worse than a lower one.
	pressureHold    = time.Second
	pressureHoldMax = 16 * time.Second
	pressureTrial   = 5 * time.Second
)

// pressure is what is left out while the socket does not take everything: whole frames in every room of the shard, the highest
// layers first, see room.Room.Thin. What is too much in the meantime is lost by runs, of one viewer after the other, and the
// estimators take it for what it is. Sound is written before any video then.
type pressure struct {
	level    int // 0 to room.MaxThin
	refusals uint64
	refused  time.Time     // the last time
	changed  time.Time     // or, at the highest level, since when it was not enough
	eased    time.Time     // when the level fell; zero: refusals since then have been judged
	hold     time.Duration // before it falls after it rose; 0 = pressureHold
}

// update takes how often the socket has refused something and reports whether the rooms must know.
func (p *pressure) update(now time.Time, refusals uint64) bool {
	quiet, wait := min(now.Sub(p.refused), now.Sub(p.changed)), pressureHold
	if p.eased.IsZero() {
		wait = max(wait, p.hold)
	}
	switch {
	case refusals != p.refusals:
		p.refusals, p.refused = refusals, now
		if now.Sub(p.changed) < pressureStep {
			return false
		}
		if !p.eased.IsZero() {
			failed := now.Sub(p.eased) < pressureTrial
			if p.eased = (time.Time{}); failed {
				p.hold = min(2*max(p.hold, pressureHold), pressureHoldMax)
			} else {
				p.hold = 0
			}
		}
		p.level = min(p.level+1, room.MaxThin)
	case p.level > 0 && quiet >= wait:
		if !p.eased.IsZero() { // the last time was no mistake
			p.hold = 0
		}
		p.level, p.eased = p.level-1, now
	default:
		return false
	}
	p.changed = now
	return true
}

// relieve makes the rooms leave out more where the socket refused something in the round before, and less again later.
func (s *Shard) relieve(now time.Time) {
	refusals := s.own.out.Refusals()
	for _, l := range s.lanes {
		refusals += l.out.Refusals()
	}
	if !s.pressure.update(now, refusals) {
		return
	}
	for _, h := range s.active {
		s.thin(now, h)
	}
}

// thin is Thin behind the barrier.
func (s *Shard) thin(now time.Time, h *hosted) {
	defer func() {
		if r := recover(); r != nil {
			s.condemn(h)
		}
	}()
	if !h.dead {
		h.room.Thin(now, s.pressure.level, &s.batch)
	}
}

// sound sends one packet past all lists.
func (l *lane) sound(p *peer, at int32) {
	defer l.barrier(p)
	l.shard.plans[at-1].size = uint16(l.shard.batch.Sends[at-1].Size(&p.outgoing))
	l.send(p, at, 0)
	if l.out.Full() {
		l.flush()
	}
}
