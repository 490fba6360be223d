package protocol

import (
	"encoding/base32"
	"encoding/base64"
	"fmt"
)

// ConnID names one connection of one participant: 16 random bytes that the
// client draws each time its key worker starts. The zero value is no
// connection; in an envelope's address it means everybody.
//
// In JSON it is base64url without padding, 22 characters (RFC 4648 section 5).
type ConnID [16]byte

// IsZero reports whether the id is unset.
func (c ConnID) IsZero() bool { return c == ConnID{} }

func (c ConnID) String() string { return base64url.EncodeToString(c[:]) }

// MarshalText writes the 22 characters.
func (c ConnID) MarshalText() ([]byte, error) {
	return base64url.AppendEncode(nil, c[:]), nil
}

// UnmarshalText refuses any other length, alphabet, trailing bits and the zero id.
func (c *ConnID) UnmarshalText(text []byte) error {
	var id ConnID
	if err := decodeFixed(id[:], text); err != nil {
		return fmt.Errorf("conn_id: %w", err)
	}
	if id.IsZero() {
		return fmt.Errorf("conn_id: is zero: %w", errRange)
	}
	*c = id
	return nil
}

// ParseConnID reads the 22 characters of a connection id.
func ParseConnID(s string) (ConnID, error) {
	var c ConnID
	err := c.UnmarshalText([]byte(s))
	return c, err
}

// RoomID names a room: the first 16 bytes of SHA-256 over the room's link
// public key. In JSON, and in the path of a link, it is lowercase unpadded
// base32 (RFC 4648 section 6), 26 characters.
type RoomID [16]byte

func (r RoomID) String() string { return roomEncoding.EncodeToString(r[:]) }

// MarshalText writes the 26 characters.
func (r RoomID) MarshalText() ([]byte, error) {
	return roomEncoding.AppendEncode(nil, r[:]), nil
}

// UnmarshalText refuses any other length or alphabet, and non-zero trailing bits.
func (r *RoomID) UnmarshalText(text []byte) error {
	var id RoomID
	if len(text) != roomEncoding.EncodedLen(len(id)) {
		return fmt.Errorf("room: %w", errLength)
	}
	if _, err := roomEncoding.Decode(id[:], text); err != nil {
		return fmt.Errorf("room: %w", errAlphabet)
	}
	// Two spellings of one room would be two names for it.
	if id.String() != string(text) {
		return fmt.Errorf("room: %w", errAlphabet)
	}
	*r = id
	return nil
}

// ParseRoomID reads the 26 characters of a room id.
func ParseRoomID(s string) (RoomID, error) {
	var r RoomID
	err := r.UnmarshalText([]byte(s))
	return r, err
}

// GroupInstance names one MLS group of a room: 16 random bytes, the middle of
// the MLS group id. The zero value is no group.
//
// In JSON it is base64url without padding, 22 characters.
type GroupInstance [16]byte

// IsZero reports whether the name is unset.
func (g GroupInstance) IsZero() bool { return g == GroupInstance{} }

func (g GroupInstance) String() string { return base64url.EncodeToString(g[:]) }

// MarshalText writes the 22 characters.
func (g GroupInstance) MarshalText() ([]byte, error) { return base64url.AppendEncode(nil, g[:]), nil }

// UnmarshalText refuses any other length, alphabet, trailing bits and zero.
func (g *GroupInstance) UnmarshalText(text []byte) error {
	var id GroupInstance
	if err := decodeFixed(id[:], text); err != nil {
		return fmt.Errorf("gi: %w", err)
	}
	if id.IsZero() {
		return fmt.Errorf("gi: is zero: %w", errRange)
	}
	*g = id
	return nil
}

// Bytes is a binary field: base64url without padding in JSON, strict about
// trailing bits. Its length is checked by the message that has it.
type Bytes []byte

func (b Bytes) String() string { return base64url.EncodeToString(b) }

// MarshalText writes base64url without padding.
func (b Bytes) MarshalText() ([]byte, error) { return base64url.AppendEncode(nil, b), nil }

// UnmarshalText reads base64url without padding.
func (b *Bytes) UnmarshalText(text []byte) error {
	out := make([]byte, base64url.DecodedLen(len(text)))
	if err := decodeFixed(out, text); err != nil {
		return err
	}
	*b = out
	return nil
}

// Source is what a track shows. A participant has at most one track of each.
type Source string

// The sources, in the order of their SFrame contexts 0 to 3.
const (
	SourceMic         Source = "mic"
	SourceCamera      Source = "camera"
	SourceScreen      Source = "screen"
	SourceScreenAudio Source = "screen_audio"
)

// Sources lists every source in the order of their SFrame contexts.
func Sources() [4]Source {
	return [4]Source{SourceMic, SourceCamera, SourceScreen, SourceScreenAudio}
}

// Context is the SFrame context of the source (0 to 3), or false for an
// unknown source.
func (s Source) Context() (uint8, bool) {
	for i, known := range Sources() {
		if s == known {
			return uint8(i), true
		}
	}
	return 0, false
}

// Audio reports whether the source is sound.
func (s Source) Audio() bool { return s == SourceMic || s == SourceScreenAudio }

func (s Source) validate() error {
	if _, ok := s.Context(); !ok {
		return fmt.Errorf("source: %w", errEnum)
	}
	return nil
}

var (
	base64url    = base64.RawURLEncoding.Strict()
	roomEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
)

// decodeFixed fills dst exactly. encoding/base64 skips CR and LF, so a length
// that fits is not enough: the decoded length is checked too.
func decodeFixed(dst, text []byte) error {
	if len(text) != base64url.EncodedLen(len(dst)) {
		return errLength
	}
	n, err := base64url.Decode(dst, text)
	if err != nil || n != len(dst) {
		return errAlphabet
	}
	return nil
}
