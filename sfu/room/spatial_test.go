package room

import (
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/layer"
	"sotto/sfu/packet"
)

var (
	vp9    = PayloadType{PT: 98, RTX: 99, Codec: packet.VP9, ClockRate: 90000}
	av1    = PayloadType{PT: 45, RTX: 46, Codec: packet.AV1, ClockRate: 90000}
	vp9Sub = PayloadType{PT: 121, RTX: 125, Codec: packet.VP9, ClockRate: 90000}
	av1Sub = PayloadType{PT: 39, RTX: 40, Codec: packet.AV1, ClockRate: 90000}
)

// bareCamera sends one stream: VP9 with three spatial layers that refer to each other in key pictures alone, or AV1 with one layer and
// no dependency descriptor.
type bareCamera struct {
	p    *publisher
	body *rand.Rand
	pt   uint8
	seq  uint16
	ts   uint32
	pic  uint16
	key  bool
	sent map[uint16][]byte // bodies, by number
}

// picture sends the next picture.
func (c *bareCamera) picture() {
	c.ts += 3000
	c.pic = (c.pic + 1) & 0x7fff
	layers := 3
	if c.pt == av1.PT {
		layers = 1
	}
	for sid := range layers {
		for i := range sid + 1 {
			first, last := i == 0, i == sid
			var d []byte
			if c.pt == av1.PT {
				d = []byte{0x10}
				if c.key {
					d[0] |= 0x08
				}
			} else {
				d = c.vp9(sid, first, last)
			}
			body := make([]byte, 90)
			for k := range body {
				body[k] = byte(c.body.Uint32())
			}
			c.seq++
			c.sent[c.seq] = body
			raw := c.p.header(c.pt, c.seq, c.ts, 1000, "1", "", last && sid == layers-1)
			c.p.w.raw(1, append(append(raw, d...), body...))
		}
	}
	c.key = false
}

// vp9 is the payload descriptor of RFC 9628 4.2, flexible mode.
func (c *bareCamera) vp9(sid int, first, last bool) []byte {
	flags := byte(0x80 | 0x20 | 0x10) // I L F
	d := []byte{0, 0x80 | byte(c.pic>>8), byte(c.pic), byte(sid << 1)}
	if !c.key {
		flags |= 0x40 // P
		d = append(d, 1<<1)
	}
	if first {
		flags |= 0x08 // B
	}
	if last {
		flags |= 0x04 // E
	}
	if !c.key || sid == 2 {
		flags |= 0x01 // Z
	}
	if c.key && sid == 0 {
		flags |= 0x02 // V: three layers of these sizes
		d = append(d, 2<<5|0x10, 1, 64, 0, 180, 2, 128, 1, 104, 5, 0, 2, 208)
	}
	d[0] = flags
	return d
}

// bareCall is such a camera with one subscriber.
func bareCall(t testing.TB, pt, body uint64) (*world, *bareCamera) {
	w := newWorld(t, 50)
	w.apply(Join{Peer: 1})
	w.apply(Publish{Peer: 1, Tracks: []PublishedTrack{{Source: SourceCamera, MID: "1", Codecs: []PayloadType{vp8, vp9, av1}}}})
	w.apply(Join{Peer: 2, Extensions: subExt})
	w.apply(Slots{Peer: 2, Slots: []Slot{{MID: "a", Kind: Video, SSRC: 10, RTXSSRC: 11, Codecs: []PayloadType{av1Sub, vp9Sub, vp8Sub}}}})
	c := &bareCamera{
		p: &publisher{w: w, id: 1}, body: rand.New(rand.NewPCG(body, body)), pt: uint8(pt), key: true, sent: map[uint16][]byte{},
	}
	return w, c
}

// run sends pictures for a while, and key pictures when asked.
func (c *bareCamera) run(pictures int) {
	for range pictures {
		c.picture()
		c.p.w.run(33 * time.Millisecond)
	}
}

// watch lists all sends of a call and answers its key frame requests.
func (c *bareCamera) watch(see func(s *Send)) {
	c.p.w.observe = func() {
		for i := range c.p.w.batch.Sends {
			see(&c.p.w.batch.Sends[i])
		}
		for _, f := range c.p.w.batch.RTCP {
			if _, ok := f.Packet.(*rtcp.PictureLossIndication); ok {
				c.key = true
			}
		}
	}
}

func (w *world) wish(height uint16) {
	w.apply(Want{Peer: 2, Wishes: []Wish{{Publisher: 1, Source: SourceCamera, Height: height}}})
}

func TestRoom_spatialLayersFollowTheWish(t *testing.T) {
	w, c := bareCall(t, uint64(vp9.PT), 1)
	var recent []uint8 // spatial layers of what was sent, in order
	marked := true     // the last packet of a picture is
	var ts uint32
	c.watch(func(s *Send) {
		if s.Packet == nil || s.RTX {
			return
		}
		if s.TS != ts && !marked {
			t.Errorf("picture %d ended without a marker", ts)
		}
		ts, marked = s.TS, s.Marker
		if s.Packet.Start {
			recent = append(recent, s.Packet.SID)
		}
	})
	for i, height := range []uint16{720, 180, 360, 720} {
		w.wish(height)
		c.run(60)
		recent = recent[:0]
		c.run(10)
		sid := []uint8{2, 0, 1, 2}[i]
		if !slices.Equal(recent, slices.Repeat([]uint8{sid}, 10)) {
			t.Errorf("%d lines: layers %v of ten pictures, want %d alone", height, recent, sid)
		}
	}
	var rungs []int8
	for _, e := range w.log {
		if e, ok := e.(LayerSwitched); ok && e.To != layer.Paused {
			rungs = append(rungs, e.To)
		}
	}
	if len(rungs) < 4 || !slices.Equal(rungs[len(rungs)-3:], []int8{0, 1, 2}) {
		t.Errorf("switches to %v", rungs)
	}
}

// A receiver without the dependency descriptor could not take the spatial layers of AV1 apart: it gets the lowest.
func TestRoom_spatialLayersOfAV1NeedTheDescriptor(t *testing.T) {
	// A key picture's first: S0 to S2 of 320x180 to 1280x720, which refer to each other in key pictures alone.
	dd, err := hex.DecodeString("c000018002223aa028808249049048404fc02cc09fc059c13fc0b3c0")
	if err != nil {
		t.Fatal(err)
	}
	st := &stream{live: true}
	p := packet.Packet{
		Raw: append(dd, 0x18, 0x0a), PayloadAt: uint16(len(dd)), PayloadEnd: uint16(len(dd) + 2),
		DD: packet.Span{Len: uint16(len(dd))}, Codec: packet.AV1, ExtSeq: 1,
	}
	if err := st.desc.Read(&p); err != nil {
		t.Fatal(err)
	}
	st.spatial.note(epoch, &st.desc, &p)
	track := &track{streams: [layer.MaxRungs]*stream{st}}
	for id, top := range map[uint8]int8{0: 0, 12: 2} {
		_, points := track.ladder(&slot{peer: &peer{ext: packet.Extensions{DependencyDescriptor: id}}, wish: Wish{Height: 720}}, layer.MaxRungs-1)
		highest := int8(0)
		for _, p := range points {
			highest = max(highest, p.rung)
		}
		if highest != top {
			t.Errorf("descriptor %d: rungs up to %d, want %d", id, highest, top)
		}
	}
}

func TestRoom_codecMayChangeInTheMiddle(t *testing.T) {
	w, c := bareCall(t, uint64(av1.PT), 1)
	var pts []uint8
	var numbers []uint16
	c.watch(func(s *Send) {
		if s.Packet != nil && !s.RTX {
			pts, numbers = append(pts, s.PT), append(numbers, s.Seq)
		}
	})
	w.wish(180)
	c.run(20)
	c.pt, c.key = vp9.PT, true
	c.run(20)
	c.pt, c.key = av1.PT, true
	c.run(20)
	if got := slices.Compact(pts); !slices.Equal(got, []uint8{av1Sub.PT, vp9Sub.PT, av1Sub.PT}) {
		t.Errorf("payload types %v", got)
	}
	for i := range numbers {
		if i > 0 && numbers[i] != numbers[i-1]+1 {
			t.Fatalf("number %d follows %d", numbers[i], numbers[i-1])
		}
	}
	if len(numbers) < 58 {
		t.Errorf("%d packets", len(numbers))
	}
}

// What is behind the descriptor of VP9 and the aggregation header of AV1 changes nothing, and comes out as it went in.
func TestRoom_doesNotReadVP9AndAV1(t *testing.T) {
	for name, pt := range map[string]PayloadType{"VP9": vp9, "AV1": av1} {
		t.Run(name, func(t *testing.T) {
			var want []decision
			for body := range uint64(3) {
				w, c := bareCall(t, uint64(pt.PT), body+1)
				var got []decision
				c.watch(func(s *Send) {
					if s.Packet == nil {
						return
					}
					got = append(got, decision{
						w.now.Sub(epoch), s.To, s.SSRC, s.TS, s.Seq, s.Frame, s.PictureID, s.TransportSeq, s.OSN,
						s.PT, s.TL0, s.Marker, s.RTX, s.Kind, "", "",
					})
					payload := s.Packet.Payload()
					if in := c.sent[s.Packet.Seq]; string(payload[len(payload)-len(in):]) != string(in) {
						t.Fatalf("body %d of packet %d changed", body, s.Packet.Seq)
					}
				})
				for _, height := range []uint16{720, 180, 360} {
					w.wish(height)
					c.run(20)
				}
				if body == 0 {
					want = got
				}
				if len(got) < 60 || !slices.Equal(got, want) {
					t.Fatalf("%d decisions depend on the content: %d with other bytes", len(want), len(got))
				}
			}
		})
	}
}
