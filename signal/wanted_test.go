package signal

import (
	"slices"
	"testing"
	"testing/synctest"

	"sotto/sfu"
	"sotto/signal/protocol"
)

// demand says what is wanted of a client's sources.
func (r *recorder) demand(c *client, wanted ...sfu.Wanted) {
	room := c.w.room().String()
	r.set(func() { r.wanted[room+"/"+c.conn.String()] = wanted })
	r.events <- sfu.Event{Kind: sfu.EventWanted, Room: room, Peer: c.conn.String(), Wanted: wanted}
}

// expectWanted takes the next message, which says that so many layers of the camera are wanted, -1 for no word of it.
func (c *client) expectWanted(layers int) {
	c.t.Helper()
	var want []protocol.WantedTrack
	if layers >= 0 {
		want = []protocol.WantedTrack{{Source: protocol.SourceCamera, Layers: layers}}
	}
	if got := expect[*protocol.Wanted](c); !slices.Equal(got.Tracks, want) {
		c.t.Errorf("wanted %+v, want %+v", got.Tracks, want)
	}
}

func ofCamera(layers int) sfu.Wanted { return sfu.Wanted{Source: sfu.SourceCamera, Layers: layers} }

func TestWanted_isToldAndTakenBack(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		a := w.join()
		a.offer(2, "first", protocol.SourceCamera)
		w.media.demand(a, ofCamera(1))
		a.expectWanted(1)
		w.media.demand(a, ofCamera(1)) // no news
		a.quiet()
		w.media.demand(a, ofCamera(0), sfu.Wanted{Source: sfu.SourceScreen, Layers: 1})
		if got := expect[*protocol.Wanted](a); len(got.Tracks) != 2 || got.Tracks[1].Source != protocol.SourceScreen {
			t.Errorf("wanted %+v", got)
		}
	})
}

// What is said while an offer is open follows the answer, so that it cannot be taken for the peer connection before.
func TestWanted_waitsForTheAnswer(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		block := make(chan struct{})
		w.media.set(func() { w.media.block = block })
		a := w.join()
		a.send(offerOf(2, "first", protocol.SourceCamera))
		synctest.Wait()
		w.media.demand(a, ofCamera(0))
		a.quiet()
		close(block)
		expect[*protocol.Answer](a)
		expect[*protocol.Slots](a)
		a.expectWanted(0)
	})
}

// A word about the media session before that comes late does not hold the new one.
func TestWanted_endsWithItsMediaSession(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		a := w.join()
		a.offer(2, "first", protocol.SourceCamera)
		w.media.demand(a, ofCamera(0))
		a.expectWanted(0)
		offer := offerOf(3, "second", protocol.SourceCamera)
		offer.Rejoin = true
		a.send(offer)
		expect[*protocol.Answer](a)
		w.media.demand(a, ofCamera(0))
		a.expectWanted(0)
		w.media.events <- sfu.Event{Kind: sfu.EventClosed, Room: w.room().String(), Peer: a.conn.String(), Reason: sfu.ReasonLeft}
		a.expectWanted(-1)
		w.media.demand(a, ofCamera(2))
		a.expectWanted(2)
	})
}

func TestWanted_afterAResumption(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		a := w.join()
		a.offer(2, "first", protocol.SourceCamera)
		w.media.demand(a, ofCamera(2))
		a.expectWanted(2)
		a.drop()
		w.media.demand(a, ofCamera(1))
		synctest.Wait()
		a2 := w.back(a, false)
		expect[*protocol.Slots](a2)
		a2.expectWanted(1)
	})
}

func TestWanted_afterARestart(t *testing.T) {
	inBubbleWith(t, outlived(), func(w *world) {
		a := w.join()
		a.offer(2, "first", protocol.SourceCamera)
		w.media.demand(a, ofCamera(2))
		a.expectWanted(2)
		w.crash()
		w.media.set(func() { w.media.wanted[w.room().String()+"/"+a.conn.String()] = []sfu.Wanted{ofCamera(0)} })
		w.start()
		a2 := w.back(a, true)
		expect[*protocol.Slots](a2)
		a2.expectWanted(0)
	})
}

// The reason for a pause comes with its slot.
func TestSlots_sayWhyAPicturePauses(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		a, b := w.join(), w.join()
		expect[*protocol.PeerJoined](a)
		a.offer(2, "first")
		for _, why := range []string{"", protocol.PausedBandwidth, protocol.PausedHidden, protocol.PausedPublisher, ""} {
			w.media.fill(a, sfu.Slot{MID: "4", Peer: b.conn.String(), Source: sfu.SourceCamera, Paused: why})
			if s := expect[*protocol.Slots](a); len(s.Slots) != 1 || s.Slots[0].Paused != why {
				t.Errorf("slots %+v, want %q", s, why)
			}
		}
	})
}
