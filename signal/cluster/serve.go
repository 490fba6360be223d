package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"sotto/sfu"
)

// ServeConfig says which node is served.
type ServeConfig struct {
	// NodeID names the node in the cluster; see ValidNodeID. No two live nodes may have the same.
	NodeID string
	Media  Media
	Timing Timing
	// Drain empties the node when it begins; a request of an operator begins it too. Nil is such a request alone.
	Drain *Drain
	// Logger gets lifecycle messages without ids of rooms or peers. Nil is silent.
	Logger *zap.Logger
}

// Serve puts a media node on the connection until ctx ends or the node closes. It returns nil in both cases, when all its
// goroutines have ended. The node's sessions are left as they are.
func Serve(ctx context.Context, nc *nats.Conn, c ServeConfig) error {
	if !ValidNodeID(c.NodeID) || c.Media == nil {
		return fmt.Errorf("%w: node id or media", ErrConfig)
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Drain == nil {
		c.Drain = NewDrain()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n := &served{
		ctx: ctx, cancel: cancel, node: c.NodeID, media: c.Media, timing: c.Timing.withDefaults(), drain: c.Drain, log: c.Logger,
		requests: make(chan struct{}, maxRequests),
	}
	// A younger node has a larger generation, so that of two with one id it knows that it is the one too many.
	generation := fmt.Sprintf("%016x%s", time.Now().UnixNano(), drawID())
	n.registry = newRegistry(c.NodeID, generation, func(subject string, data []byte) { _ = nc.Publish(subject, data) })
	err := n.run(nc)
	n.working.Wait()
	return err
}

// served is a node while Serve runs.
type served struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	node     string
	media    Media
	timing   Timing
	drain    *Drain
	log      *zap.Logger
	registry *registry
	requests chan struct{} // holds one for each call to the media node
	working  sync.WaitGroup
}

var errNodeClosed = errors.New("cluster: media node is closed")

func (n *served) run(nc *nats.Conn) error {
	events, err := n.media.Events(n.ctx)
	if err != nil {
		return fmt.Errorf("cluster: events of the node: %w", err)
	}
	n.working.Go(func() { n.follow(events) })
	var subscriptions []*nats.Subscription
	defer func() {
		n.cancel(nil)
		for _, s := range subscriptions {
			_ = s.Unsubscribe()
		}
		n.registry.bye()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(n.ctx), time.Second)
		defer cancel()
		_ = nc.FlushWithContext(ctx) // without an engine nobody hears it
	}()
	for _, s := range []struct {
		subject string
		handle  nats.MsgHandler
	}{
		{subjectNode(n.node, "*"), n.request},
		{subjectSignal, n.signal},
		{subjectEvents(n.node), n.namesake},
	} {
		subscription, err := nc.Subscribe(s.subject, s.handle)
		if err != nil {
			return fmt.Errorf("cluster: subscribe: %w", err)
		}
		subscriptions = append(subscriptions, subscription)
	}
	beat := time.NewTicker(n.timing.Beat)
	defer beat.Stop()
	n.registry.beat()
	drain := n.drain.Begun()
	for {
		select {
		case <-n.ctx.Done():
			if cause := context.Cause(n.ctx); errors.Is(cause, ErrNodeID) {
				return cause
			}
			return nil
		case <-drain:
			drain = nil
			n.log.Info("draining")
			n.registry.drain()
		case <-beat.C:
			n.registry.beat()
		}
	}
}

// follow brings the node's events into the registry.
func (n *served) follow(events <-chan sfu.Event) {
	for {
		for e := range events {
			n.registry.apply(e)
		}
		if n.ctx.Err() != nil {
			return
		}
		// The node is closed, or this reader was too slow and begins anew.
		var err error
		if events, err = n.media.Events(n.ctx); err != nil {
			n.cancel(errNodeClosed)
			return
		}
		n.log.Warn("events of the media node begin anew")
		n.working.Go(n.probe)
	}
}

// probe finds the sessions whose end was missed, by an update that changes nothing.
func (n *served) probe() {
	for _, key := range n.registry.keys() {
		ctx, cancel := context.WithTimeout(n.ctx, n.timing.Request)
		_, err := n.media.Update(ctx, sfu.Update{Room: key.room, Peer: key.peer})
		cancel()
		if gone(err) {
			n.registry.apply(sfu.Event{Kind: sfu.EventClosed, Room: key.room, Peer: key.peer, Reason: sfu.ReasonTransport})
		}
	}
}

func gone(err error) bool {
	return errors.Is(err, sfu.ErrUnknownPeer) || errors.Is(err, sfu.ErrUnknownRoom)
}

// signal answers a signaling that starts, or an operator: they learn of this node at once.
func (n *served) signal(m *nats.Msg) {
	if hello, err := decode[signalHello](m.Data); err == nil && ValidNodeID(hello.Signal) {
		n.log.Debug("somebody asks who is there")
		n.registry.beat()
	}
}

// namesake ends this node when an older one has its id.
func (n *served) namesake(m *nats.Msg) {
	other, err := decode[notice](m.Data)
	if err == nil && !other.Bye && other.Generation < n.registry.generation {
		n.log.Error("another node has this id")
		n.cancel(ErrNodeID)
	}
}

// request starts the work on a request.
func (n *served) request(m *nats.Msg) {
	operation := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	r, err := decode[request](m.Data)
	if err != nil || !ValidNodeID(r.Signal) {
		respond(m, "", sfu.ErrBadRequest)
		return
	}
	if operation == opSnapshot {
		n.registry.snapshot(r.Signal)
		return
	}
	select {
	case n.requests <- struct{}{}:
	default:
		respond(m, "", sfu.ErrOverloaded)
		return
	}
	n.working.Go(func() {
		defer func() { <-n.requests }()
		limit := 2 * n.timing.Request
		if asked := time.Duration(r.Timeout) * time.Millisecond; asked > 0 {
			limit = min(limit, asked)
		}
		ctx, cancel := context.WithTimeout(n.ctx, limit)
		defer cancel()
		answer, err := n.perform(ctx, operation, r)
		respond(m, answer, err)
	})
}

// perform carries a request out.
func (n *served) perform(ctx context.Context, operation string, r request) (answer string, err error) {
	switch {
	case operation == opJoin && r.Join != nil:
		j, err := n.media.Join(ctx, *r.Join)
		if err == nil {
			n.joined(sessionKey{r.Join.Room, r.Join.Peer})
		}
		return j.Answer, err
	case operation == opUpdate && r.Update != nil:
		u, err := n.media.Update(ctx, *r.Update)
		return u.Answer, err
	case operation == opDrain:
		n.drain.Begin()
		return "", nil
	case operation == opKick:
		return "", n.media.Kick(ctx, r.Room, r.Peer)
	case operation == opLeave:
		return "", n.media.Leave(ctx, r.Room, r.Peer)
	}
	return "", sfu.ErrBadRequest
}

// joined enters a new session. The node accepted it, so a former session of the peer has ended and its event is on the way; the
// wait for it keeps that event from ending the new one.
func (n *served) joined(key sessionKey) {
	wait := n.registry.joined(key, false)
	if wait == nil {
		return
	}
	late := time.NewTimer(time.Second) // never, while the node does as it says
	defer late.Stop()
	select {
	case <-wait:
	case <-late.C:
	case <-n.ctx.Done():
	}
	n.registry.joined(key, true)
}

func respond(m *nats.Msg, answer string, err error) {
	if m.Reply != "" {
		_ = m.Respond(encode(reply{Answer: answer, Error: encodeError(err)})) // the asker's time-out covers a loss
	}
}
