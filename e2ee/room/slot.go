package room

import (
	"errors"
	"time"

	"sotto/e2ee/link"
	"sotto/e2ee/sframe"
)

const (
	// maxSlots is the most m-lines a session may have.
	maxSlots = 128
	// Frames whose key or binding is not there yet are held this long and this
	// many per m-line: an announcement or a slot list may still be on its way.
	holdFor   = 500 * time.Millisecond
	holdMax   = 64
	holdBytes = 4 << 20
	// Key frames are asked for at most this often per m-line; the pause doubles
	// while no key frame comes.
	askFirst = 500 * time.Millisecond
	askMost  = 4 * time.Second
)

// ErrSlots: a slot list contradicts itself or is too long. Nothing changed then.
var ErrSlots = errors.New("room: unacceptable slot list")

// ErrHeld: the frame was copied and comes out later as an action, or is dropped.
var ErrHeld = errors.New("room: frame held")

// Slot is an entry of the slot list: the track in a receiving m-line.
type Slot struct {
	MID    string
	Conn   link.ConnID
	Source sframe.Context
}

// slot is a receiving m-line. While it is not bound, conn is zero.
type slot struct {
	mid    string
	conn   link.ConnID
	source sframe.Context
	order  sframe.Order

	held      []heldFrame
	heldBytes int

	started  bool // a frame of this binding was opened
	needKey  bool // a picture was lost since the last key frame
	asked    time.Time
	askPause time.Duration
}

type heldFrame struct {
	at    time.Time
	codec sframe.Codec
	rtp   uint32
	data  []byte
}

// Slots replaces the list of bound m-lines. Frames that waited for it come out.
// The error is [ErrSlots]; nothing changed then.
func (r *Room) Slots(now time.Time, list []Slot, out *Actions) error {
	seen := make(map[string]bool, len(list))
	for _, b := range list {
		if seen[b.MID] || b.MID == "" || len(b.MID) > 16 || b.Conn == (link.ConnID{}) || b.Source > sframe.ScreenAudio {
			return ErrSlots
		}
		seen[b.MID] = true
	}
	if len(list) > maxSlots {
		return ErrSlots
	}
	for _, s := range r.order {
		if !seen[s.mid] {
			s.bind(link.ConnID{}, 0)
		}
	}
	for _, b := range list {
		s := r.slot(b.MID)
		if s == nil {
			return ErrSlots
		}
		if s.conn != b.Conn || s.source != b.Source {
			s.bind(b.Conn, b.Source)
		}
		r.release(now, s, out)
	}
	return nil
}

// bind starts a new timeline: the server's timestamps are continuous only
// within one binding. Replay windows are the peer's and stay.
func (s *slot) bind(conn link.ConnID, source sframe.Context) {
	s.conn, s.source = conn, source
	s.order = sframe.Order{}
	s.started, s.needKey = false, false
	s.askPause = 0
}

// slot finds or makes the slot of an m-line, nil when there are too many.
func (r *Room) slot(mid string) *slot {
	s := r.slots[mid]
	if s == nil && len(r.slots) < maxSlots {
		s = &slot{mid: mid}
		r.slots[mid] = s
		r.order = append(r.order, s)
	}
	return s
}

// Open opens a frame that arrived on an m-line and appends it to dst, which must
// not overlap frame. rtp is the frame's timestamp on that stream. The error is
// [ErrHeld] or a [sframe.Drop]; dst is returned as it was then. It allocates
// nothing when dst has room and the frame is not held.
func (r *Room) Open(now time.Time, mid string, codec sframe.Codec, rtp uint32, frame, dst []byte, out *Actions) ([]byte, error) {
	s := r.slot(mid)
	if s == nil {
		return dst, r.drop(sframe.DropHoldFull)
	}
	dst, err := r.open(now, s, codec, rtp, frame, dst, out)
	if err == ErrHeld {
		err = r.hold(now, s, heldFrame{at: now, codec: codec, rtp: rtp, data: frame})
	}
	r.ask(now, s, out)
	return dst, err
}

// open is Open without holding: ErrHeld means that the frame may be held.
func (r *Room) open(now time.Time, s *slot, codec sframe.Codec, rtp uint32, frame, dst []byte, out *Actions) ([]byte, error) {
	f, err := sframe.Parse(codec, frame)
	if err != nil {
		return dst, r.drop(err)
	}
	context, leaf, low, _ := f.KID.Split()
	e, p := r.epochOf(low), r.peers[s.conn]
	if e == nil || p == nil || e.members[leaf] != s.conn || s.source != context || context.Audio() != (codec == sframe.Opus) {
		return dst, ErrHeld
	}
	if e.removed[leaf] {
		return dst, r.drop(sframe.DropNoKey)
	}
	if p.forged {
		return dst, r.drop(sframe.DropForged)
	}
	v, err := e.receiver(f.KID)
	if err != nil {
		return dst, r.drop(sframe.DropNoKey)
	}
	dst, err = v.Open(dst, now, &s.order, rtp, f)
	switch err {
	case nil:
		r.stats.Opened++
		p.failures = 0
		r.setState(p, Encrypted, out)
		s.opened(context, f)
		if p.signs {
			r.account(now, p, v, &f, out)
		}
		return dst, nil
	case sframe.DropAuth:
		if p.failures++; p.failures == mismatchAfter {
			r.setState(p, Mismatch, out)
		}
		s.lost()
	case sframe.DropOrder:
		s.lost()
	}
	return dst, r.drop(err)
}

func (r *Room) drop(err error) error {
	if d, ok := err.(sframe.Drop); ok {
		r.stats.Dropped[d]++
	}
	return err
}

func (r *Room) hold(now time.Time, s *slot, f heldFrame) error {
	s.expire(now, r)
	if len(s.held) >= holdMax || s.heldBytes+len(f.data) > holdBytes {
		s.lost()
		return r.drop(sframe.DropHoldFull)
	}
	f.data = append([]byte(nil), f.data...)
	s.held = append(s.held, f)
	s.heldBytes += len(f.data)
	return ErrHeld
}

// expire drops the frames that waited too long.
func (s *slot) expire(now time.Time, r *Room) {
	n := 0
	for n < len(s.held) && now.Sub(s.held[n].at) > holdFor {
		s.heldBytes -= len(s.held[n].data)
		r.drop(sframe.DropHoldExpired)
		n++
	}
	if n > 0 {
		s.held = append(s.held[:0], s.held[n:]...)
		clear(s.held[len(s.held) : len(s.held)+n])
		s.lost()
	}
}

// release tries the held frames of s again, in order.
func (r *Room) release(now time.Time, s *slot, out *Actions) {
	s.expire(now, r)
	held := s.held
	s.held, s.heldBytes = nil, 0
	for _, f := range held {
		data, err := r.open(now, s, f.codec, f.rtp, f.data, make([]byte, 0, len(f.data)), out)
		switch err {
		case nil:
			out.Frames = append(out.Frames, Frame{s.mid, s.conn, s.source, f.codec, f.rtp, data})
		case ErrHeld:
			s.held = append(s.held, f)
			s.heldBytes += len(f.data)
		}
	}
	r.ask(now, s, out)
}

func (r *Room) releaseAll(now time.Time, out *Actions) {
	for _, s := range r.order {
		if len(s.held) > 0 {
			r.release(now, s, out)
		}
	}
}

// tickSlot returns when s needs the next Tick, zero if never.
func (r *Room) tickSlot(now time.Time, s *slot, out *Actions) (next time.Time) {
	s.expire(now, r)
	r.ask(now, s, out)
	if len(s.held) > 0 {
		next = s.held[0].at.Add(holdFor + time.Millisecond)
	}
	if at := s.asked.Add(s.askPause); s.needKey && (next.IsZero() || at.Before(next)) {
		next = at
	}
	return next
}

// opened notes an opened frame: a video stream must begin with a key frame.
func (s *slot) opened(c sframe.Context, f sframe.Frame) {
	switch {
	case c.Audio():
	case f.KeyFrame():
		s.needKey, s.askPause = false, 0
	case !s.started && f.Codec != sframe.VP9: // VP9 does not say so in clear
		s.needKey = true
	}
	s.started = true
}

// lost notes that a frame is missing to the decoder.
func (s *slot) lost() {
	if s.conn != (link.ConnID{}) && !s.source.Audio() {
		s.needKey = true
	}
}

func (r *Room) ask(now time.Time, s *slot, out *Actions) {
	if !s.needKey || now.Sub(s.asked) < s.askPause {
		return
	}
	s.asked = now
	s.askPause = min(max(askFirst, 2*s.askPause), askMost)
	r.stats.KeyFramesRequested++
	out.KeyFrames = append(out.KeyFrames, s.mid)
}
