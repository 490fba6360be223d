package shard

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"sotto/sfu/room"
	"sotto/sfu/transport"
)

// put gives the rig's next round a datagram.
func (r *rig) put(at int, d transport.Datagram) int {
	d.At = r.now
	r.datagrams[at] = d
	return at + 1
}

// Datagrams that only look like something, from strangers and under a participant's own address, cost nobody a packet, leave
// no memory behind, and are all counted under the name of what they are.
func TestShard_junkCostsNobodyAPacket(t *testing.T) {
	const viewers, packets, junk = 5, 300, 50
	r := newRig(t)
	publisher, subscribers := audience(r, viewers)
	list := sealedStream(t, publisher, micSSRC, opusPT, packets, opusPayload) // sound passes the pacers
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
	for i, packet := range list {
		if i == packets/4 {
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
			if k == junk/2 {
				n = r.put(n, transport.Datagram{Data: packet, From: publisher.addr})
			}
		}
		r.round(r.now, n)
		r.now = r.now.Add(20 * time.Millisecond)
	}
	if got := r.active[0].room.Stats().Out[room.Audio].Packets; got != viewers*packets || r.wire.sent.Load()-sent < int64(got) {
		t.Errorf("%d packets out of %d", got, viewers*packets)
	}
	if got := dropped() - drops; got != packets*junk {
		t.Errorf("%d of %d datagrams of junk counted: %v", got, packets*junk, r.endpoint.Stats().Drops)
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
	const viewers, packets = 40, 60
	r := newRig(t)
	publisher, subscribers := audience(r, viewers)
	list := sealedStream(t, publisher, micSSRC, opusPT, packets, opusPayload)
	lost, got := map[string]int{}, map[string]int{}
	refusing := false
	r.wire.onward = func(runs []transport.Run) (int, error) {
		if runs[0].Segment == 0 {
			return len(runs), nil // DTLS, from a goroutine of its own
		}
		sent := 0
		for i, run := range runs {
			if len(run.Data) > run.Segment {
				t.Error("a run of sound")
			}
			if refusing && i >= 20 { // the rest of a write
				lost[run.To.String()]++
				continue
			}
			got[run.To.String()]++
			sent++
		}
		return sent, nil
	}
	defer func() { r.wire.onward = nil }()
	for i, packet := range list {
		refusing = i%2 == 1
		r.round(r.now, r.put(0, transport.Datagram{Data: packet, From: publisher.addr}))
		r.now = r.now.Add(20 * time.Millisecond)
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
		if got[to]+lost[to] < packets || lost[to] == 0 || lost[to] >= packets/2 {
			t.Errorf("%s got %d packets and lost %d: the loss is not spread", to, got[to], lost[to])
		}
	}
}
