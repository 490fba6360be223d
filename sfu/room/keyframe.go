package room

import (
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/packet"
)

const (
	// keyEvery is the least time between two requests to one layer, and the wait before a request is repeated.
	keyEvery = 500 * time.Millisecond
	// keyShare is how long a request to one layer stands for the others of its track: browsers answer a request to one
	// VP8 layer with key frames on all of them.
	keyShare = 150 * time.Millisecond
	// keySpan bounds the requests to all layers of a track: two in this time, a third for a layer that the first did not
	// reach. So nobody can make a browser send more than two key frames a second of any layer.
	keySpan = time.Second
	// keyTries is how often a request of a subscriber is repeated without an answer.
	keyTries = 4
	// startWait is how long subscribers of a track that starts wait for its higher layers: more than the packets of one
	// simulcast picture are apart, less than a frame that anybody would miss.
	startWait = 30 * time.Millisecond
	// keyFresh is how old a key frame may be for a subscriber without a picture to begin with it, out of the ring: the few
	// frames since do not hold it up.
	keyFresh = 100 * time.Millisecond
	// maxRequests bounds the entries of one RTCP packet that are looked at.
	maxRequests = 32
)

// keyState is what a stream owes its subscribers.
type keyState struct {
	wanted bool
	asked  time.Time // last request to this layer
	tries  uint8
	ext    uint64    // first packet of the last key frame; 0: none seen
	at     time.Time // its arrival
}

// wantKey asks for the key frame that a subscription waits for.
func (r *Room) wantKey(now time.Time, s *slot, out *Batch) {
	if s.track == nil || s.Kind == Audio {
		return
	}
	rung, ok := s.sw.WantsKey()
	if !ok {
		return
	}
	st := s.track.streams[rung]
	if st != nil && s.sw.Current() < 0 && s.canBegin(now, st) {
		if q := st.ring.Get(st.key.ext); q != nil {
			r.forward(now, s, st, q, out) // with what followed
			return
		}
	}
	r.askKey(now, st, out)
}

// canBegin reports whether the last key frame of a stream is fresh and has not been sent to the slot before: receivers drop
// an encrypted frame that comes twice.
func (s *slot) canBegin(now time.Time, st *stream) bool {
	k := &st.key
	return k.ext != 0 && now.Sub(k.at) < keyFresh && s.keySent.Before(k.at) && !s.track.peer.muted[s.track.source]
}

// askKey asks a publisher for a key frame, at once or when it may be asked again; not while one is being forwarded.
func (r *Room) askKey(now time.Time, s *stream, out *Batch) {
	if s == nil || s.track.peer.muted[s.track.source] || s.key.at.Equal(now) {
		return
	}
	if !s.key.wanted {
		s.key.wanted, s.key.tries = true, 0
	}
	r.tryKey(now, s, out)
}

// tryKey sends a wanted request if it may.
func (r *Room) tryKey(now time.Time, s *stream, out *Batch) {
	k, t := &s.key, s.track
	if !k.wanted {
		return
	}
	next := latest(k.asked.Add(keyEvery), t.asked[0].Add(keyShare))
	if first := t.asked[1]; first.Before(k.at) { // it brought this layer a key frame, too
		next = latest(next, first.Add(keySpan))
	} else {
		next = latest(next, t.asked[2].Add(keySpan))
	}
	if now.Before(next) {
		r.wake(next)
		return
	}
	if k.tries >= keyTries && !t.waiting(s.layer) {
		k.wanted = false
		return
	}
	k.asked, t.asked = now, [3]time.Time{now, t.asked[0], t.asked[1]}
	k.tries++
	r.stats.KeyRequestsOut++
	out.RTCP = append(out.RTCP, Feedback{t.peer.id, &rtcp.PictureLossIndication{SenderSSRC: t.peer.ssrc, MediaSSRC: s.ssrc}})
	r.wake(now.Add(keyEvery))
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// waiting reports whether a subscription cannot go on without a key frame of the layer.
func (t *track) waiting(layer int8) bool {
	for _, sub := range t.subs {
		if rung, ok := sub.sw.WantsKey(); ok && rung == layer {
			return true
		}
	}
	return false
}

// retryKeys repeats requests that were not answered.
func (r *Room) retryKeys(now time.Time, p *peer, out *Batch) {
	for _, t := range p.tracks {
		if t == nil {
			continue
		}
		for _, s := range t.streams {
			if s != nil && s.key.wanted {
				r.tryKey(now, s, out)
			}
		}
	}
}

// watchKey notes a key frame: it answers all requests, and what is older is not worth repairing.
func (r *Room) watchKey(now time.Time, s *stream, p *packet.Packet) {
	if s.track.source.Kind() == Audio || !p.Start || !p.Key || p.ExtSeq < s.key.ext {
		return
	}
	s.key.wanted, s.key.ext, s.key.at = false, p.ExtSeq, now
	s.loss.KeyFrame(p.ExtSeq)
	if _, h, ok := s.desc.Resolution(p.SID); ok && h != s.height {
		s.height = h
		s.track.constraint().stale = true
		for _, sub := range s.track.subs {
			sub.peer.dirty = true
		}
	}
}

// onKeyRequest takes a PLI or FIR of a subscriber. One that was sent before the last key frame could have arrived is
// answered already.
func (r *Room) onKeyRequest(now time.Time, p *peer, ssrc uint32, out *Batch) {
	s := p.slotOf(ssrc)
	if s == nil || s.track == nil || s.Kind == Audio {
		r.stats.FeedbackInvalid++
		return
	}
	r.stats.KeyRequestsIn++
	rung := s.sw.Current()
	if rung < 0 || now.Sub(s.keySent) < p.rtt {
		return
	}
	r.askKey(now, s.track.streams[rung], out)
}
