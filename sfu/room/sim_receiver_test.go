package room

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/packet"
	"sotto/sfu/report"
	"sotto/sfu/seq"
)

// receiver is the model of a decoder behind a jitter buffer: it takes packets in order of their numbers, asks for missing
// ones, gives up after a while, and decodes a frame if it is whole and continues the last one.
type receiver struct {
	sub    *subscriber
	slot   Slot
	unwrap seq.Unwrapper
	next   uint64
	held   map[uint64]*packet.Packet
	asked  map[uint64]time.Time
	stuck  time.Time
	desc   packet.Descriptor
	stats  report.Receiver
	srs    []rtcp.SenderReport

	open   bool // a frame is being put together
	broken bool
	pic    uint16
	ts     uint32
	lastTS uint32
	count  int
	isKey  bool

	started  bool
	needKey  bool
	lastPLI  time.Time
	decoded  int
	at       time.Time // last decoded frame
	maxGap   time.Duration
	layer    int
	keys     int
	perLayer [3]int
	frames   []decodedFrame
	plis     int
	nacks    int
	repaired int
	lost     int
	audio    int
	torn     int // frames without an end although no number is missing
}

type decodedFrame struct {
	at    time.Time
	layer int
	frame uint32
}

func (r *receiver) packet(p *packet.Packet) {
	p.ExtSeq = r.unwrap.Unwrap(p.Seq)
	p.Codec = packet.VP8
	if r.slot.Kind == Audio {
		p.Codec = packet.Opus
	}
	if !p.Repaired {
		r.stats.Received(r.sub.w.now, p.ExtSeq, p.TS, 90000)
	}
	if r.next == 0 {
		r.next = p.ExtSeq
	}
	if p.ExtSeq < r.next || r.held[p.ExtSeq] != nil {
		return
	}
	r.held[p.ExtSeq] = p
	r.advance()
}

func (r *receiver) advance() {
	for {
		p := r.held[r.next]
		if p == nil {
			return
		}
		delete(r.held, r.next)
		r.next++
		r.stuck = time.Time{}
		r.take(p)
	}
}

func (r *receiver) take(p *packet.Packet) {
	if p.PaddingOnly() {
		return
	}
	if r.slot.Kind == Audio {
		r.audio++
		r.at = r.sub.w.now
		return
	}
	t := r.sub.w.t
	if err := r.desc.Read(p); err != nil {
		t.Fatalf("descriptor: %v", err)
	}
	if p.PT != vp8Sub.PT {
		t.Fatalf("payload type %d", p.PT)
	}
	body := p.Payload()[6:]
	if p.Start {
		if r.open && !r.broken {
			r.torn++
			r.needKey = !p.Key
		}
		if r.started && !r.broken && int32(p.TS-r.lastTS) <= 0 {
			t.Fatalf("timestamp goes back: %d after %d", p.TS, r.lastTS)
		}
		r.open, r.broken, r.isKey, r.ts, r.count = true, false, p.Key, p.TS, 0
		if !p.Key && !r.needKey && r.started && p.PictureID != (r.pic+1)&0x7fff {
			t.Fatalf("picture id %d after %d", p.PictureID, r.pic)
		}
		if p.Key && r.started && !r.needKey && p.PictureID != (r.pic+1)&0x7fff {
			t.Fatalf("picture id %d of a key frame after %d", p.PictureID, r.pic)
		}
		r.pic = p.PictureID
	}
	if !r.open || r.broken || p.TS != r.ts {
		r.broken = true
		return
	}
	if int(body[2]) != r.count {
		t.Fatalf("packet %d of a frame where %d belongs", body[2], r.count)
	}
	r.count++
	if !p.End {
		return
	}
	if int(body[3]) != r.count {
		t.Fatalf("frame of %d packets ends after %d", body[3], r.count)
	}
	r.open = false
	r.lastTS = r.ts
	if !r.isKey && (r.needKey || !r.started) {
		return
	}
	r.decode(int(body[1]), binary.BigEndian.Uint32(body[4:]))
}

func (r *receiver) decode(layer int, frame uint32) {
	now := r.sub.w.now
	if r.started {
		r.maxGap = max(r.maxGap, now.Sub(r.at))
	}
	if r.isKey {
		r.keys++
		r.needKey = false
	} else if layer != r.layer {
		r.sub.w.t.Fatalf("layer %d after %d without a key frame", layer, r.layer)
	}
	r.started, r.at, r.layer = true, now, layer
	r.decoded++
	r.perLayer[layer]++
	r.frames = append(r.frames, decodedFrame{now, layer, frame})
}

const giveUp = 300 * time.Millisecond

func (r *receiver) tick() {
	now, s := r.sub.w.now, r.sub
	if r.slot.Kind == Video && len(r.held) > 0 {
		if r.stuck.IsZero() {
			r.stuck = now
		}
		r.ask(now)
		if now.Sub(r.stuck) > giveUp {
			for end := r.goOn(); r.next < end; r.next++ {
				delete(r.held, r.next)
				r.lost++
			}
			r.open, r.broken, r.needKey = false, true, true
			r.advance()
		}
	}
	// As browsers do, also where the first packet of all was lost and nothing tells of it.
	undecoded := !r.started && r.slot.Kind == Video && r.stats.Started()
	if (r.needKey || undecoded) && now.Sub(r.lastPLI) > 200*time.Millisecond {
		r.lastPLI = now
		r.plis++
		s.w.rtcp(s.id, s.delay, &rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: r.slot.SSRC})
	}
	if now.Sub(epoch)%time.Second == 0 && r.stats.Started() {
		b := r.stats.Report(now, r.slot.SSRC)
		s.w.rtcp(s.id, s.delay, &rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{b}})
	}
}

// goOn returns where to go on behind a hole: at the first key frame, where there is one, else at the first packet.
func (r *receiver) goOn() uint64 {
	var first, key uint64
	for n, p := range r.held {
		if first == 0 || n < first {
			first = n
		}
		if err := r.desc.Read(p); err == nil && p.Start && p.Key && (key == 0 || n < key) {
			key = n
		}
	}
	return max(first, key)
}

func (r *receiver) ask(now time.Time) {
	if r.asked == nil {
		r.asked = map[uint64]time.Time{}
	}
	var top uint64
	for n := range r.held {
		top = max(top, n)
	}
	var ids []uint16
	for n := r.next; n < top && len(ids) < 200; n++ {
		if r.held[n] == nil && now.Sub(r.asked[n]) > 40*time.Millisecond {
			r.asked[n] = now
			ids = append(ids, uint16(n))
		}
	}
	if len(ids) > 0 {
		r.nacks += len(ids)
		r.sub.w.rtcp(r.sub.id, r.sub.delay, &rtcp.TransportLayerNack{MediaSSRC: r.slot.SSRC, Nacks: rtcp.NackPairsFromSequenceNumbers(ids)})
	}
}
