package signal

import (
	"time"

	"sotto/signal/protocol"
)

// Limits caps what clients can make grow. A zero field takes its value from
// DefaultLimits.
type Limits struct {
	Sessions int // open connections of the service
	Rooms    int // rooms of the service

	// One client address: an IPv4 address or an IPv6 /64. Loopback is a proxy
	// or a developer and not limited.
	AddressOpen int // connections open at a time
	AddressRate int // new connections per second

	QueueMessages int // messages waiting for one client
	QueueBytes    int // bytes waiting for one client

	MessageRate, MessageBurst int // messages from one client per second, at once
	ByteRate, ByteBurst       int // bytes from one client per second, at once

	ConnectTimeout time.Duration // until the first message
	PingInterval   time.Duration // between pings, and for each answer
	MediaTimeout   time.Duration // for one request to the media node
}

// DefaultLimits returns the table of caps.
func DefaultLimits() Limits {
	return Limits{
		Sessions:       10_000,
		Rooms:          5_000,
		AddressOpen:    32,
		AddressRate:    10,
		QueueMessages:  256,
		QueueBytes:     1 << 20,
		MessageRate:    protocol.MessageRate,
		MessageBurst:   protocol.MessageBurst,
		ByteRate:       protocol.ByteRate,
		ByteBurst:      protocol.ByteBurst,
		ConnectTimeout: protocol.ConnectTimeout,
		PingInterval:   protocol.PingInterval,
		MediaTimeout:   mediaTimeout,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	for _, f := range []struct{ set, standard *int }{
		{&l.Sessions, &d.Sessions},
		{&l.Rooms, &d.Rooms},
		{&l.AddressOpen, &d.AddressOpen},
		{&l.AddressRate, &d.AddressRate},
		{&l.QueueMessages, &d.QueueMessages},
		{&l.QueueBytes, &d.QueueBytes},
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
		{&l.PingInterval, &d.PingInterval},
		{&l.MediaTimeout, &d.MediaTimeout},
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
	return a
}
