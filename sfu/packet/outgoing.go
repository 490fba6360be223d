package packet

import (
	"encoding/binary"

	"github.com/pion/rtp"
)

// Outgoing is one packet to one subscriber: a packet in a ring plus every rewritten field. A value that may wait in a queue.
type Outgoing struct {
	Packet *Packet // nil = padding only
	Ext    uint64  // Packet's ExtSeq when this was made, so that a ring slot overwritten since is noticed; 0 = not checked

	SSRC, TS     uint32
	Seq          uint16
	PT           uint8
	Marker       bool
	Frame        uint16 // DD frame_number; written if the subscriber negotiated the extension and Packet has one
	Targets      uint32 // DD active_decode_targets_bitmask, likewise, at the cost of a few bytes; 0 leaves it as Packet has it. See Descriptor.Targets
	PictureID    uint16 // written where Packet has them, in its own form (7 or 15 bits)
	TL0          uint8
	TransportSeq uint16 // written if the subscriber negotiated transport-wide congestion control
	RTX          bool   // retransmission (RFC 4588): OSN precedes the payload; SSRC, PT and Seq are the RTX stream's
	OSN          uint16
	Padding      uint8  // bytes of RTP padding (RFC 3550 5.1), 0 = none
	MID          []byte // nil = none; at most 255 bytes, not copied
}

// layout is the shape of an outgoing packet; Size and Marshal share it so that they cannot disagree.
type layout struct {
	dd      int  // bytes of the dependency descriptor, 0 = none
	masked  bool // with Targets as its mask
	twoByte bool
	ext     int // bytes of header extensions with their 4-byte header, 0 = none
	payload int // bytes of payload without OSN
	osn     int
	total   int
}

func (o *Outgoing) layout(ext *Extensions) (l layout) {
	elements := 0
	bytes := 0
	wide := func(id uint8, n int) bool { return id > 14 || n > 16 }
	if id := ext.TransportCC; id != 0 {
		elements, bytes = elements+1, bytes+2
		l.twoByte = wide(id, 2)
	}
	if id := ext.MID; id != 0 && len(o.MID) > 0 {
		elements, bytes = elements+1, bytes+len(o.MID)
		l.twoByte = l.twoByte || wide(id, len(o.MID))
	}
	if o.Packet != nil {
		if id := ext.DependencyDescriptor; id != 0 && o.Packet.DD.Len >= ddMandatoryBytes {
			l.dd = int(o.Packet.DD.Len)
			if l.masked = o.Targets != 0 && o.Packet.mask.count != 0; l.masked {
				l.dd = o.Packet.mask.bytes()
			}
			elements, bytes = elements+1, bytes+l.dd
			l.twoByte = l.twoByte || wide(id, l.dd)
		}
		l.payload = int(o.Packet.PayloadEnd) - int(o.Packet.PayloadAt)
		if o.RTX {
			l.osn = osnBytes
		}
	}
	if elements > 0 {
		bytes += elements
		if l.twoByte {
			bytes += elements
		}
		l.ext = 4 + (bytes+3)&^3
	}
	l.total = headerBytes + l.ext + l.osn + l.payload + int(o.Padding)
	return l
}

// Size returns the bytes that Marshal will write.
func (o *Outgoing) Size(ext *Extensions) int { return o.layout(ext).total }

// Marshal writes the plain RTP packet into dst[:cap(dst)] with the subscriber's extension ids and returns its length and that of its
// header. Extension elements longer than 16 bytes (the dependency structure of a key frame) or with an id above 14 need the two-byte
// profile (RFC 8285 4.3), which is used for that packet only.
//
// h is filled with the fixed fields. srtp's EncryptRTP parses the plaintext into h again, so that what it needs of h is storage:
// keep one per goroutine, and it allocates on its first use only. h refers to dst afterwards.
//
// The error is ErrTooLong (longer than MaxPacket or dst), ErrGone, or ErrExtension (MID too long).
func (o *Outgoing) Marshal(dst []byte, ext *Extensions, h *rtp.Header) (total, header int, err error) {
	if o.Packet != nil && o.Ext != 0 && o.Packet.ExtSeq != o.Ext {
		return 0, 0, ErrGone
	}
	if len(o.MID) > 255 {
		return 0, 0, ErrExtension
	}
	l := o.layout(ext)
	if l.total > cap(dst) || l.total > MaxPacket {
		return 0, 0, ErrTooLong
	}
	dst = dst[:l.total]
	dst[0] = 2 << 6
	if l.ext > 0 {
		dst[0] |= 0x10
	}
	if o.Padding > 0 {
		dst[0] |= 0x20
	}
	dst[1] = o.PT & 0x7f
	if o.Marker {
		dst[1] |= 0x80
	}
	binary.BigEndian.PutUint16(dst[2:], o.Seq)
	binary.BigEndian.PutUint32(dst[4:], o.TS)
	binary.BigEndian.PutUint32(dst[8:], o.SSRC)
	header = headerBytes + l.ext
	if l.ext > 0 {
		o.putExtensions(dst[headerBytes:header], &l, ext)
	}

	if o.Packet != nil {
		if l.osn > 0 {
			binary.BigEndian.PutUint16(dst[header:], o.OSN)
		}
		payload := dst[header+l.osn:][:l.payload]
		copy(payload, o.Packet.Payload())
		o.patchPayload(payload)
	}
	if o.Padding > 0 {
		pad := dst[l.total-int(o.Padding):]
		clear(pad)
		pad[len(pad)-1] = o.Padding
	}
	o.fill(h, l.ext > 0)
	return l.total, header, nil
}

// fill sets the fixed fields of h and gives it room for the extensions that this package writes.
func (o *Outgoing) fill(h *rtp.Header, extension bool) {
	if cap(h.Extensions) < 4 {
		h.Extensions = make([]rtp.Extension, 0, 4)
	}
	h.Version, h.Padding, h.PaddingSize = 2, o.Padding > 0, o.Padding
	h.Extension, h.Extensions, h.CSRC = extension, h.Extensions[:0], h.CSRC[:0]
	h.Marker, h.PayloadType = o.Marker, o.PT&0x7f
	h.SequenceNumber, h.Timestamp, h.SSRC = o.Seq, o.TS, o.SSRC
}

// putExtensions writes the extension block; b has exactly the length that layout computed.
func (o *Outgoing) putExtensions(b []byte, l *layout, ext *Extensions) {
	profile := uint16(profileOneByte)
	if l.twoByte {
		profile = profileTwoByte
	}
	binary.BigEndian.PutUint16(b, profile)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)/4-1))
	at := 4
	if id := ext.TransportCC; id != 0 {
		at = putElement(b, at, l.twoByte, id, 2)
		binary.BigEndian.PutUint16(b[at:], o.TransportSeq)
		at += 2
	}
	if id := ext.MID; id != 0 && len(o.MID) > 0 {
		at = putElement(b, at, l.twoByte, id, len(o.MID))
		at += copy(b[at:], o.MID)
	}
	if l.dd > 0 {
		at = putElement(b, at, l.twoByte, ext.DependencyDescriptor, l.dd)
		dd := b[at : at+l.dd]
		if l.masked {
			o.Packet.mask.write(dd, o.Packet.Bytes(o.Packet.DD), o.Targets)
		} else {
			copy(dd, o.Packet.Bytes(o.Packet.DD))
		}
		binary.BigEndian.PutUint16(dd[1:], o.Frame)
		at += l.dd
	}
	clear(b[at:])
}

func putElement(b []byte, at int, twoByte bool, id uint8, n int) int {
	if twoByte {
		b[at], b[at+1] = id, uint8(n)
		return at + 2
	}
	b[at] = id<<4 | uint8(n-1)
	return at + 1
}

// patchPayload rewrites picture id and TL0PICIDX in the copied payload descriptor.
func (o *Outgoing) patchPayload(payload []byte) {
	p := o.Packet
	if at := int(p.PictureIDAt) - int(p.PayloadAt); p.PictureIDAt != 0 {
		if p.PictureIDWide {
			binary.BigEndian.PutUint16(payload[at:], 0x8000|o.PictureID)
		} else {
			payload[at] = uint8(o.PictureID & 0x7f)
		}
	}
	if p.TL0At != 0 {
		payload[p.TL0At-p.PayloadAt] = o.TL0
	}
}
