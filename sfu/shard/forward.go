package shard

import (
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/packet"
	"sotto/sfu/room"
	"sotto/sfu/transport"
)

// maxRTCP is how long a compound gets before it is cut: what fits every path with SRTCP, UDP and IPv6 around it.
const maxRTCP = 1150

// peerOf finds the peer of a session.
func (s *Shard) peerOf(id transport.SessionID) *peer {
	if i := id.Index(); i < len(s.bySession) {
		if p := s.bySession[i]; p != nil && p.session == id {
			return p
		}
	}
	return nil
}

// receive handles one datagram.
func (s *Shard) receive(now time.Time, d *transport.Datagram) {
	in, ok := s.decrypt(now, d)
	if !ok {
		return
	}
	p := s.peerOf(in.Session)
	if p == nil || !p.entered || p.faulty || p.home.dead {
		s.counters.drops[DropNotInRoom]++
		return
	}
	if in.RTCP {
		s.receiveRTCP(now, p, in.Data)
	} else {
		s.receiveRTP(now, p, in.Data, d.At)
	}
}

// decrypt is the endpoint's Receive behind the barrier; nobody can be blamed for a fault in it.
func (s *Shard) decrypt(now time.Time, d *transport.Datagram) (in transport.Inbound, ok bool) {
	defer func() {
		if v := recover(); v != nil {
			s.counters.faults++
			ok = false
		}
	}()
	return s.endpoint.Receive(now, *d)
}

// receiveRTP is the packet path.
func (s *Shard) receiveRTP(now time.Time, p *peer, data []byte, at time.Time) {
	defer s.barrier(p)
	if err := packet.Parse(data, &p.incoming, at, &s.packet); err != nil {
		s.counters.drops[DropRTP]++
		return
	}
	p.home.room.HandleRTP(now, p.id, &s.packet, &s.batch)
	s.touch(p.home)
}

func (s *Shard) receiveRTCP(now time.Time, p *peer, data []byte) {
	defer s.barrier(p)
	s.counters.rtcpIn.add(len(data))
	if !p.feedback.take(now, len(data)) {
		s.counters.drops[DropRTCPRate]++
		return
	}
	packets, err := unmarshalFeedback(data, s.feedback[:0])
	if err != nil {
		s.counters.drops[DropRTCP]++
	} else {
		p.home.room.HandleRTCP(now, p.id, packets, &s.batch)
	}
	clear(packets)
	s.feedback = packets[:0]
	s.touch(p.home)
}

// sendRTCP gathers the RTCP of the batch by destination.
func (s *Shard) sendRTCP() {
	for i := range s.batch.RTCP {
		f := &s.batch.RTCP[i]
		p := s.destination(f.To)
		if p == nil {
			continue
		}
		if len(p.rtcp) == 0 {
			s.rtcpTo = append(s.rtcpTo, p)
		}
		p.rtcp = append(p.rtcp, f.Packet)
	}
	for _, p := range s.rtcpTo {
		s.sendCompounds(p)
		clear(p.rtcp)
		p.rtcp = p.rtcp[:0]
	}
	clear(s.rtcpTo)
	s.rtcpTo = s.rtcpTo[:0]
}

// sendCompounds sends the RTCP of one peer: sender and receiver reports first (RFC 3550 6.1), without one the compound is a
// reduced-size one (RFC 5506).
func (s *Shard) sendCompounds(p *peer) {
	defer s.barrier(p)
	orderReports(p.rtcp)
	var compound []byte
	for _, r := range p.rtcp {
		b, err := r.Marshal()
		if err != nil {
			s.counters.drops[DropMarshal]++
			continue
		}
		if len(compound) > 0 && len(compound)+len(b) > maxRTCP {
			s.sendCompound(p, compound)
			compound = nil
		}
		compound = append(compound, b...)
	}
	if len(compound) > 0 {
		s.sendCompound(p, compound)
	}
}

func (s *Shard) sendCompound(p *peer, compound []byte) {
	buf := s.endpoint.Slab(len(compound) + transport.SealOverheadRTCP)
	sealed, err := s.endpoint.SealRTCP(p.session, append(buf[:0], compound...))
	if err != nil {
		s.counters.drops[DropSeal]++
		return
	}
	s.endpoint.Send(p.session, sealed, 0)
	s.counters.rtcpOut.add(len(compound))
}

// orderReports moves sender reports to the front and receiver reports behind them; the rest keeps its order. The list is
// short.
func orderReports(list []rtcp.Packet) {
	rank := func(p rtcp.Packet) int {
		switch p.(type) {
		case *rtcp.SenderReport:
			return 0
		case *rtcp.ReceiverReport:
			return 1
		}
		return 2
	}
	for i := 1; i < len(list); i++ {
		for j := i; j > 0 && rank(list[j]) < rank(list[j-1]); j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
}

// tell turns an event of a room into a notice.
func (s *Shard) tell(e room.Event) {
	switch e := e.(type) {
	case room.SlotsChanged:
		p := s.destination(e.Peer)
		if p == nil {
			return
		}
		n := Notice{Kind: NoticeSlots, Key: p.key, Slots: make([]Slot, 0, len(e.Slots))}
		for _, slot := range e.Slots {
			if publisher := s.destination(slot.Publisher); slot.Active && publisher != nil {
				n.Slots = append(n.Slots, Slot{MID: slot.MID, Publisher: publisher.name, Source: slot.Source, Paused: slot.Paused})
			}
		}
		s.notices.Push(NoticeKey{Kind: NoticeSlots, Key: p.key}, n)
	case room.TrackStarted:
		s.tellTrack(e.Peer, e.Source, true)
	case room.TrackStopped:
		s.tellTrack(e.Peer, e.Source, false)
	case room.TrackWanted:
		if p := s.destination(e.Peer); p != nil {
			s.notices.Push(NoticeKey{Kind: NoticeWanted, Key: p.key, Source: e.Source},
				Notice{Kind: NoticeWanted, Key: p.key, Source: e.Source, Layers: int(e.Layer) + 1})
		}
	}
}

func (s *Shard) tellTrack(id room.PeerID, source room.Source, running bool) {
	if p := s.destination(id); p != nil {
		s.notices.Push(NoticeKey{Kind: NoticeTrack, Key: p.key, Source: source},
			Notice{Kind: NoticeTrack, Key: p.key, Source: source, Running: running})
	}
}
