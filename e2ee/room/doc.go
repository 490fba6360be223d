// Package room is a participant's end of an encrypted room: the membership of
// package group, the media keys that follow from it, and whose key opens which
// frame. It is a pure state machine for native clients: events go in as method
// calls with the time, actions come out as values. No clock, no goroutine, no
// I/O.
//
//	signaling: Welcome, PeerJoined, Envelope, Slots, … ─┐
//	media:     Open(mid, frame) ────────────────────────┤ Room ─→ Actions
//	person:    Send, Admit, Kick, SetPolicy, … ─────────┤
//	time:      Tick ────────────────────────────────────┘
//
// A frame reaches the decoder only if it is an SFrame frame whose KID names an
// epoch of the group, the leaf which in that epoch is the connection, and the
// context which is the source, that signaling put into the receiving m-line; if
// its tag verifies and its counter is new. There is no other way through.
//
// A Room belongs to one goroutine. Only the senders it hands out are safe to use
// from others. When the participation is over, make a new Room with a new
// connection id: a connection id never comes back.
package room
