package main

import (
	"encoding/binary"
	"math"
	"time"

	"sotto/e2ee/group"
	"sotto/e2ee/link"
)

// reader takes an event apart. After a read beyond the end bad is set and
// everything read is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.bad = true
		r.b = nil
		return make([]byte, n)
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u8() uint8   { return r.take(1)[0] }
func (r *reader) u16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) u32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }
func (r *reader) flag() bool  { return r.u8() != 0 }

func (r *reader) id() (id [16]byte) {
	copy(id[:], r.take(len(id)))
	return id
}

func (r *reader) conn() link.ConnID { return r.id() }

// rest is everything that is left.
func (r *reader) rest() []byte { return r.take(len(r.b)) }

// time reads milliseconds since 1970, a float64.
func (r *reader) time() time.Time {
	ms := math.Float64frombits(r.u64())
	if !(ms >= 0 && ms < 1<<52) {
		r.bad = true
		return time.Time{}
	}
	return time.UnixMicro(int64(math.Round(ms * 1000)))
}

// conns reads a list of connections to the end.
func (r *reader) conns() []link.ConnID {
	list := make([]link.ConnID, 0, len(r.b)/16)
	for len(r.b) > 0 {
		list = append(list, r.conn())
	}
	return list
}

// position reads one that may be missing.
func (r *reader) position() *group.Position {
	if !r.flag() {
		return nil
	}
	return &group.Position{Group: r.id(), Slot: r.u64()}
}

func (r *reader) policy() group.Policy {
	return group.Policy{Locked: r.flag(), Knock: r.flag()}
}
