package room

import (
	"time"

	"sotto/sfu/layer"
)

// MaxThin is the highest level of Thin.
const MaxThin = thinFrames

// The levels of Thin at which something else than a temporal layer more is left out.
const (
	thinRungs  = layer.MaxTIDs                    // the highest layer, and one more with each level
	thinFrames = thinRungs + (layer.MaxRungs - 1) // frames of the only layer
)

// thinning is what everybody's video is limited to.
type thinning struct {
	level int
	tid   uint8 // highest temporal layer
	rung  int8  // highest layer, of tracks that have a lower one
}

func thinningOf(level int) thinning {
	t := thinning{level: level, tid: layer.AllLayers, rung: layer.MaxRungs - 1}
	if level > 0 {
		t.tid = uint8(max(layer.MaxTIDs-1-level, 0))
	}
	if level >= thinRungs {
		t.rung = int8(max(layer.MaxRungs-2-(level-thinRungs), 0))
	}
	return t
}

// Thin leaves out video of everybody, whatever the estimates allow: the machine cannot send as much as it should. Frames are left out
// whole and before a number is spent on them, so that no receiver misses them, the highest layer first:
//
//	0     nothing
//	1, 2  temporal layers above 1, above 0: no other frame needs them, and they come back with the next frame that allows it
//	3, 4  layers above 1, above 0 too, where there is a lower one: pictures end at once, and the lower layer begins with its next key frame
//	5     what has no temporal layers ends, up to its next key frame
//
// Level 5 is for an instant: call it again if it was not enough.
func (r *Room) Thin(now time.Time, level int, out *Batch) {
	level = min(max(level, 0), MaxThin)
	if level == r.thin.level && level < thinFrames {
		return
	}
	more := level >= r.thin.level
	r.thin = thinningOf(level)
	for _, p := range r.peers {
		r.allocate(now, p, out)
		for _, s := range p.slots {
			if more && level >= thinRungs && r.excess(s) {
				s.sw.Cut()
				r.wantKey(now, s, out)
			}
		}
	}
}

// excess reports whether what is forwarded to a slot has to end now.
func (r *Room) excess(s *slot) bool {
	if s.track == nil || s.Kind == Audio || s.sw.Current() < 0 || s.sw.IsCut() {
		return false
	}
	if _, waits := s.sw.WantsKey(); waits && s.aimed() < s.shown() {
		return true
	}
	st := s.track.streams[s.sw.Current()]
	return r.thin.level >= thinFrames && st != nil && st.temporal.limits() == 0
}
