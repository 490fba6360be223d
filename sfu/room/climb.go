package room

import (
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/bwe"
	"sotto/sfu/unit"
)

const (
	// holdExtra, beside a round trip, is how long a proven rate must stand before anything is raised on it.
	holdExtra = 200 * time.Millisecond
	// A rise has failed when the estimate falls below what is sent within trial, or sooner than it took to wait for it. Each
	// failure doubles the wait for the next rise, and a rise that lasts makes the next wait short again.
	trial       = 8 * time.Second
	riseWait    = time.Second
	riseWaitMax = 30 * time.Second
	// headroom is what a rise leaves free of the proven rate, in parts of 8: layers vary, and retransmissions need room. Each
	// failure takes one more, up to headroomMax, and each forgive without one gives it back.
	headroom    = 1
	headroomMax = 3
	forgive     = 2 * time.Minute

	// repairParts is how many parts of an estimate are one for retransmissions, repairMost what they may take of what arrives.
	repairParts = 10
	repairMost  = 1.0 / 3
)

// climb decides when a subscriber may get more: down at once, up only on a rate that is proven and has held.
type climb struct {
	change  unit.Bitrate // may be used
	proven  unit.Bitrate // the least since since
	since   time.Time    // the estimator says more than change; zero: it does not
	rose    time.Time    // last rise, zero if it proved itself
	wait    time.Duration
	blocked time.Time // no rise before
	tried   bool      // a rise has failed before
	failed  int       // rises, 0 to headroomMax-headroom
	failure time.Time // last one, or when the last but one was forgiven
	rival   bool      // somebody else keeps the queue filled
}

// update takes an estimate and reports whether more than before may be used.
func (c *climb) update(now time.Time, change unit.Bitrate, rtt time.Duration) (more bool) {
	if change <= c.change {
		c.change, c.since = change, time.Time{}
		return false
	}
	if c.since.IsZero() {
		c.since, c.proven = now, change
	}
	c.proven = min(c.proven, change)
	if now.Sub(c.since) < rtt+holdExtra {
		return false
	}
	c.change, c.since = c.proven, time.Time{}
	return true
}

// allowed returns what may be used for rises now.
func (c *climb) allowed(now time.Time) unit.Bitrate {
	if now.Before(c.blocked) {
		return 0
	}
	return c.change - c.change*c.headroom()/8
}

func (c *climb) headroom() unit.Bitrate { return unit.Bitrate(headroom + c.failed) }

// before returns the proven rate that a rise to rate takes: the inverse of allowed.
func (c *climb) before(rate unit.Bitrate) unit.Bitrate { return rate*8/(8-c.headroom()) + 1 }

// raised notes a rise.
func (c *climb) raised(now time.Time) { c.rose = now }

// lowered notes that something had to be lowered for want of bandwidth.
func (c *climb) lowered(now time.Time) {
	if c.rose.IsZero() || now.Sub(c.rose) > max(trial, c.wait) {
		return
	}
	if c.tried { // the first one went by the start rate, a guess
		c.failed, c.failure = min(c.failed+1, headroomMax-headroom), now
	}
	c.tried = true
	c.wait = min(max(2*c.wait, riseWait), riseWaitMax)
	c.blocked, c.rose = now.Add(c.wait), time.Time{}
}

// beside notes whether there is a rival. Once it is gone, failures are forgotten: they were those of a path that carried less.
func (c *climb) beside(rival bool) {
	if c.rival && !rival {
		c.failed, c.wait, c.blocked = 0, 0, time.Time{}
	}
	c.rival = rival
}

// settle forgets earlier failures once a rise has lasted.
func (c *climb) settle(now time.Time) {
	if !c.rose.IsZero() && now.Sub(c.rose) > max(trial, c.wait) {
		c.rose, c.wait = time.Time{}, 0
	}
	if c.failed > 0 && now.Sub(c.failure) > forgive {
		c.failed, c.failure = c.failed-1, now
	}
}

// repairBudget returns what retransmissions may take: a tenth of the estimate, and where the path loses more than can be
// repaired with that, twice what is lost of what is sent, since retransmissions get lost as well.
func repairBudget(est bwe.Estimate) unit.Bitrate {
	lost := unit.Bitrate(min(2*est.Loss, repairMost) * float64(est.Acked))
	return max(est.Keep/repairParts, min(lost, est.Keep))
}

// estimate lets time work on a subscriber's estimate, ten times a second.
func (r *Room) estimate(now time.Time, p *peer, out *Batch) {
	probe, at := p.estimator.Next(now)
	r.wake(at)
	r.useEstimate(now, p)
	r.startProbe(now, p, probe, out)
}

// onFeedback takes transport-wide feedback. What must be lowered is lowered at once: every frame of the old layer would
// wait longer in a queue that is already there.
func (r *Room) onFeedback(now time.Time, p *peer, fb *rtcp.TransportLayerCC, out *Batch) {
	before := p.estimator.Estimate().Keep
	est, changed := p.estimator.OnFeedback(now, fb)
	if !changed {
		return
	}
	r.useEstimate(now, p)
	if est.Keep < before && est.Keep < p.spent {
		r.allocate(now, p, out)
	}
}

func (r *Room) useEstimate(now time.Time, p *peer) {
	est := p.estimator.Estimate()
	p.pacer.SetBudget(now, est.Keep)
	if p.climb.update(now, est.Change, est.RTT) || est.Keep < p.spent {
		p.dirty = true // the next housekeeping allocates
	}
	p.climb.beside(est.Rival)
	p.climb.settle(now)
}
