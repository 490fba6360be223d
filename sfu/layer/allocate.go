// Package layer decides which simulcast layer of which source a subscriber gets (Allocate: slow, over all sources of a subscriber) and
// selects and renumbers their packets (Switch: fast, one per subscription).
//
// Allocate sets targets, a Switch obeys them: it changes layers where a receiver can follow and makes the subscriber see one
// continuous RTP stream.
package layer

import "sotto/sfu/unit"

// MaxRungs is the number of simulcast layers of a source; browsers send up to three.
const MaxRungs = 3

// Rung is one simulcast layer of a source.
type Rung struct {
	Rate   unit.Bitrate // what the layer sends now; 0 = the layer is not sent
	Height uint16       // pixels; 0 = unknown
}

// Source is a track that a subscriber sees. Tracks that it does not want are left out.
type Source struct {
	Priority uint8          // higher is served first
	Want     uint16         // displayed height in pixels; 0 = the lowest layer is enough
	Current  int8           // rung forwarded now, or Paused
	Rungs    [MaxRungs]Rung // lowest first
}

// Budget is what a subscriber's path carries, less what audio takes of it.
type Budget struct {
	Keep   unit.Bitrate // estimate: the sum of all layers stays below
	Change unit.Bitrate // proven rate: nothing is raised beyond it
}

// Allocate chooses a rung, or Paused, for every source and writes it to dst, which has the length of src. It returns the sum of the
// chosen rates, never above b.Keep. It is a pure function and does not allocate.
//
// The steps are tried in a fixed order: every source's lowest layer, by priority; then, priority by priority, one rung up for every
// source of that priority, and the next, up to the smallest layer that covers the wanted height. A step that does not fit is left
// out. Equal priorities go in the order of src.
// A step up to the current rung must fit Keep, a step above it also Change, but for the lowest layer: a picture at all is worth more
// than certainty. So with a larger budget the first step that turns
// out differently is one that fits now: a source gets less only because one served before it gets more.
func Allocate(b Budget, src []Source, dst []int8) (spent unit.Bitrate) {
	for i := range dst {
		dst[i] = Paused
	}
	for priority, ok := nextPriority(src, 256); ok; priority, ok = nextPriority(src, priority) {
		for i := range src {
			if int(src[i].Priority) == priority {
				spent = src[i].raise(b, spent, &dst[i])
			}
		}
	}
	for priority, ok := nextPriority(src, 256); ok; priority, ok = nextPriority(src, priority) {
		for range MaxRungs - 1 {
			for i := range src {
				if int(src[i].Priority) == priority && dst[i] != Paused {
					spent = src[i].raise(b, spent, &dst[i])
				}
			}
		}
	}
	return spent
}

// nextPriority returns the highest priority below the given one. Subscribers use a handful of priorities, so that looking for the
// next one is cheaper than sorting, and needs no memory.
func nextPriority(src []Source, below int) (priority int, ok bool) {
	priority = -1
	for i := range src {
		if p := int(src[i].Priority); p < below && p > priority {
			priority = p
		}
	}
	return priority, priority >= 0
}

// raise takes the source one existing rung up from *rung, if it is wanted and fits.
func (s *Source) raise(b Budget, spent unit.Bitrate, rung *int8) unit.Bitrate {
	next := *rung + 1
	for next < MaxRungs && s.Rungs[next].Rate <= 0 {
		next++
	}
	if next >= MaxRungs {
		return spent
	}
	cost := s.Rungs[next].Rate
	if *rung != Paused {
		if h := s.Rungs[*rung].Height; s.Want == 0 || h != 0 && h >= s.Want {
			return spent
		}
		cost -= s.Rungs[*rung].Rate
	}
	limit := b.Keep
	if next > s.Current && *rung != Paused {
		limit = min(limit, b.Change)
	}
	if spent+cost > limit {
		return spent
	}
	*rung = next
	return spent + cost
}
