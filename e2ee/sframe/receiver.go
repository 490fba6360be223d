package sframe

import "time"

// Receiver opens the frames of one KID, each at most once. It is owned by one
// goroutine. The same Receiver must be used on whatever stream frames of its
// KID arrive, since its window is what makes replays visible.
type Receiver struct {
	key    *Key
	window window
	floor  uint64 // CTRs below were announced as past by the last heartbeat but one
	beat   uint64 // next CTR as the last heartbeat said
	nonce  [nonceSize]byte
	aad    [maxAAD]byte
}

// NewReceiver returns the receiver for key, with the window of its context.
func NewReceiver(key *Key) *Receiver {
	r := &Receiver{key: key}
	r.window.size = VideoWindow
	if c, _, _, ok := key.kid.Split(); ok && c.Audio() {
		r.window.size = AudioWindow
	}
	return r
}

// KID names the key.
func (r *Receiver) KID() KID { return r.key.kid }

// Heartbeat takes the sender's own word for its next CTR. Frames below the
// value before this one are refused from now on, so nothing older than two
// heartbeats is shown as live. A value that goes back is ignored.
func (r *Receiver) Heartbeat(next uint64) {
	if next >= r.beat {
		r.floor, r.beat = r.beat, next
	}
}

// Open authenticates and decrypts f, appends the frame as it was encoded to
// dst, and records its counter. dst must not overlap the bytes of f. rtp is the
// timestamp of the stream that o belongs to. On error nothing was recorded and
// dst is returned as it was; the error is [DropNoKey] (a frame of another KID),
// [DropReplay], [DropStale], [DropOrder] or [DropAuth].
func (r *Receiver) Open(dst []byte, now time.Time, o *Order, rtp uint32, f Frame) ([]byte, error) {
	if f.KID != r.key.kid || f.sealed == nil {
		return dst, DropNoKey
	}
	if !r.window.fresh(f.CTR) {
		return dst, DropReplay
	}
	if f.CTR < r.floor {
		return dst, DropStale
	}
	aad := appendAAD(append(r.aad[:0], f.head...), f.Codec, f.clear, f.hasClear)
	r.key.nonce(&r.nonce, f.CTR)
	at := len(dst)
	if f.Codec == VP8 {
		dst = append(dst, f.clear)
	}
	plain, err := r.key.aead.Open(dst, r.nonce[:], f.sealed, aad)
	if err != nil {
		return dst[:at], DropAuth
	}
	// Only an authentic frame may tell something about order.
	place, ok := o.place(now, f.KID, f.CTR, rtp)
	if !ok {
		clear(plain[at:])
		return plain[:at], DropOrder
	}
	o.add(now, f.KID, f.CTR, rtp, place)
	r.window.mark(f.CTR)
	return plain, nil
}
