package shard

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"sotto/sfu/packet"
	"sotto/sfu/room"
	"sotto/sfu/transport"
)

// helped returns how many packets the senders sealed.
func (r *rig) helped() (n uint64) {
	for _, l := range r.lanes {
		n += l.packets
	}
	return n
}

// Whoever seals and writes it, a peer gets the same packets in the same order: video, sound, and what it asks for again.
func TestSenders_changeNothing(t *testing.T) {
	const viewers, frames = 17, 60
	watch := func(t *testing.T, senders int) (got [viewers][][]byte) {
		r := newRigWith(t, senders)
		publisher, subs := audience(r, viewers)
		r.wire.counting.Store(false)
		r.wire.yields = true
		video, audio := uint16(0), uint16(0)
		for frame := range frames {
			n := 0
			for i := range 1 + frame%7 {
				video++
				p := &rtp.Packet{
					Header:  rtp.Header{Version: 2, SSRC: cameraSSRC, PayloadType: vp8PT, SequenceNumber: video, Timestamp: uint32(frame) * 3000, Marker: i == frame%7},
					Payload: vp8Payload(300 + 200*(i%3))(frame),
				}
				if i > 0 {
					p.Payload[0] &^= 0x10
				}
				n = r.put(n, transport.Datagram{Data: publisher.seal(t, p), From: publisher.addr})
				audio++
				sound := &rtp.Packet{Header: rtp.Header{Version: 2, SSRC: micSSRC, PayloadType: opusPT, SequenceNumber: audio, Timestamp: uint32(audio) * 960},
					Payload: opusPayload(int(audio))}
				n = r.put(n, transport.Datagram{Data: publisher.seal(t, sound), From: publisher.addr})
			}
			r.round(r.now, n)
			r.now = r.now.Add(30 * time.Millisecond)
			again := 0
			for i, s := range subs {
				last := uint16(0)
				for len(r.mail(s)) > 0 {
					d := <-r.mail(s)
					if d[0] < 128 || d[1] >= 192 && d[1] < 224 {
						continue // STUN or RTCP
					}
					plain, err := s.in.DecryptRTP(nil, d, nil)
					if err != nil {
						t.Fatal(err)
					}
					got[i] = append(got[i], plain)
					if plain[1]&0x7f == vp8PT {
						last = uint16(plain[2])<<8 | uint16(plain[3])
					}
				}
				if last != 0 && frame%5 == 4 {
					nack, _ := (&rtcp.TransportLayerNack{SenderSSRC: 1, MediaSSRC: uint32(s.key)*10 + 1, Nacks: []rtcp.NackPair{{PacketID: last - 1, LostPackets: 1}}}).Marshal()
					sealed, err := s.out.EncryptRTCP(nil, nack, nil)
					if err != nil {
						t.Fatal(err)
					}
					again = r.put(again, transport.Datagram{Data: sealed, From: s.addr})
				}
			}
			r.round(r.now, again)
		}
		if r.counters.faults != 0 || (r.helped() > 0) != (senders > 0) {
			t.Errorf("%d faults, %d packets by %d senders", r.counters.faults, r.helped(), senders)
		}
		return got
	}
	var want [viewers][][]byte
	for _, senders := range []int{0, 1, 3} {
		t.Run(fmt.Sprint(senders, " senders"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := watch(t, senders)
				if senders == 0 {
					want = got
				}
				for i := range got {
					if n := len(got[i]); n < 5*frames || n != len(want[i]) {
						t.Fatalf("viewer %d got %d packets, %d without senders", i, n, len(want[i]))
					}
					numbers, rtx := map[[6]byte]bool{}, 0
					for k, p := range got[i] {
						if !bytes.Equal(p, want[i][k]) {
							t.Fatalf("viewer %d, packet %d: % x, without senders % x", i, k, p[:24], want[i][k][:24])
						}
						number := [6]byte{p[2], p[3], p[8], p[9], p[10], p[11]}
						if numbers[number] {
							t.Errorf("viewer %d got a number twice", i)
						}
						numbers[number] = true
						if p[1]&0x7f == 97 {
							rtx++
						}
					}
					if rtx == 0 {
						t.Errorf("viewer %d got nothing again", i)
					}
				}
			})
		})
	}
}

// A fault in the packet of one peer costs that peer its place and nobody else a packet, in whose hands ever it happens.
func TestSenders_faultIsThePeersOwn(t *testing.T) {
	const viewers = 30
	r := newRigWith(t, 2)
	publisher, subs := audience(r, viewers)
	r.wire.yields = true
	list := sealedStream(t, publisher, micSSRC, opusPT, viewers/3+1, opusPayload)
	for i, sealed := range list[:viewers/3] {
		// A packet whose end lies before its beginning cannot be cut out of the ring.
		victim := r.byKey[subs[i].key]
		r.batch.Sends = append(r.batch.Sends, room.Send{To: victim.id, Kind: room.Video,
			Outgoing: packet.Outgoing{Packet: &packet.Packet{PayloadAt: 200, PayloadEnd: 100}}})
		before := r.wire.sent.Load()
		r.feed(transport.Datagram{Data: sealed, From: publisher.addr, At: r.now})
		if r.byKey[victim.key] != nil || r.counters.faults != uint64(i+1) || len(r.byKey) != viewers-i {
			t.Fatalf("%d faults, %d peers left", r.counters.faults, len(r.byKey))
		}
		if sent := r.wire.sent.Load() - before; sent < int64(viewers-i-1) {
			t.Errorf("%d packets to %d viewers", sent, viewers-i-1)
		}
	}
	if r.helped() == 0 {
		t.Error("the senders did nothing")
	}
}

// A fan-out that breaks off, with a sender or with the shard itself, ends before the next one, which misses nothing.
func TestSenders_surviveAFault(t *testing.T) {
	const viewers, packets = 30, 60
	r := newRigWith(t, 2)
	publisher, _ := audience(r, viewers)
	r.wire.yields = true
	var calls atomic.Int64
	broken := false
	r.wire.onward = func(runs []transport.Run) (int, error) {
		if n := uint64(calls.Add(1)); broken && n*0x9e3779b97f4a7c15>>62 == 0 {
			panic("a fault")
		}
		return len(runs), nil
	}
	defer func() { r.wire.onward = nil }()
	for i, sealed := range sealedStream(t, publisher, micSSRC, opusPT, packets, opusPayload) {
		broken = i%2 == 0
		before := r.wire.sent.Load()
		r.feed(transport.Datagram{Data: sealed, From: publisher.addr, At: r.now})
		r.now = r.now.Add(20 * time.Millisecond)
		if sent := r.wire.sent.Load() - before; !broken && sent < viewers {
			t.Errorf("packet %d reached %d viewers", i, sent)
		}
	}
	faults := r.counters.faults
	for _, l := range r.lanes {
		faults += l.faults
	}
	if faults < packets/4 || faults == r.counters.faults || r.counters.faults == 0 {
		t.Errorf("%d faults of the shard, %d in all", r.counters.faults, faults)
	}
	if len(r.byKey) != viewers+1 {
		t.Errorf("%d peers are left", len(r.byKey))
	}
}
