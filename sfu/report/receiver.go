package report

import (
	"time"

	"github.com/pion/rtcp"
)

// Receiver keeps the statistics of one received stream: RFC 3550 A.3 (loss) and A.8 (jitter). The zero value is ready.
type Receiver struct {
	base, top      uint64 // first and highest extended number; top 0: nothing received
	received       uint64
	expectedBefore uint64 // as of the last report
	receivedBefore uint64

	epoch   time.Time // arrival of the first packet
	transit int64     // arrival minus timestamp of the last packet, in clock ticks
	jitter  float64   // in clock ticks

	lastSR   uint32 // middle bits of the last sender report; 0: none
	lastSRAt time.Time
}

// maxTransitJump in seconds: a larger change is a new timestamp base, not jitter.
const maxTransitJump = 5

// Received takes a packet that arrived for the first time and not as a retransmission (RFC 4588 leaves those to the
// statistics of their own stream). ext is its extended number, ts its timestamp with a clock of rate Hz.
func (r *Receiver) Received(arrival time.Time, ext uint64, ts, rate uint32) {
	if r.top == 0 {
		r.base, r.top, r.epoch = ext, ext, arrival
		r.received = 1
		r.transit = -int64(ts)
		return
	}
	r.received++
	r.top = max(r.top, ext)
	r.base = min(r.base, ext) // the first packets may arrive reordered

	ticks := int64(arrival.Sub(r.epoch).Seconds() * float64(rate))
	transit := ticks - int64(ts)
	d := int64(int32(uint32(transit - r.transit))) // timestamps wrap at 2^32
	r.transit = transit
	if d < 0 {
		d = -d
	}
	if d < maxTransitJump*int64(rate) {
		r.jitter += (float64(d) - r.jitter) / 16
	}
}

// SenderReport notes a sender report of the stream.
func (r *Receiver) SenderReport(now time.Time, ntp uint64) {
	r.lastSR, r.lastSRAt = Middle(ntp), now
}

// Expected returns how many packets the stream has had so far.
func (r *Receiver) Expected() uint64 {
	if r.top == 0 {
		return 0
	}
	return r.top - r.base + 1
}

// Lost returns how many of them did not arrive; retransmissions do not count as arrival. It is negative where more came
// than were expected.
func (r *Receiver) Lost() int64 { return int64(r.Expected() - r.received) }

// Started reports whether a packet was received.
func (r *Receiver) Started() bool { return r.top != 0 }

// Report returns the reception report block of the stream and begins a new interval.
func (r *Receiver) Report(now time.Time, ssrc uint32) rtcp.ReceptionReport {
	expected := r.Expected()
	interval := expected - r.expectedBefore
	lost := int64(interval) - int64(r.received-r.receivedBefore)
	r.expectedBefore, r.receivedBefore = expected, r.received

	var fraction uint8
	if interval > 0 && lost > 0 {
		fraction = uint8(min(lost*256/int64(interval), 255))
	}
	b := rtcp.ReceptionReport{
		SSRC:               ssrc,
		FractionLost:       fraction,
		TotalLost:          uint32(min(max(r.Lost(), 0), 1<<23-1)),
		LastSequenceNumber: uint32(r.top), // the unwrapper begins at 2^32, so the low half counts cycles from 0
		Jitter:             uint32(r.jitter),
	}
	if r.lastSR != 0 {
		b.LastSenderReport, b.Delay = r.lastSR, compact(now.Sub(r.lastSRAt))
	}
	return b
}
