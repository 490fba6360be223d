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

	// A path may lose tolerated of its packets, and margin more than it has been losing without a queue. maxInherent is
	// what retransmission can still repair; nobody gains by sending into a path that loses more.
	tolerated   = 0.05
	margin      = 0.03
	maxInherent = 0.10
	// deviations is how unlikely a ratio must be, with the tolerated loss, to count: less than one second in 700.
	deviations = 3
	// lossRise is how fast a bound by loss goes away, a window.
	lossRise = 1.1
	// lossSettle is how long a cut needs to show.
	lossSettle = int64(500 * time.Millisecond)
)

// loss bounds the rate where a path drops packets without queueing them first: policers and very short queues. It learns what
// the path loses whatever is sent (radio) and lets that be; compare the inherent loss of libwebrtc's second loss-based
// estimator.
type loss struct {
	rate     unit.Bitrate
	inherent float64
	ratio    float64 // of the last second

	total, lost [lossWindows]int
	n           int64
	next        int64 // end of the window
	quiet       int64
}

// add counts packets; probes are not media and do not count.
func (l *loss) add(probe uint8, total, lost int) {
	if probe != 0 {
		return
	}
	i := l.n % lossWindows
	l.total[i] += total
	l.lost[i] += lost
}

// forget drops what was counted.
func (l *loss) forget(at int64) {
	l.total, l.lost = [lossWindows]int{}, [lossWindows]int{}
	l.next = at + lossWindow
}

// evaluate is called with every feedback and reports whether too much is lost.
func (l *loss) evaluate(at int64, calm bool) (over bool) {
	if at < l.next {
		return false
	}
	l.next = at + lossWindow
	total, lost := 0, 0
	for i := range l.total {
		total, lost = total+l.total[i], lost+l.lost[i]
	}
	lost = max(lost, 0)
	l.n++
	l.total[l.n%lossWindows], l.lost[l.n%lossWindows] = 0, 0
	if total < lossPackets {
		return false
	}
	l.ratio = float64(lost) / float64(total)
	limit := max(l.inherent, tolerated) + margin
	if n := float64(total); float64(lost) > n*limit+deviations*math.Sqrt(n*limit*(1-limit)) {
		if at < l.quiet {
			return false
		}
		l.quiet = at + lossSettle
		l.forget(at)
		return true
	}
	switch learned := min(l.ratio, maxInherent); {
	case learned < l.inherent:
		l.inherent += (learned - l.inherent) / 5
	case calm:
		l.inherent += (learned - l.inherent) / 20
	}
	l.rate = unit.Bitrate(float64(l.rate) * lossRise)
	return false
}
