package shard

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"

	"sotto/sfu/packet"
	"sotto/sfu/room"
	"sotto/sfu/transport"
)

// received is a packet as a subscriber opens it.
type received struct {
	rtp.Packet
	sealed int // bytes on the wire
}

// burst feeds packets in one round and returns what the subscriber gets, in order.
func (r *rig) burst(from, to *far, packets [][]byte) (out []received) {
	r.Helper()
	for i, p := range packets {
		r.datagrams[i] = transport.Datagram{Data: p, From: from.addr, At: r.now}
	}
	r.round(r.now, len(packets))
	for {
		select {
		case d := <-r.mail(to):
			if d[0] < 128 || d[1] >= 192 && d[1] < 224 {
				continue // STUN or RTCP
			}
			plain, err := to.in.DecryptRTP(nil, d, nil)
			if err != nil {
				r.Fatal(err)
			}
			got := received{sealed: len(d)}
			if err := got.Unmarshal(plain); err != nil {
				r.Fatal(err)
			}
			out = append(out, got)
		default:
			return out
		}
	}
}

func TestEmit_makesPacketsOfAFrameEquallyLong(t *testing.T) {
	tests := []struct {
		name  string
		sizes []int // payloads of a frame; negative: a packet of audio
		want  []int // the same by what goes out, video before audio
	}{
		{"as VP8 cuts", []int{1059, 1059, 1060, 1059, 1059, 1060}, []int{1060, 1060, 1060, 1060, 1060, 1060}},
		{"the longest is the first", []int{1060, 1059, 1059}, []int{1060, 1060, 1060}},
		{"as AV1 cuts", []int{1060, 1060, 1055}, []int{1060, 1060, 1060}},
		{"a short end", []int{1060, 1059, 400}, []int{1060, 1060, 400}},
		{"too far apart", []int{1060, 1051, 1060}, []int{1060, 1051, 1060}},
		{"never a span of more than eight", []int{1060, 1064, 1068, 1072}, []int{1068, 1068, 1068, 1072}},
		{"audio stays and goes behind", []int{-120, 1059, -121, 1060}, []int{1060, 1060, -120, -121}},
		{"one", []int{77}, []int{77}},
	}
	r := newRig(t)
	publisher, subs := audience(r, 1)
	r.wire.counting.Store(false)
	// Streams begin with a key frame and packets that carry the MID; let that pass.
	for _, p := range sealedStream(t, publisher, cameraSSRC, vp8PT, 300, vp8Payload(900)) {
		r.now = r.now.Add(5 * time.Millisecond)
		r.burst(publisher, subs[0], [][]byte{p})
	}
	for _, p := range sealedStream(t, publisher, micSSRC, opusPT, 200, opusPayload) {
		r.burst(publisher, subs[0], [][]byte{p})
	}
	video, audio, frame := uint16(300), uint16(200), 300
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r.now = r.now.Add(50 * time.Millisecond)
			var packets [][]byte
			sent := map[int][][]byte{} // payloads by kind, in order
			for i, size := range tt.sizes {
				p := &rtp.Packet{Header: rtp.Header{Version: 2, SSRC: micSSRC, PayloadType: opusPT}}
				if size < 0 {
					audio++
					p.SequenceNumber, p.Timestamp = audio, uint32(audio)*960
					p.Payload = bytes.Repeat([]byte{byte(audio)}, -size)
				} else {
					video++
					p.SSRC, p.PayloadType, p.SequenceNumber, p.Timestamp = cameraSSRC, vp8PT, video, uint32(frame)*960
					p.Marker = i == len(tt.sizes)-1
					p.Payload = vp8Payload(size)(frame)
					if i > 0 {
						p.Payload[0] &^= 0x10 // not the start of a partition
					}
				}
				sent[int(p.SSRC)] = append(sent[int(p.SSRC)], bytes.Clone(p.Payload))
				packets = append(packets, publisher.seal(t, p))
			}
			frame++
			got := r.burst(publisher, subs[0], packets)
			var lengths []int
			for _, p := range got {
				kind, header := cameraSSRC, p.MarshalSize()-len(p.Payload)-int(p.PaddingSize)
				n := p.sealed - transport.SealOverhead - header
				if p.PayloadType == opusPT {
					kind, n = micSSRC, -n
					if p.Padding {
						t.Error("audio with padding")
					}
				}
				lengths = append(lengths, n)
				if p.PaddingSize > maxEqualize {
					t.Errorf("%d bytes of padding", p.PaddingSize)
				}
				want := sent[kind][0]
				sent[kind] = sent[kind][1:]
				if at := min(7, len(want)); len(p.Payload) != len(want) || !bytes.Equal(p.Payload[at:], want[at:]) {
					t.Errorf("a payload of %d bytes became %d", len(want), len(p.Payload))
				}
			}
			if !slices.Equal(lengths, tt.want) {
				t.Errorf("%v became %v, want %v", tt.sizes, lengths, tt.want)
			}
		})
	}
}

// Packets of several streams share a run where their lengths allow, and none overtakes another of its own stream.
func TestJoin_mergesStreamsAndKeepsTheirOrder(t *testing.T) {
	type send struct {
		ssrc  uint32
		size  uint16
		rigid bool
	}
	tests := []struct {
		name  string
		sends []send
		want  [][]int // sends by run
	}{
		{"two streams in step", []send{{1, 1060, false}, {2, 1058, false}, {1, 1059, false}, {2, 1060, false}}, [][]int{{0, 1, 2, 3}}},
		{"two sizes", []send{{1, 1060, false}, {2, 500, false}, {1, 1059, false}, {2, 501, false}}, [][]int{{0, 2}, {1, 3}}},
		{"a stream that changes its size and back", []send{{1, 1060, false}, {1, 400, false}, {1, 1060, false}}, [][]int{{0}, {1}, {2}}},
		{"another stream may go back", []send{{1, 1060, false}, {1, 400, false}, {2, 1060, false}}, [][]int{{0, 2}, {1}}},
		{"but not past its own", []send{{2, 1060, false}, {1, 400, false}, {2, 400, false}, {2, 1060, false}}, [][]int{{0}, {1, 2}, {3}}},
		{"streams that share a bit are taken for one", []send{{1, 1060, false}, {65, 400, false}, {1, 1060, false}}, [][]int{{0}, {1}, {2}}},
		{"retransmissions are not padded", []send{{3, 1062, true}, {3, 1062, true}, {3, 1061, true}, {1, 1060, false}}, [][]int{{0, 1}, {2}, {3}}},
		{"nor do they let a run grow", []send{{1, 1060, false}, {3, 1060, true}, {1, 1061, false}}, [][]int{{0, 1}, {2}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &Shard{plans: make([]plan, len(tt.sends))}
			l := &lane{shard: s}
			for i, in := range tt.sends {
				out := &room.Send{Kind: room.Video, Outgoing: packet.Outgoing{Packet: &packet.Packet{}, SSRC: in.ssrc, RTX: in.rigid}}
				s.plans[i].size = in.size
				l.join(int32(i+1), out)
			}
			var got [][]int
			for _, r := range l.runs {
				var list []int
				for at := r.first; at != 0; at = s.plans[at-1].next {
					list = append(list, int(at-1))
					if size := tt.sends[at-1].size; size > r.top || r.top-size > maxEqualize {
						t.Errorf("a packet of %d in a run of %d", size, r.top)
					}
				}
				got = append(got, list)
			}
			if !slices.EqualFunc(got, tt.want, slices.Equal) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}
