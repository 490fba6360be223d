package packet

const (
	ddMaxBytes = 255 // the longest element of the two-byte form (RFC 8285 4.3)
	// ddMaskAt is where the mask stands in a descriptor without structure: after the five flags that follow the mandatory fields.
	ddMaskAt = 8*ddMandatoryBytes + 5
	// ddMaskFlag is active_decode_targets_present_flag in the byte of the flags.
	ddMaskFlag = 0x40
)

// targetMask is where a descriptor has its active_decode_targets_bitmask (AV1 RTP specification A.8.1), or room for it. A forwarder that
// leaves layers out says so there (A.4): a receiver that counts on a target takes the frames that it does not get for lost.
//
// The zero value is that of a descriptor which cannot be changed, since its structure is not known.
type targetMask struct {
	at, end uint16 // bits: where the mask begins, and where the last field of the descriptor ends
	count   uint8  // bits of the mask
	present bool
}

// bytes returns the length of the descriptor with the mask.
func (m *targetMask) bytes() int {
	bits := int(m.end)
	if !m.present {
		bits += int(m.count)
	}
	return (bits + 7) / 8
}

// write copies the descriptor src to dst, of the length that bytes returns, with targets as its mask.
func (m *targetMask) write(dst, src []byte, targets uint32) {
	at := int(m.at)
	n := copy(dst, src[:min(len(src), (at+7)/8)])
	clear(dst[n:])
	if at < 8*n {
		dst[n-1] &^= 0xff >> (at & 7)
	}
	dst[ddMandatoryBytes] |= ddMaskFlag
	putBits(dst, at, targets, int(m.count))
	rest := bitReader{data: src, at: at}
	if at += int(m.count); m.present {
		rest.at = at
	}
	for left := int(m.end) - rest.at; left > 0; {
		k := min(32, left)
		putBits(dst, at, rest.bits(k), k)
		at, left = at+k, left-k
	}
}
