package main

import (
	"net"
	"syscall"
)

// fileLimit is how many files the process may have open.
func fileLimit() (uint64, bool) {
	var l syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	return l.Cur, err == nil
}

// clockSynced reports whether something keeps the clock right (adjtimex(2)).
func clockSynced() (synced, known bool) {
	const unsynchronised = 0x40 // STA_UNSYNC
	var t syscall.Timex
	_, err := syscall.Adjtimex(&t)
	return t.Status&unsynchronised == 0, err == nil
}

// socketBuffers asks for buffers and returns what the kernel grants, in bytes.
func socketBuffers(c *net.UDPConn, size int) (receive, send int, known bool) {
	_ = c.SetReadBuffer(size)
	_ = c.SetWriteBuffer(size)
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, 0, false
	}
	var errs [2]error
	err = raw.Control(func(fd uintptr) {
		receive, errs[0] = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF)
		send, errs[1] = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF)
	})
	// The kernel doubles what it is asked for, and says so (socket(7)).
	return receive / 2, send / 2, err == nil && errs[0] == nil && errs[1] == nil
}

// freeBytes is the space that is left for ordinary users.
func freeBytes(dir string) (uint64, bool) {
	var s syscall.Statfs_t
	err := syscall.Statfs(dir, &s)
	return s.Bavail * uint64(s.Bsize), err == nil
}
