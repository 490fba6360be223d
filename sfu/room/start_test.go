package room

import (
	"testing"
	"time"
)

// A subscriber that waits for a publisher begins with the layer that it wants, not with all layers one after the other.
func TestRoom_beginsWithTheWantedLayer(t *testing.T) {
	for _, layers := range []int{1, 2, 3} {
		w := newWorld(t, 96)
		s := w.subscribe(2, 1, 0)
		w.run(time.Second)
		p := w.publish(1, 3)
		for _, l := range p.layers[layers:] {
			l.off = true // the publisher's bandwidth does not allow it yet
		}
		s.want(1, 720)
		from := w.now
		var switches []LayerSwitched
		var at time.Duration
		w.observe = func() {
			for _, e := range w.batch.Events {
				if l, ok := e.(LayerSwitched); ok {
					switches, at = append(switches, l), w.now.Sub(from)
				}
			}
		}
		w.run(300 * time.Millisecond)
		if len(switches) != 1 || int(switches[0].To) != layers-1 {
			t.Errorf("%d layers sent: switches %v", layers, switches)
		}
		if at > 120*time.Millisecond {
			t.Errorf("%d layers sent: the picture comes after %v", layers, at)
		}
	}
}

// Frames from before a pause do not come again: to an end-to-end encrypted receiver they are a replay.
func TestRoom_pausedSubscriberGetsNoFrameTwice(t *testing.T) {
	w, p, s := call(t, 97)
	camera := w.room.find(1).tracks[SourceCamera]
	for _, l := range p.layers {
		l.key = true
	}
	seen := w.room.find(2).slots[0].sent.Packets()
	for camera.streams[2].key.at.Before(w.now.Add(-step / 2)) {
		w.run(step)
	}
	w.run(2 * step)
	w.apply(Want{Peer: 2, Wishes: []Wish{{Publisher: 1, Source: SourceCamera, Height: 720, Paused: true}}})
	before := w.room.find(2).slots[0].sent.Packets()
	if before == seen {
		t.Fatal("the key frame has not begun to leave")
	}
	s.want(1, 720)
	if again := w.room.find(2).slots[0].sent.Packets() - before; again != 0 {
		t.Errorf("%d packets sent again", again)
	}
}
