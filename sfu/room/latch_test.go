package room

import "testing"

// Which stream becomes which layer, from what browsers and native clients send.
func TestLatch(t *testing.T) {
	type sent struct {
		pt       uint8
		ssrc     uint32
		mid, rid string
	}
	const none = int8(-1)
	for _, tt := range []struct {
		name  string
		join  Join
		track PublishedTrack
		sent  sent
		first *sent // before it
		layer int8
		drop  DropReason
	}{
		{"mid and rid", Join{Extensions: pubExt}, PublishedTrack{RIDs: rids}, sent{96, 9, "1", "h"}, nil, 1, 0},
		{"unknown rid", Join{Extensions: pubExt}, PublishedTrack{RIDs: rids}, sent{96, 9, "1", "x"}, nil, none, DropUnknownStream},
		{"unknown mid", Join{Extensions: pubExt}, PublishedTrack{RIDs: rids}, sent{96, 9, "7", "h"}, nil, none, DropUnknownStream},
		{"simulcast without rid", Join{Extensions: pubExt}, PublishedTrack{RIDs: rids}, sent{96, 9, "1", ""}, nil, none, DropUnknownStream},
		{"single stream by mid", Join{Extensions: pubExt}, PublishedTrack{}, sent{96, 9, "1", ""}, nil, 0, 0},
		{"declared", Join{Extensions: pubExt}, PublishedTrack{SSRCs: []uint32{9}}, sent{96, 9, "7", ""}, nil, 0, 0},
		{"declared layers without rids", Join{Extensions: pubExt}, PublishedTrack{RIDs: rids, SSRCs: []uint32{7, 8, 9}}, sent{96, 9, "1", ""}, nil, 2, 0},
		{"rid is right where declared order is not", Join{Extensions: subExt}, PublishedTrack{RIDs: rids, SSRCs: []uint32{9, 8, 7}}, sent{96, 9, "1", "f"}, nil, 2, 0},
		{"unknown payload type", Join{Extensions: pubExt}, PublishedTrack{}, sent{50, 9, "1", ""}, nil, none, DropPayloadType},
		{"repair before the stream", Join{Extensions: pubExt}, PublishedTrack{}, sent{97, 9, "1", ""}, nil, none, DropRTX},
		{"repair by rid", Join{Extensions: pubExt}, PublishedTrack{RIDs: rids}, sent{97, 9, "1", "h"}, &sent{96, 8, "1", "h"}, 1, 0},
		{"repair by pair", Join{Extensions: pubExt}, PublishedTrack{RIDs: rids, SSRCs: []uint32{8}, RTX: []uint32{9}}, sent{97, 9, "7", ""}, &sent{96, 8, "1", "f"}, 2, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 70)
			tt.join.Peer = 1
			w.apply(tt.join)
			tt.track.Source, tt.track.MID, tt.track.Codecs = SourceCamera, "1", []PayloadType{vp8}
			w.apply(Publish{Peer: 1, Tracks: []PublishedTrack{tt.track}})
			p := &publisher{w: w, id: 1}
			send := func(s sent) {
				payload := []byte{0x10, 0, 0, 0}
				if s.pt == 97 {
					payload = append([]byte{0, 7}, payload...)
				}
				w.raw(1, append(p.header(s.pt, 7, 7, s.ssrc, s.mid, s.rid, true), payload...))
			}
			if tt.first != nil {
				send(*tt.first)
			}
			before := w.room.Stats()
			send(tt.sent)
			in := w.room.find(1).latched(9)
			switch {
			case tt.layer == none && in != nil:
				t.Fatalf("latched to layer %d", in.s.layer)
			case tt.layer != none && (in == nil || in.s.layer != tt.layer || in.rtx != (tt.sent.pt == 97)):
				t.Fatalf("latched to %+v, want layer %d", in, tt.layer)
			}
			if tt.layer == none && w.room.Stats().Drops[tt.drop] != before.Drops[tt.drop]+1 {
				t.Errorf("drops %v, want one more of %v", w.room.Stats().Drops, tt.drop)
			}
		})
	}
}

// A browser that acknowledged MID and RID leaves them out, also after its section was inactive for a while.
func TestLatch_returningTrackIsKnownByItsSSRCs(t *testing.T) {
	w := newWorld(t, 71)
	w.apply(Join{Peer: 1, Extensions: pubExt, MaxStreams: 4})
	p := &publisher{w: w, id: 1}
	send := func(ssrc uint32, mid, rid string) {
		w.raw(1, append(p.header(96, 7, 7, ssrc, mid, rid, true), 0x10, 0, 0, 0))
	}
	camera := PublishedTrack{Source: SourceCamera, MID: "1", Codecs: []PayloadType{vp8}, RIDs: []string{"q", "h", "f"}}
	w.apply(Publish{Peer: 1, Tracks: []PublishedTrack{camera}})
	send(8, "1", "h")
	send(9, "1", "f")
	w.apply(Publish{Peer: 1})
	send(9, "", "")
	if w.room.find(1).latched(9) != nil {
		t.Fatal("a withdrawn track has a stream")
	}
	w.apply(Publish{Peer: 1, Tracks: []PublishedTrack{camera}})
	for ssrc, layer := range map[uint32]int8{8: 1, 9: 2} {
		send(ssrc, "", "")
		if in := w.room.find(1).latched(ssrc); in == nil || in.s.layer != layer {
			t.Errorf("SSRC %d came back as %+v, want layer %d", ssrc, in, layer)
		}
	}
	for i := range uint32(20) { // invented SSRCs and many rounds do not make the list grow
		w.apply(Publish{Peer: 1, Tracks: []PublishedTrack{camera}})
		w.room.find(1).tracks[SourceCamera].streams = [3]*stream{}
		w.room.find(1).incoming = nil
		send(100+i, "1", "q")
		w.apply(Publish{Peer: 1})
	}
	if n := len(w.room.find(1).former); n > 4 {
		t.Errorf("%d SSRCs are remembered, the cap is 4", n)
	}
}
