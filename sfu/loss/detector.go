// Package loss finds the packets that are missing in a received stream and says when to ask for them again (generic NACK,
// RFC 4585 6.2.1).
package loss

import (
	"slices"
	"time"
)

// Bounds and waits of a Detector.
const (
	// MaxHoles bounds what is remembered: about a quarter of a second of a 5 Mbit/s stream. A larger jump of the
	// sequence number is a restart or an attack, not a loss that could be repaired.
	MaxHoles = 256
	// MaxTries is how often one packet is asked for. With 100 ms of round-trip time the last try comes after a second,
	// when the receivers have long asked for a key frame.
	MaxTries = 8
	// MaxAge is when a missing packet is too late for any jitter buffer.
	MaxAge = time.Second
	// WindowIDs packets at most are asked for in Window, so that no sequence of packets makes a storm.
	WindowIDs = 50
	Window    = 100 * time.Millisecond

	// reorderPackets newer packets, or reorderDelay, prove that a packet is missing and not just late: the tolerance of
	// TCP's duplicate acknowledgements (RFC 5681 3.2).
	reorderPackets = 3
	reorderDelay   = 10 * time.Millisecond
	// minRetry keeps retries apart where the round-trip time is tiny: a publisher's pacer needs some milliseconds.
	minRetry = 20 * time.Millisecond
)

type hole struct {
	ext   uint64
	since time.Time // noticed
	due   time.Time // when to ask (again)
	tries uint8
}

// Detector watches one received stream. The zero value is ready. It allocates only while its list of holes grows.
type Detector struct {
	top     uint64 // highest number so far; 0: none
	holes   []hole // ascending
	next    time.Time
	given   uint64
	asked   int // in the running window
	askedAt time.Time
}

// Received takes the extended number of a packet that arrived, first or repaired; duplicates do no harm.
func (d *Detector) Received(now time.Time, ext uint64) {
	switch {
	case d.top == 0:
		d.top = ext
	case ext <= d.top:
		d.fill(ext)
	case ext-d.top > MaxHoles:
		d.given += uint64(len(d.holes)) + ext - d.top - 1
		d.holes, d.next = d.holes[:0], time.Time{}
		d.top = ext
	default:
		d.open(now, ext)
	}
}

// open notes the holes between the highest number and ext.
func (d *Detector) open(now time.Time, ext uint64) {
	if more := len(d.holes) + int(ext-d.top-1) - MaxHoles; more > 0 {
		more = min(more, len(d.holes))
		d.given += uint64(more)
		d.holes = slices.Delete(d.holes, 0, more)
	}
	for n := d.top + 1; n < ext; n++ {
		d.holes = append(d.holes, hole{ext: n, since: now, due: now.Add(reorderDelay)})
	}
	d.top = ext
	if len(d.holes) == 0 {
		return
	}
	// Newer packets prove older holes. Holes are ascending, so those at the end are the young ones.
	for i := len(d.holes) - 1; i >= 0; i-- {
		h := &d.holes[i]
		if h.tries > 0 {
			break
		}
		if ext-h.ext >= reorderPackets && h.due.After(now) {
			h.due = now
		}
	}
	d.plan()
}

func (d *Detector) fill(ext uint64) {
	i, found := slices.BinarySearchFunc(d.holes, ext, func(h hole, ext uint64) int {
		switch {
		case h.ext < ext:
			return -1
		case h.ext > ext:
			return 1
		}
		return 0
	})
	if found {
		d.holes = slices.Delete(d.holes, i, i+1)
		d.plan()
	}
}

// KeyFrame forgets what is older than ext, the first packet of a key frame: no later frame needs it.
func (d *Detector) KeyFrame(ext uint64) {
	n := 0
	for n < len(d.holes) && d.holes[n].ext < ext {
		n++
	}
	if n > 0 {
		d.holes = slices.Delete(d.holes, 0, n)
		d.plan()
	}
}

// Missing appends the numbers to ask for now to dst. A number comes again after a round trip and a quarter, until it
// arrived, was tried MaxTries times or is older than MaxAge. At most WindowIDs numbers come in each Window; the rest waits.
func (d *Detector) Missing(now time.Time, rtt time.Duration, dst []uint16) []uint16 {
	if d.next.IsZero() || now.Before(d.next) {
		return dst
	}
	if now.Sub(d.askedAt) >= Window {
		d.asked, d.askedAt = 0, now
	}
	retry := max(rtt+rtt/4, minRetry)
	keep := d.holes[:0]
	for _, h := range d.holes {
		if now.Sub(h.since) > MaxAge || (h.tries >= MaxTries && !now.Before(h.due)) {
			d.given++
			continue
		}
		if !now.Before(h.due) {
			if d.asked < WindowIDs {
				dst = append(dst, uint16(h.ext))
				d.asked++
				h.tries++
				h.due = now.Add(retry)
			} else {
				h.due = d.askedAt.Add(Window)
			}
		}
		keep = append(keep, h)
	}
	d.holes = keep
	d.plan()
	return dst
}

// plan finds the next deadline.
func (d *Detector) plan() {
	d.next = time.Time{}
	for i := range d.holes {
		if due := d.holes[i].due; d.next.IsZero() || due.Before(d.next) {
			d.next = due
		}
	}
}

// Next returns when Missing has something to do; zero is never.
func (d *Detector) Next() time.Time { return d.next }

// GivenUp counts the packets that were missing for good.
func (d *Detector) GivenUp() uint64 { return d.given }
