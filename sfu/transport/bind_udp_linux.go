package transport

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// udpBatch is the most datagrams that one ReadBatch returns: about ten video
// frames' bursts, 128 KiB of buffers.
const udpBatch = 64

// udpBind reads and writes a *net.UDPConn one datagram per system call. It
// waits in the runtime's poller and then takes what is there without waiting.
type udpBind struct {
	conn   *net.UDPConn
	raw    syscall.RawConn
	local  netip.AddrPort
	woken  atomic.Bool
	closed atomic.Bool

	// Of the reading goroutine.
	buffers  [][]byte
	receiver receiver
	drain    func(fd uintptr) bool // receives until dst is full or nothing is there
	peek     func(fd uintptr)      // drain for RawConn.Control
	dst      []Datagram
	n        int
	failure  error
}

// NewUDPBind makes a Bind of conn, which it owns from then on. The kernel
// buffers are enlarged as far as the system allows.
func NewUDPBind(conn *net.UDPConn) (Bind, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	enlargeBuffers(conn)
	b := &udpBind{conn: conn, raw: raw, buffers: make([][]byte, udpBatch)}
	if a, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		b.local = unmap(a.AddrPort())
	}
	all := make([]byte, udpBatch*maxDatagram)
	for i := range b.buffers {
		b.buffers[i] = all[i*maxDatagram : (i+1)*maxDatagram : (i+1)*maxDatagram]
	}
	// Made once: a closure per call would be an allocation per batch.
	b.drain = func(fd uintptr) bool { return b.receive(fd) }
	b.peek = func(fd uintptr) { b.receive(fd) }
	return b, nil
}

// ReadBatch implements Bind.
func (b *udpBind) ReadBatch(dst []Datagram, deadline time.Time) (int, error) {
	b.dst, b.n, b.failure = dst[:min(len(dst), udpBatch)], 0, nil
	if len(b.dst) == 0 {
		return 0, nil
	}
	// Under load there is always something: no timer is touched then.
	if err := b.raw.Control(b.peek); err != nil {
		return 0, b.readError(err)
	}
	if b.n > 0 || b.failure != nil {
		return b.finish()
	}
	if !deadline.IsZero() && !deadline.After(time.Now()) {
		b.woken.Store(false)
		return 0, nil
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
	return b.finish()
}

func (b *udpBind) finish() (int, error) {
	if b.failure != nil && b.n == 0 {
		return 0, b.readError(b.failure)
	}
	now := time.Now()
	for i := range b.dst[:b.n] {
		b.dst[i].At = now
	}
	return b.n, nil
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

// WriteBatch implements Bind.
func (b *udpBind) WriteBatch(runs []Run) (int, error) {
	sent := 0
	for _, r := range runs {
		for {
			_, err := b.conn.WriteToUDPAddrPort(r.next(), r.To)
			if err == nil {
				sent++
			} else if b.closed.Load() || errors.Is(err, net.ErrClosed) {
				return sent, ErrBindClosed
			}
			if len(r.Data) == 0 {
				break
			}
		}
	}
	return sent, nil
}

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
