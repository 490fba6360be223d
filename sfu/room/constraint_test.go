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

func pauses(w *world) (why []PauseReason) {
	for _, e := range w.log {
		if e, ok := e.(LayerSwitched); ok && e.Peer == 2 {
			why = append(why, e.Why)
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
