// Package signal is the signaling service: it admits participants to rooms,
// relays their sealed envelopes in one order per room, decides which commit of
// a room's group comes next, and carries session descriptions, wishes and mute
// states to a media node.
//
// A [Server] is an http.Handler for the WebSocket endpoint; PROTOCOL.md in
// package protocol says what it speaks. It holds no key: admission is a
// signature check and, where rooms are not open, a join token; envelopes are
// relayed by their clear header, names never reach it.
//
//	browser <- WebSocket -> session -> member of a room -> delivery.Group -> all members
//	                                        |
//	                                        +-> Media (a media node) -> events -> member
//
// Package delivery has the rules of the group, package blob the files that
// participants send each other. Neither sees more than this one does.
//
// A member outlives its session: a lost WebSocket is replaced by another that
// brings the member's resume token, and the others hear nothing of it. With
// Config.ResumeKey members outlive the service too: a new one takes them back
// one by one, together with the media sessions that the node has carried on, and
// learns from their tickets where the room's group stood.
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
//   - room.mu: members, leaves, the group and its order. Everything that goes
//     to several members is queued under it, which makes the order one for all.
//   - queue.mu: the messages that wait for one client; blob.Store's lock.
//
// None is held during I/O or a call to the media node.
package signal
