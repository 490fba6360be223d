package bwe

import (
	"math/rand/v2"
	"testing"

	"sotto/sfu/unit"
)

// lossy is a path that loses packets, 200 of them a second.
type lossy struct {
	l    loss
	rng  *rand.Rand
	at   int64
	seq  uint16
	bad  bool
	p, r float64 // chances to go bad and good again
	full bool    // it is a full queue that loses
}

// second runs for so many seconds and returns how often too much was lost.
func (p *lossy) seconds(n int) (over int) {
	for range n * 200 {
		p.at += int64(1e9 / 200)
		p.seq++
		if p.bad {
			p.bad = p.rng.Float64() >= p.r
		} else {
			p.bad = p.rng.Float64() < p.p
		}
		p.l.tell(&sent{seq: p.seq}, p.bad, p.full)
		if p.l.evaluate(p.at, !p.full) {
			over++
		}
	}
	return over
}

func newLossy(p, r float64) *lossy {
	return &lossy{l: loss{rate: unit.Mbps, floor: unit.Kbps}, rng: rand.New(rand.NewPCG(3, 4)), p: p, r: r}
}

func TestLoss_whatIsTooMuch(t *testing.T) {
	for _, test := range []struct {
		name        string
		p, r        float64
		full        bool
		least, most int // times in a minute
	}{
		{"none", 0, 1, false, 0, 0},
		{"5 %, one by one", 0.05, 1, false, 0, 0},
		{"10 %, one by one", 0.11, 1, false, 0, 2},
		{"10 % in bursts of 4", 0.0278, 0.25, false, 0, 4},
		{"30 %", 0.43, 1, false, 10, 1000},
		{"15 % at a full queue", 0.176, 1, true, 10, 1000},
	} {
		p := newLossy(test.p, test.r)
		p.full = test.full
		if over := p.seconds(60); over < test.least || over > test.most {
			t.Errorf("%s: too much %d times in a minute, inherent %.2f, bursts of %.1f", test.name, over, p.l.inherent, p.l.burst)
		}
		if p.l.inherent > maxInherent || test.full && p.l.inherent > 0.01 {
			t.Errorf("%s: inherent %.2f", test.name, p.l.inherent)
		}
	}
}

// A cut that changes nothing is taken back, one that helps is not.
func TestLoss_cutsInVain(t *testing.T) {
	for _, helps := range []bool{false, true} {
		p := newLossy(0.15, 1)
		p.seconds(1)
		p.l.watch(p.at, 2*unit.Mbps, unit.Mbps)
		if helps {
			p.p = 0
		}
		p.seconds(2)
		if from := p.l.vain(p.at, 500*unit.Kbps, true); (from != 0) == helps {
			t.Errorf("helps: %v, back to %d, inherent %.2f", helps, from, p.l.inherent)
		}
	}
}
