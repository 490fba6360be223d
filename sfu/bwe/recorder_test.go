package bwe

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

// decode returns when each number of a marshalled feedback arrived, in ticks of the reference clock; -1: lost.
func decode(t testing.TB, fb *rtcp.TransportLayerCC) map[uint16]int64 {
	t.Helper()
	raw, err := fb.Marshal()
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	var back rtcp.TransportLayerCC
	if err := back.Unmarshal(raw); err != nil {
		t.Fatalf("unmarshal: %v", err)
	}
	if len(raw) > 1200 {
		t.Fatalf("feedback of %d bytes", len(raw))
	}
	out := map[uint16]int64{}
	now, seq, left, delta := int64(back.ReferenceTime)*refTicks, back.BaseSequenceNumber, int(back.PacketStatusCount), 0
	one := func(symbol uint16) {
		if left == 0 {
			return
		}
		out[seq] = -1
		if symbol != rtcp.TypeTCCPacketNotReceived {
			now += back.RecvDeltas[delta].Delta / int64(tick/time.Microsecond)
			delta++
			out[seq] = now
		}
		seq++
		left--
	}
	for _, c := range back.PacketChunks {
		switch c := c.(type) {
		case *rtcp.RunLengthChunk:
			for range c.RunLength {
				one(c.PacketStatusSymbol)
			}
		case *rtcp.StatusVectorChunk:
			for _, s := range c.SymbolList {
				one(s)
			}
		}
	}
	if left != 0 || delta != len(back.RecvDeltas) {
		t.Fatalf("%d statuses missing, %d of %d deltas used", left, delta, len(back.RecvDeltas))
	}
	return out
}

// Whatever is lost, reordered or delayed: decoding our feedback gives each arrival, to the tick, and no invented one.
func checkRecorder(t testing.TB, seed uint64, packets int) {
	rng := rand.New(rand.NewPCG(seed, 2))
	var r Recorder
	arrived := map[uint16]time.Time{}
	reported := map[uint16]int64{}
	collect := func(now time.Time) {
		for _, fb := range r.Feedback(now, 1, 2, nil) {
			for n, tick := range decode(t, fb) {
				if old, ok := reported[n]; !ok || old == -1 {
					reported[n] = tick
				} else if tick != old {
					t.Fatalf("seed %d: %d reported at %d, then at %d", seed, n, old, tick)
				}
			}
		}
	}
	now, n := start, uint16(rng.Uint32())
	var held []uint16
	for range packets {
		now = now.Add(time.Duration(rng.IntN(30)) * 700 * time.Microsecond)
		if rng.IntN(200) == 0 {
			now = now.Add(time.Duration(rng.IntN(10)) * time.Second) // pauses beyond a delta's range
		}
		this := n
		n++
		switch rng.IntN(10) {
		case 0: // lost
			continue
		case 1:
			held = append(held, this)
			continue
		}
		for _, late := range append([]uint16{this}, held...) {
			arrived[late] = now
			r.Received(now, late)
		}
		held = held[:0]
		collect(now)
	}
	collect(now.Add(time.Second))
	for n, tick := range reported {
		at, ok := arrived[n]
		switch want := int64(at.Sub(r.epoch) / (250 * time.Microsecond)); {
		case tick == -1 && ok:
			t.Fatalf("seed %d: %d arrived but is reported lost", seed, n)
		case tick != -1 && !ok:
			t.Fatalf("seed %d: %d is reported but did not arrive", seed, n)
		case tick != -1 && tick != want:
			t.Fatalf("seed %d: %d arrived at %d, reported at %d", seed, n, want, tick)
		}
	}
	for n := range arrived {
		if tick, ok := reported[n]; !ok || tick == -1 {
			t.Fatalf("seed %d: %d arrived and was never reported", seed, n)
		}
	}
}

func TestRecorder_decodesToWhatArrived(t *testing.T) {
	for seed := range uint64(100) {
		checkRecorder(t, seed, 1000)
	}
}

func FuzzRecorder(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 1, 1, 1, 200, 0, 0, 7})
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Recorder
		now := start
		for len(data) >= 3 {
			now = now.Add(time.Duration(data[0]) * time.Duration(data[0]) * 100 * time.Microsecond)
			r.Received(now, uint16(data[1])<<8|uint16(data[2]))
			data = data[3:]
			for _, fb := range r.Feedback(now, 1, 2, nil) {
				decode(t, fb)
			}
		}
	})
}

func TestRecorder_floodIsBounded(t *testing.T) {
	var r Recorder
	for n := range 20000 {
		r.Received(start, uint16(n*7))
	}
	if fbs := r.Feedback(start.Add(FeedbackEvery), 1, 2, nil); len(fbs) > maxFeedbacks {
		t.Fatalf("%d feedback packets", len(fbs))
	}
}

func TestRecorder_quietWithoutPackets(t *testing.T) {
	var r Recorder
	if !r.Next().IsZero() || len(r.Feedback(start, 1, 2, nil)) != 0 {
		t.Fatal("feedback without a packet")
	}
	r.Received(start, 1)
	if len(r.Feedback(start, 1, 2, nil)) != 0 {
		t.Fatal("feedback before it is due")
	}
	if fbs := r.Feedback(r.Next(), 1, 2, nil); len(fbs) != 1 || !r.Next().IsZero() {
		t.Fatalf("%d feedback packets, next %v", len(fbs), r.Next())
	}
}
