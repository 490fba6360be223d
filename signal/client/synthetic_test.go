package client

import (
	"slices"
	"testing"
	"time"
)

func TestSynthetic_roundTrip(t *testing.T) {
	now := time.Unix(1_700_000_000, 123_456_789)
	for _, size := range []int{0, syntheticHeader + 2, syntheticHeader + 3, 6250} {
		for _, refs := range [][]uint64{nil, {41}, {38, 41}} {
			sent := syntheticFrame{sent: now, number: 42, layer: 2, refs: refs}
			b := sent.append(nil, size)
			if len(b) != max(size, syntheticHeader+len(refs)) {
				t.Errorf("%d bytes for %d", len(b), size)
			}
			f, ok := parseSynthetic(b, nil)
			if !ok || !f.sent.Equal(now) || f.number != 42 || f.layer != 2 || !slices.Equal(f.refs, refs) {
				t.Errorf("size %d: %+v, %v", size, f, ok)
			}
			b[len(b)/2] ^= 1
			if g, ok := parseSynthetic(b, nil); ok && g.sent.Equal(f.sent) && g.number == f.number {
				t.Errorf("size %d: a changed frame reads the same", size)
			}
		}
	}
}

func FuzzParseSynthetic(f *testing.F) {
	f.Add((&syntheticFrame{sent: time.Unix(1, 2), number: 3}).append(nil, 100))
	f.Add((&syntheticFrame{sent: time.Unix(1, 2), number: 9, layer: 1, refs: []uint64{8, 5}}).append(nil, 100))
	f.Add([]byte(nil))
	f.Add([]byte{0, 's', 'o'})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := parseSynthetic(b, nil)
		if !ok {
			return
		}
		again, ok := parseSynthetic(got.append(nil, len(b)), nil)
		if !ok || !again.sent.Equal(got.sent) || again.number != got.number || again.layer != got.layer || !slices.Equal(again.refs, got.refs) {
			t.Fatalf("%+v became %+v", got, again)
		}
	})
}

func TestSyntheticDecoder_knowsWhatIsMissing(t *testing.T) {
	for _, between := range []bool{false, true} {
		e := encoder{layers: 3, tiers: true, between: between}
		var whole, gap syntheticDecoder
		lost := 0
		for picture := range 12 {
			tid := e.begin(picture == 0)
			for sid := range uint8(3) {
				f, refs := e.next(sid, tid, nil)
				frame := syntheticFrame{number: f.number, refs: refs}
				if err := whole.feed(&frame); err != nil {
					t.Fatalf("picture %d, layer %d: %v", picture, sid, err)
				}
				if picture == 4 && sid == 0 { // T0
					continue
				}
				if gap.feed(&frame) != nil {
					lost++
				}
			}
		}
		// All later frames of the layer, and with references between layers all of the pictures.
		if want := map[bool]int{false: 7, true: 3*8 - 1}[between]; lost != want {
			t.Errorf("between %v: %d frames could not be decoded, want %d", between, lost, want)
		}
	}
}
