package sim

import (
	"math"
	"testing"
	"time"

	"sotto/sfu/unit"
)

// Paths that are drawn instead of chosen: the sweep's are those somebody thought of.

// draws is how many are drawn.
func draws() uint64 {
	if brief() {
		return 2
	}
	return 12
}

// drawn returns a path of 0.8 to 6 Mbit/s and its plan.
func drawn(seed uint64, length time.Duration) (p path, plan Plan) {
	rng := newRand(seed)
	between := func(low, high float64) float64 { return low * math.Pow(high/low, rng.Float64()) }
	p = path{
		rate: unit.Bitrate(between(800, 6000)), rtt: int(between(20, 200)), queue: int(between(100, 400)),
		layers: [][]unit.Bitrate{usual, lean, two}[rng.IntN(3)],
	}
	plan = p.plan(length)
	plan.Cameras[0].Key = between(4, 12)
	plan.Viewers[0].Down.Jitter = time.Duration(rng.IntN(10)) * time.Millisecond
	return p, plan
}

// Greedy flows that come and go, each for some seconds, leave nothing behind: failures that they caused are no reason to stay low.
func TestDrawn_rivalsComeAndGo(t *testing.T) {
	for seed := range draws() {
		p, plan := drawn(seed, 75*time.Second)
		rng := newRand(seed + 1000)
		at := 8 * time.Second
		for range 4 {
			length := time.Duration(3+rng.IntN(7)) * time.Second
			plan.At(at, TCP(0, length))
			at += length
			if at > 45*time.Second {
				break
			}
			at += time.Duration(3+rng.IntN(5)) * time.Second
		}
		v := &Run(plan, seed).Viewers[0]
		best := p.best(p.rate)
		if on := v.atLeast(best, 60*time.Second, plan.Length); on < 0.9 {
			t.Errorf("seed %d, %v: %.0f %% of the time on layer %d or better, long after the last rival left", seed, p, 100*on, best)
		}
	}
}

// A dip of any depth is left again.
func TestDrawn_backAfterADip(t *testing.T) {
	for seed := range draws() {
		p, plan := drawn(seed, 55*time.Second)
		rng := newRand(seed + 1000)
		const from, to = 15 * time.Second, 35 * time.Second
		low := max(unit.Bitrate(float64(p.rate)*(0.1+0.5*rng.Float64())), 400)
		plan.At(from, SetRate(0, low*unit.Kbps)).At(to, SetRate(0, p.rate*unit.Kbps))
		plan.Viewers[0].UpLoss, plan.Viewers[0].Feedback = 0.3*rng.Float64(), time.Duration(50+rng.IntN(100))*time.Millisecond
		v := &Run(plan, seed).Viewers[0]
		best := p.best(p.rate)
		if on := v.atLeast(best, to+8*time.Second, plan.Length); on < 0.9 {
			t.Errorf("seed %d, %v, %d kbit/s for 20 s: %.0f %% of the time on layer %d or better from 8 s after it on", seed, p, low, 100*on, best)
		}
	}
}
