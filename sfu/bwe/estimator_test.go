package bwe

import (
	"testing"
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/unit"
)

var start = time.Unix(1_700_000_000, 0)

// path sends packets of size bytes at a rate, loses every nth of them (0: none), and gives feedback through a Recorder.
type path struct {
	e    *Estimator
	rec  Recorder
	now  time.Time
	seq  uint16
	sent int
}

func newPath() *path { return &path{e: New(Config{}), now: start, seq: 65000} }

func (p *path) run(d time.Duration, rate unit.Bitrate, loseEach int, feedback bool) {
	const size = 1000
	gap := time.Duration(float64(size*8) / float64(rate) * float64(time.Second))
	for end := p.now.Add(d); p.now.Before(end); p.now = p.now.Add(gap) {
		p.e.OnSent(p.now, p.seq, size, 0)
		p.sent++
		if loseEach == 0 || p.sent%loseEach != 0 {
			p.rec.Received(p.now, p.seq)
		}
		p.seq++
		if feedback {
			for _, fb := range p.rec.Feedback(p.now, 1, 2, nil) {
				p.e.OnFeedback(p.now.Add(20*time.Millisecond), fb)
			}
		}
		p.e.Next(p.now)
	}
}

// What is sent bounds what can be learned: the estimate does not run away from it.
func TestEstimator_doesNotRunAwayOnAFreeLink(t *testing.T) {
	p := newPath()
	p.run(60*time.Second, 2*unit.Mbps, 0, true)
	est := p.e.Estimate()
	if est.Keep < DefaultStart || est.Keep > 3*unit.Mbps || est.Change > est.Keep {
		t.Fatalf("%+v after a minute of 2 Mbit/s", est)
	}
	if est.Acked < 1800*unit.Kbps || est.Acked > 2200*unit.Kbps {
		t.Fatalf("acknowledged %d, want about 2 Mbit/s", est.Acked)
	}
}

func TestEstimator_cutsOnLoss(t *testing.T) {
	p := newPath()
	p.run(2*time.Second, 2*unit.Mbps, 3, true)
	if est := p.e.Estimate(); est.Keep > 1400*unit.Kbps || est.Loss < 0.25 {
		t.Fatalf("%+v with a third of 2 Mbit/s lost", est)
	}
}

func TestEstimator_keepsWithRandomLoss(t *testing.T) {
	p := newPath()
	p.run(10*time.Second, 2*unit.Mbps, 20, true)
	if est := p.e.Estimate(); est.Keep < 2*unit.Mbps {
		t.Fatalf("%+v: 5 %% of loss must not collapse the rate", est)
	}
}

func TestEstimator_halvesInSilence(t *testing.T) {
	p := newPath()
	p.run(time.Second, unit.Mbps, 0, true)
	before := p.e.Estimate().Keep
	p.run(2*time.Second, unit.Mbps, 0, false)
	if got := p.e.Estimate().Keep; got > before/2+1 {
		t.Fatalf("budget %d after silence, was %d", got, before)
	}
	p.run(60*time.Second, unit.Mbps, 0, false)
	if got := p.e.Estimate().Keep; got != DefaultMin {
		t.Fatalf("budget %d after a minute of silence", got)
	}
}

func TestEstimator_risesWhenNothingIsSent(t *testing.T) {
	p := newPath()
	p.run(20*time.Second, unit.Mbps, 2, true)
	if got := p.e.Estimate().Keep; got > DefaultMin {
		t.Fatalf("budget %d with half of the packets lost", got)
	}
	for range 300 {
		p.now = p.now.Add(100 * time.Millisecond)
		p.e.Next(p.now)
	}
	if got := p.e.Estimate().Keep; got != DefaultStart {
		t.Fatalf("budget %d after 30 s of quiet", got)
	}
}

func TestEstimator_withoutAnyFeedbackStaysAtStart(t *testing.T) {
	p := newPath()
	p.run(10*time.Second, unit.Mbps, 0, false)
	if got := p.e.Estimate().Keep; got != DefaultStart {
		t.Fatalf("budget %d", got)
	}
}

func TestEstimator_roundTripTime(t *testing.T) {
	p := newPath()
	p.run(3*time.Second, unit.Mbps, 0, true)
	if rtt := p.e.Estimate().RTT; rtt < 20*time.Millisecond || rtt > 40*time.Millisecond {
		t.Fatalf("rtt %v, want about 20 ms", rtt)
	}
}

func run(symbol uint16, n uint16) rtcp.PacketStatusChunk {
	return &rtcp.RunLengthChunk{PacketStatusSymbol: symbol, RunLength: n}
}

func TestEstimator_forgedFeedback(t *testing.T) {
	huge := &rtcp.TransportLayerCC{PacketStatusCount: 65535}
	for range 700 {
		huge.PacketChunks = append(huge.PacketChunks, run(rtcp.TypeTCCPacketNotReceived, 8191))
	}
	for name, fb := range map[string]*rtcp.TransportLayerCC{
		"nothing":              {},
		"count without chunks": {PacketStatusCount: 65535},
		"never sent":           {BaseSequenceNumber: 30000, PacketStatusCount: 8191, PacketChunks: []rtcp.PacketStatusChunk{run(1, 8191)}},
		"all lost, often":      huge,
	} {
		e := New(Config{})
		for n := range uint16(100) {
			e.OnSent(start, n, 1000, 0)
		}
		for range 100 {
			e.OnFeedback(start.Add(time.Second), fb)
		}
		if est := e.Estimate(); est.Keep < DefaultMin || est.Keep > DefaultMax || est.Acked != 0 {
			t.Errorf("%s: %+v", name, est)
		}
	}
}

// Acknowledging everything twice proves no more than once.
func TestEstimator_countsEachPacketOnce(t *testing.T) {
	e := New(Config{})
	for n := range uint16(100) {
		e.OnSent(start, n, 1000, 0)
	}
	fb := &rtcp.TransportLayerCC{PacketStatusCount: 100, PacketChunks: []rtcp.PacketStatusChunk{run(1, 100)}}
	first, _ := e.OnFeedback(start.Add(50*time.Millisecond), fb)
	second, _ := e.OnFeedback(start.Add(60*time.Millisecond), fb)
	if first.Acked == 0 || second.Acked != first.Acked {
		t.Fatalf("acknowledged %d, then %d", first.Acked, second.Acked)
	}
}

func TestEstimator_doesNotAllocate(t *testing.T) {
	p := newPath()
	p.run(time.Second, unit.Mbps, 0, true)
	fb := &rtcp.TransportLayerCC{PacketStatusCount: 100, PacketChunks: []rtcp.PacketStatusChunk{run(1, 100)}}
	if n := testing.AllocsPerRun(100, func() {
		p.now = p.now.Add(10 * time.Millisecond)
		p.e.OnSent(p.now, p.seq, 1000, 0)
		fb.BaseSequenceNumber = p.seq - 50
		p.seq++
		p.e.OnFeedback(p.now, fb)
		p.e.Next(p.now)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// The history grows with the rate, keeps what it holds, and stops.
func TestEstimator_historyGrowsWithTheRate(t *testing.T) {
	for _, test := range []struct{ perSecond, want int }{{50, firstHistory}, {180, firstHistory}, {400, 2 * firstHistory}, {2000, history}, {20_000, history}} {
		e, now := New(Config{}), start
		seq := uint16(65000) // over the wrap
		for range 3 * test.perSecond {
			now = now.Add(time.Second / time.Duration(test.perSecond))
			e.OnSent(now, seq, 1000, 0)
			seq++
		}
		if len(e.sent) != test.want {
			t.Errorf("%d packets/s: history of %d, want %d", test.perSecond, len(e.sent), test.want)
		}
		for back := range uint16(min(len(e.sent), 3*test.perSecond)) {
			if s := e.slot(seq - 1 - back); s.state != sentWaiting || s.seq != seq-1-back {
				t.Fatalf("%d packets/s: the packet %d before the last is forgotten", test.perSecond, back)
			}
		}
	}
}

func BenchmarkEstimator_forgedFeedback(b *testing.B) {
	e := New(Config{})
	for n := range uint16(history) {
		e.OnSent(start, n, 1000, 0)
	}
	fb := &rtcp.TransportLayerCC{PacketStatusCount: 65535}
	for range 9 {
		fb.PacketChunks = append(fb.PacketChunks, run(rtcp.TypeTCCPacketNotReceived, 8191))
	}
	b.ReportAllocs()
	for b.Loop() {
		e.OnFeedback(start, fb)
	}
}
