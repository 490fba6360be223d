package room

import (
	"testing"
	"time"
)

// What a publisher's path has lost for good is not waited for: the room asks for a key frame before its subscribers do, once. What can
// be repaired is.
func TestRoom_asksForAKeyFrameAfterAHole(t *testing.T) {
	for _, test := range []struct {
		outage time.Duration
		asked  int
	}{{300 * time.Millisecond, 0}, {1300 * time.Millisecond, 1}, {1400 * time.Millisecond, 1}} {
		w, p, s := call(t, 97)
		p.loss = 1
		w.run(test.outage)
		p.loss = 0
		asked, plis, at := p.plis, s.recv[0].plis, w.now
		w.run(2 * time.Second)
		back := time.Duration(-1)
		for _, f := range s.recv[0].frames {
			if f.at.After(at) {
				back = f.at.Sub(at)
				break
			}
		}
		if back < 0 || back > 400*time.Millisecond {
			t.Errorf("outage of %v: a picture after %v", test.outage, back)
		}
		if got := p.plis - asked; got != test.asked || s.recv[0].plis > plis {
			t.Errorf("outage of %v: the publisher was asked for %d key frames, want %d; subscribers asked for %d", test.outage, got, test.asked, s.recv[0].plis-plis)
		}
	}
}
