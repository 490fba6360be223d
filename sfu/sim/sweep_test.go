package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sotto/sfu/unit"
)

// The sweep runs what the targets do not name: other rates, ways, queues and layers. It looks for collapse, not for the last percent.

// path is a point of the sweep.
type path struct {
	rate       unit.Bitrate // kbit/s
	rtt, queue int          // ms
	layers     []unit.Bitrate
}

// Layers of the sweep, in kbit/s.
var (
	usual = []unit.Bitrate{150, 500, 1700}
	lean  = []unit.Bitrate{100, 300, 1200}
	two   = []unit.Bitrate{200, 900}
)

func (p path) String() string {
	return fmt.Sprintf("%d kbit/s, %d ms, queue of %d ms, layers %v", p.rate, p.rtt, p.queue, p.layers)
}

// plan is a viewer who is alone on the path.
func (p path) plan(length time.Duration) Plan {
	way := time.Duration(p.rtt) * time.Millisecond / 2
	plan := one("sweep", length, LinkConfig{Rate: p.rate * unit.Kbps, Delay: way, Queue: time.Duration(p.queue) * time.Millisecond})
	plan.Viewers[0].Up = way
	camera := CameraPlan{}
	for _, rate := range p.layers {
		camera.Layers = append(camera.Layers, rate*unit.Kbps)
	}
	plan.Cameras = []CameraPlan{camera}
	return plan
}

// wire returns what a layer of a rate takes on the link, sound included.
func wire(rate unit.Bitrate) unit.Bitrate {
	const perPacket, sound = 82, 61 * unit.Kbps
	frame := (rate * unit.Kbps).Bytes(time.Second / frameRate)
	return unit.RateOf(frame+(frame/maxBody+1)*perPacket, time.Second/frameRate) + sound
}

// best returns the highest layer that leaves a fifth of a rate free: what must be reached.
func (p path) best(rate unit.Bitrate) (best int) {
	for i, layer := range p.layers {
		if wire(layer)*5/4 <= rate*unit.Kbps {
			best = i
		}
	}
	return best
}

// atLeast returns the share of the time in which a layer or a better one was shown.
func (v *ViewerResult) atLeast(layer int, from, to time.Duration) (part float64) {
	for ; layer < 3; layer++ {
		part += v.OnLayer(layer, from, to)
	}
	return part
}

// few are the first of a list where a few must do.
func few[T any](list []T, n int) []T {
	if brief() {
		return list[:min(n, len(list))]
	}
	return list
}

func TestSweep_steadyLinks(t *testing.T) {
	var paths []path
	for _, layers := range [][]unit.Bitrate{usual, lean, two} {
		for _, rate := range []unit.Bitrate{300, 400, 600, 700, 800, 1000, 1500, 2200, 3000, 10000} {
			if layers[0] == 200 && rate < 400 {
				continue // not even the lowest fits
			}
			ways := [][2]int{{10, 300}, {40, 100}, {100, 1000}, {300, 300}}
			for i := range 2 { // every other one, in turn
				way := ways[(len(paths)+2*i)%len(ways)]
				paths = append(paths, path{rate, way[0], way[1], layers})
			}
		}
	}
	for i, p := range few(paths, 8) {
		const settled, end = 15 * time.Second, 45 * time.Second
		r := Run(p.plan(end), uint64(i))
		v := &r.Viewers[0]
		best := p.best(p.rate)
		if on := v.atLeast(best, settled, end); on < 0.7 {
			t.Errorf("%v: %.0f %% of the time on layer %d or better", p, 100*on, best)
		}
		if n := switchesPerMinute(v, settled, settled+time.Minute); n > 2 { // of the 30 s there are
			t.Errorf("%v: %.0f switches", p, n)
		}
		if frozen := v.Frozen(settled, end); frozen > 5*time.Second {
			t.Errorf("%v: frozen for %v of 30 s", p, frozen)
		}
	}
}

func TestSweep_backAfterADip(t *testing.T) {
	var paths []path
	for _, layers := range [][]unit.Bitrate{usual, lean, two} {
		for _, way := range [][2]int{{10, 100}, {40, 300}, {100, 1000}, {300, 300}} {
			paths = append(paths, path{3000, way[0], way[1], layers})
		}
	}
	for i, p := range few(paths, 3) {
		for _, slow := range few([]unit.Bitrate{400, 700, 0}, 1) { // 0 is an outage
			const from, to, end = 15 * time.Second, 35 * time.Second, 50 * time.Second
			plan := p.plan(end)
			down, up := SetRate(0, slow*unit.Kbps), SetRate(0, p.rate*unit.Kbps)
			length := to - from
			if slow == 0 {
				down, up, length = SetDown(0, true), SetDown(0, false), 5*time.Second
			}
			plan.At(from, down).At(from+length, up)
			r := Run(plan, uint64(i))
			v := &r.Viewers[0]
			back := v.Until(p.best(p.rate), from+length)
			if back < 0 || back > 8*time.Second {
				t.Errorf("%v, %d kbit/s for %v: back on top after %v", p, slow, length, back)
			}
			if slow == 0 {
				continue
			}
			if under := v.Under(slow*unit.Kbps, from); under < 0 || under > 2*time.Second {
				t.Errorf("%v: sent rate under %d kbit/s after %v", p, slow, under)
			}
			if on := v.atLeast(p.best(slow), from+5*time.Second, to); on < 0.7 {
				t.Errorf("%v, %d kbit/s: %.0f %% of the time on layer %d or better", p, slow, 100*on, p.best(slow))
			}
		}
	}
}

// A picture that needs all it may spend has key frames of 12 frames and more, longer than many queues are. They must not be taken
// for a path that carries less.
func TestSweep_largeKeyFrames(t *testing.T) {
	for i, p := range few([]path{{1500, 40, 100, two}, {3000, 10, 100, usual}, {1000, 40, 100, usual}, {3000, 40, 50, usual}, {800, 10, 300, usual}}, 2) {
		for _, key := range few([]float64{12, 15}, 1) {
			plan := p.plan(60 * time.Second)
			plan.Cameras[0].Key = key
			plan.At(15*time.Second, SetRate(0, 500*unit.Kbps)).At(30*time.Second, SetRate(0, p.rate*unit.Kbps))
			v := &Run(plan, uint64(i)+1).Viewers[0]
			best := p.best(p.rate)
			if back, on := v.Until(best, 30*time.Second), v.atLeast(best, 40*time.Second, plan.Length); back < 0 || back > 8*time.Second || on < 0.9 {
				t.Errorf("%v, key frames of %v: layer %d again after %v, %.0f %% of the time after that", p, key, best, back, 100*on)
			}
			if on := v.atLeast(0, 20*time.Second, 30*time.Second); on < 0.7 && p.queue > 50 { // which is three packets then
				t.Errorf("%v, key frames of %v: a picture in %.0f %% of the time at 500 kbit/s", p, key, 100*on)
			}
		}
	}
}

// A queue of 50 ms overflows with each key frame of the top layer: that is no reason to leave it again.
func TestSweep_backOverAShortQueue(t *testing.T) {
	for i, p := range few([]path{{3000, 40, 50, usual}, {2500, 10, 50, usual}, {3000, 100, 50, usual}, {3000, 300, 50, two}}, 1) {
		plan := p.plan(60 * time.Second)
		plan.At(15*time.Second, SetRate(0, 500*unit.Kbps)).At(35*time.Second, SetRate(0, p.rate*unit.Kbps))
		v := &Run(plan, uint64(i)+1).Viewers[0]
		top := len(p.layers) - 1
		if back, on := v.Until(top, 35*time.Second), v.OnLayer(top, 45*time.Second, plan.Length); back < 0 || back > 8*time.Second || on < 0.9 {
			t.Errorf("%v: back on top after %v, %.0f %% of the time after that", p, back, 100*on)
		}
	}
}

// Whatever else is wrong with a path that has room, the top layer stays, and sound is lost only where packets are.
func TestSweep_impairedLinks(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range few([]struct {
		name string
		do   func(*ViewerPlan)
		loss float64
	}{
		{"feedback lost, 10 %", func(v *ViewerPlan) { v.UpLoss = 0.1 }, 0},
		{"feedback lost, 30 %", func(v *ViewerPlan) { v.UpLoss = 0.3 }, 0},
		{"feedback each 200 ms", func(v *ViewerPlan) { v.Feedback = 200 * ms }, 0},
		{"reordered, 5 % by 30 ms", func(v *ViewerPlan) { v.Down.Late, v.Down.LateBy = 0.05, 30*ms }, 0},
		{"reordered, 20 % by 60 ms", func(v *ViewerPlan) { v.Down.Late, v.Down.LateBy = 0.2, 60*ms }, 0},
		{"jitter of 100 ms", func(v *ViewerPlan) { v.Down.Jitter = 100 * ms }, 0},
		{"loss of 10 %", func(v *ViewerPlan) { v.Down.Loss = 0.1 }, 0.1},
		{"loss of 10 % in bursts", func(v *ViewerPlan) { v.Down.Burst = GilbertElliott{0.0278, 0.25} }, 0.1},
		{"loss and jitter", func(v *ViewerPlan) { v.Down.Loss, v.Down.Jitter = 0.05, 60*ms }, 0.05},
	}, 3) {
		for _, rate := range few([]unit.Bitrate{3000, 5000}, 1) {
			plan := path{rate, 40, 300, usual}.plan(45 * time.Second)
			test.do(&plan.Viewers[0])
			v := &Run(plan, 3).Viewers[0]
			if on := v.OnLayer(2, 15*time.Second, plan.Length); on < 0.8 {
				t.Errorf("%s, %d kbit/s: %.0f %% of the time on the top layer", test.name, rate, 100*on)
			}
			if n := switchesPerMinute(v, 15*time.Second, 75*time.Second); n > 2 {
				t.Errorf("%s, %d kbit/s: %.0f switches", test.name, rate, n)
			}
			if lost := 1 - float64(v.AudioReceived)/float64(v.AudioSent); lost > 1.4*test.loss+0.01 {
				t.Errorf("%s, %d kbit/s: %.1f %% of the sound lost", test.name, rate, 100*lost)
			}
		}
	}
}

// A capacity that wanders between 400 kbit/s and 4 Mbit/s, a step each half second, is followed: most of it may be used, queues are
// short for most of the time.
func TestSweep_wanderingCapacity(t *testing.T) {
	for seed := range few([]int{1, 2, 3}, 1) {
		plan := path{2000, 40, 300, usual}.plan(60 * time.Second)
		rng := newRand(uint64(seed))
		rate := 2000.0
		for at := 2 * time.Second; at < plan.Length; at += time.Second / 2 {
			rate = min(max(rate*(0.8+0.45*rng.Float64()), 400), 4000)
			plan.At(at, SetRate(0, unit.Bitrate(rate)*unit.Kbps))
		}
		v := &Run(plan, uint64(seed)).Viewers[0]
		var sent, fits float64
		var queue []time.Duration
		for _, l := range v.Lines[100:] {
			sent += float64(l.Sent)
			layer := path{layers: usual}.best(l.Link / unit.Kbps)
			fits += float64(wire(usual[layer]))
			queue = append(queue, l.Queue)
		}
		slices.Sort(queue)
		t.Logf("%.2f of what fits at each moment; queue p50 %v, p95 %v; frozen %v", sent/fits, queue[len(queue)/2], queue[len(queue)*95/100], v.Frozen(10*time.Second, plan.Length))
		if sent < 0.5*fits {
			t.Errorf("seed %d: sent %.2f of what fits at each moment", seed, sent/fits)
		}
		if q := queue[len(queue)*9/10]; q > 150*time.Millisecond {
			t.Errorf("seed %d: queue of %v at the 90th percentile", seed, q)
		}
	}
}

// A gallery of 25 cameras on one estimate: everybody is seen, little flickers, nothing is starved.
func TestSweep_gallery(t *testing.T) {
	for _, rate := range few([]unit.Bitrate{6000, 15000}, 1) {
		plan := one("gallery", 20*time.Second, LinkConfig{Rate: rate * unit.Kbps})
		plan.Cameras = make([]CameraPlan, 25)
		plan.Viewers[0].Height = 360
		v := &Run(plan, 1).Viewers[0]
		var used float64
		for _, l := range v.Lines[100:] {
			used += float64(l.Sent) / float64(l.Link) / float64(len(v.Lines)-100)
		}
		frozen, switches := v.Frozen(10*time.Second, plan.Length)/25, switchesPerMinute(v, 10*time.Second, plan.Length)/25
		t.Logf("%d kbit/s: %.0f %% used, frozen %v and %.1f switches/min for each", rate, 100*used, frozen, switches)
		if used < 0.5 || frozen > 500*time.Millisecond || switches > 2 {
			t.Errorf("%d kbit/s: %.0f %% used, frozen %v and %.1f switches a minute for each", rate, 100*used, frozen, switches)
		}
		if lost := 1 - float64(v.AudioReceived)/float64(v.AudioSent); lost > 0.01 {
			t.Errorf("%d kbit/s: %.1f %% of the sound lost", rate, 100*lost)
		}
	}
}

// Flows that share a bottleneck become about equal, also with those who came first.
func TestSweep_fairness(t *testing.T) {
	for _, test := range few([]struct {
		flows int
		rate  unit.Bitrate
		apart time.Duration
	}{{3, 3000, 0}, {3, 3000, 15}, {2, 2000, 5}, {4, 3000, 5}, {4, 6000, 0}}, 2) {
		var indices []float64
		for seed := range min(seeds(), 3) {
			plan := Plan{Length: 80 * time.Second, Shared: []LinkConfig{{Rate: test.rate * unit.Kbps, Delay: 20 * time.Millisecond}}}
			for i := range test.flows {
				plan.Viewers = append(plan.Viewers, ViewerPlan{Shared: 1, Joins: time.Second + time.Duration(i)*test.apart*time.Second})
			}
			var shares []float64
			for _, v := range Run(plan, seed+1).Viewers {
				share := 0.0
				for _, l := range v.Lines {
					if l.At > plan.Length/2 {
						share += float64(l.Sent)
					}
				}
				shares = append(shares, share)
			}
			indices = append(indices, jain(shares))
		}
		slices.Sort(indices)
		best := fairest(test.flows, test.rate*unit.Kbps)
		t.Logf("%d flows, %d kbit/s, %d s apart: Jain's index %.2f, worst %.2f, of %.2f", test.flows, test.rate, test.apart, indices[len(indices)/2], indices[0], best)
		if indices[len(indices)/2] < 0.9*best {
			t.Errorf("%d flows, %d kbit/s, %d s apart: Jain's index %.2f of %.2f", test.flows, test.rate, test.apart, indices, best)
		}
	}
}

// Beside greedy TCP-like flows some of the path stays ours, and not all of it.
func TestSweep_competitor(t *testing.T) {
	for _, p := range few([]path{
		{3000, 40, 300, usual}, {2000, 40, 300, usual}, {3000, 120, 300, usual}, {5000, 40, 300, usual}, {1000, 40, 300, usual},
	}, 1) {
		var shares []float64
		for seed := range min(seeds(), 3) {
			plan := p.plan(70 * time.Second)
			plan.At(10*time.Second, TCP(0, time.Minute))
			r := Run(plan, seed+1)
			shares = append(shares, ourShare(r))
		}
		slices.Sort(shares)
		t.Logf("%v: %.0f %%", p, shares)
		if m := shares[len(shares)/2]; m < 15 || m > 65 {
			t.Errorf("%v: %.0f %% of the path beside TCP", p, shares)
		}
	}
}

// A link that hardly carries the lowest layer shows it without a pause.
func TestSweep_narrowLinks(t *testing.T) {
	for _, p := range few([]path{{300, 40, 300, two}, {300, 100, 1000, two}, {260, 40, 300, usual}}, 1) {
		v := &Run(p.plan(45*time.Second), 1).Viewers[0]
		if on, n := v.atLeast(0, 10*time.Second, 45*time.Second), switchesPerMinute(v, 10*time.Second, 70*time.Second); on < 0.95 || n > 2 {
			t.Errorf("%v: a picture for %.0f %% of the time, %.0f switches", p, 100*on, n)
		}
	}
}
