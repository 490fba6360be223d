package packet

import "encoding/binary"

// readVP8 reads the payload descriptor of RFC 7741 4.2 and, in a frame's first packet, the key bit of the frame's clear first byte
// (RFC 6386 9.1). Chromium sends the one-byte form when it sends a dependency descriptor.
//
//	X R N S R PID | I L T K RSV | M PictureID (7 or 15 bits) | TL0PICIDX | TID Y KEYIDX
func (p *Packet) readVP8() error {
	b := p.Payload()
	at := 1
	if b[0]&0x80 != 0 {
		if len(b) < 2 {
			return ErrDescriptor
		}
		flags := b[1]
		at = 2
		if flags&0x80 != 0 {
			n := p.readPictureID(b, at)
			if n == 0 {
				return ErrDescriptor
			}
			at += n
		}
		if flags&0x40 != 0 {
			if len(b) <= at {
				return ErrDescriptor
			}
			p.TL0, p.TL0At = uint16(b[at]), p.PayloadAt+uint16(at)
			at++
		}
		if flags&0x30 != 0 {
			if len(b) <= at {
				return ErrDescriptor
			}
			if flags&0x20 != 0 {
				p.TID = b[at] >> 6
				if b[at]&0x20 != 0 { // Y: depends on the base layer only
					p.SwitchTID = p.TID
				}
			}
			at++
		}
	}
	if len(b) <= at {
		return ErrDescriptor
	}
	p.Start = b[0]&0x10 != 0 && b[0]&0x07 == 0
	p.End = p.Marker
	p.Key = p.Start && b[at]&1 == 0
	return nil
}

// maxVP9Spatial is what the three bits of SID and N_S can say.
const maxVP9Spatial = 8

// vp9Structure is the scalability structure of a VP9 stream (RFC 9628 4.2.1), which comes with key frames and when layers change.
type vp9Structure struct {
	known, resolutions bool
	count              uint8  // spatial layers
	since              uint64 // extended sequence number of the packet that brought it
	width, height      [maxVP9Spatial]uint16
}

// readVP9 reads the payload descriptor of RFC 9628 4.2 as far as layers and the picture id.
//
//	I P L F B E V Z | M PictureID | TID U SID D | TL0PICIDX (non-flexible mode only) | P_DIFF N (flexible, up to 3) | SS
func (p *Packet) readVP9(ss *vp9Structure) error {
	b := p.Payload()
	flags := b[0]
	at := 1
	if flags&0x80 != 0 {
		n := p.readPictureID(b, at)
		if n == 0 {
			return ErrDescriptor
		}
		at += n
	}
	if flags&0x20 != 0 {
		if len(b) <= at {
			return ErrDescriptor
		}
		p.TID, p.SID = b[at]>>5, b[at]>>1&7
		if b[at]&0x10 != 0 { // U: later frames of higher temporal layers depend on none before this one
			p.SwitchTID = 7
		}
		at++
		if flags&0x10 == 0 {
			if len(b) <= at {
				return ErrDescriptor
			}
			p.TL0, p.TL0At = uint16(b[at]), p.PayloadAt+uint16(at)
			at++
		}
	}
	if len(b) <= at {
		return ErrDescriptor
	}
	p.Start, p.End = flags&0x08 != 0, flags&0x04 != 0
	p.Key = p.Start && flags&0x40 == 0 && p.SID == 0
	if flags&0x02 != 0 && (!ss.known || p.ExtSeq >= ss.since) {
		if flags&0x50 == 0x50 { // flexible mode, not a key picture: up to three references
			for more := 0; more < 3 && at < len(b); more++ {
				at++
				if b[at-1]&1 == 0 {
					break
				}
			}
		}
		ss.read(b[at:], p.ExtSeq)
	}
	if flags&0x01 != 0 && ss.known && p.SID+1 < ss.count { // Z: no reference of the layers above it
		p.Skips = ^(uint8(2)<<p.SID - 1)
	}
	return nil
}

// read takes a scalability structure, unless it is cut off: it is of use, but no packet depends on it.
//
//	N_S Y G - - - | WIDTH HEIGHT (Y: of each layer) | …
func (ss *vp9Structure) read(b []byte, ext uint64) {
	if len(b) == 0 {
		return
	}
	count := b[0]>>5 + 1
	resolutions := b[0]&0x10 != 0
	b = b[1:]
	if resolutions && len(b) < 4*int(count) {
		return
	}
	ss.known, ss.resolutions, ss.count, ss.since = true, resolutions, count, ext
	for i := 0; resolutions && i < int(count); i++ {
		ss.width[i], ss.height[i] = binary.BigEndian.Uint16(b[4*i:]), binary.BigEndian.Uint16(b[4*i+2:])
	}
}

// readAV1 reads the aggregation header (AV1 RTP specification 4.4): Z Y W W N. It does not mark the start of a frame that is not
// the first of a sequence; a new timestamp does.
func (p *Packet) readAV1(newTS bool) {
	h := p.Raw[p.PayloadAt]
	p.Key = h&0x08 != 0
	p.Start = p.Key || newTS && h&0x80 == 0
	p.End = p.Marker
}

// readPictureID reads the M bit and the 7- or 15-bit picture id at b[at:]; it returns its length, 0 when truncated.
func (p *Packet) readPictureID(b []byte, at int) int {
	if len(b) <= at {
		return 0
	}
	p.PictureIDAt = p.PayloadAt + uint16(at)
	if b[at]&0x80 == 0 {
		p.PictureID = uint16(b[at])
		return 1
	}
	if len(b) <= at+1 {
		return 0
	}
	p.PictureIDWide = true
	p.PictureID = binary.BigEndian.Uint16(b[at:]) & 0x7fff
	return 2
}
