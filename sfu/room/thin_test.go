package room

import (
	"math/rand/v2"
	"testing"
	"time"

	"sotto/sfu/layer"
)

func (w *world) thin(level int) {
	w.room.Thin(w.now, level, &w.batch)
	w.flush()
}

// Thin takes whole frames that no other needs first: nothing is torn or asked for again, whatever else is aimed at meanwhile, and
// what was left out is counted.
func TestThin_leavesOutWholeFrames(t *testing.T) {
	w, p, s := narrow(t, 141, SourceCamera, 1, 180)
	w.run(3 * time.Second)
	r := s.recv[0]
	asked, keys := p.plis, r.keys
	for _, limit := range []struct{ level, fps int }{{1, 15}, {2, 7}, {MaxThin, 7}, {1, 15}, {0, 30}} {
		w.thin(limit.level)
		w.run(200 * time.Millisecond)
		before, dropped := r.decoded, w.room.Stats().Drops[DropThin]
		w.run(2 * time.Second)
		if got := r.decoded - before; got < 2*limit.fps-2 || got > 2*limit.fps+3 {
			t.Errorf("level %d: %d frames in 2 s, want %d", limit.level, got, 2*limit.fps)
		}
		if got := w.room.Stats().Drops[DropThin] - dropped; got > 0 != (limit.fps < 30) {
			t.Errorf("level %d: %d packets counted", limit.level, got)
		}
	}
	if p.plis != asked || r.keys != keys || r.lost+r.torn+r.plis > 0 {
		t.Errorf("%d requests, %d key frames, %d lost, %d torn", p.plis-asked, r.keys-keys, r.lost, r.torn)
	}
}

// Layers go one by one, the highest first and at once, and come back.
func TestThin_lowersTheLayer(t *testing.T) {
	w := newWorld(t, 142)
	p := w.publish(1, 3)
	low, high := w.subscribe(2, 1, 0), w.subscribe(3, 1, 0)
	low.want(1, 180)
	high.want(1, 720)
	w.run(4 * time.Second)
	keys := low.recv[0].keys
	for _, step := range []struct{ level, layer, asked int }{
		{1, 2, 0}, {2, 2, 0}, {3, 1, 1}, {4, 0, 1}, {3, 1, 1}, {2, 2, 1}, {0, 2, 0},
	} {
		plis, at := p.plis, w.now
		w.thin(step.level)
		if falls := int8(step.layer) < w.room.find(3).slots[0].shown(); falls != w.room.find(3).slots[0].sw.IsCut() {
			t.Errorf("level %d: the old layer goes on", step.level)
		}
		w.run(3 * time.Second)
		r := high.recv[0]
		if r.layer != step.layer || w.now.Sub(r.at) > 50*time.Millisecond || p.plis-plis != step.asked {
			t.Errorf("level %d: layer %d, want %d, %d key frame requests, last picture %v ago", step.level, r.layer, step.layer, p.plis-plis, w.now.Sub(r.at))
		}
		if r.maxGap > 100*time.Millisecond {
			t.Errorf("level %d: a gap of %v since %v", step.level, r.maxGap, at.Sub(epoch))
		}
	}
	if r := low.recv[0]; r.perLayer[0] != r.decoded || r.maxGap > 50*time.Millisecond || keys == 0 {
		t.Errorf("who has the lowest layer anyway: %v, a gap of %v", r.perLayer, r.maxGap)
	}
}

// What has neither temporal layers nor a lower one ends after whole frames and begins with key frames, two a second at most however
// often that is not enough.
func TestThin_endsWhatHasNoLayers(t *testing.T) {
	w := newWorld(t, 143)
	p := w.publish(1, 1)
	subs := []*subscriber{w.subscribe(2, 1, 0), w.subscribe(3, 1, 0), w.subscribe(4, 1, 0)}
	for _, s := range subs {
		s.want(1, 720)
	}
	w.run(3 * time.Second)
	w.thin(MaxThin - 1)
	w.run(time.Second)
	plis, decoded := p.plis, subs[0].recv[0].decoded
	for range 100 {
		w.thin(MaxThin)
		w.run(100 * time.Millisecond)
	}
	if n := p.plis - plis; n < 15 || n > 22 {
		t.Errorf("%d key frame requests in 10 s", n)
	}
	if n := subs[0].recv[0].decoded - decoded; n < 15 || n > 150 {
		t.Errorf("%d frames in 10 s of pressure that does not end", n)
	}
	if w.room.Stats().Drops[DropThin] == 0 {
		t.Error("nothing is counted")
	}
	w.thin(MaxThin - 1)
	w.run(time.Second)
	plis, decoded = p.plis, subs[0].recv[0].decoded
	w.run(2 * time.Second)
	for _, s := range subs {
		if r := s.recv[0]; r.torn+r.lost+r.plis+r.nacks > 0 {
			t.Errorf("%d torn frames, %d lost packets, %d key frame requests, %d NACK", r.torn, r.lost, r.plis, r.nacks)
		}
	}
	if n := subs[0].recv[0].decoded - decoded; n < 59 || p.plis != plis {
		t.Errorf("%d frames in 2 s and %d key frame requests once it has ended", n, p.plis-plis)
	}
}

// Whatever the levels do, at any time, to any kind of stream: what a subscriber gets is whole frames that can be decoded, in the order of
// their numbers, and in the end everything again. The receivers of the simulation fail on anything else.
func TestThin_whateverHappensFramesAreWhole(t *testing.T) {
	for seed := range uint64(6) {
		w := newWorld(t, 150+seed)
		check := &orderChecker{t: t, w: w, sent: map[uint32]map[uint16]uint32{}, top: map[uint32]uint16{}}
		w.observe = check.check
		rng := rand.New(rand.NewPCG(seed, 15))
		pubs := []*publisher{w.publish(1, 3), w.publish(2, 3), w.publish(3, 2), w.publish(4, 1)}
		for i, p := range pubs {
			p.tids = i%2 == 0
		}
		if seed%2 == 1 { // with other layers what is late of the last one is lost, as with any switch
			pubs[3].loss, pubs[3].reorder = 0.01, 0.05
		}
		var subs []*subscriber
		for id := PeerID(5); id < 8; id++ {
			s := w.subscribe(id, 4, 0)
			var wishes []Wish
			for _, p := range pubs {
				wishes = append(wishes, Wish{Publisher: p.id, Source: SourceCamera, Height: uint16(rng.IntN(4)) * 240})
			}
			w.apply(Want{Peer: id, Wishes: wishes})
			subs = append(subs, s)
		}
		w.run(3 * time.Second)
		for _, s := range subs {
			for _, r := range s.recv {
				r.plis, r.nacks, r.lost = 0, 0, 0
			}
		}
		plis, began := pubs[3].plis, w.now
		for range 60 {
			w.thin(rng.IntN(MaxThin + 1))
			w.run(time.Duration(10+rng.IntN(300)) * time.Millisecond)
		}
		w.thin(0)
		if n, most := pubs[3].plis-plis, int(2*w.now.Sub(began)/time.Second)+2; n > most {
			t.Errorf("seed %d: %d key frame requests in %v", seed, n, w.now.Sub(began))
		}
		w.run(10 * time.Second)
		for _, s := range subs {
			for i, r := range s.recv {
				if r.torn+r.lost+r.plis > 0 || (seed%2 == 0 || i < 3) && r.nacks > 0 {
					t.Errorf("seed %d, peer %d, publisher %d: %d torn frames, %d lost packets, %d key frame requests, %d NACK",
						seed, s.id, i+1, r.torn, r.lost, r.plis, r.nacks)
				}
				slot := w.room.find(s.id).slots[i]
				if now := w.now.Sub(r.at); now > 100*time.Millisecond || slot.sw.IsCut() || slot.tid != layer.AllLayers {
					t.Errorf("seed %d, peer %d, publisher %d: last picture %v ago", seed, s.id, i+1, now)
				}
				if want := int(slot.track.wanted(&slot.wish)); r.layer != want {
					t.Errorf("seed %d, peer %d, publisher %d: layer %d, want %d", seed, s.id, i+1, r.layer, want)
				}
			}
		}
	}
}

func TestThin_doesNotAllocate(t *testing.T) {
	w := newWorld(t, 170)
	w.publish(1, 3)
	w.publish(2, 1)
	s := w.subscribe(3, 2, 0)
	w.apply(Want{Peer: 3, Wishes: []Wish{{Publisher: 1, Source: SourceCamera, Height: 720}, {Publisher: 2, Source: SourceCamera, Height: 720}}})
	w.run(3 * time.Second)
	if s.recv[0].layer != 2 {
		t.Fatalf("layer %d", s.recv[0].layer)
	}
	level, up := 0, 1
	if n := testing.AllocsPerRun(200, func() {
		if level += up; level == 0 || level == MaxThin {
			up = -up
		}
		w.batch.Sends, w.batch.RTCP, w.batch.Events = w.batch.Sends[:0], w.batch.RTCP[:0], w.batch.Events[:0]
		w.room.Thin(w.now, level, &w.batch)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
