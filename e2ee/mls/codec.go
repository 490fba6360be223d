package mls

import (
	"encoding/binary"
	"slices"
)

// maxEncoding bounds every encoding that is decoded as a whole, in bytes. It
// is far above what a group of MaxLeaves needs in practice; a longer input is
// refused before anything of it is looked at.
const maxEncoding = 4 << 20

// reader decodes the TLS presentation language with the variable-length
// vectors of RFC 9420 2.1. The first error sticks: later reads return zero
// values, so that decoders need no check after each field. Nothing is
// allocated on the word of a length prefix, only for bytes that are there.
type reader struct {
	b   []byte
	err error
}

// codable is a structure of the wire format.
type codable interface {
	encode(w *writer)
	decode(r *reader)
}

// marshal returns the encoding of v.
func marshal(v interface{ encode(w *writer) }) []byte {
	var w writer
	v.encode(&w)
	return w.b
}

// unmarshal decodes all of b into v; trailing bytes are an error.
func unmarshal(b []byte, v interface{ decode(r *reader) }) error {
	if len(b) > maxEncoding {
		return refuse(ErrLimit, "encoding of %d bytes", uint64(len(b)))
	}
	r := reader{b: b}
	v.decode(&r)
	return r.end()
}

// end returns the first error, and complains about bytes left over.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.err = refuse(ErrEncoding, "%d trailing bytes", uint64(len(r.b)))
	}
	return r.err
}

func (r *reader) fail(text string, numbers ...uint64) {
	if r.err == nil {
		r.err = refuse(ErrEncoding, text, numbers...)
	}
	r.b = nil
}

// take returns the next n bytes, which alias the input.
func (r *reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.b) {
		r.fail("%d bytes wanted, %d left", uint64(n), uint64(len(r.b)))
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// length reads a vector length: the two high bits of the first byte are the
// logarithm of the number of bytes, 3 is invalid, and the encoding must be the
// shortest possible (RFC 9420 2.1.2).
func (r *reader) length() int {
	first := r.u8()
	size := first >> 6
	if size == 3 {
		r.fail("invalid vector length prefix")
		return 0
	}
	n := int(first & 0x3f)
	for range (1 << size) - 1 {
		n = n<<8 | int(r.u8())
	}
	if r.err == nil && ((size == 1 && n < 1<<6) || (size == 2 && n < 1<<14)) {
		r.fail("vector length not in its shortest form")
	}
	if r.err != nil {
		return 0
	}
	return n
}

// opaque reads opaque<V> and returns a copy; nil when empty.
func (r *reader) opaque() []byte {
	b := r.take(r.length())
	if len(b) == 0 {
		return nil
	}
	return slices.Clone(b)
}

// vector reads a vector of at most limit structures; item reads one of them,
// and every item has at least one byte. The limit keeps the memory in
// proportion: a structure may take fifty times its shortest encoding.
func (r *reader) vector(limit int, item func(r *reader)) {
	sub := reader{b: r.take(r.length()), err: r.err}
	for n := 0; sub.err == nil && len(sub.b) > 0; n++ {
		if n == limit {
			sub.err = refuse(ErrLimit, "vector of more than %d items", uint64(limit))
			break
		}
		item(&sub)
	}
	if sub.err != nil {
		r.err, r.b = sub.err, nil
	}
}

// optional reads optional<T> and reports whether the value follows
// (RFC 9420 2.1.1).
func (r *reader) optional() bool {
	switch r.u8() {
	case 0:
		return false
	case 1:
		return true
	}
	r.fail("optional is neither 0 nor 1")
	return false
}

// writer is the counterpart of reader; it cannot fail.
type writer struct{ b []byte }

func (w *writer) u8(v uint8)   { w.b = append(w.b, v) }
func (w *writer) u16(v uint16) { w.b = binary.BigEndian.AppendUint16(w.b, v) }
func (w *writer) u32(v uint32) { w.b = binary.BigEndian.AppendUint32(w.b, v) }
func (w *writer) u64(v uint64) { w.b = binary.BigEndian.AppendUint64(w.b, v) }

// raw writes bytes without a length.
func (w *writer) raw(b []byte) { w.b = append(w.b, b...) }

// length writes a vector length in its shortest form. A vector of 1 GiB and
// more cannot be expressed; no caller comes near (see maxEncoding).
func (w *writer) length(n int) {
	switch {
	case n < 1<<6:
		w.u8(uint8(n))
	case n < 1<<14:
		w.u16(1<<14 | uint16(n))
	default:
		w.u32(2<<30 | uint32(n))
	}
}

// opaque writes opaque<V>.
func (w *writer) opaque(b []byte) {
	w.length(len(b))
	w.raw(b)
}

// vector writes the length of what body writes, then that.
func (w *writer) vector(body func(w *writer)) {
	var sub writer
	body(&sub)
	w.opaque(sub.b)
}

func (w *writer) optional(present bool) {
	if present {
		w.u8(1)
	} else {
		w.u8(0)
	}
}
