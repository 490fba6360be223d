package packet

import (
	"errors"
	"slices"
	"testing"
)

// incoming returns a packet of a codec as Parse and the room leave it to Descriptor.Read.
func incoming(tb testing.TB, codec Codec, ext uint64, payload []byte, dd []byte) *Packet {
	tb.Helper()
	var elements []element
	if dd != nil {
		elements = append(elements, element{chromium.DependencyDescriptor, dd})
	}
	p := new(Packet)
	if err := Parse(build(tb, payload, 0, elements...), &chromium, arrival, p); err != nil {
		tb.Fatal(err)
	}
	p.Codec, p.ExtSeq = codec, ext
	return p
}

// facts are what Read is to find out.
type facts struct {
	TID, SwitchTID, SID uint8
	Frame               uint16
	Start, End, Key     bool
	PictureID, TL0      uint16
}

func factsOf(p *Packet) facts {
	return facts{p.TID, p.SwitchTID, p.SID, p.Frame, p.Start, p.End, p.Key, p.PictureID, p.TL0}
}

func TestDescriptor_payload(t *testing.T) {
	for _, test := range []struct {
		name    string
		codec   Codec
		payload []byte
		want    facts // End comes from the marker bit, which is set
	}{
		{"vp8, short form, key", VP8, []byte{0x10, 0x50}, facts{Start: true, End: true, Key: true}},
		{"vp8, short form, delta", VP8, []byte{0x10, 0x51}, facts{Start: true, End: true}},
		{"vp8, middle of a key frame", VP8, []byte{0x00, 0x50}, facts{End: true}},
		{"vp8, second partition", VP8, []byte{0x11, 0x50}, facts{End: true}},
		{"vp8, 7-bit picture id", VP8, []byte{0x90, 0x80, 0x7f, 1}, facts{Start: true, End: true, PictureID: 127}},
		{"vp8, as Firefox", VP8, []byte{0x90, 0xf0, 0x92, 0x34, 200, 0x60, 1}, facts{TID: 1, SwitchTID: 1, Start: true, End: true, PictureID: 0x1234, TL0: 200}},
		{"vp8, key index only", VP8, []byte{0x90, 0x10, 0xff, 0}, facts{Start: true, End: true, Key: true}},
		{"vp9, key", VP9, []byte{0xac, 0x81, 0x02, 0x10, 9, 1}, facts{SwitchTID: 7, Start: true, End: true, Key: true, PictureID: 0x102, TL0: 9, SID: 0}},
		{"vp9, layer 1 of a key picture", VP9, []byte{0x28, 0x02, 9, 1}, facts{SID: 1, Start: true, TL0: 9}},
		{"vp9, flexible mode", VP9, []byte{0x78, 0x40, 1}, facts{TID: 2, Start: true}},
		{"vp9, no layers", VP9, []byte{0x4c, 1}, facts{Start: true, End: true}},
		{"av1, new sequence", AV1, []byte{0x18, 0x0a}, facts{Start: true, End: true, Key: true}},
		{"av1, first of a frame", AV1, []byte{0x10, 0x32}, facts{Start: true, End: true}},
		{"av1, continued", AV1, []byte{0x90, 0x32}, facts{End: true}},
		{"opus", Opus, []byte{0}, facts{Start: true, End: true, Key: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var d Descriptor
			p := incoming(t, test.codec, 1<<32, test.payload, nil)
			if err := d.Read(p); err != nil {
				t.Fatal(err)
			}
			if got := factsOf(p); got != test.want {
				t.Errorf("\n%+v, want\n%+v", got, test.want)
			}
		})
	}
}

func TestDescriptor_refusesTruncatedPayloads(t *testing.T) {
	for codec, payload := range map[Codec][]byte{
		VP8:  {0x90, 0xf0, 0x92, 0x34, 200, 0x60},
		VP9:  {0xac, 0x81, 0x02, 0x10, 9},
		None: {1, 2, 3},
	} {
		for n := 1; n <= len(payload); n++ {
			var d Descriptor
			if err := d.Read(incoming(t, codec, 1<<32, payload[:n], nil)); !errors.Is(err, ErrDescriptor) {
				t.Errorf("codec %d, %d bytes: %v", codec, n, err)
			}
		}
	}
}

func TestDescriptor_paddingIsPartOfNoFrame(t *testing.T) {
	var d Descriptor
	p := incoming(t, VP8, 1<<32, nil, nil)
	if err := d.Read(p); err != nil || p.Start || p.Key {
		t.Errorf("%v %+v", err, p)
	}
}

func TestDescriptor_dependency(t *testing.T) {
	vp8 := []byte{0x10, 0x55} // what Chromium sends beside a DD; the key bit is encrypted noise
	var d Descriptor
	read := func(ext uint64, dd []byte) facts {
		t.Helper()
		p := incoming(t, VP8, ext, vp8, dd)
		if err := d.Read(p); err != nil {
			t.Fatal(err)
		}
		return factsOf(p)
	}
	check := func(what string, got, want facts) {
		t.Helper()
		if got != want {
			t.Errorf("%s:\n%+v, want\n%+v", what, got, want)
		}
	}
	check("before the structure", read(1, mandatory(true, false, 3, 9).data), facts{Frame: 9, Start: true})
	if _, _, ok := d.Resolution(0); ok {
		t.Error("resolution known before the structure")
	}
	check("key frame", read(2, l1t3(60, 10)), facts{Frame: 10, Start: true, End: true, Key: true, SwitchTID: 2})
	if w, h, ok := d.Resolution(0); !ok || w != 1280 || h != 720 {
		t.Errorf("resolution %dx%d %v", w, h, ok)
	}
	if _, _, ok := d.Resolution(1); ok {
		t.Error("resolution of a layer that does not exist")
	}
	check("T2", read(3, mandatory(true, false, 63, 11).data), facts{Frame: 11, Start: true, TID: 2})
	check("T1, the id wraps", read(4, mandatory(false, true, 62, 12).data), facts{Frame: 12, End: true, TID: 1, SwitchTID: 2})
	check("last template", read(5, mandatory(true, true, 0, 13).data), facts{Frame: 13, Start: true, End: true, TID: 2})
	check("template of another structure", read(6, mandatory(true, true, 1, 14).data), facts{Frame: 14, Start: true, End: true})
	custom := mandatory(true, true, 61, 15).put(0b01111, 5).put(0b111, 3) // active targets, own indications, differences, chains
	custom.put(2, 2).put(1, 2).put(1, 2).put(1, 2).put(3, 4).put(2, 2).put(77, 8).put(0, 2).put(200, 8)
	check("own indications", read(7, custom.data), facts{Frame: 15, Start: true, End: true})

	check("a key frame that comes late", read(1, l1t3(20, 8)), facts{Frame: 8, Start: true, End: true, Key: true, SwitchTID: 2})
	check("does not replace the structure", read(8, mandatory(true, false, 63, 16).data), facts{Frame: 16, Start: true, TID: 2})
	check("a newer one does", read(9, l1t3(20, 17)), facts{Frame: 17, Start: true, End: true, Key: true, SwitchTID: 2})
	check("and its templates count", read(10, mandatory(true, false, 22, 18).data), facts{Frame: 18, Start: true, TID: 1, SwitchTID: 2})
}

// l3t1Key is the descriptor that starts a key picture of three spatial layers which refer to each other in key pictures alone:
// templates S0 key, S0, S1 key, S1, S2 key, S2; targets S0, S1, S2.
func l3t1Key(frame uint16) []byte {
	w := mandatory(true, true, 0, frame)
	w.put(0b10000, 5).put(0, 6).put(3-1, 5)
	for _, next := range []uint32{0, 2, 0, 2, 0, 3} {
		w.put(next, 2)
	}
	const none, swtch = 0, 2
	for _, dti := range []uint32{
		swtch, swtch, swtch,
		swtch, none, none,
		none, swtch, swtch,
		none, swtch, none,
		none, none, swtch,
		none, none, swtch,
	} {
		w.put(dti, 2)
	}
	for _, diffs := range [][]uint32{{}, {3}, {1}, {3}, {1}, {3}} {
		for _, d := range diffs {
			w.put(1, 1).put(d-1, 4)
		}
		w.put(0, 1)
	}
	w.put(0, 2) // no chains: ns(4)
	w.put(1, 1)
	for _, size := range [][2]uint32{{320, 180}, {640, 360}, {1280, 720}} {
		w.put(size[0]-1, 16).put(size[1]-1, 16)
	}
	return w.data
}

func TestDescriptor_spatialLayers(t *testing.T) {
	var d Descriptor
	if n := d.SpatialLayers(); n != 1 {
		t.Errorf("%d spatial layers before anything came", n)
	}
	ext := uint64(0)
	read := func(dd []byte) (sid, skips uint8) {
		t.Helper()
		ext++
		p := incoming(t, AV1, ext, []byte{0x10, 0x32}, dd)
		if err := d.Read(p); err != nil {
			t.Fatal(err)
		}
		return p.SID, p.Skips
	}
	check := func(what string, dd []byte, sid, skips uint8, layers int) {
		t.Helper()
		if s, k := read(dd); s != sid || k != skips {
			t.Errorf("%s: layer %d, skipped by %08b; want %d, %08b", what, s, k, sid, skips)
		}
		if n := d.SpatialLayers(); n != layers {
			t.Errorf("%s: %d spatial layers, want %d", what, n, layers)
		}
	}
	delta := func(template uint8) []byte { return mandatory(true, true, template, uint16(ext)).data }
	check("S0 of the key picture", l3t1Key(1), 0, 0, 3)
	check("S1 of the key picture", delta(2), 1, 0, 3)
	check("S2 of the key picture", delta(4), 2, 0, 3)
	check("S0", delta(1), 0, 0b11111110, 3)
	check("S1", delta(3), 1, 0b11111100, 3)
	check("S2", delta(5), 2, 0, 3)
	check("S0, own indications", mandatory(true, true, 1, 9).put(0b00100, 5).put(0b100011, 6).data, 0, 0b00000010, 3)
	check("S0, two layers from here on", mandatory(true, true, 1, 9).put(0b01000, 5).put(0b011, 3).data, 0, 0b11111110, 2)
	check("S1 is the highest now", delta(3), 1, 0, 2)
	if w, h, ok := d.Resolution(1); w != 640 || h != 360 || !ok {
		t.Errorf("resolution of S1 %dx%d %v", w, h, ok)
	}
}

func TestDescriptor_vp9ScalabilityStructure(t *testing.T) {
	var d Descriptor
	ext := uint64(10)
	read := func(payload ...byte) *Packet {
		t.Helper()
		ext++
		p := incoming(t, VP9, ext, payload, nil)
		if err := d.Read(p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := read(0x29, 0x00, 9, 1); p.Skips != 0 { // L B Z
		t.Errorf("skipped by %08b before the structure", p.Skips)
	}
	// L B V: S0 of a key picture, three layers with sizes.
	read(0x2a, 0x00, 9, 0x50, 1, 64, 0, 180, 2, 128, 1, 104, 5, 0, 2, 208, 1)
	if n := d.SpatialLayers(); n != 3 {
		t.Errorf("%d spatial layers, want 3", n)
	}
	if w, h, ok := d.Resolution(2); w != 1280 || h != 720 || !ok {
		t.Errorf("resolution %dx%d %v", w, h, ok)
	}
	if p := read(0x69, 0x02, 9, 1); p.SID != 1 || p.Skips != 0b11111100 { // P L B Z
		t.Errorf("layer %d, skipped by %08b", p.SID, p.Skips)
	}
	if p := read(0x69, 0x04, 9, 1); p.SID != 2 || p.Skips != 0 {
		t.Errorf("layer %d, skipped by %08b", p.SID, p.Skips)
	}
	read(0x7a, 0x00, 0x03, 0x02, 0x20, 1) // flexible mode: two references, then two layers
	if n := d.SpatialLayers(); n != 2 {
		t.Errorf("%d spatial layers, want 2", n)
	}
	read(0x2a, 0x00, 9, 0x50, 1, 64) // cut off
	if n := d.SpatialLayers(); n != 2 {
		t.Errorf("%d spatial layers after a structure that was cut off", n)
	}
}

func TestDescriptor_anotherCodecBeginsAnew(t *testing.T) {
	var d Descriptor
	read := func(codec Codec, ext uint64, payload, dd []byte) error {
		return d.Read(incoming(t, codec, ext, payload, dd))
	}
	if err := read(AV1, 10, []byte{0x18, 0x0a}, l3t1Key(1)); err != nil || d.SpatialLayers() != 3 {
		t.Fatalf("%v, %d layers", err, d.SpatialLayers())
	}
	if err := read(VP8, 11, []byte{0x10, 0}, nil); err != nil || d.SpatialLayers() != 1 {
		t.Errorf("after the change: %v, %d layers", err, d.SpatialLayers())
	}
	if err := read(AV1, 9, []byte{0x10, 0x32}, nil); !errors.Is(err, ErrDescriptor) {
		t.Errorf("a late packet of the former codec: %v", err)
	}
}

func TestDescriptor_refusesMalformedDependencies(t *testing.T) {
	whole := l1t3(0, 1)
	cases := map[string][]byte{
		"structure in the middle of a frame":   append([]byte{0x00}, whole[1:]...),
		"template outside its own structure":   append([]byte{0xc0 | 40}, whole[1:]...),
		"templates without end":                mandatory(true, true, 0, 1).put(0b10000, 5).put(0, 6).put(0, 5).put(0, 32*5).data,
		"a fifth spatial layer":                mandatory(true, true, 0, 1).put(0b10000, 5).put(0, 6).put(0, 5).put(0b1010101011, 10).put(0, 200).data,
		"structure cut off after three layers": whole[:6],
	}
	for n := ddMandatoryBytes + 1; n < len(whole); n++ {
		cases["cut off at "+string(rune('a'+n))] = whole[:n]
	}
	for name, dd := range cases {
		t.Run(name, func(t *testing.T) {
			var d Descriptor
			if err := d.Read(incoming(t, VP8, 1, []byte{0x10, 1}, whole)); err != nil {
				t.Fatal(err)
			}
			before := *d.dd.structure()
			if err := d.Read(incoming(t, VP8, 2, []byte{0x10, 1}, dd)); !errors.Is(err, ErrDescriptor) {
				t.Errorf("error %v", err)
			}
			if *d.dd.structure() != before {
				t.Error("a malformed structure replaced the valid one")
			}
		})
	}
}

func TestDescriptor_structureIsKeptWhole(t *testing.T) {
	var d Descriptor
	if err := d.Read(incoming(t, AV1, 1, []byte{0x18, 1}, l1t3(5, 1))); err != nil {
		t.Fatal(err)
	}
	s := d.dd.structure()
	if s.templateCount != 5 || s.targetCount != 3 || s.chainCount != 1 || s.spatialCount != 1 {
		t.Errorf("%d templates, %d targets, %d chains, %d spatial layers", s.templateCount, s.targetCount, s.chainCount, s.spatialCount)
	}
	if !slices.Equal(s.targetTID[:3], []uint8{0, 1, 2}) {
		t.Errorf("temporal layers of the targets %v", s.targetTID[:3])
	}
	if tmpl := s.templates[1]; tmpl.frameDiffs != 1 || tmpl.frameDiff[0] != 4 || tmpl.chainDiff[0] != 1 {
		t.Errorf("template 1: %+v", tmpl)
	}
}

func FuzzDescriptor(f *testing.F) {
	f.Add(uint8(VP8), []byte{0x90, 0xf0, 0x92, 0x34, 200, 0x60, 1}, l1t3(0, 1), mandatory(true, true, 3, 2).data)
	f.Add(uint8(VP9), []byte{0xac, 0x81, 0x02, 0x10, 9, 1}, []byte{0x80, 0, 1, 0xff, 0xff, 0xff, 0xff}, []byte{})
	f.Add(uint8(AV1), []byte{0x18}, []byte{}, l1t3(9, 9))
	f.Add(uint8(AV1), []byte{0x18}, l3t1Key(1), mandatory(true, true, 1, 9).put(0b01000, 5).put(0b011, 3).data)
	f.Add(uint8(VP9), []byte{0x7a, 0x00, 0x03, 0x02, 0x30, 1, 64, 0, 180, 2, 128, 1, 104, 1}, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, codec uint8, payload, dd1, dd2 []byte) {
		if len(payload) > 1000 || len(dd1) > 255 || len(dd2) > 255 {
			return
		}
		var d Descriptor
		raw := append(make([]byte, 12), payload...)
		at := len(raw)
		raw = append(append(raw, dd1...), dd2...)
		for i, span := range []Span{{uint16(at), uint16(len(dd1))}, {uint16(at + len(dd1)), uint16(len(dd2))}} {
			p := &Packet{Raw: raw, PayloadAt: 12, PayloadEnd: uint16(at), DD: span, Codec: Codec(codec % 5), ExtSeq: uint64(i + 1)}
			if d.Read(p) != nil || p.PaddingOnly() {
				continue
			}
			if p.Key && !p.Start && p.Codec != AV1 {
				t.Fatal("key without start")
			}
			if p.Skips&(uint8(2)<<p.SID-1) != 0 {
				t.Fatalf("layer %d is skipped by %08b", p.SID, p.Skips)
			}
			if n := d.SpatialLayers(); n < 1 || n > maxVP9Spatial {
				t.Fatalf("%d spatial layers", n)
			}
			end := p.PictureIDAt + 1
			if p.PictureIDWide {
				end++
			}
			if p.PictureIDAt != 0 && end > p.PayloadEnd || p.TL0At >= p.PayloadEnd {
				t.Fatalf("picture id at %d, TL0PICIDX at %d, payload ends at %d", p.PictureIDAt, p.TL0At, p.PayloadEnd)
			}
		}
	})
}

// FuzzDescriptorIgnoresTheFrame: what follows the descriptor and the clear byte changes nothing.
func FuzzDescriptorIgnoresTheFrame(f *testing.F) {
	f.Add(uint8(VP8), []byte{0x90, 0xf0, 0x92, 0x34, 200, 0x60, 1}, []byte("frame"))
	f.Add(uint8(VP9), []byte{0xac, 0x81, 0x02, 0x10, 9}, []byte("frame"))
	f.Fuzz(func(t *testing.T, codec uint8, head, frame []byte) {
		if len(head) < 8 || len(head)+len(frame) > 1000 {
			return
		}
		read := func(frame []byte) (facts, error) {
			raw := append(append(make([]byte, 12), head...), frame...)
			p := &Packet{Raw: raw, PayloadAt: 12, PayloadEnd: uint16(len(raw)), Codec: Codec(codec % 5)}
			var d Descriptor
			err := d.Read(p)
			return factsOf(p), err
		}
		other := slices.Clone(frame)
		for i := range other {
			other[i] ^= 0xa5
		}
		a, errA := read(frame)
		b, errB := read(other)
		if a != b || !errors.Is(errA, errB) {
			t.Fatalf("%+v %v, %+v %v", a, errA, b, errB)
		}
	})
}

func BenchmarkDescriptorRead(b *testing.B) {
	for name, packets := range map[string][]*Packet{
		"vp8": {incoming(b, VP8, 1, append([]byte{0x90, 0xf0, 0x92, 0x34, 200, 0x60, 1}, make([]byte, 1000)...), nil)},
		"dd":  {incoming(b, VP8, 1, []byte{0x10, 1}, l1t3(0, 1)), incoming(b, VP8, 2, []byte{0x10, 1}, mandatory(true, true, 3, 2).data)},
		"key": {incoming(b, VP8, 1, []byte{0x10, 1}, l1t3(0, 1))},
	} {
		b.Run(name, func(b *testing.B) {
			var d Descriptor
			for _, p := range packets {
				if err := d.Read(p); err != nil {
					b.Fatal(err)
				}
			}
			p := packets[len(packets)-1]
			b.ReportAllocs()
			for range b.N {
				d.Read(p)
			}
		})
	}
}
