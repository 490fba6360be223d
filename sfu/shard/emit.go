package shard

import (
	"time"

	"sotto/sfu/room"
	"sotto/sfu/transport"
)

// maxEqualize is the most padding that a packet gets to be as long as its neighbours. Encoders cut a frame into packets that
// differ by one byte (VP8, H.264) or a few (AV1); more would cost bandwidth that nobody asked for.
const maxEqualize = 8

// run is packets to one peer, in order, that become equally long.
type run struct {
	to       room.PeerID
	low, top uint16 // lengths
}

// plan is what equalize found out about each send: its length, and its run or none.
type plan struct {
	size uint16
	run  int32
}

const noRun = -1

// emit marshals, seals and queues everything in the batch, and tells the events. Flush follows.
//
// Video goes before audio. That order is free, as each has SSRCs of its own, and it keeps the packets of a frame together:
// a shorter packet ends a run of the socket (udp(7), UDP_SEGMENT), so the first of audio even finds a place at its end.
func (s *Shard) emit(now time.Time) {
	audio := s.equalize()
	for i := range s.batch.Sends {
		if out := &s.batch.Sends[i]; out.Kind != room.Audio {
			s.send(out, s.plans[i])
		}
	}
	for i := 0; audio > 0; i++ {
		if out := &s.batch.Sends[i]; out.Kind == room.Audio {
			s.send(out, s.plans[i])
			audio--
		}
	}
	s.sendRTCP()
	for _, e := range s.batch.Events {
		s.tell(e)
	}
	s.batch.Reset()
}

// equalize finds the video packets of this round that a few bytes of padding (RFC 3550 5.1) make as long as the longest of
// their neighbours, so that a frame is one message to the kernel. None becomes longer than a packet that goes out anyway.
// Audio, whose length is most of its cost on the link, retransmissions and probes stay as they are. It returns how many of
// audio there are.
func (s *Shard) equalize() (audio int) {
	s.plans, s.runs = s.plans[:0], s.runs[:0]
	for i := range s.batch.Sends {
		out := &s.batch.Sends[i]
		if out.Kind == room.Audio {
			audio++
		}
		s.plans = append(s.plans, s.plan(out))
	}
	return audio
}

// plan measures one packet.
func (s *Shard) plan(out *room.Send) (at plan) {
	at.run = noRun
	p := s.destination(out.To)
	if p == nil {
		return at
	}
	defer s.barrier(p)
	at.size = uint16(out.Size(&p.outgoing))
	if out.Kind == room.Video && !out.RTX && out.Packet != nil && out.Padding == 0 {
		at.run = s.join(p, out.To, at.size)
	}
	return at
}

// join returns the run for a packet of size bytes to p: its last one if the packet fits, else a new one.
func (s *Shard) join(p *peer, to room.PeerID, size uint16) int32 {
	if i := int(p.run); i < len(s.runs) && s.runs[i].to == to { // else p.run is of a former round
		low, top := min(s.runs[i].low, size), max(s.runs[i].top, size)
		if top-low <= maxEqualize {
			s.runs[i].low, s.runs[i].top = low, top
			return p.run
		}
	}
	p.run = int32(len(s.runs))
	s.runs = append(s.runs, run{to: to, low: size, top: size})
	return p.run
}

// send writes one packet into its destination's slab, once.
func (s *Shard) send(out *room.Send, at plan) {
	p := s.destination(out.To)
	if p == nil {
		s.counters.drops[DropGone]++
		return
	}
	defer s.barrier(p)
	if at.run != noRun {
		out.Padding = uint8(s.runs[at.run].top - at.size)
	}
	buf := s.endpoint.Slab(p.session, int(at.size)+int(out.Padding)+transport.SealOverhead)
	total, _, err := out.Marshal(buf, &p.outgoing, &s.header)
	if err != nil {
		s.counters.drops[DropMarshal]++
		return
	}
	n, err := s.endpoint.SealRTP(p.session, buf[:total], &s.header)
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
