package shard

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"sotto/sfu/room"
	"sotto/sfu/transport"
)

// audience is a publisher and n subscribers who want its camera.
func audience(r *rig, n int) (publisher *far, subscribers []*far) {
	r.Helper()
	publisher = r.connect(1, 1, publisherMedia())
	for i := range n {
		key := uint64(100 + i)
		subscribers = append(subscribers, r.connect(key, 1, subscriberMedia(key)))
		wishes := []Wish{{Publisher: "peer 1", Wish: room.Wish{Source: room.SourceCamera, Height: 720}}}
		if err := r.do(Change{Key: key, Wishes: &wishes}); err != nil {
			r.Fatal(err)
		}
	}
	r.round(r.now, 0)
	r.wire.counting.Store(true)
	return publisher, subscribers
}

// sealedStream returns n protected packets of a source, each video frame in one packet.
func sealedStream(t testing.TB, f *far, ssrc uint32, pt uint8, n int, payload func(i int) []byte) [][]byte {
	t.Helper()
	list := make([][]byte, n)
	for i := range list {
		list[i] = f.seal(t, &rtp.Packet{
			Header:  rtp.Header{Version: 2, SSRC: ssrc, PayloadType: pt, SequenceNumber: uint16(i + 1), Timestamp: uint32(i) * 960, Marker: true},
			Payload: payload(i),
		})
	}
	return list
}

// vp8Payload is a descriptor with a picture id, the clear byte, and noise in place of the ciphertext.
func vp8Payload(size int) func(i int) []byte {
	return func(i int) []byte {
		b := make([]byte, size)
		for j := range b {
			b[j] = byte(j*7 + i)
		}
		delta := byte(1)
		if i == 0 {
			delta = 0
		}
		copy(b, []byte{0x90, 0xe0, 0x80 | byte(i>>8), byte(i), byte(i), 0, delta})
		return b
	}
}

func opusPayload(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 120) }

// source feeds protected packets one by one, without allocation.
type source struct {
	r    *rig
	from *far
	list [][]byte
	buf  []byte
}

func (s *source) next() {
	s.buf = append(s.buf[:0], s.list[0]...)
	s.list = s.list[1:]
	s.r.datagrams[0] = transport.Datagram{Data: s.buf, From: s.from.addr, At: s.r.now}
	s.r.round(s.r.now, 1)
}

// TestShard_forwardsWithoutAllocation covers the whole path: SRTP in, header, room, pacer, marshal, SRTP out, flush.
func TestShard_forwardsWithoutAllocation(t *testing.T) {
	const (
		subscribers = 8
		warm        = 1100 // rings and scratch memory have their size then
		measured    = 20
		spacing     = 4 * time.Millisecond // 20 of them stay below the rooms' housekeeping, whose reports do allocate
		// What the path allocates, it allocates in every attempt; the runtime may allocate where a goroutine waits for the first time.
		attempts = 5
	)
	tests := []struct {
		name    string
		ssrc    uint32
		pt      uint8
		payload func(int) []byte
		senders int
	}{
		{"audio", micSSRC, opusPT, opusPayload, 0},
		{"video", cameraSSRC, vp8PT, vp8Payload(1100), 0},
		{"video with senders", cameraSSRC, vp8PT, vp8Payload(1100), 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRigWith(t, tt.senders)
			r.wire.yields = true
			publisher, _ := audience(r, subscribers)
			src := &source{r: r, from: publisher, buf: make([]byte, 0, 2048),
				list: sealedStream(t, publisher, tt.ssrc, tt.pt, warm+attempts*measured, tt.payload)}
			for range warm {
				src.next()
				r.now = r.now.Add(spacing)
			}
			var allocated []float64
			for len(allocated) < attempts && !slices.Contains(allocated, 0) {
				before := int64(0)
				first := true
				allocated = append(allocated, testing.AllocsPerRun(1, func() {
					if first { // the unmeasured run: let everything settle and the reports go out
						first = false
						for range 3 {
							r.now = r.now.Add(150 * time.Millisecond)
							r.round(r.now, 0)
						}
						before = r.wire.sent.Load()
						return
					}
					for range measured {
						src.next()
						r.now = r.now.Add(spacing)
					}
				}))
				if sent := r.wire.sent.Load() - before; sent < (measured-1)*subscribers {
					t.Errorf("%d packets of %d went out; shard %v, room %+v", sent, measured*subscribers, r.counters.drops, r.active[0].room.Stats())
				}
			}
			if !slices.Contains(allocated, 0) {
				t.Errorf("%v allocations in %d packets to %d subscribers", allocated, measured, subscribers)
			}
			if r.counters.faults != 0 {
				t.Errorf("faults %d", r.counters.faults)
			}
			if helped := r.helped(); helped > 0 != (tt.senders > 0) {
				t.Errorf("%d packets were sent by %d senders", helped, tt.senders)
			}
		})
	}
}

// TestShard_deliversTheSamePayload opens what a subscriber gets.
func TestShard_deliversTheSamePayload(t *testing.T) {
	r := newRig(t)
	publisher, subs := audience(r, 1)
	r.wire.counting.Store(false)
	box := r.mail(subs[0])
	for i, p := range sealedStream(t, publisher, micSSRC, opusPT, 20, opusPayload) {
		r.feed(transport.Datagram{Data: p, From: publisher.addr, At: r.now})
		for found := false; !found; {
			select {
			case d := <-box:
				var h rtp.Header
				if d[0] < 128 || d[1] >= 192 && d[1] < 224 {
					continue // STUN, DTLS or RTCP
				}
				plain, err := subs[0].in.DecryptRTP(nil, d, &h)
				if err != nil {
					t.Fatal(err)
				}
				var got rtp.Packet
				if err := got.Unmarshal(plain); err != nil {
					t.Fatal(err)
				}
				if got.SSRC != 1000 || got.PayloadType != opusPT || !bytes.Equal(got.Payload, opusPayload(i)) {
					t.Errorf("packet %d: %v", i, &got)
				}
				found = true
			default:
				t.Fatalf("packet %d did not come; %v %+v", i, r.counters.drops, r.active[0].room.Stats())
			}
		}
	}
}

func TestShard_dropsNonsense(t *testing.T) {
	r := newRig(t)
	publisher, _ := audience(r, 1)
	if sealed, err := publisher.out.EncryptRTCP(nil, []byte{0x81, 200, 0, 1, 1, 2, 3, 4}, nil); err != nil {
		t.Fatal(err)
	} else {
		r.feed(transport.Datagram{Data: sealed, From: publisher.addr, At: r.now})
	}
	bad := &rtp.Packet{Header: rtp.Header{Version: 2, SSRC: micSSRC, PayloadType: opusPT, Extension: true, ExtensionProfile: 0xBEDE}, Payload: []byte{1}}
	_ = bad.SetExtension(1, []byte{1, 2, 3})
	plain, _ := bad.Marshal()
	plain[16] = 0x1f // an element longer than the block
	sealed, err := publisher.out.EncryptRTP(nil, plain, nil)
	if err != nil {
		t.Skip("the sender's library refuses to make it")
	}
	r.feed(transport.Datagram{Data: sealed, From: publisher.addr, At: r.now})
	if r.counters.drops[DropRTCP] != 1 || r.counters.faults != 0 {
		t.Errorf("drops %v, faults %d", r.counters.drops, r.counters.faults)
	}
}

// TestShard_survivesAFault gives one peer a state that cannot be and demands that only it goes.
func TestShard_survivesAFault(t *testing.T) {
	r := newRig(t)
	publisher, subs := audience(r, 2)
	victim := r.byKey[subs[0].key]
	good := r.byKey[subs[1].key]
	func() {
		defer r.barrier(victim)
		panic("a fault")
	}()
	list := sealedStream(t, publisher, micSSRC, opusPT, 10, opusPayload)
	before := r.wire.sent.Load()
	for _, p := range list {
		r.feed(transport.Datagram{Data: p, From: publisher.addr, At: r.now})
	}
	if r.byKey[victim.key] != nil || r.byKey[good.key] == nil || r.counters.faults != 1 {
		t.Errorf("faults %d", r.counters.faults)
	}
	if sent := r.wire.sent.Load() - before; sent < int64(len(list)) {
		t.Errorf("%d packets after the fault", sent)
	}
	notices, _ := r.notices.Take()
	found := false
	for _, n := range notices {
		found = found || n.Kind == NoticeClosed && n.Key == victim.key && n.Reason == ReasonFault
	}
	if !found {
		t.Errorf("%+v", notices)
	}
	// A fault in a room's timer closes the room.
	r.condemn(good.home)
	r.round(r.now, 0)
	if len(r.byKey) != 0 || len(r.rooms) != 0 || len(r.active) != 0 {
		t.Error("the room is still there")
	}
}

// A round that breaks off where nobody is to blame leaves nothing behind for the next one.
func TestShard_abandonedRoundLeavesNothing(t *testing.T) {
	r := newRig(t)
	publisher, _ := audience(r, 1)
	p := r.byKey[publisher.key]
	endpoint := r.endpoint
	r.touch(p.home)
	p.rtcp = append(p.rtcp, &rtcp.PictureLossIndication{})
	r.rtcpTo = append(r.rtcpTo, p)
	r.batch.Events = append(r.batch.Events, room.TrackStarted{Peer: p.id})
	r.freed = append(r.freed, 77)
	r.endpoint = nil
	r.round(r.now, 0)
	r.endpoint = endpoint
	if r.counters.faults != 1 {
		t.Fatalf("%d faults, want one", r.counters.faults)
	}
	if p.home.touched || len(r.touched)+len(r.rtcpTo)+len(p.rtcp)+len(r.batch.Events)+len(r.freed) != 0 {
		t.Errorf("left: room touched %v, %d rooms, %d and %d RTCP, %d events, %d ids",
			p.home.touched, len(r.touched), len(r.rtcpTo), len(p.rtcp), len(r.batch.Events), len(r.freed))
	}
	r.free = r.free[:len(r.free)-1]
	for _, sealed := range sealedStream(t, publisher, micSSRC, opusPT, 3, opusPayload) {
		before := r.wire.sent.Load()
		r.feed(transport.Datagram{Data: sealed, From: publisher.addr, At: r.now})
		if r.wire.sent.Load() == before {
			t.Error("a packet after the fault went nowhere")
		}
	}
}

func TestOrderReports_putsReportsFirst(t *testing.T) {
	list := []rtcp.Packet{&rtcp.PictureLossIndication{}, &rtcp.ReceiverReport{}, &rtcp.TransportLayerNack{}, &rtcp.SenderReport{}}
	orderReports(list)
	if _, ok := list[0].(*rtcp.SenderReport); !ok {
		t.Errorf("%T", list[0])
	}
	if _, ok := list[1].(*rtcp.ReceiverReport); !ok {
		t.Errorf("%T", list[1])
	}
	if _, ok := list[2].(*rtcp.PictureLossIndication); !ok {
		t.Errorf("%T", list[2])
	}
}

func TestLatencyMeter_sortsIntoBuckets(t *testing.T) {
	var m latencyMeter
	at := time.Now()
	m.note(SeriesVideo, at)
	m.note(SeriesVideo, at)
	m.note(SeriesPaced, at)
	m.note(SeriesAudio, at.Add(-time.Second))
	m.settle(at.Add(30 * time.Microsecond))
	if m.totals[SeriesVideo].Counts[1] != 2 || m.totals[SeriesVideo].Sum != 60*time.Microsecond || m.totals[SeriesPaced].Counts[1] != 1 || m.totals[SeriesAudio].Counts[LatencyBuckets] != 1 || len(m.pending) != 0 {
		t.Errorf("%+v", m)
	}
}

// BenchmarkShard_fanOut is the cost of one received audio packet for n subscribers, all but the socket.
func BenchmarkShard_fanOut(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("subscribers=%d", n), func(b *testing.B) {
			r := newRig(b)
			publisher, subscribers := audience(r, n)
			src := &source{r: r, from: publisher, buf: make([]byte, 0, 2048)}
			empty, err := (&rtcp.ReceiverReport{SSRC: 1}).Marshal()
			if err != nil {
				b.Fatal(err)
			}
			before := r.wire.sent.Load()
			b.ReportAllocs()
			packet := 0
			for b.Loop() {
				if len(src.list) == 0 {
					b.StopTimer()
					for _, f := range subscribers { // who says nothing for 15 s gets nothing
						sealed, err := f.out.EncryptRTCP(nil, empty, nil)
						if err != nil {
							b.Fatal(err)
						}
						r.feed(transport.Datagram{Data: sealed, From: f.addr, At: r.now})
					}
					src.list = make([][]byte, 1000)
					for i := range src.list {
						packet++
						src.list[i] = publisher.seal(b, &rtp.Packet{
							Header:  rtp.Header{Version: 2, SSRC: micSSRC, PayloadType: opusPT, SequenceNumber: uint16(packet), Timestamp: uint32(packet) * 960},
							Payload: opusPayload(packet),
						})
					}
					b.StartTimer()
				}
				src.next()
				r.now = r.now.Add(200 * time.Microsecond) // stays below the cap of a publisher's rate
			}
			sent := r.wire.sent.Load() - before
			if sent < int64(b.N*n) {
				b.Errorf("%d of %d packets sent", sent, b.N*n)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(sent), "ns/sent")
		})
	}
}
