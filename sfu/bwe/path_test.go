package bwe

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/unit"
)

// bottleneck is a path with a rate and a drop-tail queue of 300 ms, 20 ms in each direction. Frames are sent 30 times a second,
// and the probes that the estimator asks for.
type bottleneck struct {
	t      testing.TB
	e      *Estimator
	rec    Recorder
	rng    *rand.Rand
	now    time.Time
	free   time.Time // when the link has sent everything
	seq    uint16
	rate   unit.Bitrate
	loss   float64
	jitter time.Duration
	key    bool // the next frame is eight times as large
	down   bool
	rival  bool
	filled time.Duration // queue that a rival keeps up

	probe   Probe
	began   time.Time
	sent    int
	probes  int
	arrived []arrivalAt
	late    []feedbackAt
}

type arrivalAt struct {
	at  time.Time
	seq uint16
}

type feedbackAt struct {
	at time.Time
	fb *rtcp.TransportLayerCC
}

func newBottleneck(t testing.TB, rate unit.Bitrate) *bottleneck {
	return &bottleneck{t: t, e: New(Config{}), rng: rand.New(rand.NewPCG(1, 2)), now: start, free: start, rate: rate, seq: 65000}
}

func (b *bottleneck) send(size int) {
	b.e.OnSent(b.now, b.seq, size, b.probe.ID)
	seq := b.seq
	b.seq++
	if full := b.now.Add(b.filled); b.free.Before(full) {
		b.free = full
	}
	if b.free.Sub(b.now) > 300*time.Millisecond || b.down || b.rng.Float64() < b.loss {
		return
	}
	b.free = b.free.Add(time.Duration(float64(size*8) / float64(b.rate) * float64(time.Second)))
	at := b.free.Add(20 * time.Millisecond)
	if b.jitter > 0 {
		at = at.Add(time.Duration(b.rng.Int64N(int64(b.jitter))))
	}
	if n := len(b.arrived); n > 0 && at.Before(b.arrived[n-1].at) {
		at = b.arrived[n-1].at
	}
	b.arrived = append(b.arrived, arrivalAt{at, seq})
}

// run sends frames at a rate for a while.
func (b *bottleneck) run(d time.Duration, media unit.Bitrate) {
	for end := b.now.Add(d); b.now.Before(end); b.now = b.now.Add(time.Millisecond) {
		if ms := b.now.Sub(start).Milliseconds(); ms%33 == 0 && media > 0 {
			size := media.Bytes(33 * time.Millisecond)
			if b.key {
				size, b.key = size*8, false
			}
			for ; size > 0; size -= 1100 {
				b.send(min(size, 1100) + 60)
			}
		}
		if b.probe.ID != 0 {
			for b.sent < b.probe.Rate.Bytes(b.now.Sub(b.began)+5*time.Millisecond) && b.sent < b.probe.Bytes {
				b.sent += 1100
				b.send(1100)
			}
			if b.sent >= b.probe.Bytes {
				b.probe = Probe{}
			}
		}
		for len(b.arrived) > 0 && !b.arrived[0].at.After(b.now) {
			b.rec.Received(b.arrived[0].at, b.arrived[0].seq)
			b.arrived = b.arrived[1:]
		}
		for _, fb := range b.rec.Feedback(b.now, 1, 2, nil) {
			b.late = append(b.late, feedbackAt{b.now.Add(20 * time.Millisecond), fb})
		}
		for len(b.late) > 0 && !b.late[0].at.After(b.now) {
			b.e.OnFeedback(b.now, b.late[0].fb)
			b.late = b.late[1:]
		}
		if probe, _ := b.e.Next(b.now); probe.ID != 0 {
			b.probe, b.began, b.sent = probe, b.now, 0
			b.probes++
		}
		if est := b.e.Estimate(); est.Keep < DefaultMin || est.Keep > DefaultMax || est.Change > est.Keep {
			b.t.Fatalf("%+v", est)
		}
	}
}

func (b *bottleneck) keep() unit.Bitrate { return b.e.Estimate().Keep }

func TestEstimator_cutsWithinHalfASecond(t *testing.T) {
	b := newBottleneck(t, 3*unit.Mbps)
	b.run(5*time.Second, 1700*unit.Kbps)
	b.rate = 500 * unit.Kbps
	b.run(450*time.Millisecond, 1700*unit.Kbps)
	if got := b.keep(); got > 500*unit.Kbps || got < 300*unit.Kbps {
		t.Fatalf("%d after the path fell to 500 kbit/s", got)
	}
}

func TestEstimator_doesNotTakeAKeyFrameForCongestion(t *testing.T) {
	b := newBottleneck(t, 3*unit.Mbps)
	b.run(5*time.Second, 1700*unit.Kbps)
	for range 10 {
		b.key = true
		b.run(time.Second, 1700*unit.Kbps)
		if got := b.keep(); got < DefaultStart {
			t.Fatalf("%d after a key frame that stood in the queue for a moment", got)
		}
	}
}

func TestEstimator_doesNotTakeJitterForCongestion(t *testing.T) {
	for _, jitter := range []time.Duration{10, 30, 60, 100} {
		b := newBottleneck(t, 5*unit.Mbps)
		b.jitter = jitter * time.Millisecond
		b.run(30*time.Second, 1500*unit.Kbps)
		if got := b.keep(); got < 1500*unit.Kbps {
			t.Errorf("%d with %v of jitter", got, b.jitter)
		}
	}
}

func TestEstimator_seesASlowOverload(t *testing.T) {
	b := newBottleneck(t, 1700*unit.Kbps)
	b.run(8*time.Second, 1800*unit.Kbps)
	if got := b.keep(); got > 1700*unit.Kbps {
		t.Fatalf("%d on a path of 1700 kbit/s that was overloaded by a few percent for 8 s", got)
	}
}

func TestEstimator_keepsRandomLossOnALongRun(t *testing.T) {
	b := newBottleneck(t, 3*unit.Mbps)
	b.loss = 0.05
	for range 60 {
		b.run(time.Second, 1700*unit.Kbps)
		if got := b.keep(); got < 1800*unit.Kbps {
			t.Fatalf("%d with 5 %% of random loss", got)
		}
	}
}

func TestEstimator_policedPath(t *testing.T) {
	// No queue to see: what is too much is dropped. Found by loss alone.
	b := newBottleneck(t, 100*unit.Mbps)
	b.run(3*time.Second, 1700*unit.Kbps)
	b.loss = 0.4
	b.run(3*time.Second, 1700*unit.Kbps)
	if got := b.keep(); got > 1200*unit.Kbps {
		t.Fatalf("%d with 40 %% of loss", got)
	}
}

func TestEstimator_probesUpOnlyWhenWanted(t *testing.T) {
	b := newBottleneck(t, 3*unit.Mbps)
	b.rate = 500 * unit.Kbps
	b.run(5*time.Second, 1000*unit.Kbps)
	b.rate = 3 * unit.Mbps
	b.run(5*time.Second, 150*unit.Kbps)
	if b.probes != 0 || b.e.Estimate().Change > 600*unit.Kbps {
		t.Fatalf("%d probes although nothing was wanted, %+v", b.probes, b.e.Estimate())
	}
	b.e.SetWanted(2*unit.Mbps, 2*unit.Mbps)
	b.run(2*time.Second, 150*unit.Kbps)
	if got := b.e.Estimate().Change; got < 2*unit.Mbps || got > 3*unit.Mbps {
		t.Fatalf("%d proven after %d probes on a free path of 3 Mbit/s", got, b.probes)
	}
	n := b.probes
	b.run(5*time.Second, 150*unit.Kbps)
	if b.probes != n {
		t.Fatalf("%d probes although what is wanted is proven", b.probes-n)
	}
}

func TestEstimator_probeFindsTheLimit(t *testing.T) {
	b := newBottleneck(t, 500*unit.Kbps)
	b.run(5*time.Second, 1000*unit.Kbps)
	b.run(3*time.Second, 150*unit.Kbps)
	b.e.SetWanted(700*unit.Kbps, 2*unit.Mbps)
	n := b.probes
	b.run(30*time.Second, 150*unit.Kbps)
	if est := b.e.Estimate(); est.Change > 520*unit.Kbps || est.Change < 300*unit.Kbps {
		t.Fatalf("%+v on a path of 500 kbit/s", est)
	}
	if n = b.probes - n; n < 15 || n > 22 {
		t.Fatalf("%d probes in 30 s that all fail, want one each 1.5 s and a few before", n)
	}
}

func TestEstimator_goesOnAfterAnOutage(t *testing.T) {
	b := newBottleneck(t, 3*unit.Mbps)
	b.run(5*time.Second, 1700*unit.Kbps)
	before := b.keep()
	b.down = true
	b.run(4*time.Second, 1700*unit.Kbps)
	if got := b.keep(); got > before/2 {
		t.Fatalf("%d after 4 s of silence, was %d", got, before)
	}
	b.down = false
	b.run(time.Second, 1000*unit.Kbps)
	if got := b.keep(); got < before*9/10 {
		t.Fatalf("%d a second after the outage, was %d", got, before)
	}
}

func TestEstimator_acceptsALongerWay(t *testing.T) {
	b := newBottleneck(t, 5*unit.Mbps)
	b.run(5*time.Second, 1500*unit.Kbps)
	for i := range b.e.delay.base { // as if the way had become 100 ms longer
		b.e.delay.base[i] -= int64(100 * time.Millisecond)
	}
	b.e.delay.lowest -= int64(100 * time.Millisecond)
	b.e.SetWanted(1800*unit.Kbps, 1800*unit.Kbps)
	b.run(30*time.Second, 1500*unit.Kbps)
	if est := b.e.Estimate(); est.Change < 1500*unit.Kbps || est.Queue > 20*time.Millisecond {
		t.Fatalf("%+v 30 s after the way became longer", est)
	}
}

func TestArrivals_referenceWraps(t *testing.T) {
	var a arrivals
	first := a.reference(refWrap - 2)
	if got := a.reference(3) - first; got != 5*refUnit {
		t.Errorf("%d over the wrap", got/refUnit)
	}
	if got := a.reference(refWrap-1) - first; got != refUnit {
		t.Errorf("%d back over it", got/refUnit)
	}
}

// FuzzEstimator feeds it anything that a receiver could claim: the estimate stays in its bounds, and what was not sent proves
// nothing.
func FuzzEstimator(f *testing.F) {
	f.Add([]byte{0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 10, 0, 0, 1, 0, 0x20, 10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1})
	f.Add([]byte{0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 5, 0, 4, 0xff, 0xff, 0xff, 0, 0xe8, 0x80, 0x7f, 0xff, 0x80, 0, 0x7f, 0xff})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !CheckCompound(raw) {
			return
		}
		packets, err := rtcp.Unmarshal(raw)
		if err != nil {
			return
		}
		e := New(Config{})
		now := start
		total := 0
		for n := range uint16(300) {
			e.OnSent(now, n, 1000, uint8(n/100))
			total += 1000
			now = now.Add(3 * time.Millisecond)
			e.SetWanted(5*unit.Mbps, 10*unit.Mbps)
			e.Next(now)
			for _, p := range packets {
				if fb, ok := p.(*rtcp.TransportLayerCC); ok {
					e.OnFeedback(now, fb)
				}
			}
			est := e.Estimate()
			if est.Keep < DefaultMin || est.Keep > DefaultMax || est.Change > est.Keep || est.Loss < 0 || est.Loss > 1 {
				t.Fatalf("%+v", est)
			}
			if est.Acked > unit.RateOf(total, time.Duration(ackedBuckets*ackedBucket)) {
				t.Fatalf("%d arrived, of %d bytes", est.Acked, total)
			}
		}
	})
}

func BenchmarkEstimator(b *testing.B) {
	p := newBottleneck(b, 3*unit.Mbps)
	p.run(2*time.Second, 1700*unit.Kbps)
	fb := &rtcp.TransportLayerCC{PacketStatusCount: 10, PacketChunks: []rtcp.PacketStatusChunk{run(1, 10)}}
	for range 10 {
		fb.RecvDeltas = append(fb.RecvDeltas, &rtcp.RecvDelta{Type: 1, Delta: 5000})
	}
	b.ReportAllocs()
	for b.Loop() {
		p.now = p.now.Add(50 * time.Millisecond)
		fb.BaseSequenceNumber = p.seq
		fb.ReferenceTime = uint32(p.now.Sub(start) / (64 * time.Millisecond))
		for range 10 {
			p.e.OnSent(p.now, p.seq, 1100, 0)
			p.seq++
		}
		p.e.OnFeedback(p.now, fb)
		p.e.Next(p.now)
	}
}
