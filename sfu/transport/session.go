package transport

import (
	"net/netip"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/stun/v4"
)

const (
	// connectTimeout is how long a session may take from Open to DTLS: a
	// client that is granted camera access late, or has a slow network.
	connectTimeout = 30 * time.Second
	// consentTimeout stops sending (RFC 7675 5.1: 30 s at most). Browsers check
	// every 2.7-5.8 s.
	consentTimeout = 15 * time.Second
	// silentTimeout frees the session. In between, a check resumes it.
	silentTimeout = 30 * time.Second
	// moveAfter is the silence on the current path after which a check from
	// another address moves it without USE-CANDIDATE: Firefox sends that only
	// once. Longer than the gaps of any media.
	moveAfter = time.Second
	// takeAfter is the silence after which an address may go to another
	// session: longer than a browser's interval between checks, so that a
	// participant cannot take a live address of another by forging sources.
	takeAfter = 6 * time.Second
	// maxRemotes is how many addresses a session keeps: a browser with many
	// interfaces checks from a dozen.
	maxRemotes = 20

	restartInterval = time.Second
	restartBurst    = 5
)

// state is where a session stands.
type state uint8

const (
	stateFree        state = iota
	stateChecking          // waits for a check and a hello
	stateHandshaking       // a DTLS association exists
	stateUp                // keys are there
	stateSuspended         // keys are there, consent is not
)

// remote is one address that passed an integrity-checked check.
type remote struct {
	addr   netip.AddrPort // of UDP; the zero value for ICE-TCP
	stream *StreamConn
	heard  time.Time // last authenticated packet; the zero value is a free slot
}

func (r *remote) free() bool { return r.heard.IsZero() }

// alive reports whether something sent there can arrive.
func (r *remote) alive() bool { return !r.free() && (r.stream == nil || !r.stream.dead.Load()) }

// session is one participant's connection. It is a value in the endpoint's
// slice.
type session struct {
	id             SessionID
	state          state
	local, remote  Credentials
	previous       Credentials // local ones before an ICE restart, until the new ones are used
	previousRemote string      // ufrag that goes with them
	integrity      stun.MessageIntegrity
	fingerprint    Fingerprint

	remotes [maxRemotes]remote
	path    int // in remotes, -1: none

	opened, checked, hello, heard time.Time
	restarts                      int // spent of the burst
	restarted                     time.Time

	guard       guard
	association *association // nil before the first hello, and at rest
	snapshot    *dtls.State  // of an association at rest
	settled     bool         // the peer has our last flight
	keys        *keys
}

func (s *session) open(now time.Time, index uint16, cfg OpenConfig) {
	generation := uint16(s.id>>sessionIndexBits) + 1
	if generation == 0 {
		generation = 1 // 0 with index 0 would be "no session"
	}
	*s = session{
		id:          sessionID(int(index), generation),
		state:       stateChecking,
		local:       cfg.Local,
		remote:      cfg.Remote,
		fingerprint: cfg.RemoteFingerprint,
		path:        -1,
		opened:      now,
	}
}

// release drops all references and secrets; the id stays for the generation.
func (s *session) release() { *s = session{id: s.id, path: -1} }

// deadline is when poll has to look at the session again; zero for never.
func (s *session) deadline() time.Time {
	switch s.state {
	case stateChecking:
		return s.opened.Add(connectTimeout)
	case stateUp:
		return s.heard.Add(consentTimeout)
	case stateSuspended:
		return s.heard.Add(silentTimeout)
	}
	return time.Time{} // the handshake has a time-out of its own
}

// allowRestart is a token bucket: restartBurst at once, then one per interval.
func (s *session) allowRestart(now time.Time) bool {
	s.restarts = max(0, s.restarts-int(now.Sub(s.restarted)/restartInterval))
	if s.restarts >= restartBurst {
		return false
	}
	s.restarts++
	s.restarted = now
	return true
}

// current is where to send, nil if nowhere.
func (s *session) current() *remote {
	if s.path < 0 || s.state == stateSuspended || !s.remotes[s.path].alive() {
		return nil
	}
	return &s.remotes[s.path]
}

// setPath moves sending to a slot; the DTLS association follows.
func (s *session) setPath(slot int) {
	s.path = slot
	if s.association != nil {
		s.association.conn.setPath(s.current())
	}
}

// heardFrom notes an authenticated packet.
func (s *session) heardFrom(now time.Time, r *remote) {
	s.heard, r.heard = now, now
}
