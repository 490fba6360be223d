package shard

import (
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"sotto/sfu/room"
	"sotto/sfu/transport"
)

// maxEqualize is the most padding that a packet gets to be as long as its neighbours. Encoders cut a frame into packets that
// differ by one byte (VP8, H.264) or a few (AV1); more would cost bandwidth that nobody asked for.
const maxEqualize = 8

// run is packets to one peer that become equally long, and so one message to the kernel: of one stream or of several, since
// only the order within a stream counts.
type run struct {
	low, top    uint16 // lengths
	rigid       bool   // not to be padded: only packets of this length
	streams     uint64 // a bit for each SSRC in it, several may share one
	first, last int32  // plans
	packets     int
}

// plan is what becomes of one send: its length, and the next one of its peer or, later, of its run. Indices of plans are one
// higher than those of the sends, so that 0 is none.
type plan struct {
	size uint16
	next int32
}

// lane is what one goroutine needs to send: the shard has one, and each of the Senders that help it gets another. Lanes share
// nothing that any of them changes: a batch names a peer in one of them alone.
type lane struct {
	shard  *Shard
	out    *transport.Outbox
	header rtp.Header
	runs   []run       // of one peer
	sounds []int32     // plans of its audio
	faulty []*peer     // since the last report
	lent   atomic.Bool // a sender has it, or is about to get it

	// Counters since the start, which only a lane's goroutine adds to.
	latency latencyMeter
	drops   [DropReasons]uint64
	packets uint64
	faults  uint64 // with nobody to blame
}

// serveAll sends what is for the addressed peers from one place of the turn to another.
func (l *lane) serveAll(from, to int) {
	s := l.shard
	for n := len(s.addressed); from < to; from++ {
		l.serve(s.addressed[(from+s.turn)%n])
		if l.out.Full() {
			l.flush()
		}
	}
}

// flush writes what was queued.
func (l *lane) flush() {
	if l.out.Flush() > 0 {
		l.latency.settle(time.Now())
	} else {
		l.latency.discard()
	}
}

// serve sends what is for one peer: video run by run, and behind each run one packet of audio. A shorter packet ends a message
// of the socket (udp(7), UDP_SEGMENT), so that this one costs no message of its own.
func (l *lane) serve(p *peer) {
	defer l.barrier(p)
	sends, plans := l.shard.batch.Sends, l.shard.plans
	l.runs, l.sounds = l.runs[:0], l.sounds[:0]
	for at := p.first; at != 0; {
		out, its := &sends[at-1], &plans[at-1]
		next := its.next
		its.size, its.next = uint16(out.Size(&p.outgoing)), 0
		if out.Kind == room.Audio {
			l.sounds = append(l.sounds, at)
		} else {
			l.join(at, out)
		}
		at = next
	}
	sounds := l.sounds
	for i := range l.runs {
		r := &l.runs[i]
		if l.out.Accepts(p.session, r.packets, r.packets*(int(r.top)+transport.SealOverhead)) {
			for at := r.first; at != 0; at = plans[at-1].next {
				l.send(p, at, uint8(r.top-plans[at-1].size))
			}
		}
		if len(sounds) > 0 && plans[sounds[0]-1].size < r.top {
			l.send(p, sounds[0], 0)
			sounds = sounds[1:]
		}
	}
	for _, at := range sounds {
		l.send(p, at, 0)
	}
}

// join puts a packet that is not audio into a run: the newest whose packets are about as long, but not past one that holds its
// stream, or else a new one. A few bytes of padding (RFC 3550 5.1) then make them equally long; none becomes longer than a
// packet that goes out anyway. Retransmissions and probes are not padded, nor is audio, whose length is most of its cost on
// the link.
func (l *lane) join(at int32, out *room.Send) {
	plans := l.shard.plans
	size := plans[at-1].size
	rigid := out.RTX || out.Packet == nil || out.Padding != 0
	stream := uint64(1) << (out.SSRC & 63)
	for i := len(l.runs) - 1; i >= 0; i-- {
		r := &l.runs[i]
		low, top := min(r.low, size), max(r.top, size)
		if top == low || !r.rigid && !rigid && top-low <= maxEqualize {
			r.low, r.top, r.rigid, r.streams = low, top, r.rigid || rigid, r.streams|stream
			plans[r.last-1].next = at
			r.last = at
			r.packets++
			return
		}
		if r.streams&stream != 0 {
			break
		}
	}
	l.runs = append(l.runs, run{low: size, top: size, rigid: rigid, streams: stream, first: at, last: at, packets: 1})
}

// send writes one packet into the outgoing memory and seals it, once.
func (l *lane) send(p *peer, at int32, padding uint8) {
	out := &l.shard.batch.Sends[at-1]
	out.Padding += padding
	buf := l.out.Slab(int(l.shard.plans[at-1].size) + int(padding) + transport.SealOverhead)
	total, _, err := out.Marshal(buf, &p.outgoing, &l.header)
	if err != nil {
		l.drops[DropMarshal]++
		return
	}
	n, err := l.out.SealRTP(p.session, buf[:total])
	if err != nil {
		l.drops[DropSeal]++
		return
	}
	l.out.Send(p.session, buf[:n], 0)
	l.packets++
	if !out.RTX && out.Packet != nil {
		l.latency.note(seriesOf(out), out.Packet.Arrival)
	}
}

// barrier turns a panic in the handling of p into its removal.
func (l *lane) barrier(p *peer) {
	if v := recover(); v != nil {
		l.faulty = append(l.faulty, p)
	}
}

// report gives the faults of peers to the shard.
func (l *lane) report() {
	for i, p := range l.faulty {
		l.shard.suspect(p)
		l.faulty[i] = nil
	}
	l.faulty = l.faulty[:0]
}
