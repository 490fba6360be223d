package layer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"sotto/sfu/unit"
)

const kbps = unit.Kbps

// camera is a source with the usual three layers.
func camera(priority uint8, want uint16, current int8) Source {
	return Source{Priority: priority, Want: want, Current: current, Steps: [MaxSteps]Step{{Rate: 150 * kbps, Height: 180}, {Rate: 500 * kbps, Height: 360}, {Rate: 1700 * kbps, Height: 720}}}
}

func budget(rate unit.Bitrate) Budget { return Budget{Keep: rate, Change: rate} }

func TestAllocate(t *testing.T) {
	withoutMiddle := camera(1, 720, Paused)
	withoutMiddle.Steps[1] = Step{}
	still := camera(1, 720, 0) // layers cost the same for a while
	still.Steps[1].Rate = still.Steps[0].Rate
	onlyTop := Source{Want: 180, Current: Paused, Steps: [MaxSteps]Step{2: {Rate: 900 * kbps}}}
	for _, test := range []struct {
		name string
		b    Budget
		src  []Source
		want []int8
	}{
		{"nothing", budget(kbps), nil, []int8{}},
		{"all that is wanted fits", budget(5000 * kbps), []Source{camera(1, 720, 0), camera(1, 360, 0), camera(1, 180, 0)}, []int8{2, 1, 0}},
		{"the layer covers the wanted height", budget(5000 * kbps), []Source{camera(1, 200, 0), camera(1, 361, 0), camera(1, 2160, 0)}, []int8{1, 2, 2}},
		{"height 0 is the lowest layer", budget(5000 * kbps), []Source{camera(1, 0, 2)}, []int8{0}},
		{"everybody before anybody more", budget(460 * kbps), []Source{camera(9, 720, 2), camera(1, 720, Paused), camera(1, 720, Paused)}, []int8{0, 0, 0}},
		{"upgrades by priority", budget(2000 * kbps), []Source{camera(1, 720, 0), camera(9, 720, 0), camera(1, 720, 0)}, []int8{0, 2, 0}},
		{"equals rise together", budget(1300 * kbps), []Source{camera(1, 720, 0), camera(1, 720, 0)}, []int8{1, 1}},
		{"what does not fit leaves room for others", budget(1200 * kbps), []Source{camera(9, 720, 0), camera(1, 360, 0)}, []int8{1, 1}},
		{"no room for all: by priority", budget(200 * kbps), []Source{camera(1, 180, 0), camera(2, 180, 0)}, []int8{Paused, 0}},
		{"kept on the estimate", Budget{Keep: 600 * kbps, Change: 100 * kbps}, []Source{camera(1, 720, 1)}, []int8{1}},
		{"not raised on the estimate", Budget{Keep: 3000 * kbps, Change: 600 * kbps}, []Source{camera(1, 720, 0)}, []int8{1}},
		{"down at once", budget(499 * kbps), []Source{camera(1, 720, 2)}, []int8{0}},
		{"a layer that is not sent", budget(5000 * kbps), []Source{withoutMiddle}, []int8{2}},
		{"the only layer, of unknown height", budget(5000 * kbps), []Source{onlyTop}, []int8{2}},
		{"a source that sends nothing", budget(5000 * kbps), []Source{{Want: 720, Current: 0}}, []int8{Paused}},
		{"a step that costs nothing", budget(5000 * kbps), []Source{still}, []int8{2}},
		{"no budget", Budget{}, []Source{camera(1, 720, 2)}, []int8{Paused}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dst := make([]int8, len(test.src))
			spent := Allocate(test.b, test.src, dst)
			if !slices.Equal(dst, test.want) {
				t.Errorf("rungs %v, want %v", dst, test.want)
			}
			if got := cost(test.src, dst); got != spent || spent > test.b.Keep {
				t.Errorf("spent %d, rungs cost %d, may keep %d", spent, got, test.b.Keep)
			}
		})
	}
}

// TestAllocate_fewerFrames: who is short of bandwidth loses frames before the picture, and a screen before its lines.
func TestAllocate_fewerFrames(t *testing.T) {
	face := func(priority uint8, want uint16, current int8) Source {
		return Source{Priority: priority, Want: want, Current: current, Base: 2, Steps: [MaxSteps]Step{
			{Rate: 60 * kbps, Short: true}, {Rate: 90 * kbps, Short: true}, {Rate: 150 * kbps, Height: 180},
			{Rate: 500 * kbps, Height: 360}, {Rate: 1700 * kbps, Height: 720},
		}}
	}
	screen := func(current int8) Source {
		return Source{Priority: 9, Want: 1080, Current: current, Steps: [MaxSteps]Step{
			{Rate: 800 * kbps, Short: true}, {Rate: 1200 * kbps, Short: true}, {Rate: 2000 * kbps, Height: 1080},
		}}
	}
	for _, test := range []struct {
		name string
		b    Budget
		src  []Source
		want []int8
	}{
		{"all frames of the lowest layer are enough for a small tile", budget(5000 * kbps), []Source{face(1, 0, Paused), face(1, 180, Paused)}, []int8{2, 2}},
		{"a picture with fewer frames instead of none", budget(70 * kbps), []Source{face(1, 720, 2)}, []int8{0}},
		{"everybody's picture before anybody's frames", budget(200 * kbps), []Source{face(9, 720, 2), face(1, 720, 2), face(1, 720, 2)}, []int8{0, 0, 0}},
		{"everybody's frames before anybody's lines", budget(550 * kbps), []Source{face(9, 720, 3), face(1, 180, 2)}, []int8{2, 2}},
		{"a screen keeps its lines", budget(1300 * kbps), []Source{screen(2)}, []int8{1}},
		{"a screen beside faces", budget(1000 * kbps), []Source{face(1, 360, 3), screen(2)}, []int8{2, 0}},
		{"a face starts with all its frames", Budget{Keep: 300 * kbps}, []Source{face(1, 720, Paused)}, []int8{2}},
		{"frames of a screen are raised on a proven rate alone", Budget{Keep: 3000 * kbps, Change: 1300 * kbps}, []Source{screen(0)}, []int8{1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dst := make([]int8, len(test.src))
			if Allocate(test.b, test.src, dst); !slices.Equal(dst, test.want) {
				t.Errorf("steps %v, want %v", dst, test.want)
			}
		})
	}
}

func cost(src []Source, rungs []int8) (sum unit.Bitrate) {
	for i, r := range rungs {
		if r != Paused {
			sum += src[i].Steps[r].Rate
		}
	}
	return sum
}

func randomSources(rng *rand.Rand) []Source {
	src := make([]Source, []int{1 + rng.IntN(30), 25, 100}[rng.IntN(20)/9])
	for i := range src {
		src[i] = Source{
			Priority: uint8(rng.IntN(4)), Want: uint16(rng.IntN(5) * 180), Current: int8(rng.IntN(MaxSteps+1)) - 1, Base: int8(rng.IntN(3)),
		}
		rate := unit.Bitrate(0)
		for r := range MaxSteps {
			if r == 0 || rng.IntN(5) > 0 { // else it costs what the one below does
				rate += unit.Bitrate(1 + rng.IntN(1_000_000))
			}
			if rng.IntN(5) > 0 {
				src[i].Steps[r] = Step{rate, uint16(180 << r), rng.IntN(3) == 0}
			}
		}
	}
	return src
}

// checkAllocation checks what must hold for any input.
func checkAllocation(b, more Budget, src []Source) error {
	n := len(src)
	first, again, richer := make([]int8, n), make([]int8, n), make([]int8, n)
	for i := range again {
		again[i] = 2 // what dst held before does not matter
	}
	spent := Allocate(b, src, first)
	if Allocate(b, src, again) != spent || !slices.Equal(first, again) {
		return fmt.Errorf("equal input, other output: %v, %v", first, again)
	}
	if spent > max(0, b.Keep) || cost(src, first) != spent {
		return fmt.Errorf("spent %d of %d, rungs cost %d", spent, b.Keep, cost(src, first))
	}
	for i, r := range first {
		if r != Paused && src[i].Steps[r].Rate <= 0 {
			return fmt.Errorf("source %d got rung %d, which is not sent", i, r)
		}
	}
	// With enough for all, everybody gets the first step that covers what it wants, or the highest.
	Allocate(budget(1<<50), src, richer)
	for i := range src {
		want := Paused
		for next, _, ok := src[i].Next(want); ok; next, _, ok = src[i].Next(want) {
			if want != Paused && src[i].covered(want) {
				break
			}
			want = next
		}
		if richer[i] != want {
			return fmt.Errorf("source %d gets %d of a path without limit, wants %d", i, richer[i], want)
		}
	}
	// Monotone: with a larger estimate more of it is spent, and nobody loses unless one that is served before, or equally, gains.
	if spentMore := Allocate(more, src, richer); spentMore < spent && (b.Keep == b.Change || b.Change == more.Change) {
		return fmt.Errorf("budget %v -> %v spends %d instead of %d", b, more, spentMore, spent)
	}
	for i := range src {
		if richer[i] >= first[i] {
			continue
		}
		if !slices.ContainsFunc(slices.Collect(indices(n)), func(k int) bool {
			return richer[k] > first[k] && (src[k].Priority >= src[i].Priority || first[k] < max(src[k].Base, 0))
		}) {
			return fmt.Errorf("budget %v -> %v takes source %d from %d to %d and gives nothing to one before it", b, more, i, first[i], richer[i])
		}
	}
	return nil
}

func indices(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

func TestAllocate_properties(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 20_000 {
		src := randomSources(rng)
		b := Budget{Keep: unit.Bitrate(rng.IntN(20_000_000)), Change: unit.Bitrate(rng.IntN(20_000_000))}
		more := Budget{Keep: b.Keep + unit.Bitrate(rng.IntN(3_000_000)), Change: b.Change + unit.Bitrate(rng.IntN(3_000_000))}
		switch rng.IntN(3) {
		case 0:
			more.Change = b.Change
		case 1: // all that is estimated is proven; some just fit
			b.Keep = Allocate(budget(b.Keep), src, make([]int8, len(src)))
			b, more = budget(b.Keep), budget(more.Keep)
		}
		if err := checkAllocation(b, more, src); err != nil {
			t.Fatal(err)
		}
	}
}

// The last bit counts.
func TestAllocate_takesWhatJustFits(t *testing.T) {
	src := []Source{camera(1, 720, 0), camera(1, 360, Paused)}
	for _, test := range []struct {
		rate unit.Bitrate
		want []int8
	}{{2200 * kbps, []int8{2, 1}}, {2200*kbps - 1, []int8{1, 1}}, {300 * kbps, []int8{0, 0}}, {300*kbps - 1, []int8{0, Paused}}, {150*kbps - 1, []int8{Paused, Paused}}} {
		dst := make([]int8, len(src))
		if Allocate(budget(test.rate), src, dst); !slices.Equal(dst, test.want) {
			t.Errorf("%d: rungs %v, want %v", test.rate, dst, test.want)
		}
	}
}

func TestAllocate_growsWithTheBudgetForOneSource(t *testing.T) {
	last := Paused
	for rate := unit.Bitrate(0); rate < 3000*kbps; rate += 10 * kbps {
		dst := []int8{0}
		Allocate(budget(rate), []Source{camera(1, 720, Paused)}, dst)
		if dst[0] < last {
			t.Fatalf("at %d the rung falls from %d to %d", rate, last, dst[0])
		}
		last = dst[0]
	}
	if last != 2 {
		t.Errorf("ends at rung %d", last)
	}
}

func FuzzAllocate(f *testing.F) {
	f.Add(uint64(1), int64(1_000_000), int64(500_000), int64(100_000))
	f.Add(uint64(2), int64(-5), int64(1<<40), int64(0))
	f.Fuzz(func(t *testing.T, seed uint64, keep, change, more int64) {
		const limit = 1 << 50
		if keep > limit || change > limit || keep < -limit || change < -limit {
			return
		}
		extra := unit.Bitrate(max(0, min(more, limit)))
		b := Budget{unit.Bitrate(keep), unit.Bitrate(change)}
		if err := checkAllocation(b, Budget{b.Keep + extra, b.Change + extra}, randomSources(rand.New(rand.NewPCG(seed, 1)))); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAllocate_noAllocation(t *testing.T) {
	src := slices.Repeat([]Source{camera(1, 720, 0), camera(2, 360, 1)}, 50)
	dst := make([]int8, len(src))
	if a := testing.AllocsPerRun(100, func() { Allocate(budget(20_000*kbps), src, dst) }); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

func BenchmarkAllocate(b *testing.B) {
	for _, n := range []int{25, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			src := make([]Source, n)
			for i := range src {
				src[i] = camera(1, 360, int8(i%2))
			}
			src[3] = camera(3, 720, 1)
			dst := make([]int8, n)
			b.ReportAllocs()
			for range b.N {
				Allocate(budget(6000*kbps), src, dst)
			}
		})
	}
}
