package transport

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"slices"

	"sotto/sfu/seq"
)

// ErrSequence says that a packet must not be sealed: AES-GCM derives its nonce
// from SSRC and index, and this one was used before, is too old to tell, or
// lies below the stream's first.
var ErrSequence = errors.New("transport: sequence number used before or out of the window")

// ErrHeader says that what should be sealed has no whole RTP header.
var ErrHeader = errors.New("transport: malformed RTP header")

const (
	gcmTag   = 16
	srtpSalt = 12

	// Labels of the key derivation (RFC 3711 4.3.1).
	labelRTPKey  = 0x00
	labelRTPSalt = 0x02
)

// sealer is the outgoing half of an SRTP context with AES-GCM (RFC 7714). The
// library's costs as much again as the cipher: it parses the header into a
// struct, looks the stream up in a map and goes through an interface. This one
// also sees to it that no nonce is used twice. Of one goroutine.
type sealer struct {
	aead    cipher.AEAD
	salt    [srtpSalt]byte
	nonce   [srtpSalt]byte // scratch: what an interface is given escapes
	ssrcs   []uint32       // of streams, which are few
	streams []sealedStream
	last    int // of streams: packets of one come in runs
}

// sealedStream is what must be known of an outgoing stream.
type sealedStream struct {
	unwrap seq.Unwrapper
	used   seq.Window
}

// newSealer derives the session key and salt from the master key, 16 or 32
// bytes long, and the master salt.
func newSealer(key, salt []byte) (*sealer, error) {
	prf, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	sessionKey, sessionSalt := make([]byte, len(key)), make([]byte, srtpSalt)
	deriveSRTP(prf, salt, labelRTPKey, sessionKey)
	deriveSRTP(prf, salt, labelRTPSalt, sessionSalt)
	return sessionSealer(sessionKey, sessionSalt)
}

// sessionSealer takes what newSealer derives.
func sessionSealer(key, salt []byte) (*sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	s := &sealer{salt: [srtpSalt]byte(salt)}
	s.aead, err = cipher.NewGCM(block)
	return s, err
}

// deriveSRTP is the pseudo-random function of RFC 3711 4.3.3, AES in counter
// mode, with a key derivation rate of 0. RFC 7714 11 puts its salt of 12 bytes
// where RFC 3711's of 14 begins.
func deriveSRTP(prf cipher.Block, salt []byte, label byte, out []byte) {
	var in, block [aes.BlockSize]byte
	copy(in[:14], salt)
	in[7] ^= label
	for n := 0; len(out) > 0; n++ {
		binary.BigEndian.PutUint16(in[14:], uint16(n))
		prf.Encrypt(block[:], in[:])
		out = out[copy(out, block[:]):]
	}
}

// seal encrypts the RTP packet in place and returns its new length; cap(buf)
// has room for the tag.
func (s *sealer) seal(buf []byte) (int, error) {
	header, ok := rtpHeader(buf)
	if !ok {
		return 0, ErrHeader
	}
	ssrc, number := binary.BigEndian.Uint32(buf[8:]), binary.BigEndian.Uint16(buf[2:])
	roc, ok := s.stream(ssrc).next(number)
	if !ok {
		return 0, ErrSequence
	}
	// RFC 7714 8.1.
	n := &s.nonce
	*n = s.salt
	binary.BigEndian.PutUint32(n[2:], binary.BigEndian.Uint32(n[2:])^ssrc)
	binary.BigEndian.PutUint32(n[6:], binary.BigEndian.Uint32(n[6:])^roc)
	binary.BigEndian.PutUint16(n[10:], binary.BigEndian.Uint16(n[10:])^number)
	s.aead.Seal(buf[header:header], n[:], buf[header:], buf[:header])
	return len(buf) + gcmTag, nil
}

// stream finds the stream of an SSRC, or makes it.
func (s *sealer) stream(ssrc uint32) *sealedStream {
	if s.last < len(s.ssrcs) && s.ssrcs[s.last] == ssrc {
		return &s.streams[s.last]
	}
	if s.last = slices.Index(s.ssrcs, ssrc); s.last < 0 {
		s.last = len(s.ssrcs)
		s.ssrcs = append(s.ssrcs, ssrc)
		s.streams = append(s.streams, sealedStream{})
	}
	return &s.streams[s.last]
}

// next takes a number into use and returns its roll-over counter (RFC 3711
// 3.3.1). The first one's is 0.
func (s *sealedStream) next(number uint16) (roc uint32, ok bool) {
	const first = 1 << 32 // where extended numbers begin
	index := s.unwrap.Unwrap(number)
	if index < first || !s.used.Add(index) {
		return 0, false
	}
	return uint32((index - first) >> 16), true
}

// rtpHeader returns the length of the header with CSRCs and extensions
// (RFC 3550 5.1, 5.3.1).
func rtpHeader(b []byte) (int, bool) {
	if len(b) < minRTP || b[0]>>6 != 2 {
		return 0, false
	}
	n := minRTP + 4*int(b[0]&0x0f)
	if b[0]&0x10 != 0 {
		if n+4 > len(b) {
			return 0, false
		}
		n += 4 + 4*int(binary.BigEndian.Uint16(b[n+2:]))
	}
	return n, n <= len(b)
}
