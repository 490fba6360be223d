package sim

import (
	"time"

	"sotto/sfu/unit"
)

// The scenarios of the target table. The way is 20 ms in each direction with a drop-tail queue of 300 ms, the camera sends
// layers of 150, 500 and 1,700 kbit/s.

const (
	fast = 3 * unit.Mbps
	slow = 500 * unit.Kbps
)

// DipAt and DipFor say when and how long the link of Dip is slow.
const (
	DipAt  = 20 * time.Second
	DipFor = 40 * time.Second
)

func one(name string, length time.Duration, down LinkConfig) Plan {
	// The viewer joins a camera that has run for a while, so that joining is the viewer's alone.
	return Plan{Name: name, Length: length, Viewers: []ViewerPlan{{Down: down, Joins: time.Second}}}
}

// Free is a link without limits: nothing may be worse than without an estimator.
func Free() Plan { return one("free", 30*time.Second, LinkConfig{}) }

// Dip is 3 Mbit/s that become 0.5 for 40 seconds, and 3 again.
func Dip() Plan {
	p := one("dip", DipAt+DipFor+30*time.Second, LinkConfig{Rate: fast})
	p.At(DipAt, SetRate(0, slow)).At(DipAt+DipFor, SetRate(0, fast))
	return p
}

// LazyDip is Dip with feedback every 150 ms, as browsers send it at low rates.
func LazyDip() Plan {
	p := Dip()
	p.Name = "lazydip"
	p.Viewers[0].Feedback = 150 * time.Millisecond
	return p
}

// BusyDip is Dip with a publisher whose encoder stalls: every 4 seconds it makes a third of its frames for 1.2 seconds.
func BusyDip() Plan {
	p := Dip()
	p.Name = "busydip"
	for at := 10 * time.Second; at < p.Length; at += 4 * time.Second {
		p.At(at, Busy(0, 3)).At(at+1200*time.Millisecond, Busy(0, 1))
	}
	return p
}

// RandomLoss is 5 % of independent loss on 3 Mbit/s.
func RandomLoss() Plan { return one("loss5", time.Minute, LinkConfig{Rate: fast, Loss: 0.05}) }

// BurstLoss is 10 % of loss in bursts and up to 100 ms of jitter on 3 Mbit/s.
func BurstLoss() Plan {
	return one("burst10", time.Minute, LinkConfig{Rate: fast, Jitter: 100 * time.Millisecond, Burst: GilbertElliott{P: 0.0278, R: 0.25}})
}

// Jitter is up to 60 ms of it on 3 Mbit/s, without loss.
func Jitter() Plan {
	return one("jitter", time.Minute, LinkConfig{Rate: fast, Jitter: 60 * time.Millisecond})
}

// Stalls is a free link to a busy machine, which does not read for 50 to 300 ms twice a second.
func Stalls() Plan {
	p := one("stalls", 30*time.Second, LinkConfig{})
	for i := range 56 {
		p.At(2*time.Second+time.Duration(i)*500*time.Millisecond, Stall(0, time.Duration(50+50*(i%6))*time.Millisecond))
	}
	return p
}

// Steady is a link of 3 Mbit/s that stays as it is.
func Steady() Plan { return one("steady", time.Minute, LinkConfig{Rate: fast}) }

// SlowJoin joins over 0.5 Mbit/s.
func SlowJoin() Plan { return one("slowjoin", 30*time.Second, LinkConfig{Rate: slow}) }

// Competitor has a greedy TCP-like flow on 3 Mbit/s from 10 s on (RFC 8867 5.6).
func Competitor() Plan {
	p := one("tcp", 70*time.Second, LinkConfig{Rate: fast})
	p.At(10*time.Second, TCP(0, time.Minute))
	return p
}

// Outage loses everything for 4 seconds.
func Outage() Plan {
	p := one("outage", 40*time.Second, LinkConfig{Rate: fast})
	p.At(10*time.Second, SetDown(0, true)).At(14*time.Second, SetDown(0, false))
	return p
}

// Variable is a capacity that changes in steps (RFC 8867 5.1).
func Variable() Plan {
	p := one("variable", 100*time.Second, LinkConfig{Rate: fast})
	for i, rate := range []unit.Bitrate{1000, 2500, 600, 1000} {
		p.At(time.Duration(i+1)*20*time.Second, SetRate(0, rate*unit.Kbps))
	}
	return p
}

// CrossTraffic has 1.5 Mbit/s of traffic that does not yield on 3 Mbit/s for 20 seconds.
func CrossTraffic() Plan {
	p := one("cross", 60*time.Second, LinkConfig{Rate: fast})
	p.At(20*time.Second, Constant(0, 1500*unit.Kbps, 20*time.Second))
	return p
}

// Fairness has three viewers on one bottleneck, joining one after the other (RFC 8867 5.4).
func Fairness() Plan {
	return shared("fairness", 90*time.Second, fast, 0, 15*time.Second, 30*time.Second)
}

// PauseResume pauses the picture and wants it again (RFC 8867 5.8).
func PauseResume() Plan {
	p := one("pause", 60*time.Second, LinkConfig{Rate: fast})
	p.At(20*time.Second, Want(0, 0)).At(40*time.Second, Want(0, 720))
	return p
}

// Grid has six cameras on 5 Mbit/s.
func Grid() Plan {
	p := one("grid", 60*time.Second, LinkConfig{Rate: 5 * unit.Mbps})
	p.Cameras = make([]CameraPlan, 6)
	p.Viewers[0].Height = 360
	return p
}

// Scenarios lists all of them.
func Scenarios() []Plan {
	return []Plan{
		Free(), Steady(), Dip(), LazyDip(), BusyDip(), SlowJoin(), RandomLoss(), BurstLoss(), Jitter(), Stalls(), Competitor(), Outage(), Variable(),
		CrossTraffic(), Fairness(), PauseResume(), Grid(),
	}
}
