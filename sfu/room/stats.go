package room

import "sotto/sfu/bwe"

// DropReason names why a packet went no further.
type DropReason uint8

// The reasons, in the order in which a packet meets them.
const (
	DropUnknownPeer   DropReason = iota // sender is not in this room
	DropUnknownStream                   // SSRC that cannot be matched to a published track
	DropStreamLimit                     // the sender has its cap of streams
	DropRTX                             // retransmission that cannot be unwrapped: padding only, unknown original
	DropPayloadType                     // payload type that was not negotiated for the track
	DropDuplicate                       // seen before, or older than the window
	DropMuted                           // source is muted
	DropRate                            // sender exceeds its bitrate cap
	DropDescriptor                      // truncated or nonsense payload descriptor or dependency descriptor
	DropEmpty                           // padding only
	DropQueue                           // shed by a subscriber's pacer
	DropTooOld                          // later than the ring reaches back, or too large for it
	DropStale                           // overwritten in the ring before it was sent
	DropCodec                           // the subscriber cannot receive the codec
	DropThin                            // of a frame that nobody gets while the way out is full, see Room.Thin
	DropReasons                         // number of reasons, for arrays
)

// String returns the label that the metrics use.
func (d DropReason) String() string {
	switch d {
	case DropUnknownPeer:
		return "unknown_peer"
	case DropUnknownStream:
		return "unknown_stream"
	case DropStreamLimit:
		return "stream_limit"
	case DropRTX:
		return "rtx"
	case DropPayloadType:
		return "payload_type"
	case DropDuplicate:
		return "duplicate"
	case DropMuted:
		return "muted"
	case DropRate:
		return "rate"
	case DropDescriptor:
		return "descriptor"
	case DropEmpty:
		return "empty"
	case DropQueue:
		return "queue"
	case DropTooOld:
		return "too_old"
	case DropStale:
		return "stale"
	case DropCodec:
		return "codec"
	case DropThin:
		return "egress_full"
	}
	return "unknown"
}

// Traffic counts RTP packets and their bytes after SRTP, headers included.
type Traffic struct{ Packets, Bytes uint64 }

func (t *Traffic) add(bytes int) {
	t.Packets++
	t.Bytes += uint64(bytes)
}

// Stats are the counters of a room since it was made; all only rise, but the first three.
type Stats struct {
	Peers, Tracks, Subscriptions int // now

	In, Out         [Kinds]Traffic
	Drops           [DropReasons]uint64
	NACKsIn         uint64 // sequence numbers that subscribers asked for
	NACKsOut        uint64 // sequence numbers asked of publishers
	RTXIn           uint64 // retransmissions received and new
	RTXOut          uint64 // retransmissions sent
	RTXRefused      uint64 // asked for, but too old, too often or over the budget
	KeyRequestsIn   uint64 // PLI and FIR of subscribers
	KeyRequestsOut  uint64 // PLI sent to publishers
	LayerSwitches   uint64
	Probes          Traffic // sent to prove a higher rate; part of Out
	FeedbackInvalid uint64  // RTCP for streams that the sender of it does not get
	PacketsLost     uint64  // of publishers' streams, repairs not counted, as of the last receiver report
	PacketsExpected uint64
	LostOut         uint64 // by subscribers' receiver reports, which may lie within what was sent
	ExpectedOut     uint64
	JitterIn        Spread // of publishers' streams, once per report
	JitterOut       Spread // as subscribers report it
	RTT             Spread // to subscribers, once per report
}

// Estimate returns what is known about the path to a peer; false if it is not in the room.
func (r *Room) Estimate(id PeerID) (bwe.Estimate, bool) {
	p := r.find(id)
	if p == nil {
		return bwe.Estimate{}, false
	}
	return p.estimator.Estimate(), true
}
