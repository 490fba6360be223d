package room

import (
	"slices"
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/layer"
	"sotto/sfu/packet"
)

const (
	// repairMemory is how many retransmissions of a slot are remembered, to refuse them within a round trip.
	repairMemory = 128
	// maxAsked bounds the numbers of one RTCP compound that are answered.
	maxAsked = 256
	// repairOverhead is about what headers, extensions and the seal add to a payload.
	repairOverhead = 12 + 12 + 2 + sealOverhead
	// abandonedFor is how long numbers of an ended layer may be asked for.
	abandonedFor = 2 * time.Second
	// minRepairGap is the least time between two retransmissions of one packet.
	minRepairGap = 20 * time.Millisecond
)

// watchLoss notes a packet for the loss detector and asks for what has proven missing.
func (r *Room) watchLoss(now time.Time, p *peer, s *stream, pkt *packet.Packet, out *Batch) {
	if s.track.source.Kind() == Audio {
		return // nobody negotiates NACK for audio: a late sound is worth nothing
	}
	s.loss.Received(now, pkt.ExtSeq)
	if pkt.Start && pkt.Key {
		s.given = s.loss.GivenUp() // nothing before it is needed
	} else {
		r.giveUp(now, s, out) // a gap that is too large to be asked for
	}
	if due := s.loss.Next(); !due.IsZero() {
		if now.Before(due) {
			r.wake(due)
		} else {
			r.ask(now, p, s, out)
		}
	}
}

// askMissing asks a publisher for what is due on all its streams.
func (r *Room) askMissing(now time.Time, p *peer, out *Batch) {
	for i := range p.incoming {
		if in := &p.incoming[i]; !in.rtx && !in.s.loss.Next().IsZero() {
			r.ask(now, p, in.s, out)
		}
	}
}

// ask asks for what is missing of a stream that somebody gets, or waits for: what nobody watches is not worth a repair.
func (r *Room) ask(now time.Time, p *peer, s *stream, out *Batch) {
	if !s.track.watched(s.layer) {
		s.loss.KeyFrame(s.unwrap.Top() + 1)
		return
	}
	r.nacks = s.loss.Missing(now, p.rtt, r.nacks[:0])
	r.wake(s.loss.Next())
	r.giveUp(now, s, out)
	if len(r.nacks) == 0 {
		return
	}
	slices.SortFunc(r.nacks, func(a, b uint16) int { return int(int16(a - b)) })
	r.stats.NACKsOut += uint64(len(r.nacks))
	out.RTCP = append(out.RTCP, Feedback{p.id, &rtcp.TransportLayerNack{
		SenderSSRC: p.ssrc, MediaSSRC: s.ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(r.nacks),
	}})
}

// giveUp asks for a key frame once something is missing of a stream for good. Its subscribers would do so in the end, but browsers
// wait three seconds for a frame first.
func (r *Room) giveUp(now time.Time, s *stream, out *Batch) {
	before := s.given
	if s.given = s.loss.GivenUp(); s.given > before && s.track.watched(s.layer) {
		r.askKey(now, s, out)
	}
}

// watched reports whether a layer is forwarded to anybody, or about to be.
func (t *track) watched(layer int8) bool {
	for _, s := range t.subs {
		if s.sw.Current() == layer || s.sw.Target() == layer {
			return true
		}
	}
	return false
}

// onNACK answers a subscriber's request with retransmissions. asked counts the numbers of the compound so far.
func (r *Room) onNACK(now time.Time, p *peer, n *rtcp.TransportLayerNack, asked int, out *Batch) int {
	s := p.slotOf(n.MediaSSRC)
	if s == nil {
		r.stats.FeedbackInvalid++
		return asked
	}
	p.repairs.rate = repairBudget(p.estimator.Estimate())
	for _, pair := range n.Nacks {
		seq, rest := pair.PacketID, pair.LostPackets
		for more := true; more; {
			if asked >= maxAsked {
				return asked
			}
			asked++
			r.stats.NACKsIn++
			if !r.repair(now, s, seq, out) {
				r.stats.RTXRefused++
			}
			// The next set bit of the mask, RFC 4585 6.2.1.
			more = rest != 0
			for seq++; more && rest&1 == 0; seq++ {
				rest >>= 1
			}
			rest >>= 1
		}
	}
	return asked
}

// repair sends one packet again, on the slot's RTX stream and under a new number there.
func (r *Room) repair(now time.Time, s *slot, seq uint16, out *Batch) bool {
	if s.track == nil || s.RTXSSRC == 0 {
		return false
	}
	if now.Sub(s.abandonedAt) < abandonedFor && int16(seq-s.abandoned) <= 0 {
		return false
	}
	p := s.peer
	if s.repaired == nil { // most slots never lose a packet
		s.repaired = make([]repaired, repairMemory)
	}
	memory := &s.repaired[seq%repairMemory]
	if memory.seq == seq && !memory.at.IsZero() && now.Sub(memory.at) < max(p.rtt, minRepairGap) {
		return false // on its way
	}
	rung, ext, o, ok := s.sw.Repair(seq)
	if !ok || rung < 0 || int(rung) >= len(s.track.streams) {
		return false
	}
	st := s.track.streams[rung]
	if st == nil || ext < st.key.ext && s.keySent.After(st.key.at.Add(-time.Nanosecond)) {
		return false // the receiver goes on with the key frame after it
	}
	q := st.ring.Get(ext)
	if q == nil || s.formats[q.Codec].RTX == 0 {
		return false
	}
	copies := 1
	if memory.seq == seq && !memory.at.IsZero() {
		copies = 2 // the last one was lost too: a third request would come too late for a picture without a gap
	}
	memory.seq, memory.at = seq, now
	for i := range copies {
		if !p.repairs.take(now, int(q.PayloadEnd-q.PayloadAt)+repairOverhead) {
			return i > 0
		}
		r.stats.RTXOut++
		r.again(now, s, q, ext, seq, o, out)
	}
	return true
}

// again sends a packet that went out as number seq once more, on the slot's RTX stream and under a new number there. It
// returns the bytes sent.
func (r *Room) again(now time.Time, s *slot, q *packet.Packet, ext uint64, seq uint16, o layer.Out, out *Batch) int {
	p := s.peer
	send := packet.Outgoing{
		Packet: q, Ext: ext,
		SSRC: s.RTXSSRC, TS: o.TS, Seq: s.rtxSeq, PT: s.formats[q.Codec].RTX, Marker: o.Marker,
		Frame: o.Frame, Targets: s.targets(q, &o), PictureID: o.PictureID, TL0: o.TL0, RTX: true, OSN: seq,
	}
	size := send.Size(&p.ext) + sealOverhead
	s.rtxSeq++
	p.pacer.Bypass(now, size)
	r.send(now, p, &send, size, s.Kind, out)
	return size
}
