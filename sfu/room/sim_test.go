package room

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"sotto/sfu/bwe"
	"sotto/sfu/packet"
	"sotto/sfu/report"
)

// The simulation: a Room, encoders and receivers joined by links, in one goroutine and in virtual time of 1 ms steps.
// Everything is drawn from the seed, so a failing run can be run again.

const step = time.Millisecond

var (
	epoch  = time.Unix(1_700_000_000, 0)
	pubExt = packet.Extensions{MID: 4, RID: 5, RepairedRID: 6, TransportCC: 3}
	subExt = packet.Extensions{MID: 3, TransportCC: 7}

	vp8  = PayloadType{PT: 96, RTX: 97, Codec: packet.VP8, ClockRate: 90000}
	opus = PayloadType{PT: 111, Codec: packet.Opus, ClockRate: 48000}
	// a subscriber's numbers differ, as Firefox's and Chromium's do
	vp8Sub  = PayloadType{PT: 120, RTX: 124, Codec: packet.VP8, ClockRate: 90000}
	opusSub = PayloadType{PT: 109, Codec: packet.Opus, ClockRate: 48000}
)

type world struct {
	t       testing.TB
	rng     *rand.Rand
	room    *Room
	now     time.Time
	batch   Batch
	later   [2048][]func()
	pubs    []*publisher
	subs    []*subscriber
	log     []Event
	sends   int
	seal    map[uint64]time.Time // (SSRC, number) -> sent, to catch a nonce used twice
	hash    uint64               // of all output, to compare runs
	observe func()               // sees every batch; may be nil
}

func newWorld(t testing.TB, seed uint64) *world {
	return &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 7)), now: epoch, seal: map[uint64]time.Time{},
		room: New(Config{Rand: rand.NewPCG(seed, 8)}),
	}
}

func (w *world) after(d time.Duration, f func()) {
	ms := int(d/step) + 1
	if ms >= len(w.later) {
		w.t.Fatal("delay beyond the simulation's ring")
	}
	i := (int(w.now.Sub(epoch)/step) + ms) % len(w.later)
	w.later[i] = append(w.later[i], f)
}

func (w *world) apply(c Command) {
	w.t.Helper()
	if err := w.room.Apply(w.now, c, &w.batch); err != nil {
		w.t.Fatalf("%T: %v", c, err)
	}
	w.flush()
}

func (w *world) run(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(step)
		i := int(w.now.Sub(epoch)/step) % len(w.later)
		due := w.later[i]
		w.later[i] = nil
		for _, f := range due {
			f()
		}
		for _, p := range w.pubs {
			p.tick()
		}
		for _, s := range w.subs {
			s.tick()
		}
		if next := w.room.Next(); !next.IsZero() && !w.now.Before(next) {
			w.room.Tick(w.now, &w.batch)
			w.flush()
		}
	}
}

// flush does what a shard does with a batch, and puts the results on the links.
func (w *world) flush() {
	if w.observe != nil {
		w.observe()
	}
	w.log = append(w.log, w.batch.Events...)
	for _, e := range w.batch.Events {
		if e, ok := e.(TrackWanted); ok {
			w.obey(e)
		}
	}
	for i := range w.batch.Sends {
		s := &w.batch.Sends[i]
		w.sends++
		key := uint64(s.SSRC)<<16 | uint64(s.Seq)
		if at, dup := w.seal[key]; dup && w.now.Sub(at) < 20*time.Second {
			w.t.Fatalf("SSRC %d number %d sealed twice", s.SSRC, s.Seq)
		}
		w.seal[key] = w.now
		sub := w.sub(s.To)
		if sub == nil {
			continue
		}
		var h rtp.Header
		raw := make([]byte, packet.MaxPacket)
		n, _, err := s.Marshal(raw, &sub.ext, &h)
		if err != nil {
			w.t.Fatalf("marshal: %v", err)
		}
		raw = raw[:n]
		for _, b := range raw[:min(n, 40)] {
			w.hash = (w.hash ^ uint64(b)) * 1099511628211
		}
		if w.rng.Float64() < sub.loss {
			continue
		}
		w.after(sub.delay, func() { sub.receive(raw) })
	}
	for _, f := range w.batch.RTCP {
		raw, err := f.Packet.Marshal()
		if err != nil {
			w.t.Fatalf("marshal %T: %v", f.Packet, err)
		}
		pkts, err := rtcp.Unmarshal(raw)
		if err != nil {
			w.t.Fatalf("unmarshal %T: %v", f.Packet, err)
		}
		for _, p := range w.pubs {
			if p.id == f.To {
				w.after(p.delay, func() { p.feedback(pkts[0]) })
			}
		}
		for _, s := range w.subs {
			if s.id == f.To {
				w.after(s.delay, func() { s.feedback(pkts[0]) })
			}
		}
	}
	w.batch.Reset()
}

// obey makes a publisher that follows wishes send no more than is wanted, after the way through signaling; a layer that comes
// back begins with a key frame.
func (w *world) obey(e TrackWanted) {
	for _, p := range w.pubs {
		if p.id == e.Peer && p.obeys {
			w.after(p.delay+20*time.Millisecond, func() {
				for i, l := range p.layers {
					was := l.off
					l.off = i > int(e.Layer)
					l.key = l.key || was && !l.off
				}
			})
		}
	}
}

func (w *world) sub(id PeerID) *subscriber {
	for _, s := range w.subs {
		if s.id == id {
			return s
		}
	}
	return nil
}

// rtcp hands a peer's RTCP to the room after the link's delay, by way of its wire form.
func (w *world) rtcp(from PeerID, delay time.Duration, pkt rtcp.Packet) {
	raw, err := pkt.Marshal()
	if err != nil {
		w.t.Fatal(err)
	}
	w.after(delay, func() {
		pkts, err := rtcp.Unmarshal(raw)
		if err != nil {
			w.t.Fatal(err)
		}
		w.room.HandleRTCP(w.now, from, pkts, &w.batch)
		w.flush()
	})
}

// publisher is a camera with simulcast layers of VP8, as a browser sends it, and a microphone.
type publisher struct {
	w        *world
	id       PeerID
	delay    time.Duration
	loss     float64
	layers   []*encoding
	frame    int
	fps      int
	twcc     uint16
	audioSeq uint16
	audio    bool
	plis     int
	nacks    int
	rrs      int
	twccs    int
	reports  map[uint32]rtcp.ReceptionReport
	payload  *rand.Rand // bodies of frames
	off      bool
	deaf     bool // answers no key frame request
	obeys    bool // follows TrackWanted
	tids     bool // sends three temporal layers
	source   Source
	reorder  float64 // share of packets that come up to 30 ms late
}

type encoding struct {
	ssrc, rtx uint32
	rid       string
	rate      int // bit/s
	seq, rtxs uint16
	ts        uint32
	pic       uint16
	tl0       uint8
	key       bool
	sent      map[uint16][]byte
	count     int
	asked     int // of its packets
	off       bool
}

var rids = []string{"q", "h", "f"}

func (w *world) publish(id PeerID, layers int) *publisher {
	p := &publisher{
		w: w, id: id, delay: 10 * time.Millisecond, fps: 30, payload: rand.New(rand.NewPCG(uint64(id), 99)),
		reports: map[uint32]rtcp.ReceptionReport{}, source: SourceCamera,
	}
	for i := range layers {
		p.layers = append(p.layers, &encoding{
			ssrc: uint32(id)*1000 + uint32(i), rtx: uint32(id)*1000 + 100 + uint32(i), rid: rids[i],
			rate: []int{150_000, 500_000, 1_500_000}[i],
			seq:  uint16(w.rng.Uint32()), ts: w.rng.Uint32(), pic: uint16(w.rng.Uint32N(1 << 15)), tl0: uint8(w.rng.Uint32()),
			key: true, sent: map[uint16][]byte{},
		})
	}
	w.pubs = append(w.pubs, p)
	w.apply(Join{Peer: id, Extensions: pubExt})
	w.apply(Publish{Peer: id, Tracks: p.tracks()})
	return p
}

func (p *publisher) tracks() []PublishedTrack {
	t := []PublishedTrack{{Source: p.source, MID: "1", Codecs: []PayloadType{vp8}}, {Source: SourceMic, MID: "0", Codecs: []PayloadType{opus}}}
	for _, l := range p.layers {
		t[0].RIDs = append(t[0].RIDs, l.rid)
	}
	return t
}

func (p *publisher) tick() {
	if p.off {
		return
	}
	ms := int(p.w.now.Sub(epoch) / step)
	if p.audio && ms%20 == 0 {
		p.audioSeq++
		p.emit(p.header(111, p.audioSeq, uint32(ms*48), uint32(p.id)*1000+500, "0", "", false), []byte("opus frame, encrypted"))
	}
	if ms*p.fps/1000 != (ms-1)*p.fps/1000 {
		p.frame++
		for i, l := range p.layers {
			if !l.off {
				p.encode(i, l)
			}
		}
	}
	if ms%1000 == int(p.id)%1000 {
		for _, l := range p.layers {
			p.w.rtcp(p.id, p.delay, &rtcp.SenderReport{SSRC: l.ssrc, NTPTime: report.ToNTP(p.w.now.Add(time.Hour)), RTPTime: l.ts})
		}
	}
}

// encode sends one frame of a layer. The body says what it is, and nothing in the room may look at it.
func (p *publisher) encode(i int, l *encoding) {
	l.ts += uint32(90000 / p.fps)
	l.pic = (l.pic + 1) & 0x7fff
	var tid, sync byte
	if p.tids && !l.key {
		tid, sync = []byte{0, 2, 1, 2}[p.frame%4], 0x20
	}
	if tid == 0 {
		l.tl0++
	}
	size := l.rate / 8 / p.fps
	if l.key {
		size *= 4
	}
	n := size/1000 + 1
	for k := range n {
		d := []byte{0x80, 0xE0, 0x80 | byte(l.pic>>8), byte(l.pic), l.tl0, tid<<6 | sync}
		if k == 0 {
			d[0] |= 0x10
		}
		body := make([]byte, 12+size/n)
		for b := range body {
			body[b] = byte(p.payload.Uint32())
		}
		if k == 0 {
			body[0] |= 1
			if l.key {
				body[0] &^= 1
			}
		}
		body[1], body[2], body[3] = byte(i), byte(k), byte(n)
		binary.BigEndian.PutUint32(body[4:], uint32(p.frame))
		l.seq++
		l.count++
		rid := ""
		if l.count < 50 {
			rid = l.rid
		}
		pkt := p.header(96, l.seq, l.ts, l.ssrc, "1", rid, k == n-1)
		l.sent[l.seq] = append(pkt[:len(pkt):len(pkt)], append(d, body...)...)
		p.emit(pkt, append(d, body...))
	}
	l.key = false
}

func (p *publisher) header(pt uint8, seq uint16, ts, ssrc uint32, mid, rid string, marker bool) []byte {
	h := []byte{0x90, pt, byte(seq >> 8), byte(seq), 0, 0, 0, 0, 0, 0, 0, 0, 0xBE, 0xDE, 0, 3}
	if marker {
		h[1] |= 0x80
	}
	binary.BigEndian.PutUint32(h[4:], ts)
	binary.BigEndian.PutUint32(h[8:], ssrc)
	p.twcc++
	e := []byte{pubExt.TransportCC<<4 | 1, byte(p.twcc >> 8), byte(p.twcc)}
	if mid != "" {
		e = append(e, pubExt.MID<<4, mid[0])
	}
	if rid != "" {
		id := pubExt.RID
		if pt == vp8.RTX {
			id = pubExt.RepairedRID
		}
		e = append(e, id<<4, rid[0])
	}
	for len(e) < 12 {
		e = append(e, 0)
	}
	return append(h, e...)
}

func (p *publisher) emit(h, payload []byte) {
	raw := append(h, payload...)
	if p.w.rng.Float64() < p.loss {
		return
	}
	delay := p.delay
	if p.w.rng.Float64() < p.reorder {
		delay += time.Duration(1+p.w.rng.IntN(30)) * time.Millisecond
	}
	p.w.after(delay, func() { p.deliver(raw) })
}

func (p *publisher) deliver(raw []byte) {
	buf := append([]byte(nil), raw...) // the reader's buffer, used again
	var pkt packet.Packet
	if err := packet.Parse(buf, &pubExt, p.w.now, &pkt); err != nil {
		p.w.t.Fatal(err)
	}
	p.w.room.HandleRTP(p.w.now, p.id, &pkt, &p.w.batch)
	clear(buf)
	p.w.flush()
}

func (p *publisher) feedback(pkt rtcp.Packet) {
	switch pkt := pkt.(type) {
	case *rtcp.PictureLossIndication:
		p.plis++
		if p.deaf {
			return
		}
		for _, l := range p.layers { // as browsers do
			l.key = true
		}
	case *rtcp.TransportLayerNack:
		for _, pair := range pkt.Nacks {
			for _, n := range pair.PacketList() {
				p.nacks++
				p.retransmit(pkt.MediaSSRC, n)
			}
		}
	case *rtcp.ReceiverReport:
		p.rrs++
		for _, b := range pkt.Reports {
			p.reports[b.SSRC] = b
		}
	case *rtcp.TransportLayerCC:
		p.twccs++
	}
}

func (p *publisher) retransmit(ssrc uint32, n uint16) {
	for _, l := range p.layers {
		raw := l.sent[n]
		if l.ssrc != ssrc || raw == nil {
			continue
		}
		l.asked++
		l.rtxs++
		h := p.header(97, l.rtxs, binary.BigEndian.Uint32(raw[4:]), l.rtx, "1", l.rid, raw[1]&0x80 != 0)
		p.emit(h, append([]byte{byte(n >> 8), byte(n)}, raw[len(h):]...))
	}
}

// subscriber receives into slots, one receiver each.
type subscriber struct {
	w     *world
	id    PeerID
	ext   packet.Extensions
	delay time.Duration
	loss  float64
	slots []Slot
	recv  []*receiver
	rec   bwe.Recorder
	mute  bool // no RTCP at all
}

func (w *world) subscribe(id PeerID, video, audio int) *subscriber {
	s := &subscriber{w: w, id: id, ext: subExt, delay: 10 * time.Millisecond}
	for i := range video + audio {
		d := Slot{MID: string(rune('a' + i)), Kind: Video, SSRC: uint32(id)*1000 + uint32(i)*2, RTXSSRC: uint32(id)*1000 + uint32(i)*2 + 1, Codecs: []PayloadType{vp8Sub}}
		if i >= video {
			d.Kind, d.RTXSSRC, d.Codecs = Audio, 0, []PayloadType{opusSub}
		}
		s.slots = append(s.slots, d)
		s.recv = append(s.recv, &receiver{sub: s, slot: d, layer: -1, held: map[uint64]*packet.Packet{}})
	}
	w.subs = append(w.subs, s)
	w.apply(Join{Peer: id, Extensions: subExt})
	w.apply(Slots{Peer: id, Slots: s.slots})
	return s
}

func (s *subscriber) want(pub PeerID, height uint16) {
	s.w.apply(Want{Peer: s.id, Wishes: []Wish{{Publisher: pub, Source: SourceCamera, Height: height}}})
}

func (s *subscriber) receive(raw []byte) {
	p := new(packet.Packet)
	if err := packet.Parse(raw, &s.ext, s.w.now, p); err != nil {
		s.w.t.Fatalf("the room sent a packet that cannot be read: %v", err)
	}
	if !p.HasTransportSeq {
		s.w.t.Fatal("a packet without transport-wide number")
	}
	s.rec.Received(s.w.now, p.TransportSeq)
	for _, r := range s.recv {
		if p.SSRC == r.slot.RTXSSRC && p.SSRC != 0 {
			if p.PT != vp8Sub.RTX {
				s.w.t.Fatalf("RTX payload type %d", p.PT)
			}
			if p.PaddingOnly() {
				return // a probe
			}
			if err := p.UnwrapRTX(r.slot.SSRC, vp8Sub.PT); err != nil {
				s.w.t.Fatal(err)
			}
			r.repaired++
		}
		if p.SSRC == r.slot.SSRC {
			r.packet(p)
			return
		}
	}
	s.w.t.Fatalf("SSRC %d is in no slot", p.SSRC)
}

func (s *subscriber) tick() {
	if s.mute {
		return
	}
	for _, r := range s.recv {
		r.tick()
	}
	for _, fb := range s.rec.Feedback(s.w.now, 1, 2, nil) {
		s.w.rtcp(s.id, s.delay, fb)
	}
}

func (s *subscriber) feedback(pkt rtcp.Packet) {
	if sr, ok := pkt.(*rtcp.SenderReport); ok {
		for _, r := range s.recv {
			if r.slot.SSRC == sr.SSRC {
				r.stats.SenderReport(s.w.now, sr.NTPTime)
				r.srs = append(r.srs, *sr)
			}
		}
	}
}
