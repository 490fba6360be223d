package packet

import "github.com/pion/rtp"

// Outgoing is one packet to one subscriber: a packet in a ring plus every rewritten field.
type Outgoing struct {
	Packet       *Packet
	SSRC, TS     uint32
	Seq          uint16
	PT           uint8
	Marker       bool
	Frame        uint16
	PictureID    uint16
	TL0          uint8
	TransportSeq uint16
	RTX          bool
	OSN          uint16
	Padding      uint8
	MID          []byte
}

// Marshal writes the plain RTP packet into dst.
func (o *Outgoing) Marshal(dst []byte, ext *Extensions, h *rtp.Header) (total, header int, err error) {
	return 0, 0, ErrTooLong
}

// Size returns the bytes that Marshal will write.
func (o *Outgoing) Size(ext *Extensions) int { return 0 }
