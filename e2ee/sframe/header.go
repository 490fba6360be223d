package sframe

import (
	"encoding/binary"
	"math/bits"
)

// MaxHeaderSize is the length of a header with 8-byte KID and CTR: the config
// byte and both numbers (RFC 9605 4.3).
const MaxHeaderSize = 1 + 8 + 8

// Header is the SFrame header (RFC 9605 4.3): which key, which use of it.
type Header struct {
	KID KID
	CTR uint64
}

// Len is the encoded length in bytes, 1 to [MaxHeaderSize].
func (h Header) Len() int {
	n := 1
	if h.KID > 7 {
		n += size(uint64(h.KID))
	}
	if h.CTR > 7 {
		n += size(h.CTR)
	}
	return n
}

// Append appends the encoded header to dst.
//
//	 0 1 2 3 4 5 6 7
//	+-+-+-+-+-+-+-+-+---------------------------+---------------------------+
//	|X|  K  |Y|  C  |   KID... (length=K+1)     |    CTR... (length=C+1)    |
//	+-+-+-+-+-+-+-+-+---------------------------+---------------------------+
//
// X = 0: K is the KID itself; Y = 0: C is the CTR itself.
func (h Header) Append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, 0)
	config := byte(0)
	if kid := uint64(h.KID); kid > 7 {
		config |= 0x80 | byte(size(kid)-1)<<4
		dst = appendUint(dst, kid)
	} else {
		config |= byte(kid) << 4
	}
	if h.CTR > 7 {
		config |= 0x08 | byte(size(h.CTR)-1)
		dst = appendUint(dst, h.CTR)
	} else {
		config |= byte(h.CTR)
	}
	dst[at] = config
	return dst
}

// ParseHeader reads a header from the start of b and returns its length. Only
// the shortest form is accepted, so a header has exactly one encoding. The
// error is [DropMalformed].
func ParseHeader(b []byte) (Header, int, error) {
	if len(b) == 0 {
		return Header{}, 0, DropMalformed
	}
	config, at := b[0], 1
	kid, at, ok := parseUint(b, at, config>>4)
	if !ok {
		return Header{}, 0, DropMalformed
	}
	ctr, at, ok := parseUint(b, at, config&0x0f)
	if !ok {
		return Header{}, 0, DropMalformed
	}
	return Header{KID(kid), ctr}, at, nil
}

// parseUint reads a number whose four config bits are field: below 8 the value
// itself, otherwise its length in bytes less one.
func parseUint(b []byte, at int, field byte) (v uint64, next int, ok bool) {
	if field < 8 {
		return uint64(field), at, true
	}
	n := int(field&7) + 1
	if len(b)-at < n {
		return 0, 0, false
	}
	for _, c := range b[at : at+n] {
		v = v<<8 | uint64(c)
	}
	if v < 8 || size(v) != n {
		return 0, 0, false
	}
	return v, at + n, true
}

// size is the number of bytes v needs, at least 1.
func size(v uint64) int { return max(1, (bits.Len64(v)+7)/8) }

func appendUint(dst []byte, v uint64) []byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], v)
	return append(dst, b[8-size(v):]...)
}
