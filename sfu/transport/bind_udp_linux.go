package transport

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// udpBind reads and writes a *net.UDPConn in batches: recvmmsg with UDP_GRO,
// sendmmsg with UDP_SEGMENT, or less where the kernel or the setting says so.
// It waits in the runtime's poller and then takes what is there without
// waiting.
type udpBind struct {
	conn   *net.UDPConn
	raw    syscall.RawConn
	local  netip.AddrPort
	woken  atomic.Bool
	closed atomic.Bool

	receiver receiver // of the reading goroutine
	outlet   outlet

	mu     sync.Mutex
	sender *sender // of WriteBatch, for who has no Writer: the handshakes

	// Made once: a closure per call would be an allocation per batch.
	drain func(fd uintptr) bool // for RawConn.Read, which waits
	peek  func(fd uintptr)      // for RawConn.Control, which does not
}

// NewUDPBind makes a Bind of conn, which it owns from then on. The kernel
// buffers are enlarged as far as the system allows.
func NewUDPBind(conn *net.UDPConn, offload Offload) (Bind, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	enlargeBuffers(conn)
	b := &udpBind{conn: conn, raw: raw}
	if a, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		b.local = unmap(a.AddrPort())
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		b.receiver.init(int(fd), offload)
		failed = b.outlet.init(int(fd), offload)
	}); err != nil || failed != nil {
		return nil, errors.Join(err, failed)
	}
	b.drain = b.receiver.receive
	b.peek = func(fd uintptr) { b.receiver.receive(fd) }
	b.sender = newSender(b)
	return b, nil
}

// ReadBatch implements Bind.
func (b *udpBind) ReadBatch(dst []Datagram, deadline time.Time) (int, error) {
	r := &b.receiver
	if n := r.deliver(dst); n > 0 || len(dst) == 0 {
		return n, nil // the rest of the batch before
	}
	r.want, r.failure = min(len(dst), receiveMessages), nil
	// Under load there is always something: no timer is touched then.
	if err := b.raw.Control(b.peek); err != nil {
		return 0, b.readError(err)
	}
	if r.next < r.last || r.failure != nil {
		return b.deliver(dst)
	}
	if !deadline.IsZero() && !deadline.After(time.Now()) {
		return 0, nil // a Wake stays for the next
	}
	// The deadline first and the flag second: a Wake between the two sets the
	// flag, a Wake after them overrides the deadline.
	if err := b.conn.SetReadDeadline(deadline); err != nil {
		return 0, b.readError(err)
	}
	if b.woken.Swap(false) {
		return 0, nil
	}
	if err := b.raw.Read(b.drain); err != nil {
		b.woken.Store(false)
		return 0, b.readError(err)
	}
	return b.deliver(dst)
}

func (b *udpBind) deliver(dst []Datagram) (int, error) {
	if err := b.receiver.failure; err != nil {
		return 0, b.readError(err)
	}
	return b.receiver.deliver(dst), nil
}

// readError turns a passed deadline into "nothing", and errors that a remote
// host can cause (ICMP) too.
func (b *udpBind) readError(err error) error {
	var timeout net.Error
	switch {
	case b.closed.Load(), errors.Is(err, net.ErrClosed):
		return ErrBindClosed
	case errors.As(err, &timeout) && timeout.Timeout():
		return nil
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return nil
	}
	return err
}

// NewWriter returns a Writer for one goroutine, which takes no lock.
func (b *udpBind) NewWriter() Writer { return newSender(b) }

// WriteBatch implements Bind, see sender.WriteBatch.
func (b *udpBind) WriteBatch(runs []Run) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sender.WriteBatch(runs)
}

// SocketStats returns the counters of the sending side. Any goroutine.
func (b *udpBind) SocketStats() SocketStats { return b.outlet.stats() }

// Wake implements Bind.
func (b *udpBind) Wake() {
	if b.woken.Swap(true) {
		return // already on its way
	}
	_ = b.conn.SetReadDeadline(longAgo())
}

// LocalAddr implements Bind.
func (b *udpBind) LocalAddr() netip.AddrPort { return b.local }

// Close implements Bind.
func (b *udpBind) Close() error {
	b.closed.Store(true)
	return b.conn.Close()
}
