// Package rate is a token bucket with the time passed in.
package rate

import "time"

// Bucket is a token bucket: tokens flow in at a steady rate, up to a burst. Its
// owner guards it. A new one is full.
type Bucket struct {
	rate, burst float64
	tokens      float64
	at          time.Time // zero: never used
}

// New returns a bucket into which perSecond tokens flow, and which holds burst.
func New(perSecond, burst int) Bucket {
	return Bucket{rate: float64(perSecond), burst: float64(burst)}
}

// Take removes n tokens and reports whether they were there. A clock that goes
// back pays nothing.
func (b *Bucket) Take(now time.Time, n float64) bool {
	b.fill(now)
	if b.tokens < n {
		return false
	}
	b.tokens -= n
	return true
}

// Full reports whether nothing has been taken for so long that the bucket can
// be forgotten.
func (b *Bucket) Full(now time.Time) bool {
	b.fill(now)
	return b.tokens >= b.burst
}

func (b *Bucket) fill(now time.Time) {
	if b.at.IsZero() {
		b.tokens, b.at = b.burst, now
		return
	}
	if elapsed := now.Sub(b.at); elapsed > 0 {
		b.tokens = min(b.burst, b.tokens+b.rate*elapsed.Seconds())
		b.at = now
	}
}
