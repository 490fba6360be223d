package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"sotto/e2ee/link"
	"sotto/e2ee/room"
	"sotto/signal/protocol"
)

const subprotocol = "sotto.v1"

// line is the connection to the service.
type line struct {
	ws        *websocket.Conn
	transport *http.Transport
}

func dial(ctx context.Context, cfg Config) (*line, error) {
	transport := &http.Transport{DialContext: cfg.Dial, DisableKeepAlives: true}
	ws, _, err := websocket.Dial(ctx, cfg.URL, &websocket.DialOptions{
		HTTPClient:   &http.Client{Transport: transport},
		Subprotocols: []string{subprotocol},
	})
	if err != nil {
		transport.CloseIdleConnections()
		return nil, fmt.Errorf("client: signaling: %w", err)
	}
	if ws.Subprotocol() != subprotocol {
		_ = ws.CloseNow()
		return nil, fmt.Errorf("%w: no common version", ErrProtocol)
	}
	// A room of 256 peers and an SDP of the largest size stay below this.
	ws.SetReadLimit(protocol.MaxNegotiation)
	return &line{ws: ws, transport: transport}, nil
}

// read returns the next message: a text message, or the bytes of a binary one.
func (l *line) read(ctx context.Context) (protocol.ServerMessage, []byte, error) {
	kind, data, err := l.ws.Read(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("client: signaling: %w", err)
	}
	if kind == websocket.MessageBinary {
		return nil, data, nil
	}
	m, err := protocol.DecodeServer(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return m, nil, nil
}

func (l *line) send(ctx context.Context, m protocol.ClientMessage) error {
	data, err := protocol.Encode(m)
	if err != nil {
		return err
	}
	if err := l.ws.Write(ctx, websocket.MessageText, data); err != nil {
		return fmt.Errorf("client: signaling: %w", err)
	}
	return nil
}

func (l *line) sendBinary(ctx context.Context, data []byte) error {
	return l.ws.Write(ctx, websocket.MessageBinary, data)
}

// sendAll returns what did not go out.
func (l *line) sendAll(ctx context.Context, texts []protocol.ClientMessage, envelopes [][]byte) ([]protocol.ClientMessage, [][]byte) {
	for len(texts) > 0 {
		if l.send(ctx, texts[0]) != nil {
			return texts, envelopes
		}
		texts = texts[1:]
	}
	for len(envelopes) > 0 {
		if l.sendBinary(ctx, envelopes[0]) != nil {
			return nil, envelopes
		}
		envelopes = envelopes[1:]
	}
	return nil, nil
}

func (l *line) close() {
	_ = l.ws.CloseNow()
	l.transport.CloseIdleConnections()
}

// ask sends a request and waits for the message that carries its id.
func (p *Participant) ask(ctx context.Context, id uint32, m protocol.ClientMessage) (protocol.ServerMessage, error) {
	reply := make(chan protocol.ServerMessage, 1)
	p.mu.Lock()
	p.replies[id] = reply
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.replies, id)
		p.mu.Unlock()
	}()
	if err := p.line.Load().send(ctx, m); err != nil {
		return nil, err
	}
	select {
	case m := <-reply:
		if e, ok := m.(*protocol.Error); ok {
			return nil, &RefusedError{Code: e.Code, Message: e.Message}
		}
		return m, nil
	case <-p.ctx.Done():
		return nil, context.Cause(p.ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// listen takes the service's messages until the participation ends.
func (p *Participant) listen() {
	for {
		m, data, err := p.line.Load().read(p.ctx)
		if err == nil {
			err = p.handle(time.Now(), m, data)
		}
		if err != nil && p.resumable(err) {
			err = p.resume()
		}
		if err != nil {
			var closed websocket.CloseError
			if errors.As(err, &closed) && closed.Code == websocket.StatusNormalClosure {
				err = ErrClosed
			}
			p.cancel(err)
			return
		}
	}
}

func (p *Participant) handle(now time.Time, m protocol.ServerMessage, data []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.flush()
	p.due = true
	k := p.keys
	if m == nil {
		// A refused envelope is counted by the key state; the room goes on.
		if p.number(data) {
			_ = k.room.Envelope(now, data, &k.out)
		}
		p.released(now)
		return nil
	}
	switch m := m.(type) {
	case *protocol.PeerJoined:
		if known := p.peers[m.ConnID]; known != nil && known.Leaf == m.Leaf {
			return nil // back after a restart of the service
		} else if len(p.peers) >= protocol.MaxPeers {
			return fmt.Errorf("%w: roster", ErrProtocol)
		}
		p.peers[m.ConnID] = &protocol.Peer{ConnID: m.ConnID, Leaf: m.Leaf}
		// An unacceptable peer is one that this participant does not hear; the others go on.
		_ = k.room.PeerJoined(now, link.ConnID(m.ConnID), &k.out)
	case *protocol.PeerLeft:
		delete(p.peers, m.ConnID)
		_ = k.room.PeerLeft(now, link.ConnID(m.ConnID), &k.out)
	case *protocol.Peers:
		clear(p.peers)
		_ = k.room.Peers(now, p.meet(m.Peers), &k.out)
	case *protocol.Group:
		_ = k.room.Position(now, position(m.GI, m.Slot), &k.out)
	case *protocol.Stale:
		_ = k.room.Stale(now, position(m.GI, m.Slot), &k.out)
	case *protocol.Ticket:
		p.ticket = m
	case *protocol.PeerTracks:
		if q := p.peers[m.ConnID]; q != nil {
			q.Tracks = m.Tracks
		}
		p.muted(m)
	case *protocol.Slots:
		if p.media.isAnswered() {
			return p.bind(now, m)
		}
	case *protocol.Wanted:
		if p.media.isAnswered() {
			p.limit(m)
		}
	case *protocol.Answer:
		if p.reply(m.ID, m) {
			p.media.answered = true
		}
	case *protocol.Done:
		p.reply(m.ID, m)
	case *protocol.Error:
		if m.ID != nil && *m.ID == p.aliasID {
			p.linkRefused = true
		}
		if m.ID != nil && p.reply(*m.ID, m) && !m.Fatal {
			return nil
		}
		if m.Fatal {
			return &RefusedError{Code: m.Code, Message: m.Message}
		}
		if (m.Code == protocol.CodeMediaClosed || m.Code == protocol.CodeUnknownPeer) && p.media.isAnswered() {
			p.media.cancel()
		}
	default:
		return fmt.Errorf("%w: %s", ErrProtocol, m.Type())
	}
	return nil
}

func (p *Participant) reply(id uint32, m protocol.ServerMessage) bool {
	waiting, ok := p.replies[id]
	if ok {
		delete(p.replies, id)
		waiting <- m // has room for the one that it gets
	}
	return ok
}

// muted makes the pause of a muted track no freeze.
func (p *Participant) muted(m *protocol.PeerTracks) {
	for _, t := range p.tracks {
		for _, now := range m.Tracks {
			if t.stats.Conn == m.ConnID && t.stats.Source == now.Source && now.Muted {
				t.resumed = true
			}
		}
	}
}

// limit restricts what the camera sends to what is wanted of it.
func (p *Participant) limit(m *protocol.Wanted) {
	if p.camera == nil {
		return
	}
	layers := protocol.MaxLayers // what is not listed is wanted whole
	for _, t := range m.Tracks {
		if t.Source != protocol.SourceCamera {
			continue
		}
		layers = t.Layers
		if p.cfg.Synthetic != nil && t.Codec != "" {
			m := p.media
			m.run(func() { p.recode(m, t.Codec) })
		}
	}
	p.camera.wanted.Store(int32(layers))
}

// bind takes a slot list.
func (p *Participant) bind(now time.Time, m *protocol.Slots) error {
	list := make([]room.Slot, 0, len(m.Slots))
	bound := make(map[string]room.Slot, len(m.Slots))
	paused := make(map[room.Slot]string, len(m.Slots))
	for _, s := range m.Slots {
		source, ok := room.ParseSource(string(s.Source))
		if !ok {
			return fmt.Errorf("%w: source of a slot", ErrProtocol)
		}
		b := room.Slot{MID: s.MID, Conn: link.ConnID(s.ConnID), Source: source}
		list = append(list, b)
		bound[s.MID] = b
		paused[room.Slot{Conn: b.Conn, Source: b.Source}] = s.Paused
	}
	p.bound = bound
	for _, t := range p.tracks {
		t.paused(paused[room.Slot{Conn: t.conn, Source: t.source}])
	}
	for _, r := range p.receptions {
		if b, ok := bound[r.mid]; r.track != nil && (!ok || b.Conn != r.track.conn || b.Source != r.track.source) {
			r.track = nil
		}
	}
	if err := p.keys.room.Slots(now, list, &p.keys.out); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	p.released(now)
	return nil
}
