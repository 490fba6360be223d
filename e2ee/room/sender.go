package room

import (
	"sync/atomic"

	"sotto/e2ee/sframe"
)

// Sender protects the frames of one own source. It follows the epochs of the
// group by itself. All methods are safe for concurrent use.
type Sender struct {
	current atomic.Pointer[sframe.Sender]
	journal atomic.Pointer[journal] // nil: media is not signed
}

// Protect appends the protected frame to dst, as [sframe.Sender.Protect] does.
// The error is also [sframe.DropNoKey]: not a member (yet, or any more), and
// nothing may be sent.
func (s *Sender) Protect(dst []byte, codec sframe.Codec, key bool, frame []byte) ([]byte, error) {
	c := s.current.Load()
	if c == nil {
		return dst, sframe.DropNoKey
	}
	at := len(dst)
	dst, err := c.Protect(dst, codec, key, frame)
	if j := s.journal.Load(); j != nil && err == nil {
		j.note(codec, dst[at:])
	}
	return dst, err
}

// Sender returns the sender of a source: always the same one.
func (r *Room) Sender(c sframe.Context) *Sender { return &r.senders[c] }

// sendWith lets all sources go on with the keys of an epoch.
func (r *Room) sendWith(number uint64) error {
	e := r.epoch(number)
	if e == nil {
		return nil // overtaken by a later one
	}
	for c := range r.senders {
		s, err := e.sender(sframe.Context(c))
		if err != nil {
			return err
		}
		r.senders[c].current.Store(s)
	}
	r.sending = number
	return nil
}

// stopSending lets every source drop its frames.
func (r *Room) stopSending() {
	for c := range r.senders {
		r.senders[c].current.Store(nil)
	}
}
