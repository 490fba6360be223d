package pace

import (
	"testing"

	"sotto/sfu/unit"
)

func TestPacer_dropEndsAStreamAtAFrame(t *testing.T) {
	p := New(start, 100*unit.Kbps)
	var ext, other uint64 = 0, 1000
	for _, it := range frame(0, 2, 0, 6, &ext) {
		p.Push(it)
	}
	for _, it := range frame(1, 0, 0, 2, &other) {
		p.Push(it)
	}
	for _, it := range frame(0, 2, 0, 4, &ext) {
		p.Push(it)
	}
	begun := len(drain(&p, start)) // of the first frame
	if begun == 0 || begun >= 6 {
		t.Fatalf("%d packets left at once, the test needs a frame that has begun", begun)
	}
	if got := p.Drop(0); got != 4 {
		t.Errorf("%d packets dropped, want those of the frame that has not begun", got)
	}
	if got := p.Len(); got != 6-begun+2 {
		t.Errorf("%d packets are left, want the rest of the frame that has begun and the other stream's", got)
	}
	ext = 2000
	for _, it := range frame(0, 0, 0, 1, &ext) {
		if !p.Push(it) {
			t.Error("the next layer's frame was refused")
		}
	}
	seen := map[uint16]int{}
	for ms := 0.0; p.Len() > 0 && ms < 60_000; ms += 5 {
		for _, it := range drain(&p, at(ms)) {
			seen[it.Slot]++
		}
	}
	if seen[0] != 6-begun+1 || seen[1] != 2 {
		t.Errorf("packets by stream %v", seen)
	}
	if p.Delay() != 0 {
		t.Errorf("an empty queue delays %v", p.Delay())
	}
}
