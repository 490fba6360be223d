package packet

// bitReader reads big-endian bit fields. Reading past the end returns 0 and sets bad.
type bitReader struct {
	data []byte
	at   int // bits
	bad  bool
}

// bits reads n ≤ 32 bits: f(n) of the AV1 RTP specification.
func (r *bitReader) bits(n int) uint32 {
	if r.at+n > 8*len(r.data) {
		r.bad = true
		return 0
	}
	var v uint64
	first, last := r.at>>3, (r.at+n+7)>>3
	for _, b := range r.data[first:last] { // at most five bytes
		v = v<<8 | uint64(b)
	}
	v >>= uint(8*last - r.at - n)
	r.at += n
	return uint32(v & (1<<uint(n) - 1))
}

func (r *bitReader) flag() bool { return r.bits(1) != 0 }

// nonSymmetric reads a value in [0, n): ns(n) of the AV1 RTP specification.
func (r *bitReader) nonSymmetric(n uint32) uint32 {
	w := 0
	for x := n; x != 0; x >>= 1 {
		w++
	}
	m := uint32(1)<<w - n
	v := r.bits(w - 1)
	if v < m {
		return v
	}
	return v<<1 - m + r.bits(1)
}

// putBits writes the lower n bits of v at bit at of b, which is 0 there.
func putBits(b []byte, at int, v uint32, n int) {
	for n > 0 {
		k := min(8-at&7, n)
		n -= k
		b[at>>3] |= uint8(v>>n&(1<<k-1)) << (8 - at&7 - k)
		at += k
	}
}
