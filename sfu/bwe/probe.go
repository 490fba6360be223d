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
	// A probe is worth its queue only if a short one, at no more than knockRate of the estimate, finds that there is more at
	// all. Where there is not, this leaves no more than knockQueue.
	knockRate  = 1.3
	knockQueue = 20 * time.Millisecond
	// probeBytes are sent at least: four packets and a bit.
	probeBytes = 4800
	// probeGap is the time between two probes that succeed, probeWait after the first that fails; it doubles up to
	// probeWaitMax, so that a path that does not get better carries little more for them.
	probeGap     = 50 * time.Millisecond
	probeWait    = time.Second
	probeWaitMax = 1500 * time.Millisecond
	// probeWaitLossy is the longest wait after probes that lose packets: a queue so short is no place for them.
	probeWaitLossy = 10 * time.Second
	// probeStep bounds a probe to what the path may be expected to take: a queue of 300 ms holds it even if nothing fits.
	probeStep = 3
	// probeOver is how much more than needed is proven.
	probeOver = 1.05
	// arrivedPart of the rate must arrive; less means that the path is full at what arrives, of which fullPart is safe.
	arrivedPart = 0.9
	fullPart    = 0.93
	// probeLoss is what a probe may lose more than media.
	probeLoss = 0.25
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

	count, got, lost          int // packets: sent, arrived, said to be lost
	sentFirst, sentLast       int64
	sentBytes, sentTail       int
	arrivedFirst, arrivedLast int64
	finished                  bool // as many bytes were sent as asked for
	bytes                     int

	next     time.Duration // not before
	wait     time.Duration // after the last failure
	lossy    bool          // the last one judged lost more than the path loses
	climbing bool          // the last one succeeded: take larger steps
	knock    bool          // the one under way is only to find out whether one is worth its queue
	opened   bool          // the last one was such, and succeeded
	path     unit.Bitrate  // what the path carries beside a rival, by the last one; 0: none was sent
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
	if !e.delay.calm() && !e.delay.rival.on {
		return Probe{}, now.Add(100 * time.Millisecond)
	}
	rate := unit.Bitrate(float64(p.need) * probeOver)
	if p.climbing {
		rate = max(rate, min(2*e.est.Change, unit.Bitrate(float64(p.all)*probeOver)))
	}
	rate = min(rate, probeStep*e.est.Keep, e.cfg.Max)
	jitter := time.Duration(e.delay.jitter())
	length := probeTime + 6*jitter
	left, least := probeQueue+2*jitter, probeLeast
	knock := !p.climbing && !p.opened && !e.delay.rival.on
	if knock {
		rate = min(rate, unit.Bitrate(knockRate*float64(e.est.Keep)))
		length, left, least = max(probeLeast, 6*jitter), knockQueue+2*jitter, 0
	}
	if over := rate - e.est.Keep; over > 0 && !e.delay.rival.on {
		fits := float64(left) * float64(e.est.Keep) / float64(over)
		length = min(length, max(time.Duration(fits), least))
	}
	length = min(length, probeMax)
	id := p.id + 1
	if id == 0 {
		id = 1
	}
	*p = prober{
		need: p.need, all: p.all, next: p.next, wait: p.wait, climbing: p.climbing, knock: knock, path: p.path, lossy: p.lossy,
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
		p.arrivedFirst, p.arrivedLast = arrival, arrival
	}
	p.got++
	p.arrivedFirst, p.arrivedLast = min(p.arrivedFirst, arrival), max(p.arrivedLast, arrival)
}

// missed counts n packets more that feedback said were lost; -1 takes one back that was only late. What no feedback tells of is not
// lost: the feedback may be.
func (p *prober) missed(s *sent, n int) {
	if p.active && s.probe == p.id {
		p.lost += n
	}
}

// fail puts the next probe off; counted only where it was the probe that failed.
func (p *prober) fail(at time.Duration, counted bool) {
	p.active, p.climbing, p.opened = false, false, false
	if counted {
		longest := probeWaitMax
		if p.path != 0 {
			longest = rivalWait
		} else if p.lossy {
			longest = probeWaitLossy
		}
		p.wait = min(max(2*p.wait, probeWait), longest)
	}
	p.next = max(p.next, at+max(p.wait, probeWait))
}

// result judges a probe once all of it has arrived, or should have, on a path that loses loss of the media. The rate is what the
// path is proven to carry; 0 is none.
// Beside a rival, ours is what arrives usually; 0 is no rival.
func (p *prober) result(at, rtt time.Duration, loss float64, ours unit.Bitrate) (rate unit.Bitrate, done bool) {
	switch {
	case !p.active || p.got == 0:
		return 0, false
	case p.finished && p.got == p.count:
	case p.finished && at > time.Duration(p.sentLast)+2*rtt+probeLost:
	default:
		return 0, false
	}
	p.active = false
	p.lossy = float64(p.lost) > float64(p.count)*loss+1
	took, arrived := time.Duration(p.sentLast-p.sentFirst), time.Duration(p.arrivedLast-p.arrivedFirst)
	if p.got < 4 || float64(p.got) < float64(p.count)*(1-probeLoss-loss) || took <= 0 || arrived <= 0 {
		p.fail(at, true)
		return 0, true
	}
	sent := unit.RateOf(p.sentBytes-p.sentTail, took)
	whole := min(1, float64(p.got)/(float64(p.count)*(1-loss))) // what overflowed a short queue did not arrive
	got := min(sent, unit.Bitrate(float64(sent)*took.Seconds()/arrived.Seconds()*whole))
	if ours == 0 {
		p.path = 0
	} else {
		got = p.fairShare(sent, got, ours)
	}
	if float64(got) < arrivedPart*float64(sent) {
		p.fail(at, true)
		return unit.Bitrate(fullPart * float64(got)), true
	}
	if p.knock {
		p.next, p.opened = at+probeGap, true
		return 0, true
	}
	p.wait, p.next, p.climbing, p.opened = 0, at+probeGap, true, false
	return min(sent, got), true
}
