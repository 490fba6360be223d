package bwe

import (
	"time"

	"sotto/sfu/unit"
)

// Figures of sharing a path.
const (
	// A queue that stands although what arrives of us fell to followed of what it was is filled by somebody else: alone,
	// a path with a queue delivers what it can, whatever we send.
	followed = 0.8
	// levelRise is how much a queue that a rival fills slowly may grow in standingSpan.
	levelRise = int64(20 * time.Millisecond)
	// rivalLoss is the loss beyond which the queue may still be ours, full to the brim.
	rivalLoss = 0.06
	// rivalCalm is how long the queue must be gone for the rival to be gone. A queue that moves by less than wayRange in
	// wayWatch is no queue but a longer way.
	rivalCalm = int64(time.Second)
	wayWatch  = int64(8 * time.Second)
	wayRange  = int64(25 * time.Millisecond)

	// rivalTime is how long a probe lasts in a queue that a rival keeps filled anyway, rivalWait the longest time between two.
	rivalTime   = 120 * time.Millisecond
	rivalWait   = 3 * time.Second
	pathUnknown = unit.Bitrate(1) << 40
)

// rival is somebody else who keeps the queue of the bottleneck filled, as a greedy TCP flow does. The queue then says
// nothing about us: loss does, and what a probe gets of the path.
type rival struct {
	on        bool
	calm      int64 // the queue has been gone since; 0: it is not
	watched   int64 // since
	low, high int64 // of the queue since watched
}

// follows reports that what arrives of us fell with what we send, although the queue stays: it is not ours.
func (d *delay) follows(arrives unit.Bitrate, loss float64) bool {
	return d.cut && d.level() && loss < rivalLoss && float64(arrives) < followed*float64(d.cutTo)
}

// level reports a queue that has hardly grown: what is sent arrives.
func (d *delay) level() bool {
	newest := d.back(1)
	for i := int64(2); i <= min(d.n, samples); i++ {
		if s := d.back(i); newest.sent-s.sent > standingSpan {
			return d.floor(3) < s.queue+levelRise+d.jitter()
		}
	}
	return false
}

// watch waits for a rival to go away.
func (d *delay) watch(at int64) {
	r := &d.rival
	switch {
	case !d.calm():
		r.calm = 0
	case r.calm == 0:
		r.calm = at
	case at-r.calm > rivalCalm:
		d.rival, d.cut = rival{}, false
		return
	}
	r.low, r.high = min(r.low, d.raw), max(r.high, d.raw)
	if at-r.watched < wayWatch {
		return
	}
	if r.high-r.low < wayRange+8*d.jitter() {
		d.accept(r.low)
		return
	}
	r.watched, r.low, r.high = at, d.raw, d.raw
}

// accept takes a queue that never goes away for a part of the path.
func (d *delay) accept(queue int64) {
	d.lowest += queue
	for i := range d.base {
		d.base[i] = d.lowest
	}
	d.n, d.cut, d.rival = 0, false, rival{}
}

// fairShare returns how much of a probe beside a rival may be kept: half of the path. A queue gives to each what it sends of the
// whole: sent/(sent+theirs) = got/path, and theirs is the path less ours. The lesser of two probes counts, since a rival that
// has just yielded seems to be gone.
func (p *prober) fairShare(sent, got, ours unit.Bitrate) unit.Bitrate {
	path := pathUnknown
	if got < sent && ours < sent {
		path = min(unit.Bitrate(float64(got)*float64(sent-ours)/float64(sent-got)), path)
	}
	last := p.path
	p.path = path
	if last == 0 {
		return min(got, ours)
	}
	return min(sent, min(last, path)/2)
}
