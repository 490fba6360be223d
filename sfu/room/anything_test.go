package room

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"sotto/sfu/bwe"
	"sotto/sfu/layer"
	"sotto/sfu/packet"
	"sotto/sfu/unit"
)

// Everything at once: publishers of all kinds of streams that begin just before all their counters wrap, start, stop, jump, restart and
// leave, over paths that lose, repeat and change the order of packets, while subscribers come, go and change what they want, and the
// machine is short of room for what it sends. What each subscriber gets is judged by the truth that the frames carry.

// form is how a publisher's picture is packetized.
type form struct {
	name    string
	layers  int // streams
	spatial int // layers in a stream
	pt      PayloadType
	dd      bool
	temps   bool // three temporal layers
	keyMode bool // spatial layers refer to each other in key pictures alone
	narrow  bool // picture ids of 7 bits
}

var forms = []form{
	{name: "VP8 simulcast", layers: 3, spatial: 1, pt: vp8, temps: true},
	{name: "VP8 with descriptor", layers: 3, spatial: 1, pt: vp8, dd: true, temps: true},
	{name: "VP8 with small ids", layers: 2, spatial: 1, pt: vp8, narrow: true},
	{name: "VP9 L3T3", layers: 1, spatial: 3, pt: vp9, temps: true},
	{name: "VP9 L3T3_KEY", layers: 1, spatial: 3, pt: vp9, temps: true, keyMode: true},
	{name: "AV1 L3T1_KEY", layers: 1, spatial: 3, pt: av1, dd: true, keyMode: true},
	{name: "AV1 simulcast", layers: 2, spatial: 1, pt: av1},
}

var anyExt = packet.Extensions{MID: 4, RID: 5, RepairedRID: 6, TransportCC: 3, DependencyDescriptor: 8}

// What Chromium sends with a key frame: L1T3, and L3T1_KEY.
const (
	structureL1T3 = "c00000800214eaa860414d141022222304ff02cf"
	structureL3T1 = "c000018002223aa028808249049048404fc02cc09fc059c13fc0b3c0"
)

// truth is what a packet says about itself, in bytes that the room must not look at.
type truth struct {
	stream, picture, gop     uint32 // gop counts the key pictures of all times
	sid, tid, index, packets uint8
	pos, form                uint8 // in the temporal pattern; of forms
	key                      bool
	tl0, frame               uint16 // as sent; also picture ids follow picture
}

const truthSize = 22

func (r *truth) put(b []byte) {
	binary.BigEndian.PutUint32(b, r.stream)
	binary.BigEndian.PutUint32(b[4:], r.picture)
	binary.BigEndian.PutUint32(b[8:], r.gop)
	b[12], b[13], b[14], b[15], b[16], b[17] = r.sid, r.tid, r.index, r.packets, r.pos, r.form<<1
	if r.key {
		b[17] |= 1
	}
	binary.BigEndian.PutUint16(b[18:], r.tl0)
	binary.BigEndian.PutUint16(b[20:], r.frame)
}

func truthOf(b []byte) truth {
	b = b[len(b)-truthSize:]
	return truth{
		stream: binary.BigEndian.Uint32(b), picture: binary.BigEndian.Uint32(b[4:]), gop: binary.BigEndian.Uint32(b[8:]),
		sid: b[12], tid: b[13], index: b[14], packets: b[15], pos: b[16], form: b[17] >> 1, key: b[17]&1 == 1,
		tl0: binary.BigEndian.Uint16(b[18:]), frame: binary.BigEndian.Uint16(b[20:]),
	}
}

// compare tells the order in which the packets of a stream were made.
func (r *truth) compare(q *truth) int {
	return cmp.Or(cmp.Compare(r.picture, q.picture), cmp.Compare(r.sid, q.sid), cmp.Compare(r.index, q.index))
}

// chaos is a room, its people, and what becomes of their packets.
type chaos struct {
	*world
	draw    *rand.Rand
	clean   bool // no packet is lost, repeated or late
	pubs    []*anyPublisher
	streams uint32 // given out
	got     map[[2]uint32]*gotten
	subs    []*anySubscriber
	quiet   bool // no faults any more
	again   int
}

// anySubscriber wants all publishers.
type anySubscriber struct {
	id    PeerID
	slots []Slot
	here  bool
}

type anyPublisher struct {
	c     *chaos
	id    PeerID
	form  *form
	kind  int
	out   []*anyStream
	here  bool
	muted bool
	audio *anyStream
}

type anyStream struct {
	truth          uint32 // its name
	ssrc, rtx      uint32
	seq, rtxs, pic uint16
	tl0            uint8
	frame          uint16
	ts             uint32
	picture, gop   uint32
	jumps          int
	pos            int
	key, off       bool
	since          time.Time // its start
	calm           bool      // the next picture arrives as it is sent
	sent           map[uint16][]byte
	rid            string
}

// gotten is what a subscriber got on one of its streams.
type gotten struct {
	slot Slot
	peer PeerID
	top  int64
	all  map[int64]arrived
	at   time.Time
}

type arrived struct {
	seq  int64
	out  packet.Outgoing
	fill bool
	truth
	raw packet.Packet // as parsed from the wire
}

func newChaos(t testing.TB, seed uint64) *chaos {
	c := &chaos{world: newWorld(t, seed), draw: rand.New(rand.NewPCG(seed, 21)), got: map[[2]uint32]*gotten{}}
	c.clean = seed%3 == 0
	c.observe = c.see
	for id := PeerID(1); id <= 3; id++ {
		kind := c.draw.IntN(len(forms))
		c.pubs = append(c.pubs, &anyPublisher{c: c, id: id, form: &forms[kind], kind: kind})
	}
	return c
}

// restart gives a stream new numbers, most of them about to wrap.
func (c *chaos) restart(s *anyStream) {
	c.streams++
	s.truth = c.streams
	s.ssrc, s.rtx = 1_000_000+2*c.streams, 1_000_001+2*c.streams
	s.seq, s.pic, s.tl0 = -uint16(c.draw.IntN(400)), -uint16(c.draw.IntN(90))&0x7fff, -uint8(c.draw.IntN(30))
	s.frame, s.ts = -uint16(c.draw.IntN(150)), -uint32(c.draw.IntN(600_000))
	if c.draw.IntN(4) == 0 {
		s.seq, s.pic, s.ts = uint16(c.draw.Uint32()), uint16(c.draw.UintN(1<<15)), c.draw.Uint32()
	}
	s.sent, s.key, s.since = map[uint16][]byte{}, true, c.now
}

func (p *anyPublisher) join() {
	c := p.c
	p.here = true
	p.out, p.audio = nil, &anyStream{rid: ""}
	video := PublishedTrack{Source: SourceCamera, MID: "1", Codecs: []PayloadType{vp8, vp9, av1}}
	for i := range p.form.layers {
		s := &anyStream{}
		if p.form.layers > 1 {
			s.rid = rids[i]
			video.RIDs = append(video.RIDs, rids[i])
		}
		c.restart(s)
		p.out = append(p.out, s)
	}
	c.restart(p.audio)
	c.apply(Join{Peer: p.id, Extensions: anyExt})
	c.apply(Publish{Peer: p.id, Tracks: []PublishedTrack{video, {Source: SourceMic, MID: "0", Codecs: []PayloadType{opus}}}})
}

// tick sends what is made every 33 ms.
func (p *anyPublisher) tick() {
	if !p.here {
		return
	}
	for _, s := range p.out {
		s.ts += 3000
	}
	p.audio.ts += 1600
	a := p.audio
	a.picture++
	r := truth{stream: a.truth, picture: a.picture, packets: 1, key: true}
	p.emit(a, opus, "0", nil, []byte{1, 2, 3}, r, true)
	for i, s := range p.out {
		if !s.off {
			p.picture(i, s)
		}
	}
}

func (p *anyPublisher) picture(layer int, s *anyStream) {
	f := p.form
	if s.key {
		s.pos = 0
		s.gop++
	}
	s.picture++
	s.pic = (s.pic + 1) & 0x7fff
	r := truth{stream: s.truth, picture: s.picture, gop: s.gop, key: s.key, form: uint8(p.kind)}
	if f.temps {
		r.pos = uint8(s.pos % 4)
		r.tid = []uint8{0, 2, 1, 2}[r.pos]
	}
	s.pos++
	if r.tid == 0 {
		s.tl0++
	}
	r.tl0 = uint16(s.tl0)
	for sid := range uint8(f.spatial) {
		s.frame++
		r.sid, r.frame = sid, s.frame
		r.packets = 1 + uint8(layer) + sid
		if s.key {
			r.packets += 2
		}
		for i := range r.packets {
			r.index = i
			last := i == r.packets-1
			p.emit(s, f.pt, "1", p.dd(s, &r), p.descriptor(s, &r), r, last && int(sid) == f.spatial-1)
		}
	}
	s.key, s.calm = false, false
}

// descriptor is the payload descriptor, and for VP8 the first byte of the frame.
func (p *anyPublisher) descriptor(s *anyStream, r *truth) []byte {
	f := p.form
	first, last := r.index == 0, r.index == r.packets-1
	flag := func(on bool, bit byte) byte {
		if on {
			return bit
		}
		return 0
	}
	frame := flag(!r.key, 1)
	switch {
	case f.pt.Codec == packet.AV1:
		return []byte{0x10 | flag(r.key && first && r.sid == 0, 8) | flag(!first, 0x80)}
	case f.pt.Codec == packet.VP8 && f.dd:
		return []byte{flag(first, 0x10), frame}
	case f.pt.Codec == packet.VP8 && f.narrow:
		return []byte{0x80 | flag(first, 0x10), 0x80, byte(s.pic & 0x7f), frame}
	case f.pt.Codec == packet.VP8:
		return []byte{0x80 | flag(first, 0x10), 0xe0, 0x80 | byte(s.pic>>8), byte(s.pic), s.tl0, r.tid<<6 | flag(r.pos == 1 || r.pos == 2, 0x20), frame}
	}
	inter := r.sid > 0 && (r.key || !f.keyMode)
	d := []byte{
		0xa0 | flag(!r.key, 0x40) | flag(first, 8) | flag(last, 4) | flag(r.key && r.sid == 0 && first, 2) | flag(r.sid == 2 || f.keyMode && !r.key, 1),
		0x80 | byte(s.pic>>8), byte(s.pic), r.tid<<5 | flag(r.tid < 2, 0x10) | r.sid<<1 | flag(inter, 1), s.tl0,
	}
	if r.key && r.sid == 0 && first {
		d = append(d, 2<<5|0x10, 1, 64, 0, 180, 2, 128, 1, 104, 5, 0, 2, 208)
	}
	return d
}

// dd is the dependency descriptor.
func (p *anyPublisher) dd(s *anyStream, r *truth) []byte {
	if !p.form.dd {
		return nil
	}
	text, template := structureL1T3, []byte{1, 3, 2, 4}[r.pos]
	if p.form.spatial > 1 {
		text, template = structureL3T1, 1+2*r.sid
	}
	if r.key {
		template = 2 * r.sid
	}
	d := []byte{template, byte(s.frame >> 8), byte(s.frame)}
	if r.index == 0 {
		d[0] |= 0x80
	}
	if r.index == r.packets-1 {
		d[0] |= 0x40
	}
	if r.key && r.sid == 0 && r.index == 0 {
		structure, _ := hex.DecodeString(text)
		d = append(d, structure[3:]...)
	}
	return d
}

// header writes an RTP header with two-byte extensions.
func (p *anyPublisher) header(pt uint8, seq uint16, ts, ssrc uint32, marker bool, elements ...[]byte) []byte {
	h := []byte{0x90, pt, byte(seq >> 8), byte(seq), 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0}
	if marker {
		h[1] |= 0x80
	}
	binary.BigEndian.PutUint32(h[4:], ts)
	binary.BigEndian.PutUint32(h[8:], ssrc)
	for _, e := range elements {
		if len(e) > 1 {
			h = append(h, e[0], byte(len(e)-1))
			h = append(h, e[1:]...)
		}
	}
	for len(h)%4 != 0 {
		h = append(h, 0)
	}
	h[15] = byte(len(h)/4 - 4)
	return h
}

func (p *anyPublisher) emit(s *anyStream, pt PayloadType, mid string, dd, descriptor []byte, r truth, marker bool) {
	s.seq++
	body := make([]byte, 30+truthSize)
	for i := range body {
		body[i] = byte(p.c.draw.Uint32())
	}
	r.put(body[30:])
	h := p.header(pt.PT, s.seq, s.ts, s.ssrc, marker,
		append([]byte{anyExt.MID}, mid...), append([]byte{anyExt.RID}, s.rid...), append([]byte{anyExt.DependencyDescriptor}, dd...))
	payload := append(descriptor, body...)
	// For a retransmission: its extensions but the RID, and the payload.
	s.sent[s.seq] = append(p.header(pt.RTX, 0, s.ts, s.rtx, marker,
		append([]byte{anyExt.MID}, mid...), append([]byte{anyExt.RepairedRID}, s.rid...), append([]byte{anyExt.DependencyDescriptor}, dd...)),
		append([]byte{byte(s.seq >> 8), byte(s.seq)}, payload...)...)
	p.carry(s, append(h, payload...))
}

// carry brings a packet to the room, or not.
func (p *anyPublisher) carry(s *anyStream, raw []byte) {
	c := p.c
	if c.clean || c.quiet || s.calm {
		c.take(p, raw)
		return
	}
	if c.draw.IntN(40) == 0 {
		return
	}
	copies := 1
	if c.draw.IntN(60) == 0 {
		copies = 2
	}
	for range copies {
		delay := time.Duration(0)
		if c.draw.IntN(12) == 0 {
			delay = time.Duration(c.draw.IntN(90)) * time.Millisecond
		}
		jumps := s.jumps
		c.after(delay, func() {
			if s.jumps == jumps { // or nobody could tell whether it is from before
				c.take(p, raw)
			}
		})
	}
}

func (c *chaos) take(p *anyPublisher, raw []byte) {
	var pkt packet.Packet
	buf := slices.Clone(raw)
	if err := packet.Parse(buf, &anyExt, c.now, &pkt); err != nil {
		c.t.Fatal(err)
	}
	c.room.HandleRTP(c.now, p.id, &pkt, &c.batch)
	clear(buf)
	c.flush()
}

// retransmit sends a packet again.
func (p *anyPublisher) retransmit(s *anyStream, n uint16) {
	raw := s.sent[n]
	if raw == nil || raw[1]&0x7f == 0 {
		return
	}
	raw = slices.Clone(raw)
	s.rtxs++
	binary.BigEndian.PutUint16(raw[2:], s.rtxs)
	p.carry(s, raw)
}

func (p *anyPublisher) feedback(pkt rtcp.Packet) {
	switch pkt := pkt.(type) {
	case *rtcp.PictureLossIndication:
		for _, s := range p.out {
			s.key = true
		}
	case *rtcp.TransportLayerNack:
		for _, s := range p.out {
			for _, pair := range pkt.Nacks {
				for _, n := range pair.PacketList() {
					if s.ssrc == pkt.MediaSSRC {
						p.retransmit(s, n)
					}
				}
			}
		}
	}
}

// see takes note of all that the room sends.
func (c *chaos) see() {
	for _, f := range c.batch.RTCP {
		for _, p := range c.pubs {
			if p.id == f.To {
				c.after(10*time.Millisecond, func() { p.feedback(f.Packet) })
			}
		}
	}
	for i := range c.batch.Sends {
		s := &c.batch.Sends[i]
		if !s.RTX {
			c.note(s)
			continue
		}
		g := c.got[[2]uint32{uint32(s.To), s.SSRC - 1}]
		if g == nil {
			c.t.Fatalf("a retransmission of nothing on %d", s.SSRC)
		}
		a, ok := g.all[g.top+int64(int16(s.OSN-uint16(g.top)))]
		if !ok || a.fill || s.TS != a.out.TS || s.Marker != a.out.Marker || s.Frame != a.out.Frame || s.PictureID != a.out.PictureID || s.TL0 != a.out.TL0 ||
			truthOf(s.Packet.Payload()) != a.truth {
			c.t.Fatalf("number %d of %d is sent again as %+v, was %+v", s.OSN, s.SSRC-1, s.Outgoing, a.out)
		}
		c.again++
	}
}

func (c *chaos) note(s *Send) {
	g := c.got[[2]uint32{uint32(s.To), s.SSRC}]
	if g == nil {
		return // padding on an RTX stream
	}
	if len(g.all) == 0 {
		g.top = int64(s.Seq) - 1
	}
	a := arrived{seq: g.top + int64(int16(s.Seq-uint16(g.top))), out: s.Outgoing, fill: s.Packet == nil}
	if _, twice := g.all[a.seq]; twice {
		c.t.Fatalf("number %d of %d is sent twice", s.Seq, s.SSRC)
	}
	if !a.fill {
		var h rtp.Header
		raw := make([]byte, packet.MaxPacket)
		ext := c.room.find(s.To).ext
		n, _, err := s.Marshal(raw, &ext, &h)
		if err != nil {
			c.t.Fatal(err)
		}
		if err := packet.Parse(raw[:n], &ext, c.now, &a.raw); err != nil {
			c.t.Fatal(err)
		}
		a.truth = truthOf(a.raw.Payload())
		a.raw.Codec, a.raw.ExtSeq = s.Packet.Codec, uint64(a.seq)+1<<40
		var d packet.Descriptor
		if err := d.Read(&a.raw); err != nil {
			c.t.Fatal(err)
		}
		g.at = c.now
	}
	g.all[a.seq] = a
	g.top = max(g.top, a.seq)
}

// check judges one stream.
func (g *gotten) check(clean bool) error {
	var list []arrived
	for _, a := range g.all {
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b arrived) int { return cmp.Compare(a.seq, b.seq) })
	newest := map[uint32]truth{}   // of each stream
	whole := map[[3]uint32]uint8{} // packets of a frame
	var last *arrived
	for i := range list {
		a := &list[i]
		if clean && i > 0 && a.seq != list[i-1].seq+1 {
			return fmt.Errorf("a hole before number %d", a.seq)
		}
		if a.fill {
			if clean {
				return fmt.Errorf("number %d is filled", a.seq)
			}
			continue
		}
		if before, ok := newest[a.stream]; ok && before.compare(&a.truth) >= 0 {
			return fmt.Errorf("%+v is numbered after %+v", a.truth, before)
		}
		newest[a.stream] = a.truth
		if last == nil || last.stream != a.stream {
			if !a.key || a.index != 0 || a.sid != 0 {
				return fmt.Errorf("begins with %+v", a.truth)
			}
		}
		if last != nil {
			if err := follows(last, a, clean); err != nil {
				return fmt.Errorf("%w: %+v (%d) after %+v (%d)", err, a.truth, a.seq, last.truth, last.seq)
			}
		}
		if clean {
			if last != nil && (last.picture != a.picture || last.sid != a.sid || last.stream != a.stream) {
				if n := whole[[3]uint32{last.stream, last.picture, uint32(last.sid)}]; n != last.packets {
					return fmt.Errorf("%d packets of frame %+v", n, last.truth)
				}
			}
			if err := a.references(whole); err != nil {
				return err
			}
		}
		whole[[3]uint32{a.stream, a.picture, uint32(a.sid)}]++
		last = a
	}
	return nil
}

// follows compares a packet with the one before it.
func follows(a, b *arrived, clean bool) error {
	samePicture := a.stream == b.stream && a.picture == b.picture
	sameFrame := samePicture && a.sid == b.sid
	sameGroup := a.stream == b.stream && a.gop == b.gop
	d := int32(b.raw.TS - a.raw.TS)
	switch {
	case samePicture && d != 0:
		return fmt.Errorf("time stamp moves by %d in a picture", d)
	case !samePicture && d <= 0:
		return fmt.Errorf("time stamp moves by %d", d)
	case sameFrame && b.seq-a.seq != int64(b.index-a.index):
		return fmt.Errorf("numbers leave out %d of a frame", b.seq-a.seq)
	case clean && a.stream == b.stream && a.gop != b.gop && (b.index != 0 || !b.key):
		return fmt.Errorf("a group begins in the middle")
	case clean && samePicture && a.raw.Marker, clean && !samePicture && !a.raw.Marker:
		return fmt.Errorf("marker")
	}
	if a.raw.PictureIDAt != 0 && b.raw.PictureIDAt != 0 && a.raw.Codec == b.raw.Codec {
		bits := 15
		if !b.raw.PictureIDWide || !a.raw.PictureIDWide {
			bits = 7
		}
		d := int(b.raw.PictureID-a.raw.PictureID) & (1<<bits - 1)
		switch {
		case samePicture && d != 0, !samePicture && (d == 0 || d >= 1<<(bits-1)):
			return fmt.Errorf("picture id moves by %d", d)
		case clean && !samePicture && !b.key && b.raw.Codec == packet.VP8 && d != 1:
			return fmt.Errorf("picture id leaves out %d", d)
		case sameGroup && b.raw.Codec == packet.VP9 && d != int(b.picture-a.picture):
			return fmt.Errorf("picture id moves by %d, was %d", d, b.picture-a.picture)
		}
	}
	if a.raw.TL0At != 0 && b.raw.TL0At != 0 {
		d := uint8(b.raw.TL0 - a.raw.TL0)
		switch {
		case sameGroup && d != uint8(b.tl0-a.tl0):
			return fmt.Errorf("TL0PICIDX moves by %d, was %d", d, uint8(b.tl0-a.tl0))
		case !sameGroup && (d == 0 || d >= 128):
			return fmt.Errorf("TL0PICIDX moves by %d", int8(d))
		}
	}
	if a.raw.DD.Len != 0 && b.raw.DD.Len != 0 {
		d := int16(b.raw.Frame - a.raw.Frame)
		switch {
		case sameFrame && d != 0, !sameFrame && d <= 0:
			return fmt.Errorf("frame number moves by %d", d)
		case sameGroup && d != int16(b.truth.frame-a.truth.frame):
			return fmt.Errorf("frame number moves by %d, was %d", d, int16(b.truth.frame-a.truth.frame))
		}
	}
	return nil
}

// references reports what the frame of a packet refers to and the subscriber did not get.
func (a *arrived) references(whole map[[3]uint32]uint8) error {
	if a.index != 0 || a.raw.Codec == packet.Opus {
		return nil
	}
	f := &forms[a.form]
	needs := func(back uint32, sid uint8) error {
		if whole[[3]uint32{a.stream, a.picture - back, uint32(sid)}] == 0 {
			return fmt.Errorf("%+v refers to the picture %d before in layer %d, which did not come", a.truth, back, sid)
		}
		return nil
	}
	if a.sid > 0 && (a.key || !f.keyMode) {
		if err := needs(0, a.sid-1); err != nil {
			return err
		}
	}
	if a.key {
		return nil
	}
	back := uint32(1)
	if f.temps {
		back = []uint32{4, 1, 2, 1}[a.pos]
	}
	return needs(back, a.sid)
}

func (c *chaos) enter(s *anySubscriber) {
	ext := packet.Extensions{MID: 3, DependencyDescriptor: uint8(12 * c.draw.IntN(2))}
	s.here, s.slots = true, nil
	for i := range 5 {
		c.streams++
		d := Slot{
			MID: string(rune('a' + i)), Kind: Video, SSRC: 5_000_000 + 2*c.streams, RTXSSRC: 5_000_001 + 2*c.streams,
			Codecs: []PayloadType{vp8Sub, vp9Sub, av1Sub},
		}
		if i >= 3 {
			d.Kind, d.RTXSSRC, d.Codecs = Audio, 0, []PayloadType{opusSub}
		}
		s.slots = append(s.slots, d)
		c.got[[2]uint32{uint32(s.id), d.SSRC}] = &gotten{slot: d, peer: s.id, all: map[int64]arrived{}}
	}
	c.apply(Join{Peer: s.id, Extensions: ext})
	c.apply(Slots{Peer: s.id, Slots: s.slots})
	c.want(s, true)
	c.budget(s, 8*unit.Mbps)
}

func (c *chaos) want(s *anySubscriber, all bool) {
	var wishes []Wish
	for _, p := range c.pubs {
		if all || c.draw.IntN(5) > 0 {
			wishes = append(wishes, Wish{
				Publisher: p.id, Source: SourceCamera, Height: uint16(c.draw.IntN(5)) * 180,
				Priority: uint8(c.draw.IntN(3)), Paused: !all && c.draw.IntN(8) == 0,
			})
		}
	}
	c.apply(Want{Peer: s.id, Wishes: wishes})
}

// budget sets what a subscriber's path carries.
func (c *chaos) budget(s *anySubscriber, rate unit.Bitrate) {
	p := c.room.find(s.id)
	p.estimator = bwe.New(bwe.Config{Start: rate})
	p.climb = climb{change: p.estimator.Estimate().Change}
	c.room.useEstimate(c.now, p)
	c.room.allocate(c.now, p, &c.batch)
	c.flush()
}

// disturb does one thing out of many.
func (c *chaos) disturb() {
	p := c.pubs[c.draw.IntN(len(c.pubs))]
	s := c.subs[c.draw.IntN(len(c.subs))]
	switch kind := c.draw.IntN(16); {
	case kind < 2 && s.here:
		c.want(s, false)
	case kind == 2:
		c.thin(c.draw.IntN(MaxThin + 1))
	case kind == 3:
		c.thin(0)
	case kind == 4 && c.draw.IntN(3) == 0:
		if s.here = !s.here; s.here {
			c.enter(s)
		} else {
			c.apply(Leave{Peer: s.id})
		}
	case kind == 5 && c.draw.IntN(4) == 0:
		if p.here = !p.here; p.here {
			p.join()
		} else {
			c.apply(Leave{Peer: p.id})
		}
	case !p.here, !s.here:
	case kind == 6:
		p.muted = !p.muted
		c.apply(Mute{Peer: p.id, Source: SourceCamera, Muted: p.muted})
	case kind == 7:
		o := p.out[c.draw.IntN(len(p.out))]
		o.off = !o.off
		o.key = true
	case kind == 8:
		if o := p.out[c.draw.IntN(len(p.out))]; !c.clean || c.now.Sub(o.since) > relatchAfter+100*time.Millisecond { // sooner it is ignored for a while
			c.restart(o)
		}
	case kind == 9: // its counters jump
		o := p.out[c.draw.IntN(len(p.out))]
		if o.calm || c.clean && c.now.Sub(o.since) < relatchAfter+100*time.Millisecond {
			return // two jumps of which the room sees one may look like loss, or like late packets
		}
		o.since = c.now
		o.key = true
		switch c.draw.IntN(3) {
		case 0:
			o.seq += 3001 + uint16(c.draw.IntN(20_000))
		case 1:
			o.seq -= 1100 + uint16(c.draw.IntN(20_000))
		}
		o.ts += uint32(c.draw.IntN(2)) * c.draw.Uint32()
		o.pic, o.tl0, o.frame = uint16(c.draw.UintN(1<<15)), uint8(c.draw.Uint32()), uint16(c.draw.Uint32())
		clear(o.sent)
		o.jumps++
		o.calm = true
	case kind == 10: // late and repeated
		o := p.out[c.draw.IntN(len(p.out))]
		for range 20 {
			p.retransmit(o, o.seq-uint16(c.draw.IntN(700)))
		}
	case kind == 11:
		slot := c.room.find(s.id).slots[c.draw.IntN(3)]
		slot.sw.SetMaxTID(uint8(c.draw.IntN(3)))
	case kind == 12:
		for _, d := range s.slots[:3] {
			g := c.got[[2]uint32{uint32(s.id), d.SSRC}]
			c.rtcp(s.id, 0, &rtcp.PictureLossIndication{MediaSSRC: d.SSRC})
			for range 5 {
				c.rtcp(s.id, 0, &rtcp.TransportLayerNack{MediaSSRC: d.SSRC, Nacks: []rtcp.NackPair{
					{PacketID: uint16(g.top) - uint16(c.draw.IntN(600)), LostPackets: rtcp.PacketBitmap(c.draw.Uint32())},
				}})
			}
		}
	case kind == 13:
		p.feedback(&rtcp.PictureLossIndication{})
	case kind == 14 && !c.clean:
		c.budget(s, unit.Bitrate(50+c.draw.IntN(2000))*unit.Kbps)
	case kind == 15:
		c.budget(s, 8*unit.Mbps)
	}
}

// heal ends all trouble.
func (c *chaos) heal() {
	c.quiet = true
	c.thin(0)
	for _, p := range c.pubs {
		if !p.here {
			p.join()
		}
		for _, o := range p.out {
			o.off = false
		}
		p.muted = false
		c.apply(Mute{Peer: p.id, Source: SourceCamera})
	}
	for _, s := range c.subs {
		if !s.here {
			c.enter(s)
		}
		c.budget(s, 8*unit.Mbps)
		c.want(s, true)
	}
}

func (c *chaos) frames(n int, calm bool) {
	for range n {
		if !calm && c.draw.IntN(4) == 0 {
			c.disturb()
		}
		for _, p := range c.pubs {
			p.tick()
		}
		c.run(33 * time.Millisecond)
	}
}

// storm runs everything for some seconds and judges it.
func storm(t testing.TB, seed uint64) {
	c := newChaos(t, seed)
	for _, p := range c.pubs {
		p.join()
	}
	for id := PeerID(11); id <= 13; id++ {
		c.subs = append(c.subs, &anySubscriber{id: id})
	}
	c.enter(c.subs[0])
	c.enter(c.subs[1]) // the third comes late
	c.frames(300, false)
	c.heal()
	c.frames(120, true)
	for _, g := range c.got {
		if err := g.check(c.clean); err != nil {
			t.Errorf("seed %d, clean %v: stream %d of peer %d: %v", seed, c.clean, g.slot.SSRC, g.peer, err)
		}
	}
	for _, s := range c.subs {
		for i, d := range s.slots {
			g := c.got[[2]uint32{uint32(s.id), d.SSRC}]
			slot := c.room.find(s.id).slots[i]
			if i < 3 && slot.track == nil {
				t.Errorf("seed %d: slot %d of peer %d is empty", seed, i, s.id)
			} else if slot.track != nil && c.now.Sub(g.at) > 150*time.Millisecond {
				t.Errorf("seed %d, clean %v: slot %d of peer %d rests since %v, switch at %d of %d", seed, c.clean, i, s.id, c.now.Sub(g.at), slot.sw.Current(), slot.sw.Target())
			} else if slot.track != nil && i < 3 && (slot.tid != layer.AllLayers || slot.sw.IsCut()) {
				t.Errorf("seed %d: slot %d of peer %d is short", seed, i, s.id)
			}
		}
	}
}

func TestRoom_whateverComesEachStreamIsInOrder(t *testing.T) {
	for seed := range uint64(24) {
		storm(t, seed)
	}
}
