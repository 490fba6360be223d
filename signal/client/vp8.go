package client

import "errors"

// errDescriptor is a truncated VP8 payload descriptor.
var errDescriptor = errors.New("client: truncated VP8 descriptor")

// maxPayload is the RTP payload of one packet: 1200 bytes are what WebRTC senders assume to pass everywhere, less room for
// the RTP header with its extensions.
const maxPayload = 1140

// descriptorSize is the length of the descriptor that vp8Packetizer writes: X, I with 15 bits, L, T (RFC 7741 4.2).
const descriptorSize = 6

// vp8Packetizer cuts the frames of one layer into RTP payloads. The picture id and TL0PICIDX go on over the whole stream,
// whatever the clip does. Not safe for concurrent use.
type vp8Packetizer struct {
	pictureID uint16 // 15 bits
	tl0       uint8
	started   bool
	buf       []byte
}

// packetize returns the payloads of one encrypted frame of temporal layer tid. layerSync says that it refers to temporal
// layer 0 only (bit Y). The payloads are valid until the next call.
func (v *vp8Packetizer) packetize(frame []byte, tid uint8, layerSync bool, dst [][]byte) [][]byte {
	if v.started {
		v.pictureID = (v.pictureID + 1) & 0x7fff
	}
	if tid == 0 && v.started {
		v.tl0++
	}
	v.started = true
	count := (len(frame) + maxPayload - descriptorSize - 1) / (maxPayload - descriptorSize)
	v.buf = v.buf[:0]
	if need := len(frame) + count*descriptorSize; cap(v.buf) < need {
		v.buf = make([]byte, 0, need) // one allocation: the payloads alias it
	}
	ty := tid << 6
	if layerSync {
		ty |= 0x20
	}
	// Equal parts: no runt at the end, which would cost a header for nothing.
	for i := range count {
		at := len(v.buf)
		first := byte(0x80) // X
		if i == 0 {
			first |= 0x10 // S, partition 0
		}
		if tid > 1 {
			first |= 0x20 // N: nothing refers to the highest layer
		}
		v.buf = append(v.buf, first, 0xe0, 0x80|byte(v.pictureID>>8), byte(v.pictureID), v.tl0, ty)
		v.buf = append(v.buf, frame[len(frame)*i/count:len(frame)*(i+1)/count]...)
		dst = append(dst, v.buf[at:len(v.buf):len(v.buf)])
	}
	return dst
}

// vp8Descriptor is what a receiver needs of a VP8 payload descriptor.
type vp8Descriptor struct {
	size      int  // bytes
	start     bool // first packet of a frame
	tid       uint8
	pictureID int // -1 = absent
	tl0       int // -1 = absent
}

// parseVP8 reads the payload descriptor of RFC 7741 4.2 in any of its forms.
func parseVP8(b []byte) (vp8Descriptor, error) {
	d := vp8Descriptor{pictureID: -1, tl0: -1}
	if len(b) < 1 {
		return d, errDescriptor
	}
	d.start = b[0]&0x10 != 0 && b[0]&0x07 == 0
	d.size = 1
	if b[0]&0x80 == 0 {
		return d, nil
	}
	if len(b) < 2 {
		return d, errDescriptor
	}
	flags := b[1]
	d.size = 2
	if flags&0x80 != 0 {
		if len(b) < d.size+1 {
			return d, errDescriptor
		}
		d.pictureID = int(b[d.size] & 0x7f)
		d.size++
		if b[d.size-1]&0x80 != 0 {
			if len(b) < d.size+1 {
				return d, errDescriptor
			}
			d.pictureID = d.pictureID<<8 | int(b[d.size])
			d.size++
		}
	}
	if flags&0x40 != 0 {
		if len(b) < d.size+1 {
			return d, errDescriptor
		}
		d.tl0 = int(b[d.size])
		d.size++
	}
	if flags&0x30 != 0 {
		if len(b) < d.size+1 {
			return d, errDescriptor
		}
		d.tid = b[d.size] >> 6
		d.size++
	}
	return d, nil
}
