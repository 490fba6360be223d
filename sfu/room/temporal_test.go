package room

import (
	"testing"
	"time"

	"sotto/sfu/layer"
)

// narrow is a subscriber of one source whose path loses so many packets that not all of it can be sent, and then none.
func narrow(t *testing.T, seed uint64, source Source, layers int, height uint16) (w *world, p *publisher, s *subscriber) {
	w = newWorld(t, seed)
	p = w.publish(1, layers)
	p.tids, p.source = true, source
	w.apply(Publish{Peer: 1, Tracks: p.tracks()})
	s = w.subscribe(2, 1, 0)
	w.apply(Want{Peer: 2, Wishes: []Wish{{Publisher: 1, Source: source, Height: height}}})
	return w, p, s
}

// spent runs on and counts in how many milliseconds the slot was aimed at each layer, and at fewer than all frames of the top one.
func (w *world) spent(d time.Duration) (rungs [layer.MaxRungs + 1]int, short int) {
	slot := w.room.find(2).slots[0]
	for range d / step {
		w.run(step)
		aimed := slot.aimed()
		rungs[aimed+1]++
		if slot.tid != layer.AllLayers {
			short++
		}
	}
	return rungs, short
}

// A screen that does not fit loses frames, not lines, and not the whole picture.
func TestTemporal_screenLosesFramesFirst(t *testing.T) {
	w, p, s := narrow(t, 110, SourceScreen, 1, 1080)
	p.layers[0].rate = 1_500_000
	w.run(4 * time.Second)
	r := s.recv[0]
	if rungs, short := w.spent(2 * time.Second); rungs[1] != 2000 || short != 0 {
		t.Fatalf("on a wide path: %v, %d ms with fewer frames", rungs, short)
	}
	s.loss = 0.4
	w.run(3 * time.Second)
	before := r.decoded
	rungs, short := w.spent(10 * time.Second)
	t.Logf("aimed %v, fewer frames for %d ms, %d frames of 300", rungs, short, r.decoded-before)
	if short < 3000 || rungs[0] > 6000 {
		t.Errorf("aimed %v, fewer frames for %d ms of 10 s", rungs, short)
	}
	s.loss = 0
	w.run(15 * time.Second)
	before = r.decoded
	w.run(2 * time.Second)
	if got := r.decoded - before; got < 58 {
		t.Errorf("%d frames in 2 s on a wide path again", got)
	}
	if r.torn > 0 {
		t.Errorf("%d torn frames", r.torn)
	}
}

// A step of frames is no switch of layers: no key frame is asked for, no picture is lost.
func TestTemporal_limitNeedsNoKeyFrame(t *testing.T) {
	w, p, s := narrow(t, 111, SourceCamera, 1, 180)
	w.run(3 * time.Second)
	r, slot := s.recv[0], w.room.find(2).slots[0]
	asked, keys := p.plis, r.keys
	for _, limit := range []struct {
		tid uint8
		fps int
	}{{0, 7}, {1, 15}, {layer.AllLayers, 30}, {1, 15}, {0, 7}, {layer.AllLayers, 30}} {
		slot.sw.SetMaxTID(limit.tid)
		w.run(200 * time.Millisecond)
		slot.sw.SetMaxTID(limit.tid)
		before := r.decoded
		w.room.find(2).allocAt = w.now.Add(time.Hour) // the limit stays
		w.run(2 * time.Second)
		if got := r.decoded - before; got < 2*limit.fps-2 || got > 2*limit.fps+3 {
			t.Errorf("limit %d: %d frames in 2 s, want %d", limit.tid, got, 2*limit.fps)
		}
	}
	if p.plis != asked || r.keys != keys || r.lost+r.torn+r.plis > 0 {
		t.Errorf("%d requests, %d key frames, %d lost, %d torn", p.plis-asked, r.keys-keys, r.lost, r.torn)
	}
}

// What the temporal layers take is measured: half of the frames are of the highest.
func TestTemporal_sharesAreMeasured(t *testing.T) {
	w, p, _ := narrow(t, 112, SourceCamera, 2, 360)
	w.run(4 * time.Second)
	st := w.room.find(1).tracks[SourceCamera].streams[1]
	if n := st.temporal.limits(); n != 2 {
		t.Fatalf("%d limits, want 2", n)
	}
	for tid, want := range []float32{0.25, 0.5, 1} {
		if got := st.temporal.share[tid]; got < want-0.1 || got > want+0.15 {
			t.Errorf("share of layers up to %d: %v, want about %v", tid, got, want)
		}
	}
	p.tids = false
	w.run(2 * time.Second)
	if n := st.temporal.limits(); n != 0 {
		t.Errorf("%d limits of a stream without temporal layers", n)
	}
}

func TestLadder(t *testing.T) {
	w := newWorld(t, 113)
	w.publish(1, 3)
	three := temporal{top: 2, share: [layer.MaxTIDs]float32{0.25, 0.5, 1}}
	const all = layer.AllLayers
	for _, tt := range []struct {
		name     string
		source   Source
		height   uint16
		temporal temporal
		want     []point
		base     int8
	}{
		{"camera", SourceCamera, 720, temporal{}, []point{{0, all}, {1, all}, {2, all}}, 0},
		{"camera with temporal layers", SourceCamera, 720, three, []point{{0, 0}, {0, 1}, {0, all}, {1, all}, {2, all}}, 2},
		{"screen", SourceScreen, 720, temporal{}, []point{{0, all}, {1, all}, {2, all}}, 0},
		{"screen with temporal layers", SourceScreen, 720, three, []point{{0, 0}, {1, 0}, {2, 0}, {2, 1}, {2, all}}, 0},
		{"small screen", SourceScreen, 300, three, []point{{0, 0}, {1, 0}, {1, 1}, {1, all}}, 0},
	} {
		track := &track{peer: w.room.find(1), source: tt.source}
		for i := range track.streams {
			st := newStream(w.now, 1, track, int8(i))
			st.live, st.temporal = true, tt.temporal
			track.streams[i] = st
		}
		s := &slot{tid: all, wish: Wish{Height: tt.height}, sw: layer.NewSwitch(1, 1)}
		src, points := track.ladder(s, layer.MaxRungs-1)
		last := int64(0)
		for i, p := range points {
			rate := int64(src.Steps[i].Rate)
			switch {
			case i >= len(tt.want):
				if rate != 0 {
					t.Errorf("%s: step %d is %v", tt.name, i, p)
				}
			case p != tt.want[i] || rate <= last:
				t.Errorf("%s: step %d is %v of %d bit/s after %d, want %v", tt.name, i, p, rate, last, tt.want[i])
			}
			last = max(last, rate)
		}
		if src.Base != tt.base || src.Current != layer.Paused {
			t.Errorf("%s: base %d, current %d", tt.name, src.Base, src.Current)
		}
		for i, p := range tt.want {
			if got := stepOf(&src, &points, p); got != int8(i) {
				t.Errorf("%s: %v is step %d, want %d", tt.name, p, got, i)
			}
		}
	}
}
