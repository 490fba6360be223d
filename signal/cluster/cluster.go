package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"

	"sotto/sfu"
)

// Media is the media node that Serve puts on the wire. *sfu.Node is one.
type Media interface {
	Join(ctx context.Context, r sfu.JoinRequest) (sfu.JoinReply, error)
	Update(ctx context.Context, u sfu.Update) (sfu.UpdateReply, error)
	Kick(ctx context.Context, room, peer string) error
	Leave(ctx context.Context, room, peer string) error
	Events(ctx context.Context) (<-chan sfu.Event, error)
}

// Errors of this package. Requests of a Remote return those of package sfu as well.
var (
	ErrConfig = errors.New("cluster: bad configuration")
	ErrSecret = errors.New("cluster: secret is shorter than 32 bytes")
	// ErrNoNode: no media node is live, or the room's node does not answer. It comes together with sfu.ErrClosed, so that a
	// caller that knows a node in its own process only sees that one closed.
	ErrNoNode = errors.New("cluster: no media node")
	// ErrNodeID: another node of the same id is live.
	ErrNodeID = errors.New("cluster: node id is taken")
)

// Timing says how fast the two sides notice each other. Both sides should have the same values. A zero field takes its value
// from DefaultTiming.
type Timing struct {
	Beat    time.Duration // between beats
	Lost    time.Duration // without a beat until the other side is taken as lost
	Settle  time.Duration // after the start of a Remote until it places a room that no node has
	Request time.Duration // for a request whose context has no earlier deadline
}

// DefaultTiming returns the usual values.
func DefaultTiming() Timing {
	return Timing{
		Beat: 250 * time.Millisecond,
		// Twelve beats: a busy machine misses some, and taking a living node as lost costs every call on it a rejoin.
		Lost: 3 * time.Second,
		// A node tries the engine five times a second while it is away, and answers a signaling that starts at once; its
		// snapshot takes milliseconds.
		Settle:  1500 * time.Millisecond,
		Request: 5 * time.Second,
	}
}

func (t Timing) withDefaults() Timing {
	d := DefaultTiming()
	for _, f := range []struct{ set, standard *time.Duration }{
		{&t.Beat, &d.Beat}, {&t.Lost, &d.Lost}, {&t.Settle, &d.Settle}, {&t.Request, &d.Request},
	} {
		if *f.set <= 0 {
			*f.set = *f.standard
		}
	}
	return t
}

// Caps. Both ends are ours, so reaching one is a fault or an attack from inside.
const (
	maxMessage  = 1 << 20   // bytes of a message: an offer of 256 KiB with every line break escaped fits
	maxPart     = 256 << 10 // bytes of a part of a snapshot, about
	maxRequests = 256       // requests that a node works on at a time
	maxNodes    = 256
	maxSessions = 64 << 10 // sessions of all nodes that a Remote follows
	maxWaiting  = 1 << 18  // events that wait for a reader
)

// NewNodeID draws an id for a node that was not given one.
func NewNodeID() string { return drawID() }

func drawID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// ValidNodeID reports whether an id is 1 to 32 of a-z, 0-9 and '-': it is a part of subjects.
func ValidNodeID(id string) bool {
	if len(id) == 0 || len(id) > 32 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
