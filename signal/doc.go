// Package signal is the signaling service: it admits participants to rooms,
// relays their sealed envelopes in one order per room, and carries their
// session descriptions, wishes and mute states to a media node.
//
// A [Server] is an http.Handler for the WebSocket endpoint; PROTOCOL.md in
// package protocol says what it speaks. It holds no key: admission is a
// signature check, envelopes are relayed by their clear header, names never
// reach it.
//
//	browser <- WebSocket -> session -> room -> other sessions
//	                           |
//	                           +-> Media (a media node) -> events -> session
//
// Goroutines of a session: the HTTP handler's reads, one writes, one pings,
// and one runs while a request to the media node is open.
//
// Locks, in the order in which they may be taken:
//
//   - Server.mu: the registry of rooms, sessions and client addresses.
//   - negotiation.mu: what a session wants of the media node.
//   - room.mu: members, leaves, the order number. Everything that goes to
//     several members is queued under it, which makes the order one for all.
//   - queue.mu: the messages that wait for one client.
//
// None is held during I/O or a call to the media node.
package signal
