package sfu

import (
	"context"
	"crypto/rand"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"go.uber.org/zap"

	"sotto/sfu/packet"
	"sotto/sfu/shard"
	"sotto/sfu/transport"
)

// Node is a media node. All methods are safe for concurrent use.
type Node struct {
	limits      Limits
	id          transport.NodeID
	certificate *transport.Certificate
	log         *zap.Logger
	codecs      []packet.Codec // of video, best first
	shards      []*served
	senders     *shard.Senders
	draining    sync.WaitGroup // readers of the shards' notices
	pumping     sync.WaitGroup // writers of Events channels
	done        chan struct{}  // closed by Close
	closing     sync.Once

	mu       sync.Mutex
	closed   bool
	rooms    map[string]*hall
	sessions map[uint64]*session
	lastKey  uint64
	readers  map[*reader]struct{}
	joins    map[string]uint64 // by result
}

// served is a shard with what answers say about it.
type served struct {
	*shard.Shard
	candidates, tcpCandidates []netip.AddrPort
}

// hall is a room as the registry knows it.
type hall struct {
	key   uint64
	name  string
	shard *served
	peers map[string]*session
}

// New starts a node on the sockets of cfg, which it owns from then on, also when it returns an error.
func New(cfg Config) (*Node, error) {
	if len(cfg.Shards) == 0 {
		return nil, fmt.Errorf("%w: no shard", ErrConfig)
	}
	codecs, err := parseCodecs(cfg.Codecs)
	if err != nil {
		closeSockets(cfg.Shards)
		return nil, err
	}
	certificate, err := transport.NewCertificate(time.Now())
	if err != nil {
		closeSockets(cfg.Shards)
		return nil, err
	}
	secret := cfg.NodeSecret
	if len(secret) == 0 {
		secret = make([]byte, 32)
		_, _ = rand.Read(secret) // never fails
	}
	n := &Node{
		limits:      cfg.Limits.withDefaults(),
		id:          transport.NewNodeID(cfg.NodeNumber, secret),
		certificate: certificate,
		codecs:      codecs,
		senders:     shard.NewSenders(max(0, runtime.GOMAXPROCS(0)-len(cfg.Shards))),
		log:         cfg.Logger,
		done:        make(chan struct{}),
		rooms:       map[string]*hall{},
		sessions:    map[uint64]*session{},
		readers:     map[*reader]struct{}{},
		joins:       map[string]uint64{},
	}
	if n.log == nil {
		n.log = zap.NewNop()
	}
	for i, c := range cfg.Shards {
		s, err := n.startShard(c)
		if err != nil {
			closeSockets(cfg.Shards[i+1:])
			_ = n.Close()
			return nil, err
		}
		n.shards = append(n.shards, s)
		n.draining.Go(func() { n.drain(s) })
	}
	n.log.Info("media node started", zap.Int("shards", len(n.shards)))
	return n, nil
}

func closeSockets(shards []ShardConfig) {
	for _, c := range shards {
		if c.Conn != nil {
			_ = c.Conn.Close()
		}
		if c.TCP != nil {
			_ = c.TCP.Close()
		}
	}
}

// startShard makes a shard of its configuration; on an error its sockets are closed.
func (n *Node) startShard(c ShardConfig) (_ *served, err error) {
	defer func() {
		if err != nil {
			closeSockets([]ShardConfig{c})
		}
	}()
	if c.Conn == nil {
		return nil, fmt.Errorf("%w: shard without a socket", ErrConfig)
	}
	candidates, err := candidatesOf(c.Candidates, c.Conn.LocalAddr())
	if err != nil {
		return nil, err
	}
	var tcp []netip.AddrPort
	if c.TCP != nil {
		if tcp, err = candidatesOf(c.TCPCandidates, c.TCP.Addr()); err != nil {
			return nil, err
		}
	}
	cfg := shard.Config{
		TCP: c.TCP, Certificate: n.certificate, Sessions: n.limits.Peers, Inbox: n.limits.Inbox,
		Senders: n.senders, Logger: n.log.Named("shard"),
	}
	_, _ = rand.Read(cfg.Seed[:])
	offload, err := transport.ParseOffload(c.Offload)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if udp, ok := c.Conn.(*net.UDPConn); ok {
		if cfg.Bind, err = transport.NewUDPBind(udp, offload); err != nil {
			return nil, err
		}
	} else {
		cfg.Bind = transport.NewPacketBind(c.Conn)
	}
	s, err := shard.New(cfg)
	if err != nil {
		_ = cfg.Bind.Close()
		return nil, err
	}
	return &served{Shard: s, candidates: candidates, tcpCandidates: tcp}, nil
}

// candidatesOf returns the addresses to advertise: those given, or the socket's own.
func candidatesOf(given []netip.AddrPort, own net.Addr) ([]netip.AddrPort, error) {
	if len(given) > 0 {
		return given, nil
	}
	a, err := netip.ParseAddrPort(own.String())
	if err != nil || a.Addr().IsUnspecified() {
		return nil, fmt.Errorf("%w: a socket on all addresses needs candidates", ErrConfig)
	}
	return []netip.AddrPort{a}, nil
}

// Close ends every session, stops the shards and closes the sockets. It returns when all goroutines of the node are gone, also
// to a second caller.
func (n *Node) Close() error {
	n.closing.Do(n.shutdown)
	return nil
}

func (n *Node) shutdown() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	for _, s := range n.shards {
		s.Close()
	}
	n.senders.Close()
	n.draining.Wait()
	close(n.done)
	n.pumping.Wait()
}

// shardOf returns the shard of a room: the same name comes to the same shard.
func (n *Node) shardOf(name string) *served {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return n.shards[h.Sum32()%uint32(len(n.shards))]
}

// Leave ends a session.
func (n *Node) Leave(ctx context.Context, room, peer string) error {
	return n.end(ctx, room, peer, ReasonLeft)
}

// Kick ends a session against the peer's will; EventClosed carries ReasonKicked.
func (n *Node) Kick(ctx context.Context, room, peer string) error {
	return n.end(ctx, room, peer, ReasonKicked)
}

func (n *Node) end(ctx context.Context, room, peer, reason string) error {
	s, err := n.lookup(room, peer)
	if err != nil {
		return err
	}
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	if err := s.home.shard.Do(ctx, shard.End{Key: s.key, Reason: reason}); err != nil {
		if err = translate(err); err != ErrUnknownPeer {
			return err
		}
		reason = ReasonTransport // it ended by itself a moment ago, the notice is under way
	}
	n.forget(s, reason)
	return nil
}

// lookup finds the session of a peer.
func (n *Node) lookup(room, peer string) (*session, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, ErrClosed
	}
	h := n.rooms[room]
	if h == nil {
		return nil, ErrUnknownRoom
	}
	s := h.peers[peer]
	if s == nil {
		return nil, ErrUnknownPeer
	}
	return s, nil
}

// forget takes a session out of the registry, and its room when it was the last, and tells the readers, once.
func (n *Node) forget(s *session, reason string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sessions[s.key] != s {
		return
	}
	delete(n.sessions, s.key)
	delete(s.home.peers, s.name)
	if len(s.home.peers) == 0 {
		delete(n.rooms, s.home.name)
	}
	n.settleCodecs(s.home)
	if s.opened {
		n.tell(s, Event{Kind: EventClosed, Reason: reason})
	}
}
