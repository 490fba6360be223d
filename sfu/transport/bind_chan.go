package transport

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Packet is a datagram at the far side of a ChanBind.
type Packet struct {
	Data []byte
	To   netip.AddrPort
}

// ChanBind is a Bind without a socket: datagrams are injected by one side of a
// test and collected by it. Nothing in it blocks in a system call, so that it
// runs in virtual time.
type ChanBind struct {
	local   netip.AddrPort
	box     *mailbox
	sent    chan Packet
	dropped atomic.Uint64
	once    sync.Once
}

// NewChanBind makes a bind at address local whose queues hold capacity
// datagrams per direction.
func NewChanBind(local netip.AddrPort, capacity int) *ChanBind {
	return &ChanBind{local: unmap(local), box: newMailbox(capacity), sent: make(chan Packet, capacity)}
}

// Inject delivers a copy of data. It reports false when the bind is closed,
// its queue full or the datagram longer than a bind accepts. Any goroutine.
func (b *ChanBind) Inject(data []byte, from netip.AddrPort) bool {
	if b.box.closedError() != nil || len(data) >= maxDatagram {
		return false
	}
	p := b.box.parcel()
	p.n, p.from = copy(p.data[:], data), unmap(from)
	if !b.box.offer(p) {
		b.dropped.Add(1)
		return false
	}
	return true
}

// Sent delivers what WriteBatch accepted, each datagram in its own slice.
func (b *ChanBind) Sent() <-chan Packet { return b.sent }

// Dropped returns how many datagrams found a queue full. Any goroutine.
func (b *ChanBind) Dropped() uint64 { return b.dropped.Load() }

// ReadBatch implements Bind.
func (b *ChanBind) ReadBatch(dst []Datagram, deadline time.Time) (int, error) {
	return b.box.wait(dst, deadline)
}

// WriteBatch implements Bind.
func (b *ChanBind) WriteBatch(runs []Run) (int, error) {
	if err := b.box.closedError(); err != nil {
		return 0, err
	}
	sent := 0
	var failure error
	for _, r := range runs {
		for {
			data := append([]byte(nil), r.next()...)
			select {
			case b.sent <- Packet{Data: data, To: r.To}:
				sent++
			default:
				b.dropped.Add(1)
				failure = ErrBindFull
			}
			if len(r.Data) == 0 {
				break
			}
		}
	}
	return sent, failure
}

// Wake implements Bind.
func (b *ChanBind) Wake() { b.box.wake() }

// LocalAddr implements Bind.
func (b *ChanBind) LocalAddr() netip.AddrPort { return b.local }

// Close implements Bind.
func (b *ChanBind) Close() error {
	b.once.Do(func() { close(b.box.done) })
	return nil
}
