package signal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"sotto/sfu"
	"sotto/signal/protocol"
)

func TestNegotiation_offerAnswerAndTracks(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		a, b := w.join(), w.join()
		expect[*protocol.PeerJoined](a)
		if got := a.offer(2, "first", protocol.SourceMic, protocol.SourceCamera); got.ID != 2 || got.SDP != "answer to first" {
			t.Errorf("answer %+v", got)
		}
		want := protocol.List[protocol.Track]{{Source: protocol.SourceMic}, {Source: protocol.SourceCamera}}
		if got := expect[*protocol.PeerTracks](b); got.ConnID != a.conn || !slices.Equal(got.Tracks, want) {
			t.Errorf("b hears of %+v", got)
		}
		a.send(&protocol.Mute{Source: protocol.SourceCamera, Muted: true})
		want[1].Muted = true
		if got := expect[*protocol.PeerTracks](b); !slices.Equal(got.Tracks, want) {
			t.Errorf("b hears of %+v", got)
		}
		a.send(&protocol.Mute{Source: protocol.SourceScreen, Muted: true}) // not published: nothing to hear
		b.quiet()
		if c := w.join(); !slices.EqualFunc(c.peers[0].Tracks, want, func(x, y protocol.Track) bool { return x == y }) {
			t.Errorf("c sees %+v", c.peers)
		}
		expect[*protocol.PeerJoined](a)
		expect[*protocol.PeerJoined](b)
		a.offer(3, "second", protocol.SourceMic)
		if got := expect[*protocol.PeerTracks](b); !slices.Equal(got.Tracks, want[:1]) {
			t.Errorf("b hears of %+v", got)
		}
		if got := w.media.log(); !slices.Equal(got, []string{
			"join first", "update mute camera true", "update mute screen true", "update offer second",
		}) {
			t.Errorf("media node was asked %q", got)
		}
	})
}

func TestNegotiation_oneAtATime(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		block := make(chan struct{})
		w.media.set(func() { w.media.block = block })
		a, b := w.join(), w.join()
		expect[*protocol.PeerJoined](a)
		a.send(&protocol.Want{Tracks: []protocol.Wish{{ConnID: b.conn, Source: protocol.SourceMic}}})
		a.send(offerOf(2, "first", protocol.SourceMic))
		a.send(offerOf(3, "second"))
		if e := a.expectError(protocol.CodeBadState, false); e.ID == nil || *e.ID != 3 {
			t.Errorf("error %+v", e)
		}
		// What is said meanwhile is merged and done after the answer.
		a.send(&protocol.Mute{Source: protocol.SourceMic, Muted: true})
		a.send(&protocol.Want{Tracks: []protocol.Wish{{ConnID: b.conn, Source: protocol.SourceCamera}, {ConnID: b.conn, Source: protocol.SourceMic}}})
		w.media.events <- sfu.Event{Kind: sfu.EventSlots, Room: w.room().String(), Peer: a.conn.String(),
			Slots: []sfu.Slot{{MID: "4", Peer: b.conn.String(), Source: "mic"}}}
		a.quiet()
		close(block)
		expect[*protocol.Answer](a)
		if s := expect[*protocol.Slots](a); len(s.Slots) != 1 || s.Slots[0].ConnID != b.conn || s.Slots[0].MID != "4" {
			t.Errorf("slots %+v", s)
		}
		if p := expect[*protocol.PeerTracks](b); len(p.Tracks) != 1 || !p.Tracks[0].Muted {
			t.Errorf("b hears of %+v", p)
		}
		synctest.Wait()
		if got := w.media.log(); !slices.Equal(got, []string{"join first", "update wishes 2 mute mic true"}) {
			t.Errorf("media node was asked %q", got)
		}
	})
}

func TestNegotiation_errors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want protocol.Code
	}{
		{fmt.Errorf("%w: media section without mid", sfu.ErrBadOffer), protocol.CodeBadOffer},
		{sfu.ErrBadRequest, protocol.CodeBadOffer},
		{sfu.ErrRoomFull, protocol.CodeRoomFull},
		{sfu.ErrLimit, protocol.CodeLimit},
		{sfu.ErrUnknownPeer, protocol.CodeUnknownPeer},
		{sfu.ErrUnknownRoom, protocol.CodeUnknownPeer},
		{sfu.ErrOverloaded, protocol.CodeBusy},
		{sfu.ErrClosed, protocol.CodeBusy},
		{context.DeadlineExceeded, protocol.CodeMediaTimeout},
		{errors.New("disk on fire at 192.0.2.1"), protocol.CodeInternal},
	} {
		inBubble(t, Limits{}, func(w *world) {
			w.media.set(func() { w.media.fail = c.err })
			a := w.join()
			a.send(offerOf(2, "first", protocol.SourceMic))
			e := a.expectError(c.want, false)
			if e.ID == nil || *e.ID != 2 {
				t.Errorf("%v: id %v", c.err, e.ID)
			}
			if c.want == protocol.CodeInternal && e.Message != "media node" {
				t.Errorf("the client is told %q", e.Message)
			}
			w.media.set(func() { w.media.fail = nil })
			a.offer(3, "again", protocol.SourceMic) // the session goes on
		})
	}
}

func TestNegotiation_timesOut(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		w.media.set(func() { w.media.block = make(chan struct{}) })
		a := w.join()
		start := time.Now()
		a.send(offerOf(2, "first", protocol.SourceMic))
		a.expectError(protocol.CodeMediaTimeout, false)
		if took := time.Since(start); took != DefaultLimits().MediaTimeout {
			t.Errorf("after %v", took)
		}
		// Leaving while the node does not answer takes no longer.
		a.send(offerOf(3, "second", protocol.SourceMic))
		a.drop()
	})
}

func TestNegotiation_mediaClosedAndRejoin(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		a, b := w.join(), w.join()
		expect[*protocol.PeerJoined](a)
		a.send(&protocol.Want{Tracks: []protocol.Wish{{ConnID: b.conn, Source: protocol.SourceCamera}}})
		a.offer(2, "first", protocol.SourceMic)
		expect[*protocol.PeerTracks](b)
		synctest.Wait()

		w.media.set(func() { clear(w.media.peers) })
		w.media.events <- sfu.Event{Kind: sfu.EventClosed, Room: w.room().String(), Peer: a.conn.String(), Reason: sfu.ReasonTimeout}
		a.expectError(protocol.CodeMediaClosed, false)
		if p := expect[*protocol.PeerTracks](b); len(p.Tracks) != 0 {
			t.Errorf("b hears of %+v", p)
		}
		a.offer(3, "second", protocol.SourceMic)
		expect[*protocol.PeerTracks](b)
		synctest.Wait()

		o := offerOf(4, "third", protocol.SourceMic)
		o.Rejoin = true
		a.send(o)
		expect[*protocol.Answer](a)
		synctest.Wait()
		b.quiet()
		if got := w.media.log(); !slices.Equal(got, []string{
			"join first", "update wishes 1", "join second", "update wishes 1", "leave", "join third", "update wishes 1",
		}) {
			t.Errorf("media node was asked %q", got)
		}
	})
}

// TestNegotiation_drained: the media of who is to join elsewhere goes on, so the others keep seeing its tracks, until it turns out
// that there is no place.
func TestNegotiation_drained(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		a, b := w.join(), w.join()
		expect[*protocol.PeerJoined](a)
		a.offer(2, "first", protocol.SourceMic)
		expect[*protocol.PeerTracks](b)
		drain := func() {
			t.Helper()
			w.media.set(func() { clear(w.media.peers) })
			w.media.events <- sfu.Event{Kind: sfu.EventClosed, Room: w.room().String(), Peer: a.conn.String(), Reason: sfu.ReasonDrained}
			a.expectError(protocol.CodeMediaClosed, false)
		}
		drain()
		a.offer(3, "second", protocol.SourceMic)
		b.quiet()
		drain()
		w.media.set(func() { w.media.fail = sfu.ErrOverloaded })
		a.send(offerOf(4, "third", protocol.SourceMic))
		a.expectError(protocol.CodeBusy, false)
		if p := expect[*protocol.PeerTracks](b); len(p.Tracks) != 0 {
			t.Errorf("b hears of %+v", p)
		}
	})
}

// TestNegotiation_staleSession: the node still has a session that the service
// does not know of.
func TestNegotiation_staleSession(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		a := w.join()
		w.media.set(func() { w.media.peers[w.room().String()+"/"+a.conn.String()] = true })
		a.offer(2, "first", protocol.SourceMic)
		if got := w.media.log(); !slices.Equal(got, []string{"join first", "leave", "join first"}) {
			t.Errorf("media node was asked %q", got)
		}
	})
}

func TestNegotiation_slotsNameOnlyKnownPeers(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		a, b := w.join(), w.join()
		expect[*protocol.PeerJoined](a)
		a.offer(2, "first")
		slots := []sfu.Slot{
			{MID: "1", Peer: b.conn.String(), Source: "camera"},
			{MID: "2", Peer: protocol.ConnID{7}.String(), Source: "camera"},
			{MID: "3", Peer: "nonsense", Source: "camera"},
		}
		event := sfu.Event{Kind: sfu.EventSlots, Room: w.room().String(), Peer: a.conn.String(), Slots: slots}
		w.media.events <- event
		if s := expect[*protocol.Slots](a); len(s.Slots) != 1 || s.Slots[0].MID != "1" {
			t.Errorf("slots %+v", s)
		}
		b.send(&protocol.Leave{})
		expect[*protocol.PeerLeft](a)
		w.media.events <- event
		if s := expect[*protocol.Slots](a); len(s.Slots) != 0 {
			t.Errorf("slots %+v", s)
		}
		// Events that name nobody are for nobody.
		for _, e := range []sfu.Event{
			{Kind: sfu.EventSlots, Room: "x", Peer: "y"},
			{Kind: sfu.EventClosed, Room: w.room().String(), Peer: protocol.ConnID{8}.String()},
			{Kind: sfu.EventSynced}, {},
		} {
			w.media.events <- e
		}
		a.quiet()
	})
}

// TestNegotiation_leaveEndsMediaAtOnce: also when the client is in the middle
// of an offer.
func TestNegotiation_leaveEndsMediaAtOnce(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		for name, leave := range map[string]func(*client){
			"leave":    func(c *client) { c.send(&protocol.Leave{}) },
			"unloaded": func(c *client) { _ = c.ws.Close(websocket.StatusGoingAway, "") },
			"offering": func(c *client) { c.send(offerOf(3, "second")); c.send(&protocol.Leave{}) },
		} {
			a := w.join()
			a.offer(2, "first", protocol.SourceMic)
			start := time.Now()
			leave(a)
			synctest.Wait()
			if w.media.sessions() != 0 || time.Since(start) != 0 {
				t.Errorf("%s: %d sessions after %v", name, w.media.sessions(), time.Since(start))
			}
		}
	})
}
