package packet

import (
	"testing"
	"time"

	"github.com/pion/rtp"
)

var (
	// Ids as the browsers offer them, and all of them above 14.
	chromium = Extensions{MID: 4, RID: 10, RepairedRID: 11, TransportCC: 3, AbsSendTime: 2, DependencyDescriptor: 12}
	firefox  = Extensions{MID: 3, RID: 10, RepairedRID: 11, TransportCC: 7, DependencyDescriptor: 8}
	wideIDs  = Extensions{MID: 20, RID: 21, RepairedRID: 22, TransportCC: 23, DependencyDescriptor: 24}

	arrival = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

type element struct {
	id    uint8
	value []byte
}

// build writes a packet with pion's code, so that it is not ours that proves ours right.
func build(tb testing.TB, payload []byte, padding uint8, elements ...element) []byte {
	tb.Helper()
	h := rtp.Header{Version: 2, Marker: true, PayloadType: 96, SequenceNumber: 1234, Timestamp: 567890, SSRC: 0xcafe, PaddingSize: padding, Padding: padding > 0}
	profile := uint16(rtp.ExtensionProfileOneByte)
	for _, e := range elements {
		if e.id > 14 || len(e.value) > 16 {
			profile = rtp.ExtensionProfileTwoByte
		}
	}
	for _, e := range elements {
		if err := h.SetExtensionWithProfile(e.id, e.value, profile); err != nil {
			tb.Fatal(err)
		}
	}
	raw, err := (&rtp.Packet{Header: h, Payload: payload, PaddingSize: padding}).Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// bitWriter writes a dependency descriptor field by field.
type bitWriter struct {
	data []byte
	n    int
}

func (w *bitWriter) put(v uint32, bits int) *bitWriter {
	for i := bits - 1; i >= 0; i-- {
		if w.n%8 == 0 {
			w.data = append(w.data, 0)
		}
		w.data[w.n/8] |= uint8(v>>i&1) << (7 - w.n%8)
		w.n++
	}
	return w
}

// mandatory starts a descriptor.
func mandatory(start, end bool, id uint8, frame uint16) *bitWriter {
	bit := map[bool]uint32{true: 1}
	w := &bitWriter{}
	return w.put(bit[start], 1).put(bit[end], 1).put(uint32(id), 6).put(uint32(frame), 16)
}

// l1t3 is the descriptor that starts a key frame of three temporal layers in 1280x720, as Chromium describes VP8: templates T0 key, T0,
// T1, T2, T2; one chain.
func l1t3(idOffset uint8, frame uint16) []byte {
	w := mandatory(true, true, idOffset, frame)
	w.put(0b10000, 5).put(uint32(idOffset), 6).put(3-1, 5)
	for _, next := range []uint32{0, 1, 1, 0, 3} { // template_layers
		w.put(next, 2)
	}
	const none, discardable, swtch = 0, 1, 2
	for _, dti := range []uint32{
		swtch, swtch, swtch,
		swtch, swtch, swtch,
		none, discardable, swtch,
		none, none, discardable,
		none, none, discardable,
	} {
		w.put(dti, 2)
	}
	for _, diffs := range [][]uint32{{}, {4}, {2}, {1}, {1}} {
		for _, d := range diffs {
			w.put(1, 1).put(d-1, 4)
		}
		w.put(0, 1)
	}
	w.put(1, 2)   // one chain: ns(4)
	for range 5 { // each template's distance in it; protected_by is ns(1), no bits
		w.put(1, 4)
	}
	w.put(1, 1).put(1279, 16).put(719, 16)
	return w.data
}
