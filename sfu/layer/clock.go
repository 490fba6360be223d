package layer

import (
	"time"

	"sotto/sfu/packet"
)

const (
	// maxDisagreement between sender reports and arrival times. Beyond it the reports are wrong, not the network.
	maxDisagreement = time.Second
	// maxBehind is how far a stream's timestamps may lie behind those already sent until they are aligned anew; up to it, each frame
	// gets the next tick until the stream has caught up.
	maxBehind = 2 * time.Second
	// maxPause is how far a pause moves the timestamps; receivers compare them modulo 2^32, half of which is 6.6 hours at 90 kHz.
	maxPause = time.Hour
)

// clock relates a rung's timestamps to wall time and to the outgoing stream.
type clock struct {
	ntp    time.Time // of the last sender report; zero = none
	rtp    uint32
	rate   uint32 // Hz
	offset uint32 // added to timestamps when the rung was last forwarded
}

// SetClock takes a rung's sender report: the timestamp rtp was sampled at ntp (RFC 3550 6.4.1). clockRate is in Hz.
func (s *Switch) SetClock(rung int8, ntp time.Time, rtp uint32, clockRate uint32) {
	if rung < 0 || rung >= MaxRungs || clockRate == 0 {
		return
	}
	c := &s.clocks[rung]
	c.ntp, c.rtp, c.rate = ntp, rtp, clockRate
}

// Timestamp converts a timestamp of the current rung to the outgoing stream, for sender reports. ok is false while nothing is
// forwarded.
func (s *Switch) Timestamp(in uint32) (out uint32, ok bool) {
	return in + s.tsOffset, s.current != Paused
}

// ticks converts to RTP clock units, negative included.
func ticks(d time.Duration, rate uint32) int64 {
	seconds := int64(d / time.Second)
	return seconds*int64(rate) + int64(d%time.Second)*int64(rate)/int64(time.Second)
}

func (s *Switch) rate(p *packet.Packet) uint32 {
	switch {
	case s.clocks[p.Layer].rate != 0:
		return s.clocks[p.Layer].rate
	case p.Codec == packet.Opus:
		return 48_000
	}
	return 90_000
}

// byArrival returns the outgoing timestamp of p if its way took as long as that of the frame before.
func (s *Switch) byArrival(p *packet.Packet) uint32 {
	return s.sent.ts + uint32(max(1, ticks(min(p.Arrival.Sub(s.sent.at), maxPause), s.rate(p))))
}

// align returns the offset of timestamps for the rung of p, which begins. If both rungs have sender reports, the same capture time
// gives the same timestamp; else, and if the reports cannot be true, arrival times have to do.
func (s *Switch) align(p *packet.Packet) (offset uint32) {
	to := &s.clocks[p.Layer]
	defer func() { to.offset = offset }()
	if !s.sent.any {
		return s.sent.ts - p.TS
	}
	offset = s.byArrival(p) - p.TS
	if s.sent.rung < 0 {
		return offset
	}
	from := &s.clocks[s.sent.rung]
	if from.ntp.IsZero() || to.ntp.IsZero() || from.rate != to.rate {
		return offset
	}
	reported := from.rtp + from.offset + uint32(ticks(to.ntp.Sub(from.ntp), to.rate)) - to.rtp
	if d := int64(int32(reported - offset)); max(d, -d) > ticks(maxDisagreement, to.rate) {
		return offset
	}
	return reported
}

// rise returns the outgoing timestamp of the frame of p: later than that of every frame sent.
func (s *Switch) rise(p *packet.Packet) uint32 {
	out := p.TS + s.tsOffset
	behind := int64(int32(s.sent.ts - out))
	switch {
	case !s.sent.any || behind < 0:
		return out
	case behind > ticks(maxBehind, s.rate(p)):
		out = s.byArrival(p)
		s.tsOffset = out - p.TS
		s.clocks[p.Layer].offset = s.tsOffset
		return out
	}
	return s.sent.ts + 1
}
