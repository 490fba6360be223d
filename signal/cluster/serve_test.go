package cluster

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"sotto/sfu"
)

func TestServe_keepsSessionsWithoutSignaling(t *testing.T) {
	inCluster(t, func(g *rig) {
		f := newFakeNode()
		g.serve("a", f)
		first := g.settled()
		g.join(first, "room", "p")
		f.event(sfu.Event{Kind: sfu.EventConnected, Room: "room", Peer: "p"})
		first.Close() // as far as the node can tell, this is kill -9
		g.pass(10 * time.Minute)
		if !f.has("room", "p") {
			t.Fatal("ended while no signaling is there")
		}
		// Who starts gets the sessions before the end of its snapshot, although it asks before any node is known.
		second := g.remote()
		events := g.follow(second)
		g.pass(DefaultTiming().Settle)
		want(t, "events", events(), "connected p", "synced")
		if err := second.Leave(background, "room", "p"); err != nil {
			t.Fatal(err)
		}
		want(t, "events", events(), "closed p left")
	})
}

func TestServe_rejoinWaitsForTheEnd(t *testing.T) {
	r := newRegistry("a", "1", func(string, []byte) {})
	key := sessionKey{"room", "p"}
	if r.joined(key, false) != nil {
		t.Fatal("first join waits")
	}
	wait := r.joined(key, false)
	if wait == nil {
		t.Fatal("second join does not wait for the end of the first")
	}
	r.apply(sfu.Event{Kind: sfu.EventClosed, Room: "room", Peer: "p"})
	select {
	case <-wait:
	default:
		t.Fatal("the end is not told")
	}
	// An event of the new session may come before its join returns.
	r.apply(sfu.Event{Kind: sfu.EventSlots, Room: "room", Peer: "p", Slots: []sfu.Slot{{MID: "1"}}})
	if r.joined(key, false) != nil {
		t.Fatal("join waits for itself")
	}
	if len(r.sessions[key].state.Slots) != 1 {
		t.Error("event before join is lost")
	}
}

func TestServe_refusesWhatItDoesNotKnow(t *testing.T) {
	inCluster(t, func(g *rig) {
		g.serve("a", newFakeNode())
		nc := g.connect()
		g.pass(time.Second)
		for _, m := range []struct{ subject, data string }{
			{"join", `{}`},
			{"join", `{"signal":"s"}`},
			{"join", `{"signal":"S.>","join":{}}`},
			{"join", `{"signal":"s","join":[]}`},
			{"join", `{"signal":"s"} {}`},
			{"join", "\xff\x00"},
			{"update", `{"signal":"s","join":{}}`},
			{"nonsense", `{"signal":"s"}`},
		} {
			ctx, cancel := context.WithTimeout(background, time.Second)
			answer, err := nc.RequestWithContext(ctx, subjectNode("a", m.subject), []byte(m.data))
			cancel()
			if err != nil {
				t.Errorf("%s %q: %v", m.subject, m.data, err)
				continue
			}
			if r, err := decode[reply](answer.Data); err != nil || !errors.Is(r.Error.decode(), sfu.ErrBadRequest) {
				t.Errorf("%s %q: %s", m.subject, m.data, answer.Data)
			}
		}
	})
}

func TestServe_secondOfOneName(t *testing.T) {
	inCluster(t, func(g *rig) {
		g.serve("a", newFakeNode())
		g.pass(time.Second)
		err := Serve(background, g.connect(), ServeConfig{NodeID: "a", Media: newFakeNode()})
		if !errors.Is(err, ErrNodeID) {
			t.Errorf("second node: %v", err)
		}
		if err := Serve(background, nil, ServeConfig{NodeID: "A.b", Media: newFakeNode()}); !errors.Is(err, ErrConfig) {
			t.Errorf("bad id: %v", err)
		}
	})
}

func TestServe_beginsAnewWhenCutOff(t *testing.T) {
	inCluster(t, func(g *rig) {
		f := newFakeNode()
		g.serve("a", f)
		r := g.settled()
		g.join(r, "room", "stays")
		g.join(r, "room", "goes")
		events := g.follow(r)
		events()
		f.mu.Lock()
		delete(f.sessions, sessionKey{"room", "goes"})
		f.mu.Unlock()
		f.cutOff(false)
		got := events()
		slices.Sort(got) // the probe and the new events are independent
		want(t, "events", got, "closed goes transport", "connected stays")
		f.cutOff(true) // the node is over: Serve says goodbye
		want(t, "end", events(), "closed stays node_closed")
	})
}

func TestServe_boundsItsWork(t *testing.T) {
	inCluster(t, func(g *rig) {
		release := make(chan struct{})
		f := &slowNode{fakeNode: newFakeNode(), release: release}
		g.serve("a", f)
		r := g.settled()
		results := make(chan error, maxRequests)
		for range maxRequests {
			go func() {
				_, err := r.Join(background, sfu.JoinRequest{Room: "room", Peer: "p"})
				results <- err
			}()
		}
		g.pass(100 * time.Millisecond)
		_, err := r.Join(background, sfu.JoinRequest{Room: "room", Peer: "one too many"})
		if !errors.Is(err, sfu.ErrOverloaded) {
			t.Errorf("above the bound: %v", err)
		}
		close(release)
		for range maxRequests {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	})
}

type slowNode struct {
	*fakeNode
	release chan struct{}
}

func (s *slowNode) Join(ctx context.Context, _ sfu.JoinRequest) (sfu.JoinReply, error) {
	select {
	case <-s.release:
		return sfu.JoinReply{}, nil
	case <-ctx.Done():
		return sfu.JoinReply{}, ctx.Err()
	}
}
