package shard

import (
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"go.uber.org/zap"

	"sotto/sfu/packet"
	"sotto/sfu/room"
	"sotto/sfu/transport"
)

// Errors of Do; test with errors.Is. Errors of room and transport come through unchanged.
var (
	ErrClosed      = errors.New("shard: closed")
	ErrInboxFull   = errors.New("shard: inbox is full")
	ErrUnknownPeer = errors.New("shard: unknown peer")
	ErrPeerExists  = errors.New("shard: peer exists")
)

// readBatch is how many datagrams one read takes. It must not exceed room.MaxBatch, because sends point into the rooms'
// rings until they are marshalled at the end of the batch.
const readBatch = room.MaxBatch

// worthLooking is how many sends a round must have before it looks at the socket again: sealing and writing so many costs
// ten times the system call.
const worthLooking = 16

// snapshotEvery is how often the counters are published: often enough for a scrape, far from the packet path.
const snapshotEvery = time.Second

// Config is what a shard is made of.
type Config struct {
	Bind        transport.Bind // owned by the shard from New on
	TCP         net.Listener   // ICE-TCP; nil = none; owned by the shard
	Certificate *transport.Certificate
	Sessions    int      // cap of sessions
	Inbox       int      // cap of waiting commands
	Senders     *Senders // that help with large fan-outs; nil = none. To be closed after the shard
	// Seed makes the rooms' first sequence numbers and timestamps. Draw it from crypto/rand.
	Seed   [32]byte
	Logger *zap.Logger // lifecycle only; nil = silent
}

// Shard is one goroutine and what it owns. Do, Notices, Stats and Close may be called from any goroutine.
type Shard struct {
	endpoint *transport.Endpoint
	bind     transport.Bind
	tcp      net.Listener
	log      *zap.Logger
	inbox    inbox
	notices  *Queue[NoticeKey, Notice]
	snapshot atomic.Pointer[Stats]
	stopped  chan struct{} // closed when the goroutine is gone
	serving  sync.WaitGroup
	senders  *Senders

	worthASender int // packets for each of senders that is called

	// All below belongs to the goroutine, but what fork says.
	random    *rand.ChaCha8
	bySession []*peer            // by SessionID.Index
	byID      []*peer            // by room.PeerID; nil = free
	free      []room.PeerID      // ids to be reused, last in first out
	freed     []room.PeerID      // ids of this round: the batch may still name them
	byKey     map[uint64]*peer   // commands only
	rooms     map[uint64]*hosted // commands only
	active    []*hosted          // all rooms, for ticks and snapshots
	touched   []*hosted          // rooms that got something in this round
	faulty    []*peer            // to be removed after this round
	condemned []*hosted          // rooms to be closed after this round

	datagrams [readBatch]transport.Datagram
	packet    packet.Packet
	batch     room.Batch
	feedback  []rtcp.Packet // scratch of receiveRTCP
	plans     []plan        // of the batch's sends
	addressed []*peer       // those with sends, in the order of their first
	turn      int           // counts the batches; whose turn it is to be the first
	own       lane
	lanes     []*lane // of senders
	fork      fork
	pressure  pressure
	rtcpTo    []*peer // peers with RTCP in this round
	events    []transport.Event
	counters  counters
	closedRun room.Stats // counters of rooms that are gone

	nextPoll, nextTick, nextSnapshot time.Time
	stopping                         bool
}

// hosted is a room with what the shard knows of it.
type hosted struct {
	key     uint64
	room    *room.Room
	peers   []*peer
	touched bool
	dead    bool
}

// New starts a shard.
func New(cfg Config) (*Shard, error) {
	s, err := prepare(cfg)
	if err != nil {
		return nil, err
	}
	if s.tcp != nil {
		s.serving.Go(func() { _ = s.endpoint.ServeTCP(s.tcp) }) // ends when the listener is closed
	}
	go s.run()
	return s, nil
}

// prepare makes a shard that does not run yet.
func prepare(cfg Config) (*Shard, error) {
	endpoint, err := transport.NewEndpoint(transport.Config{
		Bind:        cfg.Bind,
		Certificate: cfg.Certificate,
		Limits:      transport.Limits{Sessions: cfg.Sessions},
	})
	if err != nil {
		return nil, err
	}
	s := &Shard{
		endpoint: endpoint,
		bind:     cfg.Bind,
		tcp:      cfg.TCP,
		log:      cfg.Logger,
		notices:  NewQueue[NoticeKey, Notice](),
		senders:  cfg.Senders,
		fork:     fork{done: make(chan struct{}, 1)},
		stopped:  make(chan struct{}),
		random:   rand.NewChaCha8(cfg.Seed),
		byKey:    map[uint64]*peer{},
		rooms:    map[uint64]*hosted{},
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	s.worthASender = worthASender
	s.own = lane{shard: s, out: &endpoint.Outbox}
	s.inbox.limit = cfg.Inbox
	s.snapshot.Store(&Stats{})
	return s, nil
}

// Close ends all sessions and the goroutine, and closes the socket. It returns when everything of the shard is gone.
func (s *Shard) Close() {
	if s.inbox.close() {
		s.bind.Wake()
	}
	<-s.stopped
}

// Notices is what the node has to hear.
func (s *Shard) Notices() *Queue[NoticeKey, Notice] { return s.notices }

// run is the goroutine of the shard.
func (s *Shard) run() {
	defer close(s.stopped)
	now := time.Now()
	s.nextSnapshot = now.Add(snapshotEvery)
	for !s.stopping {
		n, err := s.endpoint.Read(s.datagrams[:], s.deadline())
		if err != nil && s.inbox.close() {
			s.log.Error("media socket failed, the shard ends") // without the cause, which may hold an address
		}
		now = time.Now()
		s.round(now, n)
	}
	s.shutdown(now)
}

// round handles n datagrams and whatever else is due, then flushes once.
func (s *Shard) round(now time.Time, n int) {
	defer func() {
		if v := recover(); v != nil { // the last resort: nobody to blame, the rest of the round is lost
			s.counters.faults++
			s.abandon(now)
		}
	}()
	s.relieve(now)
	requests, closed := s.inbox.take()
	for _, r := range requests {
		s.execute(now, r)
	}
	s.stopping = s.stopping || closed
	now = s.take(now, n)
	s.poll(now)
	s.tick(now)
	s.emit(now)
	s.removeFaulty(now)
	s.free, s.freed = append(s.free, s.freed...), s.freed[:0]
	s.flush()
	if !now.Before(s.nextSnapshot) {
		s.nextSnapshot = now.Add(snapshotEvery)
		s.publish()
	}
}

// abandon lets go of a round that broke off, so that nothing of it is taken for the next one's.
func (s *Shard) abandon(now time.Time) {
	s.batch.Reset()
	for _, h := range s.touched {
		h.touched = false
	}
	clear(s.touched)
	s.touched = s.touched[:0]
	for _, p := range s.rtcpTo {
		clear(p.rtcp)
		p.rtcp = p.rtcp[:0]
	}
	clear(s.rtcpTo)
	s.rtcpTo = s.rtcpTo[:0]
	s.free, s.freed = append(s.free, s.freed...), s.freed[:0]
	s.nextTick = now // their deadlines may have moved
}

// take handles the n datagrams of the read and, once that made enough to send, those that came in the meantime, so that a
// frame whose packets arrive one by one goes out in one piece. It never waits. It returns the time of the last read.
func (s *Shard) take(now time.Time, n int) time.Time {
	for left := readBatch; n > 0; {
		for i := range n {
			s.receive(now, &s.datagrams[i])
		}
		left -= n
		if left == 0 || len(s.batch.Sends) < worthLooking {
			break
		}
		var err error
		if n, err = s.endpoint.Read(s.datagrams[:left], now); err != nil {
			break // comes again where it is looked at
		}
		now = time.Now()
	}
	return now
}

// deadline is when the goroutine wants to run again without input.
func (s *Shard) deadline() time.Time {
	d := s.nextSnapshot
	if !s.nextPoll.IsZero() && s.nextPoll.Before(d) {
		d = s.nextPoll
	}
	if !s.nextTick.IsZero() && s.nextTick.Before(d) {
		d = s.nextTick
	}
	return d
}

// poll takes what happened to sessions.
func (s *Shard) poll(now time.Time) {
	s.events, s.nextPoll = s.endpoint.Poll(now, s.events[:0])
	for _, e := range s.events {
		p := s.peerOf(e.Session)
		if p == nil {
			continue
		}
		switch e.Kind {
		case transport.Connected:
			s.connected(now, p, e)
		case transport.Closed:
			s.remove(now, p, e.Reason.String(), false)
		}
	}
}

// tick runs the rooms that are due. Those that got something in this round come first: a packet may have moved a room's
// deadline. All rooms are looked at only when the earliest deadline has passed.
func (s *Shard) tick(now time.Time) {
	for _, h := range s.touched {
		h.touched = false
		s.tickRoom(now, h)
	}
	s.touched = s.touched[:0]
	if s.nextTick.IsZero() || now.Before(s.nextTick) {
		return
	}
	s.nextTick = time.Time{}
	for _, h := range s.active {
		s.tickRoom(now, h)
	}
}

// tickRoom is Tick behind the barrier, when the room is due; it brings nextTick forward to the room's next deadline.
func (s *Shard) tickRoom(now time.Time, h *hosted) {
	defer func() {
		if r := recover(); r != nil {
			s.condemn(h)
		}
	}()
	if h.dead {
		return
	}
	next := h.room.Next()
	if !next.IsZero() && !now.Before(next) {
		next = h.room.Tick(now, &s.batch)
	}
	if !next.IsZero() && (s.nextTick.IsZero() || next.Before(s.nextTick)) {
		s.nextTick = next
	}
}

// touch notes that a room has to be ticked in this round.
func (s *Shard) touch(h *hosted) {
	if !h.touched && !h.dead {
		h.touched = true
		s.touched = append(s.touched, h)
	}
}

// shutdown says goodbye to all sessions and lets go of everything.
func (s *Shard) shutdown(now time.Time) {
	for _, p := range s.byKey {
		s.remove(now, p, ReasonClosed, true)
	}
	if s.tcp != nil {
		_ = s.tcp.Close()
	}
	s.endpoint.Shutdown()
	_ = s.bind.Close()
	s.serving.Wait()
	requests, _ := s.inbox.take()
	for _, r := range requests {
		r.reply <- ErrClosed
	}
	s.publish()
	s.notices.Close()
}
