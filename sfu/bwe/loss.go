package bwe

import (
	"math"
	"time"

	"sotto/sfu/unit"
)

// Figures of the loss part.
const (
	lossWindows = 5
	lossWindow  = int64(200 * time.Millisecond)
	lossPackets = 20 // at least so many in a second make a ratio
	// A key frame that floods a short queue does so once: less than lossFlood must be lost in lossLasts windows to count.
	lossLasts = 3
	lossFlood = 0.3

	// A path may lose tolerated of its packets, and margin more than it has been losing without a queue. maxInherent is
	// what retransmission can still repair; nobody gains by sending into a path that loses more.
	tolerated   = 0.05
	margin      = 0.03
	maxInherent = 0.15
	// A mean above tooMuch is too much whatever the reason: the lower layer, of fewer packets a frame, is the better picture. The
	// mean is that of three seconds.
	tooMuch   = maxInherent + 0.05
	meanLearn = 1.0 / 15
	// learn is the part of what is new that goes into the inherent loss, a window: a time constant of five seconds.
	learn = 0.04
	// deviations is how unlikely a ratio must be, with the tolerated loss, to count: less than one second in 700. Loss in
	// bursts of b packets varies as if there were 2b-1 times fewer packets; burstMax bounds what a path may claim.
	deviations = 3
	burstMax   = 10
	// Loss that mostly follows packets which waited brimPart of the longest queue of late, and at least brimLeast, is that of a
	// full queue, and never inherent.
	brimPart  = 0.75
	brimLeast = int64(12 * time.Millisecond)
	brimMost  = 0.6
	brimLearn = 0.1
	// lossRise is how fast a bound by loss goes away, a window.
	lossRise = 1.1
	// lossSettle is how long a cut needs to show. It was in vain if the rate fell to fallen of what it was and more than
	// vainPart of the loss is still there.
	lossSettle = int64(500 * time.Millisecond)
	fallen     = 0.8
	vainPart   = 0.6
)

// loss bounds the rate where a path drops packets without queueing them first: policers and very short queues. It learns what
// the path loses whatever is sent (radio) and lets that be; compare the inherent loss of libwebrtc's second loss-based
// estimator.
type loss struct {
	rate     unit.Bitrate
	inherent float64
	ratio    float64      // of the last second
	mean     float64      // of the last three
	floor    unit.Bitrate // no lower for the mean alone
	burst    float64      // packets that are lost in a row, mean; below 1: not known
	brim     float64      // part of the runs of losses that followed a full queue

	total, lost, runs [lossWindows]int
	n                 int64
	next              int64 // end of the window
	quiet             int64
	last              struct { // state of the newest packet told
		seq  uint16
		lost bool
	}
	cut lossCut
}

// lossCut is a cut that is being watched: whether the path loses less after it.
type lossCut struct {
	from, acked unit.Bitrate // before it; from 0: none
	ratio       float64
	at          int64
}

// tell counts a packet that arrived or was lost, behind one that found the queue full or not; probes are not media and do not
// count.
func (l *loss) tell(s *sent, lost, full bool) {
	if s.probe != 0 {
		return
	}
	i := l.n % lossWindows
	l.total[i]++
	if lost {
		l.lost[i]++
		if !l.last.lost || s.seq != l.last.seq+1 {
			l.runs[i]++
			if full {
				l.brim += (1 - l.brim) * brimLearn
			} else {
				l.brim -= l.brim * brimLearn
			}
		}
	}
	l.last.seq, l.last.lost = s.seq, lost
}

// late takes a loss back: the packet was only late.
func (l *loss) late(s *sent) {
	if s.probe == 0 {
		l.lost[l.n%lossWindows]--
	}
}

// forget drops what was counted.
func (l *loss) forget(at int64) {
	l.total, l.lost, l.runs = [lossWindows]int{}, [lossWindows]int{}, [lossWindows]int{}
	l.next = at + lossWindow
}

func sum(windows *[lossWindows]int) (n int) {
	for _, w := range windows {
		n += w
	}
	return max(n, 0)
}

// evaluate is called with every feedback and reports whether too much is lost.
func (l *loss) evaluate(at int64, calm bool) (over bool) {
	if at < l.next {
		return false
	}
	l.next = at + lossWindow
	total, lost, runs := sum(&l.total), sum(&l.lost), sum(&l.runs)
	lasts := 0
	for _, n := range l.lost {
		if n > 0 {
			lasts++
		}
	}
	l.n++
	l.total[l.n%lossWindows], l.lost[l.n%lossWindows], l.runs[l.n%lossWindows] = 0, 0, 0
	if total < lossPackets {
		return false
	}
	l.ratio = min(float64(lost)/float64(total), 1)
	if runs > 0 {
		l.burst += (min(float64(lost)/float64(runs), burstMax) - l.burst) * learn
	}
	l.mean += (l.ratio - l.mean) * meanLearn
	if bad := l.mean > tooMuch && l.rate > l.floor; bad || float64(lost) > l.limit(float64(total)) && !(l.overflow() && lasts < lossLasts && l.ratio < lossFlood) {
		if at < l.quiet || bad && at < l.quiet+int64(lossWindows)*lossWindow {
			return false
		}
		l.quiet = at + lossSettle
		return true
	}
	if learned := min(l.ratio, maxInherent); calm && !l.overflow() || learned < l.inherent {
		l.inherent += (learned - l.inherent) * learn
	}
	if l.mean < tooMuch {
		l.rate = unit.Bitrate(float64(l.rate) * lossRise)
	}
	return false
}

// overflow reports whether what is lost is lost at a full queue.
func (l *loss) overflow() bool { return l.brim > brimMost }

// limit returns how many of n packets may be lost.
func (l *loss) limit(n float64) float64 {
	p := max(l.inherent, tolerated) + margin
	if l.overflow() {
		p = tolerated
	}
	return n*p + deviations*math.Sqrt(n*p*(1-p)*(2*max(l.burst, 1)-1))
}

// watch notes a cut of the rate from from, while acked arrived.
func (l *loss) watch(at int64, from, acked unit.Bitrate) {
	if l.cut.from == 0 || at-l.cut.at > int64(lossWindows)*2*lossWindow {
		l.cut = lossCut{from, acked, l.ratio, at}
	}
	l.forget(at)
}

// vain returns the rate before a cut that changed nothing about the loss, 0 if there is none. Such loss is the path's own.
func (l *loss) vain(at int64, acked unit.Bitrate, calm bool) (from unit.Bitrate) {
	c := &l.cut
	if c.from == 0 || sum(&l.total) < lossPackets || float64(acked) > fallen*float64(c.acked) || at-c.at < int64(lossWindows)*lossWindow {
		return 0
	}
	from, ratio := c.from, c.ratio
	*c = lossCut{}
	if !calm || l.overflow() || l.ratio < vainPart*ratio {
		return 0
	}
	l.inherent = max(l.inherent, min(l.ratio, maxInherent))
	if l.ratio > maxInherent+margin {
		return 0
	}
	return from
}
