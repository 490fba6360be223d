package pace

import (
	"testing"
	"time"

	"sotto/sfu/packet"
	"sotto/sfu/unit"
)

var start = time.Unix(1_700_000_000, 0)

func at(ms float64) time.Time { return start.Add(time.Duration(ms * float64(time.Millisecond))) }

// frame returns the items of one frame of n packets of 1,000 bytes.
func frame(slot uint16, rung int8, tid uint8, n int, ext *uint64) (items []Item) {
	for i := range n {
		*ext++
		p := &packet.Packet{ExtSeq: *ext, Layer: rung, TID: tid, Start: i == 0, End: i == n-1}
		items = append(items, NewItem(packet.Outgoing{Packet: p, Ext: *ext, Seq: uint16(*ext)}, slot, 1000))
	}
	return items
}

func drain(p *Pacer, now time.Time) (out []Item) {
	for {
		it, ok := p.Pop(now)
		if !ok {
			return out
		}
		out = append(out, it)
	}
}

func TestPacer_withinBudgetNothingWaits(t *testing.T) {
	p := New(start, 3*unit.Mbps)
	var ext uint64
	for n := range 300 { // 10 s of 1.5 Mbit/s
		now := at(float64(n) * 1000 / 30)
		for _, it := range frame(0, 2, 0, 6, &ext) {
			p.Push(it)
			if got := drain(&p, now); len(got) != 1 || got[0].Seq != it.Seq || got[0].Held {
				t.Fatalf("frame %d: packet did not go straight through", n)
			}
		}
	}
}

func TestPacer_spreadsAKeyFrameInSlices(t *testing.T) {
	p := New(start, unit.Mbps)
	var ext uint64
	for _, it := range frame(0, 2, 0, 60, &ext) {
		p.Push(it)
	}
	now, sent, slices := start, 0, 0
	for p.Len() > 0 {
		list := drain(&p, now)
		got := len(list)
		for _, it := range list {
			if it.Held != (slices > 0) {
				t.Fatalf("slice %d: held %v", slices, it.Held)
			}
		}
		if slices > 0 {
			if got == 0 {
				t.Fatalf("woken at %v for nothing", now.Sub(start))
			}
			if max := unit.Mbps.Bytes(Slice)/1000 + 2; got > max {
				t.Fatalf("slice of %d packets", got)
			}
		}
		sent, slices = sent+got, slices+1
		if p.Len() > 0 {
			if !p.Next().After(now) {
				t.Fatal("deadline in the past")
			}
			now = p.Next()
		}
	}
	// 60 kB at 1 Mbit/s take 480 ms, less the burst.
	if took := now.Sub(start); sent != 60 || took < 390*time.Millisecond || took > 410*time.Millisecond {
		t.Fatalf("%d packets in %v", sent, took)
	}
}

func TestPacer_bypassIsCounted(t *testing.T) {
	p := New(start, unit.Mbps)
	p.Bypass(start, 1_000_000)
	var ext uint64
	p.Push(frame(0, 0, 0, 1, &ext)[0])
	if got := drain(&p, start); len(got) != 0 {
		t.Fatal("video although audio used the budget")
	}
	if wait := p.Next().Sub(start); wait > 100*time.Millisecond {
		t.Fatalf("video waits %v: the debt must be bounded", wait)
	}
	if got := drain(&p, p.Next()); len(got) != 1 {
		t.Fatal("not sent at its deadline")
	}
}

func TestPacer_knowsOverwrittenPackets(t *testing.T) {
	p := New(start, unit.Mbps)
	var ext uint64
	it := frame(0, 0, 0, 1, &ext)[0]
	p.Push(it)
	it.Packet.ExtSeq += 512
	got, ok := p.Pop(start)
	if !ok || !got.Stale() {
		t.Fatal("an overwritten packet looks fresh")
	}
}

func TestPacer_boundedQueue(t *testing.T) {
	p := New(start, unit.Mbps)
	var ext uint64
	items := frame(0, 0, 0, MaxQueue+1, &ext)
	for i, it := range items {
		if ok := p.Push(it); ok != (i < MaxQueue) {
			t.Fatalf("push %d: %v", i, ok)
		}
	}
}

// complete checks that every frame in items that begins also ends, and that none lacks its beginning.
func complete(t *testing.T, items []Item) {
	t.Helper()
	open := map[uint16]bool{}
	for _, it := range items {
		if it.Start == open[it.Slot] {
			t.Fatalf("slot %d: frame torn at %d", it.Slot, it.Seq)
		}
		open[it.Slot] = !it.Packet.End
	}
}

func TestPacer_shedsHighestLayerByWholeFrames(t *testing.T) {
	p := New(start, 500*unit.Kbps)
	var ext uint64
	var out []Item
	shed := 0
	for n := range 60 { // far more than the budget
		now := at(float64(n) * 33)
		low, high := frame(0, 0, 0, 1, &ext), frame(1, 2, uint8(n%2), 10, &ext)
		for _, it := range append(low, high...) {
			p.Push(it)
			out = append(out, drain(&p, now)...)
			for p.Overfull() {
				s := p.Shed()
				if s.Packets == 0 {
					break
				}
				if s.Slot != 1 {
					t.Fatal("shed the low layer")
				}
				shed += s.Packets
			}
		}
	}
	for p.Len() > 0 {
		out = append(out, drain(&p, p.Next())...)
		if p.Len() == 0 {
			break
		}
	}
	if shed == 0 {
		t.Fatal("nothing shed")
	}
	lows := 0
	for _, it := range out {
		if it.Slot == 0 {
			lows++
		}
	}
	if lows != 60 {
		t.Fatalf("%d of 60 low frames", lows)
	}
	complete(t, out)
}

func TestPacer_afterABrokenChainOnlyAKeyFrame(t *testing.T) {
	p := New(start, 100*unit.Kbps)
	var ext uint64
	for range 3 {
		for _, it := range frame(0, 1, 0, 10, &ext) {
			p.Push(it)
		}
	}
	if s := p.Shed(); !s.Broke || s.Packets != 30 {
		t.Fatalf("%+v", s)
	}
	if p.Push(frame(0, 1, 0, 1, &ext)[0]) {
		t.Fatal("a delta frame after the chain broke")
	}
	key := frame(0, 1, 0, 1, &ext)[0]
	key.Key = true
	if !p.Push(key) || !p.Push(frame(0, 1, 0, 1, &ext)[0]) {
		t.Fatal("refused after the key frame")
	}
}

func TestPacer_steadyStateDoesNotAllocate(t *testing.T) {
	p := New(start, unit.Mbps)
	var ext uint64
	items := frame(0, 0, 0, 8, &ext)
	now := start
	step := func() {
		now = now.Add(10 * time.Millisecond)
		for _, it := range items {
			p.Push(it)
		}
		for p.Len() > 0 {
			if _, ok := p.Pop(now); !ok {
				now = p.Next()
			}
		}
	}
	step()
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
