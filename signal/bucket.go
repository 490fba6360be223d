package signal

import "time"

// bucket is a token bucket: rate tokens per second flow in, up to burst.
// Its owner guards it. The zero value with a rate is empty until its first
// use, which fills it.
type bucket struct {
	rate, burst float64
	tokens      float64
	at          time.Time // zero: never used
}

func newBucket(rate, burst int) bucket {
	return bucket{rate: float64(rate), burst: float64(burst)}
}

// take removes n tokens and reports whether they were there.
func (b *bucket) take(now time.Time, n float64) bool {
	b.fill(now)
	if b.tokens < n {
		return false
	}
	b.tokens -= n
	return true
}

// full reports whether nothing has been taken for so long that the bucket can
// be forgotten.
func (b *bucket) full(now time.Time) bool {
	b.fill(now)
	return b.tokens >= b.burst
}

func (b *bucket) fill(now time.Time) {
	if b.at.IsZero() {
		b.tokens, b.at = b.burst, now
		return
	}
	if elapsed := now.Sub(b.at); elapsed > 0 {
		b.tokens = min(b.burst, b.tokens+b.rate*elapsed.Seconds())
		b.at = now
	}
}
