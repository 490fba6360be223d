package sim

import (
	"time"

	"sotto/sfu/unit"
)

// The cases of RFC 8867 that are not among the scenarios of the target table. What is left of its section 6: priorities are those of the
// wishes of one subscriber, and the allocator's business; congestion is not marked (ECN), since transport-wide feedback does not tell;
// a second bottleneck on the way looks like the narrower of both.

// VariableShared is a capacity that changes in steps under two flows (RFC 8867 5.2).
func VariableShared() Plan {
	p := shared("variable2", 125*time.Second, 4*unit.Mbps, 0, 0)
	for i, rate := range []unit.Bitrate{2000, 3500, 1000, 2000} {
		p.At(time.Duration(i+1)*25*time.Second, SetRate(0, rate*unit.Kbps))
	}
	return p
}

// CongestedFeedback has media of the viewer's own camera on the way back, in front of the feedback, while both ways change (RFC 8867
// 5.3). Its browser takes a second to see that its way became narrow; until then the queue is full and loses feedback as well.
func CongestedFeedback() Plan {
	p := one("feedback", 100*time.Second, LinkConfig{Rate: 2 * unit.Mbps})
	p.Viewers[0].UpRate = 2 * unit.Mbps
	for i, rate := range []unit.Bitrate{1000, 500, 2000} {
		p.At(time.Duration(i+1)*20*time.Second, SetRate(0, rate*unit.Kbps))
	}
	p.At(35*time.Second, SetUp(0, 800*unit.Kbps)).At(70*time.Second, SetUp(0, 2*unit.Mbps))
	p.At(time.Second, Upload(0, 1700*unit.Kbps, 35*time.Second))
	p.At(36*time.Second, Upload(0, 680*unit.Kbps, 35*time.Second))
	p.At(71*time.Second, Upload(0, 1700*unit.Kbps, 30*time.Second))
	return p
}

// FarAndNear has five flows of round trips from 20 to 300 ms on one bottleneck, 10 s apart (RFC 8867 5.5).
func FarAndNear() Plan {
	p := Plan{Name: "rtt", Length: 150 * time.Second, Shared: []LinkConfig{{Rate: 4 * unit.Mbps}}}
	for i, way := range []time.Duration{10, 25, 50, 100, 150} {
		way *= time.Millisecond
		p.Viewers = append(p.Viewers, ViewerPlan{
			Shared: 1, Down: LinkConfig{Delay: way}, Up: way, Joins: time.Second + time.Duration(i)*10*time.Second,
		})
	}
	return p
}

// ShortTCP has two flows beside ten users who fetch small files now and then (RFC 8867 5.7).
func ShortTCP() Plan {
	p := shared("shorttcp", 150*time.Second, 2*unit.Mbps, 0, 0)
	p.At(5*time.Second, Browse(0, 10, p.Length))
	return p
}

// PauseShared pauses the first of three flows that share a bottleneck, and wants it again (RFC 8867 5.8).
func PauseShared() Plan {
	p := shared("pause3", 120*time.Second, 3500*unit.Kbps, 0, 0, 0)
	p.At(40*time.Second, Want(0, 0)).At(60*time.Second, Want(0, 720))
	return p
}

// shared has a viewer for each time of joining on one bottleneck.
func shared(name string, length time.Duration, rate unit.Bitrate, joins ...time.Duration) Plan {
	p := Plan{Name: name, Length: length, Shared: []LinkConfig{{Rate: rate, Delay: 20 * time.Millisecond}}}
	for _, at := range joins {
		p.Viewers = append(p.Viewers, ViewerPlan{Shared: 1, Joins: time.Second + at})
	}
	return p
}
