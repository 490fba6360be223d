package shard

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/pion/rtp"

	"sotto/sfu/transport"
)

// videoFrames makes n frames of six packets, sealed by the publisher.
func videoFrames(t testing.TB, publisher *far, n int) (frames [][][]byte) {
	seq := uint16(0)
	for i := range n {
		var frame [][]byte
		for k := range 6 {
			seq++
			p := &rtp.Packet{
				Header:  rtp.Header{Version: 2, SSRC: cameraSSRC, PayloadType: vp8PT, SequenceNumber: seq, Timestamp: uint32(i) * 3000, Marker: k == 5},
				Payload: vp8Payload(900)(i),
			}
			if k > 0 {
				p.Payload[0] &^= 0x10 // not the start of a partition
			}
			frame = append(frame, publisher.seal(t, p))
		}
		frames = append(frames, frame)
	}
	return frames
}

// put gives the rig's next round a datagram.
func (r *rig) put(at int, d transport.Datagram) int {
	d.At = r.now
	r.datagrams[at] = d
	return at + 1
}

// Datagrams that only look like something, from strangers and under a participant's own address, cost nobody a packet, leave
// no memory behind, and are all counted under the name of what they are.
func TestShard_junkCostsNobodyAPacket(t *testing.T) {
	const viewers, frames, junk = 5, 200, 50
	r := newRig(t)
	publisher, subscribers := audience(r, viewers)
	list := videoFrames(t, publisher, frames)
	rng := rand.New(rand.NewPCG(5, 6))
	known, unknown := subscribers[0].addr, r.wire.LocalAddr()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var before uint64
	dropped := func() (n uint64) {
		for _, d := range r.endpoint.Stats().Drops {
			n += d
		}
		return n + r.counters.drops[DropRTP] + r.counters.drops[DropRTCP]
	}
	drops, sent := dropped(), r.wire.sent.Load()
	for i, frame := range list {
		if i == frames/4 {
			before = heap() // rings and scratch memory have their size then
		}
		n := 0
		for k := range junk {
			b := make([]byte, 40+rng.IntN(1100))
			for j := range b {
				b[j] = byte(rng.Uint32())
			}
			b[0] = []byte{0, 22, 0x80, 0x90, 200}[k%5]
			from := unknown
			if k%2 == 0 {
				from = known
			}
			n = r.put(n, transport.Datagram{Data: b, From: from})
			if k%10 == 5 && len(frame) > 0 { // between the packets of a frame
				n = r.put(n, transport.Datagram{Data: frame[0], From: publisher.addr})
				frame = frame[1:]
			}
		}
		for _, p := range frame {
			n = r.put(n, transport.Datagram{Data: p, From: publisher.addr})
		}
		r.round(r.now, n)
		r.now = r.now.Add(33 * time.Millisecond)
	}
	if got := r.wire.sent.Load() - sent; got < viewers*frames*6 {
		t.Errorf("%d packets out of %d", got, viewers*frames*6)
	}
	if got := dropped() - drops; got != frames*junk {
		t.Errorf("%d of %d datagrams of junk counted: %v", got, frames*junk, r.endpoint.Stats().Drops)
	}
	if after := heap(); after > before+512<<10 {
		t.Errorf("the heap grew from %d to %d", before, after)
	}
	if r.counters.faults != 0 {
		t.Errorf("%d faults", r.counters.faults)
	}
}

// What a full socket does not take is counted, and nothing else is lost: not the next frame, and not always the same viewer.
func TestShard_fullSocketLosesOnlyWhatDoesNotFit(t *testing.T) {
	const viewers, frames = 40, 60
	r := newRig(t)
	publisher, subscribers := audience(r, viewers)
	list := videoFrames(t, publisher, frames)
	lost, got := map[string]int{}, map[string]int{}
	refusing := false
	r.wire.onward = func(runs []transport.Run) (int, error) {
		sent := 0
		for i, run := range runs {
			packets := (len(run.Data) + run.Segment - 1) / max(run.Segment, 1)
			if refusing && i >= 20 { // the rest of a write
				lost[run.To.String()] += packets
				continue
			}
			got[run.To.String()] += packets
			sent += packets
		}
		return sent, nil
	}
	defer func() { r.wire.onward = nil }()
	for i, frame := range list {
		refusing = i%2 == 1
		n := 0
		for _, p := range frame {
			n = r.put(n, transport.Datagram{Data: p, From: publisher.addr})
		}
		r.round(r.now, n)
		r.now = r.now.Add(33 * time.Millisecond)
	}
	sum := 0
	for _, n := range lost {
		sum += n
	}
	if d := r.endpoint.Stats().Drops[transport.DropSocket]; sum == 0 || d != uint64(sum) {
		t.Errorf("%d datagrams did not fit, %d counted", sum, d)
	}
	for _, s := range subscribers {
		to := s.addr.String()
		if got[to] < frames*6/2 {
			t.Errorf("%s got %d packets of %d", to, got[to], frames*6)
		}
		if lost[to] == 0 || lost[to] == frames*6/2 {
			t.Errorf("%s lost %d packets: the loss is not spread", to, lost[to])
		}
	}
}
