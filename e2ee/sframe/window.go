package sframe

import (
	"math/bits"
	"time"
)

// Window lengths, in counter values. Video layers share a counter, so 1,024 are
// about 11 s of three layers at 30 frames/s; 256 are 5 s of audio.
const (
	VideoWindow = 1024
	AudioWindow = 256
)

// window remembers which of the last counter values were opened
// (RFC 9605 9.3, in the manner of RFC 4303 3.4.3).
type window struct {
	size uint64 // a multiple of 64, at most VideoWindow
	top  uint64 // one above the highest value
	seen [VideoWindow / 64]uint64
}

// fresh tells whether ctr was not opened yet and is not older than the window.
func (w *window) fresh(ctr uint64) bool {
	if ctr >= w.top {
		return true
	}
	if w.top-ctr > w.size {
		return false
	}
	i := ctr % w.size
	return w.seen[i/64]&(1<<(i%64)) == 0
}

// mark records ctr, which must be fresh.
func (w *window) mark(ctr uint64) {
	if ctr >= w.top {
		if ctr-w.top >= w.size {
			clear(w.seen[:])
		} else {
			for c := w.top; c < ctr; c++ {
				i := c % w.size
				w.seen[i/64] &^= 1 << (i % 64)
			}
		}
		w.top = ctr + 1
	}
	i := ctr % w.size
	w.seen[i/64] |= 1 << (i % 64)
}

// count is the number of values in the window that were opened.
func (w *window) count() (n int) {
	for _, b := range w.seen {
		n += bits.OnesCount64(b)
	}
	return n
}

// orderLength is how many frames an Order remembers: more than any reordering
// on a path that is still usable.
const orderLength = 64

// orderForget is how long an Order believes in a timeline that brings nothing
// acceptable. A server that loses its timeline costs one such pause instead of
// the track; older frames than that are below the heartbeat floor anyway.
const orderForget = 10 * time.Second

// orderSlack is how far two counters must be apart for their timestamps to be
// compared, for video. The up to three layers of one picture are sealed one
// after the other and reach the server in another order, and it may switch
// layers in between: a key frame then follows a frame of the same picture, or
// of the next one, with a higher counter. Eight are the layers of less than
// three pictures: what a server can mix up in them is not an older scene.
const orderSlack = 8

// Order compares the order of RTP timestamps, which the server rewrites, with
// the order of counters, which it cannot change: without it a server could show
// the frames of a window in another order. Each received stream (a receiving
// m-line bound to one track) has its own, since only there timestamps form one
// timeline. The zero value is ready; set it to zero when the binding changes.
type Order struct {
	kid    KID
	last   time.Time
	n      int
	frames [orderLength]struct { // by ascending CTR
		ctr uint64
		rtp uint32
	}
}

// place returns where ctr belongs, and whether the timestamps of its neighbours
// beyond the slack agree. Equal timestamps are fine: layers of one picture.
func (o *Order) place(now time.Time, kid KID, ctr uint64, rtp uint32) (at int, ok bool) {
	if o.kid != kid || now.Sub(o.last) > orderForget {
		return 0, true
	}
	at = o.n
	for at > 0 && o.frames[at-1].ctr > ctr {
		at--
	}
	slack := uint64(orderSlack)
	if c, _, _, ok := kid.Split(); ok && c.Audio() {
		slack = 0
	}
	before, after := at-1, at
	for before >= 0 && ctr-o.frames[before].ctr <= slack {
		before--
	}
	for after < o.n && o.frames[after].ctr-ctr <= slack {
		after++
	}
	if before >= 0 && int32(rtp-o.frames[before].rtp) < 0 {
		return at, false
	}
	if after < o.n && int32(o.frames[after].rtp-rtp) < 0 {
		return at, false
	}
	return at, true
}

// add records an opened frame at the place that place found.
func (o *Order) add(now time.Time, kid KID, ctr uint64, rtp uint32, at int) {
	if o.kid != kid || now.Sub(o.last) > orderForget {
		o.kid, o.n, at = kid, 0, 0
	}
	o.last = now
	if o.n == orderLength {
		if at == 0 {
			return // older than everything remembered
		}
		copy(o.frames[:], o.frames[1:at])
		at--
	} else {
		copy(o.frames[at+1:], o.frames[at:o.n])
		o.n++
	}
	o.frames[at].ctr, o.frames[at].rtp = ctr, rtp
}
