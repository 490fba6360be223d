package sfu

import "context"

// Node is a media node. All methods are safe for concurrent use.
type Node struct{}

// New starts a node on the sockets of cfg.
func New(cfg Config) (*Node, error) { return nil, ErrClosed }

// Close ends every session, stops the shards and closes the sockets. It returns when all goroutines of the node are gone.
func (n *Node) Close() error { return nil }

// Join makes a session for a peer and returns the answer to its offer.
func (n *Node) Join(ctx context.Context, r JoinRequest) (JoinReply, error) {
	return JoinReply{}, ErrClosed
}

// Update changes a session.
func (n *Node) Update(ctx context.Context, u Update) (UpdateReply, error) {
	return UpdateReply{}, ErrClosed
}

// Kick ends a session against the peer's will; EventClosed carries ReasonKicked.
func (n *Node) Kick(ctx context.Context, room, peer string) error { return ErrClosed }

// Leave ends a session.
func (n *Node) Leave(ctx context.Context, room, peer string) error { return ErrClosed }

// Events returns a channel of events: first a snapshot of all sessions, ended by EventSynced, then what happens. A slow reader
// loses no state: what waits for it is merged to the latest state of each peer. The channel is closed when ctx ends or the node
// closes.
func (n *Node) Events(ctx context.Context) (<-chan Event, error) { return nil, ErrClosed }

// Stats returns a snapshot of the node's counters.
func (n *Node) Stats() Stats { return Stats{} }
