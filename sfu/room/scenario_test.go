package room

import (
	"testing"
	"time"

	"sotto/sfu/layer"
	"sotto/sfu/report"
)

func TestRoom_lateJoinerSeesAPictureAtOnce(t *testing.T) {
	w := newWorld(t, 1)
	p := w.publish(1, 3)
	w.run(3 * time.Second)
	s := w.subscribe(2, 1, 1)
	at := w.now
	s.want(1, 720)
	w.run(500 * time.Millisecond)
	r := s.recv[0]
	if !r.started {
		t.Fatal("no picture after 500 ms")
	}
	// PLI 10 ms, next frame up to 34 ms, 10 ms up, 10 ms down, and the key frame's spread.
	if took := r.frames[0].at.Sub(at); took > 120*time.Millisecond {
		t.Errorf("first picture after %v", took)
	}
	if r.layer != 2 {
		t.Errorf("layer %d, want the top one", r.layer)
	}
	if p.plis != 1 {
		t.Errorf("%d key frame requests, want 1", p.plis)
	}
}

func TestRoom_switchesWithoutAGap(t *testing.T) {
	w := newWorld(t, 2)
	p := w.publish(1, 3)
	s := w.subscribe(2, 1, 0)
	s.want(1, 180)
	w.run(2 * time.Second)
	r := s.recv[0]
	heights := []uint16{720, 180, 360, 720, 360, 180}
	layers := map[uint16]int{180: 0, 360: 1, 720: 2}
	for n := range 24 {
		h := heights[n%len(heights)]
		s.want(1, h)
		at := w.now
		w.run(time.Second)
		if r.layer != layers[h] {
			t.Fatalf("switch %d: layer %d for %d lines", n, r.layer, h)
		}
		for i := len(r.frames) - 1; i > 0 && r.frames[i-1].at.After(at); i-- {
			if r.frames[i-1].layer != r.layer && r.frames[i].layer == r.layer && r.frames[i].at.Sub(at) > 200*time.Millisecond {
				t.Errorf("switch %d took %v", n, r.frames[i].at.Sub(at))
			}
		}
	}
	if r.maxGap > 80*time.Millisecond {
		t.Errorf("longest gap between frames %v", r.maxGap)
	}
	if r.lost != 0 || r.plis != 0 || r.nacks != 0 || r.torn != 0 {
		t.Errorf("lost %d, %d PLI, %d NACK on a perfect link", r.lost, r.plis, r.nacks)
	}
	if p.plis > 24 {
		t.Errorf("%d key frame requests for 24 switches", p.plis)
	}
	for i := 1; i < len(r.frames); i++ {
		// A switch may show one instant in both layers.
		if r.frames[i].frame < r.frames[i-1].frame {
			t.Fatalf("frame %d after %d", r.frames[i].frame, r.frames[i-1].frame)
		}
	}
}

func TestRoom_neverWaitsForALayerThatDoesNotExist(t *testing.T) {
	w := newWorld(t, 3)
	p := w.publish(1, 3)
	p.layers[2].off = true // Chromium below 960x540
	s := w.subscribe(2, 1, 0)
	s.want(1, 720)
	w.run(time.Second)
	if r := s.recv[0]; r.layer != 1 {
		t.Fatalf("layer %d, want the highest that exists", r.layer)
	}
	p.layers[2].off, p.layers[2].key = false, true
	w.run(time.Second)
	if r := s.recv[0]; r.layer != 2 {
		t.Fatalf("layer %d after the top layer began", r.layer)
	}
	p.layers[2].off = true
	w.run(3 * time.Second)
	if r := s.recv[0]; r.layer != 1 || w.now.Sub(r.at) > 100*time.Millisecond {
		t.Fatalf("layer %d after the top layer ended, last picture %v ago", r.layer, w.now.Sub(r.at))
	}
}

func TestRoom_layerWithoutKeyFrameKeepsTheOldOne(t *testing.T) {
	w := newWorld(t, 4)
	p := w.publish(1, 3)
	s := w.subscribe(2, 1, 0)
	s.want(1, 180)
	w.run(2 * time.Second)
	p.deaf = true
	before := w.room.Stats().KeyRequestsOut
	s.want(1, 720)
	w.run(5 * time.Second)
	r := s.recv[0]
	if r.layer != 0 || r.maxGap > 50*time.Millisecond {
		t.Errorf("layer %d, longest gap %v", r.layer, r.maxGap)
	}
	if got := w.room.Stats().KeyRequestsOut - before; got < 8 || got > 11 {
		t.Errorf("%d key frame requests in 5 s, want 2 a second", got)
	}
}

func TestRoom_repairsLossDownstream(t *testing.T) {
	for _, loss := range []float64{0.01, 0.05} {
		w := newWorld(t, 5)
		w.publish(1, 3)
		s := w.subscribe(2, 1, 0)
		s.loss = loss
		s.want(1, 720)
		w.run(20 * time.Second)
		r := s.recv[0]
		if r.repaired == 0 || r.decoded < 560 {
			t.Errorf("loss %v: %d frames of 600, %d repaired, %d lost, %d PLI", loss, r.decoded, r.repaired, r.lost, r.plis)
		}
		st := w.room.Stats()
		if media := st.Out[Video].Bytes; st.RTXOut*1100*100 > media*15 {
			t.Errorf("loss %v: %d retransmissions in %d bytes", loss, st.RTXOut, media)
		}
	}
}

func TestRoom_repairsLossUpstream(t *testing.T) {
	w := newWorld(t, 6)
	p := w.publish(1, 3)
	p.loss = 0.03
	s := w.subscribe(2, 1, 0)
	s.want(1, 720)
	w.run(20 * time.Second)
	r := s.recv[0]
	if p.nacks == 0 || r.decoded < 570 {
		t.Errorf("%d frames of 600, %d asked upstream, %d lost", r.decoded, p.nacks, r.lost)
	}
	if st := w.room.Stats(); st.PacketsLost == 0 || st.PacketsExpected < 1000 || st.RTXIn == 0 {
		t.Errorf("%+v", st)
	}
}

func TestRoom_numbersWrap(t *testing.T) {
	w := newWorld(t, 7)
	p := w.publish(1, 3)
	for _, l := range p.layers {
		l.seq, l.ts, l.pic, l.tl0 = 65500, 0xFFFF_0000, 0x7FF0, 250
	}
	p.twcc, p.audioSeq = 65500, 65500
	s := w.subscribe(2, 1, 0)
	w.room.find(2).slots[0].sw = newSwitchNearWrap()
	w.room.find(2).slots[0].rtxSeq = 65530
	w.room.find(2).transport = 65500
	s.loss = 0.02
	s.want(1, 720)
	w.run(10 * time.Second)
	if r := s.recv[0]; r.decoded < 285 {
		t.Errorf("%d frames of 300, lost %d", r.decoded, r.lost)
	}
}

func TestRoom_audioNeedsNoWish(t *testing.T) {
	w := newWorld(t, 8)
	p := w.publish(1, 0)
	p.audio = true
	s := w.subscribe(2, 1, 1)
	w.run(time.Second)
	if got := s.recv[1].audio; got < 45 {
		t.Fatalf("%d audio packets in a second", got)
	}
	w.apply(Mute{Peer: 1, Source: SourceMic, Muted: true})
	w.run(100 * time.Millisecond)
	before := s.recv[1].audio
	w.run(time.Second)
	if got := s.recv[1].audio; got != before {
		t.Fatalf("%d audio packets although muted", got-before)
	}
	w.apply(Mute{Peer: 1, Source: SourceMic, Muted: false})
	w.run(time.Second)
	if got := s.recv[1].audio; got < before+45 {
		t.Fatalf("%d audio packets after the mute", got-before)
	}
	if w.room.Stats().Drops[DropMuted] == 0 {
		t.Fatal("no drop counted")
	}
}

func TestRoom_muteAndBackShowsAPictureAtOnce(t *testing.T) {
	w := newWorld(t, 9)
	w.publish(1, 3)
	s := w.subscribe(2, 1, 0)
	s.want(1, 720)
	w.run(time.Second)
	w.apply(Mute{Peer: 1, Source: SourceCamera, Muted: true})
	w.run(2 * time.Second)
	at := w.now
	w.apply(Mute{Peer: 1, Source: SourceCamera, Muted: false})
	w.run(time.Second)
	r := s.recv[0]
	for _, f := range r.frames {
		if f.at.After(at) {
			if d := f.at.Sub(at); d > 150*time.Millisecond {
				t.Errorf("picture %v after the mute", d)
			}
			break
		}
	}
	if w.now.Sub(r.at) > 50*time.Millisecond || r.lost > 0 {
		t.Errorf("last picture %v ago, %d lost", w.now.Sub(r.at), r.lost)
	}
}

func TestRoom_slotGoesOnWithAnotherTrack(t *testing.T) {
	w := newWorld(t, 10)
	w.publish(1, 3)
	w.publish(3, 2)
	s := w.subscribe(2, 1, 0)
	r := s.recv[0]
	for n := range 6 {
		pub := PeerID(1 + 2*(n%2))
		s.want(pub, 720)
		at := len(r.frames)
		w.run(time.Second)
		if len(r.frames)-at < 25 {
			t.Fatalf("change %d: %d frames in a second", n, len(r.frames)-at)
		}
	}
	if r.lost != 0 {
		t.Errorf("lost %d", r.lost)
	}
	w.apply(Leave{Peer: 3})
	w.pubs = w.pubs[:1]
	s.want(1, 720)
	w.run(time.Second)
	if w.now.Sub(r.at) > 50*time.Millisecond {
		t.Error("no picture of the other peer after a leave")
	}
}

func TestRoom_pausedWishKeepsTheSlot(t *testing.T) {
	w := newWorld(t, 11)
	w.publish(1, 3)
	s := w.subscribe(2, 1, 0)
	s.want(1, 360)
	w.run(time.Second)
	w.apply(Want{Peer: 2, Wishes: []Wish{{Publisher: 1, Source: SourceCamera, Height: 360, Paused: true}}})
	w.run(600 * time.Millisecond)
	r := s.recv[0]
	before := r.decoded
	w.run(10 * time.Second)
	if r.decoded != before {
		t.Fatalf("%d frames while paused", r.decoded-before)
	}
	at := w.now
	s.want(1, 360)
	w.run(time.Second)
	if r.decoded == before || r.frames[before].at.Sub(at) > 150*time.Millisecond {
		t.Fatal("no picture soon after the pause")
	}
	if got := lastSlots(w, 2); len(got) != 1 || !got[0].Active {
		t.Fatalf("slots %v", got)
	}
}

func lastSlots(w *world, peer PeerID) (slots []SlotState) {
	for _, e := range w.log {
		if e, ok := e.(SlotsChanged); ok && e.Peer == peer {
			slots = e.Slots
		}
	}
	return slots
}

func TestRoom_publisherRestartsWithNewSSRCs(t *testing.T) {
	w := newWorld(t, 12)
	p := w.publish(1, 3)
	s := w.subscribe(2, 1, 0)
	s.want(1, 720)
	w.run(3 * time.Second)
	for _, l := range p.layers {
		l.ssrc += 50
		l.seq, l.ts, l.pic, l.count, l.key = uint16(w.rng.Uint32()), w.rng.Uint32(), 77, 0, true
	}
	at := w.now
	w.run(2 * time.Second)
	r := s.recv[0]
	if w.now.Sub(r.at) > 50*time.Millisecond || r.maxGap > 300*time.Millisecond {
		t.Fatalf("last picture %v ago, gap %v", w.now.Sub(r.at), r.maxGap)
	}
	if got := len(w.room.find(1).incoming); got > 6 {
		t.Fatalf("%d streams latched after a restart at %v", got, at)
	}
}

func TestRoom_reports(t *testing.T) {
	w := newWorld(t, 13)
	p := w.publish(1, 3)
	p.loss = 0.1
	s := w.subscribe(2, 1, 0)
	s.delay = 40 * time.Millisecond
	s.want(1, 180)
	w.run(10 * time.Second)
	r := s.recv[0]
	if n := len(r.srs); n < 7 || n > 11 {
		t.Fatalf("%d sender reports in 10 s", n)
	}
	// The peer's clock is an hour ahead; its subscribers see the server's.
	for _, sr := range r.srs {
		if d := report.FromNTP(sr.NTPTime).Sub(epoch); d < 0 || d > 11*time.Second {
			t.Fatalf("sender report at %v", d)
		}
	}
	a, b := r.srs[1], r.srs[len(r.srs)-1]
	elapsed := report.FromNTP(b.NTPTime).Sub(report.FromNTP(a.NTPTime))
	if got, want := float64(b.RTPTime-a.RTPTime), elapsed.Seconds()*90000; got < want*0.99 || got > want*1.01 {
		t.Errorf("clock of %v ticks in %v", got, elapsed)
	}
	if rtt := w.room.find(2).rtt; rtt < 78*time.Millisecond || rtt > 90*time.Millisecond {
		t.Errorf("round trip %v, want 80 ms", rtt)
	}
	if p.rrs < 8 || p.rrs > 12 || len(p.reports) != 3 {
		t.Errorf("%d receiver reports on %d streams", p.rrs, len(p.reports))
	}
	if b := p.reports[p.layers[2].ssrc]; b.TotalLost == 0 || b.FractionLost < 10 || b.LastSenderReport == 0 {
		t.Errorf("%+v", b)
	}
	if p.twccs < 100 || p.twccs > 210 {
		t.Errorf("%d transport feedbacks in 10 s", p.twccs)
	}
}

func TestRoom_lowBudgetTakesTheLayerThatFits(t *testing.T) {
	w := newWorld(t, 14)
	w.publish(1, 3)
	s := w.subscribe(2, 1, 0)
	s.want(1, 720)
	w.run(2 * time.Second)
	s.loss = 0.5
	w.run(4 * time.Second)
	if got := w.room.find(2).slots[0].sw.Target(); got == 2 {
		t.Errorf("target %d with half of the packets lost", got)
	}
	s.loss = 0
	w.run(20 * time.Second)
	if r := s.recv[0]; r.layer != 2 || w.now.Sub(r.at) > 50*time.Millisecond {
		t.Errorf("layer %d after the link recovered", r.layer)
	}
}

func TestRoom_equalInputGivesEqualOutput(t *testing.T) {
	run := func() (uint64, int) {
		w := newWorld(t, 15)
		for i := range PeerID(4) {
			p := w.publish(1+i, 3)
			p.audio, p.loss = true, 0.02
		}
		for i := range PeerID(4) {
			s := w.subscribe(10+i, 2, 4)
			s.loss = 0.02
			s.want(1+i, 720)
		}
		w.run(3 * time.Second)
		return w.hash, w.sends
	}
	hash, sends := run()
	for range 3 {
		if h, n := run(); h != hash || n != sends {
			t.Fatalf("two runs with one seed differ: %d and %d packets", sends, n)
		}
	}
	if sends < 1000 {
		t.Fatalf("only %d packets", sends)
	}
}

func newSwitchNearWrap() layer.Switch { return layer.NewSwitch(65500, 0xFFFF_FF00) }

func TestRoom_withinBudgetThePacerAddsNoDelay(t *testing.T) {
	w, _, _ := call(t, 16)
	w.observe = func() {
		for _, s := range w.batch.Sends {
			if d := w.now.Sub(s.Packet.Arrival); s.Kind == Video && !s.Packet.Key && d != 0 {
				t.Fatalf("a packet of a delta frame waited %v", d)
			}
		}
	}
	w.run(5 * time.Second)
}

func TestRoom_slowSubscriberDoesNotDisturbOthers(t *testing.T) {
	w, _, s := call(t, 17)
	slow := w.subscribe(3, 1, 0)
	slow.want(1, 720)
	slow.loss = 0.3
	w.run(5 * time.Second)
	if got := w.room.find(3).slots[0].sw.Target(); got >= 2 {
		t.Errorf("target %d with a third of the packets lost", got)
	}
	if r := s.recv[0]; r.layer != 2 || r.maxGap > 100*time.Millisecond || r.lost > 0 {
		t.Errorf("the other one: layer %d, gap %v, %d lost", r.layer, r.maxGap, r.lost)
	}
}

// Everybody sends and sees everybody, with loss, for a minute.
func TestRoom_fiveInACall(t *testing.T) {
	w := newWorld(t, 18)
	for i := range PeerID(5) {
		p := w.publish(1+i, 3)
		p.audio, p.loss = true, 0.01
	}
	for i := range PeerID(5) {
		s := w.subscribe(11+i, 5, 5)
		s.loss = 0.01
		var wishes []Wish
		for j := range PeerID(5) {
			wishes = append(wishes, Wish{Publisher: 1 + j, Source: SourceCamera, Height: 180 << (j % 3), Priority: uint8(j)})
		}
		w.apply(Want{Peer: s.id, Wishes: wishes})
	}
	const seconds = 30
	w.run(seconds * time.Second)
	for _, s := range w.subs {
		for i, r := range s.recv {
			if r.slot.Kind == Video && r.decoded < seconds*30*95/100 {
				t.Errorf("peer %d slot %d: %d frames of %d, %d lost, %d PLI", s.id, i, r.decoded, seconds*30, r.lost, r.plis)
			}
		}
	}
}
