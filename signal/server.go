package signal

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"sync"

	"go.uber.org/zap"

	"sotto/signal/protocol"
)

// Config says what a Server works with.
type Config struct {
	// Media is the media node. The server does not close it.
	Media Media
	// Logger gets lifecycle messages with hashed ids, never an address, a
	// session description or a key. Nil is silent.
	Logger *zap.Logger
	// AllowedOrigins are origins ("https://example.org") that may connect
	// besides those whose host is the request's. Exact, case-insensitive.
	AllowedOrigins []string
	// ClientAddr tells the client's address behind a proxy, for the limits per
	// address. Nil takes the connection's. It is never logged.
	ClientAddr func(*http.Request) netip.Addr
	// Limits are the caps; zero fields take their defaults.
	Limits Limits
}

// Server is the signaling service. It serves the WebSocket endpoint and is
// safe for concurrent use.
type Server struct {
	media      Media
	log        *zap.Logger
	origins    []string
	clientAddr func(*http.Request) netip.Addr
	limits     Limits
	announced  protocol.Limits
	counters   *counters

	ctx    context.Context // ends when Close has given up waiting, or is done
	cancel context.CancelFunc

	running sync.WaitGroup // sessions
	events  sync.WaitGroup // the reader of media events

	mu        sync.Mutex
	closing   bool
	sessions  map[*session]struct{}
	rooms     map[protocol.RoomID]*room
	addresses addresses
}

// New starts a server. Close ends it.
func New(c Config) (*Server, error) {
	if c.Media == nil {
		return nil, errors.New("signal: no media node")
	}
	for _, o := range c.AllowedOrigins {
		if _, err := originHost(o); err != nil {
			return nil, err
		}
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.ClientAddr == nil {
		c.ClientAddr = remoteAddress
	}
	limits := c.Limits.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		media: c.Media, log: c.Logger,
		origins: c.AllowedOrigins, clientAddr: c.ClientAddr,
		limits: limits, announced: limits.announced(),
		counters: newCounters(),
		ctx:      ctx, cancel: cancel,
		sessions: make(map[*session]struct{}),
		rooms:    make(map[protocol.RoomID]*room),
		addresses: addresses{
			maxOpen: limits.AddressOpen, perSecond: limits.AddressRate,
			table: make(map[netip.Addr]*address),
		},
	}
	s.events.Go(s.followMedia)
	return s, nil
}

// Close tells every client to go, waits for the sessions to end, and cuts
// those that have not when ctx ends. It returns when all goroutines of the
// server have.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for session := range s.sessions {
		session.end(&refusal{code: protocol.CodeShutdown, text: "the service stops", fatal: true})
	}
	s.mu.Unlock()

	done := make(chan struct{})
	go func() {
		defer close(done)
		s.running.Wait()
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.cancel()
	<-done
	s.events.Wait()
	return err
}

// Kick removes a connection from its room, tells it so, and ends its media.
// It reports whether the connection was there.
func (s *Server) Kick(ctx context.Context, id protocol.RoomID, conn protocol.ConnID) (bool, error) {
	m := s.member(id, conn)
	if m == nil || !m.room.leave(m, protocol.LeftKicked) {
		return false, nil
	}
	m.session.end(&refusal{code: protocol.CodeKicked, text: "removed from the room", fatal: true})
	if err := s.media.Kick(ctx, m.room.name, m.name); err != nil && !gone(err) {
		return true, err
	}
	return true, nil
}

// Stats is a snapshot of the counters.
func (s *Server) Stats() Stats {
	c := s.counters
	st := Stats{
		Joins: c.joins.snapshot(), Offers: c.offers.snapshot(),
		Refused: c.refused.snapshot(), Left: c.left.snapshot(),
		Errors: c.errors.snapshot(), Dropped: c.dropped.snapshot(),
		Messages:      c.messages.Load(),
		Envelopes:     c.envelopes.Load(),
		EnvelopesSent: c.copies.Load(),
		EnvelopeBytes: c.bytes.Load(),
		SlowReaders:   c.slow.Load(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Sessions, st.Rooms = len(s.sessions), len(s.rooms)
	for _, r := range s.rooms {
		r.mu.Lock()
		st.Members += len(r.members)
		r.mu.Unlock()
	}
	return st
}

// acquire finds or makes the room of a connect and counts one more user of it.
func (s *Server) acquire(c *protocol.Connect) (*room, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil, &refusal{id: &c.ID, code: protocol.CodeShutdown, text: "the service stops", fatal: true}
	}
	r := s.rooms[c.Room]
	if r == nil {
		if len(s.rooms) >= s.limits.Rooms {
			return nil, &refusal{id: &c.ID, code: protocol.CodeBusy, text: "no more rooms", fatal: true}
		}
		r = newRoom(c.Room, s.counters)
		s.rooms[c.Room] = r
	}
	r.refs++
	return r, nil
}

// release undoes acquire. The last user takes the room along.
func (s *Server) release(r *room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.refs--; r.refs == 0 {
		delete(s.rooms, r.id)
	}
}

// member finds a connection, or nil.
func (s *Server) member(id protocol.RoomID, conn protocol.ConnID) *member {
	s.mu.Lock()
	r := s.rooms[id]
	s.mu.Unlock()
	if r == nil {
		return nil
	}
	return r.member(conn)
}
