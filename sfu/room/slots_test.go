package room

import (
	"math/rand/v2"
	"slices"
	"testing"

	"sotto/sfu/packet"
)

// hall is a room with a number of publishers of camera and microphone, 1 and up, and one viewer, 100.
func hall(t *testing.T, publishers, video, audio int) *world {
	w := newWorld(t, 60)
	for i := range publishers {
		id := PeerID(1 + i)
		w.apply(Join{Peer: id, Extensions: pubExt})
		w.apply(Publish{Peer: id, Tracks: []PublishedTrack{
			{Source: SourceCamera, MID: "1", Codecs: []PayloadType{vp8}},
			{Source: SourceMic, MID: "0", Codecs: []PayloadType{opus}},
		}})
	}
	w.subscribe(100, video, audio)
	return w
}

func camera(pub PeerID, priority uint8) Wish {
	return Wish{Publisher: pub, Source: SourceCamera, Height: 180, Priority: priority}
}

// shown returns the publishers in the viewer's slots of a kind, 0 for an empty one.
func shown(w *world, kind Kind) (ids []PeerID) {
	slots := w.room.find(100).slots
	for i, s := range lastSlots(w, 100) {
		if slots[i].Kind != kind {
			continue
		}
		if s.Active {
			ids = append(ids, s.Publisher)
		} else {
			ids = append(ids, 0)
		}
	}
	return ids
}

func waiting(w *world) int { return w.room.find(100).waiting }

func expect(t *testing.T, w *world, kind Kind, want ...PeerID) {
	t.Helper()
	got := shown(w, kind)
	if len(got) != len(want) {
		t.Fatalf("%v slots %v, want %v", kind, got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%v slots %v, want %v", kind, got, want)
		}
	}
}

func TestSlots_audioByItselfVideoByWish(t *testing.T) {
	w := hall(t, 2, 2, 2)
	expect(t, w, Audio, 1, 2)
	expect(t, w, Video, 0, 0)
	w.apply(Want{Peer: 100, Wishes: []Wish{camera(2, 0)}})
	expect(t, w, Video, 2, 0)
}

func TestSlots_wantedTrackKeepsItsPlace(t *testing.T) {
	w := hall(t, 3, 2, 0)
	w.apply(Want{Peer: 100, Wishes: []Wish{camera(1, 0), camera(2, 0)}})
	expect(t, w, Video, 1, 2)
	w.apply(Want{Peer: 100, Wishes: []Wish{camera(3, 9), camera(2, 0)}})
	expect(t, w, Video, 3, 2)
	w.apply(Want{Peer: 100, Wishes: []Wish{camera(2, 0), camera(3, 0)}})
	expect(t, w, Video, 3, 2)
}

func TestSlots_lowestPriorityWaits(t *testing.T) {
	w := hall(t, 4, 2, 4)
	w.apply(Want{Peer: 100, Wishes: []Wish{camera(1, 1), camera(2, 2)}})
	expect(t, w, Video, 2, 1)
	w.apply(Want{Peer: 100, Wishes: []Wish{camera(1, 1), camera(2, 2), camera(3, 3)}})
	expect(t, w, Video, 2, 3)
	if got := waiting(w); got != 1 {
		t.Errorf("%d wait", got)
	}
	w.apply(Want{Peer: 100, Wishes: []Wish{camera(1, 1), camera(2, 2), camera(3, 3), camera(4, 1)}})
	expect(t, w, Video, 2, 3)
	if got := waiting(w); got != 2 {
		t.Errorf("%d wait", got)
	}
	w.apply(Leave{Peer: 2})
	expect(t, w, Video, 1, 3)
}

func TestSlots_newPublisherIsHeard(t *testing.T) {
	w := hall(t, 1, 0, 2)
	w.apply(Join{Peer: 7, Extensions: pubExt})
	w.apply(Publish{Peer: 7, Tracks: []PublishedTrack{{Source: SourceScreenAudio, MID: "0", Codecs: []PayloadType{opus}}}})
	expect(t, w, Audio, 1, 7)
	w.apply(Publish{Peer: 7})
	expect(t, w, Audio, 1, 0)
}

func TestSlots_codecMustBeKnown(t *testing.T) {
	w := hall(t, 1, 1, 1)
	w.apply(Join{Peer: 7, Extensions: pubExt})
	av1 := PayloadType{PT: 45, Codec: 4, ClockRate: 90000}
	w.apply(Publish{Peer: 7, Tracks: []PublishedTrack{{Source: SourceCamera, MID: "1", Codecs: []PayloadType{av1}}}})
	w.apply(Want{Peer: 100, Wishes: []Wish{camera(7, 1)}})
	expect(t, w, Video, 0)
	if waiting(w) != 1 {
		t.Error("it is not reported as waiting")
	}
}

// A slots event comes before the first packet of the track in it.
func TestSlots_toldBeforeMediaFlows(t *testing.T) {
	w, _, s := call(t, 61)
	s.want(1, 720)
	seen := false
	for _, e := range w.log {
		switch e := e.(type) {
		case SlotsChanged:
			seen = seen || e.Peer == 2 && len(e.Slots) > 0 && e.Slots[0].Active
		case LayerSwitched:
			if !seen {
				t.Fatal("media before the slots event")
			}
			return
		}
	}
	t.Fatal("no media")
}

func TestSlots_toldWhenAPublisherGoes(t *testing.T) {
	w := hall(t, 2, 2, 2)
	w.apply(Want{Peer: 100, Wishes: []Wish{camera(1, 0), camera(2, 0)}})
	w.apply(Leave{Peer: 1})
	expect(t, w, Audio, 0, 2)
	expect(t, w, Video, 0, 2)
	w.apply(Publish{Peer: 2, Tracks: nil})
	expect(t, w, Audio, 0, 0)
	expect(t, w, Video, 0, 0)
}

// Slots given out step by step are those that would be given out at once.
func TestSlots_stepByStepAsAtOnce(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 3))
		w := newWorld(t, seed)
		vp9 := PayloadType{PT: 98, Codec: packet.VP9, ClockRate: 90000}
		var slots []Slot
		for i := range uint32(3 + rng.IntN(6)) {
			d := Slot{MID: "a", Kind: Kind(rng.IntN(2)), SSRC: 1 + i, Codecs: []PayloadType{opusSub}}
			if d.Kind == Video {
				d.Codecs = [][]PayloadType{{vp8Sub}, {vp9}, {vp8Sub, vp9}}[rng.IntN(3)]
			}
			slots = append(slots, d)
		}
		w.apply(Join{Peer: 100, Extensions: subExt})
		w.apply(Slots{Peer: 100, Slots: slots})
		var wishes []Wish
		for id := PeerID(1); id <= 12; id++ {
			w.apply(Join{Peer: id, Extensions: pubExt})
			for source := range MaxSources {
				if rng.IntN(3) > 0 {
					wishes = append(wishes, Wish{Publisher: id, Source: source, Priority: uint8(rng.IntN(4))})
				}
			}
		}
		w.apply(Want{Peer: 100, Wishes: wishes})
		p := w.room.find(100)
		for range 200 {
			var defs []PublishedTrack
			for source := range MaxSources {
				if rng.IntN(2) > 0 {
					codec := []PayloadType{opus}
					if source.Kind() == Video {
						codec = []PayloadType{[]PayloadType{vp8, vp9}[rng.IntN(2)]}
					}
					defs = append(defs, PublishedTrack{Source: source, MID: string('0' + rune(source)), Codecs: codec})
				}
			}
			w.apply(Publish{Peer: PeerID(1 + rng.IntN(12)), Tracks: defs})
			steps := carried(p)
			waiting := p.waiting
			w.room.assign(w.now, p, false, &w.batch)
			w.batch.Reset()
			if again := carried(p); !slices.Equal(steps, again) || p.waiting != waiting {
				t.Fatalf("seed %d: %v with %d waiting, and anew %v with %d", seed, steps, waiting, again, p.waiting)
			}
		}
	}
}

// carried lists what a peer's slots carry.
func carried(p *peer) (list []*track) {
	for _, s := range p.slots {
		list = append(list, s.track)
	}
	return list
}
