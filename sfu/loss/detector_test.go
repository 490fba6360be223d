package loss

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var start = time.Unix(1_700_000_000, 0)

const first = uint64(1) << 32

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

func receive(d *Detector, ms int, ns ...uint64) {
	for _, n := range ns {
		d.Received(at(ms), first+n)
	}
}

func TestDetector_toleratesReordering(t *testing.T) {
	var d Detector
	receive(&d, 0, 1, 2, 4, 5, 3, 6)
	if got := d.Missing(at(500), 0, nil); len(got) != 0 {
		t.Fatalf("asked for %v although nothing is missing", got)
	}
	if !d.Next().IsZero() {
		t.Fatal("a deadline without a hole")
	}
}

func TestDetector_asksAfterThreeNewerPackets(t *testing.T) {
	var d Detector
	receive(&d, 0, 1, 3, 4)
	if got := d.Missing(at(0), 0, nil); len(got) != 0 {
		t.Fatalf("asked for %v after two newer packets", got)
	}
	receive(&d, 0, 5)
	if got := d.Missing(at(0), 0, nil); !slices.Equal(got, []uint16{2}) {
		t.Fatalf("got %v, want 2", got)
	}
}

func TestDetector_asksAfterDelayWhenTheStreamPauses(t *testing.T) {
	var d Detector
	receive(&d, 0, 1, 3)
	if want := at(10); !d.Next().Equal(want) {
		t.Fatalf("next %v, want %v", d.Next(), want)
	}
	if got := d.Missing(d.Next(), 0, nil); !slices.Equal(got, []uint16{2}) {
		t.Fatalf("got %v, want 2", got)
	}
}

func TestDetector_retriesByRoundTripAndGivesUp(t *testing.T) {
	var d Detector
	receive(&d, 0, 1, 3)
	var asked []time.Time
	for !d.Next().IsZero() {
		now := d.Next()
		if got := d.Missing(now, 100*time.Millisecond, nil); len(got) > 0 {
			asked = append(asked, now)
		}
	}
	if len(asked) < 5 || len(asked) > MaxTries {
		t.Fatalf("asked %d times", len(asked))
	}
	for i := 1; i < len(asked); i++ {
		if gap := asked[i].Sub(asked[i-1]); gap < 100*time.Millisecond {
			t.Fatalf("retry after %v, less than a round trip", gap)
		}
	}
	if d.GivenUp() != 1 {
		t.Fatalf("given up %d, want 1", d.GivenUp())
	}
}

func TestDetector_forgetsBeforeKeyFrame(t *testing.T) {
	var d Detector
	receive(&d, 0, 1, 3, 10, 12)
	d.KeyFrame(first + 10)
	if got := d.Missing(at(20), 0, nil); !slices.Equal(got, []uint16{11}) {
		t.Fatalf("got %v, want 11", got)
	}
}

func TestDetector_jumpIsNoStorm(t *testing.T) {
	for _, jump := range []uint64{MaxHoles + 1, 1 << 14, 1 << 15, 1 << 20} {
		var d Detector
		receive(&d, 0, 1, 1+jump)
		if got := d.Missing(at(20), 0, nil); len(got) != 0 {
			t.Fatalf("jump of %d: asked for %d", jump, len(got))
		}
	}
}

func TestDetector_asksAcrossTheWrap(t *testing.T) {
	var d Detector
	receive(&d, 0, 65534, 65537)
	if got := d.Missing(at(10), 0, nil); !slices.Equal(got, []uint16{65535, 0}) {
		t.Fatalf("got %v", got)
	}
}

// However packets arrive, no more than WindowIDs numbers are asked for in any Window.
func TestDetector_boundedUnderFlood(t *testing.T) {
	for seed := range uint64(5) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var d Detector
		var asks []time.Time
		ext := first
		for ms := range 2000 {
			ext += rng.Uint64N(200)
			d.Received(at(ms), ext-rng.Uint64N(100))
			for range d.Missing(at(ms), time.Duration(rng.IntN(200))*time.Millisecond, nil) {
				asks = append(asks, at(ms))
			}
			if len(d.holes) > MaxHoles {
				t.Fatalf("seed %d: %d holes", seed, len(d.holes))
			}
		}
		for i := WindowIDs * 2; i < len(asks); i++ {
			// A window starts with its first number, so any Window overlaps at most two of them.
			if asks[i].Sub(asks[i-WindowIDs*2]) < Window {
				t.Fatalf("seed %d: more than %d numbers in %v", seed, 2*WindowIDs, Window)
			}
		}
	}
}

func TestDetector_steadyStateDoesNotAllocate(t *testing.T) {
	var d Detector
	dst := make([]uint16, 0, WindowIDs)
	ext, now := first, start
	step := func() {
		ext += 2
		now = now.Add(5 * time.Millisecond)
		d.Received(now, ext)
		dst = d.Missing(now, 50*time.Millisecond, dst[:0])
	}
	for range 1000 {
		step()
	}
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
