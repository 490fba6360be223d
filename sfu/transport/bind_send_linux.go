package transport

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// sendMessages is the most messages of one sendmmsg. The call's own cost is
	// gone at 32, and it lasts no more than some 100 µs, see write.
	sendMessages = 32
	// kernelSegments is UDP_MAX_SEGMENTS before Linux 6.9.
	kernelSegments = 64
	// refusalsToSwitch is how many runs in a row the kernel may refuse for a
	// reason that can lie in the destination (a small MTU) before the bind
	// takes it for a reason of the machine.
	refusalsToSwitch = 8
	// fullBufferWait is how long a write waits for room in the socket's buffer:
	// 125 kB at 1 Gbit/s, and less than what others notice. Beyond it the rest
	// of the batch is dropped.
	fullBufferWait = time.Millisecond
	// fullBufferPause is how long nothing waits after a wait in vain: a
	// shard spends an eleventh of its time waiting at most.
	fullBufferPause = 10 * time.Millisecond
)

// controlOut is the control message of UDP_SEGMENT: a cmsghdr, a uint16 and
// padding, in words so that it is aligned.
type controlOut [3]uint64

const controlOutHeader = unix.SizeofCmsghdr

// departure is what a message holds.
type departure struct {
	run   Run // all of it; the rest behind the present datagram once split
	count int // datagrams
	split bool
}

// outlet is what the senders of a socket share.
type outlet struct {
	path  atomic.Uint32 // a SendPath
	inet6 bool          // family of the socket

	waiting  sync.Mutex // by who waits for a full buffer
	patience time.Time  // until then it is not waited for

	messages, calls, refused, waits atomic.Uint64
}

// sender is the writing half of a udpBind for one goroutine: one message for
// each run of equal datagrams, all of them in one sendmmsg, without an
// allocation and without a lock.
type sender struct {
	*outlet
	bind     *udpBind
	refusals int // in a row

	// Made once: a closure per call would be an allocation per batch.
	push       func(fd uintptr) bool // for RawConn.Write, which waits
	pushNoWait func(fd uintptr)      // for RawConn.Control, which does not

	headers [sendMessages]mmsghdr
	iovecs  [sendMessages]unix.Iovec
	names   [sendMessages]unix.RawSockaddrInet6
	control [sendMessages]controlOut
	batch   [sendMessages]departure
	at, n   int   // messages to be written
	high    int   // messages that hold something
	runs    []Run // of this WriteBatch that no message has yet
	rest    Run   // of the run before them
	started bool  // rest counts
	sent    int   // datagrams of this WriteBatch
	full    error // ErrBindFull where the kernel had no memory for one
}

// init probes the kernel.
func (o *outlet) init(fd int, offload Offload) error {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return err
	}
	o.inet6 = domain == unix.AF_INET6
	path := PathSegment
	if offload != OffloadAuto {
		path = PathSendmmsg
	} else if _, err := unix.GetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT); err != nil {
		path = PathSendmmsg
	}
	var none mmsghdr
	_, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&none)), 0, 0, 0, 0)
	if offload == OffloadOff || errno != 0 {
		path = PathPlain
	}
	o.path.Store(uint32(path))
	return nil
}

func newSender(b *udpBind) *sender {
	s := &sender{outlet: &b.outlet, bind: b}
	s.push = s.transmit
	s.pushNoWait = func(fd uintptr) { s.transmit(fd) }
	for i := range s.headers {
		h := &s.headers[i]
		h.Name = (*byte)(unsafe.Pointer(&s.names[i]))
		h.Iov = &s.iovecs[i]
		h.SetIovlen(1)
		c := (*unix.Cmsghdr)(unsafe.Pointer(&s.control[i]))
		c.Level, c.Type = unix.SOL_UDP, unix.UDP_SEGMENT
		c.SetLen(unix.CmsgLen(2))
	}
	return s
}

// WriteBatch implements Writer. Where the socket's buffer stays full for
// fullBufferWait, the rest is dropped.
func (s *sender) WriteBatch(runs []Run) (int, error) {
	s.sent, s.full, s.runs = 0, nil, runs
	defer s.forget()
	b := s.bind
	for s.fill() {
		err := b.raw.Control(s.pushNoWait)
		if err == nil && s.at < s.n {
			err = s.waitAndPush()
		}
		switch {
		case b.closed.Load():
			return s.sent, ErrBindClosed
		case s.at < s.n:
			return s.sent, ErrBindFull
		case err != nil:
			return s.sent, nil
		}
	}
	if b.closed.Load() {
		return s.sent, ErrBindClosed
	}
	return s.sent, s.full
}

// waitAndPush is for a full buffer, which is rare enough to set a timer. After
// a wait in vain it gives up at once for a while: a fan-out is many writes, and
// what is received must not wait for all of them.
func (s *sender) waitAndPush() error {
	s.waits.Add(1)
	s.waiting.Lock()
	defer s.waiting.Unlock()
	now := time.Now()
	if now.Before(s.patience) {
		return nil
	}
	conn := s.bind.conn
	if err := conn.SetWriteDeadline(now.Add(fullBufferWait)); err != nil {
		return err
	}
	err := s.bind.raw.Write(s.push)
	if s.at < s.n {
		s.patience = time.Now().Add(fullBufferPause)
	}
	return errors.Join(err, conn.SetWriteDeadline(time.Time{}))
}

// fill makes messages of what is left of the runs until the batch is full. It
// reports false when there is nothing left.
func (s *sender) fill() bool {
	most := 1
	if SendPath(s.path.Load()) == PathSegment {
		most = kernelSegments
	}
	s.at, s.n = 0, 0
	for s.n < sendMessages && (s.started || len(s.runs) > 0) {
		if !s.started {
			s.rest, s.runs, s.started = s.runs[0], s.runs[1:], true
		}
		if !s.address(s.n, s.rest.To) {
			s.started = false // not of the socket's family
			continue
		}
		piece := s.rest.cut(most)
		s.started = len(s.rest.Data) > 0
		s.batch[s.n] = departure{run: piece, count: piece.datagrams()}
		s.point(s.n, piece.Data, piece.Segment)
		s.n++
	}
	s.high = max(s.high, s.n)
	return s.n > 0
}

// point makes message i carry data, cut every segment bytes if it is longer.
func (s *sender) point(i int, data []byte, segment int) {
	s.iovecs[i].Base = unsafe.SliceData(data)
	s.iovecs[i].SetLen(len(data))
	h := &s.headers[i]
	if segment <= 0 || segment >= len(data) {
		h.Control = nil
		h.SetControllen(0)
		return
	}
	h.Control = (*byte)(unsafe.Pointer(&s.control[i]))
	h.SetControllen(int(unsafe.Sizeof(s.control[i])))
	words := unsafe.Slice((*byte)(unsafe.Pointer(&s.control[i])), unsafe.Sizeof(s.control[i]))
	binary.NativeEndian.PutUint16(words[controlOutHeader:], uint16(segment))
}

// address writes the destination of message i.
func (s *sender) address(i int, to netip.AddrPort) bool {
	a, h := to.Addr(), &s.headers[i]
	if !s.inet6 {
		if a = a.Unmap(); !a.Is4() {
			return false
		}
		in4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.names[i]))
		*in4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: networkOrder(to.Port()), Addr: a.As4()}
		h.Namelen = unix.SizeofSockaddrInet4
		return true
	}
	if !a.IsValid() {
		return false
	}
	s.names[i] = unix.RawSockaddrInet6{
		Family: unix.AF_INET6, Port: networkOrder(to.Port()), Addr: a.As16(), Scope_id: scope(a.Zone()),
	}
	h.Namelen = unix.SizeofSockaddrInet6
	return true
}

// scope is the interface of a link-local address; 0 = none.
func scope(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	return 0
}

// transmit writes the batch as far as the socket takes it. It reports false
// when the socket's buffer is full, so that RawConn.Write waits.
func (s *sender) transmit(fd uintptr) bool {
	for s.at < s.n {
		n, errno := s.write(fd)
		switch {
		case errno == 0:
			s.advance(n)
		case errno == syscall.EINTR:
		case errno == syscall.EAGAIN:
			return false
		case errno == syscall.ENOBUFS:
			s.full = ErrBindFull
			s.at++
		case s.batch[s.at].count > 1 && s.refuse(errno):
			s.split()
		default:
			// This destination cannot be reached, which is nobody else's business.
			s.at++
		}
	}
	return true
}

// write is the system call. It never waits, so that it is a raw one: to the
// scheduler a call of 20 µs looks like one that blocks, and handing the
// processor over and taking it back costs 10 % of the CPU time of a fan-out to
// 100 subscribers.
func (s *sender) write(fd uintptr) (int, syscall.Errno) {
	s.calls.Add(1)
	h := &s.headers[s.at]
	if SendPath(s.path.Load()) == PathPlain {
		_, _, errno := unix.Syscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&h.Msghdr)), 0)
		return 1, errno
	}
	count := s.n - s.at
	if s.batch[s.at].split {
		count = 1 // the same message carries the next datagram then
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(h)), uintptr(count), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// advance counts n messages as written.
func (s *sender) advance(n int) {
	s.messages.Add(uint64(n))
	for range n {
		d := &s.batch[s.at]
		s.sent += d.count
		if d.count > 1 {
			s.refusals = 0
		}
		if d.split && len(d.run.Data) > 0 {
			s.point(s.at, d.run.next(), 0)
			continue
		}
		s.at++
	}
}

// refuse reports whether errno means that the kernel does not segment this
// run, and leaves the path when it will not segment any.
func (s *sender) refuse(errno syscall.Errno) bool {
	switch errno {
	case syscall.EIO, syscall.EOPNOTSUPP, syscall.ENOPROTOOPT:
		s.refusals = refusalsToSwitch
	case syscall.EINVAL, syscall.EMSGSIZE:
		s.refusals++
	default:
		return false
	}
	if s.refusals >= refusalsToSwitch {
		s.path.CompareAndSwap(uint32(PathSegment), uint32(PathSendmmsg))
	}
	s.refused.Add(1)
	return true
}

// split makes the present message carry its run one datagram at a time.
func (s *sender) split() {
	d := &s.batch[s.at]
	d.split, d.count = true, 1
	s.point(s.at, d.run.next(), 0)
}

// forget lets go of the caller's memory.
func (s *sender) forget() {
	for i := range s.high {
		s.iovecs[i].Base = nil
		s.batch[i] = departure{}
	}
	s.at, s.n, s.high = 0, 0, 0
	s.runs, s.rest, s.started = nil, Run{}, false
}

// stats may be called from any goroutine.
func (o *outlet) stats() SocketStats {
	return SocketStats{
		Path: SendPath(o.path.Load()), Messages: o.messages.Load(), Calls: o.calls.Load(),
		Refused: o.refused.Load(), Waits: o.waits.Load(),
	}
}
