package protocol

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

func (m *Connect) validate() error {
	switch {
	case m.ConnID.IsZero():
		return fmt.Errorf("conn_id: %w", errMissing)
	case len(m.LinkPub) != ed25519.PublicKeySize:
		return fmt.Errorf("link_pub: %w", errLength)
	case len(m.LinkSig) != ed25519.SignatureSize:
		return fmt.Errorf("link_sig: %w", errLength)
	}
	if len(m.Token) > MaxToken {
		return fmt.Errorf("token: %w", errLength)
	}
	if m.Resume != nil {
		if err := m.Resume.validate(); err != nil {
			return err
		}
	}
	return validateText("client", m.Client, MaxClient)
}

// validate checks the members that must be there too: Resume is not a message.
func (r *Resume) validate() error {
	switch {
	case r.Token == "":
		return fmt.Errorf("resume: %w", errMissing)
	case len(r.Token) > MaxResume:
		return fmt.Errorf("resume: %w", errLength)
	case r.LastSeq > MaxSequence:
		return fmt.Errorf("last_seq: %w", errRange)
	}
	if r.Group != nil {
		if err := r.Group.validate(); err != nil {
			return err
		}
	}
	return validateTracks(r.Tracks)
}

func (g *GroupClaim) validate() error {
	switch {
	case len(g.HostTag) != HostTagSize:
		return fmt.Errorf("host_tag: %w", errLength)
	case len(g.Ticket) != TicketSize:
		return fmt.Errorf("ticket: %w", errLength)
	}
	return validatePosition(&g.GI, &g.Slot)
}

func (m *Evict) validate() error {
	switch {
	case m.ConnID.IsZero():
		return fmt.Errorf("conn_id: %w", errMissing)
	case len(m.Host) != HostTokenSize:
		return fmt.Errorf("host: %w", errLength)
	}
	return nil
}

func (m *Alias) validate() error {
	switch {
	case len(m.LinkPub) != ed25519.PublicKeySize:
		return fmt.Errorf("link_pub: %w", errLength)
	case len(m.LinkSig) != ed25519.SignatureSize:
		return fmt.Errorf("link_sig: %w", errLength)
	case len(m.Host) != 0 && len(m.Host) != HostTokenSize:
		return fmt.Errorf("host: %w", errLength)
	}
	return nil
}

func (m *Upload) validate() error {
	if m.Size < 1 {
		return fmt.Errorf("size: %w", errRange)
	}
	if m.Size > MaxFile {
		return refuse(CodeTooLarge, fmt.Errorf("size: %w", errRange))
	}
	return nil
}

func (m *Offer) validate() error {
	if err := validateSDP(m.SDP); err != nil {
		return err
	}
	if len(m.Tracks) > MaxTracks {
		return fmt.Errorf("tracks: %w", errLength)
	}
	for i, t := range m.Tracks {
		if err := validateMID(t.MID); err != nil {
			return err
		}
		if err := t.Source.validate(); err != nil {
			return err
		}
		for _, before := range m.Tracks[:i] {
			if before.MID == t.MID || before.Source == t.Source {
				return fmt.Errorf("tracks: %w", errTwice)
			}
		}
	}
	return nil
}

func (m *Want) validate() error {
	if len(m.Tracks) > MaxWishes {
		return fmt.Errorf("tracks: %w", errLength)
	}
	type track struct {
		conn   ConnID
		source Source
	}
	seen := make(map[track]struct{}, len(m.Tracks))
	for _, w := range m.Tracks {
		if w.ConnID.IsZero() {
			return fmt.Errorf("conn_id: %w", errMissing)
		}
		if err := w.Source.validate(); err != nil {
			return err
		}
		if w.Height < 0 || w.Height > MaxHeight {
			return fmt.Errorf("height: %w", errRange)
		}
		if w.Priority < 0 || w.Priority > 255 {
			return fmt.Errorf("priority: %w", errRange)
		}
		key := track{w.ConnID, w.Source}
		if _, twice := seen[key]; twice {
			return fmt.Errorf("tracks: %w", errTwice)
		}
		seen[key] = struct{}{}
	}
	return nil
}

func (m *Mute) validate() error { return m.Source.validate() }

func (m *Leave) validate() error { return nil }

func (m *Hello) validate() error {
	switch {
	case m.Version < 1:
		return fmt.Errorf("version: %w", errRange)
	case len(m.Nonce) < MinNonce || len(m.Nonce) > MaxNonce:
		return fmt.Errorf("nonce: %w", errLength)
	}
	return nil
}

func (m *Welcome) validate() error {
	if err := validateLeaf(m.Leaf); err != nil {
		return err
	}
	if len(m.Resume) > MaxResume {
		return fmt.Errorf("resume: %w", errLength)
	}
	for i, source := range m.NoPublish {
		if err := source.validate(); err != nil {
			return err
		}
		if slices.Contains(m.NoPublish[:i], source) {
			return fmt.Errorf("no_publish: %w", errTwice)
		}
	}
	if m.Group != nil {
		if err := validatePosition(&m.Group.GI, &m.Group.Slot); err != nil {
			return err
		}
	}
	return validatePeers(m.Peers)
}

func (m *Group) validate() error { return validatePosition(m.GI, m.Slot) }

func (m *Stale) validate() error { return validatePosition(m.GI, m.Slot) }

func (m *Ticket) validate() error {
	if len(m.Ticket) != TicketSize {
		return fmt.Errorf("ticket: %w", errLength)
	}
	return validatePosition(&m.GI, &m.Slot)
}

func (m *Done) validate() error { return nil }

func (m *UploadPath) validate() error {
	switch {
	case !isFilePath(m.Path):
		return fmt.Errorf("path: %w", errAlphabet)
	case m.Token == "" || len(m.Token) > MaxResume:
		return fmt.Errorf("token: %w", errLength)
	}
	return validateText("token", m.Token, MaxResume)
}

// isFilePath takes FilePrefix and 16 bytes as a room id is written.
func isFilePath(path string) bool {
	name, ok := strings.CutPrefix(path, FilePrefix)
	_, err := ParseRoomID(name)
	return ok && err == nil
}

// validatePosition takes a group with its slot, or neither.
func validatePosition(gi *GroupInstance, slot *uint64) error {
	switch {
	case gi == nil && slot == nil:
		return nil
	case gi == nil || gi.IsZero():
		return fmt.Errorf("gi: %w", errMissing)
	case slot == nil:
		return fmt.Errorf("slot: %w", errMissing)
	case *slot > MaxSequence:
		return fmt.Errorf("slot: %w", errRange)
	}
	return nil
}

func (m *Peers) validate() error { return validatePeers(m.Peers) }

func validatePeers(peers []Peer) error {
	if len(peers) >= MaxPeers {
		return fmt.Errorf("peers: %w", errLength)
	}
	for _, p := range peers {
		if p.ConnID.IsZero() {
			return fmt.Errorf("conn_id: %w", errMissing)
		}
		if err := validateLeaf(p.Leaf); err != nil {
			return err
		}
		if err := validateTracks(p.Tracks); err != nil {
			return err
		}
	}
	return nil
}

func (m *PeerJoined) validate() error {
	if m.ConnID.IsZero() {
		return fmt.Errorf("conn_id: %w", errMissing)
	}
	return validateLeaf(m.Leaf)
}

func (m *PeerLeft) validate() error {
	if m.ConnID.IsZero() {
		return fmt.Errorf("conn_id: %w", errMissing)
	}
	return validateText("reason", m.Reason, 64)
}

func (m *PeerTracks) validate() error {
	if m.ConnID.IsZero() {
		return fmt.Errorf("conn_id: %w", errMissing)
	}
	return validateTracks(m.Tracks)
}

func (m *Answer) validate() error { return validateSDP(m.SDP) }

func (m *Slots) validate() error {
	if len(m.Slots) > MaxSlots {
		return fmt.Errorf("slots: %w", errLength)
	}
	seen := make(map[string]struct{}, len(m.Slots))
	for _, s := range m.Slots {
		if err := validateMID(s.MID); err != nil {
			return err
		}
		if s.ConnID.IsZero() {
			return fmt.Errorf("conn_id: %w", errMissing)
		}
		if err := s.Source.validate(); err != nil {
			return err
		}
		if _, twice := seen[s.MID]; twice {
			return fmt.Errorf("slots: %w", errTwice)
		}
		seen[s.MID] = struct{}{}
		if err := validateText("paused", s.Paused, 32); err != nil {
			return err
		}
	}
	return nil
}

func (m *Wanted) validate() error {
	if len(m.Tracks) > MaxTracks {
		return fmt.Errorf("tracks: %w", errLength)
	}
	for i, t := range m.Tracks {
		if err := t.Source.validate(); err != nil {
			return err
		}
		if err := validateText("codec", t.Codec, 16); err != nil {
			return err
		}
		switch {
		case t.Layers < 0 || t.Layers > MaxLayers:
			return fmt.Errorf("layers: %w", errRange)
		case slices.ContainsFunc(m.Tracks[:i], func(before WantedTrack) bool { return before.Source == t.Source }):
			return fmt.Errorf("tracks: %w", errTwice)
		}
	}
	return nil
}

func (m *Error) validate() error {
	// A client must get over a code that it does not know.
	if m.Code == "" || len(m.Code) > 64 {
		return fmt.Errorf("code: %w", errLength)
	}
	return validateText("message", m.Message, 1024)
}

func validateSDP(sdp string) error {
	if sdp == "" {
		return fmt.Errorf("sdp: %w", errMissing)
	}
	if len(sdp) > MaxSDP {
		return refuse(CodeTooLarge, fmt.Errorf("sdp: %w", errLength))
	}
	return nil
}

// validateMID takes what RFC 8843 section 9.1 and RFC 4566 allow for a token,
// without the characters that no browser writes into a mid.
func validateMID(mid string) error {
	if mid == "" || len(mid) > MaxMID {
		return fmt.Errorf("mid: %w", errLength)
	}
	for i := 0; i < len(mid); i++ {
		c := mid[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '.', c == '+':
		default:
			return fmt.Errorf("mid: %w", errAlphabet)
		}
	}
	return nil
}

func validateLeaf(leaf int) error {
	if leaf < 0 || leaf >= MaxPeers {
		return fmt.Errorf("leaf: %w", errRange)
	}
	return nil
}

func validateTracks(tracks []Track) error {
	if len(tracks) > MaxTracks {
		return fmt.Errorf("tracks: %w", errLength)
	}
	for i, t := range tracks {
		if err := t.Source.validate(); err != nil {
			return err
		}
		for _, before := range tracks[:i] {
			if before.Source == t.Source {
				return fmt.Errorf("tracks: %w", errTwice)
			}
		}
	}
	return nil
}

// validateText takes printable text without control characters, so that it
// can go into a log line or a terminal.
func validateText(field, s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("%s: %w", field, errLength)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%s: %w", field, errAlphabet)
	}
	for _, r := range s {
		if r < 0x20 || 0x7f <= r && r < 0xa0 {
			return fmt.Errorf("%s: %w", field, errAlphabet)
		}
	}
	return nil
}
