package transport

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/stun/v4"
)

// Errors of Open and Restart.
var (
	ErrSessions    = errors.New("transport: no room for another session")
	ErrNoSession   = errors.New("transport: no such session")
	ErrUfragInUse  = errors.New("transport: ufrag in use")
	ErrRestartRate = errors.New("transport: ICE restarts too often")
	ErrShutdown    = errors.New("transport: endpoint shut down")
)

// Limits bound what clients can make an Endpoint keep. Zero values take the
// defaults.
type Limits struct {
	// Sessions at a time; 4,096 by default, 65,535 at most.
	Sessions int
	// Streams is the number of ICE-TCP connections, checked or not; 1,024.
	Streams int
	// StreamsPerAddress of one IP address; 32, as many as a household or a
	// small office behind one address needs.
	StreamsPerAddress int
	// StreamQueue is how many bytes wait for a slow ICE-TCP connection before
	// whole packets are dropped; 256 KiB, 0.7 s of a 3 Mbit/s stream.
	StreamQueue int
}

func (l *Limits) setDefaults() {
	for _, f := range []struct {
		v     *int
		value int
	}{{&l.Sessions, 4096}, {&l.Streams, 1024}, {&l.StreamsPerAddress, 32}, {&l.StreamQueue, 256 << 10}} {
		if *f.v <= 0 {
			*f.v = f.value
		}
	}
	l.Sessions = min(l.Sessions, maxSessionsLimit)
}

// Config makes an Endpoint.
type Config struct {
	Bind        Bind // stays the caller's to close, after Shutdown
	Certificate *Certificate
	Limits      Limits
}

// OpenConfig is what signaling agreed on for a session.
type OpenConfig struct {
	Local, Remote     Credentials
	RemoteFingerprint Fingerprint
}

// Inbound is a decrypted packet.
type Inbound struct {
	Session SessionID
	RTCP    bool   // Data is an RTCP compound, else an RTP packet
	Data    []byte // in the datagram's own memory
}

// Endpoint is the transport of one shard. It belongs to the shard's goroutine,
// except ServeTCP; what that goroutine sends goes through the Outbox in it.
type Endpoint struct {
	Outbox
	bind        Bind
	certificate *Certificate
	limits      Limits
	logger      silence
	stats       Stats

	sessions  []session // dense; a free one has state closed
	free      []uint16
	ufrags    map[string]ufragOwner // of connectivity checks, not of packets
	addresses *addressTable
	events    []Event   // until Poll
	deadline  time.Time // the next of all sessions

	request, response stun.Message // reused
	header            rtp.Header   // scratch of Receive
	outboxes          []*Outbox    // the own one and those of other goroutines
	reply1            [1]Run       // of an answer to a check

	handshakes handshakeQueue
	streams    streamServer
	work       sync.WaitGroup // goroutines of DTLS and of ICE-TCP
}

// ufragOwner is the session that a ufrag belongs to. During an ICE restart a
// session has two.
type ufragOwner struct {
	session  uint16
	previous bool
}

// NewEndpoint makes an Endpoint without sessions. It starts no goroutine.
func NewEndpoint(cfg Config) (*Endpoint, error) {
	if cfg.Bind == nil || cfg.Certificate == nil {
		return nil, errors.New("transport: config without bind or certificate")
	}
	cfg.Limits.setDefaults()
	e := &Endpoint{
		bind:        cfg.Bind,
		certificate: cfg.Certificate,
		limits:      cfg.Limits,
		ufrags:      map[string]ufragOwner{},
		addresses:   newAddressTable(),
	}
	e.request.Raw = make([]byte, 0, maxDatagram+64) // the integrity check writes behind the message
	e.response.Raw = make([]byte, 0, 256)
	e.Outbox.init(e)
	e.handshakes.bind = cfg.Bind
	e.streams.init(e)
	return e, nil
}

// Open makes a session that waits for the peer's connectivity checks.
func (e *Endpoint) Open(now time.Time, cfg OpenConfig) (SessionID, error) {
	if e.streams.closing() {
		return 0, ErrShutdown
	}
	if err := errors.Join(cfg.Local.Validate(), cfg.Remote.Validate()); err != nil {
		return 0, err
	}
	if cfg.RemoteFingerprint.Hash == HashNone {
		return 0, ErrFingerprint
	}
	if _, taken := e.ufrags[cfg.Local.Ufrag]; taken {
		return 0, ErrUfragInUse
	}
	var index uint16
	switch {
	case len(e.free) > 0:
		index = e.free[len(e.free)-1]
		e.free = e.free[:len(e.free)-1]
	case len(e.sessions) < e.limits.Sessions:
		index = uint16(len(e.sessions))
		e.sessions = append(e.sessions, session{})
	default:
		return 0, ErrSessions
	}
	s := &e.sessions[index]
	s.open(now, index, cfg)
	e.ufrags[cfg.Local.Ufrag] = ufragOwner{session: index}
	e.stats.Sessions++
	e.schedule(s)
	return s.id, nil
}

// session returns the live session with this id, or nil.
func (e *Endpoint) session(id SessionID) *session {
	if i := id.Index(); i < len(e.sessions) {
		if s := &e.sessions[i]; s.id == id && s.state != stateFree {
			return s
		}
	}
	return nil
}

// Close ends a session: close_notify if there is a DTLS association, at rest
// or not, and everything is freed. The association's goroutines end soon after. An id that
// is not valid any more is ignored.
func (e *Endpoint) Close(_ time.Time, id SessionID) {
	if s := e.session(id); s != nil {
		e.remove(s)
	}
}

// remove frees a session and everything that leads to it.
func (e *Endpoint) remove(s *session) {
	index := uint16(s.id.Index())
	delete(e.ufrags, s.local.Ufrag)
	if s.previous.Ufrag != "" {
		delete(e.ufrags, s.previous.Ufrag)
	}
	if s.snapshot != nil {
		e.wake(s)
	}
	if a := s.association; a != nil {
		if s.path >= 0 && s.remotes[s.path].stream != nil {
			// The association closes the connection, after its close_notify.
			a.conn.adopt(s.remotes[s.path].stream)
			s.remotes[s.path] = remote{}
		}
		a.cancel()
	}
	for i := range s.remotes {
		e.forget(s, i)
	}
	s.release()
	e.free = append(e.free, index)
	e.stats.Sessions--
}

// end removes a session for a reason of the endpoint's own; Poll reports it.
func (e *Endpoint) end(s *session, reason CloseReason) {
	e.events = append(e.events, Event{Session: s.id, Kind: Closed, Reason: reason})
	e.remove(s)
}

// Restart gives a session new ICE credentials (RFC 8445 9). The old ones stay
// valid until the first check with the new ones, so media flows on. More than
// one a second on average is refused with ErrRestartRate.
func (e *Endpoint) Restart(now time.Time, id SessionID, local, remote Credentials) error {
	s := e.session(id)
	if s == nil {
		return ErrNoSession
	}
	if err := errors.Join(local.Validate(), remote.Validate()); err != nil {
		return err
	}
	if _, taken := e.ufrags[local.Ufrag]; taken {
		return ErrUfragInUse
	}
	if !s.allowRestart(now) {
		return ErrRestartRate
	}
	if s.previous.Ufrag != "" {
		delete(e.ufrags, s.previous.Ufrag)
	}
	s.previous, s.previousRemote = s.local, s.remote.Ufrag
	s.local, s.remote = local, remote
	e.ufrags[s.previous.Ufrag] = ufragOwner{session: uint16(id.Index()), previous: true}
	e.ufrags[local.Ufrag] = ufragOwner{session: uint16(id.Index())}
	return nil
}

// Read is Bind.ReadBatch for both the socket and the ICE-TCP connections.
func (e *Endpoint) Read(dst []Datagram, deadline time.Time) (int, error) {
	// TCP never takes all of dst, so that neither starves the other.
	n := e.streams.inbox.take(dst[:(len(dst)+1)/2])
	if n > 0 {
		deadline = longAgo()
	}
	m, err := e.bind.ReadBatch(dst[n:], deadline)
	if n+m == 0 && err == nil {
		n = e.streams.inbox.take(dst) // what the wake-up may have been for
	}
	return n + m, err
}

// Receive handles one datagram. STUN and DTLS are consumed; media comes back
// decrypted, in the datagram's own memory. What is not wanted is counted.
func (e *Endpoint) Receive(now time.Time, d Datagram) (in Inbound, ok bool) {
	e.stats.DatagramsIn++
	e.stats.BytesIn += uint64(len(d.Data))
	if len(d.Data) == 0 {
		e.drop(DropMalformed)
		return Inbound{}, false
	}
	// RFC 7983 7, RFC 9443.
	switch first := d.Data[0]; {
	case first < 4:
		e.receiveSTUN(now, d)
	case first >= 20 && first < 64:
		e.receiveDTLS(now, d)
	case first >= 128 && first < 192:
		return e.receiveSRTP(now, d)
	default:
		e.drop(DropMalformed)
	}
	return Inbound{}, false
}

// origin finds the session and remote that a datagram comes from.
func (e *Endpoint) origin(d Datagram) (*session, *remote) {
	if d.Stream != nil {
		if s := e.session(d.Stream.session); s != nil {
			if r := &s.remotes[d.Stream.slot]; r.stream == d.Stream {
				return s, r
			}
		}
		return nil, nil
	}
	index, slot, ok := e.addresses.get(d.From)
	if !ok {
		return nil, nil
	}
	s := &e.sessions[index]
	return s, &s.remotes[slot]
}

func (e *Endpoint) drop(r DropReason) { e.stats.Drops[r]++ }

// Stats returns the counters. ICE-TCP and DTLS goroutines count on their own,
// so that their share may be a moment old.
func (e *Endpoint) Stats() Stats {
	s := e.stats
	for _, o := range e.outboxes {
		o.addTo(&s)
	}
	if r, ok := e.bind.(socketReporter); ok {
		s.Socket = r.SocketStats()
	} else {
		s.Socket.Path = PathPortable
	}
	s.LibraryWarnings = e.logger.warnings.Load()
	e.streams.addTo(&s)
	return s
}

// Shutdown closes all sessions and ICE-TCP connections and waits until no
// goroutine of the endpoint is left. The Bind must still be open, for the
// close_notify alerts, and is the caller's to close then.
func (e *Endpoint) Shutdown() {
	for i := range e.sessions {
		if s := &e.sessions[i]; s.state != stateFree {
			e.remove(s)
		}
	}
	e.streams.shutdown()
	e.work.Wait()
	e.collectHandshakes(time.Time{}) // of those that were about to rest
	e.work.Wait()
}

// ServeTCP accepts ICE-TCP connections (RFC 6544) from l until Shutdown, in
// goroutines of its own; it returns at once. The endpoint closes l. Any
// goroutine.
func (e *Endpoint) ServeTCP(l net.Listener) error { return e.streams.serve(l) }
