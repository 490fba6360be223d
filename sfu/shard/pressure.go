package shard

import (
	"time"

	"sotto/sfu/layer"
)

const (
	// pressureStep is the least time from one level to the next higher one: what was left out must have had time to help.
	pressureStep = 100 * time.Millisecond
	// pressureHold is how long the socket must have taken everything before there is more again: longer than the estimators
	// need, which see what was lost and lower what each subscriber gets.
	pressureHold = time.Second

	maxPressure = 2
)

// pressure is what is left out while the socket does not take everything: first the frames of the highest temporal layers,
// which no other frame needs, in every room of the shard. What is too much even so is lost by runs, which are whole frames,
// of one viewer after the other, and the estimators take it for what it is. Sound is written before any video then.
type pressure struct {
	level    int // 0 to maxPressure
	refusals uint64
	refused  time.Time // the last time
	changed  time.Time
}

// limit returns the highest temporal layer that goes out. Streams have three of them at most.
func (p *pressure) limit() uint8 {
	switch p.level {
	case 0:
		return layer.AllLayers
	case 1:
		return 1
	}
	return 0
}

// relieve raises the pressure where the socket refused something in this round, and takes it back later.
func (s *Shard) relieve(now time.Time) {
	p := &s.pressure
	refusals := s.own.out.Refusals()
	for _, l := range s.lanes {
		refusals += l.out.Refusals()
	}
	level := p.level
	switch {
	case refusals != p.refusals:
		p.refusals, p.refused = refusals, now
		if level < maxPressure && now.Sub(p.changed) >= pressureStep {
			level++
		}
	case level > 0 && now.Sub(p.refused) >= pressureHold && now.Sub(p.changed) >= pressureHold:
		level--
	}
	if level == p.level {
		return
	}
	p.level, p.changed = level, now
	for _, h := range s.active {
		h.room.Thin(p.limit())
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
