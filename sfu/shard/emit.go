package shard

import (
	"time"

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

// emit marshals, seals and queues everything in the batch, peer by peer, and tells the events. What makes a full system call
// is written at once, so that the first peers of a large room do not wait for the last; the rest waits for flush.
func (s *Shard) emit(now time.Time) {
	s.address()
	s.turn++ // somebody else comes first each time, where the last ones wait or a full buffer takes no more
	for i, n := 0, len(s.addressed); i < n; i++ {
		s.serve(s.addressed[(i+s.turn)%n])
		if s.endpoint.Full() {
			s.flush()
		}
	}
	clear(s.addressed)
	s.addressed = s.addressed[:0]
	s.sendRTCP()
	for _, e := range s.batch.Events {
		s.tell(e)
	}
	s.batch.Reset()
}

// flush writes what was queued.
func (s *Shard) flush() {
	if s.endpoint.Flush() > 0 {
		s.latency.settle(time.Now())
	} else {
		s.latency.discard()
	}
}

// address makes a list of each peer's sends.
func (s *Shard) address() {
	s.plans = s.plans[:0]
	for i := range s.batch.Sends {
		s.plans = append(s.plans, plan{})
		p := s.destination(s.batch.Sends[i].To)
		if p == nil {
			s.counters.drops[DropGone]++
			continue
		}
		at := int32(i + 1)
		if p.first == 0 {
			p.first = at
			s.addressed = append(s.addressed, p)
		} else {
			s.plans[p.last-1].next = at
		}
		p.last = at
	}
}

// serve sends what is for one peer: video run by run, and behind each run one packet of audio. A shorter packet ends a message
// of the socket (udp(7), UDP_SEGMENT), so that this one costs no message of its own.
func (s *Shard) serve(p *peer) {
	first := p.first
	p.first, p.last = 0, 0
	defer s.barrier(p)
	s.runs, s.sounds = s.runs[:0], s.sounds[:0]
	for at := first; at != 0; {
		out, its := &s.batch.Sends[at-1], &s.plans[at-1]
		next := its.next
		its.size, its.next = uint16(out.Size(&p.outgoing)), 0
		if out.Kind == room.Audio {
			s.sounds = append(s.sounds, at)
		} else {
			s.join(at, out)
		}
		at = next
	}
	sounds := s.sounds
	for i := range s.runs {
		r := &s.runs[i]
		if s.endpoint.Accepts(p.session, r.packets, r.packets*(int(r.top)+transport.SealOverhead)) {
			for at := r.first; at != 0; at = s.plans[at-1].next {
				s.send(p, at, uint8(r.top-s.plans[at-1].size))
			}
		}
		if len(sounds) > 0 && s.plans[sounds[0]-1].size < r.top {
			s.send(p, sounds[0], 0)
			sounds = sounds[1:]
		}
	}
	for _, at := range sounds {
		s.send(p, at, 0)
	}
}

// join puts a packet that is not audio into a run: the newest whose packets are about as long, but not past one that holds its
// stream, or else a new one. A few bytes of padding (RFC 3550 5.1) then make them equally long; none becomes longer than a
// packet that goes out anyway. Retransmissions and probes are not padded, nor is audio, whose length is most of its cost on
// the link.
func (s *Shard) join(at int32, out *room.Send) {
	size := s.plans[at-1].size
	rigid := out.RTX || out.Packet == nil || out.Padding != 0
	stream := uint64(1) << (out.SSRC & 63)
	for i := len(s.runs) - 1; i >= 0; i-- {
		r := &s.runs[i]
		low, top := min(r.low, size), max(r.top, size)
		if top == low || !r.rigid && !rigid && top-low <= maxEqualize {
			r.low, r.top, r.rigid, r.streams = low, top, r.rigid || rigid, r.streams|stream
			s.plans[r.last-1].next = at
			r.last = at
			r.packets++
			return
		}
		if r.streams&stream != 0 {
			break
		}
	}
	s.runs = append(s.runs, run{low: size, top: size, rigid: rigid, streams: stream, first: at, last: at, packets: 1})
}

// send writes one packet into the outgoing memory and seals it, once.
func (s *Shard) send(p *peer, at int32, padding uint8) {
	out := &s.batch.Sends[at-1]
	out.Padding += padding
	buf := s.endpoint.Slab(int(s.plans[at-1].size) + int(padding) + transport.SealOverhead)
	total, _, err := out.Marshal(buf, &p.outgoing, &s.header)
	if err != nil {
		s.counters.drops[DropMarshal]++
		return
	}
	n, err := s.endpoint.SealRTP(p.session, buf[:total])
	if err != nil {
		s.counters.drops[DropSeal]++
		return
	}
	s.endpoint.Send(p.session, buf[:n], 0)
	if !out.RTX && out.Packet != nil {
		s.latency.note(out.Kind, out.Packet.Arrival)
	}
}

func (s *Shard) destination(id room.PeerID) *peer {
	if int(id) < len(s.byID) {
		if p := s.byID[id]; p != nil && p.entered && !p.faulty {
			return p
		}
	}
	return nil
}
