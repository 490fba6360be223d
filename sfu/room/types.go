// Package room is the heart of the forwarder: one room as a plain value. Packets, RTCP, commands and the time go in as
// parameters, sends and events come out in a [Batch]. There is no goroutine, lock, clock, log or I/O in it, so a test can
// run an hour of a call in a moment and get the same result each time.
//
// A Room is owned by one goroutine (its shard). The order of use:
//
//	r := room.New(room.Config{Rand: src})
//	err := r.Apply(now, room.Join{...}, &batch)     // commands: Join, Leave, Publish, Slots, Want, Mute
//	r.HandleRTP(now, from, &packet, &batch)         // for each received packet
//	r.HandleRTCP(now, from, packets, &batch)        // for each received compound
//	next := r.Tick(now, &batch)                     // at the time that the last Tick returned, or sooner
//
// After each call, or after a handful of them, the owner marshals and seals batch.Sends, sends batch.RTCP, takes
// batch.Events and calls batch.Reset.
//
// The room never looks at encrypted payload bytes: every decision comes from RTP headers, header extensions, payload
// descriptors and RTCP.
package room

import (
	"github.com/pion/rtcp"

	"sotto/sfu/packet"
)

// PeerID names a peer of the node. Ids are small numbers given by the owner and reused after Leave.
type PeerID uint32

// Kind is audio or video.
type Kind uint8

// The kinds of media.
const (
	Audio Kind = iota
	Video
	Kinds // number of kinds, for arrays
)

// String returns "audio" or "video".
func (k Kind) String() string {
	if k == Audio {
		return "audio"
	}
	return "video"
}

// Source is what a track shows or plays. A peer has at most one track per source; the values are the contexts of the
// end-to-end encrypted frames and must not change.
type Source uint8

// The sources of a peer.
const (
	SourceMic Source = iota
	SourceCamera
	SourceScreen
	SourceScreenAudio
	MaxSources // number of sources, for arrays
)

// Kind returns whether the source is heard or seen.
func (s Source) Kind() Kind {
	if s == SourceMic || s == SourceScreenAudio {
		return Audio
	}
	return Video
}

// String returns the name that the signaling protocol uses.
func (s Source) String() string {
	switch s {
	case SourceMic:
		return "mic"
	case SourceCamera:
		return "camera"
	case SourceScreen:
		return "screen"
	case SourceScreenAudio:
		return "screen_audio"
	}
	return "unknown"
}

// Send is one packet to one peer. Packet points into a ring of the room: marshal it before more packets are handed to the
// room than MaxBatch allows.
type Send struct {
	To PeerID
	packet.Outgoing
	Kind  Kind
	Paced bool // the pacer held it back for a while
}

// Feedback is one RTCP packet to one peer; the owner merges those of one destination into compounds.
type Feedback struct {
	To     PeerID
	Packet rtcp.Packet
}

// MaxBatch is how many packets may be handed to HandleRTP before the sends that they caused must be marshalled. It is
// half of the smallest ring, so that no send points to an overwritten packet.
const MaxBatch = 64

// Batch collects what a call of the room wants done. It is owned by the caller and reused; the slices keep their capacity
// over Reset.
type Batch struct {
	Sends  []Send
	RTCP   []Feedback
	Events []Event
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	clear(b.RTCP)   // let go of the packets
	clear(b.Events) // and of what the events point to
	b.Sends, b.RTCP, b.Events = b.Sends[:0], b.RTCP[:0], b.Events[:0]
}

// Event is something that the signaling side wants to know: SlotsChanged, TrackStarted, TrackStopped, LayerSwitched,
// TrackWanted.
type Event interface{ event() }

// SlotState says what a slot carries. Publisher and Source mean something only where Active is true.
type SlotState struct {
	MID       string
	Active    bool
	Publisher PeerID
	Source    Source
	Paused    PauseReason // why no picture comes
}

// SlotsChanged lists all slots of a peer after a change, in the order of the Slots command. It precedes the first packet
// of a newly assigned track. Waiting counts wanted tracks that found no free slot; it alone causes no event.
type SlotsChanged struct {
	Peer    PeerID
	Slots   []SlotState
	Waiting int
}

// TrackStarted reports the first packet of a published track, also after a mute.
type TrackStarted struct {
	Peer   PeerID
	Source Source
}

// TrackStopped reports that a track was withdrawn, muted or left with its peer.
type TrackStopped struct {
	Peer   PeerID
	Source Source
}

// LayerSwitched reports that a subscriber now gets layer To of a track; layer.Paused (-1) is none.
type LayerSwitched struct {
	Peer, Publisher PeerID
	Source          Source
	From, To        int8
}

// PauseReason says why a subscriber gets no picture of a video track.
type PauseReason uint8

// The reasons.
const (
	NotPaused      PauseReason = iota
	PauseWish                  // the subscriber asked for it: it hides the picture
	PauseBandwidth             // not even the lowest layer fits the path
	PauseSource                // the publisher sends nothing
)

// String returns the name that the signaling protocol uses.
func (r PauseReason) String() string {
	switch r {
	case NotPaused:
		return "none"
	case PauseWish:
		return "hidden"
	case PauseBandwidth:
		return "bandwidth"
	case PauseSource:
		return "publisher"
	}
	return "unknown"
}

// TrackWanted tells a publisher the highest layer of its video track of a source that anybody wants, layer.Paused (-1) if nobody
// wants any. What is above may be switched off at the encoder; until the first event all layers count as wanted. It holds until
// the next one, also for another track of the source.
type TrackWanted struct {
	Peer   PeerID
	Source Source
	Layer  int8
}

func (SlotsChanged) event()  {}
func (TrackStarted) event()  {}
func (TrackStopped) event()  {}
func (LayerSwitched) event() {}
func (TrackWanted) event()   {}
