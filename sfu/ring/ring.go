// Package ring keeps the most recent packets of one received stream. All subscribers of the stream send and retransmit from the same
// copies.
//
// The result of Put and Get points into the ring and stays valid until the slot is overwritten by a packet that is a multiple of the
// capacity newer. Who keeps it longer than one call compares ExtSeq (packet.Outgoing does).
package ring

import "sotto/sfu/packet"

const (
	chunkPackets = 16 // storage grows by this many packets
	smallPacket  = 256
)

// Ring holds recent packets by extended sequence number. Owned by the stream's owner. Worst case: capacity * packet.MaxPacket bytes
// of packets, as much as 770 KB for 512; a stream of packets up to 256 bytes (audio) never takes more than capacity * 256.
type Ring struct {
	chunks []*chunk
	mask   uint64
}

// chunk is the storage of chunkPackets neighbouring numbers.
type chunk struct {
	packets [chunkPackets]packet.Packet
	bytes   []byte
	slot    int // bytes per packet: smallPacket or packet.MaxPacket
}

// New returns a ring for the given number of packets, rounded up to a power of two of at least 16. Storage is allocated when it is
// first used.
func New(packets int) *Ring {
	capacity := chunkPackets
	for capacity < packets {
		capacity *= 2
	}
	return &Ring{chunks: make([]*chunk, capacity/chunkPackets), mask: uint64(capacity - 1)}
}

// Cap returns the capacity in packets.
func (r *Ring) Cap() int { return int(r.mask) + 1 }

// Put copies p, bytes included, and returns the copy. It returns nil and keeps nothing when p is longer than packet.MaxPacket, has
// ExtSeq 0, or is so late that a newer packet has its slot. Once every slot was used, it does not allocate.
func (r *Ring) Put(p *packet.Packet) *packet.Packet {
	if len(p.Raw) > packet.MaxPacket || p.ExtSeq == 0 {
		return nil
	}
	i := p.ExtSeq & r.mask
	c := r.chunks[i/chunkPackets]
	if c == nil || len(p.Raw) > c.slot {
		c = r.grow(int(i/chunkPackets), len(p.Raw))
	}
	slot := int(i % chunkPackets)
	q := &c.packets[slot]
	if q.ExtSeq > p.ExtSeq {
		return nil
	}
	raw := c.bytes[slot*c.slot:][:len(p.Raw):c.slot]
	copy(raw, p.Raw)
	*q = *p
	q.Raw = raw
	return q
}

// grow gives a chunk storage for packets of n bytes. Packets that the chunk holds keep their old storage.
func (r *Ring) grow(i, n int) *chunk {
	c := r.chunks[i]
	if c == nil {
		c = new(chunk)
		r.chunks[i] = c
	}
	c.slot = smallPacket
	if n > smallPacket {
		c.slot = packet.MaxPacket
	}
	c.bytes = make([]byte, chunkPackets*c.slot)
	return c
}

// Get returns the packet with an extended number; nil if it was never stored or is overwritten.
func (r *Ring) Get(ext uint64) *packet.Packet {
	i := ext & r.mask
	c := r.chunks[i/chunkPackets]
	if c == nil || ext == 0 {
		return nil
	}
	if q := &c.packets[i%chunkPackets]; q.ExtSeq == ext {
		return q
	}
	return nil
}

// Reset forgets all packets and keeps the storage: the stream restarted with other numbers.
func (r *Ring) Reset() {
	for _, c := range r.chunks {
		if c != nil {
			c.packets = [chunkPackets]packet.Packet{}
		}
	}
}
