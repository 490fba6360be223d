package bwe

import (
	"time"

	"sotto/sfu/unit"
)

// Probe asks the owner to send a burst, to prove a higher rate: for as long as it takes to send Bytes at Rate, everything
// that is sent counts, and what media does not fill is filled with retransmissions or padding. The zero value asks for nothing.
type Probe struct {
	Rate  unit.Bitrate
	Bytes int
	ID    uint8 // passed back in OnSent; never 0
}

// Figures of probes.
const (
	// probeTime is how long a probe lasts, if it may: several intervals between frames and between receivers' wake-ups.
	probeTime = 120 * time.Millisecond
	probeMax  = 300 * time.Millisecond
	// probeQueue is what a probe may leave in the queue of a path that carries no more than the estimate, if that allows
	// probeLeast.
	probeQueue = 80 * time.Millisecond
	probeLeast = 40 * time.Millisecond
	// probeBytes are sent at least: four packets and a bit.
	probeBytes = 4800
	// probeGap is the time between two probes that succeed, probeWait after the first that fails; it doubles up to
	// probeWaitMax, so that a path that does not get better carries little more for them.
	probeGap     = 50 * time.Millisecond
	probeWait    = time.Second
	probeWaitMax = 3 * time.Second
	// probeStep bounds a probe to what the path may be expected to take: a queue of 300 ms holds it even if nothing fits.
	probeStep = 3
	// probeOver is how much more than needed is proven.
	probeOver = 1.05
	// arrivedPart of the rate must arrive; less means that the path is full at what arrives, of which fullPart is safe.
	arrivedPart = 0.9
	fullPart    = 0.93
	// probeLost is when a probe is judged by what has arrived, beside two round trips.
	probeLost = 300 * time.Millisecond
)

// prober plans probes and judges them.
type prober struct {
	need, all unit.Bitrate // wanted: for the next step, for everything

	id     uint8
	active bool // asked for and not judged
	asked  time.Duration
	rate   unit.Bitrate

	count, got                 int
	sentFirst, sentLast        int64
	sentBytes, sentTail        int
	arrivedFirst, arrivedLast  int64
	arrivedBytes, arrivedFront int
	finished                   bool // as many bytes were sent as asked for
	bytes                      int

	next     time.Duration // not before
	wait     time.Duration // after the last failure
	climbing bool          // the last one succeeded: take larger steps
}

// SetWanted says what the path is wanted to carry: need is what the next step up would take, all what everything wanted would.
// Probes are sent only while need is more than proven.
func (e *Estimator) SetWanted(need, all unit.Bitrate) {
	e.probe.need, e.probe.all = need, max(need, all)
}

func (e *Estimator) nextProbe(now time.Time) (Probe, time.Time) {
	p := &e.probe
	at := now.Sub(e.epoch)
	if p.active {
		// Without feedback for it: judged by its time alone.
		if limit := p.asked + probeMax + 2*e.est.RTT + probeLost; at >= limit {
			p.fail(at, true)
		} else {
			return Probe{}, e.epoch.Add(limit)
		}
	}
	if p.need <= e.est.Change || e.est.Change >= e.cfg.Max {
		return Probe{}, time.Time{}
	}
	if at < p.next {
		return Probe{}, e.epoch.Add(p.next)
	}
	if !e.delay.calm() {
		return Probe{}, now.Add(100 * time.Millisecond)
	}
	rate := unit.Bitrate(float64(p.need) * probeOver)
	if p.climbing {
		rate = max(rate, min(2*e.est.Change, unit.Bitrate(float64(p.all)*probeOver)))
	}
	rate = min(rate, probeStep*e.est.Keep, e.cfg.Max)
	length := probeTime + 6*time.Duration(e.delay.dev)
	if over := rate - e.est.Keep; over > 0 {
		fits := float64(probeQueue+2*time.Duration(e.delay.dev)) * float64(e.est.Keep) / float64(over)
		length = min(length, max(time.Duration(fits), probeLeast))
	}
	length = min(length, probeMax)
	id := p.id + 1
	if id == 0 {
		id = 1
	}
	*p = prober{
		need: p.need, all: p.all, next: p.next, wait: p.wait, climbing: p.climbing,
		id: id, active: true, asked: at, rate: rate, bytes: max(rate.Bytes(length), probeBytes),
	}
	return Probe{Rate: rate, Bytes: p.bytes, ID: id}, now.Add(probeLost)
}

func (p *prober) sent(s *sent) {
	if !p.active || s.probe != p.id {
		return
	}
	if p.count == 0 {
		p.sentFirst = s.at
	}
	p.count++
	p.sentLast, p.sentTail = s.at, int(s.size)
	p.sentBytes += int(s.size)
	p.finished = p.sentBytes >= p.bytes
}

func (p *prober) arrived(s *sent, arrival int64) {
	if !p.active || s.probe != p.id {
		return
	}
	if p.got == 0 {
		p.arrivedFirst, p.arrivedLast, p.arrivedFront = arrival, arrival, int(s.size)
	}
	p.got++
	if arrival < p.arrivedFirst {
		p.arrivedFirst, p.arrivedFront = arrival, int(s.size)
	}
	p.arrivedLast = max(p.arrivedLast, arrival)
	p.arrivedBytes += int(s.size)
}

// fail puts the next probe off; counted only where it was the probe that failed.
func (p *prober) fail(at time.Duration, counted bool) {
	p.active, p.climbing = false, false
	if counted {
		p.wait = min(max(2*p.wait, probeWait), probeWaitMax)
	}
	p.next = max(p.next, at+max(p.wait, probeWait))
}

// result judges a probe once all of it has arrived, or should have. The rate is what the path is proven to carry; 0 is none.
func (p *prober) result(at time.Duration, inherent float64) (rate unit.Bitrate, done bool) {
	switch {
	case !p.active || p.got == 0:
		return 0, false
	case p.finished && p.got == p.count:
	case p.finished && at > time.Duration(p.sentLast)+probeLost:
	default:
		return 0, false
	}
	p.active = false
	took, arrived := time.Duration(p.sentLast-p.sentFirst), time.Duration(p.arrivedLast-p.arrivedFirst)
	if p.got < 4 || p.got < p.count*3/4 || took <= 0 || arrived <= 0 {
		p.fail(at, true)
		return 0, true
	}
	sent := unit.RateOf(p.sentBytes-p.sentTail, took)
	got := unit.Bitrate(float64(unit.RateOf(p.arrivedBytes-p.arrivedFront, arrived)) / (1 - inherent))
	if float64(got) < arrivedPart*float64(sent) {
		p.fail(at, true)
		return unit.Bitrate(fullPart * float64(got)), true
	}
	p.wait, p.next, p.climbing = 0, at+probeGap, true
	return min(sent, got), true
}
