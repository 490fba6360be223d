// Package bwe estimates how much a path to a subscriber carries (send-side, from transport-wide congestion control
// feedback, draft-holmer-rmcat-transport-wide-cc-extensions-01), and records arrivals for the same feedback to publishers.
//
// What stands behind [Estimator] is a budget, not yet an estimator of delay: it starts at a fixed rate, rises while loss is
// low, and is cut by loss and by silence. It has no delay-based part and sends no probes, so it finds a link's capacity by
// filling the link's queue. The methods and their meaning stay when that changes.
package bwe

import (
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/unit"
)

// Bounds and steps of the budget.
const (
	// DefaultStart carries one 720p video or several small ones at once; a slower path shows loss within a second.
	DefaultStart = 2500 * unit.Kbps
	// DefaultMin keeps audio and one smallest video alive.
	DefaultMin = 150 * unit.Kbps
	// DefaultMax is more than a full grid of tiles needs.
	DefaultMax = 20 * unit.Mbps

	// history is how many sent packets are remembered: more than a second at 10 Mbit/s. A power of two.
	history = 2048

	lossLow  = 0.02 // below: rise. Wireless links lose this much without being full.
	lossHigh = 0.10 // above: cut. Between the two the budget stays (draft-ietf-rmcat-gcc-02 6).

	risePerSecond = 0.25 // of the budget
	ackedFactor   = 1.5  // the budget may always be this much more than what provably arrives

	evaluateEvery  = 200 * time.Millisecond
	evaluatePacket = 10 // at least so many packets make a loss ratio

	silence = 1500 * time.Millisecond // without feedback, while sending: halve
	idle    = time.Second             // without anything to evaluate: rise

	ackedBuckets = 8
	ackedBucket  = 100 * time.Millisecond
)

// Config bounds an Estimator; zero fields take the defaults.
type Config struct{ Start, Min, Max unit.Bitrate }

// Estimate is what is known about a path.
type Estimate struct {
	// Keep is the rate that may be spent on what is forwarded already, Change the rate proven enough to move up.
	Keep, Change unit.Bitrate
	Acked        unit.Bitrate  // rate that arrived in the last 0.8 s
	Loss         float64       // of the last evaluation, 0-1
	RTT          time.Duration // from sending to feedback, smoothed; 0 is unknown
}

// Probe asks the owner to send a burst, to prove a higher rate. The zero value asks for nothing.
type Probe struct {
	Rate  unit.Bitrate
	Bytes int
	ID    uint8 // passed back in OnSent
}

type sentState uint8

const (
	sentUnused sentState = iota
	sentWaiting
	sentLost
	sentAcked
)

type sent struct {
	at    int64 // ns since epoch
	seq   uint16
	size  uint16
	state sentState
}

// Estimator is the path to one subscriber. Not safe for concurrent use. It allocates its history with the first packet
// and nothing later.
type Estimator struct {
	cfg   Config
	epoch time.Time
	sent  []sent
	top   uint16

	est Estimate

	lost, acked   int // since the last evaluation
	evaluated     time.Time
	feedback      time.Time // last; zero: never
	sinceFeedback int       // packets sent after it
	silentUntil   time.Time // next cut by silence

	bucket  [ackedBuckets]int // acknowledged bytes
	bucketN int64             // number of the newest bucket since epoch
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
	return &Estimator{cfg: cfg, est: Estimate{Keep: cfg.Start, Change: cfg.Start}}
}

// Estimate returns the newest estimate.
func (e *Estimator) Estimate() Estimate { return e.est }

// OnSent notes a packet of size bytes that leaves with transport-wide number seq; probe is 0 or the ID of a Probe.
// Numbers are consecutive.
func (e *Estimator) OnSent(now time.Time, seq uint16, size int, probe uint8) {
	if e.sent == nil {
		e.sent = make([]sent, history)
		e.epoch, e.evaluated = now, now
	}
	e.sent[seq%history] = sent{at: int64(now.Sub(e.epoch)), seq: seq, size: uint16(min(size, 1<<16-1)), state: sentWaiting}
	e.top = seq
	e.sinceFeedback++
}

// OnFeedback takes a feedback packet. It reports whether the estimate changed. Whatever the packet claims, the work is
// bounded by its 65,535 statuses, and only packets that were sent and not yet acknowledged count.
func (e *Estimator) OnFeedback(now time.Time, fb *rtcp.TransportLayerCC) (Estimate, bool) {
	if e.sent == nil {
		return e.est, false
	}
	e.roll(now)
	newest := e.walk(fb)
	if newest < 0 {
		return e.est, false // nothing that we sent: proves nothing, not even that the path is alive
	}
	e.feedback, e.sinceFeedback, e.silentUntil = now, 0, time.Time{}
	sample := now.Sub(e.epoch) - time.Duration(newest)
	if e.est.RTT == 0 {
		e.est.RTT = sample
	} else {
		e.est.RTT += (sample - e.est.RTT) / 8
	}
	e.est.Acked = e.ackedRate()
	return e.est, e.evaluate(now)
}

// walk reads the statuses and returns when the newest acknowledged packet was sent, -1 for none.
func (e *Estimator) walk(fb *rtcp.TransportLayerCC) (newest int64) {
	newest = -1
	seq, left := fb.BaseSequenceNumber, int(fb.PacketStatusCount)
	for _, c := range fb.PacketChunks {
		if left <= 0 {
			break
		}
		switch c := c.(type) {
		case *rtcp.RunLengthChunk:
			n := min(int(c.RunLength), left)
			for range n {
				newest = max(newest, e.status(seq, c.PacketStatusSymbol))
				seq++
			}
			left -= n
		case *rtcp.StatusVectorChunk:
			for _, symbol := range c.SymbolList[:min(len(c.SymbolList), left)] {
				newest = max(newest, e.status(seq, symbol))
				seq++
			}
			left -= len(c.SymbolList)
		}
	}
	return newest
}

// status takes the status of one packet and returns when it was sent if that is news, else -1.
func (e *Estimator) status(seq, symbol uint16) int64 {
	s := &e.sent[seq%history]
	if s.seq != seq || s.state == sentUnused || s.state == sentAcked {
		return -1
	}
	if symbol == rtcp.TypeTCCPacketNotReceived {
		if s.state == sentWaiting {
			s.state = sentLost
			e.lost++
		}
		return -1
	}
	if s.state == sentLost { // it was only late
		e.lost = max(e.lost-1, 0)
	}
	s.state = sentAcked
	e.acked++
	e.bucket[e.bucketN%ackedBuckets] += int(s.size)
	return s.at
}

// roll empties the buckets that time has passed.
func (e *Estimator) roll(now time.Time) {
	n := int64(now.Sub(e.epoch) / ackedBucket)
	for i := 0; e.bucketN < n && i < ackedBuckets; i++ {
		e.bucketN++
		e.bucket[e.bucketN%ackedBuckets] = 0
	}
	e.bucketN = max(e.bucketN, n)
	if e.bucketN%ackedBuckets != n%ackedBuckets {
		clear(e.bucket[:])
	}
}

func (e *Estimator) ackedRate() unit.Bitrate {
	sum := 0
	for _, b := range e.bucket {
		sum += b
	}
	return unit.RateOf(sum, ackedBuckets*ackedBucket)
}

func (e *Estimator) evaluate(now time.Time) (changed bool) {
	since := now.Sub(e.evaluated)
	total := e.lost + e.acked
	if since < evaluateEvery || total < evaluatePacket {
		return false
	}
	e.est.Loss = float64(e.lost) / float64(total)
	e.lost, e.acked, e.evaluated = 0, 0, now

	rate := e.est.Keep
	switch {
	case e.est.Loss < lossLow:
		// A long pause proves nothing about the time that it took.
		rise := min(since, time.Second).Seconds() * risePerSecond
		rate = max(rate+unit.Bitrate(float64(rate)*rise), unit.Bitrate(float64(e.est.Acked)*ackedFactor))
	case e.est.Loss > lossHigh:
		rate = unit.Bitrate(float64(min(rate, max(e.est.Acked, e.cfg.Min))) * (1 - e.est.Loss/2))
	}
	return e.set(rate)
}

func (e *Estimator) set(rate unit.Bitrate) (changed bool) {
	rate = min(max(rate, e.cfg.Min), e.cfg.Max)
	changed = rate != e.est.Keep
	e.est.Keep, e.est.Change = rate, rate
	return changed
}

// Next does what time alone brings. It halves the budget when feedback stopped although packets are being sent. And it lets
// a cut budget rise again, up to the start rate, while so little is sent that nothing can be learned: otherwise a subscriber
// whose smallest layer was paused would never get it back. A path that never gave feedback stays at its start rate.
//
// The probe is what to send now; at is when to call again, zero if only after OnSent or OnFeedback.
func (e *Estimator) Next(now time.Time) (probe Probe, at time.Time) {
	switch {
	case e.feedback.IsZero():
		return Probe{}, time.Time{}
	case e.sinceFeedback < evaluatePacket:
		if e.est.Keep >= e.cfg.Start {
			return Probe{}, time.Time{}
		}
		if now.Sub(e.evaluated) >= idle {
			e.set(min(e.est.Keep+unit.Bitrate(float64(e.est.Keep)*risePerSecond*idle.Seconds()), e.cfg.Start))
			e.lost, e.acked, e.evaluated = 0, 0, now
		}
		return Probe{}, e.evaluated.Add(idle)
	}
	if e.silentUntil.IsZero() {
		e.silentUntil = e.feedback.Add(silence)
	}
	if !now.Before(e.silentUntil) {
		e.set(e.est.Keep / 2)
		e.silentUntil = now.Add(silence)
	}
	return Probe{}, e.silentUntil
}
