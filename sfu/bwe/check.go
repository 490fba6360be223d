package bwe

import "encoding/binary"

const (
	rtcpHeader      = 4
	rtcpFeedback    = 205 // RTPFB, RFC 4585 6.1
	feedbackFormat  = 15  // transport-wide feedback
	feedbackHeader  = 20  // up to the first chunk
	statusesOffset  = 14
	vectorChunk     = 1 << 15
	twoBitChunk     = 1 << 14
	runLengthMask   = 1<<13 - 1
	symbolSmall     = 1
	symbolLarge     = 2
	oneBitSymbols   = 14
	twoBitSymbols   = 7
	runSymbolShift  = 13
	twoBitFirstBits = 12
)

// CheckCompound reports whether all transport-wide feedback in an RTCP compound holds the deltas that its statuses claim.
// Call it before rtcp.Unmarshal, which allocates for every claimed status first: a forged packet of 40 bytes that claims
// 65,535 of them would cost milliseconds and megabytes. It takes at most one step a chunk and does not allocate. Other
// packets, and compounds that end early, are not its business and pass.
func CheckCompound(raw []byte) bool {
	for len(raw) >= rtcpHeader {
		size := rtcpHeader * (int(binary.BigEndian.Uint16(raw[2:])) + 1)
		if size > len(raw) {
			return true
		}
		if raw[1] == rtcpFeedback && raw[0]&0x1f == feedbackFormat && !checkFeedback(raw[:size]) {
			return false
		}
		raw = raw[size:]
	}
	return true
}

func checkFeedback(raw []byte) bool {
	if len(raw) < feedbackHeader {
		return false
	}
	left := int(binary.BigEndian.Uint16(raw[statusesOffset:]))
	at, deltas := feedbackHeader, 0
	for left > 0 {
		if at+2 > len(raw) {
			return false
		}
		c := binary.BigEndian.Uint16(raw[at:])
		at += 2
		switch {
		case c&vectorChunk == 0:
			n := min(int(c&runLengthMask), left)
			if s := int(c >> runSymbolShift & 3); s == symbolSmall || s == symbolLarge {
				deltas += n * s // as many bytes as the symbol says
			}
			left -= n
		case c&twoBitChunk == 0:
			n := min(oneBitSymbols, left)
			for i := range n {
				deltas += int(c >> (oneBitSymbols - 1 - i) & 1)
			}
			left -= n
		default:
			n := min(twoBitSymbols, left)
			for i := range n {
				if s := int(c >> (twoBitFirstBits - 2*i) & 3); s == symbolSmall || s == symbolLarge {
					deltas += s
				}
			}
			left -= n
		}
		if at+deltas > len(raw) {
			return false
		}
	}
	return true
}
