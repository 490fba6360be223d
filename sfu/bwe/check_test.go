package bwe

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

// forged claims 65,535 received packets in 40 bytes of a 1,200-byte packet.
func forged() []byte {
	raw := make([]byte, 1200)
	raw[0], raw[1] = 0x80|feedbackFormat, rtcpFeedback
	binary.BigEndian.PutUint16(raw[2:], 1200/4-1)
	binary.BigEndian.PutUint16(raw[statusesOffset:], 65535)
	for i := feedbackHeader; i < 40; i += 2 {
		binary.BigEndian.PutUint16(raw[i:], 1<<13|8191)
	}
	return raw
}

func TestCheckCompound(t *testing.T) {
	if CheckCompound(forged()) {
		t.Error("forged feedback passes")
	}
	pli, _ := (&rtcp.PictureLossIndication{}).Marshal()
	if !CheckCompound(pli) || !CheckCompound(nil) || !CheckCompound(pli[:7]) {
		t.Error("other RTCP does not pass")
	}
	if CheckCompound(append(pli, forged()...)) {
		t.Error("forged feedback passes as a second packet")
	}
	var r Recorder
	for n := range uint16(1000) {
		if n%3 != 0 {
			r.Received(start.Add(time.Duration(n)*7*time.Millisecond), n)
		}
	}
	for _, fb := range r.Feedback(start.Add(10*time.Second), 1, 2, nil) {
		raw, err := fb.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if !CheckCompound(raw) {
			t.Error("our own feedback does not pass")
		}
	}
}

// What the decoder accepts passes the check, and what passes is cheap to decode.
func FuzzCheckCompound(f *testing.F) {
	f.Add(forged())
	f.Add([]byte{0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 9, 0, 3, 0, 0, 1, 0, 0x20, 3, 4, 4})
	f.Add([]byte{0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 9, 0, 3, 0, 0, 1, 0, 0xA8, 0, 4, 4})
	f.Add([]byte{0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 9, 0, 3, 0, 0, 1, 0, 0xD8, 0, 4, 4})
	f.Fuzz(func(t *testing.T, raw []byte) {
		ok := CheckCompound(raw)
		var fb rtcp.TransportLayerCC
		if len(raw) > 1500 || fb.Unmarshal(raw) != nil {
			return
		}
		size := rtcpHeader * (int(fb.Header.Length) + 1)
		if !CheckCompound(raw[:size]) {
			t.Fatal("valid feedback refused")
		}
		if ok && len(fb.RecvDeltas) > len(raw) {
			t.Fatalf("%d deltas from %d bytes", len(fb.RecvDeltas), len(raw))
		}
	})
}

func BenchmarkCheckCompound_forged(b *testing.B) {
	raw := forged()
	b.ReportAllocs()
	for b.Loop() {
		CheckCompound(raw)
	}
}
