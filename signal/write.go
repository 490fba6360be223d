package signal

import (
	"context"
	"time"

	"github.com/coder/websocket"
)

// slowGrace is how long a write that is under way may still take after the
// queue overflowed, so that a client which reads at all learns why it is cut.
const slowGrace = time.Second

// closeTimeout bounds the closing handshake.
const closeTimeout = 3 * time.Second

// write sends what is queued until the queue ends or the connection breaks,
// and closes the connection.
func (s *session) write(ctx context.Context) {
	var spare []frame
	for {
		frames, end := s.queue.take(spare)
		for i, f := range frames {
			if s.ws.Write(ctx, f.kind, f.data) != nil {
				s.abandon()
				return
			}
			frames[i] = frame{} // do not keep what was sent
		}
		spare = frames
		if end != nil {
			s.close(ctx, end)
			return
		}
		select {
		case <-s.queue.wake:
		case <-ctx.Done():
			s.abandon()
			return
		}
	}
}

// close sends the last message and the close frame and waits for the client's.
func (s *session) close(ctx context.Context, e *ending) {
	// The library waits without a limit for the rest of a message that the
	// client has begun.
	late := time.AfterFunc(closeTimeout, s.cut)
	defer late.Stop()
	if e.last != nil && s.ws.Write(ctx, websocket.MessageText, e.last) != nil {
		s.abandon()
		return
	}
	_ = s.ws.Close(e.status, e.reason)
}

// abandon closes without a close frame.
func (s *session) abandon() {
	s.cut()
	_ = s.ws.CloseNow()
}

// cut closes the connection below the WebSocket, whoever is using it. It does
// not wait and is safe from any goroutine.
func (s *session) cut() { _ = s.meter.Conn.Close() }

// ping closes the connection when a ping stays unanswered.
func (s *session) ping(ctx context.Context) {
	interval := s.server.limits.PingInterval
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		pong, cancel := context.WithTimeout(ctx, interval)
		err := s.ws.Ping(pong)
		cancel()
		if err != nil {
			s.cut()
			return
		}
		if m := s.joined.Load(); m != nil {
			m.negotiation.pinged()
		}
	}
}
