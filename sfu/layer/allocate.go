// Package layer decides which layer of which source a subscriber gets, whether the layers are streams (simulcast) or stand in one
// (SVC) (Allocate: slow, over all sources of a subscriber), and selects and renumbers their packets (Switch: fast, one per
// subscription).
//
// Allocate sets targets, a Switch obeys them: it changes layers where a receiver can follow and makes the subscriber see one
// continuous RTP stream.
package layer

import "sotto/sfu/unit"

// MaxRungs is the number of simulcast or spatial layers of a source; browsers send up to three.
const MaxRungs = 3

// MaxTIDs is the number of temporal layers that are told apart; browsers send up to three.
const MaxTIDs = 3

// MaxSteps is the number of steps of a source: its layers, and one of them with fewer frames.
const MaxSteps = MaxRungs + MaxTIDs - 1

// Step is one way to send a source: a simulcast or spatial layer, whole or without its upper temporal layers.
type Step struct {
	Rate   unit.Bitrate // what it sends now; 0 = there is no such step
	Height uint16       // pixels; 0 = unknown
	Short  bool         // frames are missing: the next step is wanted, whatever the height
}

// Source is a track that a subscriber sees. Tracks that it does not want are left out.
type Source struct {
	Priority uint8          // higher is served first
	Want     uint16         // displayed height in pixels; 0 = the lowest layer is enough
	Current  int8           // step forwarded now, or Paused
	Base     int8           // the step up to which everybody is served before anybody gets more
	Steps    [MaxSteps]Step // cheapest first
}

// Budget is what a subscriber's path carries, less what audio takes of it.
type Budget struct {
	Keep   unit.Bitrate // estimate: the sum of all layers stays below
	Change unit.Bitrate // proven rate: nothing is raised beyond it
}

// Allocate chooses a step, or Paused, for every source and writes it to dst, which has the length of src. It returns the sum of the
// chosen rates, never above b.Keep. It is a pure function and does not allocate.
//
// The steps are tried in a fixed order: every source's first, by priority; then all up to its base; then, priority by priority, one
// step up for every source of that priority, and the next, up to the first that covers the wanted height with all its frames. A step
// that does not fit is left out. Equal priorities go in the order of src.
// A step up to the current one must fit Keep, one above it also Change, but for those up to the base: a picture at all is worth more
// than certainty. So with a larger budget the first step that turns
// out differently is one that fits now: a source gets less only because one served before it gets more.
func Allocate(b Budget, src []Source, dst []int8) (spent unit.Bitrate) {
	based := false
	for i := range dst {
		dst[i] = Paused
		based = based || src[i].Base > 0
	}
	for priority, ok := nextPriority(src, 256); ok; priority, ok = nextPriority(src, priority) {
		for i := range src {
			if int(src[i].Priority) == priority {
				spent = src[i].raise(b, spent, &dst[i])
			}
		}
	}
	if based {
		for priority, ok := nextPriority(src, 256); ok; priority, ok = nextPriority(src, priority) {
			for range MaxSteps - 1 {
				for i := range src {
					if int(src[i].Priority) == priority && dst[i] != Paused && dst[i] < src[i].Base {
						spent = src[i].raise(b, spent, &dst[i])
					}
				}
			}
		}
	}
	for priority, ok := nextPriority(src, 256); ok; priority, ok = nextPriority(src, priority) {
		for range MaxSteps - 1 {
			rose := false
			for i := range src {
				if int(src[i].Priority) == priority && dst[i] != Paused && dst[i] >= src[i].Base {
					before := dst[i]
					spent = src[i].raise(b, spent, &dst[i])
					rose = rose || dst[i] != before
				}
			}
			if !rose {
				break
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

// Next returns the step after one, or after Paused, and what it costs more; false if there is none.
func (s *Source) Next(step int8) (next int8, cost unit.Bitrate, ok bool) {
	for next = step + 1; next < MaxSteps; next++ {
		if rate := s.Steps[next].Rate; rate > 0 {
			if step != Paused {
				rate -= s.Steps[step].Rate
			}
			return next, rate, true
		}
	}
	return Paused, 0, false
}

// covered reports whether a step is all that is wanted.
func (s *Source) covered(step int8) bool {
	at := &s.Steps[step]
	return !at.Short && (s.Want == 0 || at.Height != 0 && at.Height >= s.Want)
}

// raise takes the source one existing step up from *step, if it is wanted and fits.
func (s *Source) raise(b Budget, spent unit.Bitrate, step *int8) unit.Bitrate {
	if *step != Paused && s.covered(*step) {
		return spent
	}
	next, cost, ok := s.Next(*step)
	if !ok {
		return spent
	}
	limit := b.Keep
	if next > s.Current && *step != Paused && next > s.Base {
		limit = min(limit, b.Change)
	}
	if spent+cost > limit {
		return spent
	}
	*step = next
	return spent + cost
}
