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
		m.add(now, true, size/2)
		m.add(now, false, size/2)
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

// A publisher behind a lossy path that also changes the order: its packets come again late, by RTX, and others overtake them. What is
// measured is what it sends.
func TestMeter_lateAndReorderedPacketsAreNoFrames(t *testing.T) {
	for seed := range uint64(3) {
		w := newWorld(t, 180+seed)
		p := w.publish(1, 3)
		p.loss, p.reorder = 0.05, 0.1
		s := w.subscribe(2, 1, 0)
		s.want(1, 720) // the top layer is repaired
		for range 20 {
			w.run(500 * time.Millisecond)
			for i, st := range w.room.find(1).tracks[SourceCamera].streams {
				if m := &st.rate; m.windows == 2 && (m.most > 31.5 || m.mean().frames > 32) {
					t.Errorf("layer %d after %v: %.1f frames/s, at most %.1f, 30 are sent", i, w.now.Sub(epoch), m.mean().frames, m.most)
				}
			}
		}
		if p.nacks < 50 {
			t.Errorf("only %d packets were asked for", p.nacks)
		}
		top := &w.room.find(1).tracks[SourceCamera].streams[2].rate
		if full, sent := top.full(0), top.rate(0); float64(full) > 1.05*float64(sent) || top.mean().frames < 28 {
			t.Errorf("the top layer sends %v with %.1f frames/s and is said to cost %v", sent, top.mean().frames, full)
		}
	}
}

// Time stamps mean nothing to the meter: it goes on where they jump far back.
func TestMeter_countsOnAfterAJumpOfTimeStamps(t *testing.T) {
	w := newWorld(t, 184)
	p := w.publish(1, 1)
	w.subscribe(2, 1, 0).want(1, 720)
	for _, jump := range []uint32{0, 1 << 31, 3 << 30, 1<<32 - 90_000} {
		p.layers[0].ts += jump
		w.run(3 * time.Second)
		if m := &w.room.find(1).tracks[SourceCamera].streams[0].rate; m.mean().frames < 28 || m.most > 31.5 {
			t.Errorf("after a jump by %d: %.1f frames/s, at most %.1f", jump, m.mean().frames, m.most)
		}
	}
}

// A picture counts once for each rung that shows a part of it, whichever parts that are.
func TestMeter_countsPicturesOfSpatialLayers(t *testing.T) {
	_, c := bareCall(t, 98, 1)
	c.run(120)
	st := c.p.w.room.find(1).tracks[SourceCamera].streams[0]
	all := st.rate.mean().frames
	if all < 20 || all > 35 {
		t.Errorf("%.1f pictures/s of the stream", all)
	}
	for rung := range 3 {
		if got := st.spatial.rates[rung].mean().frames; got < all*0.9 || got > all*1.1 {
			t.Errorf("%.1f pictures/s of rung %d, %.1f of the stream", got, rung, all)
		}
	}
}
