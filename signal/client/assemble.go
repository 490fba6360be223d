package client

import (
	"time"

	"sotto/e2ee/sframe"
)

// How many packets an assembler holds: 2 s of 4 Mbit/s of video, 2.5 s of audio.
const (
	windowVideo = 1024
	windowAudio = 128
)

// maxFrame caps an assembled frame, in bytes.
const maxFrame = 4 << 20

// arrival is one RTP packet as an assembler takes it. Payload is without descriptor and RTP padding and is copied.
type arrival struct {
	seq        uint16
	ts         uint32
	start, end bool // first and last packet of a frame
	last       bool // last packet of a picture, which may have a frame of each spatial layer
	codec      sframe.Codec
	payload    []byte
}

// assembledFrame is a complete frame. data is valid until the next call of the assembler.
type assembledFrame struct {
	ts    uint32
	data  []byte
	codec sframe.Codec
	last  bool // of its picture
	// after says that packets before this frame were given up.
	after bool
}

// assemblerStats counts what an assembler did.
type assemblerStats struct {
	Packets    uint64 // taken
	Duplicates uint64 // seen before
	Late       uint64 // arrived after they were given up
	Lost       uint64 // never arrived in time
	Incomplete uint64 // arrived, but belonged to a frame with lost packets
}

// assembler puts the packets of one stream into order and cuts them into frames. It waits for a missing packet, so that a
// retransmission can fill the hole, and gives it up after wait. Pure: the time is passed in.
type assembler struct {
	wait  time.Duration
	slots []assemblerSlot
	spare [][]byte // payload buffers to use again: only packets that wait take memory

	started bool
	next    uint64 // the packet that is due; everything before is done with
	highest uint64
	after   bool
	frame   []byte
	stats   assemblerStats
}

type assemblerSlot struct {
	number     uint64 // extended sequence number; 0 = empty
	at         time.Time
	ts         uint32
	start, end bool
	last       bool
	codec      sframe.Codec
	payload    []byte
}

func newAssembler(window int, wait time.Duration) *assembler {
	return &assembler{wait: wait, slots: make([]assemblerSlot, window)}
}

func (a *assembler) slot(n uint64) *assemblerSlot { return &a.slots[n%uint64(len(a.slots))] }

// push takes a packet. Frames that became complete come from pop.
func (a *assembler) push(now time.Time, p arrival) {
	n := a.extend(p.seq)
	if n < a.next {
		// Duplicates of finished frames (probes are made of them) and late packets look alike; the slot tells.
		if s := a.slot(n); s.number == n {
			a.stats.Duplicates++
		} else {
			a.stats.Late++
		}
		return
	}
	if window := uint64(len(a.slots)); n >= a.next+window {
		a.giveUp(n - window + 1)
	}
	s := a.slot(n)
	if s.number == n {
		a.stats.Duplicates++
		return
	}
	var buf []byte
	if last := len(a.spare) - 1; last >= 0 {
		buf, a.spare = a.spare[last], a.spare[:last]
	}
	*s = assemblerSlot{number: n, at: now, ts: p.ts, start: p.start, end: p.end, last: p.last, codec: p.codec, payload: append(buf, p.payload...)}
	a.highest = max(a.highest, n)
	a.stats.Packets++
}

// extend unwraps a sequence number around the highest one.
func (a *assembler) extend(seq uint16) uint64 {
	if !a.started {
		a.started = true
		a.highest = 1<<16 + uint64(seq) // room below for reordering; never 0
		a.next = a.highest
		return a.highest
	}
	return a.highest + uint64(int64(int16(seq-uint16(a.highest))))
}

// pop returns the next frame in sequence order, or false when none is complete yet.
func (a *assembler) pop(now time.Time) (assembledFrame, bool) {
	for a.next <= a.highest && a.started {
		s := a.at(a.next)
		switch {
		case s == nil:
			if !a.overdue(now, a.next) {
				return assembledFrame{}, false
			}
			a.giveUp(a.nextStart(a.next))
		case len(s.payload) == 0: // padding: only its number counts
			a.free(s)
			a.next++
		case !s.start: // the rest of a frame whose beginning is gone
			a.giveUp(a.nextStart(a.next))
		default:
			end, found := a.end(a.next)
			switch {
			case found == frameComplete:
				f := assembledFrame{ts: s.ts, codec: s.codec, last: a.at(end).last, after: a.after}
				f.data = a.join(a.next, end)
				a.after = false
				a.next = end + 1
				return f, true
			case found == frameBroken:
				a.giveUp(end)
			case found == frameHole && a.overdue(now, end):
				a.giveUp(a.nextStart(end))
			default:
				return assembledFrame{}, false
			}
		}
	}
	return assembledFrame{}, false
}

func (a *assembler) at(n uint64) *assemblerSlot {
	if s := a.slot(n); s.number == n {
		return s
	}
	return nil
}

// overdue reports whether the packet n is missing for longer than wait: a later one arrived that long ago.
func (a *assembler) overdue(now time.Time, n uint64) bool {
	for k := n + 1; k <= a.highest; k++ {
		if s := a.at(k); s != nil && now.Sub(s.at) >= a.wait {
			return true
		}
	}
	return false
}

// frameState is what is known of the frame that is due.
type frameState uint8

const (
	frameOpen     frameState = iota // nothing missing so far
	frameComplete                   // end is its last packet
	frameHole                       // end is the first missing packet
	frameBroken                     // end is a packet of another frame, though no marker came
)

// end walks the frame that starts at n.
func (a *assembler) end(n uint64) (end uint64, _ frameState) {
	ts := a.at(n).ts
	size := 0
	for k := n; k <= a.highest; k++ {
		s := a.at(k)
		if s == nil {
			return k, frameHole
		}
		if size += len(s.payload); s.ts != ts || (k > n && s.start) || size > maxFrame {
			return k, frameBroken
		}
		if s.end {
			return k, frameComplete
		}
	}
	return 0, frameOpen
}

// nextStart returns the first packet after n that begins a frame, or one past the highest.
func (a *assembler) nextStart(n uint64) uint64 {
	for k := n + 1; k <= a.highest; k++ {
		if s := a.at(k); s != nil && s.start {
			return k
		}
	}
	return a.highest + 1
}

// giveUp moves on to packet n.
func (a *assembler) giveUp(n uint64) {
	for ; a.next < n; a.next++ {
		s := a.at(a.next)
		if s == nil {
			a.stats.Lost++
			continue
		}
		if len(s.payload) > 0 {
			a.stats.Incomplete++
		}
		a.free(s)
	}
	a.after = true
}

func (a *assembler) join(from, to uint64) []byte {
	a.frame = a.frame[:0]
	for k := from; k <= to; k++ {
		s := a.at(k)
		a.frame = append(a.frame, s.payload...)
		a.free(s)
	}
	return a.frame
}

// free takes the payload of a packet that is done with; its number stays, to tell duplicates.
func (a *assembler) free(s *assemblerSlot) {
	if cap(s.payload) > 0 {
		a.spare = append(a.spare, s.payload[:0])
	}
	s.payload = nil
}
