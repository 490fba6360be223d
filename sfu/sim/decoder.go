package sim

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/packet"
	"sotto/sfu/report"
	"sotto/sfu/seq"
)

const (
	// Requests of a receiver, as libwebrtc sends them: a missing packet again after a round trip, ten times; a key frame
	// when none was ever seen (every 200 ms), or when nothing could be decoded for 3 s.
	nackTries  = 10
	nackEvery  = 60 * time.Millisecond
	waitForKey = 200 * time.Millisecond
	waitFrame  = 3 * time.Second
	maxMissing = 1000

	// A freeze is a gap between two frames of more than max(3 * mean, mean + 150 ms), with the mean of the last 30 gaps; all of
	// the gap counts (W3C webrtc-stats, freezeCount; libwebrtc's VideoQualityObserver).
	freezeFrames = 30
	freezeExtra  = 150 * time.Millisecond
)

// frame is one that is being put together.
type frame struct {
	last   uint64 // number of its last packet
	got, n int
	key    bool
	layer  int
	number uint32
}

// decoder is a model of a jitter buffer and a decoder: it asks for missing packets, decodes frames that are whole and
// continue the last one, and goes on with a whole key frame behind a hole, as libwebrtc's frame buffer does.
type decoder struct {
	v      *Viewer
	ssrc   uint32
	unwrap seq.Unwrapper
	desc   packet.Descriptor
	stats  report.Receiver

	frames  map[uint64]*frame // by number of the first packet
	seen    map[uint64]bool   // numbers that came, above next
	missing map[uint64]*missing
	next    uint64 // first number that is not decoded
	top     uint64
	started bool
	layer   int // shown; -1 none
	shownAt time.Duration
	began   time.Duration
	pliAt   time.Duration

	gaps   []time.Duration
	shown  []shown
	freeze []freeze
	nacks  int
	plis   int
}

type missing struct {
	asked time.Duration
	tries int
}

// shown is a decoded frame.
type shown struct {
	at    time.Duration
	layer int8
	frame uint32
}

// freeze is a gap that counts as one.
type freeze struct{ from, length time.Duration }

func newDecoder(v *Viewer, ssrc uint32) *decoder {
	return &decoder{v: v, ssrc: ssrc, layer: -1, frames: map[uint64]*frame{}, seen: map[uint64]bool{}, missing: map[uint64]*missing{}}
}

func (d *decoder) packet(p *packet.Packet) {
	w := d.v.w
	p.ExtSeq = d.unwrap.Unwrap(p.Seq)
	p.Codec = packet.VP8
	if !p.Repaired {
		d.stats.Received(w.wall(), p.ExtSeq, p.TS, 90000)
	}
	if d.next == 0 {
		d.next, d.top, d.began = p.ExtSeq, p.ExtSeq-1, w.now
	}
	if p.ExtSeq < d.next || d.seen[p.ExtSeq] {
		return
	}
	for n := d.top + 1; n < p.ExtSeq && len(d.missing) < maxMissing; n++ {
		d.missing[n] = &missing{}
	}
	d.top = max(d.top, p.ExtSeq)
	delete(d.missing, p.ExtSeq)
	d.seen[p.ExtSeq] = true
	if !p.PaddingOnly() {
		d.assemble(p)
	}
	d.advance()
	d.ask()
}

func (d *decoder) assemble(p *packet.Packet) {
	if err := d.desc.Read(p); err != nil {
		panic("sim: " + err.Error())
	}
	body := p.Payload()[descriptorBytes:]
	k, n := uint64(body[2]), int(body[3])
	f := d.frames[p.ExtSeq-k]
	if f == nil {
		f = &frame{last: p.ExtSeq - k + uint64(n) - 1, n: n, layer: int(body[1]), number: binary.BigEndian.Uint32(body[4:])}
		d.frames[p.ExtSeq-k] = f
	}
	f.got++
	f.key = f.key || k == 0 && body[0]&1 == 0
}

// advance decodes what can be decoded.
func (d *decoder) advance() {
	for {
		if d.seen[d.next] && d.step() {
			continue
		}
		first := uint64(0)
		for at, f := range d.frames { // a whole key frame behind a hole
			if at >= d.next && f.key && f.got == f.n && (first == 0 || at < first) {
				first = at
			}
		}
		if first == 0 {
			return
		}
		d.forget(first)
		d.next = first
		d.step()
	}
}

// step decodes the frame at next, or passes padding.
func (d *decoder) step() bool {
	f := d.frames[d.next]
	switch {
	case f == nil:
		if d.inFrame(d.next) {
			return false
		}
		d.forget(d.next + 1)
		d.next++
	case f.got < f.n || !f.key && !d.started:
		return false
	default:
		d.show(f)
		d.forget(f.last + 1)
		d.next = f.last + 1
	}
	return true
}

// inFrame reports whether a number belongs to a frame that began before it.
func (d *decoder) inFrame(n uint64) bool {
	for at, f := range d.frames {
		if at <= n && n <= f.last {
			return true
		}
	}
	return false
}

// forget drops everything below a number.
func (d *decoder) forget(below uint64) {
	for n := range d.missing {
		if n < below {
			delete(d.missing, n)
		}
	}
	for n := range d.seen {
		if n < below {
			delete(d.seen, n)
		}
	}
	for n := range d.frames {
		if n < below {
			delete(d.frames, n)
		}
	}
}

func (d *decoder) show(f *frame) {
	now := d.v.w.now
	if d.started {
		gap := now - d.shownAt
		var mean time.Duration
		for _, g := range d.gaps {
			mean += g
		}
		mean /= time.Duration(max(len(d.gaps), 1))
		if len(d.gaps) == freezeFrames && gap > max(3*mean, mean+freezeExtra) {
			d.freeze = append(d.freeze, freeze{d.shownAt, gap})
		}
		if len(d.gaps) == freezeFrames {
			d.gaps = d.gaps[1:]
		}
		d.gaps = append(d.gaps, gap)
	}
	d.started, d.shownAt, d.layer = true, now, f.layer
	d.shown = append(d.shown, shown{now, int8(f.layer), f.number})
}

func (d *decoder) tick() {
	now := d.v.w.now
	d.ask()
	last := d.shownAt
	wait := waitFrame
	if !d.started {
		last, wait = d.began, waitForKey
	}
	if d.next != 0 && len(d.seen) > 0 && now-last > wait && now-d.pliAt > waitForKey {
		d.pliAt = now
		d.plis++
		d.v.w.rtcp(d.v.id, d.v.plan.Up, &rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: d.ssrc})
	}
}

func (d *decoder) ask() {
	now := d.v.w.now
	var numbers []uint16
	for n := d.next; n < d.top && len(numbers) < 200; n++ {
		m := d.missing[n]
		if m != nil && m.tries < nackTries && (m.tries == 0 || now-m.asked > nackEvery) {
			m.asked = now
			m.tries++
			numbers = append(numbers, uint16(n))
		}
	}
	if len(numbers) > 0 {
		d.nacks += len(numbers)
		d.v.w.rtcp(d.v.id, d.v.plan.Up, &rtcp.TransportLayerNack{MediaSSRC: d.ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(numbers)})
	}
}
