package packet

import (
	"encoding/binary"
	"errors"
	"time"
)

// Errors of Parse, Descriptor.Read, UnwrapRTX and Marshal. They carry no detail: the caller counts a drop by its error.
var (
	ErrShort      = errors.New("packet: truncated RTP packet")
	ErrVersion    = errors.New("packet: not RTP version 2")
	ErrExtension  = errors.New("packet: malformed header extension")
	ErrPadding    = errors.New("packet: no payload or malformed padding")
	ErrDescriptor = errors.New("packet: malformed payload or dependency descriptor")
	ErrTooLong    = errors.New("packet: too long")
	ErrGone       = errors.New("packet: overwritten in its ring")
)

// MaxPacket is the largest plain RTP packet in bytes that is kept or written: an Ethernet frame's worth.
const MaxPacket = 1500

const (
	headerBytes = 12 // RFC 3550 5.1, without CSRC list and extensions

	profileOneByte = 0xBEDE // RFC 8285 4.2
	profileTwoByte = 0x1000 // RFC 8285 4.3; the low four bits are free for applications
)

// Parse reads the RTP header (RFC 3550 5.1) and the header extensions (RFC 8285) of raw into p, which it resets. p.Raw becomes raw.
// It does not allocate. The error is ErrShort, ErrVersion, ErrExtension, ErrPadding or ErrTooLong. A packet of padding only is
// valid: it counts for transport feedback.
func Parse(raw []byte, ext *Extensions, arrival time.Time, p *Packet) error {
	if len(raw) < headerBytes {
		return ErrShort
	}
	if len(raw) > 1<<16-1 { // offsets are 16 bits
		return ErrTooLong
	}
	if raw[0]>>6 != 2 {
		return ErrVersion
	}
	*p = Packet{
		Raw:     raw,
		Arrival: arrival,
		Marker:  raw[1]&0x80 != 0,
		PT:      raw[1] & 0x7f,
		Seq:     binary.BigEndian.Uint16(raw[2:]),
		TS:      binary.BigEndian.Uint32(raw[4:]),
		SSRC:    binary.BigEndian.Uint32(raw[8:]),
	}
	at := headerBytes + 4*int(raw[0]&0x0f)
	if at > len(raw) {
		return ErrShort
	}
	if raw[0]&0x10 != 0 {
		if at+4 > len(raw) {
			return ErrShort
		}
		profile := binary.BigEndian.Uint16(raw[at:])
		start := at + 4
		at = start + 4*int(binary.BigEndian.Uint16(raw[at+2:]))
		if at > len(raw) {
			return ErrExtension
		}
		if err := p.parseExtensions(ext, profile, start, at); err != nil {
			return err
		}
	}
	end := len(raw)
	if raw[0]&0x20 != 0 {
		if at == end {
			return ErrPadding
		}
		padding := int(raw[end-1])
		if padding == 0 || padding > end-at {
			return ErrPadding
		}
		end -= padding
	}
	p.PayloadAt, p.PayloadEnd = uint16(at), uint16(end)
	return nil
}

// parseExtensions walks the elements in Raw[at:end]. Extensions of another profile than RFC 8285's are skipped.
func (p *Packet) parseExtensions(ext *Extensions, profile uint16, at, end int) error {
	switch {
	case profile == profileOneByte:
		for at < end {
			b := p.Raw[at]
			at++
			if b == 0 { // padding byte
				continue
			}
			id, n := b>>4, int(b&0x0f)+1
			if id == 15 { // RFC 8285 4.2: stop here
				return nil
			}
			if at+n > end {
				return ErrExtension
			}
			if id != 0 { // id 0 with a length is to be ignored
				if err := p.setExtension(ext, id, at, n); err != nil {
					return err
				}
			}
			at += n
		}
	case profile&0xfff0 == profileTwoByte:
		for at < end {
			id := p.Raw[at]
			at++
			if id == 0 {
				continue
			}
			if at >= end {
				return ErrExtension
			}
			n := int(p.Raw[at])
			at++
			if at+n > end {
				return ErrExtension
			}
			if err := p.setExtension(ext, id, at, n); err != nil {
				return err
			}
			at += n
		}
	}
	return nil
}

// setExtension notes one element. An element whose length cannot be right makes the packet invalid.
func (p *Packet) setExtension(ext *Extensions, id uint8, at, n int) error {
	span := Span{uint16(at), uint16(n)}
	switch id {
	case ext.TransportCC:
		if n != 2 {
			return ErrExtension
		}
		p.TransportSeq = binary.BigEndian.Uint16(p.Raw[at:])
		p.HasTransportSeq = true
	case ext.DependencyDescriptor:
		if n < ddMandatoryBytes {
			return ErrExtension
		}
		p.DD = span
	case ext.MID:
		if n == 0 {
			return ErrExtension
		}
		p.MID = span
	case ext.RID:
		if n == 0 {
			return ErrExtension
		}
		p.RID = span
	case ext.RepairedRID:
		if n == 0 {
			return ErrExtension
		}
		p.RepairedRID = span
	}
	return nil
}

// osnBytes is the length of the original sequence number before an RTX payload (RFC 4588 4).
const osnBytes = 2

// UnwrapRTX turns an RTX packet (RFC 4588 4) into the original one, in place: the original sequence number becomes Seq, the header
// moves over it, ssrc and pt are the original stream's. ErrPadding: nothing was retransmitted, the packet is a padding probe.
// On an error p is unchanged.
func (p *Packet) UnwrapRTX(ssrc uint32, pt uint8) error {
	if p.PayloadEnd-p.PayloadAt < osnBytes {
		return ErrPadding
	}
	seq := binary.BigEndian.Uint16(p.Raw[p.PayloadAt:])
	copy(p.Raw[osnBytes:], p.Raw[:p.PayloadAt])
	p.Raw = p.Raw[osnBytes:] // offsets into the header stay right: the header moved with the start of Raw
	p.PayloadEnd -= osnBytes
	p.Raw[1] = p.Raw[1]&0x80 | pt&0x7f
	binary.BigEndian.PutUint16(p.Raw[2:], seq)
	binary.BigEndian.PutUint32(p.Raw[8:], ssrc)
	p.Seq, p.SSRC, p.PT, p.Repaired = seq, ssrc, pt&0x7f, true
	return nil
}
