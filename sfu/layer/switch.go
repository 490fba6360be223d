package layer

import (
	"time"

	"sotto/sfu/packet"
)

// Paused is the rung of a source that is not forwarded.
const Paused = int8(-1)

// state of a Switch. Which rungs it is about is in current and target.
type state uint8

const (
	// paused: nothing is forwarded. current and target are Paused.
	paused state = iota
	// forwarding: current is forwarded and wanted.
	forwarding
	// switchAtNextKeyFrame: target is wanted; current, which may be Paused, plays on until the first packet of a key frame of target.
	switchAtNextKeyFrame
)

// maxGap is the largest jump forward of a stream's numbers that is taken for loss (RFC 3550 A.1, MAX_DROPOUT). A larger one is not
// passed on: the receiver's SRTP would lose count of the numbers.
const maxGap = 3000

// Out is what changes in a packet on its way to one subscriber.
type Out struct {
	Seq       uint16
	TS        uint32
	Frame     uint16 // dependency descriptor frame_number
	PictureID uint16 // 15 bits; a 7-bit form takes the lower 7
	TL0       uint8  // VP8, VP9 TL0PICIDX
	Marker    bool   // last packet of a picture, as far as this subscriber gets it
	Switched  bool   // the first packet of another rung, or after a pause
	// Limited says that the receiver must know how much of the stream it gets, since some of it is or was left out since the last key
	// frame: layers up to SID and TID, AllLayers if there is no limit. packet.Descriptor.Targets makes the words for it.
	Limited  bool
	SID, TID uint8
	// Fill comes with ok false: the packet is not for this subscriber, but its number was left open for it (it came late). A
	// padding-only packet with Seq and TS closes the hole, so that the receiver does not wait for it. (If no packet of its frame
	// came in time, the frame's picture id stays a hole: receivers then skip the higher temporal layers until the next base frame.)
	Fill bool
}

// Switch selects the packets of one source for one subscriber and renumbers them: whatever rungs they come from, the subscriber
// sees one stream with continuous sequence numbers, rising timestamps and continuous frame numbers and picture ids.
//
// A rung is a simulcast stream. A stream with spatial layers (SVC) is one rung, and SetMaxSID chooses what is shown of it; a decode
// target's frames (packet.Packet.SID and Skips) are forwarded.
//
// It takes each packet of all rungs once (duplicates are refused), in any order within a rung. Video and audio alike; audio has one
// rung and every packet is a key frame. To go on with another source on the same outgoing SSRC, Reset all rungs.
// Owned by the subscription's owner. Must not be copied once used: it keeps 10 KB about packets sent (1 KB for audio), allocated when
// forwarding begins.
type Switch struct {
	state           state
	current, target int8
	maxTID, maxSID  uint8 // wanted limits of temporal and spatial layers; those of frame are in force
	cut             bool  // pictures after that of frame are left out
	codec           packet.Codec

	// The stream of the current rung: out = ext - offset. Numbers before first belong to the time before the switch.
	first, top, offset uint64
	drops              dropWindow
	frame              frame // that of the newest packet
	frames             history
	skipped            uint8  // spatial layers below the shown one, a bit for each, of which frames were left out since the last key frame
	tsOffset           uint32 // added to timestamps, except to those that would not rise
	frameOffset        uint16
	tl0Offset          uint8

	sent    sent
	records records
	clocks  [MaxRungs]clock
	tops    [MaxRungs]uint64 // highest number of each rung's stream when it was last forwarded
}

// sent is the newest of everything that the subscriber has got; a switch goes on from here.
type sent struct {
	any     bool
	rung    int8   // last forwarded
	nextSeq uint16 // one after the highest number
	ts      uint32
	at      time.Time // arrival of the first packet of the newest frame
	pic     uint16
	frame   uint16
	tl0     uint8
	hasPic  bool
	hasDD   bool
	hasTL0  bool
}

// NewSwitch returns a paused switch whose first packet gets firstSeq and firstTS. firstSeq < 2^15 keeps the receiver's SRTP from
// taking an early packet of reverse order for one of the former round of numbers (RFC 3711 3.3.1).
func NewSwitch(firstSeq uint16, firstTS uint32) Switch {
	return Switch{
		current: Paused, target: Paused, maxTID: AllLayers, maxSID: AllLayers,
		sent: sent{rung: Paused, nextSeq: firstSeq, ts: firstTS},
	}
}

// Current returns the rung that is forwarded, Paused if none.
func (s *Switch) Current() int8 { return s.current }

// Newest returns the highest number that went out; what it means before the first packet is not defined.
func (s *Switch) Newest() uint16 { return s.sent.nextSeq - 1 }

// Target returns the wanted rung.
func (s *Switch) Target() int8 { return s.target }

// SID returns the spatial layer that is shown of the current rung, AllLayers if it is not limited.
func (s *Switch) SID() uint8 { return s.frame.sid }

// WantsKey returns the rung on which the switch waits for a key frame.
func (s *Switch) WantsKey() (rung int8, ok bool) {
	return s.target, s.state == switchAtNextKeyFrame || s.state == forwarding && (s.cut || s.maxSID != s.frame.sid && !s.mayLower())
}

// SetTarget sets the wanted rung. Paused takes effect at once, a rung with its next key frame. Values that are no rung are ignored.
func (s *Switch) SetTarget(rung int8) {
	switch {
	case rung < Paused || rung >= MaxRungs:
	case rung == Paused:
		s.stop()
		s.state, s.target = paused, Paused
	case rung == s.current:
		s.state, s.target = forwarding, rung
	default:
		s.state, s.target = switchAtNextKeyFrame, rung
	}
}

// SetMaxTID limits the temporal layers. Fewer: from the next frame on. More: from the next frame on that allows it.
func (s *Switch) SetMaxTID(tid uint8) { s.maxTID = tid }

// SetMaxSID limits the spatial layers (SVC), AllLayers for streams that have one. More: with the next key frame. Fewer: from the next
// picture on, if the frames of the lower layers were forwarded all the time; else, as in L3T3_KEY, with the next key frame too.
func (s *Switch) SetMaxSID(sid uint8) { s.maxSID = sid }

// MaxSID returns the wanted limit of spatial layers.
func (s *Switch) MaxSID() uint8 { return s.maxSID }

// Cut leaves out what follows the picture that is being forwarded, up to the target's next key frame. Unlike with a pause, no picture is
// torn: what is late of the last ones still comes.
func (s *Switch) Cut() { s.cut = s.current != Paused }

// IsCut reports whether the current rung is left out, up to the next key frame.
func (s *Switch) IsCut() bool { return s.cut }

// Reset says that the stream of a rung ended or goes on with other numbers (a new SSRC). If it was being forwarded, the switch waits
// for a key frame of its target.
func (s *Switch) Reset(rung int8) {
	if rung < 0 || rung >= MaxRungs {
		return
	}
	if rung == s.current {
		s.stop()
		s.state = switchAtNextKeyFrame
	}
	s.clocks[rung], s.tops[rung] = clock{}, 0
	s.records.forget(rung)
}

// stop ends forwarding of the current rung.
func (s *Switch) stop() {
	if s.current == Paused {
		return
	}
	s.tops[s.current] = s.top
	s.current, s.cut = Paused, false
}

// Next decides about one packet, with Layer, ExtSeq and the descriptor's fields set. ok is false if it is not for this subscriber; its
// number is then closed up, see also Out.Fill.
//
// After an Out with Switched, later packets of the same stream may have come before (reordered, or the first packet was repaired):
// the caller passes those with greater ExtSeq again, from its ring.
func (s *Switch) Next(p *packet.Packet) (o Out, ok bool) {
	if p.Layer != s.current || p.Layer < 0 || p.Codec != s.codec {
		if s.begins(p) {
			return s.begin(p), true
		}
		return Out{}, false
	}
	step := p.ExtSeq - s.top
	if step-1 >= maxGap {
		if int64(step) <= 0 {
			return s.late(p)
		}
		s.rebase(p.ExtSeq)
	}
	if p.ExtSeq/64 != s.top/64 {
		s.drops.advance(s.top, p.ExtSeq)
	}
	s.top = p.ExtSeq
	if p.PaddingOnly() {
		s.drop()
		return Out{}, false
	}
	f := &s.frame
	if p.TS != f.in {
		if p.Start && p.Key && (s.cut && s.state == forwarding || s.jumps(p)) {
			return s.begin(p), true
		}
		s.nextFrame(p)
	}
	if !f.takes(p) {
		s.leaveOut(f, p)
		s.drop()
		return Out{}, false
	}
	if f.out != s.sent.ts || !s.sent.any {
		s.note(f, p)
	}
	seq := uint16(p.ExtSeq - s.offset)
	if seq-s.sent.nextSeq > maxGap { // gaps between packets that were dropped add up
		s.first, s.offset, s.drops = p.ExtSeq, p.ExtSeq-uint64(s.sent.nextSeq), dropWindow{}
		seq = s.sent.nextSeq
	}
	r := s.send(p, f, seq)
	return Out{
		Seq: seq, TS: r.ts, Frame: r.frame, PictureID: r.pic, TL0: r.tl0, Marker: r.kind&recordMarker != 0,
		Limited: r.limited, SID: r.sid, TID: r.tid,
	}, true
}

// begins reports whether forwarding begins, or goes on in another codec, with p.
func (s *Switch) begins(p *packet.Packet) bool {
	if !p.Start || !p.Key || p.ExtSeq == 0 || p.Layer < 0 {
		return false
	}
	if p.Layer == s.current { // in another codec: the publisher changed it
		return int64(p.ExtSeq-s.top) > 0
	}
	// A key frame of which some went out before the rung was left does not go out again.
	return s.state == switchAtNextKeyFrame && p.Layer == s.target && int64(p.ExtSeq-s.tops[p.Layer]) > 0
}

// jumps reports whether the counters of the key frame of p would not go on from what was sent: the publisher's encoder started anew.
func (s *Switch) jumps(p *packet.Packet) bool {
	back := func(d uint16, bits int) bool { d <<= 16 - bits; return int16(d) <= 0 }
	switch {
	case p.DD.Len != 0 && s.sent.hasDD && back(p.Frame+s.frameOffset-s.sent.frame, 16),
		p.TL0At != 0 && s.sent.hasTL0 && back(uint16(uint8(p.TL0)+s.tl0Offset-s.sent.tl0), 8):
		return true
	case p.PictureIDAt == 0 || !s.sent.hasPic:
		return false
	case p.PictureIDWide:
		return back(p.PictureID-s.frame.picNext-s.sent.pic, 15)
	}
	return back(p.PictureID-s.frame.picNext-s.sent.pic, 7)
}

// leaveOut notes that a layer below the shown one misses a frame.
func (s *Switch) leaveOut(f *frame, p *packet.Packet) {
	if p.SID < f.sid && f.sid != AllLayers && p.TID <= f.limit {
		s.skipped |= 1 << p.SID
	}
}

// drop closes the number of the newest packet up.
func (s *Switch) drop() {
	s.drops.add(s.top)
	s.offset++
}

// begin switches to the rung of p, the first packet of a key frame.
func (s *Switch) begin(p *packet.Packet) Out {
	s.stop()
	if s.records == nil {
		s.records = newRecords(p.Codec)
	}
	s.current, s.codec = p.Layer, p.Codec
	if s.current == s.target {
		s.state = forwarding
	}
	s.first, s.top, s.offset = p.ExtSeq, p.ExtSeq, p.ExtSeq-uint64(s.sent.nextSeq)
	s.drops, s.frames, s.skipped = dropWindow{}, history{}, 0
	s.tsOffset = s.align(p)
	s.frame = frame{in: p.TS, out: s.rise(p), limit: s.maxTID, sid: s.maxSID}
	s.frame.limited = s.frame.limits()
	if p.PictureIDAt != 0 && s.sent.hasPic {
		s.frame.pic = p.PictureID - (s.sent.pic + 1)
		s.frame.picNext = s.frame.pic
	}
	s.frameOffset, s.tl0Offset = 0, 0
	if p.DD.Len != 0 && s.sent.hasDD {
		s.frameOffset = s.sent.frame + 1 - p.Frame
	}
	if p.TL0At != 0 && s.sent.hasTL0 {
		s.tl0Offset = s.sent.tl0 + 1 - uint8(p.TL0)
	}
	s.sent.rung = p.Layer
	s.frames.push(&s.frame)
	s.note(&s.frame, p)
	o := s.send(p, &s.frame, s.sent.nextSeq).out()
	o.Switched = true
	return o
}

// rebase takes a jump of the stream's numbers out: ext gets the next outgoing number. Packets from before it are too late.
func (s *Switch) rebase(ext uint64) {
	s.offset += ext - s.top - 1
	s.first, s.top = ext, ext-1
	s.drops = dropWindow{}
}

// nextFrame decides about the picture that p is the first packet to come of.
func (s *Switch) nextFrame(p *packet.Packet) {
	f := frame{in: p.TS, out: s.rise(p), pic: s.frame.picNext, picNext: s.frame.picNext, limit: s.nextLimit(p), sid: s.frame.sid, cut: s.cut}
	switch {
	case p.Start && p.Key:
		f.sid, s.skipped = s.maxSID, 0
	case s.mayLower():
		f.sid = s.maxSID
	}
	f.limited = f.limits() || s.frame.limited && !(p.Start && p.Key)
	if !f.takes(p) {
		f.close(p)
	}
	s.frame = f
	s.frames.push(&f)
}

// mayLower reports whether a lower spatial layer is wanted that can be shown without a key frame.
func (s *Switch) mayLower() bool {
	return s.maxSID < s.frame.sid && s.skipped&(uint8(2)<<(s.maxSID&7)-1) == 0
}

// nextLimit returns the limit of temporal layers from the frame of p on.
func (s *Switch) nextLimit(p *packet.Packet) uint8 {
	limit := s.frame.limit
	switch {
	case s.maxTID <= limit || p.Start && p.Key:
		return s.maxTID
	case p.SwitchTID > p.TID && p.TID <= limit: // layers above may be added after this frame
		return max(limit, min(s.maxTID, p.SwitchTID))
	case p.SwitchTID == p.TID && p.TID == limit+1: // this frame needs only what lies below
		return p.TID
	}
	return limit
}

// note remembers the newest picture that goes out.
func (s *Switch) note(f *frame, p *packet.Packet) {
	s.sent.any = true
	s.sent.ts, s.sent.at = f.out, p.Arrival
	if p.PictureIDAt != 0 {
		s.sent.hasPic, s.sent.pic = true, p.PictureID-f.pic
	}
	if p.TL0At != 0 {
		s.sent.hasTL0, s.sent.tl0 = true, uint8(p.TL0)+s.tl0Offset
	}
}

// send fixes the new values of a packet of frame f and keeps them for a retransmission. The record is written field by field and the
// Out made from it: building either as a value and copying it costs as much as all the rest.
func (s *Switch) send(p *packet.Packet, f *frame, seq uint16) *record {
	r := &s.records[int(seq)&(len(s.records)-1)]
	r.ext, r.ts, r.seq, r.kind = uint32(p.ExtSeq), f.out, seq, uint8(s.current)+recordRung0
	if p.Marker || p.End && p.SID == f.sid { // above it nothing follows for this subscriber
		r.kind |= recordMarker
	}
	r.pic, r.tl0, r.frame = (p.PictureID-f.pic)&0x7fff, uint8(p.TL0)+s.tl0Offset, 0
	r.limited, r.sid, r.tid = f.limited, f.sid, f.limit
	if p.DD.Len != 0 {
		r.frame = p.Frame + s.frameOffset
		if int16(r.frame-s.sent.frame) > 0 || !s.sent.hasDD {
			s.sent.hasDD, s.sent.frame = true, r.frame
		}
	}
	if int16(seq-s.sent.nextSeq) >= 0 {
		s.sent.nextSeq = seq + 1
	}
	return r
}

// fill uses up a number that no packet gets.
func (s *Switch) fill(seq uint16) Out {
	s.records[int(seq)&(len(s.records)-1)] = record{seq: seq, kind: recordFill}
	if int16(seq-s.sent.nextSeq) >= 0 {
		s.sent.nextSeq = seq + 1
	}
	return Out{Seq: seq, TS: s.sent.ts, Fill: true}
}

// late decides about a packet that is not newer than the newest: its number, if it is to have one, was left open.
func (s *Switch) late(p *packet.Packet) (Out, bool) {
	age := s.top - p.ExtSeq
	if p.ExtSeq < s.first || age >= uint64(len(s.records)) || age >= dropWindowSize || s.drops.has(p.ExtSeq) {
		return Out{}, false
	}
	seq := uint16(p.ExtSeq - (s.offset - s.drops.after(p.ExtSeq, s.top)))
	if s.records.used(seq) || s.sent.nextSeq-seq > dropWindowSize && seq-s.sent.nextSeq > maxGap {
		return Out{}, false
	}
	if !p.PaddingOnly() {
		f := &s.frame
		if p.TS != f.in {
			f = s.frames.lookup(p)
		}
		switch {
		case f == nil:
		case f.cut && p.Start && p.Key && s.state == forwarding:
			return s.begin(p), true
		case !f.takes(p):
			s.leaveOut(f, p)
		default:
			if int32(f.out-s.sent.ts) > 0 { // what came after it was all dropped
				s.note(f, p)
			}
			return s.send(p, f, seq).out(), true
		}
	}
	if s.cut && int16(seq-s.sent.nextSeq) >= 0 { // what follows begins with this number, or a lower one
		return Out{}, false
	}
	return s.fill(seq), false
}

// Repair returns what went out as number out, exactly as first sent: the packet is in the ring of rung under ext. ok is false if
// the number was not used, or is older than the last 512 (audio: 64).
func (s *Switch) Repair(out uint16) (rung int8, ext uint64, o Out, ok bool) {
	r := s.records.get(out)
	if r == nil {
		return 0, 0, Out{}, false
	}
	rung = int8(r.kind&^recordMarker - recordRung0)
	top := s.tops[rung]
	if rung == s.current {
		top = s.top
	}
	ext = top - uint64(uint32(top)-r.ext)
	return rung, ext, r.out(), true
}
