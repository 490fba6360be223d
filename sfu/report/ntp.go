// Package report computes what RTCP sender and receiver reports carry (RFC 3550 6.4) and what is learned from them.
package report

import "time"

// ntpEpoch is 1900-01-01 in Unix seconds, the start of NTP's era 0 (RFC 5905 6).
const ntpEpoch = -2_208_988_800

// ToNTP returns t as a 64-bit NTP timestamp: seconds since 1900 modulo 2^32, and 2^-32 fractions.
func ToNTP(t time.Time) uint64 {
	seconds := uint64(t.Unix() - ntpEpoch)
	fraction := (uint64(t.Nanosecond()) << 32) / uint64(time.Second)
	return seconds<<32 | fraction
}

// FromNTP returns the time of a 64-bit NTP timestamp. Timestamps whose first bit is clear are taken from era 1, which
// begins in 2036 (RFC 4330 3).
func FromNTP(ntp uint64) time.Time {
	seconds := int64(ntp >> 32)
	if seconds < 1<<31 {
		seconds += 1 << 32
	}
	nanos := (ntp & 0xFFFF_FFFF) * uint64(time.Second) >> 32
	return time.Unix(seconds+ntpEpoch, int64(nanos))
}

// Middle returns the middle 32 bits of an NTP timestamp: 1/65536 second units, as LSR and DLSR use them.
func Middle(ntp uint64) uint32 { return uint32(ntp >> 16) }

// compact returns d in units of 1/65536 second, clamped to what 32 bits hold.
func compact(d time.Duration) uint32 {
	if d < 0 {
		return 0
	}
	return uint32(min(uint64(d.Seconds()*65536), 1<<32-1))
}

// Clock maps the wall clock of a sender to the RTP timestamps of one of its streams, as its last sender report said.
// The zero value knows nothing.
type Clock struct {
	ntp  time.Time
	rtp  uint32
	rate uint32
}

// NewClock returns the mapping of a sender report for a stream with a clock of rate Hz.
func NewClock(ntp time.Time, rtp, rate uint32) Clock { return Clock{ntp, rtp, rate} }

// Known reports whether a sender report was seen.
func (c *Clock) Known() bool { return c.rate != 0 }

// Reference returns what the sender report said.
func (c *Clock) Reference() (ntp time.Time, rtp, rate uint32) { return c.ntp, c.rtp, c.rate }

// At returns the RTP timestamp at a time of the sender's wall clock.
func (c *Clock) At(ntp time.Time) uint32 {
	return c.rtp + uint32(int64(ntp.Sub(c.ntp).Seconds()*float64(c.rate)))
}
