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
	pts   [packet.AV1 + 1]struct{ pt, rtx, rate uint32 }

	track   *track // nil: free
	wish    Wish
	sw      layer.Switch
	rung    int8   // forwarded rung as last told by an event
	shift   uint32 // outgoing minus incoming timestamp of the last packet
	rtxSeq  uint16
	sent    report.Sender
	told    uint32    // packets at the last sender report
	rate    uint32    // clock rate of the last packet's codec
	keySent time.Time // when the last key frame began to leave

	repaired [repairMemory]struct {
		seq uint16
		at  time.Time
	}
}

// configure takes over payload types.
func (s *slot) configure(def Slot) {
	s.Slot = def
	clear(s.pts[:])
	for _, c := range def.Codecs {
		if int(c.Codec) < len(s.pts) && s.pts[c.Codec].pt == 0 && s.pts[c.Codec].rate == 0 {
			s.pts[c.Codec].pt, s.pts[c.Codec].rtx, s.pts[c.Codec].rate = uint32(c.PT), uint32(c.RTX), c.ClockRate
		}
	}
}

// takes reports whether the slot can carry a track: same kind, and a codec that both sides know.
func (s *slot) takes(t *track) bool {
	if s.Kind != t.source.Kind() {
		return false
	}
	for _, c := range t.def.Codecs {
		if int(c.Codec) < len(s.pts) && s.pts[c.Codec].rate != 0 {
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
	for i, sub := range s.track.subs {
		if sub == s {
			s.track.subs = append(s.track.subs[:i], s.track.subs[i+1:]...)
			break
		}
	}
	s.track = nil
	s.restart()
}

// restart makes the switch forget its streams.
func (s *slot) restart() {
	s.sw.SetTarget(layer.Paused)
	for i := range int8(layer.MaxRungs) {
		s.sw.Reset(i)
	}
	s.rung = layer.Paused
}

// forward decides on one packet for one subscriber and sends it or lets it wait. q is in a ring.
func (r *Room) forward(now time.Time, s *slot, q *packet.Packet, out *Batch) {
	o, ok := s.sw.Next(q)
	if !ok {
		return
	}
	if o.Switched {
		r.switched(s, out)
	}
	pt := s.pts[q.Codec]
	if pt.rate == 0 {
		r.drop(DropCodec)
		return
	}
	s.shift, s.rate = o.TS-q.TS, pt.rate
	send := packet.Outgoing{
		Packet: q, Ext: q.ExtSeq,
		SSRC: s.SSRC, TS: o.TS, Seq: o.Seq, PT: uint8(pt.pt), Marker: q.Marker,
		Frame: o.Frame, PictureID: o.PictureID, TL0: o.TL0,
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

// send puts one packet into the batch.
func (r *Room) send(now time.Time, p *peer, o *packet.Outgoing, size int, kind Kind, out *Batch) {
	if p.ext.TransportCC != 0 {
		o.TransportSeq = p.transport
		p.transport++
		p.estimator.OnSent(now, o.TransportSeq, size, 0)
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
		r.send(now, p, &it.Outgoing, it.Size, Video, out)
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
	rung := s.sw.Current()
	if rung == s.rung {
		return
	}
	if s.Kind == Video {
		r.stats.LayerSwitches++
		out.Events = append(out.Events, LayerSwitched{s.peer.id, s.track.peer.id, s.track.source, s.rung, rung})
	}
	s.rung = rung
}
