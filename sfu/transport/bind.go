package transport

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// ErrBindClosed is returned by ReadBatch and WriteBatch after Close.
var ErrBindClosed = errors.New("transport: bind closed")

// ErrBindFull is returned by WriteBatch when there was no room for all: more
// is to be sent than the machine's way out takes.
var ErrBindFull = errors.New("transport: bind full")

// maxDatagram is the room for one received datagram. WebRTC packets stay below
// 1,500 bytes on every path; a longer datagram is dropped and counted, since a
// truncated one could not be authenticated anyway.
const maxDatagram = 2048

// Bind is a UDP socket as a shard uses it. The implementations are NewUDPBind
// (system calls in batches), PacketBind (any net.PacketConn, for simulated
// networks) and ChanBind (in memory, for virtual time).
type Bind interface {
	// ReadBatch blocks until there is at least one datagram, the deadline has
	// passed (zero: none) or Wake was called. It fills dst with what is there
	// and returns how many. A deadline that has already passed only takes what
	// is there. n = 0 with a nil error means woken or deadline passed. Data is
	// owned by the bind and valid until the next ReadBatch; the caller may
	// overwrite it. One goroutine only. After Close: ErrBindClosed.
	ReadBatch(dst []Datagram, deadline time.Time) (n int, err error)
	// WriteBatch writes all runs and returns how many datagrams the socket
	// accepted. A destination that cannot be reached does not hinder the
	// others and is no error. Any goroutine. Where there is no room for the
	// rest, it is dropped: ErrBindFull. After Close: ErrBindClosed.
	WriteBatch(runs []Run) (datagrams int, err error)
	// Wake makes a ReadBatch that blocks now, or else the next one that would,
	// return. Any goroutine.
	Wake()
	// LocalAddr is the address the socket is bound to, unmapped.
	LocalAddr() netip.AddrPort
	Close() error
}

// Writer is the writing half of a Bind.
type Writer interface {
	// WriteBatch is that of Bind.
	WriteBatch(runs []Run) (datagrams int, err error)
}

// writerMaker is a Bind that gives a goroutine a Writer of its own, which needs
// no lock then.
type writerMaker interface{ NewWriter() Writer }

func writerOf(b Bind) Writer {
	if m, ok := b.(writerMaker); ok {
		return m.NewWriter()
	}
	return b
}

// Datagram is one received datagram.
type Datagram struct {
	Data []byte
	From netip.AddrPort // IPv4 addresses in 4-byte form
	At   time.Time      // when the kernel, or else the bind, got it; not in the future
	// Stream is the ICE-TCP connection it came on, nil for UDP.
	Stream *StreamConn
}

// Run is one or more datagrams to one destination: Data is cut every Segment
// bytes, the last one may be shorter (as UDP_SEGMENT does, see udp(7)).
// Segment 0 means one datagram.
type Run struct {
	Data    []byte
	Segment int
	To      netip.AddrPort
}

// next cuts the first datagram off the run.
func (r *Run) next() []byte {
	n := len(r.Data)
	if r.Segment > 0 && r.Segment < n {
		n = r.Segment
	}
	head := r.Data[:n]
	r.Data = r.Data[n:]
	return head
}

// cut takes up to most datagrams off the run, no more than one UDP datagram
// may hold in all.
func (r *Run) cut(most int) Run {
	head := *r
	if r.Segment > 0 && r.Segment < len(r.Data) {
		most = max(min(most, maxRunBytes/r.Segment), 1)
		if n := most * r.Segment; n < len(r.Data) {
			head.Data = r.Data[:n]
		}
	}
	r.Data = r.Data[len(head.Data):]
	return head
}

// datagrams returns how many there are in the run.
func (r *Run) datagrams() int {
	if r.Segment <= 0 || r.Segment >= len(r.Data) {
		return 1
	}
	return (len(r.Data) + r.Segment - 1) / r.Segment
}

// unmap brings an address to the one form that tables and comparisons use.
func unmap(a netip.AddrPort) netip.AddrPort {
	if a.Addr().Is4In6() {
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	return a
}

// longAgo is a deadline that has passed, also in virtual time.
func longAgo() time.Time { return time.Unix(1, 0) }

// udpBuffer is asked for in each direction. The usual default of 208 KiB holds
// 2 ms of a shard's traffic at 100,000 packets/s, less than a pause of the
// scheduler; the kernel may grant less than asked (net.core.rmem_max).
const udpBuffer = 4 << 20

// enlargeBuffers is best effort: a smaller buffer costs packets under load,
// not correctness.
func enlargeBuffers(conn *net.UDPConn) {
	_ = conn.SetReadBuffer(udpBuffer)
	_ = conn.SetWriteBuffer(udpBuffer)
}
