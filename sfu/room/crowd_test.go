package room

import (
	"math/rand/v2"
	"testing"

	"sotto/sfu/packet"
)

// crowd is n peers who publish all four sources and wish for everything of everybody, in an order that helps nobody. Each has
// slots of video, and of audio.
func crowd(t testing.TB, n PeerID, video, audio uint32) (*Room, []PublishedTrack) {
	r := New(Config{Rand: rand.NewPCG(1, 2)})
	tracks := []PublishedTrack{
		{Source: SourceCamera, MID: "1", Codecs: []PayloadType{vp8}}, {Source: SourceScreen, MID: "2", Codecs: []PayloadType{vp8}},
		{Source: SourceMic, MID: "0", Codecs: []PayloadType{opus}}, {Source: SourceScreenAudio, MID: "3", Codecs: []PayloadType{opus}},
	}
	var out Batch
	apply := func(c Command) {
		if err := r.Apply(epoch, c, &out); err != nil {
			t.Fatal(err)
		}
		out.Reset()
	}
	for id := PeerID(1); id <= n; id++ {
		apply(Join{Peer: id, Extensions: subExt})
		var list []Slot
		for k := range video + audio {
			ssrc := uint32(id)*1000 + 2*k
			s := Slot{MID: "a", Kind: Video, SSRC: ssrc, RTXSSRC: ssrc + 1, Codecs: []PayloadType{vp8Sub}}
			if k >= video {
				s = Slot{MID: "a", Kind: Audio, SSRC: ssrc, Codecs: []PayloadType{opusSub}}
			}
			list = append(list, s)
		}
		apply(Slots{Peer: id, Slots: list})
		var wishes []Wish
		for k := MaxWishes - 1; k >= 0; k-- {
			wishes = append(wishes, Wish{Publisher: PeerID(k/2 + 1), Source: []Source{SourceCamera, SourceScreen}[k%2], Priority: uint8(k), Height: 720})
		}
		apply(Want{Peer: id, Wishes: wishes})
	}
	for id := PeerID(1); id <= n; id++ {
		apply(Publish{Peer: id, Tracks: tracks})
	}
	return r, tracks
}

// BenchmarkRoom_publishInACrowd is the dearest command: everybody's slots may be given out anew. The peer whose tracks come
// and go is one that most see and hear, or one that waits for a slot.
func BenchmarkRoom_publishInACrowd(b *testing.B) {
	for _, bb := range []struct {
		name         string
		peers        PeerID
		video, audio uint32
		who          PeerID
	}{
		{"16 peers", 16, 16, 16, 7},
		{"64 peers, shown", 64, 49, 49, 64},
		{"256 peers, shown", 256, 49, 49, 128},
		{"256 peers, waiting", 256, 49, 49, 60},
	} {
		b.Run(bb.name, func(b *testing.B) {
			r, tracks := crowd(b, bb.peers, bb.video, bb.audio)
			var out Batch
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				list := tracks
				if n%2 == 0 {
					list = nil
				}
				if err := r.Apply(epoch, Publish{Peer: bb.who, Tracks: list}, &out); err != nil {
					b.Fatal(err)
				}
				out.Reset()
			}
		})
	}
}

// Slots of one codec being full says nothing about those of another.
func TestRoom_fullSlotsAreTold(t *testing.T) {
	vp9 := PayloadType{PT: 98, RTX: 99, Codec: packet.VP9, ClockRate: 90000}
	w := newWorld(t, 94)
	for id := PeerID(1); id <= 4; id++ {
		w.apply(Join{Peer: id, Extensions: pubExt})
		codec := vp8
		if id == 4 {
			codec = vp9
		}
		w.apply(Publish{Peer: id, Tracks: []PublishedTrack{{Source: SourceCamera, MID: "1", Codecs: []PayloadType{codec}}}})
	}
	w.apply(Join{Peer: 9, Extensions: subExt})
	w.apply(Slots{Peer: 9, Slots: []Slot{
		{MID: "a", Kind: Video, SSRC: 1, Codecs: []PayloadType{vp8Sub}},
		{MID: "b", Kind: Video, SSRC: 2, Codecs: []PayloadType{{PT: 100, Codec: packet.VP9, ClockRate: 90000}}},
	}})
	w.log = nil
	w.apply(Want{Peer: 9, Wishes: []Wish{
		{Publisher: 4, Source: SourceCamera, Priority: 1}, {Publisher: 1, Source: SourceCamera, Priority: 9},
		{Publisher: 3, Source: SourceCamera, Priority: 5}, {Publisher: 2, Source: SourceCamera, Priority: 7},
	}})
	got, ok := w.log[len(w.log)-1].(SlotsChanged)
	if !ok || got.Waiting != 2 || got.Slots[0].Publisher != 1 || !got.Slots[1].Active || got.Slots[1].Publisher != 4 {
		t.Fatalf("%+v", w.log)
	}
}
