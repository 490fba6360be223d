package room

import (
	"time"

	"sotto/sfu/layer"
)

// unwantedFor is how long nobody must want a layer before its publisher is told: people change their layout back and forth, and
// a layer that begins again costs a key frame. What is wanted is told at once.
const unwantedFor = 3 * time.Second

// constraint is what a publisher was told about a track.
type constraint struct {
	layer  int8 // highest wanted
	known  bool // false: nothing was told, and everything is sent
	excess time.Time
}

// constrain tells a publisher which layers of its tracks anybody wants, whatever the paths carry: what nobody wants need not be
// encoded, encrypted and sent. What a path does not carry now is still wanted, since otherwise nothing could be raised.
func (r *Room) constrain(now time.Time, p *peer, out *Batch) {
	for _, t := range p.tracks {
		if t == nil || t.source.Kind() == Audio {
			continue
		}
		c := &t.constraint
		if !c.known {
			c.known, c.layer = true, int8(t.layers()-1)
		}
		wanted := layer.Paused
		for _, s := range t.subs {
			wanted = max(wanted, t.wanted(&s.wish))
		}
		switch {
		case wanted == c.layer:
			c.excess = time.Time{}
			continue
		case wanted < c.layer && c.excess.IsZero():
			c.excess = now
			continue
		case wanted < c.layer && now.Sub(c.excess) < unwantedFor:
			continue
		}
		c.layer, c.excess = wanted, time.Time{}
		out.Events = append(out.Events, TrackWanted{Peer: p.id, Source: t.source, Layer: wanted})
	}
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
