package sfu

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const video, audio = webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio

// call lets alice publish and bob watch, and demands what a call must have.
func call(t *testing.T, w *world) {
	t.Helper()
	ctx := t.Context()
	alice, bob := newClient(t, w, "alice"), newClient(t, w, "bob")
	alice.publish()
	bob.slots(video, audio)
	alice.join("room")
	bob.join("room")
	w.log.connected("alice")
	w.log.connected("bob")
	alice.send()

	// Audio comes by itself, video when it is wished for.
	e := w.log.wait("slots with alice's microphone", func(e Event) bool {
		return e.Kind == EventSlots && e.Peer == "bob" && slices.ContainsFunc(e.Slots, func(s Slot) bool { return s.Source == SourceMic })
	})
	if want := (Slot{MID: "1", Peer: "alice", Source: SourceMic}); !slices.Contains(e.Slots, want) || e.Room != "room" {
		t.Errorf("slots %+v", e)
	}
	bob.hear("1", func(h heard) bool { return h.codec == webrtc.MimeTypeOpus })
	if n := bob.counts()["0"]; n != 0 {
		t.Errorf("%d packets of unwanted video", n)
	}
	wish := func(height int) {
		t.Helper()
		if _, err := w.node.Update(ctx, Update{Room: "room", Peer: "bob", Wishes: []Wish{{Peer: "alice", Source: SourceCamera, Height: height}}}); err != nil {
			t.Fatal(err)
		}
	}
	wish(180)
	w.log.wait("slots with alice's camera", func(e Event) bool {
		return e.Kind == EventSlots && slices.Contains(e.Slots, Slot{MID: "0", Peer: "alice", Source: SourceCamera})
	})
	bob.hear("0", func(h heard) bool { return h.layer == 0 })
	wish(720)
	bob.hear("0", func(h heard) bool { return h.layer == 2 })
	wish(360)
	bob.hear("0", func(h heard) bool { return h.layer == 1 })

	// One stream of numbers over all switches.
	bob.mu.Lock()
	list := slices.Clone(bob.got["0"])
	bob.mu.Unlock()
	for i := 1; i < len(list); i++ {
		if d := list[i].seq - list[i-1].seq; d == 0 || d > 100 {
			t.Errorf("packet %d: number %d after %d", i, list[i].seq, list[i-1].seq)
		}
	}

	if err := w.node.Leave(ctx, "room", "alice"); err != nil {
		t.Fatal(err)
	}
	w.log.wait("alice closed", func(e Event) bool { return e.Kind == EventClosed && e.Peer == "alice" && e.Reason == ReasonLeft })
	w.log.wait("bob's slots empty", func(e Event) bool { return e.Kind == EventSlots && e.Peer == "bob" && len(e.Slots) == 0 })
	if err := w.node.Leave(ctx, "room", "alice"); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("second leave: %v", err)
	}
	if err := w.node.Kick(ctx, "room", "bob"); err != nil {
		t.Fatal(err)
	}
	w.log.wait("bob kicked", func(e Event) bool { return e.Kind == EventClosed && e.Peer == "bob" && e.Reason == ReasonKicked })
	if s := w.node.Stats(); s.Rooms != 0 || s.Peers != 0 || s.Joins["ok"] != 2 || s.PeerFaults != 0 {
		t.Errorf("%+v", s)
	}
	alice.close()
	bob.close()
}

func TestNode_carriesACallOverASimulatedNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := virtual(t, Limits{}, 1)
		call(t, w)
		w.stop()
	})
}

func TestNode_carriesACallOverUDP(t *testing.T) {
	w := loopback(t, false)
	call(t, w)
	w.stop()
}

func TestNode_carriesACallOverTCP(t *testing.T) {
	w := loopback(t, true)
	call(t, w)
	w.stop()
}

func TestNode_growsBySlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := virtual(t, Limits{}, 1)
		alice, bob := newClient(t, w, "alice"), newClient(t, w, "bob")
		alice.publish()
		bob.slots(audio)
		alice.join("room")
		bob.join("room")
		w.log.connected("bob")
		w.log.connected("alice")
		alice.send()
		bob.hear("0", func(h heard) bool { return h.codec == webrtc.MimeTypeOpus })
		bob.slots(video)
		reply, err := w.node.Update(t.Context(), Update{Room: "room", Peer: "bob", Offer: bob.offer(),
			Wishes: []Wish{{Peer: "alice", Source: SourceCamera, Height: 180}}})
		if err != nil {
			t.Fatal(err)
		}
		bob.accept(reply.Answer)
		bob.hear("1", func(h heard) bool { return h.codec == webrtc.MimeTypeVP8 })
		bob.hear("0", func(h heard) bool { return h.codec == webrtc.MimeTypeOpus })
		alice.close()
		w.log.wait("alice closed by herself", func(e Event) bool {
			return e.Kind == EventClosed && e.Peer == "alice" && e.Reason == ReasonTransport
		})
		bob.close()
		w.stop()
	})
}

func TestNode_restartsICE(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := virtual(t, Limits{}, 1)
		alice, bob := newClient(t, w, "alice"), newClient(t, w, "bob")
		alice.publish()
		bob.slots(audio)
		alice.join("room")
		bob.join("room")
		alice.send()
		bob.hear("0", func(h heard) bool { return true })
		before := bob.pc.RemoteDescription().SDP
		reply, err := w.node.Update(t.Context(), Update{Room: "room", Peer: "bob", Offer: bob.restart()})
		if err != nil {
			t.Fatal(err)
		}
		if ufrag(reply.Answer) == ufrag(before) {
			t.Error("the node kept its credentials")
		}
		bob.accept(reply.Answer)
		bob.hear("0", func(h heard) bool { return true })
		alice.close()
		bob.close()
		w.stop()
	})
}

// ufrag returns the ICE user name fragment of a description.
func ufrag(description string) string {
	_, rest, _ := strings.Cut(description, "a=ice-ufrag:")
	line, _, _ := strings.Cut(rest, "\r\n")
	return line
}

func TestNode_wishWaitsForItsPublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := virtual(t, Limits{}, 3)
		alice, bob := newClient(t, w, "alice"), newClient(t, w, "bob")
		bob.slots(video)
		bob.join("room")
		if _, err := w.node.Update(t.Context(), Update{Room: "room", Peer: "bob", Wishes: []Wish{{Peer: "alice", Source: SourceCamera, Height: 180}}}); err != nil {
			t.Fatal(err)
		}
		w.log.connected("bob")
		alice.publish()
		alice.join("room")
		alice.send()
		bob.hear("0", func(h heard) bool { return h.layer == 0 })
		alice.close()
		bob.close()
		w.stop()
	})
}

func TestNode_muteStopsMedia(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := virtual(t, Limits{}, 1)
		alice, bob := newClient(t, w, "alice"), newClient(t, w, "bob")
		alice.publish()
		bob.slots(audio)
		alice.join("room")
		bob.join("room")
		alice.send()
		bob.hear("0", func(h heard) bool { return true })
		mute := func(on bool) {
			t.Helper()
			if _, err := w.node.Update(t.Context(), Update{Room: "room", Peer: "alice", Mutes: []Mute{{Source: SourceMic, Muted: on}}}); err != nil {
				t.Fatal(err)
			}
		}
		mute(true)
		time.Sleep(200 * time.Millisecond) // virtual: what was on its way
		before := bob.counts()["0"]
		time.Sleep(time.Second)
		if after := bob.counts()["0"]; after != before {
			t.Errorf("%d packets of a muted microphone", after-before)
		}
		mute(false)
		bob.hear("0", func(h heard) bool { return true })
		alice.close()
		bob.close()
		w.stop()
	})
}

func TestNode_refuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := virtual(t, Limits{PeersPerRoom: 2, Peers: 3, Rooms: 2, Tracks: 2, Slots: 3, Wishes: 1, IDBytes: 8}, 1)
		ctx := t.Context()
		publisher := newClient(t, w, "x")
		publisher.publish()
		offer := publisher.offer()
		watcher := newClient(t, w, "y")
		watcher.slots(video, video, video, video)
		four := watcher.offer()
		tracks := publisher.tracks
		tests := []struct {
			name string
			r    JoinRequest
			want error
		}{
			{"no room", JoinRequest{Peer: "p", Offer: offer}, ErrBadRequest},
			{"long peer", JoinRequest{Room: "r", Peer: strings.Repeat("p", 9), Offer: offer}, ErrBadRequest},
			{"no offer", JoinRequest{Room: "r", Peer: "p"}, ErrBadOffer},
			{"long offer", JoinRequest{Room: "r", Peer: "p", Offer: strings.Repeat("a", 1<<19)}, ErrBadOffer},
			{"unknown source", JoinRequest{Room: "r", Peer: "p", Offer: offer, Tracks: []Track{{"0", "webcam"}}}, ErrBadRequest},
			{"unknown m-line", JoinRequest{Room: "r", Peer: "p", Offer: offer, Tracks: []Track{{"7", SourceMic}}}, ErrBadRequest},
			{"wrong kind", JoinRequest{Room: "r", Peer: "p", Offer: offer, Tracks: []Track{{"0", SourceCamera}}}, ErrBadRequest},
			{"track on a slot", JoinRequest{Room: "r", Peer: "p", Offer: four, Tracks: []Track{{"0", SourceCamera}}}, ErrBadRequest},
			{"one source twice", JoinRequest{Room: "r", Peer: "p", Offer: offer, Tracks: []Track{{"0", SourceMic}, {"1", SourceMic}}}, ErrBadRequest},
			{"three tracks", JoinRequest{Room: "r", Peer: "p", Offer: offer, Tracks: make([]Track, 3)}, ErrLimit},
			{"four slots", JoinRequest{Room: "r", Peer: "p", Offer: four}, ErrLimit},
			{"good", JoinRequest{Room: "r", Peer: "p1", Offer: offer, Tracks: tracks}, nil},
			{"again", JoinRequest{Room: "r", Peer: "p1", Offer: offer, Tracks: tracks}, ErrPeerExists},
			{"second", JoinRequest{Room: "r", Peer: "p2", Offer: offer}, nil},
			{"third in the room", JoinRequest{Room: "r", Peer: "p3", Offer: offer}, ErrRoomFull},
			{"third on the node", JoinRequest{Room: "s", Peer: "p1", Offer: offer}, nil},
			{"fourth on the node", JoinRequest{Room: "s", Peer: "p2", Offer: offer}, ErrLimit},
		}
		for _, tt := range tests {
			if _, err := w.node.Join(ctx, tt.r); !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
			}
		}
		updates := []struct {
			name string
			u    Update
			want error
		}{
			{"unknown room", Update{Room: "q", Peer: "p1"}, ErrUnknownRoom},
			{"unknown peer", Update{Room: "r", Peer: "p9"}, ErrUnknownPeer},
			{"two wishes", Update{Room: "r", Peer: "p1", Wishes: make([]Wish, 2)}, ErrLimit},
			{"bad wish", Update{Room: "r", Peer: "p1", Wishes: []Wish{{Peer: "p2", Source: "x"}}}, ErrBadRequest},
			{"negative height", Update{Room: "r", Peer: "p1", Wishes: []Wish{{Peer: "p2", Source: SourceCamera, Height: -1}}}, ErrBadRequest},
			{"bad mute", Update{Room: "r", Peer: "p1", Mutes: []Mute{{Source: "x"}}}, ErrBadRequest},
			{"another client's offer", Update{Room: "r", Peer: "p1", Offer: four}, ErrBadOffer},
			{"nothing", Update{Room: "r", Peer: "p1"}, nil},
		}
		for _, tt := range updates {
			if _, err := w.node.Update(ctx, tt.u); !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
			}
		}
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := w.node.Join(canceled, JoinRequest{Room: "r", Peer: "p3", Offer: offer}); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
		// Sessions whose client never came are given up.
		w.log.wait("given up", func(e Event) bool { return e.Kind == EventClosed && e.Peer == "p1" && e.Reason == ReasonTimeout })
		publisher.close()
		watcher.close()
		w.stop()
		if _, err := w.node.Join(ctx, JoinRequest{Room: "r", Peer: "p", Offer: offer}); !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %v", err)
		}
		if _, err := w.node.Events(ctx); !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

func TestNode_eventsBeginWithASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := virtual(t, Limits{EventReaders: 2}, 1)
		alice, bob := newClient(t, w, "alice"), newClient(t, w, "bob")
		alice.publish()
		bob.slots(audio)
		alice.join("room")
		bob.join("room")
		alice.send()
		bob.hear("0", func(h heard) bool { return true })
		ctx, cancel := context.WithCancel(t.Context())
		events, err := w.node.Events(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.node.Events(ctx); !errors.Is(err, ErrLimit) {
			t.Errorf("third reader: %v", err)
		}
		var snapshot []Event
		for e := range events {
			if e.Kind == EventSynced {
				break
			}
			snapshot = append(snapshot, e)
		}
		has := func(kind EventKind, peer, source string) bool {
			return slices.ContainsFunc(snapshot, func(e Event) bool { return e.Kind == kind && e.Peer == peer && e.Source == source })
		}
		if !has(EventConnected, "alice", "") || !has(EventConnected, "bob", "") || !has(EventTrackStarted, "alice", SourceMic) || !has(EventSlots, "bob", "") {
			t.Errorf("%+v", snapshot)
		}
		cancel()
		for range events { //nolint:revive // drained until closed
		}
		alice.close()
		bob.close()
		w.stop()
	})
}

// Whoever closes the node finds it closed when Close returns.
func TestNode_closeWaitsForAnotherClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := virtual(t, Limits{}, 1)
		var closing sync.WaitGroup
		for range 3 {
			closing.Go(func() {
				_ = w.node.Close()
				select {
				case <-w.node.done:
				default:
					t.Error("Close returned before the node was closed")
				}
			})
		}
		closing.Wait()
		w.stop()
	})
}
