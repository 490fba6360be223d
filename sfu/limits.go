package sfu

import "sotto/sfu/room"

// GCPercent is what a process that only forwards should give to debug.SetGCPercent where the operator has set no GOGC.
// Forwarding allocates next to nothing, so that collections are rare anyway, and the heap need not be twice what lives.
const GCPercent = 50

// Limits caps everything that a client can make grow. A zero field takes its value from DefaultLimits.
type Limits struct {
	Rooms        int // rooms of the node
	PeersPerRoom int // at most 256, the number of sender indices that frame encryption has
	Peers        int // sessions of the node
	Tracks       int // sending m-lines of a peer
	Slots        int // receiving m-lines of a peer
	Wishes       int // entries of a wish list
	OfferBytes   int // size of a session description
	IDBytes      int // length of a room or peer string
	EventReaders int // concurrent Events channels
	Inbox        int // commands waiting for one shard
}

// DefaultLimits returns the table of caps.
func DefaultLimits() Limits {
	return Limits{
		Rooms:        4096,
		PeersPerRoom: 256,
		Peers:        8192,
		Tracks:       16,
		Slots:        room.MaxSlots,
		Wishes:       room.MaxWishes,
		OfferBytes:   256 << 10,
		IDBytes:      128,
		EventReaders: 16,
		Inbox:        1024,
	}
}

// withDefaults fills zero fields and clips what the layers below cannot do.
func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	set := func(v *int, def, most int) {
		if *v <= 0 {
			*v = def
		}
		if most > 0 {
			*v = min(*v, most)
		}
	}
	set(&l.Rooms, d.Rooms, 0)
	set(&l.PeersPerRoom, d.PeersPerRoom, d.PeersPerRoom)
	set(&l.Peers, d.Peers, 0)
	set(&l.Tracks, d.Tracks, 0)
	set(&l.Slots, d.Slots, room.MaxSlots)
	set(&l.Wishes, d.Wishes, room.MaxWishes)
	set(&l.OfferBytes, d.OfferBytes, d.OfferBytes)
	set(&l.IDBytes, d.IDBytes, 0)
	set(&l.EventReaders, d.EventReaders, 0)
	set(&l.Inbox, d.Inbox, 0)
	return l
}
