package seq

import (
	"math/rand/v2"
	"testing"
)

func TestUnwrapper(t *testing.T) {
	for _, test := range []struct {
		name string
		in   []uint16
		want []uint64 // relative to 1<<32
	}{
		{"in order", []uint16{7, 8, 9}, []uint64{7, 8, 9}},
		{"over the wrap", []uint16{65534, 65535, 0, 1}, []uint64{65534, 65535, 65536, 65537}},
		{"late over the wrap", []uint16{65535, 1, 0, 65534, 2}, []uint64{65535, 65537, 65536, 65534, 65538}},
		{"a late one does not move the reference", []uint16{40000, 10000, 60000}, []uint64{40000, 10000, 60000}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var u Unwrapper
			for i, n := range test.in {
				if got := u.Unwrap(n); got != 1<<32+test.want[i] {
					t.Errorf("Unwrap(%d) = 1<<32 + %d, want %d", n, int64(got)-1<<32, test.want[i])
				}
			}
		})
	}
}

func TestUnwrapper_backwardsBeforeTheFirst(t *testing.T) {
	var u Unwrapper
	first := u.Unwrap(3)
	if got := u.Unwrap(65535); got != first-4 {
		t.Errorf("65535 after 3 is %d below it, want 4", first-got)
	}
}

func TestWindow_agreesWithASet(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var w Window
		seen := map[uint64]bool{}
		top := uint64(0)
		at := uint64(1<<32) + rng.Uint64N(1000)
		for range 3000 {
			switch rng.IntN(20) {
			case 0:
				at += rng.Uint64N(300)
			case 1:
				at += rng.Uint64N(3 * WindowSize)
			default:
				at++
			}
			ext := at - rng.Uint64N(WindowSize+200)*uint64(rng.IntN(2))
			top = max(top, ext)
			old := top-ext >= WindowSize
			if got, want := w.Add(ext), !old && !seen[ext]; got != want {
				t.Fatalf("Add(top-%d) = %v, want %v", top-ext, got, want)
			}
			seen[ext] = true
		}
	}
}

func TestWindow_refusesZero(t *testing.T) {
	var w Window
	if w.Add(0) {
		t.Error("0 is no extended number")
	}
}

func FuzzWindow(f *testing.F) {
	f.Add([]byte{1, 2, 2, 0, 250, 7})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var w Window
		seen := map[uint64]bool{}
		at := uint64(1 << 32)
		for _, s := range steps {
			at += uint64(int64(int8(s)) * 9)
			if w.Add(at) {
				if seen[at] {
					t.Fatalf("%d is fresh twice", at)
				}
				seen[at] = true
			}
		}
	})
}

func TestNoAllocation(t *testing.T) {
	var u Unwrapper
	var w Window
	n := uint16(0)
	if a := testing.AllocsPerRun(1000, func() { n++; w.Add(u.Unwrap(n)) }); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

func BenchmarkUnwrapAdd(b *testing.B) {
	var u Unwrapper
	var w Window
	b.ReportAllocs()
	for i := range b.N {
		w.Add(u.Unwrap(uint16(i)))
	}
}
