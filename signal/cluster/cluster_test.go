package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"sotto/sfu"
)

var (
	_ Media = (*sfu.Node)(nil)
)

// fakeNode is a media node that keeps books only.
type fakeNode struct {
	mu       sync.Mutex
	sessions map[sessionKey]bool
	updates  []sfu.Update
	calls    []string
	fail     error                           // for Join and Update
	block    func(ctx context.Context) error // instead of Join
	readers  []chan sfu.Event
	closed   bool
}

func newFakeNode() *fakeNode { return &fakeNode{sessions: map[sessionKey]bool{}} }

func (f *fakeNode) tell(e sfu.Event) {
	for _, r := range f.readers {
		r <- e
	}
}

func (f *fakeNode) event(e sfu.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tell(e)
}

func (f *fakeNode) Join(ctx context.Context, r sfu.JoinRequest) (sfu.JoinReply, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.block != nil {
		return sfu.JoinReply{}, f.block(ctx)
	}
	if f.fail != nil {
		return sfu.JoinReply{}, f.fail
	}
	key := sessionKey{r.Room, r.Peer}
	if f.sessions[key] {
		return sfu.JoinReply{}, sfu.ErrPeerExists
	}
	f.sessions[key] = true
	return sfu.JoinReply{Answer: "answer to " + r.Offer}, nil
}

func (f *fakeNode) Update(_ context.Context, u sfu.Update) (sfu.UpdateReply, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return sfu.UpdateReply{}, f.fail
	}
	if !f.sessions[sessionKey{u.Room, u.Peer}] {
		return sfu.UpdateReply{}, sfu.ErrUnknownPeer
	}
	f.updates = append(f.updates, u)
	return sfu.UpdateReply{Answer: u.Offer}, nil
}

func (f *fakeNode) end(room, peer, reason string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := sessionKey{room, peer}
	if !f.sessions[key] {
		return sfu.ErrUnknownPeer
	}
	delete(f.sessions, key)
	f.calls = append(f.calls, reason+" "+peer)
	f.tell(sfu.Event{Kind: sfu.EventClosed, Room: room, Peer: peer, Reason: reason})
	return nil
}

func (f *fakeNode) Kick(_ context.Context, room, peer string) error {
	return f.end(room, peer, sfu.ReasonKicked)
}

func (f *fakeNode) Leave(_ context.Context, room, peer string) error {
	return f.end(room, peer, sfu.ReasonLeft)
}

func (f *fakeNode) Events(ctx context.Context) (<-chan sfu.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, sfu.ErrClosed
	}
	in, out := make(chan sfu.Event, 1024), make(chan sfu.Event)
	for key := range f.sessions {
		in <- sfu.Event{Kind: sfu.EventConnected, Room: key.room, Peer: key.peer}
	}
	in <- sfu.Event{Kind: sfu.EventSynced}
	f.readers = append(f.readers, in)
	go func() {
		defer close(out)
		for {
			select {
			case e, ok := <-in:
				if !ok {
					return
				}
				select {
				case out <- e:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// cutOff ends the channels of Events; with closed the node is over.
func (f *fakeNode) cutOff(closed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = closed
	for _, r := range f.readers {
		close(r)
	}
	f.readers = nil
}

func (f *fakeNode) has(room, peer string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sessions[sessionKey{room, peer}]
}

// rig is an engine with nodes and signaling, in virtual time.
type rig struct {
	t      *testing.T
	engine *Engine
	stops  []func()
}

// inCluster runs a test in a bubble where time passes when everybody waits.
func inCluster(t *testing.T, test func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		engine, err := StartEngine(EngineConfig{})
		if err != nil {
			t.Fatal(err)
		}
		g := &rig{t: t, engine: engine}
		defer func() {
			for _, stop := range slices.Backward(g.stops) {
				stop()
			}
			engine.Close()
		}()
		test(g)
	})
}

func (g *rig) connect() *nats.Conn {
	g.t.Helper()
	nc, err := g.engine.Connect("test")
	if err != nil {
		g.t.Fatal(err)
	}
	g.stops = append(g.stops, nc.Close)
	return nc
}

// serve starts a node; the returned functions stop it with a word, and without.
func (g *rig) serve(id string, media Media) (stop, kill func()) {
	g.t.Helper()
	nc := g.connect()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, nc, ServeConfig{NodeID: id, Media: media}) }()
	var once sync.Once
	end := func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil && !errors.Is(err, ErrNodeID) {
				g.t.Errorf("serve %s: %v", id, err)
			}
		})
	}
	g.stops = append(g.stops, end)
	return end, func() {
		nc.Close()
		end()
	}
}

func (g *rig) remote() *Remote {
	g.t.Helper()
	r, err := NewRemote(g.connect(), RemoteConfig{})
	if err != nil {
		g.t.Fatal(err)
	}
	g.stops = append(g.stops, r.Close)
	return r
}

// settled is a remote that knows the nodes.
func (g *rig) settled() *Remote {
	g.t.Helper()
	r := g.remote()
	g.pass(DefaultTiming().Settle)
	return r
}

// pass lets virtual time go by.
func (g *rig) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (g *rig) join(r *Remote, room, peer string) {
	g.t.Helper()
	reply, err := r.Join(context.Background(), sfu.JoinRequest{Room: room, Peer: peer, Offer: "o"})
	if err != nil || reply.Answer != "answer to o" {
		g.t.Fatalf("join: %q, %v", reply.Answer, err)
	}
	synctest.Wait()
}

// follow collects the events of a remote; the function returns those since the last call, as text.
func (g *rig) follow(r *Remote) func() []string {
	g.t.Helper()
	events, err := r.Events(context.Background())
	if err != nil {
		g.t.Fatal(err)
	}
	var mu sync.Mutex
	var got []string
	go func() {
		add := func(s string) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, s)
		}
		for e := range events {
			add(text(e))
		}
		add("end")
	}()
	return func() []string {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		list := got
		got = nil
		return list
	}
}

func text(e sfu.Event) string {
	s := e.Kind.String()
	if e.Peer != "" {
		s += " " + e.Peer
	}
	if e.Source+e.Reason != "" {
		s += " " + e.Source + e.Reason
	}
	for _, slot := range e.Slots {
		s += fmt.Sprintf(" %s=%s/%s", slot.MID, slot.Peer, slot.Source)
	}
	for _, w := range e.Wanted {
		s += fmt.Sprintf(" %s:%d", w.Source, w.Layers)
	}
	return s
}

func want(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
