package client

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/coder/websocket"

	"sotto/e2ee/group"
	"sotto/e2ee/link"
	"sotto/signal/protocol"
)

// A participation outlives its WebSocket: while the service keeps it, another one goes on, with the same keys, counters and
// peer connection (PROTOCOL.md section 12).
const (
	resumeWithin  = 20 * time.Second
	resumeFirst   = 250 * time.Millisecond
	resumeMost    = 8 * time.Second
	resumeAttempt = 5 * time.Second
)

// resumable reports whether a broken line may be followed by another one.
func (p *Participant) resumable(err error) bool {
	var closed websocket.CloseError
	if errors.As(err, &closed) && closed.Code == websocket.StatusNormalClosure || errors.Is(err, ErrProtocol) {
		return false
	}
	var refused *RefusedError
	if errors.As(err, &refused) && refused.Code != protocol.CodeShutdown {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.isJoined && p.resumeToken != "" && p.ctx.Err() == nil
}

// resume comes back over another line.
func (p *Participant) resume() error {
	p.mu.Lock()
	p.isOnline = false
	p.mu.Unlock()
	p.line.Load().close()
	ctx, cancel := context.WithTimeout(p.ctx, resumeWithin)
	defer cancel()
	for wait := resumeFirst; ; wait = min(2*wait, resumeMost) {
		err := p.resumeOnce(ctx)
		var refused *RefusedError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &refused) && !transient(refused.Code):
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("client: not back in time: %w", err)
		case <-time.After(spread(wait)):
		}
	}
}

// spread draws a time around wait, so that clients which lost the same service do not come back in the same moment.
func spread(wait time.Duration) time.Duration {
	return time.Duration(float64(wait) * (0.5 + rand.Float64()))
}

// transient refusals may not meet the next attempt.
func transient(c protocol.Code) bool {
	return c == protocol.CodeBusy || c == protocol.CodeShutdown || c == protocol.CodeConnectTimeout || c == protocol.CodeRateLimited
}

func (p *Participant) resumeOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, resumeAttempt)
	defer cancel()
	l, err := dial(ctx, p.cfg)
	if err != nil {
		return err
	}
	welcome, err := p.connect(ctx, l, p.claim())
	if err == nil && !welcome.Resumed {
		err = fmt.Errorf("%w: not resumed", ErrProtocol)
	}
	if err != nil {
		l.close()
		return err
	}
	return p.resumed(welcome, l)
}

// claim is what connect says of the participation that goes on.
func (p *Participant) claim() *protocol.Resume {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &protocol.Resume{Token: p.resumeToken, LastSeq: p.lastSeq, Tracks: protocol.List[protocol.Track]{}}
	for _, source := range []protocol.Source{protocol.SourceMic, protocol.SourceCamera} {
		if pub := p.publicationOf(source); pub != nil {
			r.Tracks = append(r.Tracks, protocol.Track{Source: source, Muted: pub.muted.Load()})
		}
	}
	if t := p.ticket; t != nil {
		r.Group = &protocol.GroupClaim{GI: t.GI, Slot: t.Slot, HostTag: t.HostTag, Ticket: t.Ticket}
	}
	return r
}

// resumed goes on over a line.
func (p *Participant) resumed(w *protocol.Welcome, l *line) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		l.close()
		return ErrClosed
	}
	p.line.Store(l)
	p.resumeToken = w.Resume
	if !w.Lost {
		clear(p.peers)
	}
	conns := p.meet(w.Peers)
	var at *group.Position
	if w.Group != nil {
		at = position(&w.Group.GI, &w.Group.Slot)
	}
	p.isOnline, p.due = true, true
	p.texts = withoutAlias(p.texts)
	if newest, _ := p.keys.room.Group().Keys(); newest.RoomID() != p.cfg.Keys.RoomID() {
		p.alias() // the service may have lost it, or the request
	}
	for _, source := range []protocol.Source{protocol.SourceMic, protocol.SourceCamera} {
		if pub := p.publicationOf(source); pub != nil && pub.muted.Load() {
			p.texts = append(p.texts, &protocol.Mute{Source: source, Muted: true})
		}
	}
	if p.wants != nil {
		p.texts = append(p.texts, p.wants)
	}
	err := p.keys.room.Resumed(time.Now(), conns, at, w.Lost, &p.keys.out)
	p.flush()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return nil
}

// meet adds peers to those known.
func (p *Participant) meet(list []protocol.Peer) []link.ConnID {
	conns := make([]link.ConnID, 0, len(list))
	for i := range list {
		p.peers[list[i].ConnID] = &list[i]
		conns = append(conns, link.ConnID(list[i].ConnID))
	}
	return conns
}

// number keeps the order number of a binary message, and reports whether it is news.
func (p *Participant) number(data []byte) bool {
	if len(data) < protocol.SequenceSize {
		return true // the key state counts what is malformed
	}
	seq := binary.BigEndian.Uint64(data)
	if seq <= p.lastSeq {
		return false
	}
	p.lastSeq = seq
	return true
}
