package bwe

import (
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/unit"
)

// arrivals follows the receiver's clock through feedback packets.
type arrivals struct {
	ref   int64 // reference time of the last feedback, in its unit of 64 ms, unwrapped
	known bool
}

const (
	refUnit = int64(64 * time.Millisecond)
	refWrap = 1 << 24
)

// reference returns a feedback's reference time in ns. The field has 24 bits: it is taken to be near the last one.
func (a *arrivals) reference(field uint32) int64 {
	if !a.known {
		a.known, a.ref = true, int64(field)
	}
	step := (int64(field) - a.ref) & (refWrap - 1)
	if step >= refWrap/2 {
		step -= refWrap
	}
	a.ref += step
	return a.ref * refUnit
}

// walk reads the statuses and returns when the newest acknowledged packet was sent, -1 for none.
func (e *Estimator) walk(fb *rtcp.TransportLayerCC) (newest int64) {
	newest = -1
	seq, left := fb.BaseSequenceNumber, int(fb.PacketStatusCount)
	r := reading{arrival: e.reach.reference(fb.ReferenceTime), deltas: fb.RecvDeltas}
	for _, c := range fb.PacketChunks {
		if left <= 0 {
			break
		}
		switch c := c.(type) {
		case *rtcp.RunLengthChunk:
			n := min(int(c.RunLength), left)
			from, to := 0, n
			if len(r.deltas) == 0 || !hasDelta(c.PacketStatusSymbol) {
				from, to = e.remembered(seq, n)
			}
			for i := from; i < to; i++ {
				newest = max(newest, e.status(seq+uint16(i), c.PacketStatusSymbol, &r))
			}
			seq += uint16(n)
			left -= n
		case *rtcp.StatusVectorChunk:
			for _, symbol := range c.SymbolList[:min(len(c.SymbolList), left)] {
				newest = max(newest, e.status(seq, symbol, &r))
				seq++
			}
			left -= len(c.SymbolList)
		}
	}
	return newest
}

// hasDelta reports whether a receive time belongs to a status.
func hasDelta(symbol uint16) bool {
	return symbol == rtcp.TypeTCCPacketReceivedSmallDelta || symbol == rtcp.TypeTCCPacketReceivedLargeDelta
}

// remembered returns the part [from, to) of n numbers from seq on that may be in the history. The rest of a run without receive
// times, which takes two bytes whatever its length, says nothing and costs nothing.
func (e *Estimator) remembered(seq uint16, n int) (from, to int) {
	size := len(e.sent)
	at := int(seq - (e.newest - uint16(size-1))) // behind the oldest
	if at < size {
		return 0, min(n, size-at)
	}
	ahead := 1<<16 - at
	return min(n, ahead), min(n, ahead+size)
}

// reading is the place in a feedback packet's list of receive times.
type reading struct {
	arrival int64 // of the last packet, ns on the receiver's clock
	deltas  []*rtcp.RecvDelta
}

// next moves to the next received packet; false if the list ended early.
func (r *reading) next() bool {
	if len(r.deltas) == 0 {
		return false
	}
	r.arrival += r.deltas[0].Delta * int64(time.Microsecond)
	r.deltas = r.deltas[1:]
	return true
}

// status takes the status of one packet and returns when it was sent if that is news, else -1.
func (e *Estimator) status(seq, symbol uint16, r *reading) int64 {
	received := symbol != rtcp.TypeTCCPacketNotReceived
	timed := hasDelta(symbol) && r.next()
	s := e.slot(seq)
	if s.seq != seq || s.state == sentUnused || s.state == sentAcked {
		return -1
	}
	if !received {
		if s.state == sentWaiting {
			s.state = sentLost
			e.loss.tell(s, true, e.delay.brim())
			e.probe.missed(s, 1)
		}
		return -1
	}
	if s.state == sentLost { // it was only late
		e.loss.late(s)
		e.probe.missed(s, -1)
	} else {
		e.loss.tell(s, false, false)
	}
	s.state = sentAcked
	if timed {
		e.acked.add(r.arrival, int(s.size))
		e.delay.arrived(s, r.arrival)
		if s.probe != 0 {
			e.probe.arrived(s, r.arrival)
		}
	} else {
		e.acked.add(e.acked.newest, int(s.size))
	}
	return s.at
}

const (
	ackedBuckets = 16
	ackedBucket  = int64(50 * time.Millisecond)
)

// ackedRate is the rate that arrives, on the receiver's clock.
type ackedRate struct {
	bucket [ackedBuckets]int
	newest int64
	stale  int
}

func (a *ackedRate) add(arrival int64, size int) {
	n, top := arrival/ackedBucket, a.newest/ackedBucket
	switch {
	case arrival > a.newest:
		if n-top >= ackedBuckets {
			clear(a.bucket[:])
		} else {
			for top < n {
				top++
				a.bucket[top&(ackedBuckets-1)] = 0
			}
		}
		a.newest, a.stale = arrival, 0
	case top-n >= ackedBuckets:
		if a.stale++; a.stale > ackedBuckets { // the receiver's clock was set back
			*a = ackedRate{newest: arrival}
		}
		return
	}
	a.bucket[n&(ackedBuckets-1)] += size
}

// rate returns the mean over the buckets.
func (a *ackedRate) rate() unit.Bitrate {
	sum := 0
	for _, b := range a.bucket {
		sum += b
	}
	return unit.RateOf(sum, time.Duration(ackedBuckets*ackedBucket))
}

// model is a queue that is drained at the estimate: how long a packet would wait if the path carried just that.
type model struct {
	at    int64   // ns since epoch
	queue float64 // bytes
}

// modelQueue is the most, in seconds, that the model explains: a key frame. More is too much whoever sent it.
const modelQueue = 0.15

// add puts a packet into the queue and returns how long it waits there, in ns.
func (m *model) add(at int64, size int, rate unit.Bitrate) (wait int64) {
	perSecond := float64(rate) / 8
	m.queue = max(m.queue-float64(at-m.at)/1e9*perSecond, 0)
	wait = int64(m.queue / perSecond * 1e9)
	m.queue = min(m.queue+float64(size), modelQueue*perSecond)
	m.at = at
	return wait
}
