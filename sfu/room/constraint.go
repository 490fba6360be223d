package room

import (
	"time"

	"sotto/sfu/layer"
)

const (
	// unwantedFor is how long nobody must want a layer before its publisher is told: people change their layout back and forth, and
	// a layer that begins again costs a key frame. What is wanted is told at once.
	unwantedFor = 3 * time.Second
	// unwantedLiveFor is liveFor of a layer that its publisher was told to leave out: its silence is no surprise, and nobody should
	// wait for it a moment later.
	unwantedLiveFor = 400 * time.Millisecond
)

// constraint is what a publisher was told about its track of a source.
type constraint struct {
	layer  int8 // highest wanted
	known  bool // false: nothing was told, and everything is sent
	stale  bool // what is wanted may have changed
	excess time.Time
	raised time.Time // when more than before was asked for
}

func (t *track) constraint() *constraint { return &t.peer.asked[t.source] }

// constrain tells a publisher which layers of its tracks nobody wants any more, whatever the paths carry: what nobody wants need
// not be encoded, encrypted and sent. What a path does not carry now is still wanted, since otherwise nothing could be raised.
func (r *Room) constrain(now time.Time, p *peer, out *Batch) {
	for _, t := range p.tracks {
		if t == nil || t.source.Kind() == Audio {
			continue
		}
		c := t.constraint()
		if !c.known {
			c.known, c.stale, c.layer = true, true, int8(t.layers()-1)
		}
		if !c.stale && c.excess.IsZero() {
			continue
		}
		c.stale = false
		wanted := layer.Paused
		for _, s := range t.subs {
			wanted = max(wanted, t.wanted(&s.wish))
		}
		switch {
		case wanted > c.layer: // a layer turned out to be lower than was guessed
			r.raise(now, t, wanted, out)
		case wanted == c.layer:
			c.excess = time.Time{}
		case c.excess.IsZero():
			c.excess = now
		case now.Sub(c.excess) >= unwantedFor:
			c.layer, c.excess = wanted, time.Time{}
			out.Events = append(out.Events, TrackWanted{Peer: p.id, Source: t.source, Layer: wanted})
		}
	}
}

// raise tells a publisher at once that somebody wants more layers of a track than it was told.
func (r *Room) raise(now time.Time, t *track, wanted int8, out *Batch) {
	c := t.constraint()
	if !c.known || wanted <= c.layer || t.source.Kind() == Audio {
		return
	}
	c.layer, c.excess, c.raised = wanted, time.Time{}, now
	out.Events = append(out.Events, TrackWanted{Peer: t.peer.id, Source: t.source, Layer: wanted})
}

// wanted returns the layer that a wish asks for: the lowest that covers its height, of all that the publisher could send.
func (t *track) wanted(w *Wish) int8 {
	if w.Paused {
		return layer.Paused
	}
	top := t.layers() - 1
	for i := range top {
		height := guessedHeight[i]
		if st := t.streams[i]; st != nil && st.height != 0 {
			height = st.height
		}
		if height >= w.Height {
			return int8(i)
		}
	}
	return int8(top)
}

// top returns the highest layer that the publisher is expected to send.
func (t *track) top() int {
	if c := t.constraint(); c.known {
		return min(max(int(c.layer), 0), t.layers()-1)
	}
	return t.layers() - 1
}

// silent reports whether nothing comes of a video track although somebody wants it. A track with one stream may rest for as long as
// its picture does: a still screen sends a frame a minute.
func (t *track) silent(now time.Time) bool {
	if t.peer.muted[t.source] {
		return true
	}
	since := t.made
	for _, st := range t.streams {
		if st != nil && st.last.After(since) {
			since = st.last
		}
	}
	if t.layers() == 1 && since.After(t.made) {
		return false
	}
	if c := t.constraint(); c.raised.After(since) {
		since = c.raised // it is just being switched on
	}
	return now.Sub(since) >= liveFor
}
