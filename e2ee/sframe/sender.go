package sframe

import "sync"

const (
	// MaxCTR is where a key ends: 2^32 frames, far below what AES-GCM allows.
	MaxCTR = 1 << 32
	// RekeyCTR is where [Sender.RekeyDue] begins to ask for a new key: at
	// 100 frames/s it leaves more than eight months to answer.
	RekeyCTR = 1 << 31
	// Overhead is the most that Protect adds to a frame: header, tag, and for
	// AV1 the OBU header and a size of four bytes.
	Overhead = MaxHeaderSize + TagSize + 1 + 4
)

// Sender protects the frames of one KID. All simulcast layers of a source use
// the same Sender, because they share its counter; it is safe for concurrent
// use for that reason, and there must be only one per key: a second one would
// repeat counters.
type Sender struct {
	key *Key

	mu    sync.Mutex // guards what follows
	next  uint64
	nonce [nonceSize]byte
	aad   [maxAAD]byte
}

// NewSender returns the sender of key, which must be fresh: no other Sender may
// ever have used it.
func NewSender(key *Key) *Sender { return &Sender{key: key} }

// KID names the key.
func (s *Sender) KID() KID { return s.key.kid }

// Next is the CTR of the next frame: what heartbeats announce.
func (s *Sender) Next() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next
}

// RekeyDue tells that half of the counter is used and a new epoch is due.
func (s *Sender) RekeyDue() bool { return s.Next() >= RekeyCTR }

// Protect appends the protected frame to dst, which must not overlap frame; it
// allocates only if dst lacks capacity for len(frame) + [Overhead]. key tells
// that it is a key frame (AV1 only; in VP8 the frame says so itself). The
// counter is taken before anything else can fail, and never given back. The
// error is [DropCodec], [DropEmpty] or [DropExhausted].
func (s *Sender) Protect(dst []byte, codec Codec, key bool, frame []byte) ([]byte, error) {
	if codec < Opus || codec > AV1 {
		return dst, DropCodec
	}
	if len(frame) == 0 {
		return dst, DropEmpty
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next >= MaxCTR {
		return dst, DropExhausted
	}
	h := Header{s.key.kid, s.next}
	s.next++

	header := h.Append(s.aad[:0])
	var clear byte
	hasClear := false
	switch codec {
	case VP8:
		clear, hasClear = frame[0], true
		frame = frame[1:]
		dst = append(dst, clear)
	case AV1:
		clear, hasClear = obuDelta, true
		if key {
			clear = obuKey
		}
		dst = append(dst, clear)
		dst = appendLEB128(dst, len(header)+len(frame)+TagSize)
	}
	dst = append(dst, header...)
	s.key.nonce(&s.nonce, h.CTR)
	return s.key.aead.Seal(dst, s.nonce[:], frame, appendAAD(header, codec, clear, hasClear)), nil
}
