package report

import (
	"time"

	"github.com/pion/rtcp"
)

// sentReports is how many sender reports are remembered to find the round-trip time: at one a second, four seconds'
// worth, which is more than any useful answer takes.
const sentReports = 4

// Sender keeps the statistics of one outgoing stream. The zero value is ready.
type Sender struct {
	packets, octets uint32
	sent            [sentReports]struct {
		middle uint32
		at     time.Time
	}
	next int
}

// Sent counts one packet with a payload of so many bytes, without header and padding (RFC 3550 6.4.1).
func (s *Sender) Sent(payload int) {
	s.packets++
	s.octets += uint32(payload)
}

// Packets returns how many packets were sent, modulo 2^32.
func (s *Sender) Packets() uint32 { return s.packets }

// Report returns the sender report that maps wall clock time ntp to the timestamp rtp. now is remembered for RTT; it
// need not be the same clock as ntp.
func (s *Sender) Report(now, ntp time.Time, ssrc, rtp uint32) *rtcp.SenderReport {
	stamp := ToNTP(ntp)
	s.sent[s.next].middle, s.sent[s.next].at = Middle(stamp), now
	s.next = (s.next + 1) % sentReports
	return &rtcp.SenderReport{
		SSRC: ssrc, NTPTime: stamp, RTPTime: rtp, PacketCount: s.packets, OctetCount: s.octets,
	}
}

// RTT returns the round-trip time that a reception report of the stream proves. Only reports that answer one of the last
// sender reports count, so that an invented LSR proves nothing; a DLSR may still be a lie, and the result is never
// negative nor longer than the time since that sender report.
func (s *Sender) RTT(now time.Time, b *rtcp.ReceptionReport) (rtt time.Duration, ok bool) {
	if b.LastSenderReport == 0 {
		return 0, false
	}
	for i := range s.sent {
		r := &s.sent[i]
		if r.middle != b.LastSenderReport || r.at.IsZero() {
			continue
		}
		delay := time.Duration(float64(b.Delay) / 65536 * float64(time.Second))
		rtt = now.Sub(r.at) - delay
		// DLSR is rounded to 15 µs, and on one machine the trip is shorter than that.
		if rtt < -time.Millisecond {
			return 0, false
		}
		return max(rtt, 0), true
	}
	return 0, false
}
