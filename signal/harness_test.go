package signal

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sotto/sfu"
	"sotto/signal/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a media node in memory: it remembers what it was asked and
// answers each offer with a text that names it.
type recorder struct {
	mu     sync.Mutex
	calls  []string
	peers  map[string]bool // "room/peer" with a session
	wishes map[string][]sfu.Wish
	events chan sfu.Event
	fail   error         // what Join and Update return
	block  chan struct{} // Join waits for it, if set
}

func newRecorder() *recorder {
	return &recorder{peers: map[string]bool{}, wishes: map[string][]sfu.Wish{}, events: make(chan sfu.Event, 64)}
}

func (r *recorder) Join(ctx context.Context, q sfu.JoinRequest) (sfu.JoinReply, error) {
	r.mu.Lock()
	block := r.block
	r.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return sfu.JoinReply{}, ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, "join "+q.Offer)
	if r.fail != nil {
		return sfu.JoinReply{}, r.fail
	}
	key := q.Room + "/" + q.Peer
	if r.peers[key] {
		return sfu.JoinReply{}, sfu.ErrPeerExists
	}
	r.peers[key] = true
	return sfu.JoinReply{Answer: "answer to " + q.Offer}, nil
}

func (r *recorder) Update(_ context.Context, u sfu.Update) (sfu.UpdateReply, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	call := "update"
	if u.Offer != "" {
		call += " offer " + u.Offer
	}
	if u.Wishes != nil {
		call += fmt.Sprintf(" wishes %d", len(u.Wishes))
		r.wishes[u.Peer] = u.Wishes
	}
	for _, m := range u.Mutes {
		call += fmt.Sprintf(" mute %s %v", m.Source, m.Muted)
	}
	r.calls = append(r.calls, call)
	if r.fail != nil {
		return sfu.UpdateReply{}, r.fail
	}
	if !r.peers[u.Room+"/"+u.Peer] {
		return sfu.UpdateReply{}, sfu.ErrUnknownPeer
	}
	return sfu.UpdateReply{Answer: "answer to " + u.Offer}, nil
}

func (r *recorder) Kick(_ context.Context, room, peer string) error {
	return r.drop("kick", room, peer)
}

func (r *recorder) Leave(_ context.Context, room, peer string) error {
	return r.drop("leave", room, peer)
}

func (r *recorder) drop(call, room, peer string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, call)
	if !r.peers[room+"/"+peer] {
		return sfu.ErrUnknownPeer
	}
	delete(r.peers, room+"/"+peer)
	return nil
}

func (r *recorder) Events(ctx context.Context) (<-chan sfu.Event, error) {
	out := make(chan sfu.Event)
	go func() {
		defer close(out)
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-r.events:
				select {
				case out <- e:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out, nil
}

func (r *recorder) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

func (r *recorder) log() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.calls...)
}

func (r *recorder) sessions() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.peers)
}

// pipes is a listener whose connections are net.Pipe: they block durably, so
// that virtual time runs.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.done) }); return nil }

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (p *pipes) dial() (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// world is a service with everything around it, in one bubble of virtual time.
type world struct {
	t      *testing.T
	server *Server
	media  *recorder
	pipes  *pipes
	logs   *observer.ObservedLogs
	link   ed25519.PrivateKey
}

const testHost = "meet.example"

// inBubble runs f with a running service in virtual time.
func inBubble(t *testing.T, limits Limits, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		_, link, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		w := &world{t: t, media: newRecorder(), logs: logs, link: link,
			pipes: &pipes{conns: make(chan net.Conn), done: make(chan struct{})}}
		w.server, err = New(Config{Media: w.media, Logger: zap.New(core), OpenRooms: true, Limits: limits})
		if err != nil {
			t.Fatal(err)
		}
		hs := &http.Server{Handler: w.server, ReadHeaderTimeout: 5 * time.Second}
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = hs.Serve(w.pipes)
		}()
		f(w)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := w.server.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		_ = hs.Close()
		<-served
		if st := w.server.Stats(); st.Sessions != 0 || st.Rooms != 0 || st.Members != 0 {
			t.Errorf("left over: %+v", st)
		}
		if n := w.media.sessions(); n != 0 {
			t.Errorf("%d media sessions left", n)
		}
	})
}

// client is a participant, or somebody who would like to be.
type client struct {
	t     *testing.T
	w     *world
	ws    *websocket.Conn
	conn  protocol.ConnID
	leaf  int
	peers []protocol.Peer
	hello *protocol.Hello

	in   chan received
	done chan struct{}
}

type received struct {
	msg      protocol.ServerMessage
	envelope []byte
	err      error
}

// open makes a connection that has got its hello.
func (w *world) open() *client {
	w.t.Helper()
	c := w.dial(nil)
	// The pipe has no buffer: somebody has to read all the time.
	c.in = make(chan received, 10_000)
	go c.readAll()
	w.t.Cleanup(c.drop)
	hello, ok := c.next().msg.(*protocol.Hello)
	if !ok {
		w.t.Fatal("the first message is no hello")
	}
	c.hello = hello
	return c
}

func (w *world) dial(header http.Header) *client {
	w.t.Helper()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return w.pipes.dial() }}
	ws, res, err := websocket.Dial(w.t.Context(), "ws://"+testHost+"/ws", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, HTTPHeader: header, Subprotocols: []string{protocol.Subprotocol},
	})
	if err != nil {
		w.t.Fatalf("dial: %v", err)
	}
	if got := res.Header.Get("Sec-WebSocket-Extensions"); got != "" {
		w.t.Errorf("extensions negotiated: %s", got)
	}
	ws.SetReadLimit(protocol.MaxNegotiation)
	c := &client{t: w.t, w: w, ws: ws, done: make(chan struct{})}
	_, _ = rand.Read(c.conn[:])
	return c
}

func (c *client) readAll() {
	defer close(c.done)
	for {
		kind, data, err := c.ws.Read(context.Background())
		r := received{err: err}
		switch {
		case err != nil:
		case kind == websocket.MessageBinary:
			r.envelope = data
		default:
			r.msg, r.err = protocol.DecodeServer(data)
		}
		c.in <- r
		if err != nil {
			return
		}
	}
}

func (c *client) drop() {
	_ = c.ws.CloseNow()
	<-c.done
}

func (c *client) next() received {
	c.t.Helper()
	select {
	case r := <-c.in:
		return r
	case <-time.After(2 * time.Minute): // virtual
		c.t.Fatal("nothing came")
		return received{}
	}
}

// expect is the next message, which must be of type T.
func expect[T protocol.ServerMessage](c *client) T {
	c.t.Helper()
	r := c.next()
	m, ok := r.msg.(T)
	if !ok {
		c.t.Fatalf("got %T %+v, %d bytes of envelope, %v", r.msg, r.msg, len(r.envelope), r.err)
	}
	return m
}

// expectError is the next message, an error with that code.
func (c *client) expectError(code protocol.Code, fatal bool) *protocol.Error {
	c.t.Helper()
	e := expect[*protocol.Error](c)
	if e.Code != code || e.Fatal != fatal {
		c.t.Fatalf("got error %+v, want %s, fatal %v", e, code, fatal)
	}
	return e
}

// expectClose is the end of the connection with that status.
func (c *client) expectClose(status websocket.StatusCode) {
	c.t.Helper()
	r := c.next()
	if got := websocket.CloseStatus(r.err); got != status {
		c.t.Fatalf("got %+v %v, want close %d", r.msg, r.err, status)
	}
}

// quiet fails if anything comes before everything stands still.
func (c *client) quiet() {
	c.t.Helper()
	synctest.Wait()
	select {
	case r := <-c.in:
		c.t.Fatalf("got %T %+v, %d bytes of envelope, %v", r.msg, r.msg, len(r.envelope), r.err)
	default:
	}
}

func (c *client) send(m protocol.ClientMessage) {
	c.t.Helper()
	text, err := protocol.Encode(m)
	if err != nil {
		c.t.Fatal(err)
	}
	c.text(string(text))
}

func (c *client) text(text string) {
	c.t.Helper()
	c.write(websocket.MessageText, []byte(text))
}

func (c *client) write(kind websocket.MessageType, data []byte) {
	c.t.Helper()
	if err := c.ws.Write(context.Background(), kind, data); err != nil && !errors.Is(err, net.ErrClosed) {
		c.t.Logf("write: %v", err)
	}
}

func (c *client) connectMessage() *protocol.Connect {
	public := c.w.link.Public().(ed25519.PublicKey)
	return &protocol.Connect{
		ID: 1, Room: protocol.RoomOf(public), ConnID: c.conn, LinkPub: protocol.Bytes(public),
		LinkSig: ed25519.Sign(c.w.link, protocol.ConnectSigned(testHost, c.hello.Nonce, c.conn)),
	}
}

func (w *world) room() protocol.RoomID { return protocol.RoomOf(w.link.Public().(ed25519.PublicKey)) }

// join makes a participant.
func (w *world) join() *client {
	w.t.Helper()
	c := w.open()
	c.send(c.connectMessage())
	welcome := expect[*protocol.Welcome](c)
	c.leaf, c.peers = welcome.Leaf, welcome.Peers
	return c
}

func (c *client) envelope(to protocol.ConnID, sealed int) []byte {
	b := protocol.EnvelopeHeader{Type: protocol.EnvelopeApp, From: c.conn, To: to}.AppendHeader(nil)
	return append(b, make([]byte, sealed)...)
}

// offer negotiates and waits for the answer.
func (c *client) offer(id uint32, sdp string, sources ...protocol.Source) *protocol.Answer {
	c.t.Helper()
	c.send(offerOf(id, sdp, sources...))
	return expect[*protocol.Answer](c)
}

func offerOf(id uint32, sdp string, sources ...protocol.Source) *protocol.Offer {
	o := &protocol.Offer{ID: id, SDP: sdp}
	for i, s := range sources {
		o.Tracks = append(o.Tracks, protocol.OfferTrack{MID: fmt.Sprint(i), Source: s})
	}
	return o
}
