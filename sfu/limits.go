package sfu

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
		Slots:        128,
		Wishes:       1024, // 256 peers with four sources each
		OfferBytes:   256 << 10,
		IDBytes:      128,
		EventReaders: 16,
		Inbox:        1024,
	}
}
