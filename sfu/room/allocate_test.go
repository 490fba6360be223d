package room

import (
	"fmt"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/bwe"
)

// gallery is a subscriber of n cameras of three layers, two seconds into the call.
func gallery(t testing.TB, n int) (*world, *peer) {
	w := newWorld(t, 77)
	var wishes []Wish
	for i := range n {
		id := PeerID(1 + i)
		w.publish(id, 3)
		wishes = append(wishes, Wish{Publisher: id, Source: SourceCamera, Height: 360, Priority: uint8(i % 3)})
	}
	s := w.subscribe(200, n, 0)
	w.apply(Want{Peer: s.id, Wishes: wishes[:min(n, MaxWishes)]})
	w.run(2 * time.Second)
	return w, w.room.find(s.id)
}

func TestAllocate_aGalleryDoesNotAllocate(t *testing.T) {
	w, p := gallery(t, 25)
	if n := testing.AllocsPerRun(100, func() { w.room.allocate(w.now, p, &w.batch) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if keep := p.estimator.Estimate().Keep; p.spent > keep {
		t.Errorf("%d spent of %d", p.spent, keep)
	}
}

// BenchmarkRoom_allocate is the whole of it: ladders, two allocations, targets.
func BenchmarkRoom_allocate(b *testing.B) {
	for _, n := range []int{25, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w, p := gallery(b, n)
			b.ReportAllocs()
			for b.Loop() {
				w.room.allocate(w.now, p, &w.batch)
			}
		})
	}
}

// What a subscriber claims in floods changes neither what it may get nor what others get: REMB is not listened to, and feedback for
// numbers that were not sent proves nothing.
func TestRoom_bandwidthClaimsInFloods(t *testing.T) {
	w, p := gallery(t, 4)
	before := p.estimator.Estimate()
	remb := &rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 1e18, SSRCs: []uint32{p.slots[0].SSRC}}
	future := &rtcp.TransportLayerCC{
		BaseSequenceNumber: p.transport + 5000, PacketStatusCount: 8000,
		PacketChunks: []rtcp.PacketStatusChunk{&rtcp.RunLengthChunk{PacketStatusSymbol: rtcp.TypeTCCPacketReceivedWithoutDelta, RunLength: 8000}},
	}
	sends := len(w.batch.Sends)
	for range 2000 {
		w.room.HandleRTCP(w.now, p.id, []rtcp.Packet{remb, future}, &w.batch)
	}
	if est := p.estimator.Estimate(); est.Keep > before.Keep || est.Change > before.Change {
		t.Errorf("%+v after the flood, was %+v", est, before)
	}
	if n := len(w.batch.Sends) - sends; n > 0 {
		t.Errorf("%d packets sent for it", n)
	}
	// Half of the truth, twice a millisecond: what was sent is acknowledged, before it can have arrived.
	now := &rtcp.TransportLayerCC{PacketStatusCount: 100, PacketChunks: []rtcp.PacketStatusChunk{
		&rtcp.RunLengthChunk{PacketStatusSymbol: rtcp.TypeTCCPacketReceivedWithoutDelta, RunLength: 100},
	}}
	for range 5000 {
		w.run(time.Millisecond)
		now.BaseSequenceNumber = p.transport - 100
		for range 2 {
			w.room.HandleRTCP(w.now, p.id, []rtcp.Packet{now}, &w.batch)
		}
		if est := p.estimator.Estimate(); est.Keep > bwe.DefaultMax || est.Change > est.Keep {
			t.Fatalf("%+v", est)
		}
	}
}
