package transport

import (
	"errors"
	"fmt"
)

// Offload says how much a UDP bind asks of the kernel. What the kernel cannot
// do is left out by itself; the lower settings are for kernels and drivers that
// claim more than they do, and for measurements.
type Offload uint8

// Settings, the best first.
const (
	// OffloadAuto takes what works: UDP_SEGMENT and UDP_GRO in batches.
	OffloadAuto Offload = iota
	// OffloadSendmmsg batches system calls, one datagram a message.
	OffloadSendmmsg
	// OffloadOff makes a system call for each datagram.
	OffloadOff
)

// ErrOffload is returned for a word that names no setting.
var ErrOffload = errors.New("transport: offload is none of auto, sendmmsg, off")

// String returns the word that ParseOffload takes.
func (o Offload) String() string {
	switch o {
	case OffloadAuto:
		return "auto"
	case OffloadSendmmsg:
		return "sendmmsg"
	case OffloadOff:
		return "off"
	}
	return "unknown"
}

// ParseOffload reads a setting: auto, sendmmsg or off; empty means auto.
func ParseOffload(word string) (Offload, error) {
	if word == "" {
		return OffloadAuto, nil
	}
	for o := OffloadAuto; o <= OffloadOff; o++ {
		if word == o.String() {
			return o, nil
		}
	}
	return 0, fmt.Errorf("%w: %q", ErrOffload, word)
}

// SendPath is the way that datagrams take into the kernel.
type SendPath uint8

// Paths, the best first.
const (
	// PathSegment: sendmmsg(2) with runs of equal length as one message each.
	PathSegment SendPath = iota
	// PathSendmmsg: sendmmsg(2), one datagram a message.
	PathSendmmsg
	// PathPlain: a system call for each datagram.
	PathPlain
	// PathPortable: package net, and binds without a socket.
	PathPortable
	numSendPaths
)

// NumSendPaths is the number of paths; they are dense from 0.
const NumSendPaths = int(numSendPaths)

// String returns a fixed word, fit for a metric label.
func (p SendPath) String() string {
	switch p {
	case PathSegment:
		return "segment"
	case PathSendmmsg:
		return "sendmmsg"
	case PathPlain:
		return "plain"
	case PathPortable:
		return "portable"
	}
	return "unknown"
}

// SocketStats are the counters of a bind's sending side.
type SocketStats struct {
	Path     SendPath // now
	Messages uint64   // handed to the kernel: datagrams, or runs of them
	Calls    uint64   // system calls for them
	Refused  uint64   // runs that had to go out one by one
	Waits    uint64   // times that the socket's buffer was full
}

// socketReporter is a Bind that counts. Any goroutine may ask.
type socketReporter interface{ SocketStats() SocketStats }
