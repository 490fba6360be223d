// Package sfu is a media node: it forwards the encrypted media of rooms between their peers.
//
// A [Node] is driven by signaling through Join, Update, Kick, Leave and Events; media flows over the sockets it was given.
// Rooms are spread over shards, each of which is one goroutine with one socket. The node holds no key of any frame and no
// name: room and peer are opaque strings of the caller.
//
// Locks: the registry of the node (rooms and peers, never taken on the packet path) and the queue of each Events reader.
package sfu

import (
	"net"
	"net/netip"
	"time"

	"go.uber.org/zap"
)

// Config says where a node listens and how much it admits.
type Config struct {
	// Shards lists the sockets, one shard goroutine for each; at least one. What GOMAXPROCS has beyond them are senders, which
	// help with the packets of large rooms.
	Shards []ShardConfig
	// NodeNumber and NodeSecret make the first part of every ICE user name fragment of this node, so that a packet front that
	// shares the secret can route by it. An empty secret draws a random one, which is right without a front.
	NodeNumber uint32
	NodeSecret []byte
	// Codecs are the video codecs that may be sent, best first: CodecVP8, CodecVP9, CodecAV1. A room uses the first that everybody in it
	// can decode; VP8 is always the last. Empty is VP8 alone.
	Codecs []string
	// Limits are the caps of admission; the zero value means DefaultLimits.
	Limits Limits
	// Logger receives lifecycle messages without any address, name or session description. Nil is silent.
	Logger *zap.Logger
}

// ShardConfig is the socket of one shard. The node owns Conn and TCP from New on and closes them.
type ShardConfig struct {
	// Conn carries UDP. A *net.UDPConn gets the fast path; anything else (a virtual network) works through its interface.
	Conn net.PacketConn
	// Offload bounds what a *net.UDPConn asks of the kernel: "auto" or empty is all that works (segmentation offload in
	// batches), "sendmmsg" batches without offload, "off" makes a system call for each datagram. Linux only.
	Offload string
	// TCP accepts ICE over TCP (RFC 6544 passive candidates, RFC 4571 framing); nil = none.
	TCP net.Listener
	// Candidates are the UDP addresses that answers advertise; empty = Conn's own address.
	Candidates []netip.AddrPort
	// TCPCandidates are the advertised addresses of TCP; empty = TCP's own address.
	TCPCandidates []netip.AddrPort
}

// Sources of a peer, as signaling names them. Each is one track.
const (
	SourceMic         = "mic"
	SourceCamera      = "camera"
	SourceScreen      = "screen"
	SourceScreenAudio = "screen_audio"
)

// Track says which source the sending m-line with that mid carries.
type Track struct {
	MID    string
	Source string
}

// JoinRequest asks for a new session of a peer in a room. The room comes into being with its first peer.
type JoinRequest struct {
	Room, Peer string
	Offer      string  // session description of the client, at most Limits.OfferBytes
	Tracks     []Track // every sending m-line must be named here; one that is not is answered inactive
}

// JoinReply carries the answer for the client.
type JoinReply struct {
	Answer string
}

// Update changes a session. Every field but Room and Peer is optional.
type Update struct {
	Room, Peer string
	Offer      string  // "" = none; mids, payload types and extension ids must stay as they were
	Tracks     []Track // read with Offer only: the whole new list
	Wishes     []Wish  // nil = unchanged; otherwise the whole new list
	Mutes      []Mute
}

// UpdateReply carries the answer when the update had an offer.
type UpdateReply struct {
	Answer string
}

// Wish asks for a track of another peer. Without a wish audio is forwarded and video is not.
type Wish struct {
	Peer, Source string
	Height       int // lines to be displayed; 0 = the lowest layer that exists
	Priority     int // 0-255, higher first when bandwidth or slots are short
	Paused       bool
}

// Mute switches a source of the peer itself off or on: media of a muted source is dropped on arrival.
type Mute struct {
	Source string
	Muted  bool
}

// Slot says which track plays on a receiving m-line.
type Slot struct {
	MID, Peer, Source string
	// Paused is why no picture of a video track comes: one of the Paused constants, empty while one comes or begins.
	Paused string `json:",omitempty"`
}

// Reasons of Slot.Paused.
const (
	PausedHidden    = "hidden"    // its Wish says so
	PausedBandwidth = "bandwidth" // not even the lowest layer fits the path to the peer
	PausedPublisher = "publisher" // nothing comes of it
)

// Wanted says how many layers of one of the peer's own video sources anybody wants, counted from the lowest: the encodings of
// simulcast in the order of the offer. The rest need not be sent, with 0 nothing of it.
type Wanted struct {
	Source string
	Layers int
	// Codec is what the source is to be sent in: an offer whose answer puts it first follows, if another one is sent now. Empty: it
	// stays as it is.
	Codec string `json:",omitempty"`
}

// EventKind names what an Event tells.
type EventKind uint8

// Kinds of events.
const (
	// EventSynced ends the snapshot that every Events channel begins with.
	EventSynced EventKind = iota + 1
	// EventConnected: ICE and DTLS of the peer are up.
	EventConnected
	// EventClosed: the session is gone for Reason; the peer must join again.
	EventClosed
	// EventSlots: Slots is the whole list of the peer's filled receiving slots.
	EventSlots
	// EventTrackStarted: the first packet of the peer's Source arrived.
	EventTrackStarted
	// EventTrackStopped: no more media of the peer's Source.
	EventTrackStopped
	// EventWanted: Wanted is the whole list of what is wanted of the peer's sources. Of one that is not in it, everything.
	EventWanted
)

// String returns the kind as logs and metrics write it.
func (k EventKind) String() string {
	switch k {
	case EventSynced:
		return "synced"
	case EventConnected:
		return "connected"
	case EventClosed:
		return "closed"
	case EventSlots:
		return "slots"
	case EventTrackStarted:
		return "track_started"
	case EventTrackStopped:
		return "track_stopped"
	case EventWanted:
		return "wanted"
	}
	return "unknown"
}

// Reasons of EventClosed.
const (
	ReasonLeft       = "left"        // Leave
	ReasonKicked     = "kicked"      // Kick
	ReasonTimeout    = "timeout"     // no authenticated traffic (consent) or no handshake in time
	ReasonTransport  = "transport"   // DTLS failed or was closed by the client
	ReasonFault      = "fault"       // the node gave the peer up after an internal fault
	ReasonNodeClosed = "node_closed" // the node shuts down
	// ReasonDrained: the peer shall join again, elsewhere, because the node is being emptied. Its media goes on until it closes it
	// or the node ends. A node does not say so itself; who places rooms does.
	ReasonDrained = "drained"
)

// Event tells signaling what happened to a peer.
type Event struct {
	Kind       EventKind
	Room, Peer string
	Slots      []Slot   // EventSlots
	Wanted     []Wanted // EventWanted
	Source     string   // EventTrackStarted, EventTrackStopped
	Reason     string   // EventClosed
}

// Traffic counts media that went one way.
type Traffic struct {
	Packets, Bytes uint64
}

// Directions of Loss and Jitter.
const (
	In = iota
	Out
)

// Loss counts packets that should have come and those that did not.
type Loss struct {
	Expected, Lost uint64
}

// Histogram is a distribution of durations: Counts[i] are those up to Bounds[i] and above Bounds[i-1]; the last count is the
// rest. Bounds is shared and must not be changed.
type Histogram struct {
	Bounds []time.Duration
	Counts []uint64
	Sum    time.Duration
}

// Stats is a snapshot of a node, at most about one second old.
type Stats struct {
	Rooms, Peers, Connected, Shards int

	AudioIn, AudioOut, VideoIn, VideoOut, RTCPIn, RTCPOut Traffic
	Drops                                                 map[string]uint64 // by reason
	AudioLatency, VideoLatency                            Histogram         // receive time to socket write, per flush and packet
	PacedLatency                                          Histogram         // the same for video that a pacer held back on purpose
	Tracks                                                int
	Loss                                                  [2]Loss      // in: of publishers' streams; out: as subscribers report
	Jitter                                                [2]Histogram // likewise, by report
	RTT                                                   Histogram    // to subscribers, by report
	ICE, DTLS                                             Histogram    // stages of joins
	Probes                                                Traffic      // sent to prove a higher rate; part of VideoOut
	RetransmitRefused                                     uint64       // too old, too often, or over the budget
	KeyFrameRequests, NACKsIn, NACKsOut, Retransmitted    uint64
	LayerSwitches                                         uint64
	Joins                                                 map[string]uint64 // by result: ok or the reason of refusal
	PeerFaults                                            uint64            // sessions given up by the panic barrier
	EventsCoalesced                                       uint64

	SocketPaths map[string]uint64 // shards by the way their datagrams take into the kernel, now
	Socket      SocketStats
	Helped      uint64 // packets out that were sealed and written by senders, not by their shard
}

// SocketStats counts what the shards handed to the kernel. Packets per message say how well runs form, messages per call how
// large the fan-outs are.
type SocketStats struct {
	Messages uint64 // datagrams, or runs of them in one message
	Calls    uint64 // system calls
	Refused  uint64 // runs that the kernel did not segment
	Waits    uint64 // times that a socket's buffer was full
}
