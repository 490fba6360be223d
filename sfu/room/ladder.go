package room

import (
	"sotto/sfu/layer"
	"sotto/sfu/unit"
)

// What is assumed of a layer before it is measured or said.
var (
	guessedRate   = [layer.MaxRungs]unit.Bitrate{150 * unit.Kbps, 500 * unit.Kbps, 1700 * unit.Kbps}
	guessedHeight = [layer.MaxRungs]uint16{180, 360, 720}
)

// point is what a step of the allocator means to a switch: a rung, and how many of its temporal layers.
type point struct {
	rung int8
	tid  uint8 // the highest, layer.AllLayers if there is no limit
}

// paused is no picture at all.
var paused = point{layer.Paused, layer.AllLayers}

// rung is a layer of a track as far as choosing goes. A rate of 0 is none.
type rung struct {
	rate     unit.Bitrate
	full     unit.Bitrate // when the publisher makes all its frames again
	height   uint16
	temporal *temporal
}

// ladder describes a track to the allocator, as one subscriber wants it, and tells what its steps are. Rungs above most are left out if
// there is a lower one.
//
// A camera that is short of bandwidth gives up lines before frames, since a face that moves is worth more than a sharp one, and frames
// of its lowest layer before the whole picture. A screen keeps the lines that are wanted, so that text can be read, and gives up frames.
func (t *track) ladder(s *slot, most int8) (src layer.Source, points [layer.MaxSteps]point) {
	src = layer.Source{Priority: s.wish.Priority, Want: s.wish.Height}
	n := int8(0)
	add := func(p point, rate unit.Bitrate, height uint16) {
		if n > 0 { // a layer that begins is cheap for a moment
			rate = max(rate, src.Steps[n-1].Rate)
		}
		src.Steps[n] = layer.Step{Rate: rate, Height: height, Short: p.tid != layer.AllLayers}
		points[n] = p
		n++
	}
	rungs := t.rungs()
	if st := t.svc(); st != nil && st.desc.NeedsDependencies() && s.peer.ext.DependencyDescriptor == 0 {
		clear(rungs[1:])
	}
	for i, lower := 0, false; i < len(rungs); i++ {
		if lower && int8(i) > most {
			rungs[i] = rung{}
		}
		lower = lower || rungs[i].rate > 0
	}
	for i := range rungs { // what is shown costs what it costs; what to rise to must still fit when a stall of the encoder ends
		if int8(i) > s.shown() {
			rungs[i].rate = rungs[i].full
		}
	}
	if t.source == SourceScreen {
		top := -1
		for i := range rungs {
			if r := &rungs[i]; r.rate > 0 {
				if top >= 0 {
					add(rungs[top].first(top))
				}
				if top = i; r.height >= s.wish.Height {
					break
				}
			}
		}
		if top >= 0 {
			rungs[top].each(top, add)
		}
	} else {
		for i := range rungs {
			switch r := &rungs[i]; {
			case r.rate <= 0:
			case n == 0:
				r.each(i, add)
				src.Base = n - 1
			default:
				add(point{int8(i), layer.AllLayers}, r.rate, r.height)
			}
		}
	}
	src.Current = stepOf(&src, &points, point{s.shown(), s.tid})
	return src, points
}

// each passes on the ways to send a rung, that with the fewest frames first.
func (r *rung) each(i int, add func(point, unit.Bitrate, uint16)) {
	for tid := range r.temporal.limits() {
		add(point{int8(i), tid}, max(r.temporal.of(r.rate, tid), unit.Kbps), r.height)
	}
	add(point{int8(i), layer.AllLayers}, r.rate, r.height)
}

// first returns the cheapest way to send a rung.
func (r *rung) first(i int) (point, unit.Bitrate, uint16) {
	if r.temporal.limits() > 0 {
		return point{int8(i), 0}, max(r.temporal.of(r.rate, 0), unit.Kbps), r.height
	}
	return point{int8(i), layer.AllLayers}, r.rate, r.height
}

// stepOf returns the highest step that is not above a point, or layer.Paused. Points rise with the steps.
func stepOf(src *layer.Source, points *[layer.MaxSteps]point, p point) int8 {
	step := layer.Paused
	for i := range points {
		q := points[i]
		if src.Steps[i].Rate > 0 && (q.rung < p.rung || q.rung == p.rung && q.tid <= p.tid) {
			step = int8(i)
		}
	}
	return step
}

// rungs describes the layers of a track.
func (t *track) rungs() (list [layer.MaxRungs]rung) {
	if st := t.svc(); st != nil {
		return st.rungs()
	}
	known := true
	live := 0
	for _, st := range t.streams {
		if st != nil && st.live {
			live++
			known = known && st.height != 0
		}
	}
	var last uint16
	for i, st := range t.streams {
		if st == nil || !st.live && live > 0 {
			continue
		}
		r := &list[i]
		r.rate = max(st.rate.rate(guessedRate[i]), unit.Kbps)
		r.full = max(st.rate.full(guessedRate[i]), unit.Kbps)
		r.height = st.height
		if !known || r.height <= last {
			// VP8 without dependency descriptor does not tell its size: go by rank, as browsers scale by two.
			r.height = max(guessedHeight[i], last+1)
		}
		r.temporal, last = &st.temporal, r.height
	}
	return list
}

// temporal measures what the temporal layers of a stream take of its rate.
type temporal struct {
	bytes [layer.MaxTIDs]int // of this window
	share [layer.MaxTIDs]float32
	top   uint8 // the highest layer; 0: there is one
}

// note counts a packet.
func (t *temporal) note(tid uint8, size int) { t.bytes[min(tid, layer.MaxTIDs-1)] += size }

// roll ends a window and reports whether the number of layers changed.
func (t *temporal) roll() (changed bool) {
	before, sum, all := t.top, 0, 0
	for _, n := range t.bytes {
		all += n
	}
	if all == 0 {
		return false
	}
	first := t.share[layer.MaxTIDs-1] == 0
	t.top = 0
	for tid, n := range t.bytes {
		if n > 0 {
			t.top = uint8(tid)
		}
		sum += n
		share := float32(sum) / float32(all)
		if !first { // a key frame weighs on its window alone
			share = (3*t.share[tid] + share) / 4
		}
		t.share[tid] = share
	}
	t.bytes = [layer.MaxTIDs]int{}
	return t.top != before
}

// limits returns how many limits of temporal layers there are below all of them: a limit of 0 is the lowest alone.
func (t *temporal) limits() uint8 {
	if t == nil || t.share[0] == 0 {
		return 0 // a stream that begins with layers above the lowest makes no sense
	}
	return t.top
}

// of returns what the layers up to tid take of a rate.
func (t *temporal) of(rate unit.Bitrate, tid uint8) unit.Bitrate {
	return unit.Bitrate(float32(rate) * t.share[tid])
}
