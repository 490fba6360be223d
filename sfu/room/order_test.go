package room

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

// orderChecker watches what leaves the room: on every stream, numbers follow the order of frames. Numbers that are given later
// than higher ones fill holes that were left for them.
type orderChecker struct {
	t    *testing.T
	w    *world
	sent map[uint32]map[uint16]uint32 // by SSRC: the frame (timestamp) of each number
	top  map[uint32]uint16
}

func (c *orderChecker) check() {
	for i := range c.w.batch.Sends {
		s := &c.w.batch.Sends[i]
		if s.RTX || s.Kind != Video || s.Packet == nil {
			continue
		}
		frames := c.sent[s.SSRC]
		if frames == nil {
			frames = map[uint16]uint32{}
			c.sent[s.SSRC], c.top[s.SSRC] = frames, s.Seq-1
		}
		if _, twice := frames[s.Seq]; twice && int16(s.Seq-c.top[s.SSRC]) <= 0 {
			c.t.Fatalf("number %d of %d sent twice", s.Seq, s.SSRC)
		}
		for n := c.top[s.SSRC] + 1; int16(n-s.Seq) < 0; n++ {
			delete(frames, n) // of the round before
		}
		frames[s.Seq] = s.TS
		if int16(s.Seq-c.top[s.SSRC]) > 0 {
			c.top[s.SSRC] = s.Seq
		}
		// Its neighbours, as far as they were sent, are not of a later, or of an earlier, frame.
		for d := uint16(1); d < 60; d++ {
			if ts, ok := frames[s.Seq-d]; ok {
				if int32(ts-s.TS) > 0 {
					c.t.Fatalf("%v: stream %d has frame %d under number %d, and the later frame %d under %d",
						c.w.now.Sub(epoch), s.SSRC, s.TS, s.Seq, ts, s.Seq-d)
				}
				break
			}
		}
		for d := uint16(1); d < 60 && int16(s.Seq+d-c.top[s.SSRC]) <= 0; d++ {
			if ts, ok := frames[s.Seq+d]; ok {
				if int32(ts-s.TS) < 0 {
					c.t.Fatalf("%v: stream %d has frame %d under number %d, and the earlier frame %d under %d",
						c.w.now.Sub(epoch), s.SSRC, s.TS, s.Seq, ts, s.Seq+d)
				}
				break
			}
		}
	}
}

// Whatever happens to layers, links, wishes and publishers, what a subscriber gets is one stream in the order of its frames, and
// its picture comes back.
func TestRoom_numbersFollowFrames(t *testing.T) {
	for seed := range uint64(12) {
		w := newWorld(t, 120+seed)
		check := &orderChecker{t: t, w: w, sent: map[uint32]map[uint16]uint32{}, top: map[uint32]uint16{}}
		w.observe = check.check
		rng := rand.New(rand.NewPCG(seed, 9))
		pubs := []*publisher{w.publish(1, 3), w.publish(3, 2)}
		for i, p := range pubs {
			p.loss, p.reorder, p.tids, p.obeys = 0.02, 0.05, i == 0, i == 1
		}
		s := w.subscribe(2, 2, 0)
		s.loss = 0.01
		for range 60 {
			p := pubs[rng.IntN(2)]
			l := p.layers[rng.IntN(len(p.layers))]
			slot := w.room.find(2).slots[rng.IntN(2)]
			switch rng.IntN(9) {
			case 0, 1:
				var wishes []Wish
				for _, q := range pubs {
					if rng.IntN(6) > 0 {
						wishes = append(wishes, Wish{Publisher: q.id, Source: SourceCamera, Height: uint16(rng.IntN(5) * 180), Paused: rng.IntN(8) == 0})
					}
				}
				w.apply(Want{Peer: 2, Wishes: wishes})
			case 2:
				w.apply(Mute{Peer: p.id, Source: SourceCamera, Muted: rng.IntN(2) == 0})
			case 3:
				l.off = !l.off
				l.key = l.key || !l.off
			case 4: // a restart with a new SSRC
				l.ssrc, l.rtx, l.count = l.ssrc+20_000, l.rtx+20_000, 0
				l.seq, l.ts, l.key = uint16(rng.Uint32()), rng.Uint32(), true
			case 5: // a jump
				l.seq, l.key = l.seq+uint16(rng.IntN(5000)), true
			case 6: // duplicates, some as retransmissions
				for n := range uint16(30) {
					if raw := l.sent[l.seq-n]; raw != nil {
						w.raw(p.id, append([]byte(nil), raw...))
						p.retransmit(l.ssrc, l.seq-n)
					}
				}
			case 7:
				slot.sw.SetMaxTID(uint8(rng.IntN(3)))
			case 8:
				w.rtcp(2, 0, &rtcp.PictureLossIndication{MediaSSRC: slot.SSRC})
				w.rtcp(2, 0, &rtcp.TransportLayerNack{MediaSSRC: slot.SSRC, Nacks: []rtcp.NackPair{
					{PacketID: slot.sw.Newest() - uint16(rng.IntN(600)), LostPackets: rtcp.PacketBitmap(rng.Uint32())},
				}})
			}
			w.run(time.Duration(50+rng.IntN(400)) * time.Millisecond)
		}
		for _, p := range pubs {
			p.loss, p.reorder = 0, 0
			for _, l := range p.layers {
				l.off, l.key = false, true
			}
			w.apply(Mute{Peer: p.id, Source: SourceCamera, Muted: false})
		}
		w.apply(Want{Peer: 2, Wishes: []Wish{{Publisher: 1, Source: SourceCamera, Height: 180}, {Publisher: 3, Source: SourceCamera, Height: 180}}})
		w.run(5 * time.Second)
		for i, r := range s.recv {
			if w.now.Sub(r.at) > 200*time.Millisecond {
				t.Errorf("seed %d: slot %d shows its last picture since %v", seed, i, w.now.Sub(r.at))
			}
		}
	}
}

// Key frame requests of many subscribers on different layers do not add up: a browser answers each with key frames on all layers.
func TestRoom_keyRequestFloodsOfAllLayers(t *testing.T) {
	w := newWorld(t, 140)
	p := w.publish(1, 3)
	var subs []*subscriber
	for i, height := range []uint16{180, 360, 720, 180, 360, 720} {
		s := w.subscribe(PeerID(2+i), 1, 0)
		s.want(1, height)
		subs = append(subs, s)
	}
	w.run(4 * time.Second)
	w.seal = map[uint64]time.Time{}
	before := p.plis
	for n := range 10_000 {
		s := subs[n%len(subs)]
		var pkt rtcp.Packet = &rtcp.PictureLossIndication{MediaSSRC: s.slots[0].SSRC}
		if n%3 == 0 {
			pkt = &rtcp.FullIntraRequest{FIR: []rtcp.FIREntry{{SSRC: s.slots[0].SSRC, SequenceNumber: uint8(n)}, {SSRC: s.slots[0].SSRC, SequenceNumber: uint8(n)}}}
		}
		w.rtcp(s.id, 0, pkt)
		w.run(step)
	}
	if got := p.plis - before; got > 22 || got < 15 {
		t.Errorf("%d key frame requests in 10 s, want 2 a second for all layers", got)
	}
	for _, s := range subs {
		if r := s.recv[0]; w.now.Sub(r.at) > 100*time.Millisecond || r.torn > 0 {
			t.Errorf("peer %d: last picture %v ago", s.id, w.now.Sub(r.at))
		}
	}
}

// What nobody watches is not repaired.
func TestRoom_unwatchedLayersAreNotRepaired(t *testing.T) {
	w := newWorld(t, 141)
	p := w.publish(1, 3)
	p.loss = 0.05
	s := w.subscribe(2, 1, 0)
	s.want(1, 180)
	w.run(10 * time.Second)
	for i, l := range p.layers {
		if asked := l.asked; (asked > 0) != (i == 0) {
			t.Errorf("layer %d: %d packets asked for", i, asked)
		}
	}
	p.loss = 0
	s.want(1, 720)
	w.run(time.Second)
	if r := s.recv[0]; r.layer != 2 || r.plis > 0 {
		t.Errorf("layer %d, %d PLI after a switch to the layer that was not repaired", r.layer, r.plis)
	}
}
