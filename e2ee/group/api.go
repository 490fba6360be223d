package group

import (
	"errors"

	"sotto/e2ee/link"
)

// Errors of calls and events. After an error of an event nothing has changed.
var (
	ErrConfig    = errors.New("group: unacceptable configuration")
	ErrOrder     = errors.New("group: call out of order")
	ErrRoster    = errors.New("group: the roster contradicts itself")
	ErrEnvelope  = errors.New("group: unacceptable envelope")
	ErrMessage   = errors.New("group: unacceptable message")
	ErrNotMember = errors.New("group: not a member")
	ErrNotHost   = errors.New("group: only the host may do this")
	ErrUnknown   = errors.New("group: no such connection")
	ErrFull      = errors.New("group: too much is waiting")
	ErrSignature = errors.New("group: signature not asked for or false")
)

// Config of a Group. Conn is fresh for every Group.
type Config struct {
	Link     *link.Keys // of generation Gen
	Gen      uint16     // of the link
	Conn     link.ConnID
	Identity []byte   // Ed25519 public key, 32 bytes
	Name     string   // "" or one that AcceptName accepts
	HostTag  [16]byte // of a group that this client creates; see link.HostTag
	Policy   Policy   // of a group that this client creates
}

// Policy is what the host has set.
type Policy struct {
	Locked bool // only the host admits
	Knock  bool // a member's hand admits each newcomer
}

// Position is where the service says a room stands.
type Position struct {
	Group [16]byte // MLS group id [16:32]
	Slot  uint64   // number of commits accepted so far
}

// State is where this client stands.
type State uint8

// The states of a client.
const (
	// StateConnecting: no Welcome of the service yet.
	StateConnecting State = iota
	// StateWaiting: for the group, or to be added to it.
	StateWaiting
	// StateMember: of the group.
	StateMember
	// StateRemoved: by a member or replaced by the own identity elsewhere. Final.
	StateRemoved
	// StateOutOfSync: fell out of the group and asks to be added again.
	StateOutOfSync
)

// Person is a member of the group.
type Person struct {
	Conn link.ConnID
	Leaf uint8
	Name string // "" if it has none
	Host bool
	Key  [32]byte // signature key: what the person is known by

	serial uint32 // of the key package by which it was added
}

// Leaf binds a place in the tree to a connection.
type Leaf struct {
	Leaf uint8
	Conn link.ConnID
}

// Keys are the media keys of an epoch. If there are keys of an epoch with the
// same number they are replaced, counters and all.
type Keys struct {
	Epoch   uint64
	Base    [16]byte // SFrame base key of all members
	Leaf    uint8    // own
	Members []Leaf   // own included
}

// LeafEpoch is a removed leaf and the last epoch it was in.
type LeafEpoch struct {
	Leaf  uint8
	Epoch uint64
}

// Message is an application message of a member.
type Message struct {
	Conn  link.ConnID
	Leaf  uint8
	Epoch uint64 // it was sealed in
	Kind  uint8
	Body  []byte // JSON, maybe with spaces behind it
}

// Knock is somebody who waits for a member's hand.
type Knock struct {
	Conn link.ConnID
	Name string
	Key  [32]byte
}

// NoticeCode says what happened.
type NoticeCode uint8

// The notices.
const (
	// NoticeInvalidCommit: Conn made a commit that was refused.
	NoticeInvalidCommit NoticeCode = 1 + iota
	// NoticeJoined and NoticeLeft: of a member.
	NoticeJoined
	NoticeLeft
	// NoticeReplaced: a member came back with the same key; Conn is the new one.
	NoticeReplaced
	// NoticeRemoved: the host has removed this client. It is over, unlike where
	// others remove who is there: that ends in NoticeOutOfSync.
	NoticeRemoved
	// NoticeDuplicateIdentity: the own identity entered from elsewhere.
	NoticeDuplicateIdentity
	// NoticeOutOfSync: this client no longer follows the group.
	NoticeOutOfSync
	// NoticeRejoined: after NoticeOutOfSync.
	NoticeRejoined
	// NoticeStuck: nobody adds this client again, who fell out a while ago.
	// Nothing is left but to leave and begin anew with another connection id; if
	// the link was replaced meanwhile, with the new one.
	NoticeStuck
	// NoticeLinkRotated: the group has a new link.
	NoticeLinkRotated
	// NoticePolicyChanged: by the host.
	NoticePolicyChanged
	// NoticeCreated: this client founded the group.
	NoticeCreated
)

// Notice tells the person what happened. Conn and Name are whom it is about;
// both may be empty.
type Notice struct {
	Code NoticeCode
	Conn link.ConnID
	Name string
}

// NewLink is the link after a rotation.
type NewLink struct {
	Gen    uint16
	Secret link.Secret
}

// Sign asks for a signature by the identity key.
type Sign struct {
	ID      uint32
	Message []byte
}

// Actions is what a client has to do, in the order of the fields. It is reused:
// Reset before each event.
type Actions struct {
	Send          [][]byte    // binary signaling messages: envelopes or bundles
	Sign          []Sign      // answers come by Signed, in order
	Stop          bool        // sending media must stop, until the next SendEpoch
	Keys          []Keys      // install for receiving
	SendEpoch     []uint64    // from now on protect with this epoch
	Dropped       []LeafEpoch // drop frames of this leaf in epochs up to this one
	Forget        []uint64    // erase all keys of these epochs
	Messages      []Message
	Changed       bool // state, members, policy or link
	KnocksChanged bool
	Knocks        []Knock // whole list, if KnocksChanged
	Notices       []Notice
	Link          *NewLink // show it and register the alias
}

// Reset empties a.
func (a *Actions) Reset() { *a = Actions{} }
