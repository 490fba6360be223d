package protocol

import "encoding/json"

// Message is one text message. The set is closed: [ClientMessage] and
// [ServerMessage] are its halves.
type Message interface {
	// Type is the value of the member "type".
	Type() string
	// validate checks what the Go types cannot say: lengths, ranges, required
	// values. It runs on decoding and on encoding.
	validate() error
}

// ClientMessage is a message from the client to the service: [*Connect],
// [*Offer], [*Want], [*Mute], [*Leave], [*Evict], [*Alias] or [*Upload].
type ClientMessage interface {
	Message
	clientMessage()
}

// ServerMessage is a message from the service to the client: [*Hello],
// [*Welcome], [*Peers], [*PeerJoined], [*PeerLeft], [*PeerTracks], [*Answer],
// [*Slots], [*Wanted], [*Error], [*Group], [*Stale], [*Ticket], [*Done] or [*UploadPath].
type ServerMessage interface {
	Message
	serverMessage()
}

// List is a JSON array that is never null: nil is written as [].
type List[T any] []T

// MarshalJSON writes the array.
func (l List[T]) MarshalJSON() ([]byte, error) {
	if l == nil {
		return []byte("[]"), nil
	}
	return json.Marshal([]T(l))
}

// Connect asks for admission to a room. It is the first message of a client.
type Connect struct {
	ID     uint32 `json:"id"`
	Room   RoomID `json:"room"`
	ConnID ConnID `json:"conn_id"`
	// LinkPub is the Ed25519 public key of the room's link, 32 bytes.
	LinkPub Bytes `json:"link_pub"`
	// LinkSig is that key's signature over [ConnectSigned], 64 bytes.
	LinkSig Bytes `json:"link_sig"`
	// Client is free text for the operator's statistics, such as "web/1.0".
	Client string `json:"client,omitempty"`
	// Token is the join token, where the service wants one. A resumption needs
	// none.
	Token string `json:"token,omitempty"`
	// Resume continues a participation whose WebSocket was lost. Nil is a new one.
	Resume *Resume `json:"resume,omitempty"`
}

// Resume is what a client knows of the participation that it continues.
type Resume struct {
	// Token is that of the last welcome.
	Token string `json:"token"`
	// LastSeq is the order number of the last envelope received, 0 for none.
	LastSeq uint64 `json:"last_seq"`
	// Tracks are what the client publishes, for a service that has forgotten.
	Tracks List[Track] `json:"tracks"`
	// Group is the latest ticket, for a service that has forgotten. Nil: the
	// client has none.
	Group *GroupClaim `json:"group,omitempty"`
}

// Offer starts a negotiation: the client's full session description and what
// each of its sending media sections carries.
type Offer struct {
	ID     uint32           `json:"id"`
	SDP    string           `json:"sdp"`
	Tracks List[OfferTrack] `json:"tracks"`
	// Rejoin: the offer is of a new peer connection; the media session before
	// it is dropped. The first offer needs no flag.
	Rejoin bool `json:"rejoin,omitempty"`
}

// OfferTrack says which source a media section sends.
type OfferTrack struct {
	MID    string `json:"mid"`
	Source Source `json:"source"`
}

// Want is the whole list of what the client wants to receive; it replaces the
// one before. A track that is not listed gets the default: audio is
// forwarded, video is not.
type Want struct {
	ID     *uint32    `json:"id,omitempty"`
	Tracks List[Wish] `json:"tracks"`
}

// Wish is one track and how it is shown.
type Wish struct {
	ConnID ConnID `json:"conn_id"`
	Source Source `json:"source"`
	// Height in pixels at which the track is shown; 0 is the lowest layer.
	Height int `json:"height,omitempty"`
	// Priority 0 to 255, higher first when not everything fits.
	Priority int `json:"priority,omitempty"`
	// Paused: nothing is forwarded.
	Paused bool `json:"paused,omitempty"`
}

// Mute says whether the client's own source is muted. The service drops the
// media of a muted source.
type Mute struct {
	Source Source `json:"source"`
	Muted  bool   `json:"muted"`
}

// Leave ends the connection and the participant's media at once.
type Leave struct{}

// Hello is the first message of the service.
type Hello struct {
	Version int    `json:"version"`
	Nonce   Bytes  `json:"nonce"`
	Limits  Limits `json:"limits"`
}

// Welcome answers Connect: the client is in the room.
type Welcome struct {
	ID uint32 `json:"id"`
	// Leaf is the connection's index, 0 to 255, unique in the room while the
	// connection lasts.
	Leaf int `json:"leaf"`
	// Peers are the others in the room, in the order of their leaves.
	Peers List[Peer] `json:"peers"`
	// Resume is the token with which another WebSocket continues this
	// participation; it replaces the one before. Empty: the service resumes none.
	Resume string `json:"resume,omitempty"`
	// Resumed: the participation goes on, with its leaf and its media session.
	Resumed bool `json:"resumed,omitempty"`
	// Lost: the service started anew meanwhile. Envelopes may be missing, and
	// Peers are those that are back already; a [Peers] follows.
	Lost bool `json:"lost,omitempty"`
	// NoPublish are the sources that the join token does not let it publish.
	NoPublish List[Source] `json:"no_publish,omitempty"`
	// NoSubscribe: the join token does not let it receive media.
	NoSubscribe bool `json:"no_subscribe,omitempty"`
	// Group is where the room's group stands. Nil: there is none.
	Group *GroupPosition `json:"group,omitempty"`
}

// Peers is the whole list of the others in the room, in the order of their
// leaves. It ends the time in which a welcome with Lost left the list open:
// who is not in it is gone.
type Peers struct {
	Peers List[Peer] `json:"peers"`
}

// Peer is another connection in the room.
type Peer struct {
	ConnID ConnID      `json:"conn_id"`
	Leaf   int         `json:"leaf"`
	Tracks List[Track] `json:"tracks"`
}

// Track is a published source.
type Track struct {
	Source Source `json:"source"`
	Muted  bool   `json:"muted"`
}

// PeerJoined says that another connection was admitted.
type PeerJoined struct {
	ConnID ConnID `json:"conn_id"`
	Leaf   int    `json:"leaf"`
}

// PeerLeft says that a connection is gone; its leaf may be given away again.
type PeerLeft struct {
	ConnID ConnID `json:"conn_id"`
	Reason string `json:"reason"`
}

// Reasons of [PeerLeft].
const (
	LeftLeave  = "leave"  // the client said so
	LeftGone   = "gone"   // the connection broke
	LeftKicked = "kicked" // the operator or a host removed it
	LeftError  = "error"  // the service closed it for breaking a rule
)

// PeerTracks is the whole list of what a peer publishes; it replaces the one
// before.
type PeerTracks struct {
	ConnID ConnID      `json:"conn_id"`
	Tracks List[Track] `json:"tracks"`
}

// Answer completes a negotiation.
type Answer struct {
	ID  uint32 `json:"id"`
	SDP string `json:"sdp"`
}

// Slots is the whole list of filled receiving media sections; it replaces the
// one before.
type Slots struct {
	Slots List[Slot] `json:"slots"`
}

// Slot says whose track a receiving media section carries.
type Slot struct {
	MID    string `json:"mid"`
	ConnID ConnID `json:"conn_id"`
	Source Source `json:"source"`
	// Paused is why no picture comes: PausedHidden, PausedBandwidth,
	// PausedPublisher or a word of a later version; empty while one comes.
	Paused string `json:"paused,omitempty"`
}

// Reasons of [Slot.Paused].
const (
	PausedHidden    = "hidden"    // the client's own want says so
	PausedBandwidth = "bandwidth" // not even the lowest layer fits its connection
	PausedPublisher = "publisher" // the publisher sends nothing
)

// Wanted is the whole list of what anybody wants of the client's own video
// sources; it replaces the one before. Of a source that is not in it, all.
type Wanted struct {
	Tracks List[WantedTrack] `json:"tracks"`
}

// WantedTrack says how many of a source's layers are wanted, the lowest first;
// 0: nothing of it.
type WantedTrack struct {
	Source Source `json:"source"`
	Layers int    `json:"layers"`
	// Codec is the one to send, such as "vp8". Empty: it may stay as it is.
	Codec string `json:"codec,omitempty"`
}

// Error tells of a refused request or of the end of the connection.
type Error struct {
	// ID of the request that failed, absent when none did.
	ID   *uint32 `json:"id,omitempty"`
	Code Code    `json:"code"`
	// Message is for developers, never shown to participants.
	Message string `json:"message"`
	// Fatal: the service closes the connection after this message.
	Fatal bool `json:"fatal"`
}

// GroupPosition is where a room's group stands: which group, and how many
// commits were accepted.
type GroupPosition struct {
	GI   GroupInstance `json:"gi"`
	Slot uint64        `json:"slot"`
}

// GroupClaim is a ticket with what it covers.
type GroupClaim struct {
	GI   GroupInstance `json:"gi"`
	Slot uint64        `json:"slot"`
	// HostTag is that of the group's create, 16 bytes.
	HostTag Bytes `json:"host_tag"`
	Ticket  Bytes `json:"ticket"`
}

// Evict removes a connection from the room, for the host of its group.
type Evict struct {
	ID     uint32 `json:"id"`
	ConnID ConnID `json:"conn_id"`
	// Host is the token whose tag was in the create, 32 bytes.
	Host Bytes `json:"host"`
}

// Alias gives the room another name, that of a new link. It becomes the name
// under which the room can be joined.
type Alias struct {
	ID   uint32 `json:"id"`
	Room RoomID `json:"room"`
	// LinkPub is the Ed25519 public key of the new link, 32 bytes.
	LinkPub Bytes `json:"link_pub"`
	// LinkSig is that key's signature over [AliasSigned], 64 bytes.
	LinkSig Bytes `json:"link_sig"`
	// Host is the host's token, for a host that is no member connection. Empty:
	// the sender is one.
	Host Bytes `json:"host,omitempty"`
}

// Upload asks for a place for a file of so many bytes.
type Upload struct {
	ID   uint32 `json:"id"`
	Size int    `json:"size"`
}

// Group says where the room's group stands now, or without members that there
// is none.
type Group struct {
	GI   *GroupInstance `json:"gi,omitempty"`
	Slot *uint64        `json:"slot,omitempty"`
}

// Stale answers a create, key package, commit or bundle that was refused, and
// says where the group stands; without members there is none, or the service
// does not know yet.
type Stale struct {
	GI   *GroupInstance `json:"gi,omitempty"`
	Slot *uint64        `json:"slot,omitempty"`
}

// Ticket is the service's word that a connection was a member connection when
// the group stood there, for a service that has forgotten. It replaces the one
// before.
type Ticket struct {
	GI   GroupInstance `json:"gi"`
	Slot uint64        `json:"slot"`
	// HostTag is that of the group's create, 16 bytes: who came later has not
	// seen it.
	HostTag Bytes `json:"host_tag"`
	Ticket  Bytes `json:"ticket"`
}

// Done answers a request that has no other answer.
type Done struct {
	ID uint32 `json:"id"`
}

// UploadPath answers Upload: where the file goes, and what lets the client put
// it there.
type UploadPath struct {
	ID    uint32 `json:"id"`
	Path  string `json:"path"`
	Token string `json:"token"`
}

func (*Connect) Type() string    { return "connect" }
func (*Offer) Type() string      { return "offer" }
func (*Want) Type() string       { return "want" }
func (*Mute) Type() string       { return "mute" }
func (*Leave) Type() string      { return "leave" }
func (*Hello) Type() string      { return "hello" }
func (*Welcome) Type() string    { return "welcome" }
func (*Peers) Type() string      { return "peers" }
func (*PeerJoined) Type() string { return "peer_joined" }
func (*PeerLeft) Type() string   { return "peer_left" }
func (*PeerTracks) Type() string { return "peer_tracks" }
func (*Answer) Type() string     { return "answer" }
func (*Slots) Type() string      { return "slots" }
func (*Wanted) Type() string     { return "wanted" }
func (*Error) Type() string      { return "error" }
func (*Evict) Type() string      { return "evict" }
func (*Alias) Type() string      { return "alias" }
func (*Upload) Type() string     { return "upload" }
func (*Group) Type() string      { return "group" }
func (*Stale) Type() string      { return "stale" }
func (*Ticket) Type() string     { return "ticket" }
func (*Done) Type() string       { return "done" }
func (*UploadPath) Type() string { return "upload" }

func (*Connect) clientMessage()    {}
func (*Offer) clientMessage()      {}
func (*Want) clientMessage()       {}
func (*Mute) clientMessage()       {}
func (*Leave) clientMessage()      {}
func (*Evict) clientMessage()      {}
func (*Alias) clientMessage()      {}
func (*Upload) clientMessage()     {}
func (*Hello) serverMessage()      {}
func (*Welcome) serverMessage()    {}
func (*Peers) serverMessage()      {}
func (*PeerJoined) serverMessage() {}
func (*PeerLeft) serverMessage()   {}
func (*PeerTracks) serverMessage() {}
func (*Answer) serverMessage()     {}
func (*Slots) serverMessage()      {}
func (*Wanted) serverMessage()     {}
func (*Error) serverMessage()      {}
func (*Group) serverMessage()      {}
func (*Stale) serverMessage()      {}
func (*Ticket) serverMessage()     {}
func (*Done) serverMessage()       {}
func (*UploadPath) serverMessage() {}
