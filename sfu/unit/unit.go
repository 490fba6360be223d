// Package unit holds the quantities that the server computes with, as types, so that a rate is never a bare integer.
package unit

import "time"

// Bitrate is a rate in bits per second.
type Bitrate int64

// Rates in decimal units, as network rates are written.
const (
	BitPerSecond Bitrate = 1
	Kbps                 = 1000 * BitPerSecond
	Mbps                 = 1000 * Kbps
)

// Bytes returns how many whole bytes the rate carries in d.
func (b Bitrate) Bytes(d time.Duration) int {
	return int(float64(b) * d.Seconds() / 8)
}

// RateOf returns the rate of n bytes in d; 0 where d is not positive.
func RateOf(n int, d time.Duration) Bitrate {
	if d <= 0 {
		return 0
	}
	return Bitrate(float64(n) * 8 / d.Seconds())
}
