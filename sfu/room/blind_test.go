package room

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/packet"
)

// decision is everything that the room decided about one packet; the payload is apart.
type decision struct {
	at              time.Duration
	to              PeerID
	ssrc, ts        uint32
	seq, frame, pic uint16
	transport, osn  uint16
	pt, tl0         uint8
	marker, rtx     bool
	kind            Kind
	descriptor      string // its first byte
	rtcp            string
}

// trace runs one call with switches, loss and repair, the frames' bodies drawn from a seed of their own, and returns every
// decision, and the bodies apart.
func trace(t *testing.T, body uint64) (decisions []decision, sentBodies, gotBodies []string) {
	w := newWorld(t, 40)
	p := w.publish(1, 3)
	p.payload = rand.New(rand.NewPCG(body, body))
	p.loss = 0.01
	w.apply(Join{Peer: 2, Extensions: subExt})
	w.apply(Slots{Peer: 2, Slots: []Slot{{MID: "a", Kind: Video, SSRC: 10, RTXSSRC: 11, Codecs: []PayloadType{vp8Sub}}}})
	var seqs []uint16
	observe := func() {
		for _, s := range w.batch.Sends {
			const prefix = 7 // descriptor of 6 bytes and the clear byte
			payload := s.Packet.Payload()
			decisions = append(decisions, decision{
				w.now.Sub(epoch), s.To, s.SSRC, s.TS, s.Seq, s.Frame, s.PictureID, s.TransportSeq, s.OSN,
				s.PT, s.TL0, s.Marker, s.RTX, s.Kind, string(payload[:1]), "",
			})
			gotBodies = append(gotBodies, string(payload[prefix:]))
			sentBodies = append(sentBodies, string(p.layers[s.Packet.Layer].sent[s.Packet.Seq][28+prefix:]))
			seqs = append(seqs, s.Seq)
		}
		for _, f := range w.batch.RTCP {
			raw, err := f.Packet.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			decisions = append(decisions, decision{at: w.now.Sub(epoch), to: f.To, rtcp: string(raw)})
		}
	}
	w.observe = observe
	for i, h := range []uint16{720, 180, 360, 720, 180} {
		w.apply(Want{Peer: 2, Wishes: []Wish{{Publisher: 1, Source: SourceCamera, Height: h}}})
		w.run(700 * time.Millisecond)
		if n := len(seqs); n > 10 {
			w.room.HandleRTCP(w.now, 2, []rtcp.Packet{&rtcp.TransportLayerNack{MediaSSRC: 10, Nacks: []rtcp.NackPair{{PacketID: seqs[n-5-i], LostPackets: 5}}}}, &w.batch)
			w.flush()
		}
	}
	return decisions, sentBodies, gotBodies
}

// Whatever is behind descriptor and clear byte, every decision of the room is the same, and the bytes come out as they went in.
func TestRoom_doesNotReadTheContent(t *testing.T) {
	want, sent, got := trace(t, 1)
	if len(want) < 300 {
		t.Fatalf("only %d decisions", len(want))
	}
	repaired := 0
	for i := range want {
		if want[i].rtx {
			repaired++
		}
	}
	if repaired == 0 {
		t.Fatal("no retransmission in the trace")
	}
	for body := range uint64(5) {
		if body > 0 {
			var other []decision
			other, sent, got = trace(t, body+1)
			if len(other) != len(want) {
				t.Fatalf("%d decisions, %d with other bytes", len(want), len(other))
			}
			for i := range want {
				if want[i] != other[i] {
					t.Fatalf("decision %d depends on the content:\n%+v\n%+v", i, want[i], other[i])
				}
			}
		}
		for i := range sent {
			if sent[i] != got[i] {
				t.Fatalf("payload %d changed", i)
			}
		}
	}
}

func FuzzRoom(f *testing.F) {
	w := newWorld(f, 41)
	p := &publisher{w: w, id: 1}
	f.Add(append(p.header(96, 1, 1, 5, "1", "q", true), 0x90, 0xE0, 0x80, 1, 2, 0x20, 0, 1, 2), []byte{0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 10}, byte(1))
	f.Add(append(p.header(97, 1, 1, 6, "1", "q", true), 0, 1, 0x10, 0), []byte{0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 10, 0, 1, 255, 255}, byte(60))
	f.Add(append(p.header(111, 1, 1, 7, "0", "", true), 1), []byte{0x80, 200, 0, 6, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, byte(200))
	f.Fuzz(func(t *testing.T, media, control []byte, ms byte) {
		w := newWorld(t, 42)
		pub := w.publish(1, 3)
		w.subscribe(2, 1, 1)
		w.pubs, w.subs = nil, nil
		w.apply(Want{Peer: 2, Wishes: []Wish{{Publisher: 1, Source: SourceCamera, Height: 720}}})
		key := append(pub.header(96, 1, 1, 5, "1", "f", true), 0x90, 0xE0, 0x80, 1, 2, 0x20, 0, 1, 2)
		w.raw(1, key)
		for n := range 4 {
			raw := append([]byte(nil), media...)
			if len(raw) > 4 {
				raw[3] += byte(n * int(ms))
			}
			var p packet.Packet
			if packet.Parse(raw, &pubExt, w.now, &p) == nil {
				before := append([]byte(nil), p.Payload()...)
				w.room.HandleRTP(w.now, 1, &p, &w.batch)
				for _, s := range w.batch.Sends {
					if s.Packet != nil && !s.Packet.Repaired && !bytes.Equal(s.Packet.Payload(), before) {
						t.Fatal("payload changed")
					}
				}
				w.flush()
			}
			if pkts, err := rtcp.Unmarshal(control); err == nil {
				w.room.HandleRTCP(w.now, PeerID(1+n%2), pkts, &w.batch)
				w.flush()
			}
			w.run(time.Duration(ms) * time.Millisecond)
		}
	})
}
