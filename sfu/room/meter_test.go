package room

import (
	"testing"
	"time"

	"sotto/sfu/unit"
)

// feed hands a meter frames of size bytes in packets of two for a while and returns when it ends.
func feed(m *meter, now time.Time, d time.Duration, frames, size int) time.Time {
	end := now.Add(d)
	for ; now.Before(end); now = now.Add(time.Second / time.Duration(frames)) {
		ts := m.ts + 1
		m.add(now, ts, size/2)
		m.add(now, ts, size/2)
	}
	return end
}

func near(got unit.Bitrate, want unit.Bitrate) bool {
	return got > want*9/10 && got < want*11/10
}

func TestMeter_knowsWhatALayerCostsAfterAStall(t *testing.T) {
	start := time.Unix(1000, 0)
	m := meter{since: start}
	if got := m.full(500 * unit.Kbps); got != 500*unit.Kbps {
		t.Errorf("unmeasured: %v, want the guess", got)
	}
	const size = 2500 // 20 of it a second are 400 kbit/s
	now := feed(&m, start, 4*time.Second, 20, size)
	if !near(m.rate(0), 400*unit.Kbps) || !near(m.full(0), 400*unit.Kbps) {
		t.Errorf("steady: %v, in full %v, want 400 kbit/s", m.rate(0), m.full(0))
	}
	now = feed(&m, now, 2*time.Second, 8, size)
	if !near(m.rate(0), 160*unit.Kbps) {
		t.Errorf("in a stall: %v, want 160 kbit/s", m.rate(0))
	}
	if got := m.full(0); got < 340*unit.Kbps || got > 420*unit.Kbps {
		t.Errorf("in a stall in full %v, want about 400 kbit/s", got)
	}
	now = feed(&m, now, 4*time.Second, 20, size)
	if !near(m.full(0), 400*unit.Kbps) {
		t.Errorf("after the stall in full %v, want 400 kbit/s", m.full(0))
	}
	now = feed(&m, now, 20*time.Second, 10, size)
	if !near(m.full(0), 200*unit.Kbps) {
		t.Errorf("at half the frames for good: in full %v, want 200 kbit/s", m.full(0))
	}
	feed(&m, now, 2*time.Second, 20, size/2)
	if !near(m.full(0), 200*unit.Kbps) {
		t.Errorf("with smaller frames: in full %v, want 200 kbit/s", m.full(0))
	}
}

// A pause is no frame rate, and what comes after it is measured anew.
func TestMeter_pauseIsNoStall(t *testing.T) {
	start := time.Unix(1000, 0)
	m := meter{since: start}
	now := feed(&m, start, 4*time.Second, 20, 2500)
	now = now.Add(time.Minute)
	m.resume(now)
	feed(&m, now, 2*time.Second, 20, 2500)
	if !near(m.rate(0), 400*unit.Kbps) || !near(m.full(0), 400*unit.Kbps) {
		t.Errorf("%v, in full %v, want 400 kbit/s", m.rate(0), m.full(0))
	}
}
