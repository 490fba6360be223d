package client

import (
	"bytes"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"sotto/e2ee/sframe"
	"sotto/sfu/packet"
)

// TestStream_isReadByTheServerAndByUs packetizes what an encoder of layers makes, and compares what the server's parser and the
// receiving side read of each packet.
func TestStream_isReadByTheServerAndByUs(t *testing.T) {
	for name, test := range map[string]struct {
		codec   sframe.Codec
		as      packet.Codec
		between bool
	}{
		"VP9 L3T3_KEY": {sframe.VP9, packet.VP9, false},
		"VP9 L3T3":     {sframe.VP9, packet.VP9, true},
		"AV1 L3T3_KEY": {sframe.AV1, packet.AV1, false},
		"AV1 L3T3":     {sframe.AV1, packet.AV1, true},
	} {
		t.Run(name, func(t *testing.T) {
			e := encoder{layers: 3, tiers: true, between: test.between}
			var vp9 vp9Packetizer
			var av1 av1Packetizer
			var server packet.Descriptor
			ids := packet.Extensions{DependencyDescriptor: 5}
			ext := uint64(1 << 16)
			for picture := range 9 {
				key := picture%8 == 0
				tid := e.begin(key)
				for sid := range uint8(3) {
					f, _ := e.next(sid, tid, nil)
					body := bytes.Repeat([]byte{byte(picture), sid, 7}, 900)
					var payloads [][]byte
					if test.codec == sframe.VP9 {
						payloads = vp9.packetize(body, &f, nil)
					} else {
						obu := append([]byte{0x32, byte(len(body)) | 0x80, byte(len(body) >> 7)}, body...)
						payloads = av1.packetize(obu, f.key, nil)
						body = append([]byte{0x30}, body...)
					}
					var got []byte
					for i, payload := range payloads {
						first, last := i == 0, i == len(payloads)-1
						out := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: uint8(payloadAV1), Marker: last && sid == 2}, Payload: payload}
						if test.codec == sframe.VP9 {
							out.PayloadType = uint8(payloadVP9)
							if _, err := new(codecs.VP9Packet).Unmarshal(payload); err != nil {
								t.Fatalf("pion: %v", err)
							}
						} else {
							dd := appendDescriptor(nil, &f, first, last, test.between)
							if err := out.SetExtensionWithProfile(5, dd, rtp.ExtensionProfileTwoByte); err != nil {
								t.Fatal(err)
							}
						}
						ours, err := arrivalOf(&out)
						if err != nil || ours.start != first || ours.end != last || ours.codec != test.codec {
							t.Fatalf("picture %d, layer %d, packet %d: %+v %v", picture, sid, i, ours, err)
						}
						got = append(got, ours.payload...)
						raw, err := out.Marshal()
						if err != nil {
							t.Fatal(err)
						}
						var p packet.Packet
						if err := packet.Parse(raw, &ids, time.Time{}, &p); err != nil {
							t.Fatal(err)
						}
						ext++
						p.Codec, p.ExtSeq = test.as, ext
						if err := server.Read(&p); err != nil {
							t.Fatal(err)
						}
						skips := uint8(0)
						if !key && !test.between && sid < 2 {
							skips = ^(uint8(2)<<sid - 1)
						}
						if p.Start != first || p.End != last || p.Key != (f.key && first) || p.SID != sid || p.TID != tid || p.Skips != skips ||
							p.SwitchTID > tid != (tid < 2) || test.codec == sframe.AV1 && p.Frame != uint16(f.number) {
							t.Fatalf("picture %d, layer S%dT%d, packet %d of %d: the server reads %+v", picture, sid, tid, i, len(payloads), p)
						}
					}
					if !bytes.Equal(got, body) {
						t.Fatal("payloads do not add up to the frame")
					}
				}
			}
			if n := server.SpatialLayers(); n != 3 {
				t.Errorf("the server sees %d spatial layers", n)
			}
		})
	}
}

func FuzzArrival(f *testing.F) {
	f.Add(uint8(payloadVP9), []byte{0xba, 0x81, 2, 3, 0x50, 1, 2, 3, 4})
	f.Add(uint8(payloadVP9), []byte{0x7a, 0, 3, 2, 0x28, 2, 4, 1, 4, 1, 9})
	f.Add(uint8(payloadAV1), []byte{0x18, 0x08, 1})
	f.Add(uint8(payloadVP8), []byte{0x90, 0xe0, 0x80, 1, 2, 0x20, 1})
	f.Fuzz(func(t *testing.T, pt uint8, payload []byte) {
		in, err := arrivalOf(&rtp.Packet{Header: rtp.Header{PayloadType: pt & 0x7f}, Payload: payload})
		if err == nil && len(in.payload) > len(payload) {
			t.Fatalf("%d bytes of %d", len(in.payload), len(payload))
		}
	})
}
