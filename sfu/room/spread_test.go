package room

import (
	"testing"
	"time"
)

func TestStats_showsWhatSubscribersReport(t *testing.T) {
	w := newWorld(t, 80)
	w.publish(1, 3)
	s := w.subscribe(2, 1, 0)
	s.loss = 0.05
	s.want(1, 720)
	w.run(30 * time.Second)
	st := w.room.Stats()
	if st.ExpectedOut == 0 || st.ExpectedOut > st.Out[Video].Packets {
		t.Fatalf("%d packets expected of %d sent", st.ExpectedOut, st.Out[Video].Packets)
	}
	if rate := float64(st.LostOut) / float64(st.ExpectedOut); rate < 0.02 || rate > 0.08 {
		t.Errorf("loss %.3f, the link loses 0.05", rate)
	}
	var reports uint64
	for _, n := range st.RTT.Counts {
		reports += n
	}
	if mean := st.RTT.Sum / time.Duration(max(reports, 1)); reports < 10 || mean < 2*s.delay || mean > 4*s.delay+20*time.Millisecond {
		t.Errorf("%d round trips of %v on average, one way takes %v", reports, mean, s.delay)
	}
}

func TestSpread_bucketsAreUpperBounds(t *testing.T) {
	var s, sum Spread
	s.Note(time.Millisecond)
	s.Note(time.Millisecond + 1)
	s.Note(time.Hour)
	sum.Add(&s)
	sum.Add(&s)
	if sum.Counts[0] != 2 || sum.Counts[1] != 2 || sum.Counts[SpreadBuckets] != 2 || sum.Sum != 2*s.Sum {
		t.Errorf("%+v", sum)
	}
}
