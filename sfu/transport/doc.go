// Package transport is the server's media transport: one UDP socket and one
// ICE-TCP listener per shard, ICE-lite, a DTLS server and the SRTP contexts of
// every session, on pion's lower layers (stun, dtls, srtp, sdp) and a socket
// of our own. No other server package imports those.
//
//	          Bind.ReadBatch                    Bind.WriteBatch
//	UDP ──────────┐                                  ▲
//	              ├─► Endpoint.Read ─► Receive ─┬─ STUN: checked, answered
//	TCP ─ inbox ──┘   (shard goroutine)         ├─ DTLS: guard ─► dtls.Conn ─► keys
//	                                            └─ SRTP: decrypted in place ─► Inbound
//
// An Endpoint belongs to the goroutine of its shard; only ServeTCP, Wake (of
// the Bind) and NewCredentials may be called from elsewhere, and Outboxes may
// be used by other goroutines while that of the shard waits. The time comes in
// as a parameter; only goroutines of DTLS and ICE-TCP look at the clock. Locks,
// none of them on the way of a UDP packet: the queue of finished handshakes,
// the list of ICE-TCP connections, the write queue of each, and the path that a
// DTLS association writes to.
//
// The loop of a shard; what commands sent between two reads is flushed before
// the next one may block:
//
//	for {
//		events, next = e.Poll(now, events[:0])
//		e.Flush()
//		n, err := e.Read(datagrams, next)
//		for _, d := range datagrams[:n] {
//			if in, ok := e.Receive(d.At, d); ok {
//				// forward: Slab, marshal, SealRTP, Send
//			}
//		}
//		e.Flush()
//	}
//
// At the end: Shutdown, then Close of the Bind.
//
// Nothing is sent to an address that did not first pass an integrity-checked
// STUN request of a session that signaling opened. Candidates of the remote
// side are ignored (ICE-lite, RFC 8445 2.5).
//
// # Into the kernel
//
// NewUDPBind reads with recvmmsg, UDP_GRO and the kernel's time stamps, and
// writes with sendmmsg, each run of equal datagrams as one UDP_SEGMENT message.
// What the kernel does not offer is left out at the start; a path that fails at
// run time is left for the next one (SendPath, SocketStats):
//
//	segment  --EIO, EOPNOTSUPP, or 8 runs refused in a row--> sendmmsg
//	sendmmsg --not offered at the start--> plain
//
// A run that is refused for its destination's sake (EINVAL or EMSGSIZE: a small
// MTU) goes out datagram by datagram and the path stays. A full buffer is waited
// for 1 ms, then the rest of the batch is dropped and counted (ErrBindFull), and
// for 10 ms nothing is waited for.
//
// A run begins at a longer datagram and ends at a shorter one, so the shard
// pads the packets of a frame to one length and writes audio behind video.
//
// Both system calls are raw ones that never wait: see sender.write and
// receiver.read for what any other costs. What does not help: io_uring, which
// costs what sendmmsg does.
//
// Addresses, keys, ufrags and passwords are never logged: the package has no
// logger, it counts.
package transport
