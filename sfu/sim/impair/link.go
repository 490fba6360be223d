// Package impair is one direction of a network path that carries real packets: the simulator's model of a link
// ([sim.LinkConfig]) without the simulator's world. It has no clock: who feeds it says what time it is, so that a program
// may run it on the wall clock between real endpoints and a test in no time at all.
//
//	link := impair.NewLink(sim.LinkConfig{Rate: 3 * unit.Mbps, Delay: 20 * time.Millisecond}, seed)
//	link.Send(now, packet)
//	for packet := link.Receive(now); packet != nil; packet = link.Receive(now) { … }
package impair

import (
	"math/rand/v2"
	"slices"
	"time"

	"sotto/sfu/sim"
)

const (
	// defaultQueue is the queue of a link that names none, as in the simulator.
	defaultQueue = 300 * time.Millisecond
	// leastQueue is what every queue holds, so that a slow link with a short queue carries packets at all.
	leastQueue = 3000 // bytes
)

// parcel is a packet under way: at is when it entered the queue, later when it arrives.
type parcel struct {
	packet []byte
	at     time.Duration
}

// Link is one direction of a path: a drop-tail queue in front of a bottleneck, then the way. All times are durations since
// an epoch of the caller's and must not go backwards. A Link is not safe for concurrent use.
type Link struct {
	config sim.LinkConfig
	rng    *rand.Rand

	queue  []parcel // in front of the bottleneck; the first is being sent
	bytes  int      // in the queue
	free   time.Duration
	flight []parcel // behind the bottleneck, by arrival
	last   time.Duration
	bad    bool // the state of the Gilbert-Elliott model

	counters Counters
}

// Counters are what a link did since it was made. Every packet sent is delivered, dropped, lost or still under way.
type Counters struct {
	SentBytes      int // offered to the link
	DeliveredBytes int
	Dropped        int // packets that the full queue turned away
	Lost           int // packets lost on the way
}

// NewLink returns an empty link. Equal seeds, configurations and packets give equal fates.
func NewLink(config sim.LinkConfig, seed uint64) *Link {
	l := &Link{rng: rand.New(rand.NewPCG(seed, 0))}
	l.Configure(0, config)
	return l
}

// Configure changes the link at now. What is in flight stays in flight; what is in the queue, the packet that is being sent
// among it, is sent at the new rate.
func (l *Link) Configure(now time.Duration, config sim.LinkConfig) {
	l.serve(now)
	l.free = max(l.free, now)
	if config.Queue == 0 {
		config.Queue = defaultQueue
	}
	l.config = config
}

// Send puts a packet on the link and takes ownership of it.
func (l *Link) Send(now time.Duration, packet []byte) {
	l.serve(now)
	l.counters.SentBytes += len(packet)
	if l.config.Rate > 0 && l.bytes+len(packet) > max(l.config.Rate.Bytes(l.config.Queue), leastQueue) {
		l.counters.Dropped++
		return
	}
	l.queue = append(l.queue, parcel{packet, now})
	l.bytes += len(packet)
	l.serve(now)
}

// Receive returns the next packet that has arrived by now, or nil.
func (l *Link) Receive(now time.Duration) []byte {
	l.serve(now)
	if len(l.flight) == 0 || l.flight[0].at > now {
		return nil
	}
	p := l.flight[0].packet
	l.flight[0] = parcel{} // the array lives on
	l.flight = l.flight[1:]
	l.counters.DeliveredBytes += len(p)
	return p
}

// Next returns when the next packet may arrive at the earliest; false if nothing is under way.
func (l *Link) Next() (at time.Duration, ok bool) {
	if len(l.flight) > 0 {
		at, ok = l.flight[0].at, true
	}
	if len(l.queue) > 0 {
		if departs := l.departure(); !ok || departs < at {
			at, ok = departs, true
		}
	}
	return at, ok
}

// QueueDelay returns how long a packet that is sent now would wait for the bottleneck.
func (l *Link) QueueDelay(now time.Duration) time.Duration {
	l.serve(now)
	if len(l.queue) == 0 {
		return 0
	}
	return l.departure() - now + l.transmission(l.bytes-len(l.queue[0].packet))
}

// Counters returns what the link did so far.
func (l *Link) Counters() Counters { return l.counters }

// serve moves what the bottleneck has sent by now onto the way.
func (l *Link) serve(now time.Duration) {
	for len(l.queue) > 0 {
		departs := l.departure()
		if departs > now {
			return
		}
		p := l.queue[0].packet
		l.queue[0] = parcel{}
		l.queue = l.queue[1:]
		l.bytes -= len(p)
		l.free = departs
		if l.loses() {
			l.counters.Lost++
			continue
		}
		l.fly(p, departs)
	}
}

// departure returns when the bottleneck has sent the first packet of the queue.
func (l *Link) departure() time.Duration {
	first := l.queue[0]
	return max(l.free, first.at) + l.transmission(len(first.packet))
}

func (l *Link) transmission(bytes int) time.Duration {
	if l.config.Rate == 0 {
		return 0
	}
	return time.Duration(float64(bytes*8) / float64(l.config.Rate) * float64(time.Second))
}

// fly lets a packet arrive after the delay and its jitter, behind those before it unless it is one of the late ones.
func (l *Link) fly(packet []byte, departs time.Duration) {
	at := departs + l.config.Delay
	if l.config.Jitter > 0 {
		at += time.Duration(l.rng.Int64N(int64(l.config.Jitter)))
	}
	l.last = max(l.last, at)
	at = l.last
	if l.config.Late > 0 && l.rng.Float64() < l.config.Late {
		at += l.config.LateBy
	}
	i := len(l.flight)
	for i > 0 && l.flight[i-1].at > at {
		i--
	}
	l.flight = slices.Insert(l.flight, i, parcel{packet, at})
}

func (l *Link) loses() bool {
	if l.config.Down {
		return true
	}
	if burst := l.config.Burst; burst.P > 0 {
		if l.bad {
			l.bad = l.rng.Float64() >= burst.R
		} else {
			l.bad = l.rng.Float64() < burst.P
		}
		if l.bad {
			return true
		}
	}
	return l.config.Loss > 0 && l.rng.Float64() < l.config.Loss
}
