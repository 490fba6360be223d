package signal

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
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
	slots  map[string][]sfu.Slot   // "room/peer", for the snapshot
	wanted map[string][]sfu.Wanted // likewise
	events chan sfu.Event
	mute   bool          // Events says nothing, not even that it has said all
	broken chan struct{} // closed: the stream of events ends
	fail   error         // what Join and Update return
	block  chan struct{} // Join waits for it, if set
}

func newRecorder() *recorder {
	return &recorder{peers: map[string]bool{}, wishes: map[string][]sfu.Wish{},
		slots: map[string][]sfu.Slot{}, wanted: map[string][]sfu.Wanted{}, events: make(chan sfu.Event, 64), broken: make(chan struct{})}
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
	r.mu.Lock()
	defer r.mu.Unlock()
	broken := r.broken
	select {
	case <-broken:
		return nil, errors.New("no node")
	default:
	}
	var snapshot []sfu.Event
	for key := range r.peers {
		room, peer, _ := strings.Cut(key, "/")
		snapshot = append(snapshot, sfu.Event{Kind: sfu.EventConnected, Room: room, Peer: peer})
		if slots := r.slots[key]; slots != nil {
			snapshot = append(snapshot, sfu.Event{Kind: sfu.EventSlots, Room: room, Peer: peer, Slots: slots})
		}
		if wanted := r.wanted[key]; wanted != nil {
			snapshot = append(snapshot, sfu.Event{Kind: sfu.EventWanted, Room: room, Peer: peer, Wanted: wanted})
		}
	}
	snapshot = append(snapshot, sfu.Event{Kind: sfu.EventSynced})
	if r.mute {
		snapshot = nil
	}
	out := make(chan sfu.Event)
	go func() {
		defer close(out)
		for {
			var e sfu.Event
			if len(snapshot) > 0 {
				e, snapshot = snapshot[0], snapshot[1:]
			} else {
				select {
				case <-ctx.Done():
					return
				case <-broken:
					return
				case e = <-r.events:
				}
			}
			select {
			case out <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// fill says what the slots of a client carry.
func (r *recorder) fill(c *client, slots ...sfu.Slot) {
	room := c.w.room().String()
	r.set(func() { r.slots[room+"/"+c.conn.String()] = slots })
	r.events <- sfu.Event{Kind: sfu.EventSlots, Room: room, Peer: c.conn.String(), Slots: slots}
}

// plug is the service's way to the media node, which a crash pulls.
type plug struct {
	Media
	pulled atomic.Bool
}

var errPulled = errors.New("nobody hears this")

func (p *plug) Join(ctx context.Context, q sfu.JoinRequest) (sfu.JoinReply, error) {
	if p.pulled.Load() {
		return sfu.JoinReply{}, errPulled
	}
	return p.Media.Join(ctx, q)
}

func (p *plug) Update(ctx context.Context, u sfu.Update) (sfu.UpdateReply, error) {
	if p.pulled.Load() {
		return sfu.UpdateReply{}, errPulled
	}
	return p.Media.Update(ctx, u)
}

func (p *plug) Leave(ctx context.Context, room, peer string) error {
	if p.pulled.Load() {
		return errPulled
	}
	return p.Media.Leave(ctx, room, peer)
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
	serves atomic.Pointer[Server] // the same, for the listener's goroutines
	config Config
	media  *recorder
	plug   *plug
	pipes  *pipes
	logs   *observer.ObservedLogs
	link   ed25519.PrivateKey

	// grouped: the test is about the group. Else clients ignore where the service
	// says that it stands, and its tickets.
	grouped bool

	// together: several goroutines of the test speak at once. Else what one
	// client says has had all its effects before the next one says something.
	together bool
}

const testHost = "meet.example"

// inBubble runs f with a running service of open rooms in virtual time.
func inBubble(t *testing.T, limits Limits, f func(w *world)) {
	t.Helper()
	inBubbleWith(t, Config{OpenRooms: true, Limits: limits}, f)
}

// start starts the service.
func (w *world) start() {
	w.t.Helper()
	w.plug = &plug{Media: w.media}
	w.config.Media = w.plug
	var err error
	if w.server, err = New(w.config); err != nil {
		w.t.Fatal(err)
	}
	w.serves.Store(w.server)
}

// crash is kill -9: every connection is cut, and nothing reaches the node.
func (w *world) crash() {
	w.t.Helper()
	w.plug.pulled.Store(true)
	w.server.cancel()
	w.stop()
}

func (w *world) stop() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	if err := w.server.Close(ctx); err != nil {
		w.t.Errorf("close: %v", err)
	}
	if st := w.server.Stats(); st.Sessions != 0 || st.Rooms != 0 || st.Members != 0 {
		w.t.Errorf("left over: %+v", st)
	}
}

func inBubbleWith(t *testing.T, config Config, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		_, link, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		w := &world{t: t, media: newRecorder(), logs: logs, link: link,
			pipes: &pipes{conns: make(chan net.Conn), done: make(chan struct{})}}
		w.config = config
		w.config.Logger = zap.New(core)
		w.start()
		hs := &http.Server{ReadHeaderTimeout: 5 * time.Second,
			Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.serves.Load().ServeHTTP(rw, r) })}
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = hs.Serve(w.pipes)
		}()
		synctest.Wait() // the service follows the node's events: a snapshot that comes later would tell slots twice
		f(w)
		w.stop()
		_ = hs.Close()
		<-served
		if n := w.media.sessions(); n != 0 && config.ResumeKey == nil {
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
	link  ed25519.PrivateKey

	resume string           // token of the latest welcome
	seq    uint64           // of the latest envelope
	tracks []protocol.Track // what it says of itself when it resumes

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
	c := &client{t: w.t, w: w, ws: ws, link: w.link, done: make(chan struct{})}
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
		switch r.msg.(type) {
		case *protocol.Group, *protocol.Ticket:
			if !c.w.grouped {
				continue
			}
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
		if len(r.envelope) > protocol.SequenceSize {
			c.seq = binary.BigEndian.Uint64(r.envelope)
		}
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
	if !c.w.together {
		synctest.Wait()
	}
}

func (c *client) connectMessage() *protocol.Connect {
	public := c.link.Public().(ed25519.PublicKey)
	return &protocol.Connect{
		ID: 1, Room: protocol.RoomOf(public), ConnID: c.conn, LinkPub: protocol.Bytes(public),
		LinkSig: ed25519.Sign(c.link, protocol.ConnectSigned(testHost, c.hello.Nonce, c.conn)),
	}
}

func (w *world) room() protocol.RoomID { return protocol.RoomOf(w.link.Public().(ed25519.PublicKey)) }

// join makes a participant.
func (w *world) join() *client {
	w.t.Helper()
	c := w.open()
	c.send(c.connectMessage())
	welcome := expect[*protocol.Welcome](c)
	c.leaf, c.peers, c.resume = welcome.Leaf, welcome.Peers, welcome.Resume
	if welcome.Resumed || welcome.Lost || c.resume == "" {
		w.t.Errorf("welcome %+v", welcome)
	}
	return c
}

// resumeMessage continues the participation of before over c.
func (c *client) resumeMessage(before *client) *protocol.Connect {
	c.conn, c.leaf, c.seq, c.resume = before.conn, before.leaf, before.seq, before.resume
	c.link, c.tracks = before.link, before.tracks
	m := c.connectMessage()
	m.Resume = &protocol.Resume{Token: before.resume, LastSeq: before.seq, Tracks: before.tracks}
	return m
}

// back resumes a participation, and checks that it is the same.
func (w *world) back(before *client, lost bool) *client {
	w.t.Helper()
	c := w.open()
	c.send(c.resumeMessage(before))
	welcome := expect[*protocol.Welcome](c)
	if !welcome.Resumed || welcome.Lost != lost || welcome.Leaf != before.leaf || welcome.Resume == "" {
		w.t.Errorf("welcome %+v, want leaf %d, lost %v", welcome, before.leaf, lost)
	}
	c.peers, c.resume = welcome.Peers, welcome.Resume
	return c
}

// say sends an envelope to everybody that begins with n.
func (c *client) say(n byte) {
	c.t.Helper()
	e := c.envelope(protocol.ConnID{}, 300)
	e[protocol.EnvelopeHeaderSize] = n
	c.write(websocket.MessageBinary, e)
}

// hears is that envelope of another.
func (c *client) hears(from *client, n byte) {
	c.t.Helper()
	before := c.seq
	r := c.next()
	seq, e, err := protocol.ParseRelayed(r.envelope)
	if err != nil || e.From != from.conn || e.Sealed[0] != n || seq <= before || seq > protocol.MaxSequence {
		c.t.Fatalf("got %T %+v, envelope %d (%d after %d), %v, %v", r.msg, r.msg, e.Sealed, seq, before, err, r.err)
	}
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
