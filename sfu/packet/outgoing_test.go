package packet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/pion/rtp"
)

// stored returns a packet as a ring holds it.
func stored(tb testing.TB, payload, dd []byte) *Packet {
	tb.Helper()
	p := incoming(tb, VP8, 1<<32+9, payload, dd)
	var d Descriptor
	if err := d.Read(p); err != nil {
		tb.Fatal(err)
	}
	return p
}

var vp8Wide = append([]byte{0x90, 0xf0, 0x92, 0x34, 200, 0x60, 1}, "encrypted frame"...)

func outgoing(p *Packet) Outgoing {
	return Outgoing{
		Packet: p, SSRC: 0xdead, TS: 99, Seq: 7, PT: 120, Marker: true, Frame: 0xf00d, PictureID: 0x7abc, TL0: 17,
		TransportSeq: 0x1122, MID: []byte("3"),
	}
}

func TestMarshal(t *testing.T) {
	structure := l1t3(2, 3)
	for name, test := range map[string]struct {
		dd      []byte
		ext     Extensions
		change  func(o *Outgoing)
		profile uint16
	}{
		"one-byte extensions":              {[]byte{0xc2, 0, 3}, chromium, nil, profileOneByte},
		"structure in two-byte extensions": {structure, chromium, nil, profileTwoByte},
		"ids above 14":                     {nil, wideIDs, nil, profileTwoByte},
		"retransmission":                   {structure, firefox, func(o *Outgoing) { o.RTX, o.OSN = true, 0x5566 }, profileTwoByte},
		"padding":                          {nil, chromium, func(o *Outgoing) { o.Padding = 8 }, profileOneByte},
		"all at once":                      {structure, wideIDs, func(o *Outgoing) { o.RTX, o.OSN, o.Padding = true, 1, 255 }, profileTwoByte},
		"no mid":                           {nil, chromium, func(o *Outgoing) { o.MID = nil }, profileOneByte},
		"no extensions":                    {structure, Extensions{}, nil, 0},
		"a long mid":                       {nil, chromium, func(o *Outgoing) { o.MID = []byte("a-mid-of-17-bytes") }, profileTwoByte},
	} {
		t.Run(name, func(t *testing.T) {
			p := stored(t, vp8Wide, test.dd)
			before := bytes.Clone(p.Raw)
			o := outgoing(p)
			if test.change != nil {
				test.change(&o)
			}
			dst := bytes.Repeat([]byte{0xee}, MaxPacket)
			var h, got rtp.Header
			total, header, err := o.Marshal(dst[:0], &test.ext, &h)
			if err != nil {
				t.Fatal(err)
			}
			if total != o.Size(&test.ext) {
				t.Errorf("wrote %d bytes, Size says %d", total, o.Size(&test.ext))
			}
			if n, err := got.Unmarshal(dst[:total]); err != nil || n != header {
				t.Fatalf("header of %d bytes reads as %d: %v", header, n, err)
			}
			if got.SSRC != o.SSRC || got.Timestamp != o.TS || got.SequenceNumber != o.Seq || got.PayloadType != o.PT || !got.Marker || got.Padding != (o.Padding > 0) {
				t.Errorf("header %+v", got)
			}
			if h.SSRC != got.SSRC || h.SequenceNumber != got.SequenceNumber || h.Timestamp != got.Timestamp || h.PayloadType != got.PayloadType ||
				h.Marker != got.Marker || h.Extension != got.Extension || h.Padding != got.Padding {
				t.Errorf("filled header %+v, want %+v", h, got)
			}
			if test.profile == 0 != !got.Extension || got.ExtensionProfile != test.profile {
				t.Errorf("extension profile %#x, want %#x", got.ExtensionProfile, test.profile)
			}
			if test.profile != 0 {
				if v := got.GetExtension(test.ext.TransportCC); !bytes.Equal(v, []byte{0x11, 0x22}) {
					t.Errorf("transport number %x", v)
				}
				if v := got.GetExtension(test.ext.MID); !bytes.Equal(v, o.MID) {
					t.Errorf("mid %q", v)
				}
				var want []byte
				if want = bytes.Clone(test.dd); want != nil {
					binary.BigEndian.PutUint16(want[1:], o.Frame)
				}
				if v := got.GetExtension(test.ext.DependencyDescriptor); !bytes.Equal(v, want) {
					t.Errorf("descriptor\n%x, want\n%x", v, want)
				}
			}
			payload := dst[header : total-int(o.Padding)]
			if o.RTX {
				if osn := binary.BigEndian.Uint16(payload); osn != o.OSN {
					t.Errorf("OSN %#x", osn)
				}
				payload = payload[2:]
			}
			want := append([]byte{0x90, 0xf0, 0xfa, 0xbc, 17, 0x60, 1}, "encrypted frame"...)
			if !bytes.Equal(payload, want) {
				t.Errorf("payload\n%x, want\n%x", payload, want)
			}
			if o.Padding > 0 && (dst[total-1] != o.Padding || !bytes.Equal(dst[total-int(o.Padding):total-1], make([]byte, o.Padding-1))) {
				t.Errorf("padding %x", dst[total-int(o.Padding):total])
			}
			if !bytes.Equal(p.Raw, before) {
				t.Error("the shared packet was changed")
			}
			if total < len(dst) && dst[total] != 0xee {
				t.Error("wrote past the end")
			}
		})
	}
}

func TestMarshal_narrowPictureID(t *testing.T) {
	o := outgoing(stored(t, []byte{0x90, 0x80, 0x05, 1, 2}, nil))
	var h rtp.Header
	dst := make([]byte, MaxPacket)
	total, header, err := o.Marshal(dst, &chromium, &h)
	if err != nil || !bytes.Equal(dst[header:total], []byte{0x90, 0x80, 0x3c, 1, 2}) {
		t.Errorf("%x %v", dst[header:total], err)
	}
}

func TestMarshal_paddingOnly(t *testing.T) {
	o := Outgoing{SSRC: 1, Seq: 2, TS: 3, PT: 97, Padding: 200, RTX: true}
	var h rtp.Header
	dst := make([]byte, MaxPacket)
	total, header, err := o.Marshal(dst, &chromium, &h)
	if err != nil || total != header+200 {
		t.Fatalf("%d of %d bytes: %v", header, total, err)
	}
	var p Packet
	if err := Parse(dst[:total], &chromium, arrival, &p); err != nil || !p.PaddingOnly() {
		t.Errorf("%+v %v", p, err)
	}
}

func TestMarshal_refuses(t *testing.T) {
	var h rtp.Header
	p := stored(t, vp8Wide, nil)
	long := stored(t, append(bytes.Clone(vp8Wide), make([]byte, 1460)...), nil)
	overwritten := outgoing(p)
	overwritten.Ext = p.ExtSeq - 512
	longMID := outgoing(p)
	longMID.MID = make([]byte, 256)
	tooLong := outgoing(long)
	small := outgoing(p)
	for name, test := range map[string]struct {
		o    Outgoing
		room int
		want error
	}{
		"overwritten in its ring": {overwritten, MaxPacket, ErrGone},
		"mid of 256 bytes":        {longMID, MaxPacket, ErrExtension},
		"longer than a packet":    {tooLong, 4000, ErrTooLong},
		"longer than the room":    {small, small.Size(&chromium) - 1, ErrTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := test.o.Marshal(make([]byte, 0, test.room), &chromium, &h); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
		})
	}
}

// FuzzMarshal: whatever can be parsed can be written and reads the same again but for the rewritten fields.
func FuzzMarshal(f *testing.F) {
	f.Add(build(f, vp8Wide, 0, element{4, []byte("0")}, element{12, l1t3(0, 1)}), uint8(VP8), uint8(12), uint8(7), false)
	f.Add(build(f, vp8Wide, 9, element{3, []byte{1, 2}}), uint8(VP8), uint8(30), uint8(0), true)
	f.Fuzz(func(t *testing.T, raw []byte, codec, ddID, padding uint8, rtx bool) {
		var p, q Packet
		var d, e Descriptor
		if Parse(raw, &chromium, arrival, &p) != nil {
			return
		}
		p.Codec = Codec(codec % 5)
		if d.Read(&p) != nil {
			return
		}
		ext := Extensions{MID: 1, TransportCC: 2, DependencyDescriptor: max(3, ddID)}
		o := outgoing(&p)
		o.Padding = padding
		if o.RTX = rtx && !p.PaddingOnly(); o.RTX {
			o.OSN = 4242
		}
		var h rtp.Header
		dst := make([]byte, 0, MaxPacket)
		total, header, err := o.Marshal(dst, &ext, &h)
		if err != nil {
			if total = o.Size(&ext); total <= MaxPacket {
				t.Fatalf("%d bytes: %v", total, err)
			}
			return
		}
		if err := Parse(dst[:total], &ext, arrival, &q); err != nil {
			t.Fatalf("what was written does not parse: %v", err)
		}
		if int(q.PayloadAt) != header || int(q.PayloadEnd) != total-int(padding) || q.TransportSeq != o.TransportSeq || string(q.Bytes(q.MID)) != "3" {
			t.Fatalf("read back %+v", q)
		}
		if o.RTX {
			if err := q.UnwrapRTX(o.SSRC, o.PT); err != nil || q.Seq != o.OSN {
				t.Fatalf("unwrapped: %v, number %d", err, q.Seq)
			}
		}
		q.Codec = p.Codec
		if err := e.Read(&q); err != nil {
			t.Fatalf("descriptor of what was written: %v", err)
		}
		if q.TID != p.TID || q.Start != p.Start || q.Key != p.Key || len(q.Payload()) != len(p.Payload()) || q.DD.Len != p.DD.Len {
			t.Fatalf("read back\n%+v, want\n%+v", factsOf(&q), factsOf(&p))
		}
		if p.PictureIDWide && q.PictureID != o.PictureID || p.TL0At != 0 && uint8(q.TL0) != o.TL0 {
			t.Fatalf("picture id %d, TL0PICIDX %d", q.PictureID, q.TL0)
		}
	})
}

func BenchmarkMarshal(b *testing.B) {
	for name, dd := range map[string][]byte{"vp8": nil, "dd": mandatory(true, true, 3, 2).data, "key with structure": l1t3(0, 1)} {
		b.Run(name, func(b *testing.B) {
			o := outgoing(stored(b, append(bytes.Clone(vp8Wide), make([]byte, 1080)...), dd))
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
