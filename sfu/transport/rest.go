package transport

import (
	"time"

	"github.com/pion/dtls/v3"
)

// An association goes to rest when its peer is known to have keys: nothing but
// close_notify or another alert is exchanged from then on, and a call is long.
// Awake it costs about 30 KiB, four goroutines and the library's read buffer;
// at rest it is the library's own snapshot, 1 KiB.
//
//	handshake ─► awake ──first authenticated SRTP or SRTCP──► at rest
//	               ▲                                            │
//	               └────an alert of the peer, for wakeTime──────┤
//	                    the session's end, for close_notify ◄───┘
//
// The peer's media proves that it has our last flight: a client derives keys
// when it has read our Finished (RFC 5246 7.3, RFC 5764 4.1), so there is
// nothing left to be retransmitted (RFC 6347 4.2.4).
//
// The library asks of who restores a snapshot that no record number is used
// twice. Here the association is muted first, then closed, then the snapshot
// is taken, and it is the only one; of each, one association is made.

// wakeTime is how long an association at rest listens when something came for
// it. Forged records wake it too, once in that time.
const wakeTime = time.Second

// settle lets the association of a session rest, after its first media.
func (e *Endpoint) settle(s *session) {
	s.settled = true
	if s.association != nil {
		s.association.rest()
	}
}

// rest makes an association end without a word and report its snapshot.
func (a *association) rest() {
	a.resting.Store(true)
	a.conn.mute()
	a.cancel()
}

// wake resumes the association of a session that is at rest.
func (e *Endpoint) wake(s *session) {
	a := e.newAssociation(s.id)
	a.snapshot, s.snapshot = s.snapshot, nil
	if s.path >= 0 {
		a.conn.setPath(&s.remotes[s.path]) // of a suspended session too
	}
	s.association = a
	e.start(a)
}

// rested takes over the snapshot of an association.
func (e *Endpoint) rested(a *association, snapshot *dtls.State) {
	if s := e.session(a.session); s != nil {
		s.association, s.snapshot = nil, snapshot
		return
	}
	// Closed while it went to rest: the peer has not been told.
	last := e.newAssociation(a.session)
	last.snapshot = snapshot
	last.conn.to, last.conn.stream = a.conn.to, a.conn.stream
	e.start(last)
	last.cancel()
}
