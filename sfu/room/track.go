package room

import (
	"fmt"
	"slices"
	"time"

	"sotto/sfu/layer"
	"sotto/sfu/packet"
)

// track is one published m-line: up to three streams of the same picture, or one of sound.
type track struct {
	peer    *peer
	source  Source
	def     PublishedTrack
	streams [layer.MaxRungs]*stream // by layer; nil: not seen
	subs    []*slot                 // ascending by peer
	started bool                    // TrackStarted was told
	since   time.Time               // of its first packet since then
	holding bool                    // its subscribers wait until its layers are known, at most startWait
	asked   [3]time.Time            // last key frame requests for any layer, the newest first
	made    time.Time
	mark    uint64 // of the last list of wanted tracks that it is in
	place   int    // in that list
}

const (
	maxCodecs = 16
	maxMID    = 32
)

// checkTracks tells what is wrong with a list of tracks.
func checkTracks(defs []PublishedTrack) error {
	var seen [MaxSources]bool
	for i := range defs {
		d := &defs[i]
		switch {
		case d.Source >= MaxSources || seen[d.Source]:
			return fmt.Errorf("%w: source %d", ErrInvalid, d.Source)
		case len(d.Codecs) == 0 || len(d.SSRCs) < len(d.RTX) || !clocked(d.Codecs):
			return fmt.Errorf("%w: track without codecs or RTX without stream", ErrInvalid)
		case len(d.RIDs) > layer.MaxRungs || len(d.SSRCs) > layer.MaxRungs || len(d.Codecs) > maxCodecs || len(d.MID) > maxMID:
			return fmt.Errorf("%w: layers or codecs of a track", ErrLimit)
		}
		seen[d.Source] = true
	}
	return nil
}

func checkSource(s Source) error {
	if s >= MaxSources {
		return fmt.Errorf("%w: source %d", ErrInvalid, s)
	}
	return nil
}

// publish replaces a peer's tracks.
func (r *Room) publish(now time.Time, p *peer, defs []PublishedTrack, out *Batch) {
	var c change
	for s, t := range p.tracks {
		if t == nil {
			continue
		}
		i := slices.IndexFunc(defs, func(d PublishedTrack) bool { return d.Source == Source(s) })
		if i >= 0 && t.same(&defs[i]) {
			c.recoded = c.recoded || !slices.Equal(t.def.Codecs, defs[i].Codecs)
			t.def = defs[i]
			continue
		}
		r.stopTrack(t, out)
		p.tracks[s] = nil
		c.removed = append(c.removed, t)
	}
	for _, d := range defs {
		if p.tracks[d.Source] == nil {
			t := &track{peer: p, source: d.Source, def: d, made: now}
			p.tracks[d.Source] = t
			c.added = append(c.added, t)
		}
	}
	r.tracksChanged(now, p, c, out)
}

// clocked reports whether all payload types have a clock rate.
func clocked(codecs []PayloadType) bool {
	return !slices.ContainsFunc(codecs, func(c PayloadType) bool { return c.ClockRate == 0 })
}

// same reports whether d describes the same streams, so that they may go on.
func (t *track) same(d *PublishedTrack) bool {
	return t.def.MID == d.MID && slices.Equal(t.def.RIDs, d.RIDs) &&
		slices.Equal(t.def.SSRCs, d.SSRCs) && slices.Equal(t.def.RTX, d.RTX)
}

// stopTrack withdraws a track: its streams are forgotten and its slots are free.
func (r *Room) stopTrack(t *track, out *Batch) {
	for i, s := range t.streams {
		if s != nil {
			t.peer.remember(s)
			t.peer.unlatch(s)
			t.streams[i] = nil
		}
	}
	for len(t.subs) > 0 {
		s := t.subs[len(t.subs)-1]
		s.peer.lost++
		s.release()
	}
	if t.started {
		t.started = false
		out.Events = append(out.Events, TrackStopped{t.peer.id, t.source})
	}
}

// mute makes HandleRTP drop a source's media. What comes after it does not continue what came before: subscribers wait for
// a key frame.
func (r *Room) mute(now time.Time, p *peer, source Source, muted bool, out *Batch) {
	if p.muted[source] == muted {
		return
	}
	p.muted[source] = muted
	t := p.tracks[source]
	if t == nil {
		return
	}
	if !muted {
		for _, s := range t.subs {
			r.wantKey(now, s, out)
		}
		return
	}
	for _, s := range t.streams {
		if s != nil {
			s.pause()
			for _, sub := range t.subs {
				sub.sw.Reset(s.layer)
			}
		}
	}
	if t.started {
		t.started = false
		out.Events = append(out.Events, TrackStopped{p.id, source})
	}
}

// codec returns what a payload type of the track carries, and whether it is the retransmission format.
func (t *track) codec(pt uint8) (c *PayloadType, rtx bool) {
	for i := range t.def.Codecs {
		switch c := &t.def.Codecs[i]; {
		case c.PT == pt:
			return c, false
		case c.RTX == pt && pt != 0:
			return c, true
		}
	}
	return nil, false
}

// codecs returns the set of the track's codecs, a bit for each.
func (t *track) codecs() (set uint8) {
	for _, c := range t.def.Codecs {
		if c.Codec <= packet.AV1 {
			set |= 1 << c.Codec
		}
	}
	return set
}

// layers returns how many layers the track may have.
func (t *track) layers() int { return max(len(t.def.RIDs), len(t.def.SSRCs), 1) }

// rid returns the layer of a RID, or -1.
func (t *track) rid(rid []byte) int {
	for i, name := range t.def.RIDs {
		if name == string(rid) {
			return i
		}
	}
	return -1
}

// byMID returns the track with a MID, or nil.
func (p *peer) byMID(mid []byte) *track {
	for _, t := range p.tracks {
		if t != nil && t.def.MID == string(mid) {
			return t
		}
	}
	return nil
}

// byRID returns the only track with RIDs; without a MID nothing else tells simulcast tracks apart.
func (p *peer) byRID() (found *track) {
	for _, t := range p.tracks {
		if t != nil && len(t.def.RIDs) > 0 {
			if found != nil {
				return nil
			}
			found = t
		}
	}
	return found
}

// declared finds the track and layer of an SSRC that signaling declared. Where the packet has a RID, that decides about the
// layer, since the order of SSRCs in an offer promises nothing; a repair stream follows the stream that it is paired with
// (ssrc-group FID, RFC 5576 4.2).
func (p *peer) declared(ssrc uint32, hasRID bool) (t *track, at int, rtx bool) {
	for _, t := range p.tracks {
		if t == nil {
			continue
		}
		byRID := len(t.def.RIDs) > 0 && hasRID
		if i := slices.Index(t.def.SSRCs, ssrc); i >= 0 && !byRID {
			return t, i, false
		}
		if i := slices.Index(t.def.RTX, ssrc); i >= 0 {
			if in := p.latched(t.def.SSRCs[i]); in != nil && !in.rtx {
				return in.s.track, int(in.s.layer), true
			}
			if !byRID {
				return t, i, true
			}
		}
	}
	return nil, 0, false
}

// locate finds the track and layer of a packet with an unknown SSRC: by what signaling declared, else by MID and RID
// (RFC 8843 9.2, RFC 8852).
func (p *peer) locate(pkt *packet.Packet) (t *track, at int, rtx bool) {
	hasRID := pkt.RID.Len > 0 || pkt.RepairedRID.Len > 0
	if t, at, rtx = p.declared(pkt.SSRC, hasRID); t != nil {
		return t, at, rtx
	}
	if pkt.MID.Len > 0 {
		t = p.byMID(pkt.Bytes(pkt.MID))
	} else if hasRID {
		t = p.byRID()
	}
	if t == nil {
		return nil, 0, false
	}
	if _, rtx = t.codec(pkt.PT); rtx {
		if pkt.RepairedRID.Len > 0 {
			return t, t.rid(pkt.Bytes(pkt.RepairedRID)), true
		}
	} else if pkt.RID.Len > 0 {
		return t, t.rid(pkt.Bytes(pkt.RID)), false
	}
	if len(t.def.RIDs) > 0 {
		return t, -1, rtx // one of several layers, but it does not say which
	}
	return t, 0, rtx
}
