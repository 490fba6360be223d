package room

import "time"

// SpreadBuckets is the number of bounds of a Spread.
const SpreadBuckets = 12

// SpreadBounds returns the upper bounds of the buckets, 1 ms to 5 s; what is above the last is the rest.
func SpreadBounds() [SpreadBuckets]time.Duration {
	const ms = time.Millisecond
	return [...]time.Duration{ms, 2 * ms, 5 * ms, 10 * ms, 20 * ms, 50 * ms, 100 * ms, 200 * ms, 500 * ms, time.Second, 2 * time.Second, 5 * time.Second}
}

// Spread is a distribution of durations that are seen a few times a second: round trips, jitter, stages of a join.
type Spread struct {
	Counts [SpreadBuckets + 1]uint64
	Sum    time.Duration
}

// Note counts one duration.
func (s *Spread) Note(d time.Duration) {
	b := 0
	for b < SpreadBuckets && d > SpreadBounds()[b] {
		b++
	}
	s.Counts[b]++
	s.Sum += d
}

// Add counts all of another one.
func (s *Spread) Add(o *Spread) {
	for i, n := range o.Counts {
		s.Counts[i] += n
	}
	s.Sum += o.Sum
}

// duration converts RTP timestamp units.
func duration(units, clockRate uint32) time.Duration {
	if clockRate == 0 {
		return 0
	}
	return time.Duration(uint64(units) * uint64(time.Second) / uint64(clockRate))
}
