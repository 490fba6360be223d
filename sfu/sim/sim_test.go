package sim

import (
	"bytes"
	"testing"
	"time"

	"sotto/sfu/unit"
)

func TestRun_repeats(t *testing.T) {
	plan := Dip()
	plan.Length = 30 * time.Second
	a, b, c := Run(plan, 3), Run(plan, 3), Run(plan, 4)
	if !bytes.Equal(a.Viewers[0].CSV(), b.Viewers[0].CSV()) || a.Stats != b.Stats {
		t.Error("one seed, two results")
	}
	if bytes.Equal(a.Viewers[0].CSV(), c.Viewers[0].CSV()) {
		t.Error("two seeds, one result")
	}
}

// empty returns a world without room traffic, for the links alone.
func linkWorld(c LinkConfig) (*World, *Link) {
	w := &World{epoch: time.Unix(0, 0), rng: newRand(1), room: newRoom(1), result: &Result{}}
	return w, newLink(w, c)
}

func TestLink_carriesItsRate(t *testing.T) {
	w, l := linkWorld(LinkConfig{Rate: unit.Mbps, Delay: 20 * time.Millisecond})
	got, lost := 0, 0
	for n := range 1000 { // 2 Mbit/s for 5 s
		w.at(time.Duration(n)*5*time.Millisecond, func() {
			l.send(1250, func() { got += 1250 }, func() { lost++ })
		})
	}
	w.run(5 * time.Second)
	if rate := unit.RateOf(got, 5*time.Second); rate < 980*unit.Kbps || rate > unit.Mbps {
		t.Errorf("carried %d", rate)
	}
	if lost < 450 || l.wait < 280*time.Millisecond || l.wait > 300*time.Millisecond {
		t.Errorf("%d lost, the last one waited %v of 300 ms", lost, l.wait)
	}
}

func TestLink_losesAndKeepsTheOrder(t *testing.T) {
	for _, test := range []struct {
		name     string
		c        LinkConfig
		min, max int // of 10,000
	}{
		{"none", LinkConfig{Jitter: 50 * time.Millisecond}, 10000, 10000},
		{"random", LinkConfig{Loss: 0.05}, 9430, 9570},
		{"bursts", LinkConfig{Burst: GilbertElliott{P: 0.0278, R: 0.25}, Jitter: 50 * time.Millisecond}, 8800, 9200},
		{"down", LinkConfig{Down: true}, 0, 0},
	} {
		w, l := linkWorld(test.c)
		last, got := -1, 0
		for n := range 10000 {
			w.at(time.Duration(n)*time.Millisecond, func() {
				l.send(100, func() {
					if n < last {
						t.Fatalf("%s: %d after %d", test.name, n, last)
					}
					last = n
					got++
				}, nil)
			})
		}
		w.run(11 * time.Second)
		if got < test.min || got > test.max {
			t.Errorf("%s: %d of 10000 arrived", test.name, got)
		}
	}
}

func TestLink_greedyFlowFillsIt(t *testing.T) {
	w, l := linkWorld(LinkConfig{Rate: 3 * unit.Mbps, Delay: 20 * time.Millisecond})
	flow := l.compete(30*time.Second, 0, nil)
	w.run(30 * time.Second)
	if rate := unit.RateOf(flow.acked, 30*time.Second); rate < 2700*unit.Kbps || rate > 3*unit.Mbps {
		t.Errorf("a greedy flow alone got %d of 3 Mbit/s", rate)
	}
}

// The decoder's arithmetic of freezes, by hand: thirty frames at 30 frames/s, then a gap.
func TestDecoder_countsFreezes(t *testing.T) {
	for _, test := range []struct {
		gap    time.Duration
		frozen bool
	}{{180 * time.Millisecond, false}, {190 * time.Millisecond, true}} {
		w, l := linkWorld(LinkConfig{})
		d := newDecoder(&Viewer{w: w, Link: l}, 1)
		for range 31 {
			w.now += time.Second / frameRate
			d.show(&frame{})
		}
		w.now += test.gap
		d.show(&frame{})
		if got := len(d.freeze) > 0; got != test.frozen {
			t.Errorf("gap of %v: freeze %v", test.gap, got)
		}
	}
}
