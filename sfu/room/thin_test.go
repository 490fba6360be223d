package room

import (
	"testing"
	"time"

	"sotto/sfu/layer"
)

// Thin takes whole frames that no other needs: nothing is torn or asked for again, whatever else is aimed at meanwhile, and
// what was left out is counted.
func TestThin_leavesOutWholeFrames(t *testing.T) {
	w, p, s := narrow(t, 141, SourceCamera, 1, 180)
	w.run(3 * time.Second)
	r := s.recv[0]
	asked, keys := p.plis, r.keys
	for _, limit := range []struct {
		tid uint8
		fps int
	}{{1, 15}, {0, 7}, {1, 15}, {layer.AllLayers, 30}} {
		w.room.Thin(limit.tid)
		w.run(200 * time.Millisecond)
		before, dropped := r.decoded, w.room.Stats().Drops[DropThin]
		w.run(2 * time.Second)
		if got := r.decoded - before; got < 2*limit.fps-2 || got > 2*limit.fps+3 {
			t.Errorf("limit %d: %d frames in 2 s, want %d", limit.tid, got, 2*limit.fps)
		}
		if got := w.room.Stats().Drops[DropThin] - dropped; got > 0 != (limit.fps < 30) {
			t.Errorf("limit %d: %d packets counted", limit.tid, got)
		}
	}
	if p.plis != asked || r.keys != keys || r.lost+r.torn+r.plis > 0 {
		t.Errorf("%d requests, %d key frames, %d lost, %d torn", p.plis-asked, r.keys-keys, r.lost, r.torn)
	}
}
