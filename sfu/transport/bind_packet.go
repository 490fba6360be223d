package transport

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// packetBindQueue is how many datagrams wait for the shard. A socket of the
// kernel holds about as many.
const packetBindQueue = 2048

// PacketBind is a Bind over any net.PacketConn whose addresses are
// *net.UDPAddr: simulated networks and sockets that somebody else made. One
// goroutine reads the connection; it costs allocations and a copy.
type PacketBind struct {
	conn    net.PacketConn
	local   netip.AddrPort
	box     *mailbox
	dropped atomic.Uint64
	once    sync.Once
	reader  sync.WaitGroup
}

// NewPacketBind starts reading conn, which it owns from then on.
func NewPacketBind(conn net.PacketConn) *PacketBind {
	b := &PacketBind{conn: conn, box: newMailbox(packetBindQueue)}
	if a, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		b.local = unmap(a.AddrPort())
	}
	b.reader.Go(b.read)
	return b
}

func (b *PacketBind) read() {
	for {
		p := b.box.parcel()
		n, from, err := b.conn.ReadFrom(p.data[:])
		if err != nil {
			var temporary net.Error
			if errors.As(err, &temporary) && temporary.Timeout() {
				continue
			}
			b.close()
			return
		}
		a, ok := from.(*net.UDPAddr)
		if !ok || n == len(p.data) {
			b.box.recycle(p)
			continue
		}
		p.n, p.from = n, unmap(a.AddrPort())
		if !b.box.offer(p) {
			b.dropped.Add(1)
		}
	}
}

// ReadBatch implements Bind.
func (b *PacketBind) ReadBatch(dst []Datagram, deadline time.Time) (int, error) {
	return b.box.wait(dst, deadline)
}

// WriteBatch implements Bind.
func (b *PacketBind) WriteBatch(runs []Run) (int, error) {
	sent := 0
	for _, r := range runs {
		to := net.UDPAddrFromAddrPort(r.To)
		for {
			_, err := b.conn.WriteTo(r.next(), to)
			if err == nil {
				sent++
			} else if b.box.closedError() != nil || errors.Is(err, net.ErrClosed) {
				return sent, ErrBindClosed
			}
			if len(r.Data) == 0 {
				break
			}
		}
	}
	return sent, b.box.closedError()
}

// Wake implements Bind.
func (b *PacketBind) Wake() { b.box.wake() }

// LocalAddr implements Bind.
func (b *PacketBind) LocalAddr() netip.AddrPort { return b.local }

// Dropped returns how many datagrams found the queue full. Any goroutine.
func (b *PacketBind) Dropped() uint64 { return b.dropped.Load() }

func (b *PacketBind) close() { b.once.Do(func() { close(b.box.done) }) }

// Close implements Bind and waits for the reader.
func (b *PacketBind) Close() error {
	b.close()
	err := b.conn.Close()
	b.reader.Wait()
	return err
}
