// Package signal is the signaling service: it admits participants to rooms,
// relays their sealed envelopes in one order per room, and carries their
// session descriptions, wishes and mute states to a media node.
//
// A [Server] is an http.Handler for the WebSocket endpoint; PROTOCOL.md in
// package protocol says what it speaks. It holds no key: admission is a
// signature check and, where rooms are not open, a join token; envelopes are
// relayed by their clear header, names never reach it.
//
//	browser <- WebSocket -> session -> member of a room -> other members
//	                                        |
//	                                        +-> Media (a media node) -> events -> member
//
// A member outlives its session: a lost WebSocket is replaced by another that
// brings the member's resume token, and the others hear nothing of it. With
// Config.ResumeKey members outlive the service too: a new one takes them back
// one by one, together with the media sessions that the node has carried on.
//
// Goroutines of a session: the HTTP handler's reads, one writes, one pings.
// Of a member: one runs while a request to the media node is open. Of a
// server: one reads the node's events, one ends the time after a restart.
//
// Locks, in the order in which they may be taken:
//
//   - Server.mu: the registry of rooms, sessions and client addresses, and
//     what is known of participants before a restart.
//   - negotiation.mu: what a member wants of the media node.
//   - room.mu: members, leaves, the order number. Everything that goes to
//     several members is queued under it, which makes the order one for all.
//   - queue.mu: the messages that wait for one client.
//
// None is held during I/O or a call to the media node.
package signal
