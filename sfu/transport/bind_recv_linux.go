package transport

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// receiveMessages is the most messages of one recvmmsg. A coalesced one
	// holds a frame's burst, so that this is more than a batch of a shard.
	receiveMessages = 32
	// groBuffer holds the largest coalesced message. Only pages that were
	// written to are resident.
	groBuffer = 64 << 10
	// bufferSkew moves each buffer by a few cache lines, or the headers of all
	// messages would share the same sets of the cache.
	bufferSkew = 5 * 64
	// maxQueued is how long a datagram can have waited in the socket. A larger
	// difference is a step of the wall clock, not a wait.
	maxQueued = time.Second
)

// mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	unix.Msghdr
	length uint32
}

// controlIn has room for UDP_GRO (an int) and SO_TIMESTAMPNS (a timespec), in
// words so that it is aligned.
type controlIn [8]uint64

// arrival is one received message that is being cut into datagrams.
type arrival struct {
	rest    []byte
	segment int
	from    netip.AddrPort
	at      time.Time
}

// receiver is the reading half of a udpBind: recvmmsg with UDP_GRO and the
// kernel's time stamps into memory of its own, without an allocation. The
// wrappers of package syscall would return a new Sockaddr for each datagram.
type receiver struct {
	batch   bool // recvmmsg, else recvmsg
	headers [receiveMessages]mmsghdr
	iovecs  [receiveMessages]unix.Iovec
	names   [receiveMessages]unix.RawSockaddrInet6 // the largest that a UDP socket returns
	control [receiveMessages]controlIn
	buffers [receiveMessages][]byte

	arrivals   [receiveMessages]arrival
	next, last int // arrivals that are not delivered yet
	want       int // messages, at most
	failure    error
}

// init sets the socket's options. The kernel's time stamps are best effort, and
// so is GRO: without either a datagram is as good.
func (r *receiver) init(fd int, offload Offload) {
	size := maxDatagram
	r.batch = offload != OffloadOff
	if offload == OffloadAuto && unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1) == nil {
		size = groBuffer
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	all := make([]byte, receiveMessages*(size+bufferSkew))
	for i := range r.buffers {
		start := i * (size + bufferSkew)
		r.buffers[i] = all[start : start+size : start+size]
		r.iovecs[i].Base = &r.buffers[i][0]
		r.iovecs[i].SetLen(size)
		h := &r.headers[i]
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Iov = &r.iovecs[i]
		h.SetIovlen(1)
		h.Control = (*byte)(unsafe.Pointer(&r.control[i]))
		r.prepare(i)
	}
}

// prepare resets what the kernel overwrites with each message.
func (r *receiver) prepare(i int) {
	h := &r.headers[i]
	h.Namelen = uint32(unsafe.Sizeof(r.names[i]))
	h.SetControllen(int(unsafe.Sizeof(r.control[i])))
	h.Flags = 0
}

// receive takes up to want messages that are there. It reports false when
// there was none, so that RawConn.Read waits.
func (r *receiver) receive(fd uintptr) bool {
	for {
		n, errno := r.read(fd)
		switch errno {
		case 0:
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return false
		default:
			r.failure = errno
			return true
		}
		if r.accept(n); r.next < r.last {
			return true
		}
	}
}

// read is the system call. It never waits, so that it is a raw one: any other
// wakes the scheduler's monitor out of its sleep, once for each burst of
// packets, and its rounds of 20 µs then cost 10 % of the CPU time of a node
// that is not busy.
func (r *receiver) read(fd uintptr) (int, syscall.Errno) {
	if r.batch {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.headers)), uintptr(r.want),
			unix.MSG_DONTWAIT, 0, 0)
		return int(n), errno
	}
	for i := range r.want {
		h := &r.headers[i]
		n, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&h.Msghdr)), unix.MSG_DONTWAIT)
		if errno != 0 {
			if i > 0 {
				return i, 0 // a lasting error comes again
			}
			return 0, errno
		}
		h.length = uint32(n)
	}
	return r.want, 0
}

// accept makes arrivals of the first n messages, except those that are longer
// than any packet of ours or were cut by the kernel.
func (r *receiver) accept(n int) {
	now := time.Now()
	r.next, r.last = 0, 0
	for i := range n {
		h := &r.headers[i]
		length := int(h.length)
		a := arrival{rest: r.buffers[i][:length], segment: length, from: r.address(i), at: now}
		a.readControl(r.control[i][:], int(h.Controllen))
		truncated := h.Flags&unix.MSG_TRUNC != 0
		r.prepare(i)
		if truncated || a.segment >= maxDatagram {
			continue
		}
		r.arrivals[r.last] = a
		r.last++
	}
}

// readControl takes the segment size and the time out of the control messages
// (cmsg(3)). at holds the present time before.
func (a *arrival) readControl(words controlBytes, length int) {
	control := words.bytes()[:length]
	const header = unix.SizeofCmsghdr
	for len(control) >= header {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		size := int(h.Len)
		if size < header || size > len(control) {
			return
		}
		data := control[header:size]
		switch {
		case h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && len(data) >= 4:
			if n := int(int32(binary.NativeEndian.Uint32(data))); n > 0 && n < a.segment {
				a.segment = n
			}
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPNS && len(data) >= int(unsafe.Sizeof(unix.Timespec{})):
			a.at = stamped(a.at, (*unix.Timespec)(unsafe.Pointer(&data[0])).Nano())
		}
		const align = int(unsafe.Sizeof(uintptr(0)))
		control = control[min((size+align-1)&^(align-1), len(control)):]
	}
}

// controlBytes is a controlIn seen as bytes.
type controlBytes []uint64

func (c controlBytes) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&c[0])), 8*len(c))
}

// stamped brings a time stamp of the kernel, wall-clock nanoseconds, onto the
// monotonic clock of now. It is never in the future, and now where the wall
// clock was set in between.
func stamped(now time.Time, wall int64) time.Time {
	if waited := time.Duration(now.UnixNano() - wall); waited > 0 && waited < maxQueued {
		return now.Add(-waited)
	}
	return now
}

// deliver cuts arrivals into dst and returns how many datagrams it made.
func (r *receiver) deliver(dst []Datagram) int {
	n := 0
	for n < len(dst) && r.next < r.last {
		a := &r.arrivals[r.next]
		size := min(a.segment, len(a.rest))
		dst[n] = Datagram{Data: a.rest[:size:size], From: a.from, At: a.at}
		n++
		if a.rest = a.rest[size:]; len(a.rest) == 0 {
			r.next++
		}
	}
	return n
}

func (r *receiver) address(i int) netip.AddrPort {
	from := &r.names[i]
	if from.Family == unix.AF_INET {
		in4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(from))
		return netip.AddrPortFrom(netip.AddrFrom4(in4.Addr), networkOrder(in4.Port))
	}
	a := netip.AddrFrom16(from.Addr).Unmap()
	if from.Scope_id != 0 && a.Is6() && a.IsLinkLocalUnicast() {
		// An answer needs the interface; the string is the price of the rare case.
		a = a.WithZone(strconv.FormatUint(uint64(from.Scope_id), 10))
	}
	return netip.AddrPortFrom(a, networkOrder(from.Port))
}

// networkOrder turns a port between host and network order, in either way.
func networkOrder(p uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], p)
	return binary.BigEndian.Uint16(b[:])
}
