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
// the Bind) and NewCredentials may be called from elsewhere. The time comes in
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
// Addresses, keys, ufrags and passwords are never logged: the package has no
// logger, it counts.
package transport
