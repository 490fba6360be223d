package transport

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// receiver holds what recvfrom(2) writes to, so that no call allocates: the
// wrappers of package syscall return a new Sockaddr for each datagram.
type receiver struct {
	from unix.RawSockaddrInet6 // the largest that a UDP socket returns
	size uint32
}

// receive takes datagrams until dst is full or the socket is empty. It
// reports false when there was none, so that RawConn.Read waits.
func (b *udpBind) receive(fd uintptr) bool {
	for b.n < len(b.dst) {
		buf := b.buffers[b.n]
		n, errno := b.receiver.recvfrom(fd, buf)
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == syscall.EAGAIN:
			return b.n > 0
		case errno != 0:
			b.failure = errno
			return true
		case n >= len(buf):
			continue // longer than any packet of ours, cut by the kernel
		}
		b.dst[b.n] = Datagram{Data: buf[:n], From: b.receiver.addr()}
		b.n++
	}
	return true
}

// recvfrom returns the full length of the datagram, even where buf is shorter
// (MSG_TRUNC).
func (r *receiver) recvfrom(fd uintptr, buf []byte) (int, syscall.Errno) {
	r.size = uint32(unsafe.Sizeof(r.from))
	n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, fd,
		uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), unix.MSG_DONTWAIT|unix.MSG_TRUNC,
		uintptr(unsafe.Pointer(&r.from)), uintptr(unsafe.Pointer(&r.size)))
	return int(n), errno
}

func (r *receiver) addr() netip.AddrPort {
	if r.from.Family == unix.AF_INET {
		in4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&r.from))
		return netip.AddrPortFrom(netip.AddrFrom4(in4.Addr), ntohs(in4.Port))
	}
	a := netip.AddrFrom16(r.from.Addr).Unmap()
	if r.from.Scope_id != 0 && a.Is6() && a.IsLinkLocalUnicast() {
		// An answer needs the interface; the string is the price of the rare case.
		a = a.WithZone(strconv.FormatUint(uint64(r.from.Scope_id), 10))
	}
	return netip.AddrPortFrom(a, ntohs(r.from.Port))
}

func ntohs(p uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], p)
	return binary.BigEndian.Uint16(b[:])
}
