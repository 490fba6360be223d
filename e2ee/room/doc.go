// Package room is a member's view of an encrypted room: who is there, whose key
// opens which frame, and what has to be told to the others. It is a pure state
// machine for native clients: events go in as method calls with the time,
// actions come out as values. No clock, no goroutine, no I/O, no randomness.
//
//	signaling: Welcome, PeerJoined, PeerLeft, Envelope, Slots ─┐
//	media:     Open(mid, frame) ───────────────────────────────┤ Room ─→ Actions
//	time:      Tick ───────────────────────────────────────────┘
//
// A frame reaches the decoder only if it is an SFrame frame whose KID names the
// leaf of the connection, and the context of the source, that signaling put
// into the receiving m-line, if its tag verifies and its counter is new. There
// is no other way through.
//
// A Room belongs to one goroutine. Only the senders it hands out are safe to use
// from others. After the signaling connection is lost, make a new Room with a
// new connection id and new randomness: a connection id never comes back.
package room
