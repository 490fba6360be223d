// Package pace spreads the packets to one subscriber over time, so that a key frame does not flood the link, and sheds
// what has waited too long.
//
// A packet that fits the budget is not delayed: Push and Pop in the same call hand it through. What exceeds the budget
// leaves in slices of a few milliseconds' worth, so that runs of packets stay together for segmentation offload.
package pace

import (
	"time"

	"sotto/sfu/packet"
	"sotto/sfu/unit"
)

const (
	// Slice is how much leaves at once when the budget is used up: a smaller one tears runs of packets apart, a larger
	// one fills short queues on the way.
	Slice = 5 * time.Millisecond
	// Burst is how much unused budget is kept: two frame intervals at 25 frames/s, so that a stream whose rate is within the
	// budget is never delayed although its frames come at once, and the first of a key frame are out at once. No more than
	// short queues on the way hold, and behind it nothing leaves faster than the path carries: faster gains nothing, and a
	// key frame that overflows a queue is a key frame lost.
	Burst = 80 * time.Millisecond
	// MaxDelay is the longest that a packet may have to wait; more is shed. Key frames of 12 times a frame take half of it,
	// and what follows them waits behind.
	MaxDelay = time.Second
	// MaxQueue bounds the packets of a queue: half a second at 20 Mbit/s.
	MaxQueue = 1024

	// firstQueue is the queue's first size; it doubles as needed up to MaxQueue.
	firstQueue = 16
)

// Item is a packet that waits. It copies what must be known about the packet after the ring has overwritten it.
type Item struct {
	packet.Outgoing
	Slot       uint16 // which stream of the subscriber
	Rung       int8
	TID        uint8
	Start, Key bool // of its frame
	Held       bool // of one that Pop returns: an earlier Pop let it wait
	Size       int  // bytes on the wire
}

// NewItem returns the item for an outgoing packet of size bytes; its Packet and Ext must be set.
func NewItem(o packet.Outgoing, slot uint16, size int) Item {
	p := o.Packet
	return Item{Outgoing: o, Slot: slot, Rung: p.Layer, TID: p.TID, Start: p.Start, Key: p.Key, Size: size}
}

// Stale reports whether the ring has overwritten the packet: it must not be sent, since the bytes are another packet's.
func (it *Item) Stale() bool { return it.Packet.ExtSeq != it.Ext }

// Pacer is the queue to one subscriber. Not safe for concurrent use. It allocates only while its queue grows.
type Pacer struct {
	rate   unit.Bitrate
	credit float64 // bytes that may leave now; negative after a bypass or the last packet of a slice
	filled time.Time
	wait   time.Time // end of the pause between slices; zero: none

	queue  []Item // ring, length a power of two
	head   int
	length int
	held   int // of them a Pop let wait, from the head on
	bytes  int

	skips []skip // streams whose frames were shed and may still be arriving
}

// New returns a pacer for a budget.
func New(now time.Time, budget unit.Bitrate) Pacer {
	p := Pacer{filled: now}
	p.SetBudget(now, budget)
	p.credit = p.burst()
	return p
}

// SetBudget sets the rate that the path carries.
func (p *Pacer) SetBudget(now time.Time, budget unit.Bitrate) {
	p.fill(now)
	p.rate = budget
	p.credit = min(p.credit, p.burst())
}

func (p *Pacer) burst() float64 { return float64(p.rate.Bytes(Burst)) }

func (p *Pacer) fill(now time.Time) {
	if d := now.Sub(p.filled); d > 0 {
		p.credit = min(p.credit+float64(p.rate)*d.Seconds()/8, p.burst())
		p.filled = now
	}
}

// Bypass counts bytes that leave without waiting: audio and retransmissions.
func (p *Pacer) Bypass(now time.Time, bytes int) {
	p.fill(now)
	p.credit = max(p.credit-float64(bytes), -p.burst()) // the debt is bounded: video must not starve for ever
}

// Pass reports whether a packet of size bytes may leave at once because nothing waits and the budget has room, and counts
// it if so. It is Push and Pop in one for the usual case.
func (p *Pacer) Pass(now time.Time, size int) bool {
	if p.length > 0 || len(p.skips) > 0 || now.Before(p.wait) {
		return false
	}
	p.fill(now)
	if p.credit <= 0 {
		return false
	}
	p.credit -= float64(size)
	return true
}

// Push appends a packet. It reports false, and drops the packet, when the queue is full or the packet belongs to what
// was shed.
func (p *Pacer) Push(it Item) bool {
	if len(p.skips) > 0 && p.skipped(&it) {
		return false
	}
	if p.length == len(p.queue) {
		if p.length >= MaxQueue {
			return false
		}
		p.grow()
	}
	p.queue[(p.head+p.length)&(len(p.queue)-1)] = it
	p.length++
	p.bytes += it.Size
	return true
}

func (p *Pacer) grow() {
	queue := make([]Item, max(2*len(p.queue), firstQueue))
	for i := range p.length {
		queue[i] = *p.at(i)
	}
	p.queue, p.head = queue, 0
}

func (p *Pacer) at(i int) *Item { return &p.queue[(p.head+i)&(len(p.queue)-1)] }

// Pop returns the next packet that may leave now. The caller checks whether it is Stale.
func (p *Pacer) Pop(now time.Time) (Item, bool) {
	if p.length == 0 || now.Before(p.wait) {
		p.held = p.length
		return Item{}, false
	}
	p.fill(now)
	if p.credit <= 0 {
		p.held = p.length
		p.wait = now.Add(p.until(float64(p.rate.Bytes(Slice))))
		return Item{}, false
	}
	p.wait = time.Time{}
	it := *p.at(0)
	it.Held = p.held > 0
	p.held = max(p.held-1, 0)
	*p.at(0) = Item{} // let go of the packet
	p.head = (p.head + 1) & (len(p.queue) - 1)
	p.length--
	p.bytes -= it.Size
	p.credit -= float64(it.Size)
	return it, true
}

// until returns how long it takes to have so much credit; a paused budget is asked again after a while.
func (p *Pacer) until(credit float64) time.Duration {
	if p.rate <= 0 {
		return MaxDelay
	}
	d := time.Duration((credit - p.credit) * 8 / float64(p.rate) * float64(time.Second))
	return min(max(d, time.Millisecond), MaxDelay)
}

// Next returns when Pop may have something; zero is never.
func (p *Pacer) Next() time.Time {
	if p.length == 0 {
		return time.Time{}
	}
	return p.wait
}

// Len returns how many packets wait.
func (p *Pacer) Len() int { return p.length }

// Delay returns how long the last packet will wait.
func (p *Pacer) Delay() time.Duration {
	if p.length == 0 {
		return 0
	}
	if p.rate <= 0 {
		return 2 * MaxDelay
	}
	return time.Duration(float64(p.bytes*8) / float64(p.rate) * float64(time.Second))
}
