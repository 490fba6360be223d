package transport

import (
	"net/netip"
	"time"
)

// parcel is a received datagram on its way from another goroutine.
type parcel struct {
	data   [maxDatagram]byte
	n      int
	from   netip.AddrPort
	stream *StreamConn
}

// mailbox hands datagrams from any number of goroutines to one reader:
// bounded, with buffers that go round. It is the inside of the binds that have
// no system call to block in, and the inbox of the ICE-TCP connections.
type mailbox struct {
	in    chan *parcel
	spare chan *parcel
	woken chan struct{}
	done  chan struct{}

	// Of the reader.
	lent  []*parcel // in the reader's hands until its next call
	timer *time.Timer
}

func newMailbox(capacity int) *mailbox {
	return &mailbox{
		in:    make(chan *parcel, capacity),
		spare: make(chan *parcel, capacity),
		woken: make(chan struct{}, 1),
		done:  make(chan struct{}),
	}
}

// parcel returns an empty one, to be filled and given to offer, put or recycle.
func (m *mailbox) parcel() *parcel {
	select {
	case p := <-m.spare:
		return p
	default:
		return new(parcel)
	}
}

func (m *mailbox) recycle(p *parcel) {
	p.stream = nil
	select {
	case m.spare <- p:
	default: // more than ever needed at once: leave it to the collector
	}
}

// offer hands p over unless the box is full or closed.
func (m *mailbox) offer(p *parcel) bool {
	select {
	case m.in <- p:
		return true
	default:
		m.recycle(p)
		return false
	}
}

// put hands p over, waiting for room. It reports false once the box is closed.
func (m *mailbox) put(p *parcel) bool {
	select {
	case m.in <- p:
		return true
	case <-m.done:
		m.recycle(p)
		return false
	}
}

// take fills dst with what is there and never waits. What the former call
// returned is no longer valid.
func (m *mailbox) take(dst []Datagram) int {
	m.release()
	return m.fill(dst, 0)
}

func (m *mailbox) release() {
	for i, p := range m.lent {
		m.recycle(p)
		m.lent[i] = nil
	}
	m.lent = m.lent[:0]
}

func (m *mailbox) fill(dst []Datagram, n int) int {
	var now time.Time
	for n < len(dst) {
		select {
		case p := <-m.in:
			if now.IsZero() {
				now = time.Now()
			}
			m.lend(dst, n, p, now)
			n++
		default:
			return n
		}
	}
	return n
}

func (m *mailbox) lend(dst []Datagram, n int, p *parcel, now time.Time) {
	m.lent = append(m.lent, p)
	dst[n] = Datagram{Data: p.data[:p.n], From: p.from, At: now, Stream: p.stream}
}

// wait is Bind.ReadBatch.
func (m *mailbox) wait(dst []Datagram, deadline time.Time) (int, error) {
	if n := m.take(dst); n > 0 || len(dst) == 0 {
		return n, nil
	}
	var expired <-chan time.Time
	if !deadline.IsZero() {
		left := time.Until(deadline)
		if left <= 0 {
			return 0, m.closedError()
		}
		if m.timer == nil {
			m.timer = time.NewTimer(left)
		} else {
			m.timer.Reset(left)
		}
		defer m.timer.Stop()
		expired = m.timer.C
	}
	select {
	case p := <-m.in:
		m.lend(dst, 0, p, time.Now())
		return m.fill(dst, 1), nil
	case <-m.woken:
	case <-expired:
	case <-m.done:
		return 0, ErrBindClosed
	}
	return 0, nil
}

func (m *mailbox) closedError() error {
	select {
	case <-m.done:
		return ErrBindClosed
	default:
		return nil
	}
}

func (m *mailbox) wake() {
	select {
	case m.woken <- struct{}{}:
	default:
	}
}
