package shard

import (
	"sotto/sfu/packet"
	"sotto/sfu/room"
	"sotto/sfu/transport"
)

// Open makes a session of a peer. The peer enters its room when the transport is connected.
type Open struct {
	Key       uint64 // of the session, given by the node and never used twice
	Room      uint64 // the room's key, likewise
	Name      string // the peer's name in its room, as wishes use it
	Transport transport.OpenConfig
	Media
}

// Media is what an offer and its answer agreed on.
type Media struct {
	Incoming, Outgoing packet.Extensions
	Tracks             []room.PublishedTrack
	Slots              []room.Slot
}

// Change changes a session; nil fields stay as they are.
type Change struct {
	Key     uint64
	Media   *Media
	Restart *transport.OpenConfig // new ICE credentials
	Wishes  *[]Wish
	Mutes   []Mute
}

// Wish is room.Wish with the publisher's name, who may not be there yet.
type Wish struct {
	Publisher string
	room.Wish // without Publisher
}

// Mute switches a source of the peer off or on.
type Mute struct {
	Source room.Source
	Muted  bool
}

// End closes a session. Reason comes back in the notice.
type End struct {
	Key    uint64
	Reason string
}

// Sync publishes the counters at once.
type Sync struct{}

func (Open) command()   {}
func (Change) command() {}
func (End) command()    {}
func (Sync) command()   {}

// NoticeKind says what a Notice tells.
type NoticeKind uint8

// Kinds of notices. A track that starts and stops before it is read is told once, as it is now.
const (
	NoticeConnected NoticeKind = iota + 1
	NoticeClosed
	NoticeSlots
	NoticeTrack
	NoticeWanted
)

// Notice tells the node what happened to a session.
type Notice struct {
	Kind    NoticeKind
	Key     uint64      // of the session
	Reason  string      // NoticeClosed: a word of transport.CloseReason, of End, or one of the Reason constants
	Slots   []Slot      // NoticeSlots: the filled ones
	Source  room.Source // NoticeTrack, NoticeWanted
	Running bool        // NoticeTrack
	Layers  int         // NoticeWanted: how many layers of the source anybody wants, the lowest first
}

// NoticeKey is what makes two notices the same for merging.
type NoticeKey struct {
	Kind   NoticeKind
	Key    uint64
	Source room.Source
}

// Slot is a filled slot.
type Slot struct {
	MID, Publisher string
	Source         room.Source
	Paused         room.PauseReason
}

// Reasons of NoticeClosed beside those of transport and End.
const (
	ReasonFault  = "fault"
	ReasonClosed = "shard_closed"
)
