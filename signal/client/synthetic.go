package client

import (
	"context"
	"encoding/binary"
	"time"

	"sotto/e2ee/sframe"
)

// Synthetic is a video source for measurements: frames of equal size that only look like VP8 as far as a server can see, and
// carry the time of sending inside the encryption.
type Synthetic struct {
	// BytesPerSecond is the rate of plain frames.
	BytesPerSecond int
	// FramesPerSecond; 0 is 30.
	FramesPerSecond int
}

// A synthetic frame is: the clear first byte (bit 0 is 0 on key frames), syntheticMagic, u64 send time in ns since 1970,
// u64 number of the frame since the stream began, filling.
const (
	syntheticMagic  = "sotto synthetic"
	syntheticHeader = 1 + len(syntheticMagic) + 8 + 8
	// syntheticKeyInterval is how often a key frame comes without being asked for, in frames.
	syntheticKeyInterval = 300
)

func (s *Synthetic) interval() time.Duration {
	return time.Second / time.Duration(s.framesPerSecond())
}

func (s *Synthetic) framesPerSecond() int {
	if s.FramesPerSecond <= 0 {
		return 30
	}
	return s.FramesPerSecond
}

func appendSynthetic(dst []byte, size int, key bool, now time.Time, number uint64) []byte {
	first := byte(1)
	if key {
		first = 0
	}
	at := len(dst)
	dst = append(dst, first)
	dst = append(dst, syntheticMagic...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(now.UnixNano()))
	dst = binary.BigEndian.AppendUint64(dst, number)
	for len(dst)-at < size {
		dst = append(dst, byte(len(dst)))
	}
	return dst
}

type syntheticFrame struct {
	key    bool
	sent   time.Time
	number uint64
}

func parseSynthetic(b []byte) (syntheticFrame, bool) {
	if len(b) < syntheticHeader || string(b[1:1+len(syntheticMagic)]) != syntheticMagic {
		return syntheticFrame{}, false
	}
	rest := b[1+len(syntheticMagic):]
	for i, v := range b[syntheticHeader:] {
		if v != byte(syntheticHeader+i) {
			return syntheticFrame{}, false
		}
	}
	return syntheticFrame{
		key:    b[0]&1 == 0,
		sent:   time.Unix(0, int64(binary.BigEndian.Uint64(rest))),
		number: binary.BigEndian.Uint64(rest[8:]),
	}, true
}

// runSynthetic sends synthetic frames until ctx ends.
func (p *Participant) runSynthetic(ctx context.Context, pub *publication) {
	s, source := pub.streams[0], p.cfg.Synthetic
	size := source.BytesPerSecond / source.framesPerSecond()
	step := uint32(clockVideo / source.framesPerSecond())
	var frame []byte
	var number uint64
	p.every(ctx, source.interval(), func(time.Time) {
		s.ts += step
		if pub.muted.Load() || pub.wanted.Load() == 0 {
			s.key.Store(true)
			return
		}
		if s.key.Swap(false) || s.next == syntheticKeyInterval {
			s.next = 0
		}
		key := s.next == 0
		s.next++
		frame = appendSynthetic(frame[:0], size, key, time.Now(), number)
		var err error
		if s.protected, err = p.keys.protect(s.protected[:0], sframe.Camera, sframe.VP8, key, frame); err != nil {
			p.count.notProtected.Add(1)
			s.next = 0
			return
		}
		number++
		if s.writeVP8(0, false) != nil {
			p.count.notWritten.Add(1)
		}
	})
}
