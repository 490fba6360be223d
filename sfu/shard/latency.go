package shard

import (
	"time"

	"sotto/sfu/room"
)

// Series of latencies: audio, video that was sent at once, and video that a pacer held back on purpose.
const (
	SeriesAudio = iota
	SeriesVideo
	SeriesPaced
	LatencySeries
)

// seriesOf is the one that a send counts for.
func seriesOf(out *room.Send) int {
	switch {
	case out.Paced:
		return SeriesPaced
	case out.Kind == room.Audio:
		return SeriesAudio
	}
	return SeriesVideo
}

// LatencyBuckets is the number of bounds of a Latency.
const LatencyBuckets = 20

// LatencyBounds returns the upper bounds of the buckets, 25 µs to 20 ms; what is above the last is the rest.
func LatencyBounds() [LatencyBuckets]time.Duration {
	return [...]time.Duration{
		25 * time.Microsecond, 50 * time.Microsecond, 75 * time.Microsecond, 100 * time.Microsecond, 150 * time.Microsecond,
		200 * time.Microsecond, 300 * time.Microsecond, 400 * time.Microsecond, 500 * time.Microsecond, 700 * time.Microsecond,
		time.Millisecond, 1500 * time.Microsecond, 2 * time.Millisecond, 2500 * time.Microsecond, 3 * time.Millisecond,
		4 * time.Millisecond, 5 * time.Millisecond, 7 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond,
	}
}

// Latency is the distribution of the time from the socket's receive to the return of the write, by sent packet.
// Retransmissions are not in it.
type Latency struct {
	Counts [LatencyBuckets + 1]uint64
	Sum    time.Duration
}

// lookBack is how many entries are searched for an arrival: a frame's packets go to one peer after the other.
const lookBack = 8

// latencyMeter collects what was queued since the last flush, one entry for the copies of packets that arrived together.
type latencyMeter struct {
	totals  [LatencySeries]Latency
	pending []waiting
}

type waiting struct {
	arrival time.Time
	series  int
	packets uint64
}

func (m *latencyMeter) note(series int, arrival time.Time) {
	for i := len(m.pending) - 1; i >= max(0, len(m.pending)-lookBack); i-- {
		if w := &m.pending[i]; w.series == series && w.arrival == arrival {
			w.packets++
			return
		}
	}
	m.pending = append(m.pending, waiting{arrival: arrival, series: series, packets: 1})
}

// settle counts everything that waits as written at now.
func (m *latencyMeter) settle(now time.Time) {
	bounds := LatencyBounds()
	for i := range m.pending {
		w := &m.pending[i]
		d := max(now.Sub(w.arrival), 0)
		l := &m.totals[w.series]
		b := 0
		for b < LatencyBuckets && d > bounds[b] {
			b++
		}
		l.Counts[b] += w.packets
		l.Sum += d * time.Duration(w.packets)
	}
	m.discard()
}

func (m *latencyMeter) discard() { m.pending = m.pending[:0] }
