package shard

import (
	"errors"
	"slices"
	"time"

	"github.com/pion/rtcp"
	"go.uber.org/zap"

	"sotto/sfu/packet"
	"sotto/sfu/room"
	"sotto/sfu/transport"
)

var errFault = errors.New("shard: internal fault")

// peer is one session. It is in the room's own state only while the transport is up (entered), so that no key frame is asked
// for and no number spent for somebody who cannot receive yet.
type peer struct {
	id       room.PeerID
	key      uint64
	name     string
	session  transport.SessionID
	home     *hosted
	entered  bool
	faulty   bool
	incoming packet.Extensions
	outgoing packet.Extensions
	tracks   []room.PublishedTrack
	slots    []room.Slot
	wishes   []Wish
	muted    [room.MaxSources]bool
	rtcp     []rtcp.Packet // of this round
	turn     int           // the batch that first and last belong to
	first    int32         // of its plans
	last     int32
	feedback allowance // of its RTCP
}

// open makes a session.
func (s *Shard) open(now time.Time, c Open) error {
	if s.byKey[c.Key] != nil {
		return ErrPeerExists
	}
	id, err := s.endpoint.Open(now, c.Transport)
	if err != nil {
		return err
	}
	p := &peer{key: c.Key, name: c.Name, session: id, home: s.host(now, c.Room)}
	p.take(c.Media)
	if n := len(s.free); n > 0 {
		p.id, s.free = s.free[n-1], s.free[:n-1]
		s.byID[p.id] = p
	} else {
		p.id = room.PeerID(len(s.byID))
		s.byID = append(s.byID, p)
	}
	for len(s.bySession) <= id.Index() {
		s.bySession = append(s.bySession, nil)
	}
	s.bySession[id.Index()] = p
	s.byKey[c.Key] = p
	p.home.peers = append(p.home.peers, p)
	return nil
}

func (p *peer) take(m Media) {
	p.incoming, p.outgoing, p.tracks, p.slots = m.Incoming, m.Outgoing, m.Tracks, m.Slots
}

// host returns the room of a key, made when it is new.
func (s *Shard) host(now time.Time, key uint64) *hosted {
	h := s.rooms[key]
	if h == nil {
		h = &hosted{key: key, room: room.New(room.Config{Rand: s.random})}
		h.room.Thin(now, s.pressure.level, &s.batch)
		s.rooms[key] = h
		s.active = append(s.active, h)
	}
	return h
}

// connected lets a peer into its room.
func (s *Shard) connected(now time.Time, p *peer, e transport.Event) {
	defer s.barrier(p)
	p.entered = true
	s.counters.ice.Note(e.ICE)
	s.counters.dtls.Note(e.DTLS)
	s.notices.Push(NoticeKey{Kind: NoticeConnected, Key: p.key}, Notice{Kind: NoticeConnected, Key: p.key})
	s.log.Debug("session connected", zap.Uint64("session", p.key), zap.Stringer("profile", e.Profile), zap.Duration("ice", e.ICE), zap.Duration("dtls", e.DTLS))
	commands := []room.Command{
		room.Join{Peer: p.id, Extensions: p.outgoing},
		room.Publish{Peer: p.id, Tracks: p.tracks},
		room.Slots{Peer: p.id, Slots: p.slots},
		room.Want{Peer: p.id, Wishes: s.resolve(p, p.wishes)},
	}
	for source, muted := range p.muted {
		if muted {
			commands = append(commands, room.Mute{Peer: p.id, Source: room.Source(source), Muted: true})
		}
	}
	for _, c := range commands {
		if err := p.home.room.Apply(now, c, &s.batch); err != nil {
			s.log.Error("a peer cannot enter its room", zap.Uint64("session", p.key), zap.Error(err))
			s.suspect(p)
			return
		}
	}
	s.touch(p.home)
	// Wishes of others may have waited for this peer.
	for _, other := range p.home.peers {
		if other != p && other.entered && other.wants(p.name) {
			if err := p.home.room.Apply(now, room.Want{Peer: other.id, Wishes: s.resolve(other, other.wishes)}, &s.batch); err != nil {
				s.suspect(other)
			}
		}
	}
}

func (p *peer) wants(name string) bool {
	return slices.ContainsFunc(p.wishes, func(w Wish) bool { return w.Publisher == name })
}

// resolve turns wishes of a peer into those whose publishers are in the room.
func (s *Shard) resolve(p *peer, wishes []Wish) []room.Wish {
	list := make([]room.Wish, 0, len(wishes))
	byName := make(map[string]room.PeerID, len(p.home.peers))
	for _, other := range p.home.peers {
		if other.entered && other != p {
			byName[other.name] = other.id
		}
	}
	for _, w := range wishes {
		if id, ok := byName[w.Publisher]; ok {
			w.Wish.Publisher = id
			list = append(list, w.Wish)
		}
	}
	return list
}

// change carries out a Change: all of it, or nothing when it returns an error.
func (s *Shard) change(now time.Time, c Change) (err error) {
	p := s.byKey[c.Key]
	if p == nil {
		return ErrUnknownPeer
	}
	defer func() {
		if v := recover(); v != nil {
			s.suspect(p)
			err = errFault
		}
	}()
	commands := s.commands(p, c)
	if p.entered {
		for _, command := range commands {
			if err := p.home.room.Check(command); err != nil {
				return err
			}
		}
	}
	if c.Restart != nil {
		if err := s.endpoint.Restart(now, p.session, c.Restart.Local, c.Restart.Remote); err != nil {
			return err
		}
	}
	if c.Media != nil {
		p.take(*c.Media)
	}
	if c.Wishes != nil {
		p.wishes = *c.Wishes
	}
	for _, m := range c.Mutes {
		p.muted[m.Source] = m.Muted
	}
	if !p.entered {
		return nil // applied when the transport is up
	}
	for _, command := range commands {
		if err := p.home.room.Apply(now, command, &s.batch); err != nil {
			s.suspect(p) // it was checked, so this is a fault
			return err
		}
	}
	s.touch(p.home)
	return nil
}

// commands are those that a change means to the peer's room.
func (s *Shard) commands(p *peer, c Change) (list []room.Command) {
	if m := c.Media; m != nil {
		list = append(list, room.Extensions{Peer: p.id, IDs: m.Outgoing},
			room.Publish{Peer: p.id, Tracks: m.Tracks}, room.Slots{Peer: p.id, Slots: m.Slots})
	}
	if c.Wishes != nil {
		list = append(list, room.Want{Peer: p.id, Wishes: s.resolve(p, *c.Wishes)})
	}
	for _, m := range c.Mutes {
		list = append(list, room.Mute{Peer: p.id, Source: m.Source, Muted: m.Muted})
	}
	return list
}

// end carries out an End.
func (s *Shard) end(now time.Time, c End) error {
	p := s.byKey[c.Key]
	if p == nil {
		return ErrUnknownPeer
	}
	s.remove(now, p, c.Reason, true)
	return nil
}

// remove forgets a peer; open says whether the transport still has the session.
func (s *Shard) remove(now time.Time, p *peer, reason string, open bool) {
	if s.byKey[p.key] != p {
		return
	}
	delete(s.byKey, p.key)
	s.byID[p.id] = nil
	s.bySession[p.session.Index()] = nil
	h := p.home
	h.peers = slices.DeleteFunc(h.peers, func(other *peer) bool { return other == p })
	if p.entered {
		s.leave(now, p)
		p.entered = false
	}
	s.freed = append(s.freed, p.id)
	if open {
		s.endpoint.Close(now, p.session)
	}
	s.notices.Push(NoticeKey{Kind: NoticeClosed, Key: p.key}, Notice{Kind: NoticeClosed, Key: p.key, Reason: reason})
	if len(h.peers) == 0 {
		s.drop(h)
	}
}

// leave is room.Leave behind the barrier.
func (s *Shard) leave(now time.Time, p *peer) {
	defer func() {
		if v := recover(); v != nil {
			s.condemn(p.home)
		}
	}()
	if p.home.dead {
		return
	}
	_ = p.home.room.Apply(now, room.Leave{Peer: p.id}, &s.batch)
	s.touch(p.home)
}

// drop forgets an empty room. Its sends are still in the batch, but nobody is left to get them.
func (s *Shard) drop(h *hosted) {
	h.dead = true
	delete(s.rooms, h.key)
	s.active = slices.DeleteFunc(s.active, func(other *hosted) bool { return other == h })
	addRoom(&s.closedRun, h.room.Stats())
}

// barrier turns a panic in the handling of p into its removal.
func (s *Shard) barrier(p *peer) {
	if v := recover(); v != nil {
		s.suspect(p)
	}
}

// suspect notes that p is to be removed at the end of the round.
func (s *Shard) suspect(p *peer) {
	s.counters.faults++
	if !p.faulty {
		p.faulty = true
		s.faulty = append(s.faulty, p)
	}
}

// condemn notes that a room is to be closed at the end of the round.
func (s *Shard) condemn(h *hosted) {
	s.counters.faults++
	if !h.dead {
		h.dead = true
		s.condemned = append(s.condemned, h)
	}
}

// removeFaulty carries out what suspect and condemn noted.
func (s *Shard) removeFaulty(now time.Time) {
	if len(s.faulty) == 0 && len(s.condemned) == 0 {
		return
	}
	for _, p := range s.faulty {
		s.log.Error("peer removed after a fault", zap.Uint64("session", p.key))
		s.remove(now, p, ReasonFault, true)
	}
	clear(s.faulty)
	s.faulty = s.faulty[:0]
	for _, h := range s.condemned {
		s.log.Error("room closed after a fault", zap.Uint64("room", h.key), zap.Int("peers", len(h.peers)))
		for _, p := range slices.Clone(h.peers) {
			s.remove(now, p, ReasonFault, true)
		}
	}
	clear(s.condemned)
	s.condemned = s.condemned[:0]
	s.emit(now) // what leaving caused
}
