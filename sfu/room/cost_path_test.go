package room

import (
	"testing"
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/bwe"
	"sotto/sfu/unit"
)

// What comes beside the media on the packet path does not allocate: retransmissions, probes of retransmissions and of padding, feedback
// that cuts and raises the estimate, and the choice of layers that follows.
func TestRoom_theRestOfThePathDoesNotAllocate(t *testing.T) {
	w, _, _ := call(t, 61)
	p := w.room.find(2)
	slot := p.slots[0]
	nack := []rtcp.Packet{&rtcp.TransportLayerNack{MediaSSRC: slot.SSRC, Nacks: []rtcp.NackPair{{LostPackets: 0xffff}}}}
	fb := &rtcp.TransportLayerCC{PacketStatusCount: 40, PacketChunks: []rtcp.PacketStatusChunk{
		&rtcp.RunLengthChunk{PacketStatusSymbol: rtcp.TypeTCCPacketReceivedSmallDelta, RunLength: 40},
	}}
	for range 40 {
		fb.RecvDeltas = append(fb.RecvDeltas, &rtcp.RecvDelta{Type: rtcp.TypeTCCPacketReceivedSmallDelta, Delta: 60_000})
	}
	feedback := []rtcp.Packet{fb}
	paths := [2]*bwe.Estimator{bwe.New(bwe.Config{Start: 3 * unit.Mbps}), bwe.New(bwe.Config{Start: 300 * unit.Kbps})}
	ticks, changes, last := 0, 0, slot.aimed()
	for _, test := range []struct {
		name string
		do   func()
		sent bool // something
	}{
		{"retransmissions", func() {
			nack[0].(*rtcp.TransportLayerNack).Nacks[0].PacketID = slot.sw.Newest() - 100
			p.repairs.tokens = 1e6
			w.room.HandleRTCP(w.now, 2, nack, &w.batch)
		}, true},
		{"a probe of retransmissions", func() {
			w.room.startProbe(w.now, p, bwe.Probe{Rate: 3_000_000, Bytes: 10_000, ID: 1}, &w.batch)
		}, true},
		{"padding", func() { w.room.probePacket(w.now, p, &w.batch) }, true},
		{"feedback of a queue that grows", func() {
			fb.BaseSequenceNumber = p.transport - 40
			fb.ReferenceTime += 40
			w.room.HandleRTCP(w.now, 2, feedback, &w.batch)
		}, false},
		{"layers after a cut", func() {
			ticks++
			p.estimator, p.climb = paths[ticks%2], climb{change: paths[ticks%2].Estimate().Change}
			w.room.useEstimate(w.now, p)
			w.room.allocate(w.now, p, &w.batch)
			if slot.aimed() != last {
				last, changes = slot.aimed(), changes+1
			}
		}, false},
	} {
		sends := 0
		step := func() {
			w.now = w.now.Add(60 * time.Millisecond)
			w.batch.Sends, w.batch.RTCP, w.batch.Events = w.batch.Sends[:0], w.batch.RTCP[:0], w.batch.Events[:0]
			p.reportAt = w.now.Add(time.Hour) // reports allocate, once a second
			test.do()
			sends += len(w.batch.Sends)
		}
		for range 20 {
			step()
		}
		if n := testing.AllocsPerRun(100, step); n != 0 {
			t.Errorf("%s: %v allocations", test.name, n)
		}
		if test.sent && sends == 0 {
			t.Errorf("%s: nothing was sent", test.name)
		}
	}
	if changes < 100 {
		t.Errorf("%d changes of layers", changes)
	}
}
