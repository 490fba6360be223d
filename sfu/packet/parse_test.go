package packet

import (
	"bytes"
	"errors"
	"testing"

	"github.com/pion/rtp"
)

func TestParse_readsHeaderAndExtensions(t *testing.T) {
	structure := l1t3(0, 7)
	for name, test := range map[string]struct {
		ext Extensions
		dd  []byte
	}{
		"one-byte profile":                   {chromium, []byte{0xc0, 1, 2}},
		"two-byte profile for the structure": {chromium, structure},
		"two-byte profile for the ids":       {wideIDs, []byte{0xc0, 1, 2}},
		"firefox":                            {firefox, structure},
	} {
		t.Run(name, func(t *testing.T) {
			payload := []byte("payload of a packet")
			raw := build(t, payload, 5,
				element{test.ext.MID, []byte("video0")}, element{test.ext.RID, []byte("q")}, element{test.ext.RepairedRID, []byte("h")},
				element{test.ext.TransportCC, []byte{0xab, 0xcd}}, element{test.ext.DependencyDescriptor, test.dd})
			var p Packet
			p.TID, p.Start = 3, true // leftovers of another packet
			if err := Parse(raw, &test.ext, arrival, &p); err != nil {
				t.Fatal(err)
			}
			if p.Seq != 1234 || p.TS != 567890 || p.SSRC != 0xcafe || p.PT != 96 || !p.Marker || p.Arrival != arrival || p.TID != 0 || p.Start {
				t.Errorf("header: %+v", p)
			}
			if string(p.Bytes(p.MID)) != "video0" || string(p.Bytes(p.RID)) != "q" || string(p.Bytes(p.RepairedRID)) != "h" ||
				!bytes.Equal(p.Bytes(p.DD), test.dd) || p.TransportSeq != 0xabcd || !p.HasTransportSeq {
				t.Errorf("extensions: %+v", p)
			}
			if !bytes.Equal(p.Payload(), payload) || p.PaddingOnly() {
				t.Errorf("payload %q", p.Payload())
			}
		})
	}
}

func TestParse_refuses(t *testing.T) {
	header := func(first byte, rest ...byte) []byte {
		return append([]byte{first, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}, rest...)
	}
	for name, test := range map[string]struct {
		raw  []byte
		want error
	}{
		"nothing":                        {nil, ErrShort},
		"11 bytes":                       {header(0x80)[:11], ErrShort},
		"version 1":                      {header(0x40), ErrVersion},
		"15 CSRCs missing":               {header(0x8f, 1, 2, 3), ErrShort},
		"no extension header":            {header(0x90, 0xbe), ErrShort},
		"extension past the end":         {header(0x90, 0xbe, 0xde, 0, 2, 1, 2, 3, 4), ErrExtension},
		"one-byte element past the end":  {header(0x90, 0xbe, 0xde, 0, 1, 0x3f, 0, 0, 0), ErrExtension},
		"two-byte element without size":  {header(0x90, 0x10, 0, 0, 1, 0, 0, 0, 3), ErrExtension},
		"two-byte element past the end":  {header(0x90, 0x10, 0, 0, 1, 3, 3, 0, 0), ErrExtension},
		"transport number of one byte":   {header(0x90, 0xbe, 0xde, 0, 1, 0x30, 1, 0, 0), ErrExtension},
		"empty mid":                      {header(0x90, 0x10, 0, 0, 1, 4, 0, 0, 0), ErrExtension},
		"two bytes of DD":                {header(0x90, 0xbe, 0xde, 0, 1, 0xc1, 1, 0, 0), ErrExtension},
		"padding bit, nothing there":     {header(0xa0), ErrPadding},
		"padding of 0":                   {header(0xa0, 1, 2, 0), ErrPadding},
		"padding longer than the rest":   {header(0xa0, 1, 2, 4), ErrPadding},
		"longer than 16-bit offsets can": {append(header(0x80), make([]byte, 1<<16)...), ErrTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			var p Packet
			if err := Parse(test.raw, &chromium, arrival, &p); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
		})
	}
}

func TestParse_accepts(t *testing.T) {
	for name, raw := range map[string][]byte{
		"no payload":            {0x80, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3},
		"padding only":          {0xa0, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 3},
		"another profile":       {0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xca, 0xfe, 0, 1, 0x3f, 1, 2, 3},
		"one-byte id 15 stops":  {0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0, 1, 0xf7, 0x30, 1, 0},
		"application bits":      {0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0x10, 0x0f, 0, 1, 0, 99, 1, 0},
		"ids nobody negotiated": {0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0, 1, 0x50, 1, 0x60, 2},
		"id 0 with a length":    {0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0, 1, 0x02, 1, 2, 3},
	} {
		t.Run(name, func(t *testing.T) {
			var p Packet
			if err := Parse(raw, &chromium, arrival, &p); err != nil {
				t.Fatal(err)
			}
			if !p.PaddingOnly() || p.HasTransportSeq {
				t.Errorf("%+v", p)
			}
		})
	}
}

// rtxOf wraps a packet as RFC 4588 says.
func rtxOf(raw []byte, ssrc uint32, pt uint8, seq uint16) []byte {
	var p Packet
	if err := Parse(raw, &Extensions{}, arrival, &p); err != nil {
		panic(err)
	}
	out := bytes.Clone(raw[:p.PayloadAt])
	out[1] = out[1]&0x80 | pt
	out[2], out[3] = byte(seq>>8), byte(seq)
	out[8], out[9], out[10], out[11] = byte(ssrc>>24), byte(ssrc>>16), byte(ssrc>>8), byte(ssrc)
	out = append(out, byte(p.Seq>>8), byte(p.Seq))
	return append(out, raw[p.PayloadAt:]...)
}

func TestUnwrapRTX_givesTheOriginal(t *testing.T) {
	for _, padding := range []uint8{0, 9} {
		raw := build(t, []byte("payload"), padding, element{4, []byte("mid")}, element{12, l1t3(3, 99)})
		var want, p Packet
		if err := Parse(bytes.Clone(raw), &chromium, arrival, &want); err != nil {
			t.Fatal(err)
		}
		if err := Parse(rtxOf(raw, 0xbeef, 97, 5), &chromium, arrival, &p); err != nil {
			t.Fatal(err)
		}
		if err := p.UnwrapRTX(0xcafe, 96); err != nil {
			t.Fatal(err)
		}
		if !p.Repaired || !bytes.Equal(p.Raw, raw) {
			t.Errorf("restored\n%x, want\n%x", p.Raw, raw)
		}
		p.Repaired, p.Raw, want.Raw = false, nil, nil
		if p.DD != want.DD || p.MID != want.MID || p.Seq != want.Seq || p.PayloadAt != want.PayloadAt || p.PayloadEnd != want.PayloadEnd || p.SSRC != want.SSRC {
			t.Errorf("fields %+v, want %+v", p, want)
		}
	}
}

func TestUnwrapRTX_probe(t *testing.T) {
	for _, payload := range [][]byte{nil, {1}} {
		var p Packet
		if err := Parse(build(t, payload, 100), &chromium, arrival, &p); err != nil {
			t.Fatal(err)
		}
		if err := p.UnwrapRTX(1, 96); !errors.Is(err, ErrPadding) {
			t.Errorf("%d bytes: %v, want ErrPadding", len(payload), err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(build(f, []byte("payload"), 3, element{4, []byte("mid")}, element{12, []byte{0xc0, 1, 2}}))
	f.Add(build(f, []byte("payload"), 0, element{3, []byte{1, 2}}, element{12, l1t3(0, 1)}))
	f.Add([]byte{0x9f, 96, 0, 1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p Packet
		if err := Parse(raw, &chromium, arrival, &p); err != nil {
			return
		}
		if p.PayloadAt > p.PayloadEnd || int(p.PayloadEnd) > len(raw) {
			t.Fatalf("payload [%d:%d] of %d", p.PayloadAt, p.PayloadEnd, len(raw))
		}
		for _, s := range []Span{p.MID, p.RID, p.RepairedRID, p.DD} {
			if s.Len != 0 && (s.At < headerBytes || int(s.At)+int(s.Len) > int(p.PayloadAt)) {
				t.Fatalf("span %v is outside the header of %d bytes", s, p.PayloadAt)
			}
		}
		var other rtp.Packet // whoever accepts it as well must read the same
		if err := other.Unmarshal(raw); err == nil && len(other.CSRC) == 0 {
			if other.SequenceNumber != p.Seq || other.Timestamp != p.TS || !bytes.Equal(other.Payload, p.Payload()) {
				t.Fatalf("reads %+v, pion reads %v", p, other)
			}
		}
		before := len(p.Raw)
		if err := p.UnwrapRTX(1, 2); err == nil && len(p.Raw) != before-2 {
			t.Fatalf("unwrapped to %d of %d bytes", len(p.Raw), before)
		}
		p.Payload()
		p.Bytes(p.DD)
	})
}

func FuzzUnwrapRTX(f *testing.F) {
	f.Add(build(f, []byte("payload"), 3, element{4, []byte("mid")}), uint16(9))
	f.Fuzz(func(t *testing.T, raw []byte, seq uint16) {
		var want, p Packet
		if Parse(raw, &chromium, arrival, &want) != nil || len(raw) > MaxPacket {
			return
		}
		if err := Parse(rtxOf(raw, 77, 97, seq), &chromium, arrival, &p); err != nil {
			t.Fatal(err)
		}
		if err := p.UnwrapRTX(want.SSRC, want.PT); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p.Raw, raw) || p.DD != want.DD || p.PayloadEnd != want.PayloadEnd {
			t.Fatalf("restored %x, want %x", p.Raw, raw)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	raw := build(b, make([]byte, 1100), 0, element{4, []byte("0")}, element{3, []byte{1, 2}}, element{12, []byte{0xc0, 1, 2}})
	var p Packet
	b.ReportAllocs()
	for range b.N {
		if err := Parse(raw, &chromium, arrival, &p); err != nil {
			b.Fatal(err)
		}
	}
}
