package room

import (
	"time"

	"sotto/sfu/layer"
	"sotto/sfu/pace"
	"sotto/sfu/packet"
	"sotto/sfu/report"
)

// sealOverhead is what SRTP adds to a packet: the tag of AES-GCM (RFC 7714).
const sealOverhead = 16

// slot is one receiving m-line of a peer and, while a track is in it, the subscription to that track. The outgoing stream's
// numbers go on over tracks: one (SSRC, sequence number) is sent once in the life of the session.
type slot struct {
	Slot
	peer  *peer
	index uint16 // in the peer's list
	// formats are the payload types by codec; a ClockRate of 0 is none.
	formats [packet.AV1 + 1]PayloadType

	track   *track // nil: free
	wish    Wish
	sw      layer.Switch
	rung    int8 // forwarded rung as last told by an event
	rtxSeq  uint16
	sent    report.Sender
	told    uint32    // packets at the last sender report
	heard   heard     // the last reception report
	keySent time.Time // when the last key frame began to leave
	left    uint16    // newest number that has left; others may wait in the pacer
	tid     uint8     // limit of temporal layers, layer.AllLayers if there is none
	short   bool      // less than wanted fits the estimate
	why     PauseReason
	// abandoned is the newest number when the layer was ended in the middle; nothing up to it is worth repairing.
	abandoned   uint16
	abandonedAt time.Time

	repaired []repaired // nil before the first; repairMemory of them by number
}

// repaired says when a packet was sent again.
type repaired struct {
	seq uint16
	at  time.Time
}

// heard is what a reception report said, and how many packets had been sent then.
type heard struct{ highest, lost, sent uint32 }

// configure takes over payload types.
func (s *slot) configure(def Slot) {
	s.Slot = def
	clear(s.formats[:])
	for _, c := range def.Codecs {
		if int(c.Codec) < len(s.formats) && s.formats[c.Codec].ClockRate == 0 {
			s.formats[c.Codec] = c // the first is the preferred one
		}
	}
}

// takes reports whether the slot can carry a track: same kind, and a codec that both sides know.
func (s *slot) takes(t *track) bool {
	if s.Kind != t.source.Kind() {
		return false
	}
	for _, c := range t.def.Codecs {
		if int(c.Codec) < len(s.formats) && s.formats[c.Codec].ClockRate != 0 {
			return true
		}
	}
	return false
}

// release empties the slot; the switch waits for a new stream and its numbers go on.
func (s *slot) release() {
	if s.track == nil {
		return
	}
	s.track.constraint().stale = true
	for i, sub := range s.track.subs {
		if sub == s {
			s.track.subs = append(s.track.subs[:i], s.track.subs[i+1:]...)
			break
		}
	}
	s.track = nil
	s.peer.moved = true
	s.restart()
}

// restart makes the switch forget its streams.
func (s *slot) restart() {
	s.tid = layer.AllLayers
	s.sw.SetMaxTID(s.tid)
	s.sw.SetTarget(layer.Paused)
	s.sw.SetMaxSID(layer.AllLayers)
	for i := range int8(layer.MaxRungs) {
		s.sw.Reset(i)
	}
	s.rung = layer.Paused
}

// forward decides on one packet for one subscriber and sends it or lets it wait. q is in the ring of st.
func (r *Room) forward(now time.Time, s *slot, st *stream, q *packet.Packet, out *Batch) {
	o, ok := s.sw.Next(q)
	switch {
	case ok:
	case o.Fill:
		r.fill(now, s, q, o, out)
		return
	default:
		if q.Layer == s.sw.Current() && (q.TID > r.thin.tid && q.TID <= s.tid || s.sw.IsCut()) {
			r.drop(DropThin)
		}
		return
	}
	r.emit(now, s, q, o, out)
	if s.shown() != s.rung {
		r.switched(s, out)
	}
	if !o.Switched {
		return
	}
	// The first packet of the key frame may have come after others of its frame: reordered, or repaired.
	for ext := q.ExtSeq + 1; ext <= st.unwrap.Top(); ext++ {
		if later := st.ring.Get(ext); later != nil {
			if o, ok := s.sw.Next(later); ok {
				r.emit(now, s, later, o, out)
			}
		}
	}
}

// emit sends one packet with its new numbers, at once or through the pacer.
func (r *Room) emit(now time.Time, s *slot, q *packet.Packet, o layer.Out, out *Batch) {
	format := &s.formats[q.Codec]
	if format.ClockRate == 0 {
		r.drop(DropCodec)
		return
	}
	send := packet.Outgoing{
		Packet: q, Ext: q.ExtSeq,
		SSRC: s.SSRC, TS: o.TS, Seq: o.Seq, PT: format.PT, Marker: o.Marker,
		Frame: o.Frame, Targets: s.targets(q, &o), PictureID: o.PictureID, TL0: o.TL0,
	}
	p := s.peer
	size := send.Size(&p.ext) + sealOverhead
	s.sent.Sent(int(q.PayloadEnd - q.PayloadAt))
	if s.Kind == Audio {
		p.pacer.Bypass(now, size)
		r.send(now, p, &send, size, Audio, out)
		return
	}
	if q.Key && q.Start {
		s.keySent = now
	}
	if p.pacer.Pass(now, size) {
		s.left = send.Seq
		r.send(now, p, &send, size, Video, out)
		return
	}
	if !p.pacer.Push(pace.NewItem(send, s.index, size)) {
		r.drop(DropQueue)
	}
	r.pump(now, p, out)
	if p.pacer.Overfull() {
		r.shed(now, p, out)
	}
}

// targets returns the decode targets that the subscriber of q may count on, 0 if it knows.
func (s *slot) targets(q *packet.Packet, o *layer.Out) uint32 {
	if !o.Limited || s.peer.ext.DependencyDescriptor == 0 {
		return 0
	}
	st := s.track.streams[q.Layer]
	if st == nil {
		return 0
	}
	return st.desc.Targets(q, o.SID, o.TID)
}

// fill closes a number that was left open for a packet which is not for this subscriber after all.
func (r *Room) fill(now time.Time, s *slot, q *packet.Packet, o layer.Out, out *Batch) {
	format := &s.formats[q.Codec]
	if format.ClockRate == 0 {
		return
	}
	send := packet.Outgoing{SSRC: s.SSRC, TS: o.TS, Seq: o.Seq, PT: format.PT, Padding: 1}
	size := send.Size(&s.peer.ext) + sealOverhead
	s.peer.pacer.Bypass(now, size)
	r.send(now, s.peer, &send, size, s.Kind, out)
}

// send puts one packet into the batch.
func (r *Room) send(now time.Time, p *peer, o *packet.Outgoing, size int, kind Kind, out *Batch) {
	if p.ext.TransportCC != 0 {
		o.TransportSeq = p.transport
		p.transport++
		p.estimator.OnSent(now, o.TransportSeq, size, p.probing.ID)
		p.probing.sent += size
	}
	r.stats.Out[kind].add(size)
	out.Sends = append(out.Sends, Send{To: p.id, Outgoing: *o, Kind: kind})
}

// pump sends what the pacer lets go.
func (r *Room) pump(now time.Time, p *peer, out *Batch) {
	for {
		it, ok := p.pacer.Pop(now)
		if !ok {
			break
		}
		if it.Stale() {
			r.drop(DropStale)
			continue
		}
		if int(it.Slot) < len(p.slots) {
			p.slots[it.Slot].left = it.Seq
		}
		r.send(now, p, &it.Outgoing, it.Size, Video, out)
		out.Sends[len(out.Sends)-1].Paced = it.Held
	}
	r.wake(p.pacer.Next())
}

// shed shortens a queue that has grown too long: the highest layer goes first.
func (r *Room) shed(now time.Time, p *peer, out *Batch) {
	for p.pacer.Overfull() {
		shed := p.pacer.Shed()
		if shed.Packets == 0 {
			return
		}
		r.stats.Drops[DropQueue] += uint64(shed.Packets)
		p.dirty = true
		if shed.Broke && int(shed.Slot) < len(p.slots) {
			s := p.slots[shed.Slot]
			if s.track != nil && s.sw.Current() >= 0 {
				r.askKey(now, s.track.streams[s.sw.Current()], out)
			}
		}
	}
}

// switched tells that a subscriber's layer changed.
func (r *Room) switched(s *slot, out *Batch) {
	rung := s.shown()
	if rung == s.rung {
		return
	}
	if s.Kind == Video {
		r.stats.LayerSwitches++
		out.Events = append(out.Events, LayerSwitched{s.peer.id, s.track.peer.id, s.track.source, s.rung, rung})
	}
	s.rung = rung
}

// paused returns why a slot that carries a video track gets no picture. One that only waits for its key frame is not paused.
func (s *slot) paused(now time.Time) PauseReason {
	switch {
	case s.wish.Paused:
		return PauseWish
	case s.track.silent(now):
		return PauseSource
	case s.short && s.sw.Target() == layer.Paused:
		return PauseBandwidth
	}
	return NotPaused
}
