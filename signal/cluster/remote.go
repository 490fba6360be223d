package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"sotto/sfu"
)

// RemoteConfig sets a Remote up. Everything is optional.
type RemoteConfig struct {
	Timing Timing
	// Logger gets lifecycle messages with ids of nodes only. Nil is silent.
	Logger *zap.Logger
}

// Remote is the media nodes of a cluster as signaling sees them: one Media. It implements signal.Media and is safe for
// concurrent use.
type Remote struct {
	nc      *nats.Conn
	id      string
	timing  Timing
	log     *zap.Logger
	stream  chan *nats.Msg
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup
	settled time.Time // from then on rooms are placed anew

	mu      sync.Mutex
	closed  bool
	nodes   map[string]*node
	rooms   map[string]*placement
	count   int // sessions
	readers map[*reader]struct{}
	movable time.Time // until then rooms stay where they are
	moved   uint64    // participants told to leave a node that drains
	cut     uint64    // participants that such a node still had when it ended
}

// NewRemote begins to follow the nodes that the connection reaches. Close ends it; the connection stays open.
func NewRemote(nc *nats.Conn, c RemoteConfig) (*Remote, error) {
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	r := &Remote{
		nc: nc, id: drawID(), timing: c.Timing.withDefaults(), log: c.Logger,
		// A full channel drops messages; their numbers are missing then.
		stream: make(chan *nats.Msg, 16<<10),
		nodes:  make(map[string]*node), rooms: make(map[string]*placement), readers: make(map[*reader]struct{}),
	}
	r.settled = time.Now().Add(r.timing.Settle)
	r.ctx, r.cancel = context.WithCancel(context.Background())
	// One channel for both: events and parts of a snapshot keep the order in which the node sent them.
	var subscriptions []*nats.Subscription
	for _, subject := range []string{subjectEvents("*"), subjectSnapshot("*", r.id)} {
		s, err := nc.ChanSubscribe(subject, r.stream)
		if err != nil {
			for _, s := range subscriptions {
				_ = s.Unsubscribe()
			}
			r.cancel()
			return nil, fmt.Errorf("cluster: subscribe: %w", err)
		}
		subscriptions = append(subscriptions, s)
	}
	r.running.Go(func() {
		defer func() {
			for _, s := range subscriptions {
				_ = s.Unsubscribe()
			}
		}()
		r.follow()
	})
	return r, nil
}

// Close stops following; channels of Events end. The nodes keep their sessions.
func (r *Remote) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.running.Wait()
}

// Nodes returns how many media nodes are live, their rooms known.
func (r *Remote) Nodes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, node := range r.nodes {
		if node.known {
			n++
		}
	}
	return n
}

// Ready reports whether a room can be placed.
func (r *Remote) Ready() bool { return r.nc.IsConnected() && r.Nodes() > 0 }

// Join makes a session on the node of the room. The errors are those of sfu.Node.Join and ErrNoNode.
func (r *Remote) Join(ctx context.Context, j sfu.JoinRequest) (sfu.JoinReply, error) {
	node, err := r.place(ctx, j.Room)
	if err != nil {
		return sfu.JoinReply{}, err
	}
	defer r.placed(j.Room, node)
	answer, err := r.ask(ctx, node, opJoin, request{Join: &j})
	return sfu.JoinReply{Answer: answer}, err
}

// Update changes a session. The errors are those of sfu.Node.Update and ErrNoNode.
func (r *Remote) Update(ctx context.Context, u sfu.Update) (sfu.UpdateReply, error) {
	node, err := r.find(ctx, u.Room)
	if err != nil {
		return sfu.UpdateReply{}, err
	}
	answer, err := r.ask(ctx, node, opUpdate, request{Update: &u})
	return sfu.UpdateReply{Answer: answer}, err
}

// Kick ends a session against the peer's will.
func (r *Remote) Kick(ctx context.Context, room, peer string) error {
	return r.end(ctx, opKick, room, peer)
}

// Leave ends a session.
func (r *Remote) Leave(ctx context.Context, room, peer string) error {
	return r.end(ctx, opLeave, room, peer)
}

func (r *Remote) end(ctx context.Context, operation, room, peer string) error {
	node, err := r.find(ctx, room)
	if errors.Is(err, ErrNoNode) {
		return sfu.ErrUnknownRoom // what there was is lost
	}
	if err != nil {
		return err
	}
	_, err = r.ask(ctx, node, operation, request{Room: room, Peer: peer})
	return err
}

// ask sends a request and waits for the reply.
func (r *Remote) ask(ctx context.Context, node, operation string, q request) (answer string, err error) {
	timeout := remaining(ctx, r.timing.Request)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	q.Signal, q.Timeout = r.id, max(timeout.Milliseconds(), 1)
	data := encode(q)
	if len(data) > maxMessage {
		return "", fmt.Errorf("%w: request", sfu.ErrLimit)
	}
	m, err := r.nc.RequestWithContext(ctx, subjectNode(node, operation), data)
	switch {
	case err == nil:
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return "", context.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return "", context.Canceled
	default: // nobody listens, or no engine; the library's text may hold an address
		return "", errNoNode()
	}
	a, err := decode[reply](m.Data)
	if err != nil {
		return "", err
	}
	return a.Answer, a.Error.decode()
}

func errNoNode() error { return fmt.Errorf("%w: %w", ErrNoNode, sfu.ErrClosed) }
