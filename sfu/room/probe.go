package room

import (
	"time"

	"sotto/sfu/bwe"
	"sotto/sfu/packet"
)

const (
	// probeSlice is how much of a probe leaves at once; the same as a slice of the pacer.
	probeSlice = 5 * time.Millisecond
	// probePadding is the longest padding of a packet (RFC 3550 5.1).
	probePadding = 255
	// probeReach is how many packets before the newest one are sent again in a probe.
	probeReach = 64
	// probeBurst bounds the packets of one call.
	probeBurst = 32
)

// probing is a probe that is being sent. Media counts for it; what is missing at its rate is filled with retransmissions of
// recent packets, which may still repair something, and where there are none with padding on an RTX stream.
type probing struct {
	bwe.Probe // ID 0: none
	began     time.Time
	sent      int
	back      uint16 // how far behind the newest packet the next retransmission is taken
}

// startProbe begins what the estimator asks for.
func (r *Room) startProbe(now time.Time, p *peer, probe bwe.Probe, out *Batch) {
	if probe.ID == 0 || p.ext.TransportCC == 0 {
		return
	}
	p.probing = probing{Probe: probe, began: now}
	r.probe(now, p, out)
}

// probe sends what is due of a probe.
func (r *Room) probe(now time.Time, p *peer, out *Batch) {
	b := &p.probing
	if b.ID == 0 {
		return
	}
	due := b.Rate.Bytes(now.Sub(b.began) + probeSlice)
	for range probeBurst {
		if b.sent >= b.Bytes || b.sent >= due {
			break
		}
		if !r.probePacket(now, p, out) {
			*b = probing{} // nothing to send it with: the estimator notices that nothing came
			return
		}
	}
	if b.sent >= b.Bytes {
		*b = probing{}
		return
	}
	r.wake(now.Add(probeSlice))
}

// probePacket sends one packet that carries nothing new.
func (r *Room) probePacket(now time.Time, p *peer, out *Batch) bool {
	var carrier *slot
	for _, s := range p.slots {
		if s.Kind != Video || s.RTXSSRC == 0 {
			continue
		}
		if s.track != nil && s.sw.Current() >= 0 {
			if r.probeRepeat(now, p, s, out) {
				return true
			}
		}
		if carrier == nil || carrier.track == nil && s.track != nil {
			carrier = s
		}
	}
	if carrier == nil {
		return false
	}
	for i := range carrier.formats {
		if f := &carrier.formats[i]; f.RTX != 0 {
			send := packet.Outgoing{SSRC: carrier.RTXSSRC, Seq: carrier.rtxSeq, PT: f.RTX, Padding: probePadding}
			carrier.rtxSeq++
			size := send.Size(&p.ext) + sealOverhead
			p.pacer.Bypass(now, size)
			r.stats.Probes.add(size)
			r.send(now, p, &send, size, Video, out)
			return true
		}
	}
	return false
}

// probeRepeat sends the next recent packet of a slot once more: one that has left, or the receiver would miss those that still wait.
func (r *Room) probeRepeat(now time.Time, p *peer, s *slot, out *Batch) bool {
	for range probeReach {
		p.probing.back = p.probing.back%probeReach + 1
		seq := s.left - p.probing.back + 1
		rung, ext, o, ok := s.sw.Repair(seq)
		if !ok || rung < 0 || int(rung) >= len(s.track.streams) {
			return false // no older ones either
		}
		st := s.track.streams[rung]
		if st == nil {
			return false
		}
		q := st.ring.Get(ext)
		if q == nil || s.formats[q.Codec].RTX == 0 {
			return false
		}
		if q.PaddingOnly() || int(q.PayloadEnd-q.PayloadAt) < probePadding {
			continue // padding is as good
		}
		size := r.again(now, s, q, ext, seq, o, out)
		r.stats.Probes.add(size)
		return true
	}
	return false
}
