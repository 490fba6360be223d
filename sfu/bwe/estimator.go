// Package bwe estimates how much a path to a subscriber carries (send-side, from transport-wide congestion control
// feedback, draft-holmer-rmcat-transport-wide-cc-extensions-01), and records arrivals for the same feedback to publishers.
//
// The estimate is the least of three parts:
//
//	feedback -> arrivals -+-> delay: queue that our model of the path does not explain -> cut to what arrives  -+
//	                      +-> loss:  more than the path loses anyway                   -> cut to what arrives  -+-> min -> Keep
//	                      +-> probe: a burst at a higher rate arrived at that rate     -> proven               -+       Change
//
// Delay works in the spirit of draft-ietf-rmcat-gcc-02 (trend of the one-way delay, adaptive threshold, AIMD on the acknowledged
// rate). What differs is that it compares the delay with a model queue, drained at the estimate, so that a key frame or a
// probe, which must queue for a moment, is not taken for congestion; and that it tells a queue of ours from one that a rival keeps
// filled, where it stops yielding. Since a forwarder sends layers, not a rate that it could
// choose, nearly all its time is limited by the application: it then learns nothing from sending on, and climbs by probes.
package bwe

import (
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/unit"
)

// Bounds of an estimate.
const (
	// DefaultStart carries one 720p video or several small ones at once; a slower path shows it by delay within a third of
	// a second.
	DefaultStart = 2500 * unit.Kbps
	// DefaultMin keeps audio and one smallest video alive, with what both vary.
	DefaultMin = 250 * unit.Kbps
	// DefaultMax is more than a full grid of tiles needs.
	DefaultMax = 20 * unit.Mbps

	// history is how many sent packets are remembered at most: more than a second at 10 Mbit/s. It begins with
	// firstHistory, enough for a stream of 1.5 Mbit/s, and doubles while it holds less than historySpan. Powers of two.
	history      = 2048
	firstHistory = 512
	historySpan  = 2 * time.Second

	silence = 1500 * time.Millisecond // without feedback, while sending: halve
	// silentPackets are sent at least before silence means anything.
	silentPackets = 10
	idle          = time.Second // without anything to learn from: rise
	idleRise      = 0.25        // of the rate, each time
)

// Config bounds an Estimator; zero fields take the defaults.
type Config struct{ Start, Min, Max unit.Bitrate }

// Estimate is what is known about a path.
type Estimate struct {
	// Keep is the rate that may be spent on what is forwarded already, Change the rate proven enough to move up.
	Keep, Change unit.Bitrate
	Acked        unit.Bitrate  // rate that arrived in the last 0.8 s
	Loss         float64       // of the last second, 0-1
	RTT          time.Duration // from sending to feedback, smoothed; 0 is unknown
	Queue        time.Duration // delay above the least of the last 20 s
	Rival        bool          // somebody else keeps the queue of the path filled
}

type sentState uint8

const (
	sentUnused sentState = iota
	sentWaiting
	sentLost
	sentAcked
)

type sent struct {
	at     int64 // ns since epoch
	seq    uint16
	size   uint16
	expect uint16 // queue of the model before it, ms
	state  sentState
	probe  uint8
}

// Estimator is the path to one subscriber. Not safe for concurrent use. It allocates its history with the first packet
// and where the rate outgrows it, and nothing else.
type Estimator struct {
	cfg    Config
	epoch  time.Time
	sent   []sent
	newest uint16 // number sent last
	reach  arrivals
	model  model

	acked ackedRate
	delay delay
	loss  loss
	probe prober

	est    Estimate
	rate   unit.Bitrate // the delay part
	proven unit.Bitrate

	feedback      time.Time    // last; zero: never
	sinceFeedback int          // packets sent after it
	silentUntil   time.Time    // next cut by silence
	before        unit.Bitrate // rate before silence; 0: not silent
	idleAt        time.Time
	raisedAt      time.Time
}

// New returns an estimator at its start rate.
func New(cfg Config) *Estimator {
	if cfg.Start == 0 {
		cfg.Start = DefaultStart
	}
	if cfg.Min == 0 {
		cfg.Min = DefaultMin
	}
	if cfg.Max == 0 {
		cfg.Max = DefaultMax
	}
	e := &Estimator{cfg: cfg, rate: cfg.Start, proven: cfg.Start}
	e.loss.rate, e.loss.floor = cfg.Max, 2*cfg.Min
	e.update()
	return e
}

// Estimate returns the newest estimate.
func (e *Estimator) Estimate() Estimate { return e.est }

// OnSent notes a packet of size bytes that leaves with transport-wide number seq; probe is 0 or the ID of the Probe that is
// being sent. Numbers are consecutive.
func (e *Estimator) OnSent(now time.Time, seq uint16, size int, probe uint8) {
	if e.sent == nil {
		e.sent = make([]sent, firstHistory)
		e.epoch, e.idleAt = now, now
	}
	at := int64(now.Sub(e.epoch))
	s := e.slot(seq)
	if s.state != sentUnused && at-s.at < int64(historySpan) && len(e.sent) < history {
		e.remember()
		s = e.slot(seq)
	}
	*s = sent{
		at: at, seq: seq, size: uint16(min(size, 1<<16-1)), state: sentWaiting, probe: probe,
		expect: uint16(min(e.model.add(at, size, e.est.Keep)/int64(time.Millisecond), 1<<16-1)),
	}
	e.newest = seq
	e.sinceFeedback++
	if probe != 0 {
		e.probe.sent(s)
	}
}

// slot is where a number is remembered.
func (e *Estimator) slot(seq uint16) *sent { return &e.sent[int(seq)&(len(e.sent)-1)] }

// remember doubles the history.
func (e *Estimator) remember() {
	former := e.sent
	e.sent = make([]sent, 2*len(former))
	for i := range former {
		if s := &former[i]; s.state != sentUnused {
			*e.slot(s.seq) = *s
		}
	}
}

// OnFeedback takes a feedback packet. It reports whether the estimate changed. Whatever the packet claims, the work is
// bounded by its length and the history, and only packets that were sent and not yet acknowledged count.
func (e *Estimator) OnFeedback(now time.Time, fb *rtcp.TransportLayerCC) (Estimate, bool) {
	if e.sent == nil {
		return e.est, false
	}
	newest := e.walk(fb)
	if newest < 0 {
		return e.est, false // nothing that we sent: proves nothing, not even that the path is alive
	}
	keep, change := e.est.Keep, e.est.Change
	e.feedback, e.sinceFeedback, e.silentUntil, e.idleAt = now, 0, time.Time{}, now
	at := now.Sub(e.epoch)
	sample := at - time.Duration(newest)
	if e.est.RTT == 0 {
		e.est.RTT = sample
	} else {
		e.est.RTT += (sample - e.est.RTT) / 8
	}
	e.est.Acked = e.acked.rate()
	e.est.Queue = time.Duration(e.delay.queue())
	if e.before != 0 {
		e.resume(at)
	} else {
		e.judge(at)
	}
	e.update()
	return e.est, keep != e.est.Keep || change != e.est.Change
}

// judge lets the parts have their say after new arrivals.
func (e *Estimator) judge(at time.Duration) {
	switch v, capacity := e.delay.judge(int64(at), e.est.RTT, e.loss.ratio-e.loss.inherent); v {
	case overused:
		e.lower(unit.Bitrate(float64(min(capacity, e.rate)) * afterOveruse))
		e.probe.fail(at, false)
	case shared:
		e.rate = max(e.rate, unit.Bitrate(float64(capacity)*besideRival))
	case fine:
	}
	calm := e.delay.calm()
	if from := e.loss.vain(int64(at), e.est.Acked, calm); from != 0 {
		e.loss.rate, e.rate, e.proven = max(e.loss.rate, from), max(e.rate, from), max(e.proven, from)
	}
	if over := e.loss.evaluate(int64(at), calm); over {
		e.loss.watch(int64(at), e.est.Keep, e.est.Acked)
		arrives := unit.Bitrate(float64(min(e.est.Acked, e.est.Keep)) * afterLoss)
		if e.loss.overflow() {
			e.lower(arrives)
		} else { // little may arrive because little is sent
			arrives = max(arrives, unit.Bitrate(float64(e.est.Keep)*leastAfterLoss))
		}
		e.loss.rate = max(arrives, e.cfg.Min)
		e.proven = min(e.proven, e.loss.rate)
	}
	if rate, done := e.probe.result(at, e.est.RTT, e.loss.ratio, e.rivalled()); done && rate > 0 {
		e.rate, e.proven = max(e.rate, rate), max(e.proven, rate)
		e.loss.rate = max(e.loss.rate, rate)
	}
	e.increase(at)
	e.proven = max(e.proven, min(e.est.Acked, e.rate))
}

// rivalled returns what arrives of us beside a rival, 0 if there is none.
func (e *Estimator) rivalled() unit.Bitrate {
	if !e.delay.rival.on {
		return 0
	}
	return e.est.Acked
}

// lower cuts the delay part and what counts as proven.
func (e *Estimator) lower(rate unit.Bitrate) {
	e.rate = max(min(e.rate, rate), e.cfg.Min)
	e.proven = min(e.proven, e.rate)
}

const (
	// afterOveruse is what remains of the capacity, so that the queue empties (draft-ietf-rmcat-gcc-02 5.5).
	afterOveruse = 0.85
	afterLoss    = 0.95
	// leastAfterLoss is what remains of the estimate where no full queue is seen.
	leastAfterLoss = 0.7
	// besideRival is what may be spent beside a rival of what has held there: room for what layers vary.
	besideRival = 1.25
	// increasePerSecond is the multiplicative increase while the rate is used (draft: 1.08 a second), usedPart how much of
	// it must be, and maxAhead how far it may run ahead of what arrives.
	increasePerSecond = 0.08
	usedPart          = 0.7
	maxAhead          = 1.5
)

// increase raises the rate while it is used and the path stays calm.
func (e *Estimator) increase(at time.Duration) {
	now := e.epoch.Add(at)
	since := now.Sub(e.raisedAt)
	if since < 100*time.Millisecond {
		return
	}
	e.raisedAt = now
	if since > time.Second || !e.delay.calm() || float64(e.est.Acked) < usedPart*float64(e.rate) {
		return
	}
	more := unit.Bitrate(float64(e.rate) * increasePerSecond * since.Seconds())
	e.rate = min(e.rate+more, max(e.rate, unit.Bitrate(maxAhead*float64(e.est.Acked))))
}

// resume goes on after an outage: paths that come back are most often what they were, and if not, the delay shows it soon.
func (e *Estimator) resume(at time.Duration) {
	e.rate, e.proven = max(e.rate, e.before), max(e.proven, e.before)
	e.before = 0
	e.loss.forget(int64(at))
	e.delay.wait(int64(at))
}

func (e *Estimator) update() {
	e.rate = min(max(e.rate, e.cfg.Min), e.cfg.Max)
	e.loss.rate = min(max(e.loss.rate, e.cfg.Min), e.cfg.Max)
	e.est.Loss, e.est.Rival = e.loss.ratio, e.delay.rival.on
	e.est.Keep = min(e.rate, e.loss.rate)
	e.est.Change = min(e.est.Keep, max(e.proven, e.cfg.Min))
}

// Next does what time alone brings. It halves the rate when feedback stopped although packets are being sent. And it lets a
// cut rate rise again, up to the start rate, while so little is sent that nothing can be learned: otherwise a subscriber
// whose smallest layer was paused might never get it back. A path that never gave feedback stays at its start rate.
//
// The probe is what to send now; at is when to call again, zero if only after OnSent or OnFeedback.
func (e *Estimator) Next(now time.Time) (probe Probe, at time.Time) {
	if e.feedback.IsZero() {
		return Probe{}, time.Time{}
	}
	if e.before == 0 {
		probe, at = e.nextProbe(now)
	}
	if e.sinceFeedback < silentPackets {
		return probe, sooner(at, e.rise(now))
	}
	if e.silentUntil.IsZero() {
		e.silentUntil = e.feedback.Add(silence)
	}
	if !now.Before(e.silentUntil) {
		if e.before == 0 {
			e.before = e.rate
		}
		e.rate /= 2
		e.proven = min(e.proven, e.rate)
		e.silentUntil = now.Add(silence)
		e.update()
	}
	return probe, sooner(at, e.silentUntil)
}

// rise lets an idle path recover.
func (e *Estimator) rise(now time.Time) time.Time {
	if e.est.Keep >= e.cfg.Start {
		return time.Time{}
	}
	if now.Sub(e.idleAt) >= idle {
		rate := min(e.est.Keep+unit.Bitrate(float64(e.est.Keep)*idleRise), e.cfg.Start)
		e.rate, e.loss.rate, e.proven = max(e.rate, rate), max(e.loss.rate, rate), max(e.proven, rate)
		e.idleAt = now
		e.update()
	}
	return e.idleAt.Add(idle)
}

func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
