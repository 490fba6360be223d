package sframe

import "strings"

// Codec selects the clear bytes of a frame. The values are part of the
// authenticated data.
type Codec uint8

// The codecs that may be sent. RED, H.264 and everything else are refused:
// their packetizers need bytes that would have to stay readable.
const (
	Opus Codec = 1 + iota
	VP8
	VP9
	AV1
)

// CodecOf maps a media type such as "video/VP8" (case does not matter).
func CodecOf(mime string) (Codec, bool) {
	switch strings.ToLower(mime) {
	case "audio/opus":
		return Opus, true
	case "video/vp8":
		return VP8, true
	case "video/vp9":
		return VP9, true
	case "video/av1":
		return AV1, true
	}
	return 0, false
}

// OBU headers (AV1 specification 5.3.2) with obu_has_size_field = 1.
// A packetizer marks the start of a coded video sequence (N bit) on a sequence
// header, which is how the server and receivers see key frames.
const (
	obuKey   = 1<<3 | 2 // OBU_SEQUENCE_HEADER, 0x0A
	obuDelta = 6<<3 | 2 // OBU_FRAME, 0x32

	obuTypeSequence = 1
	obuTypeTemporal = 2
	obuTypeFrame    = 6
)

// Frame is a received frame taken apart, not yet authenticated. It refers to
// the bytes it was parsed from.
type Frame struct {
	Header
	Codec    Codec
	head     []byte // the encoded header
	sealed   []byte // ciphertext and tag
	clear    byte   // as it enters the authenticated data
	hasClear bool
}

// Parse takes a received frame apart. The error is [DropCodec], [DropEmpty] or
// [DropMalformed].
func Parse(codec Codec, b []byte) (Frame, error) {
	f := Frame{Codec: codec}
	if len(b) == 0 {
		return f, DropEmpty
	}
	switch codec {
	case Opus, VP9:
	case VP8:
		f.clear, f.hasClear, b = b[0], true, b[1:]
	case AV1:
		var ok bool
		if f.clear, b, ok = unwrapOBU(b); !ok {
			return f, DropMalformed
		}
		f.hasClear = true
	default:
		return f, DropCodec
	}
	h, n, err := ParseHeader(b)
	if err != nil {
		return f, err
	}
	if _, _, _, ok := h.KID.Split(); !ok || h.CTR >= MaxCTR || len(b)-n < TagSize {
		return f, DropMalformed
	}
	f.Header, f.head, f.sealed = h, b[:n], b[n:]
	return f, nil
}

// unwrapOBU returns the payload of the one OBU in b and its header byte as a
// sender writes it: receivers may see the OBU behind a temporal delimiter, with
// an extension or without a size field, because depacketizers rewrite those.
func unwrapOBU(b []byte) (clear byte, payload []byte, ok bool) {
	kind, payload, rest, ok := nextOBU(b)
	if ok && kind == obuTypeTemporal {
		kind, payload, rest, ok = nextOBU(rest)
	}
	if !ok || len(rest) != 0 {
		return 0, nil, false
	}
	switch kind {
	case obuTypeSequence:
		return obuKey, payload, true
	case obuTypeFrame:
		return obuDelta, payload, true
	}
	return 0, nil, false
}

func nextOBU(b []byte) (kind byte, payload, rest []byte, ok bool) {
	if len(b) == 0 || b[0]&0x81 != 0 { // forbidden and reserved bits
		return 0, nil, nil, false
	}
	kind = b[0] >> 3 & 15
	at := 1
	if b[0]&4 != 0 { // extension
		at++
	}
	if b[0]&2 == 0 { // no size: to the end
		if len(b) < at {
			return 0, nil, nil, false
		}
		return kind, b[at:], nil, true
	}
	size, n := 0, 0
	for ; ; n++ {
		// Four groups of seven bits are 256 MB, more than any frame.
		if n == 4 || at+n >= len(b) {
			return 0, nil, nil, false
		}
		size |= int(b[at+n]&0x7f) << (7 * n)
		if b[at+n]&0x80 == 0 {
			break
		}
	}
	at += n + 1
	if len(b)-at < size {
		return 0, nil, nil, false
	}
	return kind, b[at : at+size], b[at+size:], true
}

func appendLEB128(dst []byte, v int) []byte {
	for ; v >= 0x80; v >>= 7 {
		dst = append(dst, byte(v)|0x80)
	}
	return append(dst, byte(v))
}

// appendAAD completes the authenticated data: header || "sto1" || codec || clear.
func appendAAD(header []byte, codec Codec, clear byte, hasClear bool) []byte {
	header = append(header, 's', 't', 'o', '1', byte(codec))
	if hasClear {
		header = append(header, clear)
	}
	return header
}

const maxAAD = MaxHeaderSize + 4 + 1 + 1

// KeyFrame tells whether f says in clear that it is a key frame; VP9 and Opus
// never do. It is true only if f opens.
func (f *Frame) KeyFrame() bool {
	switch f.Codec {
	case VP8:
		return f.clear&1 == 0
	case AV1:
		return f.clear == obuKey
	}
	return false
}
