package signal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/zap"

	"sotto/signal/protocol"
	"sotto/signal/rate"
)

// session is one WebSocket connection.
type session struct {
	server *Server
	ws     *websocket.Conn
	queue  *queue
	meter  *meter
	host   string
	ip     netip.Addr // never logged
	nonce  [32]byte
	log    *zap.Logger
	cancel context.CancelFunc // cuts the connection

	// joined is set at admission, for the pinging goroutine.
	joined atomic.Pointer[member]

	// These belong to the reading goroutine.
	state   state
	bucket  rate.Bucket
	badSeen int // messages that broke a rule of the decoder
	buffer  []byte
}

// state is where a session stands. The set is closed.
type state interface{ isState() }

// connecting waits for the first message.
type connecting struct{ timeout *time.Timer }

// admitted is a member of a room, until another connection resumes it.
type admitted struct{ member *member }

// closed is over: nothing more is read.
type closed struct{}

func (connecting) isState() {}
func (admitted) isState()   {}
func (closed) isState()     {}

// refusal is an error for the client.
type refusal struct {
	id    *uint32 // of the request
	code  protocol.Code
	text  string
	fatal bool
}

func (e *refusal) Error() string { return fmt.Sprintf("%s: %s", e.code, e.text) }

// errLeft ends a session because its client said leave.
var errLeft = errors.New("signal: left")

// errGone ends a session because its connection broke.
var errGone = errors.New("signal: connection gone")

// keepBuffer is the largest buffer in bytes that a session keeps between messages.
const keepBuffer = 16 << 10

// run serves the connection until it ends. It returns when all goroutines of
// the session have.
func (s *session) run(ctx context.Context) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		defer s.cancel() // nothing can be sent: stop reading too
		s.write(ctx)
	}()
	pinged := make(chan struct{})
	go func() {
		defer close(pinged)
		s.ping(ctx)
	}()

	_, _ = rand.Read(s.nonce[:]) // never fails (crypto/rand)
	s.send(&protocol.Hello{Version: protocol.Version, Nonce: s.nonce[:], Limits: s.server.announced})
	s.state = connecting{timeout: time.AfterFunc(s.server.limits.ConnectTimeout, func() {
		s.end(&refusal{code: protocol.CodeConnectTimeout, text: "no connect in time", fatal: true})
	})}

	err := s.read(ctx)
	s.finish(err)
	<-written
	<-pinged // the writer has cancelled ctx
}

// finish ends the connection. Its member stays for a while if the connection
// broke; else it leaves the room, then the media node.
func (s *session) finish(err error) {
	left := "" // the connection broke
	var r *refusal
	switch {
	case errors.Is(err, errLeft):
		left = protocol.LeftLeave
		s.queue.finish(ending{status: websocket.StatusNormalClosure})
	case errors.As(err, &r):
		left = protocol.LeftError
		s.end(r)
	case errors.Is(err, websocket.ErrMessageTooBig):
		left = protocol.LeftError
		s.queue.finish(ending{status: websocket.StatusMessageTooBig, reason: string(protocol.CodeTooLarge)})
	default:
		// Mostly nobody is there any more to get this.
		s.queue.finish(ending{status: websocket.StatusProtocolError})
	}
	switch st := s.state.(type) {
	case connecting:
		st.timeout.Stop()
	case admitted:
		s.log.Info("connection ended", logRoom(st.member.room.id), logConn(st.member.conn), zap.Error(err))
		if left == "" || s.queue.stopped() {
			s.server.detach(st.member, s)
		} else if st.member.room.leave(st.member, s, left) {
			s.server.dismiss(st.member, false)
		}
	}
	s.state = closed{}
}

// read handles messages until the session ends and says why.
func (s *session) read(ctx context.Context) error {
	for {
		kind, data, err := s.message(ctx)
		if err != nil {
			return err
		}
		if !s.bucket.Take(time.Now(), 1) {
			return &refusal{code: protocol.CodeRateLimited, text: "too many messages", fatal: true}
		}
		if kind == websocket.MessageBinary {
			err = s.binary(data)
		} else {
			err = s.text(ctx, data)
		}
		var r *refusal
		switch {
		case err == nil:
		case errors.As(err, &r) && !r.fatal:
			s.refuse(r)
		default:
			return err
		}
	}
}

// message reads one message into the session's buffer, which the next call
// reuses. A message may not exceed what its sender may send now: before
// admission a connect, after it 64 KiB of text, or more if it begins as an
// offer, or a bundle.
func (s *session) message(ctx context.Context) (websocket.MessageType, []byte, error) {
	if cap(s.buffer) > keepBuffer {
		s.buffer = nil // one large offer is not kept for the whole call
	}
	if s.buffer == nil {
		s.buffer = make([]byte, 0, protocol.MaxConnect)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	kind, from, err := s.ws.Reader(ctx)
	if err != nil {
		return 0, nil, s.readError(err)
	}
	deadline := time.AfterFunc(s.server.limits.MessageTimeout, cancel)
	defer deadline.Stop()

	limit := protocol.MaxMessage
	if _, waiting := s.state.(connecting); waiting {
		limit = protocol.MaxConnect
	}
	data := s.buffer[:0]
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := from.Read(data[len(data):min(cap(data), limit+1)])
		data = data[:len(data)+n]
		if err == io.EOF {
			s.buffer = data
			return kind, data, nil
		}
		if err != nil {
			return 0, nil, s.readError(err)
		}
		if len(data) <= limit {
			continue
		}
		_, in := s.state.(admitted)
		long := longest(kind, data)
		if !in || limit >= long {
			return 0, nil, websocket.ErrMessageTooBig
		}
		limit = long
	}
}

// longest is how many bytes a message may have that begins like that.
func longest(kind websocket.MessageType, prefix []byte) int {
	switch {
	case kind == websocket.MessageText && protocol.BeginsOffer(prefix):
		return protocol.MaxNegotiation
	case kind == websocket.MessageBinary && protocol.BeginsCommit(prefix):
		return protocol.MaxBundle
	}
	return protocol.MaxMessage
}

// readError tells a flood and an oversized message from a broken connection.
func (s *session) readError(err error) error {
	switch {
	case s.meter.over.Load():
		return &refusal{code: protocol.CodeRateLimited, text: "too many bytes", fatal: true}
	case errors.Is(err, websocket.ErrMessageTooBig):
		return websocket.ErrMessageTooBig
	}
	switch websocket.CloseStatus(err) {
	case websocket.StatusNormalClosure, websocket.StatusGoingAway:
		return errLeft // a page that is unloaded
	}
	return errGone // its text may hold an address
}

// binary handles an envelope or a bundle.
func (s *session) binary(data []byte) error {
	st, ok := s.state.(admitted)
	if !ok {
		return &refusal{code: protocol.CodeBadState, text: "connect first", fatal: true}
	}
	m := st.member
	if len(data) > 0 && data[0] == protocol.BundleVersion {
		b, h, err := protocol.ParseBundle(data)
		if err := s.checkEnvelope(m, h, err); err != nil {
			return err
		}
		m.room.bundle(m, s, h, b, time.Now())
		return nil
	}
	e, err := protocol.ParseEnvelope(data)
	if err := s.checkEnvelope(m, e.EnvelopeHeader, err); err != nil {
		return err
	}
	switch e.Type {
	case protocol.EnvelopeApp:
		m.room.relay(m, s, e.EnvelopeHeader, data)
	case protocol.EnvelopeWelcome:
		s.server.counters.dropped.add(droppedType)
		return &refusal{code: protocol.CodeUnsupportedEnvelope, text: "a welcome comes with its commit"}
	default:
		m.room.handshake(m, s, e.EnvelopeHeader, data, time.Now())
	}
	return nil
}

// checkEnvelope takes the result of parsing a message of m, or refuses it.
func (s *session) checkEnvelope(m *member, h protocol.EnvelopeHeader, err error) error {
	var refused *protocol.DecodeError
	switch {
	case errors.As(err, &refused):
		s.server.counters.dropped.add(droppedInvalid)
		return &refusal{code: refused.Code, text: refused.Err.Error(), fatal: refused.Code == protocol.CodeBadEnvelope}
	case err != nil:
		return err
	case h.From != m.conn:
		s.server.counters.dropped.add(droppedInvalid)
		return &refusal{code: protocol.CodeBadEnvelope, text: "from_conn is not this connection", fatal: true}
	}
	return nil
}

// text handles a JSON message.
func (s *session) text(ctx context.Context, data []byte) error {
	s.server.counters.messages.Add(1)
	msg, err := protocol.DecodeClient(data)
	if err != nil {
		return s.badMessage(err)
	}
	switch st := s.state.(type) {
	case connecting:
		connect, ok := msg.(*protocol.Connect)
		if !ok {
			return &refusal{code: protocol.CodeBadState, text: "connect first", fatal: true}
		}
		return s.connect(ctx, st, connect)
	case admitted:
		return s.request(st, msg)
	}
	return errGone
}

func (s *session) badMessage(err error) error {
	r := &refusal{code: protocol.CodeBadMessage, text: "malformed message"}
	var refused *protocol.DecodeError
	if errors.As(err, &refused) {
		r.id, r.code, r.text = refused.ID, refused.Code, refused.Err.Error()
	}
	if _, waiting := s.state.(connecting); waiting {
		r.fatal = true // the first message is a connect, and a good one
		return r
	}
	if r.code == protocol.CodeBadMessage {
		s.badSeen++
		r.fatal = s.badSeen >= s.server.limits.BadMessages
	}
	return r
}

// connect admits the client or ends the session.
func (s *session) connect(ctx context.Context, st connecting, c *protocol.Connect) error {
	err := protocol.VerifyConnect(c, s.host, s.nonce[:])
	var refused *protocol.DecodeError
	if errors.As(err, &refused) {
		s.server.counters.joins.add(string(refused.Code))
		return &refusal{id: &c.ID, code: refused.Code, text: refused.Err.Error(), fatal: true}
	}
	if !st.timeout.Stop() {
		return errGone // the time-out ended the session this moment
	}
	if c.Resume != nil {
		return s.resume(ctx, c)
	}
	m, refusal := s.server.admit(s, c)
	if refusal != nil {
		s.server.counters.joins.add(string(refusal.code))
		return refusal
	}
	s.enter(m)
	s.server.counters.joins.add("ok")
	s.log.Info("member joined", logRoom(m.room.id), logConn(m.conn), zap.Int("leaf", m.leaf))
	return nil
}

// resume continues a participation.
func (s *session) resume(ctx context.Context, c *protocol.Connect) error {
	m, lost, refusal := s.server.resume(ctx, s, c)
	if refusal != nil {
		s.server.counters.resumes.add(string(refusal.code))
		return refusal
	}
	s.enter(m)
	result := resumedOK
	if lost {
		result = resumedLost
	}
	s.server.counters.resumes.add(result)
	s.log.Info("member resumed", logRoom(m.room.id), logConn(m.conn), zap.Int("leaf", m.leaf), zap.Bool("lost", lost))
	return nil
}

func (s *session) enter(m *member) {
	s.joined.Store(m)
	s.state = admitted{member: m}
}

// request handles what an admitted client asks for.
func (s *session) request(st admitted, msg protocol.ClientMessage) error {
	n := st.member.negotiation
	switch m := msg.(type) {
	case *protocol.Connect:
		return &refusal{id: &m.ID, code: protocol.CodeBadState, text: "connected already"}
	case *protocol.Offer:
		r := st.member.grant.restrict(m)
		if r == nil {
			r = n.offer(s, m)
		}
		if r != nil {
			return r
		}
	case *protocol.Want:
		n.want(s, m)
	case *protocol.Mute:
		n.mute(s, m)
	case *protocol.Evict:
		if r := s.server.hostEvicts(st.member, s, m); r != nil {
			return r
		}
	case *protocol.Alias:
		return s.alias(st, m)
	case *protocol.Upload:
		return s.upload(st, m)
	case *protocol.Leave:
		return errLeft
	}
	return nil
}

// alias gives the room another name.
func (s *session) alias(st admitted, a *protocol.Alias) error {
	err := protocol.VerifyAlias(a, s.host, s.nonce[:], st.member.conn)
	var refused *protocol.DecodeError
	if errors.As(err, &refused) {
		return &refusal{id: &a.ID, code: refused.Code, text: refused.Err.Error()}
	}
	if r := s.server.alias(st.member, s, a); r != nil {
		return r
	}
	s.send(&protocol.Done{ID: a.ID})
	return nil
}

// upload makes a place for a file.
func (s *session) upload(st admitted, u *protocol.Upload) error {
	if s.server.files == nil {
		return &refusal{id: &u.ID, code: protocol.CodeNotPermitted, text: "no files are stored here"}
	}
	if !st.member.room.mayCommit(st.member) {
		return &refusal{id: &u.ID, code: protocol.CodeNotPermitted, text: "files are for member connections"}
	}
	path, token, err := s.server.files.Reserve(st.member.room.id, s.server.addresses.client(s.ip), int64(u.Size))
	if err != nil { // the decoder knows the sizes
		return &refusal{id: &u.ID, code: protocol.CodeLimit, text: "no space for the file"}
	}
	s.send(&protocol.UploadPath{ID: u.ID, Path: path, Token: token})
	return nil
}

// tooSlow cuts the connection after a moment in which a client that reads at
// all gets the close frame. It is called under locks and must take none.
func (s *session) tooSlow() {
	s.server.counters.slow.Add(1)
	time.AfterFunc(slowGrace, s.cut)
}

// send queues a message for the client.
func (s *session) send(msg protocol.ServerMessage) {
	if f, ok := encode(s.log, msg); ok {
		s.queue.push(f)
	}
}

// refuse tells the client of an error that does not end the session.
func (s *session) refuse(r *refusal) {
	s.server.counters.errors.add(string(r.code))
	s.send(r.message())
}

// end tells the client of an error and closes the connection. It does not
// wait, and is safe from any goroutine; only the first ending counts.
func (s *session) end(r *refusal) {
	s.server.counters.errors.add(string(r.code))
	e := ending{status: websocket.StatusPolicyViolation, reason: string(r.code)}
	switch r.code {
	case protocol.CodeBadEnvelope:
		e.status = websocket.StatusUnsupportedData
	case protocol.CodeShutdown:
		e.status = websocket.StatusGoingAway
	case protocol.CodeInternal:
		e.status = websocket.StatusInternalError
	}
	if f, ok := encode(s.log, r.message()); ok {
		e.last = f.data
	}
	s.queue.finish(e)
}

func (e *refusal) message() *protocol.Error {
	return &protocol.Error{ID: e.id, Code: e.code, Message: e.text, Fatal: e.fatal}
}
