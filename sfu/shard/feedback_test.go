package shard

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/transport"
)

// chunk appends an RTCP packet of a kind with n bytes of body, all b.
func chunk(raw []byte, format uint8, kind rtcp.PacketType, n int, b byte) []byte {
	raw = append(raw, 0x80|format, byte(kind), 0, 0)
	binary.BigEndian.PutUint16(raw[len(raw)-2:], uint16(n/4))
	for range n {
		raw = append(raw, b)
	}
	return raw
}

func TestUnmarshalFeedback_takesWhatRoomsUse(t *testing.T) {
	want := []rtcp.Packet{
		&rtcp.SenderReport{SSRC: 1}, &rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: 2}}},
		&rtcp.PictureLossIndication{MediaSSRC: 2}, &rtcp.FullIntraRequest{MediaSSRC: 2, FIR: []rtcp.FIREntry{{SSRC: 2}}},
		&rtcp.TransportLayerNack{MediaSSRC: 2, Nacks: []rtcp.NackPair{{PacketID: 7}}},
	}
	raw, err := rtcp.Marshal(append(want[:len(want):len(want)], &rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 1e6, SSRCs: []uint32{2}}))
	if err != nil {
		t.Fatal(err)
	}
	raw = chunk(raw, 0, rtcp.TypeExtendedReport, 8, 0xff) // not even well-formed
	got, err := unmarshalFeedback(raw, nil)
	if err != nil || len(got) != len(want) {
		t.Fatalf("got %d packets, %v", len(got), err)
	}
}

func TestUnmarshalFeedback_refuses(t *testing.T) {
	forged := chunk(nil, formatTCC, rtcp.TypeTransportSpecificFeedback, 1196, 0x3f) // statuses without deltas
	many := []byte(nil)
	for range maxFeedbackPackets + 1 {
		many = chunk(many, 0, rtcp.TypeApplicationDefined, 8, 0)
	}
	for name, raw := range map[string][]byte{
		"forged transport-wide feedback": forged,
		"too many packets":               many,
		"truncated header":               {0x80, 200, 0},
		"longer than the compound":       {0x80, 200, 0, 9, 0, 0, 0, 0},
		"version":                        chunk([]byte{}, 0, rtcp.TypeReceiverReport, 4, 0)[1:],
		"report without its blocks":      chunk(nil, 31, rtcp.TypeReceiverReport, 4, 0),
	} {
		if got, err := unmarshalFeedback(raw, nil); err == nil {
			t.Errorf("%s: %d packets", name, len(got))
		}
	}
}

// What a compound of full size may make the shard do: kinds that rooms do not use cost nothing.
func TestUnmarshalFeedback_skipsUnread(t *testing.T) {
	raw := chunk(nil, 0, rtcp.TypeExtendedReport, 1196, 0)
	var dst [4]rtcp.Packet
	if n := testing.AllocsPerRun(100, func() {
		if got, err := unmarshalFeedback(raw, dst[:0]); len(got) != 0 || err != nil {
			t.Fatal(got, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestUnmarshalFeedback_refusesForgedStatusesCheaply(t *testing.T) {
	raw := chunk(nil, formatTCC, rtcp.TypeTransportSpecificFeedback, 1196, 0x3f)
	if n := testing.AllocsPerRun(100, func() { _, _ = unmarshalFeedback(raw, nil) }); n != 0 {
		t.Errorf("%v allocations for statuses without deltas", n)
	}
}

func TestShard_boundsFeedbackOfAPeer(t *testing.T) {
	r := newRig(t)
	f := r.connect(1, 1, publisherMedia())
	report := chunk(nil, 0, rtcp.TypeApplicationDefined, 1196, 0)
	send := func(n int) (dropped uint64) {
		before := r.counters.drops[DropRTCPRate]
		for range n {
			sealed, err := f.out.EncryptRTCP(nil, report, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.feed(transport.Datagram{Data: sealed, From: f.addr, At: r.now})
		}
		return r.counters.drops[DropRTCPRate] - before
	}
	if n := send(50); n != 0 {
		t.Errorf("%d of 50 compounds dropped", n)
	}
	if n := send(100); n < 90 {
		t.Errorf("%d of 100 further compounds dropped", n)
	}
	r.now = r.now.Add(time.Second)
	if n := send(50); n != 0 {
		t.Errorf("%d of 50 compounds dropped a second later", n)
	}
	if r.counters.drops[DropRTCP] != 0 {
		t.Error("well-formed compounds were refused")
	}
}

func FuzzUnmarshalFeedback(f *testing.F) {
	f.Add(chunk(nil, formatTCC, rtcp.TypeTransportSpecificFeedback, 24, 0x3f))
	f.Add(chunk(chunk(nil, 1, rtcp.TypeReceiverReport, 28, 1), formatNACK, rtcp.TypeTransportSpecificFeedback, 12, 7))
	f.Add(chunk(nil, formatFIR, rtcp.TypePayloadSpecificFeedback, 16, 3))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := unmarshalFeedback(raw, nil)
		if len(got) > maxFeedbackPackets {
			t.Fatalf("%d packets", len(got))
		}
		if all, allErr := rtcp.Unmarshal(raw); err == nil && allErr == nil && len(got) > len(all) {
			t.Fatalf("%d packets of %d", len(got), len(all))
		}
	})
}
