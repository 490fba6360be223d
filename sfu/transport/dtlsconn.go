package transport

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/transport/v5/deadline"
)

// associationQueue is how many datagrams may wait for the library: a flight is
// two to four.
const associationQueue = 32

// associationConn is the net.PacketConn of a DTLS association. It reads what
// the shard delivers and writes to the session's current path, at once and
// from the association's goroutines.
type associationConn struct {
	bind     Bind
	in       chan []byte
	deadline *deadline.Deadline
	done     chan struct{}
	once     sync.Once

	mu      sync.Mutex
	to      netip.AddrPort
	stream  *StreamConn
	adopted *StreamConn // to be closed with this
	muted   bool
	closed  bool
}

func newAssociationConn(bind Bind) *associationConn {
	return &associationConn{
		bind:     bind,
		in:       make(chan []byte, associationQueue),
		deadline: deadline.New(),
		done:     make(chan struct{}),
	}
}

// deliver hands a copy of a datagram to the library, or reports that the queue
// is full. Called by the shard.
func (c *associationConn) deliver(b []byte) bool {
	select {
	case c.in <- append([]byte(nil), b...):
		return true
	default:
		return false
	}
}

// setPath directs writes to r; nil leaves them where they were, so that a last
// close_notify finds its way.
func (c *associationConn) setPath(r *remote) {
	if r == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.to, c.stream = r.addr, r.stream
}

// mute makes all writes go nowhere from now on.
func (c *associationConn) mute() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.muted = true
}

// ReadFrom implements net.PacketConn.
func (c *associationConn) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case b := <-c.in:
		return copy(p, b), c.RemoteAddr(), nil
	case <-c.deadline.Done():
		return 0, nil, errTimeout{}
	case <-c.done:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo implements net.PacketConn; the address is ignored.
func (c *associationConn) WriteTo(p []byte, _ net.Addr) (int, error) {
	c.mu.Lock()
	to, stream, muted := c.to, c.stream, c.muted
	c.mu.Unlock()
	switch {
	case muted:
	case stream != nil:
		stream.send(p)
	case to.IsValid():
		if _, err := c.bind.WriteBatch([]Run{{Data: p, To: to}}); errors.Is(err, ErrBindClosed) {
			return 0, net.ErrClosed
		}
	}
	return len(p), nil // lost or not, as with any datagram
}

// adopt makes Close finish the connection, at once if this is closed already.
func (c *associationConn) adopt(stream *StreamConn) {
	stream.session = 0
	c.mu.Lock()
	c.adopted = stream
	closed := c.closed
	c.mu.Unlock()
	if closed {
		stream.finish()
	}
}

// Close implements net.PacketConn. The library calls it after close_notify.
func (c *associationConn) Close() error {
	c.once.Do(func() { close(c.done) })
	c.mu.Lock()
	stream := c.adopted
	c.closed = true
	c.mu.Unlock()
	if stream != nil {
		stream.finish()
	}
	return nil
}

// LocalAddr implements net.PacketConn. The library only prints it.
func (c *associationConn) LocalAddr() net.Addr { return noAddr{} }

// RemoteAddr is the one address that the library knows.
func (c *associationConn) RemoteAddr() net.Addr { return noAddr{} }

// SetReadDeadline implements net.PacketConn.
func (c *associationConn) SetReadDeadline(t time.Time) error {
	c.deadline.Set(t)
	return nil
}

// SetDeadline implements net.PacketConn.
func (c *associationConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn; writes do not block.
func (c *associationConn) SetWriteDeadline(time.Time) error { return nil }

// noAddr stands for the session's path, whatever it is at the moment.
type noAddr struct{}

func (noAddr) Network() string { return "udp" }
func (noAddr) String() string  { return "session" }

// errTimeout is what a net.PacketConn returns after its deadline.
type errTimeout struct{}

func (errTimeout) Error() string   { return "transport: deadline passed" }
func (errTimeout) Timeout() bool   { return true }
func (errTimeout) Temporary() bool { return true }
