package shard

import (
	"time"

	"sotto/sfu/room"
)

// LatencyBuckets is the number of bounds of a Latency.
const LatencyBuckets = 10

// LatencyBounds returns the upper bounds of the buckets, 25 µs to 20 ms; what is above the last is the rest.
func LatencyBounds() [LatencyBuckets]time.Duration {
	return [...]time.Duration{
		25 * time.Microsecond, 50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
		time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond,
	}
}

// Latency is the distribution of the time from the socket's receive to the return of the write, by sent packet. Packets that
// waited in a pacer are in it with their wait; retransmissions are not.
type Latency struct {
	Counts [LatencyBuckets + 1]uint64
	Sum    time.Duration
}

// latencyMeter collects what was queued since the last flush. Copies of one packet follow each other, so that a fan-out is one
// entry.
type latencyMeter struct {
	totals  [room.Kinds]Latency
	pending []waiting
}

type waiting struct {
	arrival time.Time
	kind    room.Kind
	packets uint64
}

func (m *latencyMeter) note(kind room.Kind, arrival time.Time) {
	if n := len(m.pending); n > 0 && m.pending[n-1].kind == kind && m.pending[n-1].arrival == arrival {
		m.pending[n-1].packets++
		return
	}
	m.pending = append(m.pending, waiting{arrival: arrival, kind: kind, packets: 1})
}

// settle counts everything that waits as written at now.
func (m *latencyMeter) settle(now time.Time) {
	bounds := LatencyBounds()
	for i := range m.pending {
		w := &m.pending[i]
		d := max(now.Sub(w.arrival), 0)
		l := &m.totals[w.kind]
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
