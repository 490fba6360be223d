package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"

	"sotto/e2ee/group"
	"sotto/e2ee/link"
	"sotto/e2ee/room"
	"sotto/signal/protocol"
)

// maxOutbox caps the envelopes that wait for the connection: two rounds of announcements in a full room.
const maxOutbox = 512

// Participant is in a room. All methods are safe for concurrent use.
type Participant struct {
	cfg  Config
	host string
	conn link.ConnID
	line atomic.Pointer[line]
	keys *keys

	mic, camera *publication // nil: not published; fixed by Join

	ctx     context.Context // of the goroutines; ends with Close
	cancel  context.CancelCauseFunc
	running sync.WaitGroup
	wake    chan struct{} // outbox or requests are not empty, or due
	lastID  atomic.Uint32
	count   counters
	// admitted is closed on admission to the group.
	admitted chan struct{}

	offering sync.Mutex // held from an offer to its answer; before mu

	mu         sync.Mutex
	media      *mediaSession // the latest; nil: none yet
	peers      map[protocol.ConnID]*protocol.Peer
	bound      map[string]room.Slot // by mid
	tracks     []*receivedTrack
	receptions []*reception
	outbox     [][]byte
	requests   []rtcp.Packet
	replies    map[uint32]chan protocol.ServerMessage
	joinTime   time.Duration
	stopped    bool
	due        bool // the key state may have a timer earlier than before
	isAdmitted bool
	knocks     []group.Knock
	// aliasID is the last request for a new link's name, linkRefused what became of it.
	aliasID     uint32
	linkRefused bool
	texts       []protocol.ClientMessage
	wants       *protocol.Want // the latest

	// For a resumption.
	isJoined, isOnline bool
	resumeToken        string
	nonce              []byte // of the latest hello
	lastSeq            uint64
	ticket             *protocol.Ticket // the latest
}

// Join enters the room and returns when media is connected. The context bounds joining only.
func Join(ctx context.Context, cfg Config) (*Participant, error) {
	start := time.Now()
	host, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	p := &Participant{
		cfg: cfg, host: host, conn: link.NewConnID(),
		wake:     make(chan struct{}, 1),
		admitted: make(chan struct{}),
		peers:    map[protocol.ConnID]*protocol.Peer{},
		bound:    map[string]room.Slot{},
		replies:  map[uint32]chan protocol.ServerMessage{},
	}
	// The goroutines outlive the call: values of ctx are kept, its end is not.
	p.ctx, p.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	if err := p.join(ctx); err != nil {
		p.stop(err)
		return nil, err
	}
	p.mu.Lock()
	p.joinTime = time.Since(start)
	p.mu.Unlock()
	return p, nil
}

func (p *Participant) join(ctx context.Context) error {
	var err error
	if p.keys, err = newKeys(p.cfg, p.conn); err != nil {
		return err
	}
	p.addPublications()
	l, err := dial(ctx, p.cfg)
	if err != nil {
		return err
	}
	p.line.Store(l)
	welcome, err := p.connect(ctx, l, nil)
	if err != nil {
		return err
	}
	if err := p.welcome(welcome); err != nil {
		return err
	}
	p.run(p.listen)
	p.run(p.write)
	if err := p.openMedia(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	p.isJoined = true
	p.mu.Unlock()
	p.run(p.keepMedia)
	return nil
}

// run starts a goroutine that stop waits for, unless the participant has stopped.
func (p *Participant) run(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	p.running.Go(f)
}

// connect carries out hello, connect and welcome. resume is nil for a new participation.
func (p *Participant) connect(ctx context.Context, l *line, resume *protocol.Resume) (*protocol.Welcome, error) {
	m, _, err := l.read(ctx)
	if err != nil {
		return nil, err
	}
	hello, ok := m.(*protocol.Hello)
	if !ok || hello.Version != 1 {
		return nil, fmt.Errorf("%w: instead of hello", ErrProtocol)
	}
	room, err := protocol.ParseRoomID(p.cfg.Keys.RoomID())
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.nonce = hello.Nonce
	p.mu.Unlock()
	connect := &protocol.Connect{
		ID:      p.lastID.Add(1),
		Room:    room,
		ConnID:  protocol.ConnID(p.conn),
		LinkPub: protocol.Bytes(p.cfg.Keys.Public()),
		LinkSig: p.cfg.Keys.ConnectSignature(p.host, hello.Nonce, p.conn),
		Client:  p.cfg.Name,
		Resume:  resume,
	}
	if err := l.send(ctx, connect); err != nil {
		return nil, err
	}
	if m, _, err = l.read(ctx); err != nil {
		return nil, err
	}
	switch m := m.(type) {
	case *protocol.Welcome:
		return m, nil
	case *protocol.Error:
		return nil, &RefusedError{Code: m.Code, Message: m.Message}
	}
	return nil, fmt.Errorf("%w: instead of welcome", ErrProtocol)
}

func (p *Participant) welcome(m *protocol.Welcome) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	others := p.meet(m.Peers)
	p.resumeToken, p.isOnline = m.Resume, true
	var at *group.Position
	if m.Group != nil {
		at = position(&m.Group.GI, &m.Group.Slot)
	}
	if err := p.keys.room.Welcome(time.Now(), others, at, &p.keys.out); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	p.flush()
	return nil
}

// position reads where the group stands; nil: there is none.
func position(gi *protocol.GroupInstance, slot *uint64) *group.Position {
	if gi == nil || slot == nil {
		return nil
	}
	return &group.Position{Group: [16]byte(*gi), Slot: *slot}
}

// write sends envelopes and key frame requests, and ticks the key state, until Close.
func (p *Participant) write() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		expired := false
		select {
		case <-p.ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
			expired = true
		}
		p.mu.Lock()
		if expired || p.due {
			p.due = false
			now := time.Now()
			next, err := p.keys.room.Tick(now, &p.keys.out)
			if err != nil {
				p.mu.Unlock()
				p.cancel(fmt.Errorf("client: key state: %w", err))
				return
			}
			p.released(now)
			p.flush()
			timer.Reset(max(next.Sub(now), 10*time.Millisecond))
		}
		requests, media := p.requests, p.media
		p.requests = nil
		var texts []protocol.ClientMessage
		var outbox [][]byte
		if p.isOnline {
			texts, outbox = p.texts, p.outbox
			p.texts, p.outbox = nil, nil
		}
		p.mu.Unlock()
		if texts, outbox = p.line.Load().sendAll(p.ctx, texts, outbox); len(texts)+len(outbox) > 0 {
			// listen sees the same end; what is left goes over the next line.
			p.mu.Lock()
			p.isOnline = false
			p.texts, p.outbox = append(withoutAlias(texts), p.texts...), append(outbox, p.outbox...)
			p.mu.Unlock()
		}
		if len(requests) > 0 && media.pc.WriteRTCP(requests) == nil {
			p.count.keyRequests.Add(uint64(len(requests)))
		}
	}
}

// ConnID is the participant's connection id.
func (p *Participant) ConnID() protocol.ConnID { return protocol.ConnID(p.conn) }

// Peers are the others in the room as signaling says, in no order.
func (p *Participant) Peers() []protocol.Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []protocol.Peer
	for _, q := range p.peers {
		c := *q
		c.Tracks = append([]protocol.Track(nil), q.Tracks...)
		out = append(out, c)
	}
	return out
}

// Want replaces the list of wishes.
func (p *Participant) Want(ctx context.Context, wishes []protocol.Wish) error {
	if wishes == nil {
		wishes = []protocol.Wish{}
	}
	p.say(&protocol.Want{Tracks: wishes})
	return context.Cause(p.ctx)
}

// Mute stops or resumes an own source, and says so to the service.
func (p *Participant) Mute(ctx context.Context, source protocol.Source, muted bool) error {
	pub := p.publicationOf(source)
	if pub == nil {
		return fmt.Errorf("%w: not published", ErrConfig)
	}
	pub.muted.Store(muted)
	p.say(&protocol.Mute{Source: source, Muted: muted})
	return context.Cause(p.ctx)
}

// publicationOf is what is published of a source, nil if nothing is.
func (p *Participant) publicationOf(source protocol.Source) *publication {
	switch source {
	case protocol.SourceMic:
		return p.mic
	case protocol.SourceCamera:
		return p.camera
	}
	return nil
}

// say queues a text message, in the order of all others. What replaces an earlier one is sent again after a resumption.
func (p *Participant) say(m protocol.ClientMessage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w, ok := m.(*protocol.Want); ok {
		p.wants = w
	}
	if len(p.texts) < maxOutbox {
		p.texts = append(p.texts, m)
	}
	p.stir()
}

// stir wakes the writer.
func (p *Participant) stir() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Done is closed when the participant is out of the room, by whatever reason; Err tells it.
func (p *Participant) Done() <-chan struct{} { return p.ctx.Done() }

// Err is why the participant is out of the room: ErrClosed after Close or Leave; nil while it is in.
func (p *Participant) Err() error { return context.Cause(p.ctx) }

// Leave says goodbye and closes.
func (p *Participant) Leave(ctx context.Context) error {
	err := p.line.Load().send(ctx, &protocol.Leave{})
	if err == nil {
		select { // the service closes the connection
		case <-p.ctx.Done():
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return errors.Join(err, p.Close())
}

// Close drops out of the room without a word and returns when all goroutines have ended. Stats stays readable.
func (p *Participant) Close() error {
	p.stop(ErrClosed)
	return nil
}

func (p *Participant) stop(cause error) {
	p.cancel(cause)
	p.mu.Lock()
	p.stopped = true
	media := p.media
	p.mu.Unlock()
	if l := p.line.Load(); l != nil {
		l.close()
	}
	if media != nil {
		media.close()
	}
	p.running.Wait()
}
