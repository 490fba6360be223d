package transport

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/srtp/v3"
)

const (
	handshakeTimeout = 10 * time.Second
	// flightInterval is the first retransmission time-out. RFC 6347 4.2.4.1
	// says 1 s; a call's set-up should not wait that long for one lost packet.
	flightInterval = 250 * time.Millisecond
	// dtlsMTU keeps flights below what any path of WebRTC carries.
	dtlsMTU = 1200
	// maxReadErrors ends an association whose reads go on failing.
	maxReadErrors = 64
)

// receiveDTLS passes a datagram to the session's association, through the
// guard. The first acceptable hello makes the association.
func (e *Endpoint) receiveDTLS(now time.Time, d Datagram) {
	s, _ := e.origin(d)
	if s == nil {
		e.drop(DropUnknownAddress)
		return
	}
	v := s.guard.admit(d.Data, s.state == stateUp || s.state == stateSuspended)
	if !v.pass {
		e.drop(v.reason)
		return
	}
	switch {
	case s.association != nil:
	case s.snapshot != nil && v.alert:
		e.wake(s)
	case s.snapshot == nil && v.hello:
		s.hello, s.state = now, stateHandshaking
		s.association = e.newAssociation(s.id)
		s.association.fingerprint = s.fingerprint
		s.association.conn.setPath(s.current())
		e.stats.HandshakesStarted++
		e.start(s.association)
	default:
		e.drop(DropDTLSRecord)
		return
	}
	if !s.association.conn.deliver(d.Data) {
		e.drop(DropDTLSQueue)
	}
}

func (e *Endpoint) newAssociation(id SessionID) *association {
	return &association{
		session:     id,
		conn:        newAssociationConn(e.bind),
		certificate: e.certificate,
		queue:       &e.handshakes,
		logger:      &e.logger,
	}
}

// start lets an association run, until its end or until it is at rest.
func (e *Endpoint) start(a *association) {
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	e.work.Go(func() { a.run(ctx) })
}

// collectHandshakes takes over what associations reported.
func (e *Endpoint) collectHandshakes(now time.Time) {
	if !e.handshakes.pending.Load() {
		return
	}
	for _, r := range e.handshakes.take() {
		if r.snapshot != nil {
			e.rested(r.association, r.snapshot)
			continue
		}
		s := e.session(r.association.session)
		if s == nil {
			continue // closed meanwhile
		}
		if r.keys == nil {
			if s.state == stateHandshaking {
				e.stats.HandshakesFailed++
			}
			e.end(s, r.reason)
			continue
		}
		s.keys, s.state, s.heard = r.keys, stateUp, now
		s.guard.bytes = 0 // retransmissions of the last flight have a budget of their own
		e.stats.HandshakesDone++
		e.events = append(e.events, Event{
			Session: s.id, Kind: Connected, Profile: r.keys.profile,
			ICE: s.checked.Sub(s.opened), DTLS: now.Sub(s.hello),
		})
		e.schedule(s)
	}
}

// handshakeResult is what an association reports: keys, that it is at rest, or
// its end.
type handshakeResult struct {
	association *association
	keys        *keys
	snapshot    *dtls.State
	reason      CloseReason
}

// handshakeQueue brings results from the goroutines of associations to the
// shard. At most two per session.
type handshakeQueue struct {
	bind    Bind
	pending atomic.Bool
	mu      sync.Mutex
	results []handshakeResult
}

func (q *handshakeQueue) put(r handshakeResult) {
	q.mu.Lock()
	q.results = append(q.results, r)
	q.pending.Store(true)
	q.mu.Unlock()
	q.bind.Wake()
}

func (q *handshakeQueue) take() []handshakeResult {
	q.mu.Lock()
	defer q.mu.Unlock()
	r := q.results
	q.results = nil
	q.pending.Store(false)
	return r
}

// association is the DTLS side of a session. It lives in a goroutine of its
// own, with three of the library's, from the first hello until it rests, and
// whenever it is woken.
type association struct {
	session     SessionID
	conn        *associationConn
	snapshot    *dtls.State // of the time before it rested; nil at first
	fingerprint Fingerprint
	certificate *Certificate
	queue       *handshakeQueue
	logger      *silence
	cancel      context.CancelFunc
	mismatch    atomic.Bool // the peer showed another certificate
	resting     atomic.Bool // it ends to rest
}

var errMismatch = errors.New("transport: certificate does not match the fingerprint of the offer")

// run shakes hands, hands over the keys and stays for the peer's
// retransmissions and alerts.
func (a *association) run(ctx context.Context) {
	defer a.cancel()
	r := handshakeResult{association: a, reason: ReasonHandshake}
	if a.snapshot != nil {
		r.reason = ReasonPeerClosed
	}
	if conn, err := a.open(); err == nil {
		r = a.serve(ctx, conn)
	}
	a.queue.put(r)
}

// open makes the library's side: a new server, or a resumed one.
func (a *association) open() (*dtls.Conn, error) {
	if a.snapshot == nil {
		return a.server()
	}
	conn, err := dtls.ResumeWithOptions(a.snapshot, a.conn, a.conn.RemoteAddr(), dtls.WithMTU(dtlsMTU), dtls.WithLoggerFactory(a.logger))
	if err != nil {
		return nil, err
	}
	return conn, conn.Handshake() // of which nothing is left to do
}

// serve returns how the association ended.
func (a *association) serve(ctx context.Context, conn *dtls.Conn) handshakeResult {
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		_ = conn.Close() // writes close_notify
	})
	up := a.snapshot != nil
	if up {
		defer time.AfterFunc(wakeTime, a.rest).Stop()
	} else if keys := a.handshake(ctx, conn); keys != nil {
		up = true
		a.queue.put(handshakeResult{association: a, keys: keys})
	}
	if up {
		a.drain(conn)
	}
	r := handshakeResult{association: a, reason: ReasonPeerClosed}
	switch {
	case a.mismatch.Load():
		r.reason = ReasonFingerprint
	case !up:
		r.reason = ReasonHandshake
	}
	if stop() {
		_ = conn.Close()
		return r
	}
	<-closed
	if a.resting.Load() {
		if state, ok := conn.ConnectionState(); ok {
			state.PeerCertificates = nil // was checked
			r.snapshot = &state
		}
	}
	return r
}

func (a *association) server() (*dtls.Conn, error) {
	return dtls.ServerWithOptions(a.conn, a.conn.RemoteAddr(),
		dtls.WithCertificates(a.certificate.tls),
		dtls.WithCipherSuites(
			dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
		// The server's order decides. AES-128-GCM costs a seventh of
		// AES-CM with HMAC-SHA1 per packet, and less than 256 bits.
		dtls.WithSRTPProtectionProfiles(
			dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80),
		dtls.WithClientAuth(dtls.RequireAnyClientCert),
		dtls.WithVerifyPeerCertificate(a.verify),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
		// The cookie proves that the client receives at its address. The
		// connectivity check has proved that already, so the round trip of
		// HelloVerifyRequest is saved (RFC 6347 4.2.1 leaves it to the server).
		dtls.WithInsecureSkipVerifyHello(true),
		dtls.WithFlightInterval(flightInterval),
		dtls.WithMTU(dtlsMTU),
		dtls.WithLoggerFactory(a.logger))
}

func (a *association) verify(raw [][]byte, _ [][]*x509.Certificate) error {
	if len(raw) > 0 && a.fingerprint.Matches(raw[0]) {
		return nil
	}
	a.mismatch.Store(true)
	return errMismatch
}

// handshake returns nil when it fails or takes too long.
func (a *association) handshake(ctx context.Context, conn *dtls.Conn) *keys {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if conn.HandshakeContext(ctx) != nil {
		return nil
	}
	state, ok := conn.ConnectionState()
	profile, negotiated := conn.SelectedSRTPProtectionProfile()
	if !ok || !negotiated {
		return nil
	}
	k, err := newKeys(srtp.ProtectionProfile(profile), &state)
	if err != nil {
		return nil
	}
	return k
}

// drain discards application data until the association ends.
func (a *association) drain(conn *dtls.Conn) {
	var b [1]byte
	for range maxReadErrors {
		if _, err := conn.Read(b[:]); errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
			return
		}
	}
}
