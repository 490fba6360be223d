package sfu

import (
	"fmt"
	"slices"

	"sotto/sfu/packet"
	"sotto/sfu/room"
	"sotto/sfu/transport"
)

// Video codecs by the names of Config.Codecs and Wanted.Codec.
const (
	CodecVP8 = "vp8"
	CodecVP9 = "vp9"
	CodecAV1 = "av1"
)

// codecSet holds a bit for each packet.Codec.
type codecSet uint8

// everyCodec is what a peer decodes that receives no video.
const everyCodec = codecSet(0xff)

func (s codecSet) has(c packet.Codec) bool { return s>>c&1 != 0 }

func codecName(c packet.Codec) string {
	switch c {
	case packet.VP8:
		return CodecVP8
	case packet.VP9:
		return CodecVP9
	case packet.AV1:
		return CodecAV1
	}
	return ""
}

// parseCodecs reads Config.Codecs. Every browser has VP8 (RFC 7742 5), so it is the last resort of every list.
func parseCodecs(names []string) (list []packet.Codec, err error) {
	for _, name := range names {
		i := slices.IndexFunc(videoCodecs[:], func(c packet.Codec) bool { return codecName(c) == name })
		if i < 0 || slices.Contains(list, videoCodecs[i]) {
			return nil, fmt.Errorf("%w: video codec twice or not known", ErrConfig)
		}
		list = append(list, videoCodecs[i])
	}
	if !slices.Contains(list, packet.VP8) {
		list = append(list, packet.VP8)
	}
	return list, nil
}

// videoCodecs are those that a node can carry.
var videoCodecs = [...]packet.Codec{packet.VP8, packet.VP9, packet.AV1}

// setOf returns the set of an m-line's codecs.
func setOf(list []transport.PayloadType) (s codecSet) {
	for _, c := range list {
		s |= 1 << c.Codec
	}
	return s
}

// decodable returns the codecs that the peer of an offer can receive: those of all its receiving m-lines. One that has none of ours is
// rejected and says nothing.
func decodable(o *transport.Offer) codecSet {
	s := everyCodec
	for i := range o.Media {
		m := &o.Media[i]
		if m.Kind == transport.MediaVideo && m.Direction&transport.Recv != 0 && !m.Rejected && len(m.Codecs) > 0 {
			s &= setOf(m.Codecs)
		}
	}
	return s
}

// order lists the video codecs for an answer to a peer that decodes own: first those that everybody in the room can decode, in the
// operator's order, then the rest, so that what is under way in another codec is still taken. Browsers send the first of an answer.
func (n *Node) order(s *session, own codecSet) []packet.Codec {
	n.mu.Lock()
	defer n.mu.Unlock()
	common := s.home.common(s) & own
	var first, rest []packet.Codec
	for _, c := range n.codecs {
		if common.has(c) {
			first = append(first, c)
		} else {
			rest = append(rest, c)
		}
	}
	return append(first, rest...)
}

// common returns what all peers of the room but one can decode; Node.mu is held.
func (h *hall) common(but *session) codecSet {
	common := everyCodec
	for _, s := range h.peers {
		if s != but {
			common &= s.decodes
		}
	}
	return common
}

// settleCodecs tells the publishers of a room that are to change their codec, because of who came or left; Node.mu is held.
func (n *Node) settleCodecs(h *hall) {
	common := h.common(nil)
	for _, s := range h.peers {
		changed := false
		for source := range room.MaxSources {
			p := &s.publishes[source]
			if p.can == 0 {
				continue
			}
			i := slices.IndexFunc(n.codecs, func(c packet.Codec) bool { return common.has(c) && p.can.has(c) })
			if i < 0 || n.codecs[i] == p.told {
				continue // nothing that all have: whoever can decode what is sent goes on
			}
			p.told, changed = n.codecs[i], true
			s.setWanted(source.String(), func(w *Wanted) { w.Codec = codecName(p.told) })
		}
		if changed {
			n.tell(s, Event{Kind: EventWanted, Wanted: s.wanted})
		}
	}
}

// publishes is a video source of a session as far as its codec goes.
type publishes struct {
	can  codecSet     // that the client offers to send; 0: the source is not published
	told packet.Codec // which it is to send: as the last answer or a Wanted said
}

// settled notes what a negotiation brought about.
func (n *Node) settled(s *session, g *negotiation) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s.decodes = decodable(g.offer)
	s.publishes = [room.MaxSources]publishes{}
	for _, t := range g.media.Tracks {
		if t.Source.Kind() == room.Video && len(t.Codecs) > 0 {
			p := &s.publishes[t.Source]
			for _, c := range t.Codecs {
				p.can |= 1 << c.Codec
			}
			p.told = t.Codecs[0].Codec
		}
	}
	before := s.wanted
	for _, w := range before {
		source, _ := parseSource(w.Source)
		if name := codecName(s.publishes[source].told); w.Codec != "" && w.Codec != name {
			s.setWanted(w.Source, func(w *Wanted) { w.Codec = name })
		}
	}
	if !slices.Equal(s.wanted, before) {
		n.tell(s, Event{Kind: EventWanted, Wanted: s.wanted})
	}
	if n.sessions[s.key] == s {
		n.settleCodecs(s.home)
	}
}
