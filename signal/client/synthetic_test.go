package client

import (
	"testing"
	"time"
)

func TestSynthetic_roundTrip(t *testing.T) {
	now := time.Unix(1_700_000_000, 123_456_789)
	for _, size := range []int{0, syntheticHeader, syntheticHeader + 1, 6250} {
		for _, key := range []bool{true, false} {
			b := appendSynthetic(nil, size, key, now, 42)
			if len(b) != max(size, syntheticHeader) {
				t.Errorf("%d bytes for %d", len(b), size)
			}
			f, ok := parseSynthetic(b)
			if !ok || f.key != key || !f.sent.Equal(now) || f.number != 42 {
				t.Errorf("size %d: %+v, %v", size, f, ok)
			}
			b[len(b)/2] ^= 1
			if g, ok := parseSynthetic(b); ok && g == f {
				t.Errorf("size %d: a changed frame reads the same", size)
			}
		}
	}
}

func FuzzParseSynthetic(f *testing.F) {
	f.Add(appendSynthetic(nil, 100, true, time.Unix(1, 2), 3))
	f.Add([]byte(nil))
	f.Add([]byte{0, 's', 'o'})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := parseSynthetic(b)
		if !ok {
			return
		}
		again, ok := parseSynthetic(appendSynthetic(nil, len(b), got.key, got.sent, got.number))
		if !ok || again.key != got.key || !again.sent.Equal(got.sent) || again.number != got.number {
			t.Fatalf("%+v became %+v", got, again)
		}
	})
}
