package room

import (
	"testing"
	"time"

	"sotto/sfu/unit"
)

func TestClimb_upOnlyOnWhatHasHeld(t *testing.T) {
	const rtt = 50 * time.Millisecond
	c := climb{change: 500}
	at := func(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }
	for _, step := range []struct {
		ms     int
		change unit.Bitrate
		want   unit.Bitrate
	}{
		{0, 400, 400},     // down at once
		{10, 1000, 400},   // proven, not held
		{200, 900, 400},   // the least of the time counts
		{259, 1000, 400},  // a round trip and 200 ms later
		{260, 1000, 900},  //
		{270, 1000, 900},  // begins anew
		{300, 800, 800},   // down at once
		{310, 2000, 800},  //
		{400, 700, 700},   // interrupted
		{410, 2000, 700},  //
		{600, 2000, 700},  //
		{660, 2000, 2000}, //
	} {
		c.update(at(step.ms), step.change, rtt)
		if c.change != step.want {
			t.Fatalf("at %d ms: may use %d, want %d", step.ms, c.change, step.want)
		}
	}
}

func TestClimb_failedRisesWaitLonger(t *testing.T) {
	c := climb{change: 1000}
	now := epoch
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		c.raised(now)
		now = now.Add(2 * time.Second)
		c.lowered(now)
		if c.allowed(now) != 0 || c.allowed(now.Add(want*time.Second-1)) != 0 || c.allowed(now.Add(want*time.Second)) == 0 {
			t.Fatalf("waits %v after a failure, want %d s", c.blocked.Sub(now), want)
		}
		now = now.Add(want * time.Second)
	}
	c.raised(now)
	now = now.Add(riseWaitMax + 1) // as long as it was waited for
	c.settle(now)
	c.lowered(now) // the path got worse: no failure of the rise
	if c.allowed(now) == 0 {
		t.Error("waits although the rise had lasted")
	}
	c.raised(now)
	c.lowered(now.Add(time.Second))
	if got := c.blocked.Sub(now.Add(time.Second)); got != riseWait {
		t.Errorf("waits %v after a rise that lasted and one that failed", got)
	}
}

// Each failure but the first, a guess, asks for more room above the next rise, and a while without one for less.
func TestClimb_failedRisesNeedMoreRoom(t *testing.T) {
	c := climb{change: 800}
	now := epoch
	for _, want := range []unit.Bitrate{700, 700, 600, 500, 500} {
		now = now.Add(riseWaitMax)
		if got := c.allowed(now); got != want {
			t.Fatalf("may use %d of 800 after %d failures, want %d", got, c.failed, want)
		}
		c.raised(now)
		c.lowered(now)
	}
	c.raised(now)
	for _, want := range []unit.Bitrate{500, 600, 700, 700} {
		if got := c.allowed(now.Add(riseWaitMax)); got != want {
			t.Fatalf("may use %d of 800, want %d", got, want)
		}
		now = now.Add(forgive + 1)
		c.settle(now)
	}
}

// What failed beside a rival says nothing about the path without it.
func TestClimb_forgetsFailuresOnceARivalIsGone(t *testing.T) {
	c := climb{change: 800, tried: true}
	for range 3 {
		c.raised(epoch)
		c.lowered(epoch)
	}
	c.beside(false)
	c.beside(true)
	if c.allowed(epoch) != 0 || c.allowed(epoch.Add(riseWaitMax)) != 500 {
		t.Error("forgets failures while the rival is there, or without one")
	}
	c.beside(false)
	if got := c.allowed(epoch); got != 700 {
		t.Errorf("may use %d of 800 once the rival is gone", got)
	}
	c.raised(epoch)
	c.lowered(epoch)
	if got := c.blocked.Sub(epoch); got != riseWait {
		t.Errorf("waits %v after the next failure", got)
	}
}

// What before asks for is what allowed needs, for any rate and any number of failures.
func TestClimb_beforeIsTheInverseOfAllowed(t *testing.T) {
	for rate := unit.Bitrate(1); rate < 20*unit.Mbps; rate = rate*3/2 + 7 {
		c := climb{failed: int(rate % 3)}
		c.change = c.before(rate)
		if got := c.allowed(epoch); got < rate || got > rate+2 {
			t.Fatalf("%d allowed where %d is needed", got, rate)
		}
	}
}

// A probe goes out on RTX streams alone, and never beyond what was asked for.
func TestRoom_probesOnRTXStreams(t *testing.T) {
	w := newWorld(t, 90)
	for i := range PeerID(4) {
		w.publish(1+i, 3) // 4 * 1.5 Mbit/s are more than the start rate
	}
	s := w.subscribe(10, 4, 0)
	var wishes []Wish
	for i := range PeerID(4) {
		wishes = append(wishes, Wish{Publisher: 1 + i, Source: SourceCamera, Height: 720})
	}
	w.apply(Want{Peer: 10, Wishes: wishes})
	repeated, padding := 0, 0
	w.observe = func() {
		for i := range w.batch.Sends {
			o := &w.batch.Sends[i]
			for _, slot := range s.slots {
				if o.SSRC == slot.SSRC && (o.RTX || o.Packet == nil) {
					t.Fatal("a probe on a media stream")
				}
				if o.SSRC == slot.RTXSSRC && o.RTX {
					repeated++
				} else if o.SSRC == slot.RTXSSRC {
					padding++
				}
			}
		}
	}
	w.run(15 * time.Second)
	st := w.room.Stats()
	if repeated == 0 || int(st.Probes.Packets) != repeated+padding {
		t.Errorf("%d repeated and %d padding packets, %d counted", repeated, padding, st.Probes.Packets)
	}
	if st.Probes.Bytes*20 > st.Out[Video].Bytes {
		t.Errorf("%d bytes of probes beside %d of media", st.Probes.Bytes, st.Out[Video].Bytes)
	}
	for i, r := range s.recv {
		if r.layer != 2 || r.lost > 0 {
			t.Errorf("slot %d: layer %d on a free path, %d lost", i, r.layer, r.lost)
		}
	}
	if n := testing.AllocsPerRun(100, func() { w.room.find(10).estimator.Next(w.now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
