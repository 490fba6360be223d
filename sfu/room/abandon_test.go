package room

import (
	"testing"
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/layer"
)

// Where the path carries much less than is sent, the old layer ends at once, what was sent of it is not repaired, and the
// picture goes on with the key frame of the lower one.
func TestRoom_abandonsALayerThatDoesNotFit(t *testing.T) {
	w, _, s := call(t, 95)
	p := w.room.find(2)
	slot := p.slots[0]
	newest := slot.sw.Newest()
	w.room.abandon(w.now, slot)
	if slot.sw.Current() != layer.Paused {
		t.Fatal("still forwarded")
	}
	refused := w.room.Stats().RTXRefused
	w.rtcp(2, 0, &rtcp.TransportLayerNack{MediaSSRC: slot.SSRC, Nacks: []rtcp.NackPair{{PacketID: newest}}})
	w.run(5 * time.Millisecond)
	if got := w.room.Stats().RTXRefused; got != refused+1 {
		t.Errorf("%d requests refused, want 1", got-refused)
	}
	at := w.now
	w.room.target(w.now, slot, point{0, layer.AllLayers}, &w.batch)
	w.flush()
	w.run(time.Second)
	for _, f := range s.recv[0].frames {
		if f.at.After(at) {
			if gap := f.at.Sub(at); gap > 150*time.Millisecond {
				t.Errorf("picture after %v", gap)
			}
			break
		}
	}
	if s.recv[0].lost > 0 {
		t.Errorf("%d lost", s.recv[0].lost)
	}
}
