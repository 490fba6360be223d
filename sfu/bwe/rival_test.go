package bwe

import (
	"testing"
	"time"

	"sotto/sfu/unit"
)

// layered sends the layer that the estimate allows, as a room would.
func (b *bottleneck) layered(d time.Duration) (rate unit.Bitrate) {
	for range d / (100 * time.Millisecond) {
		rate = 150 * unit.Kbps
		next := unit.Bitrate(0)
		for _, layer := range []unit.Bitrate{500 * unit.Kbps, 1700 * unit.Kbps} {
			if layer*9/8 < b.keep() {
				rate = layer
			} else if next == 0 {
				next = layer * 5 / 4
			}
		}
		b.e.SetWanted(next, 2200*unit.Kbps)
		if b.rival { // a sawtooth, as TCP's
			b.filled = 120*time.Millisecond + b.now.Sub(start)%(4*time.Second)/25
		}
		b.run(100*time.Millisecond, rate)
	}
	return rate
}

// A queue that somebody else keeps filled does not starve us, and when it is gone everything is as before.
func TestEstimator_besideARival(t *testing.T) {
	b := newBottleneck(t, 3*unit.Mbps)
	b.layered(5 * time.Second)
	b.rival = true
	b.layered(15 * time.Second)
	if rate := b.layered(5 * time.Second); rate < 500*unit.Kbps || !b.e.delay.rival.on {
		t.Errorf("sends %d beside a rival, %+v, found: %v", rate, b.e.Estimate(), b.e.delay.rival.on)
	}
	b.rival, b.filled = false, 0
	if rate := b.layered(10 * time.Second); rate < 1700*unit.Kbps || b.e.delay.rival.on {
		t.Errorf("sends %d once the rival is gone, %+v", rate, b.e.Estimate())
	}
}

// Alone on a path that became slow, nobody is found: the queue is ours.
func TestEstimator_findsNoRivalInItsOwnQueue(t *testing.T) {
	for _, slow := range []unit.Bitrate{1500, 900, 700, 500, 400, 300} {
		b := newBottleneck(t, 3*unit.Mbps)
		b.layered(5 * time.Second)
		b.rate = slow * unit.Kbps
		for range 100 {
			b.layered(100 * time.Millisecond)
			if b.e.delay.rival.on {
				t.Fatalf("a rival on a path of %d kbit/s that is ours alone, %+v", slow, b.e.Estimate())
			}
		}
	}
}

func TestProber_fairShare(t *testing.T) {
	const kbps = unit.Kbps
	for _, test := range []struct {
		sent, got, ours unit.Bitrate
		want            unit.Bitrate // of the second probe like it
	}{
		{2000 * kbps, 1364 * kbps, 600 * kbps, 1500 * kbps}, // 2 of 4.4 Mbit/s that are offered, of 3
		{720 * kbps, 656 * kbps, 230 * kbps, 720 * kbps},    // 5 Mbit/s: all of it is less than half
		{720 * kbps, 483 * kbps, 230 * kbps, 498 * kbps},    // 1 Mbit/s
		{720 * kbps, 720 * kbps, 230 * kbps, 720 * kbps},    // nobody there twice
	} {
		p := prober{}
		if got := p.fairShare(test.sent, test.got, test.ours); got > test.ours {
			t.Errorf("%+v: %d after one probe", test, got)
		}
		if got := p.fairShare(test.sent, test.got, test.ours); got < test.want*98/100 || got > test.want*102/100 {
			t.Errorf("%+v: %d", test, got)
		}
	}
}
