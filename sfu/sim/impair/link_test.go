package impair

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
	"time"

	"sotto/sfu/sim"
	"sotto/sfu/unit"
)

const ms = time.Millisecond

// arrival is a packet that came out of a link.
type arrival struct {
	number int
	at     time.Duration
}

// run sends count packets of size bytes, one each gap, and returns what arrives; change is called before each packet.
func run(l *Link, count, size int, gap time.Duration, change func(now time.Duration)) (out []arrival) {
	receive := func(until time.Duration) {
		for {
			at, ok := l.Next()
			if !ok || at > until {
				return
			}
			for p := l.Receive(at); p != nil; p = l.Receive(at) {
				out = append(out, arrival{int(binary.BigEndian.Uint32(p)), at})
			}
		}
	}
	for i := range count {
		now := time.Duration(i) * gap
		receive(now)
		if change != nil {
			change(now)
		}
		packet := make([]byte, size)
		binary.BigEndian.PutUint32(packet, uint32(i))
		l.Send(now, packet)
	}
	receive(time.Hour)
	return out
}

func TestLink_delays(t *testing.T) {
	got := run(NewLink(sim.LinkConfig{Delay: 20 * ms}, 1), 3, 1000, 10*ms, nil)
	for i, want := range []arrival{{0, 20 * ms}, {1, 30 * ms}, {2, 40 * ms}} {
		if got[i] != want {
			t.Errorf("packet %d: %v, want %v", i, got[i], want)
		}
	}
}

// Packets of 1,000 bytes take 8 ms each at 1 Mbit/s: those that come every 4 ms queue up.
func TestLink_queuesAtTheBottleneck(t *testing.T) {
	got := run(NewLink(sim.LinkConfig{Rate: unit.Mbps, Delay: 5 * ms}, 1), 4, 1000, 4*ms, nil)
	for i, want := range []time.Duration{13 * ms, 21 * ms, 29 * ms, 37 * ms} {
		if got[i].at != want {
			t.Errorf("packet %d arrives at %v, want %v", i, got[i].at, want)
		}
	}
}

func TestLink_carriesItsRateAndKeepsItsQueue(t *testing.T) {
	l := NewLink(sim.LinkConfig{Rate: unit.Mbps, Queue: 200 * ms}, 1)
	var worst time.Duration
	got := run(l, 2500, 1000, 4*ms, func(now time.Duration) { worst = max(worst, l.QueueDelay(now)) }) // twice the rate, 10 s
	carried := unit.RateOf(len(got)*1000, got[len(got)-1].at)
	if carried < 990*unit.Kbps || carried > unit.Mbps {
		t.Errorf("a link of 1 Mbit/s carried %d bit/s", carried)
	}
	if worst > 200*ms || worst < 180*ms {
		t.Errorf("a queue of 200 ms had up to %v", worst)
	}
	if c := l.Counters(); c.Dropped != 2500-len(got) || c.Lost != 0 || c.SentBytes != 2500*1000 || c.DeliveredBytes != len(got)*1000 {
		t.Errorf("%d arrived: %+v", len(got), c)
	}
}

// What waits when the rate falls leaves at the new rate.
func TestLink_sendsItsQueueAtTheNewRate(t *testing.T) {
	l := NewLink(sim.LinkConfig{Rate: unit.Mbps}, 1)
	for range 3 {
		l.Send(0, make([]byte, 1000))
	}
	l.Configure(8*ms, sim.LinkConfig{Rate: 100 * unit.Kbps})
	if d := l.QueueDelay(8 * ms); d != 160*ms {
		t.Errorf("two packets of 80 ms each wait %v", d)
	}
	if p := l.Receive(8 * ms); p == nil {
		t.Error("the first packet was sent before the change")
	}
	for _, want := range []time.Duration{88 * ms, 168 * ms} {
		if at, ok := l.Next(); !ok || at != want {
			t.Errorf("next packet at %v, want %v", at, want)
		}
		if p := l.Receive(want); p == nil {
			t.Errorf("nothing arrived at %v", want)
		}
	}
	if at, ok := l.Next(); ok {
		t.Errorf("an empty link has something for %v", at)
	}
}

func TestLink_jitterKeepsTheOrder(t *testing.T) {
	got := run(NewLink(sim.LinkConfig{Delay: 20 * ms, Jitter: 100 * ms}, 1), 1000, 100, ms, nil)
	var sum time.Duration
	for i, a := range got {
		late := a.at - time.Duration(i)*ms
		if a.number != i || late < 20*ms {
			t.Fatalf("packet %d came as %dth after %v", a.number, i, late)
		}
		sum += late
	}
	if mean := sum / 1000; mean < 100*ms || mean > 120*ms {
		t.Errorf("mean delay %v: the order makes most packets wait for the latest, nearly 120 ms", mean)
	}
}

func TestLink_lateOnesAreOvertaken(t *testing.T) {
	got := run(NewLink(sim.LinkConfig{Late: 0.1, LateBy: 30 * ms}, 1), 2000, 100, 10*ms, nil)
	overtaken := 0
	for _, a := range got {
		switch late := a.at - time.Duration(a.number)*10*ms; late {
		case 0:
		case 30 * ms:
			overtaken++
		default:
			t.Fatalf("packet %d is late by %v", a.number, late)
		}
	}
	if overtaken < 150 || overtaken > 250 || len(got) != 2000 {
		t.Errorf("%d of %d packets came late, want about 200", overtaken, len(got))
	}
}

func TestLink_loses(t *testing.T) {
	const count = 100_000
	for _, test := range []struct {
		name        string
		config      sim.LinkConfig
		share, mean float64 // lost, and the mean length of a burst
	}{
		{"nothing", sim.LinkConfig{}, 0, 0},
		{"everything", sim.LinkConfig{Down: true}, 1, count},
		{"at random", sim.LinkConfig{Loss: 0.05}, 0.05, 1 / 0.95},
		{"in bursts", sim.LinkConfig{Burst: sim.GilbertElliott{P: 0.03, R: 0.27}}, 0.1, 1 / 0.27},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := NewLink(test.config, 1)
			got := run(l, count, 10, ms, nil)
			bursts, expected := 0, 0
			for _, a := range append(got, arrival{number: count}) {
				if a.number != expected {
					bursts++
				}
				expected = a.number + 1
			}
			lost := count - len(got)
			if share := float64(lost) / count; math.Abs(share-test.share) > test.share/20 {
				t.Errorf("%.4f of all packets lost, want %.4f", share, test.share)
			}
			if mean := float64(lost) / float64(max(bursts, 1)); math.Abs(mean-test.mean) > test.mean/20 {
				t.Errorf("%.2f packets lost at a time, want %.2f", mean, test.mean)
			}
			if l.Counters().Lost != lost {
				t.Errorf("%d lost, %d counted", lost, l.Counters().Lost)
			}
		})
	}
}

func TestLink_isRepeatable(t *testing.T) {
	config := sim.LinkConfig{
		Rate: unit.Mbps, Delay: 20 * ms, Jitter: 30 * ms, Loss: 0.05, Late: 0.01, LateBy: 10 * ms,
		Burst: sim.GilbertElliott{P: 0.01, R: 0.3},
	}
	trace := func(seed uint64) []byte {
		var b bytes.Buffer
		for _, a := range run(NewLink(config, seed), 2000, 1000, 4*ms, nil) {
			_ = binary.Write(&b, binary.BigEndian, [2]int64{int64(a.number), int64(a.at)})
		}
		return b.Bytes()
	}
	if !bytes.Equal(trace(1), trace(1)) {
		t.Error("equal seeds gave different fates")
	}
	if bytes.Equal(trace(1), trace(2)) {
		t.Error("different seeds gave equal fates")
	}
}
