package bwe

import (
	"math"
	"slices"
	"time"

	"sotto/sfu/unit"
)

// Times of the delay part.
const (
	// burst is how long after the first packet of a group others still belong to it. Only the first one is a sample: those
	// behind it wait for their own group.
	burst = int64(5 * time.Millisecond)

	// The least delay of the path is looked for in baseBuckets intervals: longer than a queue of ours may stand, shorter
	// than clocks need to drift (100 ppm: 2 ms in 20 s).
	baseBuckets = 10
	baseBucket  = int64(2 * time.Second)

	// samples is the memory for trends, a power of two: 1.3 s of 50 groups a second.
	samples    = 64
	trendSpan  = int64(time.Second)
	trendLeast = 12 // samples

	// fastQueue is the unexplained delay that, still rising, is overuse at once; trendQueue what a trend over a second must
	// have built up; standingQueue what may not stay for standingSpan.
	fastQueue     = int64(40 * time.Millisecond)
	fastRise      = int64(10 * time.Millisecond)
	trendQueue    = int64(20 * time.Millisecond)
	standingQueue = int64(50 * time.Millisecond)
	standingSpan  = int64(400 * time.Millisecond)
	calmQueue     = int64(20 * time.Millisecond)

	// The jitter is measured over groups so far apart that one does not hold the next one up, and may grow by devStep.
	devLag  = 4
	devStep = int64(5 * time.Millisecond)
	// strayPart of the standard deviation is about the mean of the absolute one.
	strayPart = 0.75

	// settle is how long a cut needs to show, beside a round trip.
	settle = int64(250 * time.Millisecond)
)

// sample is the first packet of a group of packets that were sent together.
type sample struct {
	sent, arrival int64 // ns: since epoch, on the receiver's clock
	raw           int64 // delay above the base
	queue         int64 // less what the model explains
	bytes         int64 // all that had arrived, this packet included
}

// delay looks for a queue that grows or stands although the model of the path says that there should be none.
type delay struct {
	base    [baseBuckets]int64
	lowest  int64 // of base
	baseN   int64
	started bool

	last  int64    // delay above the base of the newest packet
	peak  [2]int64 // most of it in this second and the last one
	peakN int64

	ring  [samples]sample
	n     int64 // samples taken
	bytes int64
	group int64 // when the newest group began to be sent
	raw   int64 // newest delay above the base
	// How far the delay strays from one group to the next, ns, and from a line through the last second, ms.
	dev     int64
	strayed float64

	quiet int64        // what was sent before this time proves nothing: it left before the last cut took effect
	cut   bool         // and the queue has not been gone since
	cutTo unit.Bitrate // what arrived at the first cut since the queue came

	rival rival
}

func (d *delay) arrived(s *sent, arrival int64) {
	oneWay := arrival - s.at
	if !d.started {
		d.started, d.lowest = true, oneWay
		for i := range d.base {
			d.base[i] = oneWay
		}
		d.baseN, d.group = s.at/baseBucket, s.at-2*burst
	}
	if n := s.at / baseBucket; d.baseN < n {
		d.age(n, oneWay)
	}
	b := &d.base[d.baseN%baseBuckets]
	*b, d.lowest = min(*b, oneWay), min(d.lowest, oneWay)
	d.last = oneWay - d.lowest
	if n := s.at / int64(time.Second); n != d.peakN {
		d.peakN, d.peak[n&1] = n, 0
	}
	d.peak[d.peakN&1] = max(d.peak[d.peakN&1], d.last)
	d.bytes += int64(s.size)
	if s.at >= d.group+burst {
		d.group = s.at
		d.take(s, arrival, d.last)
	}
}

// age begins interval n of the search for the least delay, and forgets the oldest ones. Beside a rival it may be long before the path
// is seen empty again: nothing is forgotten.
func (d *delay) age(n, oneWay int64) {
	if d.rival.on {
		oneWay = d.lowest
	}
	for d.baseN < n {
		d.baseN = max(d.baseN+1, n-baseBuckets)
		d.base[d.baseN%baseBuckets] = oneWay
	}
	d.lowest = slices.Min(d.base[:])
}

func (d *delay) take(s *sent, arrival, queue int64) {
	d.raw = queue
	queue -= int64(s.expect) * int64(time.Millisecond)
	if d.n >= 2*devLag {
		// Bent, not steep: a queue that grows evenly is no jitter, and what is far out counts for little.
		bend := (queue - 2*d.back(devLag).queue + d.back(2*devLag).queue) / 2
		d.dev += (min(max(bend, -bend), 3*d.dev+devStep) - d.dev) / 32
	}
	d.ring[d.n%samples] = sample{s.at, arrival, d.raw, queue, d.bytes}
	d.n++
}

// back returns the sample i before the end, 1 is the newest.
func (d *delay) back(i int64) *sample { return &d.ring[(d.n-i)&(samples-1)] }

// brim reports whether the last packet found the queue as long as it was of late.
func (d *delay) brim() bool {
	return d.last > brimLeast && float64(d.last) > brimPart*float64(max(d.peak[0], d.peak[1]))
}

func (d *delay) queue() int64 { return max(d.raw, 0) }

// calm reports whether no queue is seen, explained or not.
func (d *delay) calm() bool {
	for i := int64(1); i <= min(d.n, 4); i++ {
		if d.back(i).raw < calmQueue+2*d.jitter() {
			return true
		}
	}
	return d.n == 0
}

// floor returns the least queue of the last n samples: what jitter cannot explain.
func (d *delay) floor(n int64) int64 {
	n = min(n, d.n, samples)
	least := d.back(1).queue
	for i := int64(2); i <= n; i++ {
		least = min(least, d.back(i).queue)
	}
	return least
}

// wait makes everything sent before a time count for nothing.
func (d *delay) wait(at int64) { d.quiet = max(d.quiet, at) }

// verdict is what a delay says about the path.
type verdict uint8

const (
	fine verdict = iota
	overused
	shared // a rival is found
)

// judge says whether the path carries less than is sent, and what it carries. loss is that of the last second beyond what the
// path loses anyway.
func (d *delay) judge(at int64, rtt time.Duration, loss float64) (v verdict, capacity unit.Bitrate) {
	if d.n < 6 || d.back(2).sent < d.quiet {
		return fine, 0
	}
	if d.rival.on {
		d.watch(at)
		return fine, 0
	}
	d.cut = d.cut && !d.calm()
	trend, standing := d.trend(), d.standing()
	if !standing && !trend && !d.fast() {
		return fine, 0
	}
	capacity = d.capacity()
	if standing && d.follows(capacity, loss) {
		d.rival = rival{on: true, watched: at, low: d.raw, high: d.raw}
		return shared, capacity
	}
	if !d.cut {
		d.cut, d.cutTo = true, capacity
	}
	d.quiet = at + settle + int64(rtt)/2
	return overused, capacity
}

// fast reports a queue that is large and still rising.
func (d *delay) fast() bool {
	now, last := d.back(1).queue, d.back(2).queue
	before := min(d.back(3).queue, d.back(4).queue, d.back(5).queue)
	low := min(now, last)
	return low > fastQueue+6*d.jitter() && low > before+fastRise && now > last-fastRise/2
}

// trend reports a line through the last second that has risen by more than the threshold, which grows with the jitter. How far
// samples are from the line is a measure of it, too.
func (d *delay) trend() bool {
	newest := d.back(1)
	var n, sumX, sumY, sumXX, sumXY, sumYY float64
	span := int64(0)
	for i := int64(1); i <= min(d.n, samples); i++ {
		s := d.back(i)
		if newest.sent-s.sent > trendSpan || s.sent < d.quiet {
			break
		}
		span = newest.sent - s.sent
		x, y := float64(-span)/1e6, float64(s.queue)/1e6
		n, sumX, sumY, sumXX, sumXY, sumYY = n+1, sumX+x, sumY+y, sumXX+x*x, sumXY+x*y, sumYY+y*y
	}
	if n < trendLeast || span < trendSpan/2 {
		return false
	}
	spread := n*sumXX - sumX*sumX
	if spread <= 0 {
		return false
	}
	slope := (n*sumXY - sumX*sumY) / spread
	risen := slope * float64(span) / 1e6 // ms
	apart := math.Sqrt(max(sumYY-sumY*sumY/n-slope*(sumXY-sumX*sumY/n), 0) / n)
	d.strayed += (min(apart, 3*d.strayed+5) - d.strayed) / 16
	jitter := float64(d.jitter()) / 1e6
	return risen > float64(trendQueue)/1e6+4*max(jitter, strayPart*apart) && float64(d.floor(3))/1e6 > float64(trendQueue)/1e6+3*jitter
}

// jitter returns how far the delay strays.
func (d *delay) jitter() int64 { return max(d.dev, int64(strayPart*d.strayed*1e6)) }

// standing reports a queue that has not been empty for a while and does not shrink.
func (d *delay) standing() bool {
	newest := d.back(1)
	least, oldest := newest.queue, newest
	for i := int64(2); i <= min(d.n, samples); i++ {
		s := d.back(i)
		if s.sent < d.quiet {
			return false
		}
		oldest, least = s, min(least, s.queue)
		if newest.sent-s.sent > standingSpan {
			return least > standingQueue+3*d.jitter() && d.floor(3) > oldest.queue*4/5
		}
	}
	return false
}

// capacity returns what arrived while the queue was there: the bottleneck was busy all that time.
func (d *delay) capacity() unit.Bitrate {
	newest, first := d.back(1), d.back(3)
	for i := int64(2); i <= min(d.n, samples); i++ {
		s := d.back(i)
		if i > 3 && (s.queue < fastQueue/3 || newest.arrival-s.arrival > int64(300*time.Millisecond)) {
			break
		}
		if i == 3 && s.queue < fastQueue/3 {
			first = d.back(2)
			break
		}
		first = s
	}
	return unit.RateOf(int(newest.bytes-first.bytes), time.Duration(newest.arrival-first.arrival))
}
