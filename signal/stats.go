package signal

import (
	"sync/atomic"

	"sotto/signal/blob"
	"sotto/signal/delivery"
	"sotto/signal/protocol"
)

// Stats is a snapshot of the service's counters. Maps have the same keys in
// every snapshot, so that a series never appears late.
type Stats struct {
	Sessions int // open WebSocket connections
	Members  int // participants in rooms
	Away     int // of them without a connection at the moment
	Rooms    int
	Groups   int // rooms with a group

	Joins    map[string]uint64 // connects by result: "ok" or an error code
	Resumes  map[string]uint64 // connects that resume: "ok", "lost" after a restart, or an error code
	Offers   map[string]uint64 // negotiations by result: "ok" or an error code
	Refused  map[string]uint64 // requests refused before the upgrade, by reason
	Left     map[string]uint64 // members that left, by reason of peer_left
	Errors   map[string]uint64 // errors sent to clients, by code
	Dropped  map[string]uint64 // envelopes dropped, by reason
	Group    map[string]uint64 // creates, key packages and commits by result: "ok" or why they were refused
	Tickets  map[string]uint64 // tickets shown after a restart: "ok" or "forged"
	Messages uint64            // text messages received

	Envelopes     uint64 // envelopes accepted for relaying
	EnvelopesSent uint64 // copies queued to receivers
	EnvelopeBytes uint64 // bytes of those copies
	SlowReaders   uint64 // connections closed because they read too slowly

	Files blob.Stats // of the file store, empty without one
}

// Reasons of Stats.Refused.
const (
	refusedOrigin      = "origin"
	refusedHandshake   = "handshake"
	refusedAddressOpen = "address_open"
	refusedAddressRate = "address_rate"
	refusedFull        = "full"
	refusedShutdown    = "shutdown"
)

// Results of Stats.Resumes besides error codes.
const (
	resumedOK   = "ok"
	resumedLost = "lost"
)

// Reasons of Stats.Dropped.
const (
	droppedNoReceiver = "no_receiver" // addressed to a connection that is not there
	droppedNotMember  = "not_member"  // an application message by a connection that is no member connection
	droppedType       = "unsupported" // a type that is not relayed
	droppedInvalid    = "invalid"     // no envelope, or another sender's
	droppedLog        = "log_failed"  // the log took nothing
)

// Result of Stats.Group besides delivery's refusals.
const groupOK = "ok"

// Results of Stats.Tickets.
const (
	ticketOK     = "ok"
	ticketForged = "forged"
)

// tally counts by a fixed set of names. Safe for concurrent use.
type tally map[string]*atomic.Uint64

func newTally(names ...string) tally {
	t := make(tally, len(names))
	for _, n := range names {
		t[n] = new(atomic.Uint64)
	}
	return t
}

func newCodeTally(more ...string) tally {
	for _, c := range protocol.Codes() {
		more = append(more, string(c))
	}
	return newTally(more...)
}

// add counts one. Every name is in the set; anything else is a fault of this
// package and counts nowhere.
func (t tally) add(name string) {
	if c := t[name]; c != nil {
		c.Add(1)
	}
}

func (t tally) snapshot() map[string]uint64 {
	m := make(map[string]uint64, len(t))
	for n, c := range t {
		m[n] = c.Load()
	}
	return m
}

// counters are what sessions and rooms count. Safe for concurrent use.
type counters struct {
	joins, resumes, offers, refused, left, errors, dropped tally
	group, tickets                                         tally
	messages, envelopes, copies, bytes, slow               atomic.Uint64
}

func newCounters() *counters {
	results := []string{groupOK}
	for _, r := range delivery.Refusals() {
		results = append(results, string(r))
	}
	return &counters{
		group:   newTally(results...),
		tickets: newTally(ticketOK, ticketForged),
		joins:   newCodeTally("ok"),
		resumes: newCodeTally(resumedOK, resumedLost),
		offers:  newCodeTally("ok"),
		refused: newTally(refusedOrigin, refusedHandshake, refusedAddressOpen, refusedAddressRate, refusedFull, refusedShutdown),
		left:    newTally(protocol.LeftLeave, protocol.LeftGone, protocol.LeftKicked, protocol.LeftError),
		errors:  newCodeTally(),
		dropped: newTally(droppedNoReceiver, droppedNotMember, droppedType, droppedInvalid, droppedLog),
	}
}
