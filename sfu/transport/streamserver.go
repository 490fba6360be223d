package transport

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// streamInbox is how many frames wait for the shard, of all connections.
	streamInbox = 512
	// acceptPause is the pause after a failed accept (no file descriptors).
	acceptPause = 50 * time.Millisecond
)

// streamServer accepts ICE-TCP connections under caps and keeps those alive.
type streamServer struct {
	endpoint *Endpoint
	inbox    *mailbox

	mu         sync.Mutex
	closed     bool
	listeners  []net.Listener
	conns      map[*StreamConn]struct{}
	perAddress map[netip.Addr]int
	accepted   uint64
	refused    uint64
	unchecked  uint64
}

func (v *streamServer) init(e *Endpoint) {
	v.endpoint = e
	v.inbox = newMailbox(streamInbox)
	v.conns = map[*StreamConn]struct{}{}
	v.perAddress = map[netip.Addr]int{}
}

func (v *streamServer) closing() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.closed
}

func (v *streamServer) serve(l net.Listener) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		_ = l.Close()
		return ErrShutdown
	}
	v.listeners = append(v.listeners, l)
	v.endpoint.work.Go(func() { v.accept(l) })
	return nil
}

func (v *streamServer) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err == nil {
			v.admit(conn)
			continue
		}
		if v.closing() {
			return
		}
		select {
		case <-time.After(acceptPause):
		case <-v.inbox.done:
			return
		}
	}
}

// admit starts the goroutines of a connection unless a cap is reached.
func (v *streamServer) admit(conn net.Conn) {
	a, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		_ = conn.Close()
		return
	}
	remote := unmap(a.AddrPort())
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed || len(v.conns) >= v.endpoint.limits.Streams ||
		v.perAddress[remote.Addr()] >= v.endpoint.limits.StreamsPerAddress {
		v.refused++
		_ = conn.Close()
		return
	}
	v.accepted++
	v.perAddress[remote.Addr()]++
	_ = conn.SetReadDeadline(time.Now().Add(firstFrameTimeout))
	c := newStreamConn(conn, remote, v.endpoint.limits.StreamQueue)
	v.conns[c] = struct{}{}
	work := &v.endpoint.work
	work.Go(c.write)
	work.Go(func() {
		c.read(v.inbox, v.endpoint.bind.Wake)
		v.forget(c)
	})
}

func (v *streamServer) forget(c *StreamConn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !c.approved.Load() {
		v.unchecked++
	}
	delete(v.conns, c)
	if v.perAddress[c.remote.Addr()]--; v.perAddress[c.remote.Addr()] == 0 {
		delete(v.perAddress, c.remote.Addr())
	}
}

func (v *streamServer) addTo(s *Stats) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s.StreamsAccepted, s.StreamsRefused, s.StreamsUnchecked = v.accepted, v.refused, v.unchecked
	s.Streams = len(v.conns)
}

func (v *streamServer) shutdown() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return
	}
	v.closed = true
	close(v.inbox.done)
	for _, l := range v.listeners {
		_ = l.Close()
	}
	for c := range v.conns {
		c.finish()
	}
}
