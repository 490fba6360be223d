package signal

import (
	"time"

	"sotto/signal/protocol"
)

// Limits caps what clients can make grow. A zero field takes its value from
// DefaultLimits. What the protocol fixes for everybody is in package protocol.
type Limits struct {
	Sessions int // open connections of the service
	Rooms    int // rooms of the service

	// One client address: an IPv4 address or an IPv6 /64.
	AddressOpen int // connections open at a time
	AddressRate int // new connections per second
	Addresses   int // addresses remembered

	OnceTokens int // join tokens of one use remembered until they expire

	QueueMessages int // messages waiting for one client
	QueueBytes    int // bytes waiting for one client

	ResumeMessages int // envelopes kept for one client's next connection
	ResumeBytes    int // bytes of these

	MessageRate, MessageBurst int // messages from one client per second, at once
	ByteRate, ByteBurst       int // bytes from one client per second, at once

	BadMessages int // messages from one client that may break a rule of the decoder

	ConnectTimeout time.Duration // until the first message
	MessageTimeout time.Duration // from the first to the last byte of a message
	ResumeTimeout  time.Duration // a member without a connection, and the rebuilding after a restart
	PingInterval   time.Duration // between pings, and for each answer
	MediaTimeout   time.Duration // for one request to the media node, shorter than the page waits for its answer
	MediaGrace     time.Duration // without the media node's events, until its sessions are taken as ended
}

// DefaultLimits returns the table of caps.
func DefaultLimits() Limits {
	return Limits{
		Sessions:       10_000,
		Rooms:          5_000,
		AddressOpen:    32,
		AddressRate:    10,
		Addresses:      1 << 16,
		OnceTokens:     1 << 16,
		QueueMessages:  256,
		QueueBytes:     1 << 20,
		ResumeMessages: 512,
		ResumeBytes:    1 << 20, // two of the largest bundles
		BadMessages:    3,
		MessageRate:    protocol.MessageRate,
		MessageBurst:   protocol.MessageBurst,
		ByteRate:       protocol.ByteRate,
		ByteBurst:      protocol.ByteBurst,
		ConnectTimeout: protocol.ConnectTimeout,
		MessageTimeout: 15 * time.Second,
		ResumeTimeout:  protocol.ResumeTimeout,
		PingInterval:   protocol.PingInterval,
		MediaTimeout:   5 * time.Second,
		MediaGrace:     10 * time.Second,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	for _, f := range []struct{ set, standard *int }{
		{&l.Sessions, &d.Sessions},
		{&l.Rooms, &d.Rooms},
		{&l.AddressOpen, &d.AddressOpen},
		{&l.AddressRate, &d.AddressRate},
		{&l.Addresses, &d.Addresses},
		{&l.OnceTokens, &d.OnceTokens},
		{&l.QueueMessages, &d.QueueMessages},
		{&l.QueueBytes, &d.QueueBytes},
		{&l.ResumeMessages, &d.ResumeMessages},
		{&l.ResumeBytes, &d.ResumeBytes},
		{&l.BadMessages, &d.BadMessages},
		{&l.MessageRate, &d.MessageRate},
		{&l.MessageBurst, &d.MessageBurst},
		{&l.ByteRate, &d.ByteRate},
		{&l.ByteBurst, &d.ByteBurst},
	} {
		if *f.set <= 0 {
			*f.set = *f.standard
		}
	}
	for _, f := range []struct{ set, standard *time.Duration }{
		{&l.ConnectTimeout, &d.ConnectTimeout},
		{&l.MessageTimeout, &d.MessageTimeout},
		{&l.ResumeTimeout, &d.ResumeTimeout},
		{&l.PingInterval, &d.PingInterval},
		{&l.MediaTimeout, &d.MediaTimeout},
		{&l.MediaGrace, &d.MediaGrace},
	} {
		if *f.set <= 0 {
			*f.set = *f.standard
		}
	}
	return l
}

// announced is what hello says of the limits.
func (l Limits) announced() protocol.Limits {
	a := protocol.DefaultLimits()
	a.MessageRate, a.MessageBurst = l.MessageRate, l.MessageBurst
	a.ByteRate, a.ByteBurst = l.ByteRate, l.ByteBurst
	a.ConnectTimeout = int(l.ConnectTimeout.Milliseconds())
	a.PingInterval = int(l.PingInterval.Milliseconds())
	a.ResumeTimeout = int(l.ResumeTimeout.Milliseconds())
	return a
}
