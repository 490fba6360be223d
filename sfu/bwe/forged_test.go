package bwe

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/unit"
)

// liar makes feedback that no receiver would send.
type liar struct {
	rng *rand.Rand
	fb  rtcp.TransportLayerCC
}

// random invents statuses around a number: of the past, of the future, contradictory ones, with times that jump.
func (l *liar) random(near uint16) *rtcp.TransportLayerCC {
	n := uint16(1 + l.rng.IntN(400))
	fb := &l.fb
	*fb = rtcp.TransportLayerCC{
		BaseSequenceNumber: near - uint16(l.rng.IntN(600)) + uint16(l.rng.IntN(100)), PacketStatusCount: n,
		ReferenceTime: l.rng.Uint32N(1 << 24), FbPktCount: uint8(l.rng.Uint32()),
	}
	for left := int(n); left > 0; {
		symbol := uint16(l.rng.IntN(4))
		if l.rng.IntN(2) == 0 {
			k := min(1+l.rng.IntN(100), left)
			fb.PacketChunks = append(fb.PacketChunks, &rtcp.RunLengthChunk{PacketStatusSymbol: symbol, RunLength: uint16(k)})
			left -= k
			continue
		}
		vector := &rtcp.StatusVectorChunk{SymbolList: make([]uint16, 14)}
		for i := range vector.SymbolList {
			vector.SymbolList[i] = uint16(l.rng.IntN(3))
		}
		fb.PacketChunks = append(fb.PacketChunks, vector)
		left -= 14
	}
	for range l.rng.IntN(int(n) + 1) {
		fb.RecvDeltas = append(fb.RecvDeltas, &rtcp.RecvDelta{Type: 2, Delta: int64(l.rng.IntN(1<<16)-1<<15) * 250})
	}
	return fb
}

// inBounds checks what holds whatever is claimed.
func inBounds(t *testing.T, e *Estimator, sent unit.Bitrate) {
	t.Helper()
	est := e.Estimate()
	if est.Keep < DefaultMin || est.Keep > DefaultMax || est.Change > est.Keep || est.Change < DefaultMin {
		t.Fatalf("%+v", est)
	}
	if est.Loss < 0 || est.Loss > 1 || est.Acked < 0 || est.Acked > sent || est.Queue < 0 {
		t.Fatalf("%+v, of %d that was sent", est, sent)
	}
}

func TestEstimator_anythingClaimed(t *testing.T) {
	for seed := range uint64(20) {
		l := &liar{rng: rand.New(rand.NewPCG(seed, 9))}
		e, now := New(Config{}), start
		var probe Probe
		left, total := 0, 0
		for n := range uint16(6000) {
			now = now.Add(time.Duration(l.rng.IntN(6)) * time.Millisecond)
			id := uint8(0)
			if left > 0 {
				id = probe.ID
			}
			e.OnSent(now, n, 1000, id)
			left, total = left-1000, total+1000
			if n%20 == 0 {
				e.OnFeedback(now, l.random(n))
				inBounds(t, e, unit.RateOf(total, time.Duration(ackedBuckets*ackedBucket)))
			}
			e.SetWanted(5*unit.Mbps, 10*unit.Mbps)
			if p, _ := e.Next(now); p.ID != 0 {
				if p.Rate > DefaultMax || p.Bytes > DefaultMax.Bytes(probeMax)+probeBytes {
					t.Fatalf("%+v", p)
				}
				probe, left = p, p.Bytes
			}
		}
	}
}

// Who acknowledges everything at once, whatever the path does, gets what it wants and no more: the estimate follows what is sent
// and what is wanted.
func TestEstimator_cannotBeTalkedUp(t *testing.T) {
	const wanted = 2 * unit.Mbps
	e, now := New(Config{}), start
	fb := &rtcp.TransportLayerCC{PacketStatusCount: 50, PacketChunks: []rtcp.PacketStatusChunk{run(1, 50)}}
	for range 50 {
		fb.RecvDeltas = append(fb.RecvDeltas, &rtcp.RecvDelta{Type: 1}) // no time passes
	}
	probe, left, probes := Probe{}, 0, 0
	for n := range uint16(60_000) {
		now = now.Add(4 * time.Millisecond) // 2 Mbit/s
		id := uint8(0)
		if left > 0 {
			id = probe.ID
		}
		e.OnSent(now, n, 1000, id)
		left -= 1000
		if n%50 == 49 {
			fb.BaseSequenceNumber = n - 49
			fb.ReferenceTime = uint32(now.Sub(start) / (64 * time.Millisecond))
			e.OnFeedback(now, fb)
		}
		e.SetWanted(wanted, wanted)
		if p, _ := e.Next(now); p.ID != 0 {
			probe, left, probes = p, p.Bytes, probes+1
		}
	}
	if est := e.Estimate(); est.Keep > 2*wanted {
		t.Errorf("%+v, wanted were %d", est, wanted)
	}
	if probes > 5 {
		t.Errorf("%d probes although everything wanted is proven", probes)
	}
}

// A run of statuses costs no more than the history is long, and none of it is missed.
func TestEstimator_looksAtWhatItRemembers(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		e := &Estimator{newest: uint16(rng.Uint32()), sent: make([]sent, firstHistory<<rng.IntN(3))}
		seq, n := e.newest+uint16(rng.IntN(1<<14)-1<<13), rng.IntN(1<<13)
		if rng.IntN(4) == 0 {
			seq = uint16(rng.Uint32())
		}
		from, to := e.remembered(seq, n)
		if from < 0 || to > n || to-from > len(e.sent) {
			t.Fatalf("[%d, %d) of %d with a history of %d", from, to, n, len(e.sent))
		}
		for i := range n {
			is := int(e.newest-(seq+uint16(i))) < len(e.sent)
			if is != (i >= from && i < to) {
				t.Fatalf("newest %d, history of %d, %d from %d on: [%d, %d), but %d is remembered: %v", e.newest, len(e.sent), n, seq, from, to, i, is)
			}
		}
	}
}

// A gallery's feedback costs the same for each packet, and no memory.
func TestEstimator_galleryDoesNotAllocate(t *testing.T) {
	g := newGallery(100)
	for range 50 {
		g.step()
	}
	if n := testing.AllocsPerRun(100, g.step); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// gallery sends what many sources send in 50 ms, and gets feedback for it.
type gallery struct {
	e   *Estimator
	now time.Time
	seq uint16
	fb  rtcp.TransportLayerCC
}

// newGallery has a packet and a half of each source in each frame.
func newGallery(sources int) *gallery {
	n := uint16(sources * 30 * 3 / 2 / 20)
	g := &gallery{e: New(Config{}), now: start, fb: rtcp.TransportLayerCC{PacketStatusCount: n, PacketChunks: []rtcp.PacketStatusChunk{run(1, n)}}}
	for range n {
		g.fb.RecvDeltas = append(g.fb.RecvDeltas, &rtcp.RecvDelta{Type: 1, Delta: 250})
	}
	return g
}

func (g *gallery) step() {
	g.now = g.now.Add(50 * time.Millisecond)
	g.fb.BaseSequenceNumber = g.seq
	g.fb.ReferenceTime = uint32(g.now.Sub(start) / (64 * time.Millisecond))
	for range g.fb.PacketStatusCount {
		g.e.OnSent(g.now, g.seq, 800, 0)
		g.seq++
	}
	g.e.OnFeedback(g.now, &g.fb)
	g.e.Next(g.now)
}

func BenchmarkEstimator_gallery(b *testing.B) {
	for _, test := range []struct {
		name    string
		sources int
	}{{"25", 25}, {"100", 100}} {
		b.Run(test.name, func(b *testing.B) {
			g := newGallery(test.sources)
			for range 50 {
				g.step()
			}
			b.ReportAllocs()
			for b.Loop() {
				g.step()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(g.fb.PacketStatusCount), "ns/packet")
		})
	}
}
