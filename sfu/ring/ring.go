// Package ring keeps the most recent packets of one received stream, shared by all its subscribers.
package ring

import "sotto/sfu/packet"

// Ring holds recent packets by extended sequence number.
type Ring struct{}

// New returns a ring for a number of packets.
func New(packets int) *Ring { return &Ring{} }

// Put copies p. nil: refused, too large.
func (r *Ring) Put(p *packet.Packet) *packet.Packet { return nil }

// Get returns the packet with an extended number, or nil.
func (r *Ring) Get(ext uint64) *packet.Packet { return nil }
