package packet

import (
	"bytes"
	"testing"

	"github.com/pion/rtp"
)

// masked returns the descriptor of p as a subscriber gets it that is told of these targets.
func masked(tb testing.TB, p *Packet, targets uint32) []byte {
	tb.Helper()
	o := Outgoing{Packet: p, Frame: p.Frame, Targets: targets}
	var h, got rtp.Header
	dst := bytes.Repeat([]byte{0xee}, MaxPacket)
	total, _, err := o.Marshal(dst, &chromium, &h)
	if err != nil {
		tb.Fatal(err)
	}
	if size := o.Size(&chromium); size != total {
		tb.Errorf("wrote %d bytes, Size says %d", total, size)
	}
	if _, err := got.Unmarshal(dst[:total]); err != nil {
		tb.Fatal(err)
	}
	return got.GetExtension(chromium.DependencyDescriptor)
}

func TestMarshal_activeDecodeTargets(t *testing.T) {
	flags := func(id uint8, bits uint32) *bitWriter { return mandatory(true, false, id, 9).put(bits, 5) }
	// Own indications of three targets, differences (one of 8 bits, one of 4), one chain.
	custom := func(w *bitWriter) *bitWriter {
		return w.put(0b10_01_11, 6).put(2, 2).put(0xa5, 8).put(1, 2).put(6, 4).put(0, 2).put(0xc3, 8)
	}
	structure := l1t3(60, 9)
	whole := &bitWriter{data: bytes.Clone(structure)}
	whole.data[3] |= ddMaskFlag
	whole.n = structureBits
	long := mandatory(true, true, 60, 9).put(0b00100, 5).put(0b111111, 6)
	long.data = append(long.data, make([]byte, 200)...) // zero padding

	for _, test := range []struct {
		name     string
		in, want []byte
		targets  uint32
	}{
		{"mandatory fields alone", mandatory(true, false, 62, 9).data, flags(62, 0b01000).put(0b011, 3).data, 0b011},
		{"flags alone", flags(62, 0).data, flags(62, 0b01000).put(0b011, 3).data, 0b011},
		{"a mask", flags(62, 0b01000).put(0b111, 3).data, flags(62, 0b01000).put(0b001, 3).data, 0b001},
		{"custom fields", custom(flags(61, 0b00111)).data, custom(flags(61, 0b01111).put(0b011, 3)).data, 0b011},
		{"a mask and custom fields", custom(flags(61, 0b01111).put(0b111, 3)).data, custom(flags(61, 0b01111).put(0b010, 3)).data, 0b010},
		{"structure", structure, whole.put(0b001, 3).data, 0b001},
		{"zero padding", long.data, mandatory(true, true, 60, 9).put(0b01100, 5).put(0b100, 3).put(0b111111, 6).data, 0b100},
		{"nothing to say", flags(62, 0b01000).put(0b111, 3).data, flags(62, 0b01000).put(0b111, 3).data, 0},
		{"a template of another structure", mandatory(true, false, 20, 9).data, mandatory(true, false, 20, 9).data, 0b011},
	} {
		t.Run(test.name, func(t *testing.T) {
			var d Descriptor
			for ext, dd := range [][]byte{l1t3(60, 8), test.in} {
				p := incoming(t, AV1, uint64(ext+1), []byte{0x10, 0x32}, dd)
				if err := d.Read(p); err != nil {
					t.Fatal(err)
				}
				if ext == 0 {
					continue
				}
				if got := masked(t, p, test.targets); !bytes.Equal(got, test.want) {
					t.Errorf("\n%08b, want\n%08b", got, test.want)
				}
			}
		})
	}
	t.Run("before the structure", func(t *testing.T) {
		var d Descriptor
		p := incoming(t, AV1, 1, []byte{0x10, 0x32}, flags(1, 0b00100).put(7, 6).data)
		if err := d.Read(p); err != nil {
			t.Fatal(err)
		}
		if got := masked(t, p, 1); !bytes.Equal(got, p.Bytes(p.DD)) {
			t.Errorf("%x was changed to %x", p.Bytes(p.DD), got)
		}
	})
}

// structureBits is the length of l1t3: flags and mandatory fields, offset and count, layers, indications, differences, chains, resolution.
const structureBits = 29 + 11 + 2*5 + 2*15 + (1 + 6 + 6 + 6 + 6) + 2 + 4*5 + 1 + 32

// A descriptor that would become longer than an element of the two-byte form stays as it is.
func TestMarshal_activeDecodeTargetsOfALongDescriptor(t *testing.T) {
	for _, test := range []struct {
		diffs  int
		length int
	}{{0, 220}, {60, 253}} {
		w := mandatory(true, true, 0, 1).put(0b10000, 5).put(0, 6).put(32-1, 5)
		for range 24 { // 25 templates of one layer
			w.put(0, 2)
		}
		w.put(3, 2)
		for range 25 {
			w.put(0xaaaaaaaa, 32).put(0xaaaaaaaa, 32)
		}
		for i := range 25 {
			for range min(test.diffs-ddMaxFrameDiffs*i, ddMaxFrameDiffs) {
				w.put(0b10000, 5)
			}
			w.put(0, 1)
		}
		w.put(0, 5).put(0, 1) // no chains: ns(33), no resolutions
		p := incoming(t, AV1, 1, []byte{0x18, 0x0a}, w.data)
		var d, again Descriptor
		if err := d.Read(p); err != nil {
			t.Fatal(err)
		}
		got := masked(t, p, 0x8000_0001)
		if len(got) != test.length {
			t.Errorf("%d bytes became %d, want %d", len(w.data), len(got), test.length)
		}
		want := uint32(0x8000_0001)
		if test.diffs > 0 {
			want = 0xffff_ffff
		}
		if err := again.Read(incoming(t, AV1, 1, []byte{0x18, 0x0a}, got)); err != nil || again.dd.active != want {
			t.Errorf("%d bytes: %v, active %x, want %x", len(got), err, again.dd.active, want)
		}
	}
}

func TestDescriptor_targets(t *testing.T) {
	type limits struct{ sid, tid uint8 }
	all := limits{255, 255}
	fewer := mandatory(true, true, 1, 9).put(0b01000, 5).put(0b011, 3).data // S2 is no longer sent
	for _, test := range []struct {
		name      string
		structure []byte
		then      []byte // read after it, nil: nothing
		want      map[limits]uint32
	}{
		{"temporal layers", l1t3(0, 1), nil, map[limits]uint32{all: 0b111, {255, 2}: 0b111, {255, 1}: 0b011, {255, 0}: 0b001, {0, 1}: 0b011}},
		{"spatial layers of key pictures", l3t1Key(1), nil, map[limits]uint32{all: 0b100, {2, 0}: 0b100, {1, 255}: 0b010, {0, 255}: 0b001}},
		{"a layer is no longer sent", l3t1Key(1), fewer, map[limits]uint32{all: 0b010, {2, 0}: 0b010, {1, 0}: 0b010, {0, 0}: 0b001}},
		{"spatial and temporal layers", l2t2(1), nil, map[limits]uint32{all: 0b1111, {1, 0}: 0b0101, {0, 1}: 0b0011, {0, 0}: 0b0001}},
		{"none is active", l1t3(0, 1), mandatory(true, true, 1, 9).put(0b01000, 5).put(0, 3).data, map[limits]uint32{all: 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var d Descriptor
			first := incoming(t, AV1, 5, []byte{0x18, 0x0a}, test.structure)
			if err := d.Read(first); err != nil {
				t.Fatal(err)
			}
			p := first
			if test.then != nil {
				p = incoming(t, AV1, 6, []byte{0x10, 0x32}, test.then)
				if err := d.Read(p); err != nil {
					t.Fatal(err)
				}
			}
			for l, want := range test.want {
				if got := d.Targets(p, l.sid, l.tid); got != want {
					t.Errorf("S%dT%d: %04b, want %04b", l.sid, l.tid, got, want)
				}
			}
			if err := d.Read(incoming(t, AV1, 9, []byte{0x18, 0x0a}, test.structure)); err != nil {
				t.Fatal(err)
			}
			if got := d.Targets(p, 0, 0); got != 0 {
				t.Errorf("%04b for a packet from before the structure", got)
			}
		})
	}
}

func TestMarshal_activeDecodeTargetsDoNotAllocate(t *testing.T) {
	var d Descriptor
	key, delta := incoming(t, AV1, 1, []byte{0x18, 0x0a}, l3t1Key(1)), incoming(t, AV1, 2, []byte{0x10, 0x32}, mandatory(true, true, 1, 2).data)
	dst := make([]byte, MaxPacket)
	h := rtp.Header{Extensions: make([]rtp.Extension, 0, 4)}
	if a := testing.AllocsPerRun(1000, func() {
		for _, p := range []*Packet{key, delta} {
			if err := d.Read(p); err != nil {
				t.Fatal(err)
			}
			o := Outgoing{Packet: p, Targets: d.Targets(p, 1, 255)}
			if _, _, err := o.Marshal(dst, &chromium, &h); err != nil || o.Targets != 0b010 {
				t.Fatalf("targets %b: %v", o.Targets, err)
			}
		}
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

// l2t2 is the descriptor that starts a key picture of two spatial and two temporal layers, each of which refers to those below: templates
// S0T0 key, S0T0, S0T1, S1T0 key, S1T0, S1T1; targets S0T0, S0T1, S1T0, S1T1.
func l2t2(frame uint16) []byte {
	w := mandatory(true, false, 0, frame).put(0b10000, 5).put(0, 6).put(4-1, 5)
	for _, next := range []uint32{0, 1, 2, 0, 1, 3} {
		w.put(next, 2)
	}
	for _, dti := range []uint32{0b10101010, 0b10101010, 0b00100010, 0b1010, 0b1010, 0b0010} {
		w.put(dti, 8)
	}
	return w.put(0, 6).put(0, 3).put(0, 1).data // no differences, no chains: ns(5), no resolutions
}

// FuzzMarshal_activeDecodeTargets: whatever a descriptor says beside the mask, it says with another mask too.
func FuzzMarshal_activeDecodeTargets(f *testing.F) {
	f.Add(l1t3(0, 1), mandatory(true, true, 3, 2).data, uint32(3))
	f.Add(l1t3(9, 9), mandatory(true, false, 10, 9).put(0b00111, 5).put(0x2d, 6).put(2, 2).put(0xa5, 8).put(0, 2).put(0xc3, 8).data, uint32(1))
	f.Add(l3t1Key(1), mandatory(true, true, 1, 9).put(0b01100, 5).put(0b011, 3).put(0x15, 6).data, uint32(4))
	f.Add(l2t2(7), l3t1Key(8), uint32(0xffffffff))
	f.Fuzz(func(t *testing.T, first, second []byte, targets uint32) {
		if len(first) > ddMaxBytes || len(second) > ddMaxBytes || targets == 0 {
			return
		}
		var d Descriptor
		for i, dd := range [][]byte{first, second} {
			if len(dd) < ddMandatoryBytes {
				continue
			}
			again := d
			p := incoming(t, AV1, uint64(i+1), []byte{0x18, 0x0a}, dd)
			if d.Read(p) != nil {
				continue
			}
			got := masked(t, p, targets)
			if p.mask.count == 0 {
				if !bytes.Equal(got, dd) {
					t.Fatalf("%x became %x", dd, got)
				}
				continue
			}
			q := incoming(t, AV1, uint64(i+1), []byte{0x18, 0x0a}, got)
			if err := again.Read(q); err != nil {
				t.Fatalf("%x became %x: %v", dd, got, err)
			}
			if factsOf(p) != factsOf(q) {
				t.Fatalf("%x: %+v became %x: %+v", dd, factsOf(p), got, factsOf(q))
			}
			if want := targets & uint32(1<<p.mask.count-1); again.dd.active != want || !q.mask.present {
				t.Fatalf("%x became %x: active %b, want %b", dd, got, again.dd.active, want)
			}
			if !bytes.Equal(bits(got, 0, p.mask.at), maskFlagged(bits(dd, 0, p.mask.at))) {
				t.Fatalf("%x became %x: other fields before the mask", dd, got)
			}
			rest := p.mask.at
			if p.mask.present {
				rest += uint16(p.mask.count)
			}
			if !bytes.Equal(bits(got, q.mask.at+uint16(q.mask.count), q.mask.end), bits(dd, rest, p.mask.end)) {
				t.Fatalf("%x became %x: other fields after the mask", dd, got)
			}
		}
	})
}

// bits returns the bits from one place of b to another, a byte for each; those that a short descriptor leaves out are 0.
func bits(b []byte, from, to uint16) (list []byte) {
	r := bitReader{data: b, at: int(from)}
	for range to - from {
		list = append(list, byte(r.bits(1)))
	}
	return list
}

func maskFlagged(list []byte) []byte {
	list[8*ddMandatoryBytes+1] = 1
	return list
}

func BenchmarkMarshal_activeDecodeTargets(b *testing.B) {
	for name, dd := range map[string][]byte{"dd": mandatory(true, true, 3, 2).data, "key with structure": l1t3(0, 1)} {
		b.Run(name, func(b *testing.B) {
			var d Descriptor
			var p *Packet
			for _, dd := range [][]byte{l1t3(0, 1), dd} {
				p = incoming(b, AV1, 1<<32+9, append([]byte{0x10, 0x32}, make([]byte, 1080)...), dd)
				if err := d.Read(p); err != nil {
					b.Fatal(err)
				}
			}
			o := outgoing(p)
			o.Targets = 1
			dst := make([]byte, MaxPacket)
			var h rtp.Header
			b.ReportAllocs()
			for range b.N {
				if _, _, err := o.Marshal(dst, &chromium, &h); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
