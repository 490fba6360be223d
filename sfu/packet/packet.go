// Package packet reads and writes RTP packets as a forwarder needs them: header, header extensions and the payload
// descriptors that the packetizer wrote. It never looks at the encoded frame behind the descriptor and the clear prefix
// that the encryption protocol defines.
package packet

import "time"

// Codec names how a payload type is packetized.
type Codec uint8

// Codecs that a room can carry.
const (
	None Codec = iota
	Opus
	VP8
	VP9
	AV1
)

// Extensions holds the header extension ids (RFC 8285) of one session, 1-255; 0 is "not negotiated". They differ per browser.
type Extensions struct {
	MID, RID, RepairedRID, TransportCC, AbsSendTime, DependencyDescriptor uint8
}

// Span is a part of a packet's Raw bytes; a zero Len is "absent".
type Span struct{ At, Len uint16 }

// Packet is one RTP packet after SRTP and before SFrame, as values and offsets; it holds no pointer but Raw.
//
// Parse fills header and extensions. The room sets Codec, ExtSeq and, for simulcast, Layer. Descriptor.Read (one per stream) then
// fills TID, SwitchTID, SID, Skips, Frame, Start, End, Key and the picture id fields. Immutable afterwards. Raw belongs to the reader's
// buffer and is valid until the call that took the packet returns; ring.Ring.Put makes the copy that lives on.
type Packet struct {
	Raw        []byte
	PayloadAt  uint16 // first byte of the payload in Raw
	PayloadEnd uint16 // one past its last byte: RTP padding is outside
	Arrival    time.Time

	SSRC, TS uint32
	Seq      uint16
	PT       uint8
	Marker   bool
	Codec    Codec
	ExtSeq   uint64 // Seq unwrapped over its stream (RTX restored); never 0 for a valid packet, see seq.Unwrapper

	MID, RID, RepairedRID, DD Span
	mask                      targetMask // of DD
	TransportSeq              uint16
	HasTransportSeq           bool

	Layer           int8   // simulcast layer, 0 = lowest; the room's
	TID             uint8  // temporal layer
	SwitchTID       uint8  // temporal layers up to this one may be added with this frame (VP8 Y bit) or after it (DD); 0 = none
	SID             uint8  // spatial layer inside the stream (SVC), 0 = lowest
	Skips           uint8  // spatial layers above SID, a bit for each, whose receivers do without this frame (L3T3_KEY between key frames)
	Frame           uint16 // dependency descriptor frame_number; 0 without DD
	Start, End, Key bool   // first packet of a frame, last packet of a frame, part of a key frame (Key is sure on the Start packet)
	Repaired        bool   // came as a retransmission

	PictureID, TL0     uint16 // payload descriptor of VP8 (RFC 7741 4.2) or VP9 (RFC 9628 4.2)
	PictureIDAt, TL0At uint16 // offsets in Raw; 0 = absent
	PictureIDWide      bool   // 15-bit form
}

// Payload returns the payload without RTP padding.
func (p *Packet) Payload() []byte { return p.Raw[p.PayloadAt:p.PayloadEnd] }

// Bytes returns the bytes of a span.
func (p *Packet) Bytes(s Span) []byte { return p.Raw[s.At : s.At+s.Len] }

// PaddingOnly reports a packet without payload: a bandwidth probe, part of no frame. It still uses up a sequence number.
func (p *Packet) PaddingOnly() bool { return p.PayloadAt == p.PayloadEnd }
