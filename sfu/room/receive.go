package room

import (
	"errors"
	"time"

	"sotto/sfu/loss"
	"sotto/sfu/packet"
	"sotto/sfu/report"
	"sotto/sfu/seq"
)

// HandleRTP takes one packet that from sent, as packet.Parse left it. p.Raw may be overwritten once HandleRTP has returned.
//
// The order matters: transport feedback sees every packet, whatever becomes of it; duplicates end before anything that
// counts or forwards, since a second packet with one number would be sealed under the same nonce; what is muted is counted
// as received but never stored.
func (r *Room) HandleRTP(now time.Time, from PeerID, p *packet.Packet, out *Batch) {
	pub := r.find(from)
	if pub == nil {
		r.drop(DropUnknownPeer)
		return
	}
	if p.HasTransportSeq {
		pub.recorder.Received(p.Arrival, p.TransportSeq)
		pub.lastSSRC = p.SSRC
		r.wake(pub.recorder.Next())
	}
	s, reason := r.identify(now, pub, p)
	if s == nil {
		r.drop(reason)
		return
	}
	t := s.track
	kind := t.source.Kind()
	r.stats.In[kind].add(len(p.Raw))

	p.ExtSeq = s.unwrap.Unwrap(p.Seq)
	if !s.window.Add(p.ExtSeq) && !r.resync(now, s, p, out) {
		r.drop(DropDuplicate)
		return
	}
	codec, rtx := t.codec(p.PT)
	if codec == nil || rtx {
		r.drop(DropPayloadType)
		return
	}
	p.Codec, p.Layer = codec.Codec, s.layer
	if p.Repaired {
		r.stats.RTXIn++
	} else {
		s.recv.Received(p.Arrival, p.ExtSeq, p.TS, codec.ClockRate)
		s.contested = false
	}
	if !s.live || pub.asked[t.source].raised.After(s.last) {
		s.rate.resume(now)
	}
	s.last = now
	if pub.muted[t.source] {
		r.drop(DropMuted)
		return
	}
	if !pub.in[kind].take(now, max(len(p.Raw), minCharge)) {
		if kind == Video {
			s.loss.Received(now, p.ExtSeq) // asking for it again would make it worse
		}
		r.drop(DropRate)
		return
	}
	if err := s.desc.Read(p); err != nil {
		r.drop(DropDescriptor)
		return
	}
	if !t.started || !s.live && !t.live() { // its layers begin together
		t.since, t.holding = now, t.layers() > 1
	}
	if !t.started {
		t.started = true
		out.Events = append(out.Events, TrackStarted{pub.id, t.source})
	}
	s.temporal.note(p.TID, len(p.Raw))
	rolled := s.rate.add(now, p.Start && p.SID == 0, len(p.Raw))
	relayered := s.spatial.note(now, &s.desc, p)
	if rolled && s.temporal.roll() {
		r.layersChanged(now, t, out)
	}
	r.watchLoss(now, pub, s, p, out)
	r.watchKey(now, s, p)
	q := s.ring.Put(p)
	if q == nil {
		r.drop(DropTooOld)
		return
	}
	known := t.holding && (int(s.layer) >= t.top() || now.Sub(t.since) >= startWait)
	if known {
		t.holding = false
	}
	if known || !s.live || relayered {
		s.live = true
		if !t.holding {
			r.layersChanged(now, t, out)
		}
	}
	for _, sub := range t.subs {
		r.forward(now, sub, s, q, out)
	}
}

// resync begins a stream anew when its numbers went back for good: two packets in a row that are older than any that could
// be late (RFC 3550 A.1, bad_seq). It reports whether it did; p is then the first packet.
func (r *Room) resync(now time.Time, s *stream, p *packet.Packet, out *Batch) bool {
	if p.Repaired || s.unwrap.Top()-p.ExtSeq < seq.WindowSize {
		return false
	}
	again := s.badSeen && p.Seq == s.badSeq+1
	s.badSeen, s.badSeq = true, p.Seq
	if !again || now.Sub(s.latched) < relatchAfter {
		return false
	}
	s.latched, s.badSeen = now, false
	s.unwrap, s.window = seq.Unwrapper{}, seq.Window{}
	s.loss, s.recv, s.expected, s.lost = loss.Detector{}, report.Receiver{}, 0, 0
	s.key.ext = 0
	s.ring.Reset()
	p.ExtSeq = s.unwrap.Unwrap(p.Seq)
	s.window.Add(p.ExtSeq)
	for _, sub := range s.track.subs {
		sub.sw.Reset(s.layer)
		r.wantKey(now, sub, out)
	}
	return true
}

// identify finds the stream of a packet and restores a retransmitted one.
func (r *Room) identify(now time.Time, pub *peer, p *packet.Packet) (*stream, DropReason) {
	in := pub.latched(p.SSRC)
	if in == nil {
		var reason DropReason
		if in, reason = r.latch(now, pub, p); in == nil {
			return nil, reason
		}
	}
	if !in.rtx {
		return in.s, 0
	}
	for i := range in.s.track.def.Codecs {
		if c := &in.s.track.def.Codecs[i]; c.RTX == p.PT {
			switch err := p.UnwrapRTX(in.s.ssrc, c.PT); {
			case err == nil:
				return in.s, 0
			case errors.Is(err, packet.ErrPadding):
				return nil, DropEmpty // a bandwidth probe
			default:
				return nil, DropRTX
			}
		}
	}
	return nil, DropPayloadType
}

// latch ties a new SSRC to a layer, or to the retransmissions of one.
func (r *Room) latch(now time.Time, pub *peer, p *packet.Packet) (*incoming, DropReason) {
	t, layer, rtx := pub.locate(p)
	if t == nil || layer < 0 {
		t, layer, rtx = pub.returning(p.SSRC)
	}
	if t == nil || layer < 0 || layer >= len(t.streams) {
		return nil, DropUnknownStream
	}
	s := t.streams[layer]
	if rtx {
		if s == nil || s.foreign(now, p.SSRC) {
			return nil, DropRTX // nothing to restore yet
		}
		for i := range pub.incoming {
			if in := &pub.incoming[i]; in.s == s && in.rtx {
				in.ssrc = p.SSRC // one repair stream per stream: the newest
				return in, 0
			}
		}
		return pub.add(incoming{p.SSRC, true, s})
	}
	if c, _ := t.codec(p.PT); c == nil {
		return nil, DropPayloadType
	}
	var formerRTX uint32
	if s != nil {
		if now.Sub(s.latched) < relatchAfter {
			s.contested = true
			return nil, DropUnknownStream
		}
		for _, in := range pub.incoming {
			if in.s == s && in.rtx {
				formerRTX = in.ssrc
			}
		}
		pub.unlatch(s)
	}
	fresh := newStream(now, p.SSRC, t, int8(layer))
	fresh.restarted, fresh.formerRTX = s != nil, formerRTX
	in, reason := pub.add(incoming{p.SSRC, false, fresh})
	if in == nil {
		return nil, reason
	}
	t.streams[layer] = fresh
	if s != nil { // the publisher restarted: numbers and clock begin anew
		for _, sub := range t.subs {
			sub.sw.Reset(fresh.layer)
		}
	}
	return in, 0
}

// foreign reports whether an unknown repair stream may belong to the stream before a restart, or to the one after it that is not let in
// yet: it would put packets of another stream among those of s.
func (s *stream) foreign(now time.Time, rtx uint32) bool {
	if s.formerRTX != 0 {
		return rtx == s.formerRTX || s.contested
	}
	return s.restarted && now.Sub(s.latched) < relatchAfter || s.contested
}

func (p *peer) add(in incoming) (*incoming, DropReason) {
	if len(p.incoming) >= p.maxStreams {
		return nil, DropStreamLimit
	}
	p.incoming = append(p.incoming, in)
	return &p.incoming[len(p.incoming)-1], 0
}

// layersChanged lets a track's subscribers choose again at once.
func (r *Room) layersChanged(now time.Time, t *track, out *Batch) {
	for _, sub := range t.subs {
		r.allocate(now, sub.peer, out)
	}
}
