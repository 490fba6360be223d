package signal

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"

	"sotto/signal/protocol"
	"sotto/signal/rate"
)

// ServeHTTP serves the WebSocket endpoint; it returns when the session is over.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if reason, status, text := s.precheck(r); reason != "" {
		s.refuseHTTP(w, reason, status, text)
		return
	}
	session, reason := s.open(r)
	if reason != "" {
		status := http.StatusTooManyRequests
		if reason == refusedFull || reason == refusedShutdown {
			status = http.StatusServiceUnavailable
		}
		s.refuseHTTP(w, reason, status, http.StatusText(status))
		return
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.sessions, session)
		s.addresses.closed(time.Now(), session.ip)
		s.running.Done()
	}()

	ws, err := websocket.Accept(metered{w, session.meter}, r, &websocket.AcceptOptions{
		Subprotocols:       []string{protocol.Subprotocol},
		InsecureSkipVerify: true, // precheck looked at the origin
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		s.counters.refused.add(refusedHandshake)
		return // Accept has answered
	}
	// A backstop: message reads with its own, smaller limits.
	ws.SetReadLimit(max(protocol.MaxNegotiation, protocol.MaxBundle))
	session.ws = ws
	// The request's context ends with the handler's connection, which is
	// hijacked: the server's is what ends a session.
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	session.cancel = cancel
	session.run(ctx)
}

// precheck looks at the request alone. reason is empty when it may go on.
func (s *Server) precheck(r *http.Request) (reason string, status int, text string) {
	if !s.originAllowed(r) {
		return refusedOrigin, http.StatusForbidden, "origin not allowed"
	}
	offered := r.Header.Values("Sec-WebSocket-Protocol")
	if !slices.ContainsFunc(offered, func(line string) bool {
		return slices.ContainsFunc(strings.Split(line, ","), func(p string) bool {
			return strings.TrimSpace(p) == protocol.Subprotocol
		})
	}) {
		return refusedHandshake, http.StatusBadRequest, "the subprotocol is " + protocol.Subprotocol
	}
	if r.Host == "" || len(r.Host) > 255 {
		return refusedHandshake, http.StatusBadRequest, "no host"
	}
	return "", 0, ""
}

func (s *Server) refuseHTTP(w http.ResponseWriter, reason string, status int, text string) {
	s.counters.refused.add(reason)
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "2")
	}
	http.Error(w, text, status)
}

// open registers a session within the limits, or says why not.
func (s *Server) open(r *http.Request) (_ *session, refused string) {
	now := time.Now()
	session := &session{
		server: s, log: s.log, host: r.Host, ip: s.policy.Load().clientAddr(r),
		meter:  &meter{bucket: rate.New(s.limits.ByteRate, s.limits.ByteBurst)},
		bucket: rate.New(s.limits.MessageRate, s.limits.MessageBurst),
	}
	session.queue = newQueue(s.limits.QueueMessages, s.limits.QueueBytes, session.tooSlow)

	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return nil, refusedShutdown
	case len(s.sessions) >= s.limits.Sessions:
		return nil, refusedFull
	}
	if reason := s.addresses.open(now, session.ip); reason != "" {
		return nil, reason
	}
	s.sessions[session] = struct{}{}
	s.running.Add(1)
	return session, ""
}

// originAllowed takes requests without an Origin (native clients), those of
// the page's own host, and the listed ones.
func (s *Server) originAllowed(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	if len(origins) > 1 {
		return false
	}
	host, err := originHost(origins[0])
	if err != nil {
		return false
	}
	if strings.EqualFold(host, r.Host) {
		return true
	}
	return slices.ContainsFunc(s.policy.Load().origins, func(o string) bool { return strings.EqualFold(o, origins[0]) })
}

// originHost is the host, with port, of a serialized origin (RFC 6454 section
// 6.2). "null" has none.
func originHost(origin string) (string, error) {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("signal: not an origin, such as https://example.org")
	}
	return u.Host, nil
}
