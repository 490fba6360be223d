package packet

import (
	"errors"
	"time"
)

// Errors of Parse, Descriptor.Read, UnwrapRTX and Marshal. They carry no detail on purpose: a drop is counted by its error.
var (
	ErrShort      = errors.New("packet: truncated")
	ErrVersion    = errors.New("packet: not RTP version 2")
	ErrExtension  = errors.New("packet: malformed header extension")
	ErrPadding    = errors.New("packet: padding only or malformed padding")
	ErrDescriptor = errors.New("packet: malformed payload descriptor")
	ErrTooLong    = errors.New("packet: does not fit")
)

// MaxPacket is the largest plain RTP packet in bytes that this package writes.
const MaxPacket = 1500

// Parse reads header and extensions of raw into p.
func Parse(raw []byte, ext *Extensions, arrival time.Time, p *Packet) error {
	return ErrShort
}

// UnwrapRTX restores the original packet in place.
func (p *Packet) UnwrapRTX(ssrc uint32, pt uint8) error { return ErrShort }
