package signal

import (
	"context"
	"errors"

	"sotto/sfu"
	"sotto/signal/protocol"
)

// Media is a media node as signaling uses it. Room and peer are the text forms
// of protocol.RoomID and protocol.ConnID. *sfu.Node is the one in this process.
type Media interface {
	Join(ctx context.Context, r sfu.JoinRequest) (sfu.JoinReply, error)
	Update(ctx context.Context, u sfu.Update) (sfu.UpdateReply, error)
	Kick(ctx context.Context, room, peer string) error
	Leave(ctx context.Context, room, peer string) error
	// Events begins with a snapshot. The channel ends with ctx or the node.
	Events(ctx context.Context) (<-chan sfu.Event, error)
}

var _ Media = (*sfu.Node)(nil)

// mediaCode is what a client is told about an error of the media node.
func mediaCode(err error) protocol.Code {
	switch {
	case errors.Is(err, sfu.ErrBadOffer), errors.Is(err, sfu.ErrBadRequest):
		return protocol.CodeBadOffer
	case errors.Is(err, sfu.ErrRoomFull):
		return protocol.CodeRoomFull
	case errors.Is(err, sfu.ErrLimit):
		return protocol.CodeLimit
	case errors.Is(err, sfu.ErrUnknownPeer), errors.Is(err, sfu.ErrUnknownRoom):
		return protocol.CodeUnknownPeer
	case errors.Is(err, sfu.ErrOverloaded), errors.Is(err, sfu.ErrClosed):
		return protocol.CodeBusy
	case errors.Is(err, context.DeadlineExceeded):
		return protocol.CodeMediaTimeout
	}
	return protocol.CodeInternal
}

// gone reports whether the node has no session of that peer.
func gone(err error) bool {
	return errors.Is(err, sfu.ErrUnknownPeer) || errors.Is(err, sfu.ErrUnknownRoom)
}
