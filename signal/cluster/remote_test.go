package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sotto/sfu"
)

var background = context.Background()

func TestRemote_carriesRequestsAndErrors(t *testing.T) {
	inCluster(t, func(g *rig) {
		f := newFakeNode()
		g.serve("a", f)
		r := g.settled()
		g.join(r, "room", "p")

		// What is nil and what is empty means something different: "unchanged" and "no wish".
		for _, wishes := range [][]sfu.Wish{nil, {}, {{Peer: "q", Source: sfu.SourceCamera, Height: 360, Priority: 7, Paused: true}}} {
			u := sfu.Update{Room: "room", Peer: "p", Offer: "o<>&\r\n", Wishes: wishes, Mutes: []sfu.Mute{{Source: sfu.SourceMic, Muted: true}}}
			reply, err := r.Update(background, u)
			if err != nil || reply.Answer != u.Offer {
				t.Fatalf("update: %q, %v", reply.Answer, err)
			}
			got := f.updates[len(f.updates)-1]
			if fmt.Sprintf("%#v", got.Wishes) != fmt.Sprintf("%#v", wishes) || len(got.Mutes) != 1 || !got.Mutes[0].Muted {
				t.Errorf("update came as %#v, want %#v", got, u)
			}
		}
		for _, k := range errorKinds() {
			f.fail = fmt.Errorf("media: %w", k.err)
			_, err := r.Join(background, sfu.JoinRequest{Room: "room", Peer: "other"})
			if !errors.Is(err, k.err) || err.Error() != f.fail.Error() {
				t.Errorf("%s came as %v", k.word, err)
			}
			for _, other := range errorKinds() {
				if other.err != k.err && errors.Is(err, other.err) {
					t.Errorf("%s came as %s too", k.word, other.word)
				}
			}
		}
		f.fail = errors.New("something else")
		if _, err := r.Update(background, sfu.Update{Room: "room", Peer: "p"}); err == nil || errors.Is(err, sfu.ErrBadRequest) {
			t.Errorf("unknown error came as %v", err)
		}
		f.fail = nil
		if err := r.Kick(background, "room", "p"); err != nil {
			t.Errorf("kick: %v", err)
		}
		if err := r.Leave(background, "room", "p"); !errors.Is(err, sfu.ErrUnknownPeer) {
			t.Errorf("leave: %v", err)
		}
	})
}

func TestRemote_givesUpInTime(t *testing.T) {
	inCluster(t, func(g *rig) {
		f := newFakeNode()
		f.block = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		g.serve("a", f)
		r := g.settled()
		ctx, cancel := context.WithTimeout(background, 2*time.Second)
		defer cancel()
		start := time.Now()
		_, err := r.Join(ctx, sfu.JoinRequest{Room: "room", Peer: "p"})
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 2*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		g.pass(0) // the node gives up as well: the rig waits for it
	})
}

func TestRemote_withoutNode(t *testing.T) {
	inCluster(t, func(g *rig) {
		r := g.settled()
		_, err := r.Join(background, sfu.JoinRequest{Room: "room", Peer: "p"})
		if !errors.Is(err, ErrNoNode) || !errors.Is(err, sfu.ErrClosed) {
			t.Errorf("join: %v", err)
		}
		if err := r.Leave(background, "room", "p"); !errors.Is(err, sfu.ErrUnknownRoom) {
			t.Errorf("leave: %v", err)
		}
		if r.Ready() {
			t.Error("ready without a node")
		}
		g.serve("a", newFakeNode())
		g.pass(DefaultTiming().Beat)
		if !r.Ready() {
			t.Error("not ready with a node")
		}
		_, err = r.Join(background, sfu.JoinRequest{Room: "room", Peer: "p", Offer: strings.Repeat("x", maxMessage)})
		if !errors.Is(err, sfu.ErrLimit) {
			t.Errorf("oversized request: %v", err)
		}
	})
}

func TestRemote_eventsInOrder(t *testing.T) {
	inCluster(t, func(g *rig) {
		f := newFakeNode()
		g.serve("a", f)
		r := g.settled()
		events := g.follow(r)
		want(t, "empty snapshot", events(), "synced")
		g.join(r, "room", "p")
		slots := []sfu.Slot{{MID: "3", Peer: "q", Source: sfu.SourceCamera}}
		f.event(sfu.Event{Kind: sfu.EventConnected, Room: "room", Peer: "p"})
		f.event(sfu.Event{Kind: sfu.EventTrackStarted, Room: "room", Peer: "p", Source: sfu.SourceMic})
		f.event(sfu.Event{Kind: sfu.EventTrackStarted, Room: "room", Peer: "p", Source: sfu.SourceCamera})
		f.event(sfu.Event{Kind: sfu.EventTrackStopped, Room: "room", Peer: "p", Source: sfu.SourceMic})
		f.event(sfu.Event{Kind: sfu.EventSlots, Room: "room", Peer: "p", Slots: slots})
		wanted := []sfu.Wanted{{Source: sfu.SourceCamera, Layers: 1}, {Source: sfu.SourceScreen}}
		f.event(sfu.Event{Kind: sfu.EventWanted, Room: "room", Peer: "p", Wanted: wanted})
		want(t, "events", events(), "connected p", "track_started p mic", "track_started p camera", "track_stopped p mic", "slots p 3=q/camera",
			"wanted p camera:1 screen:0")
		later := g.follow(r)
		want(t, "snapshot", later(), "connected p", "track_started p camera", "slots p 3=q/camera", "wanted p camera:1 screen:0", "synced")
		// A signaling that starts now finds the same.
		other := g.settled()
		want(t, "snapshot elsewhere", g.follow(other)(), "connected p", "track_started p camera", "slots p 3=q/camera",
			"wanted p camera:1 screen:0", "synced")
		if err := r.Leave(background, "room", "p"); err != nil {
			t.Fatal(err)
		}
		want(t, "leave", events(), "closed p left")
		r.Close()
		want(t, "close", events(), "end")
		if _, err := r.Events(background); !errors.Is(err, sfu.ErrClosed) {
			t.Errorf("events after close: %v", err)
		}
	})
}

func TestRemote_resyncsOnGap(t *testing.T) {
	inCluster(t, func(g *rig) {
		f := newFakeNode()
		g.serve("a", f)
		r := g.settled()
		g.join(r, "room", "p")
		g.join(r, "room", "q")
		f.event(sfu.Event{Kind: sfu.EventConnected, Room: "room", Peer: "p"})
		synctest.Wait()
		events := g.follow(r)
		want(t, "snapshot", events(), "connected p", "synced")
		// Messages are lost: as if the next three had a number that is too high.
		r.mu.Lock()
		n := r.nodes["a"]
		n.number -= 3
		delete(n.sessions, sessionKey{"room", "q"})
		r.rooms["room"].sessions--
		r.count--
		n.sessions[sessionKey{"room", "ghost"}] = &session{placed: true, state: sessionState{Room: "room", Peer: "ghost"}}
		r.rooms["room"].sessions++
		r.count++
		r.mu.Unlock()
		f.event(sfu.Event{Kind: sfu.EventConnected, Room: "room", Peer: "q"})
		want(t, "resync", events(), "closed ghost transport", "connected q")
		f.event(sfu.Event{Kind: sfu.EventTrackStarted, Room: "room", Peer: "q", Source: sfu.SourceMic})
		want(t, "goes on", events(), "track_started q mic")
		// The last message before a silence is lost: the next beat tells.
		r.mu.Lock()
		n.number--
		n.sessions[sessionKey{"room", "q"}].state.Running = nil
		r.mu.Unlock()
		g.pass(2 * DefaultTiming().Beat)
		want(t, "beat", events(), "track_started q mic")
	})
}

func TestRemote_snapshotInParts(t *testing.T) {
	inCluster(t, func(g *rig) {
		f := newFakeNode()
		g.serve("a", f)
		first := g.settled()
		const peers = 3000
		for i := range peers {
			g.join(first, "room"+string(rune('a'+i%5)), fmt.Sprint("peer", i))
		}
		r := g.settled()
		r.mu.Lock()
		defer r.mu.Unlock()
		n := r.nodes["a"]
		if n == nil || len(n.sessions) != peers || n.nextPart < 3 || len(r.rooms) != 5 {
			t.Errorf("%+v with %d rooms", n, len(r.rooms))
		}
	})
}

func TestRemote_nodeLost(t *testing.T) {
	for name, graceful := range map[string]bool{"stopped": true, "killed": false} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, func(g *rig) {
				a, b := newFakeNode(), newFakeNode()
				stop, kill := g.serve("a", a)
				g.serve("b", b)
				r := g.settled()
				// Rooms come to both nodes, and stay together.
				var onA, onB string
				for i := 0; onA == "" || onB == ""; i++ {
					room := fmt.Sprint("room", i)
					g.join(r, room, room+"-1")
					g.join(r, room, room+"-2")
					if a.has(room, room+"-1") != a.has(room, room+"-2") {
						t.Fatal("one room on two nodes")
					}
					switch {
					case a.has(room, room+"-1") && onA == "":
						onA = room
					case b.has(room, room+"-1") && onB == "":
						onB = room
					default:
						for _, p := range []string{"-1", "-2"} {
							if err := r.Leave(background, room, room+p); err != nil {
								t.Fatal(err)
							}
						}
					}
				}
				events := g.follow(r)
				events()
				start := time.Now()
				if graceful {
					stop()
				} else {
					kill()
				}
				for roomsOf(r) > 1 {
					g.pass(10 * time.Millisecond)
				}
				took := time.Since(start)
				if lost := DefaultTiming().Lost; graceful && took > 50*time.Millisecond || !graceful && (took < lost || took > lost+2*DefaultTiming().Beat) {
					t.Errorf("noticed after %v", took)
				}
				got := events()
				if len(got) != 2 || !strings.HasSuffix(got[0], sfu.ReasonNodeClosed) || !strings.HasPrefix(got[0], "closed "+onA) {
					t.Errorf("events %q", got)
				}
				if _, err := r.Update(background, sfu.Update{Room: onB, Peer: onB + "-1"}); err != nil {
					t.Errorf("the other node's session: %v", err)
				}
				g.join(r, onA, onA+"-1") // the participants come back, elsewhere
				if !b.has(onA, onA+"-1") {
					t.Error("room is not on the live node")
				}
				// The node comes back with the sessions that it had: nobody hears of them.
				events()
				g.serve("a", a)
				for beats := 0; r.Nodes() < 2 && beats < 6; beats++ { // a snapshot that did not come is asked for again after 4
					g.pass(DefaultTiming().Beat)
				}
				g.pass(DefaultTiming().Beat)
				want(t, "return", events())
				if r.Nodes() != 2 {
					t.Errorf("%d nodes", r.Nodes())
				}
			})
		})
	}
}

// TestRemote_ownPauseIsNoLoss: who did not run cannot say who was silent.
func TestRemote_ownPauseIsNoLoss(t *testing.T) {
	inCluster(t, func(g *rig) {
		_, kill := g.serve("a", newFakeNode())
		r := g.settled()
		kill()
		lost := DefaultTiming().Lost
		g.pass(lost - time.Second)
		now := time.Now()
		r.check(now, now.Add(-lost))
		g.pass(lost - time.Second)
		if r.Nodes() != 1 {
			t.Error("lost after a pause")
		}
		g.pass(2 * time.Second)
		if r.Nodes() != 0 {
			t.Error("never lost")
		}
	})
}

func TestRemote_settlesBeforePlacing(t *testing.T) {
	inCluster(t, func(g *rig) {
		nodes := map[string]*fakeNode{"a": newFakeNode(), "b": newFakeNode()}
		// The room lives where the hash would not put it.
		fresh := &Remote{nodes: map[string]*node{"a": {id: "a", known: true}, "b": {id: "b", known: true}}}
		other := map[string]string{"a": "b", "b": "a"}[fresh.choose("room").id]
		nodes[other].sessions[sessionKey{"room", "p"}] = true
		for id, f := range nodes {
			g.serve(id, f)
		}
		g.pass(time.Second)
		r := g.remote()
		g.join(r, "room", "q")
		if !nodes[other].has("room", "q") {
			t.Error("room is on two nodes")
		}
	})
}

func roomsOf(r *Remote) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.rooms)
}
