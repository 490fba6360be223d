package room

import (
	"slices"
	"testing"
	"time"
)

func (w *world) wantedLayers(peer PeerID) (layers []int8) {
	for _, e := range w.log {
		if e, ok := e.(TrackWanted); ok && e.Peer == peer && e.Source == SourceCamera {
			layers = append(layers, e.Layer)
		}
	}
	return layers
}

func TestRoom_tellsPublishersWhichLayersAreWanted(t *testing.T) {
	w := newWorld(t, 80)
	w.publish(1, 3)
	small, large := w.subscribe(2, 1, 0), w.subscribe(3, 1, 0)
	small.want(1, 180)
	large.want(1, 720)
	w.run(10 * time.Second)
	if got := w.wantedLayers(1); got != nil {
		t.Fatalf("told %v although all layers are wanted", got)
	}
	large.want(1, 360)
	w.run(2 * time.Second)
	if got := w.wantedLayers(1); got != nil {
		t.Fatalf("told %v after 2 s", got)
	}
	w.run(2 * time.Second)
	w.apply(Leave{Peer: 3})
	w.run(4 * time.Second)
	w.apply(Want{Peer: 2})
	w.run(4 * time.Second)
	at := w.now
	small.want(1, 720)
	w.run(150 * time.Millisecond)
	if got, want := w.wantedLayers(1), []int8{1, 0, -1, 2}; !slices.Equal(got, want) {
		t.Fatalf("told %v until %v after the wish, want %v", got, w.now.Sub(at), want)
	}
}

// A layer that does not fit is wanted all the same.
func TestRoom_narrowPathDoesNotStopALayer(t *testing.T) {
	w := newWorld(t, 81)
	w.publish(1, 3)
	s := w.subscribe(2, 1, 0)
	s.want(1, 720)
	w.run(time.Second)
	s.loss = 0.5
	w.run(10 * time.Second)
	if got := w.room.find(2).slots[0].sw.Target(); got == 2 {
		t.Fatalf("target %d with half of the packets lost", got)
	}
	if got := w.wantedLayers(1); got != nil {
		t.Fatalf("told %v", got)
	}
}

// pauses lists what peer 2 was told of its first slot, without repetitions.
func pauses(w *world) (why []PauseReason) {
	for _, e := range w.log {
		if e, ok := e.(SlotsChanged); ok && e.Peer == 2 && e.Slots[0].Active {
			if n := len(why); n == 0 || why[n-1] != e.Slots[0].Paused {
				why = append(why, e.Slots[0].Paused)
			}
		}
	}
	return why
}

func TestRoom_saysWhyAPictureIsPaused(t *testing.T) {
	w := newWorld(t, 82)
	p := w.publish(1, 1)
	p.layers[0].rate = 600_000
	s := w.subscribe(2, 1, 0)
	s.want(1, 180)
	w.run(2 * time.Second)
	w.apply(Want{Peer: 2, Wishes: []Wish{{Publisher: 1, Source: SourceCamera, Height: 180, Paused: true}}})
	w.run(time.Second)
	s.want(1, 180)
	w.run(time.Second)
	s.loss = 0.6
	w.run(4 * time.Second)
	s.loss = 0
	w.run(15 * time.Second)
	got := pauses(w)
	if len(got) < 5 || !slices.Equal(got[:5], []PauseReason{NotPaused, PauseWish, NotPaused, PauseBandwidth, NotPaused}) {
		t.Fatalf("reasons %v", got)
	}
	if r := s.recv[0]; w.now.Sub(r.at) > 100*time.Millisecond {
		t.Errorf("last picture %v ago although the path is good again", w.now.Sub(r.at))
	}
}

// firstAfter returns how long after a time the first frame of at least a layer was shown.
func (r *receiver) firstAfter(at time.Time, layer int) time.Duration {
	for _, f := range r.frames {
		if !f.at.Before(at) && f.layer >= layer {
			return f.at.Sub(at)
		}
	}
	return time.Hour
}

// What nobody watches is not sent, and comes back as fast as it can: the way through signaling, the next frame, the way down.
func TestRoom_unwatchedLayersRestAndComeBack(t *testing.T) {
	w := newWorld(t, 83)
	p := w.publish(1, 3)
	p.obeys = true
	w.run(5 * time.Second)
	sent := func() (n [3]int) {
		for i, l := range p.layers {
			n[i] = l.count
		}
		return n
	}
	before := sent()
	w.run(5 * time.Second)
	if got := sent(); got != before {
		t.Fatalf("%v packets although nobody watches", got)
	}
	s := w.subscribe(2, 1, 0)
	r := s.recv[0]
	at := w.now
	s.want(1, 720)
	w.run(5 * time.Second)
	if d := r.firstAfter(at, 0); d > 150*time.Millisecond {
		t.Errorf("first picture after %v", d)
	}
	if d := r.firstAfter(at, 2); d > 200*time.Millisecond {
		t.Errorf("wanted layer after %v", d)
	}
	s.want(1, 180)
	w.run(4 * time.Second)
	before = sent()
	w.run(5 * time.Second)
	if got := sent(); got[1] != before[1] || got[2] != before[2] || got[0] == before[0] {
		t.Fatalf("from %v to %v packets with the lowest layer wanted", before, got)
	}
	asked := p.plis
	r.maxGap = 0
	at = w.now
	s.want(1, 360)
	w.run(2 * time.Second)
	if d := r.firstAfter(at, 1); d > 150*time.Millisecond {
		t.Errorf("the middle layer after %v", d)
	}
	if r.layer != 1 || r.maxGap > 70*time.Millisecond {
		t.Errorf("layer %d, longest gap %v", r.layer, r.maxGap)
	}
	if got := p.plis - asked; got != 0 {
		t.Errorf("%d key frame requests although a layer that begins has one", got)
	}
	if r.lost != 0 || r.torn != 0 {
		t.Errorf("%d lost, %d torn", r.lost, r.torn)
	}
}

// A layer that is told away is waited for by nobody in the moment between: who comes then begins with what is sent.
func TestRoom_wishWhileALayerEnds(t *testing.T) {
	for wait := time.Duration(0); wait < 1500*time.Millisecond; wait += 100 * time.Millisecond {
		w := newWorld(t, 84)
		p := w.publish(1, 3)
		p.obeys = true
		s := w.subscribe(2, 2, 0)
		s.want(1, 180)
		for len(w.wantedLayers(1)) == 0 {
			w.run(step)
		}
		w.run(wait)
		late := w.subscribe(3, 1, 0)
		at := w.now
		late.want(1, 720)
		w.run(time.Second)
		r := late.recv[0]
		if first, top := r.firstAfter(at, 0), r.firstAfter(at, 2); first > 150*time.Millisecond || top > 200*time.Millisecond {
			t.Errorf("%v after the end: first picture after %v, the wanted one after %v", wait, first, top)
		}
		if s.recv[0].maxGap > 70*time.Millisecond {
			t.Errorf("%v after the end: the other one's picture stood for %v", wait, s.recv[0].maxGap)
		}
	}
}

// A layer that changes its mind for a moment is not switched off and on.
func TestRoom_constraintsDoNotFlap(t *testing.T) {
	w := newWorld(t, 85)
	w.publish(1, 3)
	s := w.subscribe(2, 1, 0)
	for n := range 20 {
		s.want(1, []uint16{720, 180}[n%2])
		w.run(time.Second)
	}
	if got := w.wantedLayers(1); len(got) != 0 {
		t.Errorf("told %v", got)
	}
}

// A camera that is published again is held to what was told: nobody has to be told again that nobody watches.
func TestRoom_constraintOutlivesItsTrack(t *testing.T) {
	w := newWorld(t, 86)
	p := w.publish(1, 3)
	w.run(5 * time.Second)
	w.apply(Publish{Peer: 1})
	w.run(time.Second)
	w.apply(Publish{Peer: 1, Tracks: p.tracks()})
	w.run(5 * time.Second)
	s := w.subscribe(2, 1, 0)
	s.want(1, 720)
	w.run(time.Second)
	if got, want := w.wantedLayers(1), []int8{-1, 2}; !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}

// A picture that pauses says why: the publisher, until it sends again.
func TestRoom_saysThatThePublisherPaused(t *testing.T) {
	w := newWorld(t, 87)
	p := w.publish(1, 3)
	p.obeys = true
	w.run(5 * time.Second)
	s := w.subscribe(2, 1, 0)
	s.want(1, 720) // its layers rest: that is no pause
	w.run(2 * time.Second)
	w.apply(Mute{Peer: 1, Source: SourceCamera, Muted: true})
	w.run(time.Second)
	w.apply(Mute{Peer: 1, Source: SourceCamera, Muted: false})
	w.run(time.Second)
	p.off = true
	w.run(3 * time.Second)
	p.off = false
	w.run(time.Second)
	if got, want := pauses(w), []PauseReason{NotPaused, PauseSource, NotPaused, PauseSource, NotPaused}; !slices.Equal(got, want) {
		t.Errorf("reasons %v, want %v", got, want)
	}
}
