package room

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/packet"
)

// Who gets some layers of a stream is told which (AV1 RTP specification A.4), in what is sent again too; who takes no dependency
// descriptor is not.
func TestRoom_tellsTheActiveDecodeTargets(t *testing.T) {
	w := newWorld(t, 50)
	w.apply(Join{Peer: 1})
	w.apply(Publish{Peer: 1, Tracks: []PublishedTrack{{Source: SourceCamera, MID: "1", Codecs: []PayloadType{av1}, SSRCs: []uint32{1000}}}})
	described := subExt
	described.DependencyDescriptor = 12
	heights := map[PeerID]uint16{2: 180, 3: 720, 4: 180}
	for id, height := range heights {
		ext := described
		if id == 4 {
			ext = subExt
		}
		w.apply(Join{Peer: id, Extensions: ext})
		w.apply(Slots{Peer: id, Slots: []Slot{{MID: "a", Kind: Video, SSRC: uint32(id) * 10, RTXSSRC: uint32(id)*10 + 1, Codecs: []PayloadType{av1Sub}}}})
		w.apply(Want{Peer: id, Wishes: []Wish{{Publisher: 1, Source: SourceCamera, Height: height}}})
	}
	key, told := true, map[PeerID]uint32{}
	first := map[[2]uint32]uint32{} // what was said with a number of a stream
	again := 0
	w.observe = func() {
		for i := range w.batch.Sends {
			s := &w.batch.Sends[i]
			switch {
			case s.Packet == nil:
			case s.RTX:
				again++
				if want := first[[2]uint32{s.SSRC - 1, uint32(s.OSN)}]; s.Targets != want {
					t.Errorf("peer %d is told %03b again, %03b before", s.To, s.Targets, want)
				}
			default:
				first[[2]uint32{s.SSRC, uint32(s.Seq)}] = s.Targets
				told[s.To] = s.Targets
			}
		}
		for _, f := range w.batch.RTCP {
			if _, ok := f.Packet.(*rtcp.PictureLossIndication); ok {
				key = true
			}
		}
	}
	// S0 to S2 of 320x180 to 1280x720, which refer to each other in key pictures alone; a target for each.
	structure, err := hex.DecodeString("c000018002223aa028808249049048404fc02cc09fc059c13fc0b3c0")
	if err != nil {
		t.Fatal(err)
	}
	var seq, frame uint16
	picture := func() {
		for sid := range byte(3) {
			seq, frame = seq+1, frame+1
			dd := []byte{0xc1 + 2*sid, byte(frame >> 8), byte(frame)}
			if key {
				dd[0]--
				if sid == 0 {
					dd = append(dd, structure[3:]...)
				}
			}
			raw := append(append(make([]byte, 12), dd...), 0x10, 0x32)
			raw = append(raw, make([]byte, 100)...)
			w.room.HandleRTP(w.now, 1, &packet.Packet{
				Raw: raw, PayloadAt: uint16(12 + len(dd)), PayloadEnd: uint16(len(raw)), DD: packet.Span{At: 12, Len: uint16(len(dd))},
				Arrival: w.now, SSRC: 1000, PT: av1.PT, Seq: seq, TS: uint32(frame) * 1000, Marker: sid == 2,
			}, &w.batch)
			w.flush()
		}
		key = false
		w.run(33 * time.Millisecond)
	}
	for range 90 {
		picture()
	}
	for id, want := range map[PeerID]uint32{2: 0b001, 3: 0b100, 4: 0} {
		if told[id] != want {
			t.Errorf("peer %d of %d lines is told %03b, want %03b", id, heights[id], told[id], want)
		}
		s := w.room.find(id).slots[0]
		w.rtcp(id, 0, &rtcp.TransportLayerNack{MediaSSRC: s.SSRC, Nacks: []rtcp.NackPair{{PacketID: s.sw.Newest()}}})
	}
	w.run(5 * time.Millisecond)
	if again < len(heights) {
		t.Errorf("%d packets were sent again", again)
	}
}
