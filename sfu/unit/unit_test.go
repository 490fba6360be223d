package unit

import (
	"testing"
	"time"
)

func TestBitrate(t *testing.T) {
	if n := (1200 * Kbps).Bytes(5 * time.Millisecond); n != 750 {
		t.Errorf("1200 kbit/s in 5 ms: %d bytes, want 750", n)
	}
	if r := RateOf(750, 5*time.Millisecond); r != 1200*Kbps {
		t.Errorf("750 bytes in 5 ms: %d bit/s, want 1,200,000", r)
	}
	for _, d := range []time.Duration{0, -time.Second} {
		if r := RateOf(1, d); r != 0 {
			t.Errorf("rate in %v: %d, want 0", d, r)
		}
	}
}
