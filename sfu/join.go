package sfu

import (
	"context"
	"errors"
	"fmt"
	"math"

	"sotto/sfu/room"
	"sotto/sfu/shard"
	"sotto/sfu/transport"
)

// Join makes a session for a peer and returns the answer to its offer. The errors are ErrBadRequest, ErrBadOffer,
// ErrPeerExists, ErrRoomFull, ErrLimit, ErrOverloaded, ErrClosed or that of ctx; after any of them there is no session.
func (n *Node) Join(ctx context.Context, r JoinRequest) (JoinReply, error) {
	answer, err := n.join(ctx, r)
	n.mu.Lock()
	n.joins[result(err)]++
	n.mu.Unlock()
	return JoinReply{Answer: answer}, err
}

func (n *Node) join(ctx context.Context, r JoinRequest) (answer string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	s, err := n.reserve(r.Room, r.Peer)
	if err != nil {
		return "", err
	}
	defer s.release()
	defer func() {
		if err != nil {
			n.forget(s, "")
		}
	}()
	g, err := n.negotiate(s, r.Offer, r.Tracks)
	if err != nil {
		return "", err
	}
	n.mu.Lock()
	s.opened = true // notices may come before Do returns
	n.mu.Unlock()
	err = s.home.shard.Do(ctx, shard.Open{
		Key: s.key, Room: s.home.key, Name: s.name,
		Transport: transport.OpenConfig{Local: g.local, Remote: g.offer.Remote, RemoteFingerprint: g.offer.Fingerprint},
		Media:     g.media,
	})
	if err != nil {
		if ctx.Err() != nil { // the shard may still open it, and does so first
			_ = s.home.shard.Post(shard.End{Key: s.key, Reason: ReasonLeft})
		}
		n.mu.Lock()
		s.opened = false
		n.mu.Unlock()
		return "", translate(err)
	}
	s.commit(g)
	n.settled(s, g)
	return string(g.answer.Description), nil
}

// reserve enters a new session into the registry, acquired.
func (n *Node) reserve(roomName, peer string) (*session, error) {
	if !n.validID(roomName) || !n.validID(peer) {
		return nil, fmt.Errorf("%w: empty or long room or peer", ErrBadRequest)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, ErrClosed
	}
	if len(n.sessions) >= n.limits.Peers {
		return nil, fmt.Errorf("%w: peers", ErrLimit)
	}
	h := n.rooms[roomName]
	if h == nil {
		if len(n.rooms) >= n.limits.Rooms {
			return nil, fmt.Errorf("%w: rooms", ErrLimit)
		}
		n.lastKey++
		h = &hall{key: n.lastKey, name: roomName, shard: n.shardOf(roomName), peers: map[string]*session{}}
		n.rooms[roomName] = h
	}
	if h.peers[peer] != nil {
		return nil, ErrPeerExists
	}
	if len(h.peers) >= n.limits.PeersPerRoom {
		return nil, ErrRoomFull
	}
	n.lastKey++
	s := newSession(n.lastKey, peer, h)
	s.busy <- struct{}{}
	h.peers[peer] = s
	n.sessions[s.key] = s
	return s, nil
}

func (n *Node) validID(id string) bool { return len(id) > 0 && len(id) <= n.limits.IDBytes }

// Update changes a session. The errors are those of Join with ErrUnknownRoom and ErrUnknownPeer; after one of them nothing has
// changed, but when ctx ended in the middle, the change may still be carried out.
func (n *Node) Update(ctx context.Context, u Update) (UpdateReply, error) {
	change, err := n.parseUpdate(u)
	if err != nil {
		return UpdateReply{}, err
	}
	s, err := n.lookup(u.Room, u.Peer)
	if err != nil {
		return UpdateReply{}, err
	}
	if err := s.acquire(ctx); err != nil {
		return UpdateReply{}, err
	}
	defer s.release()
	if s.offer == nil {
		return UpdateReply{}, ErrUnknownPeer // its Join failed while this waited
	}
	change.Key = s.key
	var g *negotiation
	var reply UpdateReply
	if u.Offer != "" {
		if g, err = n.negotiate(s, u.Offer, u.Tracks); err != nil {
			return UpdateReply{}, err
		}
		change.Media = &g.media
		if g.local != s.local {
			change.Restart = &transport.OpenConfig{Local: g.local, Remote: g.offer.Remote}
		}
		reply.Answer = string(g.answer.Description)
	}
	err = s.home.shard.Do(ctx, change)
	if g != nil && (err == nil || errors.Is(err, ctx.Err())) {
		s.commit(g)
		n.settled(s, g)
	}
	if err != nil {
		return UpdateReply{}, translate(err)
	}
	return reply, nil
}

// parseUpdate checks wishes and mutes.
func (n *Node) parseUpdate(u Update) (shard.Change, error) {
	var c shard.Change
	if len(u.Wishes) > n.limits.Wishes || len(u.Mutes) > n.limits.Tracks {
		return c, fmt.Errorf("%w: wishes or mutes", ErrLimit)
	}
	if u.Wishes != nil {
		list := make([]shard.Wish, 0, len(u.Wishes))
		for _, w := range u.Wishes {
			source, ok := parseSource(w.Source)
			if !ok || !n.validID(w.Peer) || w.Height < 0 || w.Height > math.MaxUint16 || w.Priority < 0 || w.Priority > math.MaxUint8 {
				return c, fmt.Errorf("%w: wish", ErrBadRequest)
			}
			list = append(list, shard.Wish{Publisher: w.Peer, Wish: room.Wish{
				Source: source, Height: uint16(w.Height), Priority: uint8(w.Priority), Paused: w.Paused,
			}})
		}
		c.Wishes = &list
	}
	for _, m := range u.Mutes {
		source, ok := parseSource(m.Source)
		if !ok {
			return c, fmt.Errorf("%w: mute", ErrBadRequest)
		}
		c.Mutes = append(c.Mutes, shard.Mute{Source: source, Muted: m.Muted})
	}
	return c, nil
}
