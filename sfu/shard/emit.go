package shard

import (
	"time"

	"sotto/sfu/room"
)

// emit marshals, seals and queues everything in the batch, peer by peer, and tells the events. What makes a full system call
// is written at once, so that the first peers of a large room do not wait for the last; the rest waits for flush.
func (s *Shard) emit(now time.Time) {
	s.address()
	if helpers := s.summon(); helpers > 0 {
		s.share(helpers)
	} else {
		s.own.serveAll(0, len(s.addressed))
	}
	s.settle()
	s.sendRTCP()
	for _, e := range s.batch.Events {
		s.tell(e)
	}
	s.batch.Reset()
}

// flush writes what was queued.
func (s *Shard) flush() { s.own.flush() }

// address makes a list of each peer's sends.
func (s *Shard) address() {
	s.turn++ // somebody else comes first each time, where the last ones wait or a full buffer takes no more
	s.plans, s.addressed = s.plans[:0], s.addressed[:0]
	pressed := s.pressure.level > 0
	for i := range s.batch.Sends {
		s.plans = append(s.plans, plan{})
		send := &s.batch.Sends[i]
		p := s.destination(send.To)
		if p == nil {
			s.counters.drops[DropGone]++
			continue
		}
		if pressed && send.Kind == room.Audio {
			s.own.sound(p, int32(i+1))
			continue
		}
		at := int32(i + 1)
		if p.turn != s.turn {
			p.turn, p.first = s.turn, at
			s.addressed = append(s.addressed, p)
		} else {
			s.plans[p.last-1].next = at
		}
		p.last = at
	}
	if pressed {
		s.own.flush()
	}
}

// settle takes over what the lanes noted of peers.
func (s *Shard) settle() {
	clear(s.addressed)
	s.own.report()
	for _, l := range s.lanes {
		l.report()
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
