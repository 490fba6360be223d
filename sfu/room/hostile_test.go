package room

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/packet"
)

// raw hands one packet to the room as if it came from a peer.
func (w *world) raw(from PeerID, raw []byte) {
	var p packet.Packet
	if packet.Parse(raw, &pubExt, w.now, &p) == nil {
		w.room.HandleRTP(w.now, from, &p, &w.batch)
		w.flush()
	}
}

// call is one publisher with one subscriber of the top layer, running.
func call(t testing.TB, seed uint64) (*world, *publisher, *subscriber) {
	w := newWorld(t, seed)
	p := w.publish(1, 3)
	s := w.subscribe(2, 1, 1)
	s.want(1, 720)
	w.run(2 * time.Second)
	return w, p, s
}

// undisturbed runs on and demands that the subscriber's picture does not stop.
func undisturbed(t *testing.T, w *world, s *subscriber) {
	t.Helper()
	r := s.recv[0]
	before := r.decoded
	w.run(2 * time.Second)
	if r.decoded-before < 58 {
		t.Errorf("%d frames in 2 s", r.decoded-before)
	}
	if r.maxGap > 100*time.Millisecond || r.torn > 0 {
		t.Errorf("a gap of %v, %d torn frames", r.maxGap, r.torn)
	}
}

func TestRoom_unknownStreamsDoNotGrow(t *testing.T) {
	w, p, s := call(t, 20)
	drops := func() (n uint64) {
		for _, d := range w.room.Stats().Drops {
			n += d
		}
		return n
	}
	before := drops()
	raw := p.header(96, 1, 1, 0, "1", "", false)
	raw = append(raw, 0x10, 0, 0, 0)
	for n := range uint32(100_000) {
		raw[1] = byte(96 + n%20)
		binary.BigEndian.PutUint32(raw[8:], 0x8000_0000+n)
		w.raw(1, raw)
	}
	if got := len(w.room.find(1).incoming); got > DefaultMaxStreams {
		t.Errorf("%d streams", got)
	}
	if got := drops() - before; got != 100_000 {
		t.Errorf("%d drops counted", got)
	}
	undisturbed(t, w, s)
}

func TestRoom_inventedSSRCsOfAKnownLayerAreThrottled(t *testing.T) {
	w, p, _ := call(t, 21)
	asked := w.room.Stats().KeyRequestsOut
	for n := range uint32(1000) {
		raw := append(p.header(96, 1, 1, 0x9000_0000+n, "1", "f", false), 0, 1, 1, 1)
		w.raw(1, raw)
		w.run(step)
	}
	if got := w.room.Stats().KeyRequestsOut - asked; got > 8 {
		t.Errorf("%d key frame requests in a second", got)
	}
	if got := len(w.room.find(1).incoming); got > 6 {
		t.Errorf("%d streams", got)
	}
}

func TestRoom_streamLimit(t *testing.T) {
	w := newWorld(t, 22)
	w.apply(Join{Peer: 1, Extensions: pubExt, MaxStreams: 2})
	p := &publisher{w: w, id: 1}
	w.apply(Publish{Peer: 1, Tracks: []PublishedTrack{{Source: SourceCamera, MID: "1", Codecs: []PayloadType{vp8}, RIDs: rids}}})
	for i, rid := range rids {
		w.raw(1, append(p.header(96, 1, 1, uint32(i+1), "1", rid, false), 0x10, 0, 0, 0))
	}
	if got := w.room.Stats().Drops[DropStreamLimit]; got != 1 {
		t.Errorf("%d drops at the limit", got)
	}
}

func TestRoom_keyRequestFloodIsCoalesced(t *testing.T) {
	w, p, s := call(t, 23)
	before := p.plis
	for n := range 4000 {
		var pkt rtcp.Packet = &rtcp.PictureLossIndication{MediaSSRC: s.slots[0].SSRC}
		if n%2 == 0 {
			pkt = &rtcp.FullIntraRequest{FIR: []rtcp.FIREntry{{SSRC: s.slots[0].SSRC, SequenceNumber: uint8(n)}}}
		}
		w.rtcp(2, 0, pkt)
		w.run(step)
	}
	if got := p.plis - before; got > 9 || got < 6 {
		t.Errorf("%d key frame requests in 4 s, want 2 a second", got)
	}
	undisturbed(t, w, s)
}

func TestRoom_nackFloodIsBounded(t *testing.T) {
	w, _, s := call(t, 24)
	sent, rtx := w.room.Stats().Out[Video].Bytes, w.room.Stats().RTXOut
	for n := range 3000 {
		var pairs []rtcp.NackPair
		for i := range 100 {
			pairs = append(pairs, rtcp.NackPair{PacketID: uint16(n*37 + i*17), LostPackets: 0xFFFF})
		}
		w.rtcp(2, 0, &rtcp.TransportLayerNack{MediaSSRC: s.slots[0].SSRC, Nacks: pairs})
		w.run(step)
	}
	st := w.room.Stats()
	if bytes, n := st.Out[Video].Bytes-sent, st.RTXOut-rtx; n == 0 || n*1000 > bytes/2 {
		t.Errorf("%d retransmissions beside %d bytes", n, bytes)
	}
	if st.RTXRefused == 0 || st.NACKsIn > 3000*maxAsked {
		t.Errorf("%+v", st)
	}
	undisturbed(t, w, s)
}

func TestRoom_sequenceJumpsMakeNoNACKStorm(t *testing.T) {
	for _, jump := range []uint16{300, 1 << 14, 1 << 15, 1<<15 + 1, 65000} {
		w, p, s := call(t, 25)
		before := w.room.Stats().NACKsOut
		for _, l := range p.layers {
			l.seq += jump
			l.ts += uint32(jump) * 65521
			l.key = true
		}
		w.run(3 * time.Second)
		if got := w.room.Stats().NACKsOut - before; got > 50*3*8 {
			t.Errorf("jump %d: %d numbers asked for", jump, got)
		}
		if r := s.recv[0]; w.now.Sub(r.at) > 100*time.Millisecond {
			t.Errorf("jump %d: last picture %v ago", jump, w.now.Sub(r.at))
		}
	}
}

func TestRoom_duplicatesAreSentOnce(t *testing.T) {
	w, p, s := call(t, 26)
	before := w.room.Stats()
	for _, l := range p.layers {
		for n := range uint16(60) {
			if raw := l.sent[l.seq-n]; raw != nil {
				w.raw(1, append([]byte(nil), raw...))
				p.retransmit(l.ssrc, l.seq-n) // as browsers probe
			}
		}
	}
	w.run(100 * time.Millisecond)
	if got := w.room.Stats().Drops[DropDuplicate] - before.Drops[DropDuplicate]; got < 100 {
		t.Errorf("%d duplicates dropped", got)
	}
	undisturbed(t, w, s) // and the world's nonce check saw no number twice
}

func TestRoom_publisherBeyondItsCap(t *testing.T) {
	w, p, _ := call(t, 27)
	p.layers[2].rate = 60_000_000
	w.run(3 * time.Second)
	st := w.room.Stats()
	if st.Drops[DropRate] == 0 {
		t.Error("no drop by rate")
	}
	if st.NACKsOut > 200 {
		t.Errorf("%d packets asked for again although the room dropped them itself", st.NACKsOut)
	}
}

func TestRoom_mediaOutsideOfACall(t *testing.T) {
	w, p, _ := call(t, 28)
	raw := append([]byte(nil), p.layers[2].sent[p.layers[2].seq]...)
	p.off = true
	w.apply(Leave{Peer: 1})
	sends := w.sends
	w.raw(1, raw)
	w.raw(77, raw)
	if st := w.room.Stats(); st.Drops[DropUnknownPeer] != 2 || w.sends != sends {
		t.Errorf("%d drops, %d sends", st.Drops[DropUnknownPeer], w.sends-sends)
	}
	w.apply(Join{Peer: 1, Extensions: pubExt})
	w.raw(1, raw)
	if got := w.room.Stats().Drops[DropUnknownStream]; got == 0 || w.sends != sends {
		t.Error("media of a peer that publishes nothing")
	}
	w.apply(Leave{Peer: 2})
	w.apply(Leave{Peer: 1})
	if !w.room.Empty() || w.room.Stats().Subscriptions != 0 {
		t.Error("something is left")
	}
}

func TestRoom_feedbackForOthersIsIgnored(t *testing.T) {
	w, p, s := call(t, 29)
	before, plis := w.room.Stats(), p.plis
	for _, ssrc := range []uint32{0, 12345, p.layers[0].ssrc, s.slots[0].RTXSSRC, s.slots[1].SSRC} {
		for _, pkt := range []rtcp.Packet{
			&rtcp.PictureLossIndication{MediaSSRC: ssrc},
			&rtcp.TransportLayerNack{MediaSSRC: ssrc, Nacks: []rtcp.NackPair{{PacketID: 1, LostPackets: 0xFFFF}}},
			&rtcp.SenderReport{SSRC: ssrc, NTPTime: 1 << 63},
			&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: ssrc, LastSenderReport: 7, Delay: 1 << 31}}},
			&rtcp.Goodbye{Sources: []uint32{ssrc}},
			&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 1e18, SSRCs: []uint32{ssrc}},
		} {
			w.rtcp(2, 0, pkt)
		}
	}
	w.run(200 * time.Millisecond)
	st := w.room.Stats()
	if st.FeedbackInvalid == before.FeedbackInvalid || st.RTXOut != before.RTXOut || p.plis != plis {
		t.Errorf("%+v", st)
	}
	if rtt := w.room.find(2).rtt; rtt > 50*time.Millisecond {
		t.Errorf("a forged report made the round trip %v", rtt)
	}
	undisturbed(t, w, s)
}

func TestRoom_commandsOutOfPlace(t *testing.T) {
	w := newWorld(t, 30)
	w.apply(Join{Peer: 1})
	many := make([]Slot, MaxSlots+1)
	for i, tt := range []struct {
		c   Command
		err error
	}{
		{Join{Peer: 1}, ErrPeerExists},
		{Leave{Peer: 2}, ErrUnknownPeer},
		{Publish{Peer: 2}, ErrUnknownPeer},
		{Mute{Peer: 1, Source: 9}, ErrInvalid},
		{Want{Peer: 1, Wishes: make([]Wish, MaxWishes+1)}, ErrLimit},
		{Want{Peer: 1, Wishes: []Wish{{Source: 200}}}, ErrInvalid},
		{Slots{Peer: 1, Slots: many}, ErrLimit},
		{Slots{Peer: 1, Slots: []Slot{{SSRC: 1}, {SSRC: 1}}}, ErrInvalid},
		{Slots{Peer: 1, Slots: []Slot{{SSRC: 1, RTXSSRC: 1}}}, ErrInvalid},
		{Slots{Peer: 1, Slots: []Slot{{SSRC: 1, RTXSSRC: 2}, {SSRC: 2}}}, ErrInvalid},
		{Publish{Peer: 1, Tracks: []PublishedTrack{{Source: SourceMic}}}, ErrInvalid},
		{Publish{Peer: 1, Tracks: []PublishedTrack{{Source: SourceMic, Codecs: []PayloadType{opus}}, {Source: SourceMic, Codecs: []PayloadType{opus}}}}, ErrInvalid},
		{Publish{Peer: 1, Tracks: []PublishedTrack{{Source: SourceCamera, Codecs: []PayloadType{vp8}, RIDs: make([]string, 4)}}}, ErrLimit},
		{nil, ErrUnknownPeer},
	} {
		if err := w.room.Check(tt.c); !errors.Is(err, tt.err) {
			t.Errorf("%d, %T: Check says %v, want %v", i, tt.c, err, tt.err)
		}
		if err := w.room.Apply(w.now, tt.c, &w.batch); !errors.Is(err, tt.err) {
			t.Errorf("%d, %T: %v, want %v", i, tt.c, err, tt.err)
		}
	}
}

// A slot's numbers go on whatever happens to it: the world fails when one is used twice.
func TestRoom_numbersSurviveRemovedSlots(t *testing.T) {
	w, _, s := call(t, 31)
	for range 5 {
		w.apply(Slots{Peer: 2, Slots: s.slots[1:]})
		w.run(200 * time.Millisecond)
		w.apply(Slots{Peer: 2, Slots: s.slots})
		w.run(time.Second)
	}
	if r := s.recv[0]; w.now.Sub(r.at) > 100*time.Millisecond {
		t.Errorf("last picture %v ago", w.now.Sub(r.at))
	}
}
