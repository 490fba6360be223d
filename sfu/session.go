package sfu

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"

	"sotto/sfu/layer"
	"sotto/sfu/room"
	"sotto/sfu/shard"
	"sotto/sfu/transport"
)

// session is one peer's session in the registry.
type session struct {
	key  uint64
	name string
	home *hall
	busy chan struct{} // holds one while an operation runs: they are done one by one

	// Owned by the operation.
	id, version uint64 // of the o= line
	offer       *transport.Offer
	local       transport.Credentials
	slots       map[string]slotStreams // by mid; kept, because numbers of a stream must go on when a slot comes back
	used        map[uint32]struct{}    // SSRCs of slots

	// Guarded by Node.mu.
	opened    bool // the shard has it
	connected bool
	filled    []Slot
	running   [room.MaxSources]bool
	wanted    []Wanted // replaced, never changed: events share it
	decodes   codecSet
	publishes [room.MaxSources]publishes
}

// slotStreams are the SSRCs of a receiving m-line.
type slotStreams struct{ media, rtx uint32 }

// maxSlotStreams caps what a session may ever have: the outgoing SRTP context keeps a state for each SSRC.
const maxSlotStreams = 2 * room.MaxSlots

func newSession(key uint64, name string, home *hall) *session {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return &session{
		key: key, name: name, home: home, busy: make(chan struct{}, 1),
		id:    binary.BigEndian.Uint64(b[:]) >> 2, // RFC 9429 5.2.1: 62 bits
		slots: map[string]slotStreams{}, used: map[uint32]struct{}{}, decodes: everyCodec,
	}
}

func (s *session) acquire(ctx context.Context) error {
	select {
	case s.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *session) release() { <-s.busy }

// negotiation is the outcome of an offer that has not been carried out yet.
type negotiation struct {
	offer  *transport.Offer
	local  transport.Credentials
	answer *transport.Answer
	media  shard.Media
}

// negotiate answers an offer of the session. It changes nothing but the SSRCs set aside for slots.
func (n *Node) negotiate(s *session, description string, tracks []Track) (*negotiation, error) {
	if len(description) > n.limits.OfferBytes {
		return nil, fmt.Errorf("%w: %w", ErrBadOffer, transport.ErrOfferSize)
	}
	offer, err := transport.ParseOffer([]byte(description))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	local := s.local
	if s.offer != nil {
		if err := offer.Continues(s.offer); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBadOffer, err)
		}
	}
	if s.offer == nil || offer.Restarts(s.offer) {
		local = transport.NewCredentials(n.id)
	}
	sources, err := n.checkTracks(offer, tracks)
	if err != nil {
		return nil, err
	}
	cfg := transport.AnswerConfig{
		SessionID: s.id, Version: s.version + 1,
		Local: local, Fingerprint: n.certificate.Fingerprint(),
		Candidates: s.home.shard.candidates, TCPCandidates: s.home.shard.tcpCandidates,
		Video: n.order(s, decodable(offer)),
	}
	slots := 0
	for i := range offer.Media {
		m := &offer.Media[i]
		c := transport.MediaConfig{Role: transport.RoleInactive}
		switch {
		case sources[m.MID] != nil:
			c.Role = transport.RoleReceive
		case m.Direction&transport.Recv != 0 && !m.Rejected:
			if slots++; slots > n.limits.Slots {
				return nil, fmt.Errorf("%w: slots", ErrLimit)
			}
			streams, err := s.streams(m)
			if err != nil {
				return nil, err
			}
			c = transport.MediaConfig{Role: transport.RoleSend, SSRC: streams.media, RTX: streams.rtx}
		}
		cfg.Media = append(cfg.Media, c)
	}
	answer, err := offer.Answer(cfg)
	if err != nil {
		return nil, err
	}
	g := &negotiation{offer: offer, local: local, answer: answer}
	g.media = shard.Media{Incoming: answer.Incoming, Outgoing: answer.Outgoing}
	for i, m := range answer.Media {
		switch m.Role {
		case transport.RoleReceive:
			g.media.Tracks = append(g.media.Tracks, published(*sources[m.MID], m))
		case transport.RoleSend:
			g.media.Slots = append(g.media.Slots, room.Slot{
				MID: m.MID, Kind: kindOf(m.Kind), SSRC: cfg.Media[i].SSRC, RTXSSRC: cfg.Media[i].RTX, Codecs: payloadTypes(m.Codecs),
			})
		}
	}
	return g, nil
}

// setWanted changes the entry of a source in the list of what is wanted; Node.mu is held.
func (s *session) setWanted(source string, change func(*Wanted)) {
	list := slices.Clone(s.wanted)
	i := slices.IndexFunc(list, func(w Wanted) bool { return w.Source == source })
	if i < 0 {
		i = len(list)
		list = append(list, Wanted{Source: source, Layers: layer.MaxRungs})
	}
	change(&list[i])
	s.wanted = list
}

// commit makes a negotiation the session's state.
func (s *session) commit(g *negotiation) {
	s.offer, s.local = g.offer, g.local
	s.version++
}

// checkTracks returns the source of each named mid.
func (n *Node) checkTracks(offer *transport.Offer, tracks []Track) (map[string]*room.Source, error) {
	if len(tracks) > n.limits.Tracks {
		return nil, fmt.Errorf("%w: tracks", ErrLimit)
	}
	byMID := make(map[string]*room.Source, len(tracks))
	var seen [room.MaxSources]bool
	for _, t := range tracks {
		source, ok := parseSource(t.Source)
		if !ok {
			return nil, fmt.Errorf("%w: unknown source", ErrBadRequest)
		}
		i := slices.IndexFunc(offer.Media, func(m transport.Media) bool { return m.MID == t.MID })
		if i < 0 {
			return nil, fmt.Errorf("%w: track without an m-line", ErrBadRequest)
		}
		if byMID[t.MID] != nil || seen[source] {
			return nil, fmt.Errorf("%w: two tracks of one source or m-line", ErrBadRequest)
		}
		switch m := &offer.Media[i]; {
		case m.Direction&transport.Send == 0: // rejected ones too
			return nil, fmt.Errorf("%w: track on an m-line that does not send", ErrBadRequest)
		case kindOf(m.Kind) != source.Kind():
			return nil, fmt.Errorf("%w: source of another kind than its m-line", ErrBadRequest)
		}
		byMID[t.MID], seen[source] = &source, true
	}
	return byMID, nil
}

// streams returns the SSRCs of a receiving m-line, drawn when it is new. Numbers of a stream go on for as long as the session
// lives, so an SSRC never changes its m-line.
func (s *session) streams(m *transport.Media) (slotStreams, error) {
	if known, ok := s.slots[m.MID]; ok {
		return known, nil
	}
	if len(s.slots) >= maxSlotStreams {
		return slotStreams{}, fmt.Errorf("%w: slots of a session", ErrLimit)
	}
	fresh := slotStreams{media: s.drawSSRC()}
	if m.Kind == transport.MediaVideo && slices.ContainsFunc(m.Codecs, func(c transport.PayloadType) bool { return c.RTX != 0 }) {
		fresh.rtx = s.drawSSRC()
	}
	s.slots[m.MID] = fresh
	return fresh, nil
}

func (s *session) drawSSRC() uint32 {
	for {
		var b [4]byte
		_, _ = rand.Read(b[:])
		ssrc := binary.BigEndian.Uint32(b[:])
		if _, taken := s.used[ssrc]; ssrc != 0 && !taken {
			s.used[ssrc] = struct{}{}
			return ssrc
		}
	}
}

func published(source room.Source, m transport.AnswerMedia) room.PublishedTrack {
	t := room.PublishedTrack{Source: source, MID: m.MID, Codecs: payloadTypes(m.Codecs), RIDs: m.RIDs}
	for _, stream := range m.Streams {
		t.SSRCs = append(t.SSRCs, stream.SSRC)
		t.RTX = append(t.RTX, stream.RTX)
	}
	return t
}

func payloadTypes(list []transport.PayloadType) []room.PayloadType {
	out := make([]room.PayloadType, len(list))
	for i, c := range list {
		out[i] = room.PayloadType{PT: c.PT, RTX: c.RTX, Codec: c.Codec, ClockRate: c.ClockRate}
	}
	return out
}

func kindOf(k transport.MediaKind) room.Kind {
	if k == transport.MediaVideo {
		return room.Video
	}
	return room.Audio
}

func parseSource(s string) (room.Source, bool) {
	for source := room.SourceMic; source < room.MaxSources; source++ {
		if source.String() == s {
			return source, true
		}
	}
	return 0, false
}
