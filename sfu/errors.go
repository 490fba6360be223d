package sfu

import "errors"

// Errors of a Node. Test with errors.Is; ErrBadOffer wraps what the parser found.
var (
	ErrClosed      = errors.New("sfu: node is closed")
	ErrUnknownRoom = errors.New("sfu: unknown room")
	ErrUnknownPeer = errors.New("sfu: unknown peer")
	ErrPeerExists  = errors.New("sfu: peer has a session already")
	ErrRoomFull    = errors.New("sfu: room is full")
	ErrLimit       = errors.New("sfu: limit exceeded")
	ErrBadOffer    = errors.New("sfu: bad offer")
	ErrBadRequest  = errors.New("sfu: bad request")
	ErrOverloaded  = errors.New("sfu: shard is overloaded")
)
