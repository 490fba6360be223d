package room

import (
	"errors"

	"sotto/sfu/packet"
)

// Errors of Apply; test with errors.Is.
var (
	ErrUnknownPeer = errors.New("room: unknown peer")
	ErrPeerExists  = errors.New("room: peer is in the room already")
	ErrLimit       = errors.New("room: limit exceeded")
	ErrInvalid     = errors.New("room: invalid command")
)

// Command is a change that signaling asks for: Join, Leave, Extensions, Publish, Slots, Want or Mute.
type Command interface{ command() }

// Join adds a peer. Extensions are the header extension ids of what is sent to it.
type Join struct {
	Peer       PeerID
	Extensions packet.Extensions
	MaxStreams int // cap of latched incoming streams; 0 means DefaultMaxStreams
}

// Leave removes a peer and everything that it sent and received.
type Leave struct{ Peer PeerID }

// Extensions replaces the header extension ids of what is sent to a peer, after a further negotiation.
type Extensions struct {
	Peer PeerID
	IDs  packet.Extensions
}

// Publish is the full list of a peer's tracks; it replaces the former list. A track that is in both lists keeps its streams.
type Publish struct {
	Peer   PeerID
	Tracks []PublishedTrack
}

// PublishedTrack is one sending m-line of a peer.
type PublishedTrack struct {
	Source Source
	MID    string
	Codecs []PayloadType
	RIDs   []string // simulcast, lowest layer first; empty is a single stream
	// SSRCs and RTX are the declared streams and their retransmission streams (RFC 4588, ssrc-group FID), lowest layer
	// first and in pairs. Both may be empty: then streams are latched by MID, RID and repaired RID.
	SSRCs, RTX []uint32
}

// PayloadType is one negotiated payload type and its retransmission format.
type PayloadType struct {
	PT, RTX   uint8 // RTX 0: none
	Codec     packet.Codec
	ClockRate uint32
}

// Slots is the full list of a peer's receiving slots in m-line order; it replaces the former list. A slot that is in both
// lists (same SSRC) keeps its numbers.
type Slots struct {
	Peer  PeerID
	Slots []Slot
}

// Slot is one receiving m-line of a peer: a place for one track at a time. SSRCs are unique over the session.
type Slot struct {
	MID           string
	Kind          Kind
	SSRC, RTXSSRC uint32
	Codecs        []PayloadType
}

// Want is the full list of a peer's wishes; it replaces the former list. Audio without a wish is forwarded, video is not.
type Want struct {
	Peer   PeerID
	Wishes []Wish
}

// Wish says how a peer wants to see or hear one track.
type Wish struct {
	Publisher PeerID
	Source    Source
	Height    uint16 // wanted lines of video; 0 is the lowest layer that exists
	Priority  uint8  // higher is more important
	Paused    bool   // keep the slot, send nothing
}

// Mute makes the room drop all media of a source, or lets it through again.
type Mute struct {
	Peer   PeerID
	Source Source
	Muted  bool
}

func (Join) command()       {}
func (Leave) command()      {}
func (Extensions) command() {}
func (Publish) command()    {}
func (Slots) command()      {}
func (Want) command()       {}
func (Mute) command()       {}
