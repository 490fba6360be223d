package transport

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v4"
)

const (
	// firstFrameTimeout is how long a connection may take from accept to a
	// check with the right password.
	firstFrameTimeout = 5 * time.Second
	// streamWriteTimeout ends a connection whose peer stopped reading.
	streamWriteTimeout = 10 * time.Second
	frameHeaderLen     = 2
)

// ErrFrame says that a length of RFC 4571 framing is beyond any packet.
var ErrFrame = errors.New("transport: frame too long")

// readFrame reads one frame (RFC 4571 2: 16 bits of length, then the packet)
// into dst. Empty frames are skipped.
func readFrame(r *bufio.Reader, dst []byte) (int, error) {
	for {
		var header [frameHeaderLen]byte
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return 0, err
		}
		n := int(binary.BigEndian.Uint16(header[:]))
		if n == 0 {
			continue
		}
		if n > len(dst) {
			return 0, ErrFrame
		}
		_, err := io.ReadFull(r, dst[:n])
		return n, err
	}
}

// StreamConn is an ICE-TCP connection (RFC 6544). One goroutine reads it and
// one writes it.
type StreamConn struct {
	conn     net.Conn
	remote   netip.AddrPort
	dead     atomic.Bool
	approved atomic.Bool // a check with the right password came

	// Of the shard.
	session SessionID
	slot    uint8

	mu     sync.Mutex
	queue  []byte // framed, waiting for the writer
	limit  int
	closed bool
	ready  chan struct{} // capacity 1: the queue is not empty, or closed
}

func newStreamConn(conn net.Conn, remote netip.AddrPort, limit int) *StreamConn {
	return &StreamConn{conn: conn, remote: remote, limit: limit, ready: make(chan struct{}, 1)}
}

// approve lifts the deadline for the first check. Called by the shard.
func (c *StreamConn) approve() {
	c.approved.Store(true)
	_ = c.conn.SetReadDeadline(time.Time{})
}

// fits reports whether the queue takes so many packets of so many bytes in all
// and keeps an eighth of its room: that is for sound and reports. Any goroutine.
func (c *StreamConn) fits(packets, bytes int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.closed && len(c.queue)+packets*frameHeaderLen+bytes <= c.limit-c.limit/8
}

// send queues one packet. It reports false, and drops the whole packet, when
// the connection is slower than its traffic or closed. Any goroutine.
func (c *StreamConn) send(packet []byte) bool {
	if len(packet) > 0xffff {
		return false
	}
	c.mu.Lock()
	if c.closed || len(c.queue)+frameHeaderLen+len(packet) > c.limit {
		c.mu.Unlock()
		return false
	}
	c.queue = binary.BigEndian.AppendUint16(c.queue, uint16(len(packet)))
	c.queue = append(c.queue, packet...)
	c.mu.Unlock()
	c.signal()
	return true
}

func (c *StreamConn) signal() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// finish takes no more packets and closes the connection when those queued are
// written. Any goroutine.
func (c *StreamConn) finish() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.signal()
}

// write moves the queue to the connection until finish or an error. Two
// buffers change places, so that nothing is allocated once they have grown.
func (c *StreamConn) write() {
	defer c.conn.Close() // ends the reader
	var out []byte
	for range c.ready {
		c.mu.Lock()
		out, c.queue = c.queue, out[:0]
		closed := c.closed
		c.mu.Unlock()
		if len(out) > 0 {
			_ = c.conn.SetWriteDeadline(time.Now().Add(streamWriteTimeout))
			if _, err := c.conn.Write(out); err != nil {
				return
			}
		}
		if closed {
			return
		}
	}
}

// read passes frames to the inbox until the connection ends. It waits when the
// inbox is full: TCP slows the peer down.
func (c *StreamConn) read(inbox *mailbox, wake func()) {
	defer func() {
		c.dead.Store(true)
		c.finish()
	}()
	r := bufio.NewReaderSize(c.conn, 2*maxDatagram)
	for first := true; ; first = false {
		p := inbox.parcel()
		n, err := readFrame(r, p.data[:])
		if err != nil || first && !looksLikeCheck(p.data[:n]) {
			inbox.recycle(p)
			return
		}
		p.n, p.from, p.stream = n, c.remote, c
		if !inbox.put(p) {
			return
		}
		wake()
	}
}

// looksLikeCheck is what can be told of a first frame without the passwords,
// which are the shard's.
func looksLikeCheck(b []byte) bool {
	return stun.IsMessage(b) && binary.BigEndian.Uint16(b) == stun.BindingRequest.Value()
}
