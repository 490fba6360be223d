package sim

import (
	"time"

	"sotto/sfu/unit"
)

// LinkConfig describes one direction of a path. The zero Rate is unlimited.
type LinkConfig struct {
	Rate   unit.Bitrate
	Delay  time.Duration // one way, without queue
	Queue  time.Duration // drop-tail, at the rate of the moment; 0 is 300 ms
	Jitter time.Duration // up to so much more delay, uniform; order is kept
	Late   float64       // share of packets that come LateBy later than their order, 0-1
	LateBy time.Duration
	Loss   float64 // independent, 0-1
	Burst  GilbertElliott
	Down   bool // loses everything
}

// GilbertElliott is loss in bursts: a good state without loss and a bad one that loses every packet. P is the chance to go
// bad with a packet, R the chance to become good again; the mean loss is P/(P+R). The zero value is off.
type GilbertElliott struct{ P, R float64 }

const defaultQueue = 300 * time.Millisecond

// parcel is a packet under way.
type parcel struct {
	size    int
	at      time.Duration // entered
	deliver func()
}

// Link is one direction of a path with a queue in front of the bottleneck. Several flows may share it.
type Link struct {
	LinkConfig
	w       *World
	queue   []parcel
	bytes   int
	serving bool
	bad     bool
	last    time.Duration // of the last delivery, to keep the order

	delivered int           // bytes, since the last line
	dropped   int           // packets, in all
	wait      time.Duration // that the last packet waited in the queue
}

func newLink(w *World, c LinkConfig) *Link {
	if c.Queue == 0 {
		c.Queue = defaultQueue
	}
	return &Link{LinkConfig: c, w: w}
}

// send puts a packet of size bytes on the link; lost, if not nil, is called when the queue or the link loses it.
func (l *Link) send(size int, deliver, lost func()) {
	if l.Rate > 0 && l.bytes+size > max(l.Rate.Bytes(l.Queue), 3000) {
		l.dropped++
		if lost != nil {
			lost()
		}
		return
	}
	l.queue = append(l.queue, parcel{size, l.w.now, deliver})
	l.bytes += size
	if !l.serving {
		l.serve()
	}
}

func (l *Link) serve() {
	l.serving = len(l.queue) > 0
	if !l.serving {
		return
	}
	p := l.queue[0]
	l.queue = l.queue[1:]
	l.wait = l.w.now - p.at
	var takes time.Duration
	if l.Rate > 0 {
		takes = time.Duration(float64(p.size*8) / float64(l.Rate) * float64(time.Second))
	}
	l.w.at(l.w.now+takes, func() {
		l.bytes -= p.size
		l.delivered += p.size
		if !l.loses() {
			arrive := l.w.now + l.Delay
			if l.Jitter > 0 {
				arrive += time.Duration(l.w.rng.Int64N(int64(l.Jitter)))
			}
			l.last = max(l.last, arrive)
			arrive = l.last
			if l.Late > 0 && l.w.rng.Float64() < l.Late {
				arrive += l.LateBy
			}
			l.w.at(arrive, p.deliver)
		}
		l.serve()
	})
}

func (l *Link) loses() bool {
	if l.Down {
		return true
	}
	if l.Burst.P > 0 {
		if l.bad {
			l.bad = l.w.rng.Float64() >= l.Burst.R
		} else {
			l.bad = l.w.rng.Float64() < l.Burst.P
		}
		if l.bad {
			return true
		}
	}
	return l.Loss > 0 && l.w.rng.Float64() < l.Loss
}

// stall holds everything that arrives within d back until then, as a receiver that is not scheduled does.
func (l *Link) stall(d time.Duration) { l.last = max(l.last, l.w.now+l.Delay+d) }

// constant sends packets at a constant rate until end, as a stream that does not yield.
func (l *Link) constant(rate unit.Bitrate, end time.Duration) {
	const size = 1200
	gap := time.Duration(float64(size*8) / float64(rate) * float64(time.Second))
	var next func()
	next = func() {
		if l.w.now < end {
			l.send(size, func() {}, nil)
			l.w.at(l.w.now+gap, next)
		}
	}
	next()
}

// browse fetches files of 30 to 50 kB over TCP until end, each after a pause of 10 s in the mean (RFC 8867 5.7).
func (l *Link) browse(end time.Duration) {
	pause := time.Duration(l.w.rng.ExpFloat64() * float64(10*time.Second))
	l.w.at(l.w.now+pause, func() {
		l.compete(end, 30_000+l.w.rng.IntN(20_000), func() { l.browse(end) })
	})
}

// tcp is a flow with Reno's window: slow start, additive increase, halving once a round trip, time-out.
type tcp struct {
	l          *Link
	window     float64 // packets
	threshold  float64
	flight     int
	recover    time.Duration // losses of what was sent before count once
	end        time.Duration
	file       int    // bytes to send; 0: without end
	done       func() // called once they have arrived
	acked      int    // bytes
	lastAck    time.Duration
	generation int
}

// compete starts a TCP-like flow that ends at end, or when a file of so many bytes has arrived; 0 is a greedy one.
func (l *Link) compete(end time.Duration, file int, done func()) *tcp {
	t := &tcp{l: l, window: 10, threshold: 1e9, end: end, file: file, done: done, lastAck: l.w.now}
	t.fill()
	return t
}

func (t *tcp) fill() {
	const size = 1500
	for t.l.w.now < t.end && float64(t.flight) < t.window && (t.file == 0 || t.acked+t.flight*size < t.file) {
		t.flight++
		sent, generation := t.l.w.now, t.generation
		t.l.send(size, func() {
			t.l.w.at(t.l.w.now+t.l.Delay, func() { t.ack(sent, generation, size) })
		}, func() {
			// The sender learns of it by duplicate acknowledgements, a round trip later.
			t.l.w.at(t.l.w.now+2*t.l.Delay+t.l.wait, func() { t.loss(sent, generation) })
		})
	}
}

func (t *tcp) ack(sent time.Duration, generation, size int) {
	t.acked += size
	t.flight = max(t.flight-1, 0)
	if t.window < t.threshold {
		t.window++
	} else {
		t.window += 1 / t.window
	}
	t.lastAck = t.l.w.now
	if t.file != 0 && t.acked >= t.file && t.done != nil {
		t.done()
		t.done = nil
	}
	t.fill()
}

func (t *tcp) loss(sent time.Duration, generation int) {
	t.flight = max(t.flight-1, 0)
	if sent >= t.recover {
		t.threshold = max(t.window/2, 2)
		t.window, t.recover = t.threshold, t.l.w.now
	}
	t.fill()
}
