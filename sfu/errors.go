package sfu

import (
	"context"
	"errors"

	"sotto/sfu/room"
	"sotto/sfu/shard"
	"sotto/sfu/transport"
)

// Errors of a Node. Test with errors.Is; ErrBadOffer wraps what the parser found.
var (
	ErrClosed      = errors.New("sfu: node is closed")
	ErrConfig      = errors.New("sfu: bad configuration")
	ErrUnknownRoom = errors.New("sfu: unknown room")
	ErrUnknownPeer = errors.New("sfu: unknown peer")
	ErrPeerExists  = errors.New("sfu: peer has a session already")
	ErrRoomFull    = errors.New("sfu: room is full")
	ErrLimit       = errors.New("sfu: limit exceeded")
	ErrBadOffer    = errors.New("sfu: bad offer")
	ErrBadRequest  = errors.New("sfu: bad request")
	ErrOverloaded  = errors.New("sfu: shard is overloaded")
)

// translate turns an error of a shard into one of the node's.
func translate(err error) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, shard.ErrClosed), errors.Is(err, transport.ErrShutdown):
		return ErrClosed
	case errors.Is(err, shard.ErrInboxFull), errors.Is(err, transport.ErrRestartRate):
		return errors.Join(ErrOverloaded, err)
	case errors.Is(err, shard.ErrUnknownPeer), errors.Is(err, transport.ErrNoSession):
		return ErrUnknownPeer
	case errors.Is(err, transport.ErrSessions), errors.Is(err, room.ErrLimit):
		return errors.Join(ErrLimit, err)
	case errors.Is(err, room.ErrInvalid):
		return errors.Join(ErrBadRequest, err)
	}
	return err
}

// result is the label that the join counter uses.
func result(err error) string {
	for _, e := range []struct {
		err   error
		label string
	}{
		{nil, "ok"},
		{ErrClosed, "closed"},
		{ErrPeerExists, "exists"},
		{ErrRoomFull, "room_full"},
		{ErrLimit, "limit"},
		{ErrBadOffer, "bad_offer"},
		{ErrBadRequest, "bad_request"},
		{ErrOverloaded, "overloaded"},
		{context.Canceled, "canceled"},
		{context.DeadlineExceeded, "timeout"},
	} {
		if errors.Is(err, e.err) {
			return e.label
		}
	}
	return "error"
}
