package client

import "encoding/binary"

// layered is what the packetizers for VP9 and AV1 write about a frame of a stream with spatial and temporal layers.
type layered struct {
	key      bool   // the lowest layer of a key picture
	between  bool   // refers to the layer below it in this picture
	upper    bool   // layers above it refer to it in this picture
	sid, tid uint8  // layer
	layers   uint8  // spatial layers of the stream
	shrink   uint8  // how many times the stream is half as large as the picture
	back     int    // pictures back to the one that it refers to; 0: none
	number   uint64 // of the frame in its stream
	template uint8  // of the dependency structure
}

// vp9Packetizer cuts the frames of one stream into RTP payloads (RFC 9628), in flexible mode. Not safe for concurrent use.
type vp9Packetizer struct {
	pictureID uint16 // 15 bits
	buf       []byte
}

// vp9Head is the most that a payload descriptor takes here: flags, picture id, layers, reference, scalability structure.
const vp9Head = 1 + 2 + 1 + 1 + 1

// packetize returns the payloads of one encrypted frame. They are valid until the next call.
func (v *vp9Packetizer) packetize(frame []byte, f *layered, dst [][]byte) [][]byte {
	if f.sid == 0 {
		v.pictureID = (v.pictureID + 1) & 0x7fff
	}
	v.buf = v.buf[:0]
	count := (len(frame) + maxPayload - vp9Head - 1) / (maxPayload - vp9Head)
	if need := len(frame) + count*vp9Head; cap(v.buf) < need {
		v.buf = make([]byte, 0, need) // one allocation: the payloads alias it
	}
	for i := range count {
		at := len(v.buf)
		flags := byte(0x80 | 0x20 | 0x10) // I L F
		if f.back > 0 {
			flags |= 0x40 // P
		}
		if i == 0 {
			flags |= 0x08 // B
		}
		if i == count-1 {
			flags |= 0x04 // E
		}
		structure := f.key && i == 0
		if structure {
			flags |= 0x02 // V
		}
		if !f.upper {
			flags |= 0x01 // Z
		}
		layer := f.tid<<5 | f.sid<<1
		if f.tid < 2 {
			layer |= 0x10 // U: later frames of higher temporal layers refer to none before this one
		}
		if f.between {
			layer |= 0x01 // D
		}
		v.buf = append(v.buf, flags)
		v.buf = binary.BigEndian.AppendUint16(v.buf, 0x8000|v.pictureID)
		v.buf = append(v.buf, layer)
		if f.back > 0 {
			v.buf = append(v.buf, byte(f.back)<<1)
		}
		if structure {
			v.buf = append(v.buf, (f.layers-1)<<5) // N_S, without sizes
		}
		v.buf = append(v.buf, frame[len(frame)*i/count:len(frame)*(i+1)/count]...)
		dst = append(dst, v.buf[at:len(v.buf):len(v.buf)])
	}
	return dst
}

// parseVP9 returns the length of a payload descriptor and whether a frame begins or ends with the packet.
func parseVP9(b []byte) (size int, start, end bool, err error) {
	if len(b) == 0 {
		return 0, false, false, errDescriptor
	}
	flags := b[0]
	size = 1
	take := func() byte {
		size++
		if size > len(b) {
			err = errDescriptor
			return 0
		}
		return b[size-1]
	}
	if flags&0x80 != 0 && take()&0x80 != 0 {
		take()
	}
	if flags&0x20 != 0 {
		if take(); flags&0x10 == 0 {
			take()
		}
	}
	for n := 0; flags&0x50 == 0x50 && n < 3 && take()&1 != 0; {
		n++
	}
	if flags&0x02 != 0 {
		ss := take()
		if ss&0x10 != 0 {
			size += 4 * int(ss>>5+1)
		}
		if ss&0x08 != 0 {
			for range take() {
				size += int(take() >> 2 & 3)
			}
		}
	}
	if err != nil || size > len(b) {
		return 0, false, false, errDescriptor
	}
	return size, flags&0x08 != 0, flags&0x04 != 0, nil
}
