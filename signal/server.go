package signal

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"sotto/signal/blob"
	"sotto/signal/protocol"
)

// Config says what a Server works with.
type Config struct {
	// Media is the media node. The server does not close it.
	Media Media
	// Logger gets lifecycle messages with hashed ids, never an address, a
	// session description or a key. Nil is silent.
	Logger *zap.Logger
	// OpenRooms lets everybody in who holds a room's link. Without it a client
	// needs a join token that one of Keys signed.
	OpenRooms bool
	// Keys are the secrets of join tokens by their issuer, at least
	// token.MinSecret bytes each.
	Keys map[string][]byte
	// TokenAudience refuses join tokens that are made out to others. Empty
	// takes any.
	TokenAudience string
	// ResumeKey seals resume tokens and tickets, at least 32 bytes. A service that is
	// started with the same key again takes the participants of before back,
	// whose media the node has carried on; so it is for a node that outlives
	// the service, and serves no other. Empty draws a key: participants survive
	// a lost connection, but no restart.
	ResumeKey []byte
	// AllowedOrigins are origins ("https://example.org") that may connect
	// besides those whose host is the request's. Exact, case-insensitive.
	AllowedOrigins []string
	// ClientAddr tells the client's address behind a proxy, for the limits per
	// address. Nil takes the connection's. It is never logged.
	ClientAddr func(*http.Request) netip.Addr
	// LoopbackUnlimited takes loopback addresses out of the limits per address:
	// a proxy that bounds its clients itself, or a developer.
	LoopbackUnlimited bool
	// Files stores what participants upload. The server does not close it. Nil:
	// nothing is stored.
	Files *blob.Store
	// Limits are the caps; zero fields take their defaults.
	Limits Limits
}

// Server is the signaling service. It serves the WebSocket endpoint and is
// safe for concurrent use.
type Server struct {
	media      Media
	files      *blob.Store // nil: none
	log        *zap.Logger
	limits     Limits
	announced  protocol.Limits
	counters   *counters
	policy     atomic.Pointer[policy]
	usedTokens usedTokens
	resumeKey  resumeKey
	// outlived: the media node goes on without this service, for the next one.
	outlived bool

	ctx    context.Context // ends when Close has given up waiting, or is done
	cancel context.CancelFunc

	running sync.WaitGroup // sessions and members
	events  sync.WaitGroup // the reader of media events, the end of the recovery, evictions during it

	mu        sync.Mutex
	closing   bool
	sessions  map[*session]struct{}
	rooms     map[protocol.RoomID]*room // by their first names
	aliases   map[protocol.RoomID]*room // by their other names
	addresses addresses
	away      int       // members without a connection
	recovery  *recovery // nil: over, or there is none
}

// New starts a server. Close ends it.
func New(c Config) (*Server, error) {
	if c.Media == nil {
		return nil, errors.New("signal: no media node")
	}
	policy, err := newPolicy(c)
	if err != nil {
		return nil, err
	}
	if n := len(c.ResumeKey); n > 0 && n < minResumeKey {
		return nil, fmt.Errorf("signal: a resume key has at least %d bytes", minResumeKey)
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	limits := c.Limits.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		media: c.Media, files: c.Files, log: c.Logger,
		limits: limits, announced: limits.announced(),
		counters: newCounters(),
		ctx:      ctx, cancel: cancel,
		sessions: make(map[*session]struct{}),
		rooms:    make(map[protocol.RoomID]*room),
		aliases:  make(map[protocol.RoomID]*room),
		addresses: addresses{
			maxOpen: limits.AddressOpen, perSecond: limits.AddressRate, maxTable: limits.Addresses,
			loopbackFree: c.LoopbackUnlimited,
			table:        make(map[netip.Addr]*address),
		},
	}
	s.policy.Store(policy)
	if s.files != nil {
		s.files.CountClients(func(r *http.Request) netip.Addr { return s.addresses.client(s.policy.Load().clientAddr(r)) })
	}
	s.usedTokens.limit = limits.OnceTokens
	s.resumeKey, s.outlived = bytes.Clone(c.ResumeKey), len(c.ResumeKey) > 0
	if s.outlived {
		s.recovery = newRecovery()
		s.events.Go(s.recover)
	} else {
		s.resumeKey = make([]byte, minResumeKey)
		_, _ = rand.Read(s.resumeKey) // never fails (crypto/rand)
	}
	s.events.Go(s.followMedia)
	return s, nil
}

// Reload takes what may change while the server runs: OpenRooms, Keys,
// TokenAudience, AllowedOrigins, ClientAddr, Limits.AddressOpen and
// Limits.AddressRate, for all that connect from now on. Who is there stays. On
// an error nothing has changed.
func (s *Server) Reload(c Config) error {
	policy, err := newPolicy(c)
	if err != nil {
		return err
	}
	limits := c.Limits.withDefaults()
	s.policy.Store(policy)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addresses.maxOpen, s.addresses.perSecond = limits.AddressOpen, limits.AddressRate
	return nil
}

// Close tells every client to go, waits for the sessions to end, and cuts
// those that have not when ctx ends. It returns when all goroutines of the
// server have. With Config.ResumeKey the media sessions go on at the node, for
// the service that comes next.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for session := range s.sessions {
		session.end(&refusal{code: protocol.CodeShutdown, text: "the service stops", fatal: true})
	}
	for _, r := range s.rooms {
		for _, m := range r.all() {
			if r.leave(m, nil, protocol.LeftGone) { // away
				go s.dismiss(m, s.outlived)
			}
		}
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
	if m == nil || !s.evictKicked(m) {
		return false, nil
	}
	return true, s.expel(ctx, m)
}

// expel ends the media of a member that evictKicked took out, at once, and all
// else.
func (s *Server) expel(ctx context.Context, m *member) error {
	err := s.media.Kick(ctx, m.room.name, m.name)
	s.dismiss(m, false)
	if gone(err) {
		return nil
	}
	return err
}

// evictKicked takes a member out and ends its connection. The caller dismisses
// it, when it reports true.
func (s *Server) evictKicked(m *member) bool {
	session, ok := m.room.evict(m, protocol.LeftKicked)
	if ok && session != nil {
		session.end(&refusal{code: protocol.CodeKicked, text: "removed from the room", fatal: true})
	}
	return ok
}

// Stats is a snapshot of the counters.
func (s *Server) Stats() Stats {
	c := s.counters
	st := Stats{
		Joins: c.joins.snapshot(), Resumes: c.resumes.snapshot(), Offers: c.offers.snapshot(),
		Refused: c.refused.snapshot(), Left: c.left.snapshot(),
		Errors: c.errors.snapshot(), Dropped: c.dropped.snapshot(),
		Group: c.group.snapshot(), Tickets: c.tickets.snapshot(),
		Messages:      c.messages.Load(),
		Envelopes:     c.envelopes.Load(),
		EnvelopesSent: c.copies.Load(),
		EnvelopeBytes: c.bytes.Load(),
		SlowReaders:   c.slow.Load(),
	}
	if s.files != nil {
		st.Files = s.files.Stats()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Sessions, st.Rooms = len(s.sessions), len(s.rooms)
	for _, r := range s.rooms {
		members, away, group := r.count()
		st.Members += members
		st.Away += away
		if group {
			st.Groups++
		}
	}
	return st
}

// acquire finds or makes the room of a connect, which may be its newest name
// only, and counts one more user of it.
func (s *Server) acquire(c *protocol.Connect) (*room, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := c.Room
	if r := s.named(id); r != nil {
		if r.newest().id != id {
			return nil, &refusal{id: &c.ID, code: protocol.CodeLinkReplaced, text: "the room has a newer link", fatal: true}
		}
		id = r.id
	}
	return s.roomOf(id, c.ID)
}

// roomOf finds or makes a room by its first name, for a request, and counts one
// more user of it. s.mu is held.
func (s *Server) roomOf(id protocol.RoomID, request uint32) (*room, *refusal) {
	if s.closing {
		return nil, &refusal{id: &request, code: protocol.CodeShutdown, text: "the service stops", fatal: true}
	}
	r := s.rooms[id]
	if r == nil {
		if len(s.rooms) >= s.limits.Rooms {
			return nil, &refusal{id: &request, code: protocol.CodeBusy, text: "no more rooms", fatal: true}
		}
		now := time.Now()
		r = newRoom(id, s.resumeKey, s.counters, s.log, now)
		if s.recovery != nil && s.recovery.awaits(id) {
			r.next = newcomersLeaf(now)
			r.group.Recover()
		}
		s.rooms[id] = r
		if s.files != nil {
			s.files.Occupied(id)
		}
	}
	r.refs++
	return r, nil
}

// release undoes acquire. The last user takes the room along.
func (s *Server) release(r *room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unref(r)
}

// unref is release with s.mu held.
func (s *Server) unref(r *room) {
	if r.refs--; r.refs == 0 {
		delete(s.rooms, r.id)
		for _, n := range r.names {
			delete(s.aliases, n.id)
		}
		r.close()
		if s.files != nil {
			s.files.Emptied(r.id)
		}
	}
}

// member finds a connection, or nil.
func (s *Server) member(id protocol.RoomID, conn protocol.ConnID) *member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(id, conn)
}

// find is member with s.mu held.
func (s *Server) find(id protocol.RoomID, conn protocol.ConnID) *member {
	if r := s.rooms[id]; r != nil {
		return r.member(conn)
	}
	return nil
}

// admit makes a connection a new member.
func (s *Server) admit(by *session, c *protocol.Connect) (*member, *refusal) {
	now := time.Now()
	g, identity, undo, refused := s.policy.Load().admit(c, now, &s.usedTokens)
	if refused != nil {
		return nil, refused
	}
	r, refused := s.acquire(c)
	if refused != nil {
		undo()
		return nil, refused
	}
	m := s.newMember(r, by, c, ticket{leaf: -1, grant: g, ordinal: s.ordinal(r, c.Room)})
	s.running.Add(1) // its session runs, so the counter is not zero
	if refused := r.join(m, c.ID, s.welcome(m), s.sealer(m, now)); refused != nil {
		s.running.Done()
		m.negotiation.close(false)
		s.release(r)
		undo()
		return nil, refused
	}
	if identity != "" {
		s.log.Info("join token taken", logConn(m.conn), logIdentity(identity))
	}
	return m, nil
}

func (s *Server) newMember(r *room, by *session, c *protocol.Connect, t ticket) *member {
	m := &member{
		room: r, conn: c.ConnID, name: c.ConnID.String(), leaf: t.leaf, grant: t.grant, session: by,
		entry:  roomName{c.Room, t.ordinal},
		outbox: outbox{maxFrames: s.limits.ResumeMessages, maxBytes: s.limits.ResumeBytes},
	}
	m.negotiation = newNegotiation(s, m)
	return m
}

// welcome begins a member's welcome; the room completes it.
func (s *Server) welcome(m *member) *protocol.Welcome {
	return &protocol.Welcome{NoPublish: m.grant.denied(), NoSubscribe: !m.grant.subscribe}
}

// sealer makes a member's resume token.
func (s *Server) sealer(m *member, now time.Time) func(leaf int) string {
	return func(leaf int) string {
		t := ticket{leaf: leaf, grant: m.grant, room: m.room.id, ordinal: m.entry.ordinal}
		return s.resumeKey.seal(m.entry.id, m.conn, t, now)
	}
}

// dismiss ends what a member still has, after it was taken out of its room.
// Who took it out calls it, once.
func (s *Server) dismiss(m *member, keepMedia bool) {
	defer s.running.Done()
	m.negotiation.close(keepMedia)
	m.room.forget(m)
	s.mu.Lock()
	s.unkeep(m)
	s.unref(m.room)
	s.mu.Unlock()
	s.log.Info("member left", logRoom(m.room.id), logConn(m.conn))
}

// detach keeps a member whose connection broke, for another to resume it.
func (s *Server) detach(m *member, by *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unkeep(m) // it was back for a moment only
	if s.closing || s.away >= s.limits.Sessions || !s.addresses.keep(by.ip) {
		if m.room.leave(m, by, protocol.LeftGone) {
			go s.dismiss(m, s.closing && s.outlived)
		}
		return
	}
	detached := m.room.detach(m, by, s.limits.ResumeTimeout, func() {
		if m.room.expire(m, time.Now()) {
			s.dismiss(m, false)
		}
	})
	if !detached {
		s.addresses.back(time.Now(), by.ip)
		return
	}
	m.kept, m.isKept = by.ip, true
	s.away++
}

// unkeep undoes the counting of detach. s.mu is held.
func (s *Server) unkeep(m *member) {
	if m.isKept {
		s.addresses.back(time.Now(), m.kept)
		m.kept, m.isKept = netip.Addr{}, false
		s.away--
	}
}
