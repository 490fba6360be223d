package bench

import (
	"net"
	"strconv"
	"sync"
	"sync/atomic"
)

// slowLink is a path over TCP between a viewer and the server that can stop: what the server writes then fills the buffers of
// both ends, its socket's own last.
type slowLink struct {
	listener *net.TCPListener
	port     atomic.Int32 // of the server
	gate     sync.RWMutex // held while stopped
	copying  sync.WaitGroup
}

func newSlowLink() (*slowLink, error) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	s := &slowLink{listener: l}
	s.copying.Go(s.accept)
	return s, nil
}

// address is what the server has to advertise.
func (s *slowLink) address() string { return s.listener.Addr().String() }

func (s *slowLink) accept() {
	for {
		viewer, err := s.listener.AcceptTCP()
		if err != nil {
			return
		}
		conn, err := net.Dial("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(s.port.Load()))))
		if err != nil {
			_ = viewer.Close()
			continue
		}
		server := conn.(*net.TCPConn)
		_ = server.SetReadBuffer(4 << 10) // soon full
		s.copying.Go(func() { s.copy(server, viewer, nil) })
		s.copying.Go(func() { s.copy(viewer, server, &s.gate) })
	}
}

// copy moves what comes until one end closes, and waits while the gate is held.
func (s *slowLink) copy(to, from *net.TCPConn, gate *sync.RWMutex) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 4<<10)
	for {
		if gate != nil {
			wait(gate)
		}
		n, err := from.Read(b)
		if _, failed := to.Write(b[:n]); err != nil || failed != nil {
			return
		}
	}
}

// wait returns when nobody holds a gate.
func wait(gate *sync.RWMutex) {
	gate.RLock()
	defer gate.RUnlock()
}

// stop lets nothing through to the viewer until run.
func (s *slowLink) stop() (run func()) {
	s.gate.Lock()
	return s.gate.Unlock
}

// close comes after both ends have closed.
func (s *slowLink) close() {
	_ = s.listener.Close()
	s.copying.Wait()
}
