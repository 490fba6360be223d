package cluster

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"sotto/sfu"
)

// count is how many sessions the node has.
func (f *fakeNode) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sessions)
}

// drained starts two nodes with rooms on the first, which drains; the second comes later.
func (g *rig) drained(rooms int) (first, second *fakeNode, r *Remote, events func() []string) {
	g.t.Helper()
	first, second = newFakeNode(), newFakeNode()
	g.serve("a", first)
	r = g.settled()
	for i := range rooms {
		g.join(r, fmt.Sprint("room", i), "p")
		g.join(r, fmt.Sprint("room", i), "q")
	}
	events = g.follow(r)
	events()
	if err := r.Drain(background, "a"); err != nil {
		g.t.Fatal(err)
	}
	return first, second, r, events
}

func TestDrain_movesRoomsToAnotherNode(t *testing.T) {
	inCluster(t, func(g *rig) {
		first, second, r, events := g.drained(2)
		g.pass(time.Minute)
		want(t, "without another node", events())
		g.join(r, "room9", "p")
		if !first.has("room9", "p") {
			t.Error("a node that drains is better than none")
		}
		if s := r.Stats(); s != (Stats{Draining: 1}) {
			t.Errorf("stats %+v", s)
		}

		g.serve("b", second)
		g.pass(2 * DefaultTiming().Beat)
		got := events()
		if len(got) != 5 {
			t.Fatalf("told %q", got)
		}
		for _, e := range got {
			if e != "closed p "+sfu.ReasonDrained && e != "closed q "+sfu.ReasonDrained {
				t.Errorf("told %q", e)
			}
		}
		if first.count() != 5 {
			t.Error("media must go on until the participants close it")
		}
		for _, peer := range []string{"p", "q"} {
			g.join(r, "room0", peer)
			if !second.has("room0", peer) {
				t.Errorf("%s joins again on the node that drains", peer)
			}
		}
		// What the old node says of sessions that were moved means nothing any more.
		first.event(sfu.Event{Kind: sfu.EventTrackStarted, Room: "room0", Peer: "p", Source: sfu.SourceMic})
		if err := first.end("room0", "p", sfu.ReasonTransport); err != nil {
			t.Fatal(err)
		}
		want(t, "of moved sessions", events())
		if s := r.Stats(); s != (Stats{Running: 1, Draining: 1, Moved: 5}) {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestDrain_isSpreadOverTime(t *testing.T) {
	inCluster(t, func(g *rig) {
		const rooms = 60
		_, second, _, events := g.drained(rooms)
		g.serve("b", second)
		told := 0
		for range 8 {
			g.pass(DefaultTiming().Beat)
			now := len(events())
			if told += now; now > movesPerBeat {
				t.Errorf("%d told at a time", now)
			}
		}
		if told != 2*rooms {
			t.Errorf("%d of %d told", told, 2*rooms)
		}
	})
}

func TestDrain_countsWhoIsCut(t *testing.T) {
	inCluster(t, func(g *rig) {
		f := newFakeNode()
		stop, _ := g.serve("a", f)
		r := g.settled()
		g.join(r, "room", "p")
		if err := r.Drain(background, "a"); err != nil {
			t.Fatal(err)
		}
		g.pass(DefaultTiming().Beat)
		stop()
		g.pass(DefaultTiming().Beat)
		if s := r.Stats(); s != (Stats{Cut: 1}) {
			t.Errorf("stats %+v", s)
		}
		if err := r.Drain(background, "a"); !errors.Is(err, ErrNoNode) {
			t.Errorf("drain of a node that is gone: %v", err)
		}
		if err := r.Drain(background, "a.*"); !errors.Is(err, ErrNoNode) {
			t.Errorf("drain of a pattern: %v", err)
		}
	})
}

// TestDrain_waitsForWhoComesBack: signaling that has just started does not know the participants yet; moving them would refuse
// their resumption.
func TestDrain_waitsForWhoComesBack(t *testing.T) {
	inCluster(t, func(g *rig) {
		_, second, r, _ := g.drained(1)
		r.Close()
		g.serve("b", second)
		again := g.settled()
		events := g.follow(again)
		g.pass(comeBack - 2*DefaultTiming().Settle)
		want(t, "at first", events(), "synced")
		g.pass(2 * DefaultTiming().Settle)
		if got := events(); len(got) != 2 {
			t.Errorf("later: %q", got)
		}
	})
}

func TestOverview(t *testing.T) {
	inCluster(t, func(g *rig) {
		f, _, r, _ := g.drained(1)
		f.event(sfu.Event{Kind: sfu.EventConnected, Room: "room0", Peer: "p"})
		f.event(sfu.Event{Kind: sfu.EventTrackStarted, Room: "room0", Peer: "p", Source: sfu.SourceMic})
		g.serve("b", newFakeNode())
		g.pass(0)
		other := g.remote() // an operator's look
		g.pass(DefaultTiming().Beat)
		for _, r := range []*Remote{r, other} {
			got := fmt.Sprintf("%+v", r.Overview())
			const whole = "[{ID:a Draining:true Rooms:[{Room:room0 Sessions:2 Connected:1 Tracks:1}]} {ID:b Draining:false Rooms:[]}]"
			if got != whole {
				t.Errorf("got  %s\nwant %s", got, whole)
			}
		}
	})
}
