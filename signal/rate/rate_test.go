package rate

import (
	"testing"
	"time"
)

func TestBucket(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	b := New(50, 200)
	taken := 0
	for b.Take(now, 1) {
		taken++
	}
	if taken != 200 {
		t.Errorf("%d at once", taken)
	}
	if b.Take(now.Add(-time.Hour), 1) {
		t.Error("the clock went back and paid")
	}
	for now = now.Add(time.Second); b.Take(now, 1); taken++ {
	}
	if taken != 250 {
		t.Errorf("%d after a second", taken)
	}
	if b.Full(now.Add(3*time.Second)) || !b.Full(now.Add(4*time.Second)) {
		t.Error("fills at the wrong pace")
	}
}
