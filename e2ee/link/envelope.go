package link

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
)

// Type is the kind of an envelope; the service treats them differently.
type Type uint8

// The envelope types of the wire format: foundation of a group, key package,
// commit, welcome and application message.
const (
	TypeCreate Type = 1 + iota
	TypeKeyPackage
	TypeCommit
	TypeWelcome
	TypeApp
)

const (
	// HeaderSize is the length of the clear part of an envelope in bytes.
	HeaderSize = 1 + 1 + 2 + 16 + 8 + 8 + 16 + 16
	// sealed = nonce (12) || ciphertext || tag (16)
	nonceSize = 12
	tagSize   = 16
	// SealOverhead is what sealing adds to a message, the header included.
	SealOverhead = HeaderSize + nonceSize + tagSize

	version = 1
)

// maxSealed bounds the sealed part by type, in bytes.
func (t Type) maxSealed() int {
	switch t {
	case TypeCreate, TypeKeyPackage:
		return 8 << 10
	case TypeCommit:
		return 256 << 10
	case TypeWelcome:
		return 192 << 10
	case TypeApp:
		return 32 << 10
	}
	return 0
}

// Errors of envelopes.
var (
	ErrEnvelope = errors.New("link: malformed envelope")
	ErrTooLarge = errors.New("link: envelope too large for its type")
	ErrSeal     = errors.New("link: envelope does not open")
	// ErrEnvelopeReplay: the sender's counter did not rise.
	ErrEnvelopeReplay = errors.New("link: replayed envelope")
)

// Header is the clear part of an envelope, which the service reads.
//
//	v u8 = 1 | type u8 | gen u16 | gi[16] | slot u64 | epoch u64 | from_conn[16] | to_conn[16] | sealed
//
// Numbers are big-endian. What does not apply to a type is zero.
type Header struct {
	Type  Type
	Gen   uint16   // generation of the link
	Group [16]byte // MLS group id [16:32]
	Slot  uint64   // of a commit: the number of commits before it
	Epoch uint64   // the message is made in; of a welcome: it leads to
	From  ConnID
	To    ConnID // zero: everybody; of a create: the tag of the host's token
}

// Append appends the encoded header.
func (h Header) Append(dst []byte) []byte {
	dst = append(dst, version, byte(h.Type))
	dst = binary.BigEndian.AppendUint16(dst, h.Gen)
	dst = append(dst, h.Group[:]...)
	dst = binary.BigEndian.AppendUint64(dst, h.Slot)
	dst = binary.BigEndian.AppendUint64(dst, h.Epoch)
	dst = append(dst, h.From[:]...)
	return append(dst, h.To[:]...)
}

// ParseEnvelope splits an envelope and checks its sizes. sealed refers to b.
// The error is [ErrEnvelope] or [ErrTooLarge].
func ParseEnvelope(b []byte) (h Header, sealed []byte, err error) {
	if len(b) < SealOverhead || b[0] != version {
		return h, nil, ErrEnvelope
	}
	h.Type = Type(b[1])
	if h.Type < TypeCreate || h.Type > TypeApp {
		return h, nil, ErrEnvelope
	}
	h.Gen = binary.BigEndian.Uint16(b[2:])
	h.Group = [16]byte(b[4:])
	h.Slot = binary.BigEndian.Uint64(b[20:])
	h.Epoch = binary.BigEndian.Uint64(b[28:])
	h.From = ConnID(b[36:])
	h.To = ConnID(b[52:])
	sealed = b[HeaderSize:]
	if len(sealed) > h.Type.maxSealed() {
		return h, nil, ErrTooLarge
	}
	return h, sealed, nil
}

// Sealer seals the envelopes of one connection. There must be one per ConnID,
// since it owns the counter, which goes on when the link is replaced. Not safe
// for concurrent use.
type Sealer struct {
	room [16]byte
	from ConnID
	aead cipher.AEAD
	next uint64
}

// Sealer returns the sealer for the own connection.
func (k *Keys) Sealer(from ConnID) (*Sealer, error) {
	aead, err := k.connAEAD(from)
	if err != nil {
		return nil, err
	}
	return &Sealer{room: k.room, from: from, aead: aead}, nil
}

// Renew goes on with the keys of another generation of the link.
func (s *Sealer) Renew(k *Keys) error {
	aead, err := k.connAEAD(s.from)
	if err != nil {
		return err
	}
	s.room, s.aead = k.room, aead
	return nil
}

// Seal returns the envelope of message. From in h is set to the sealer's own
// connection. The error is [ErrTooLarge] or [ErrEnvelope] (type).
func (s *Sealer) Seal(h Header, message []byte) ([]byte, error) {
	if h.Type.maxSealed() == 0 {
		return nil, ErrEnvelope
	}
	if nonceSize+len(message)+tagSize > h.Type.maxSealed() {
		return nil, ErrTooLarge
	}
	h.From = s.from
	out := h.Append(make([]byte, 0, SealOverhead+len(message)))
	aad := append(out[:len(out):len(out)], s.room[:]...)
	var nonce [nonceSize]byte
	binary.BigEndian.PutUint64(nonce[4:], s.next)
	s.next++ // 2^64 envelopes are out of reach
	out = append(out, nonce[:]...)
	return s.aead.Seal(out, nonce[:], message, aad), nil
}

// Opener opens the envelopes that one connection seals with the keys of one
// generation of the link, each once and in order. Not safe for concurrent use.
type Opener struct {
	room [16]byte
	from ConnID
	aead cipher.AEAD
	next uint64 // lowest counter still acceptable
}

// Opener returns the opener for the envelopes of a peer.
func (k *Keys) Opener(from ConnID) (*Opener, error) {
	aead, err := k.connAEAD(from)
	if err != nil {
		return nil, err
	}
	return &Opener{room: k.room, from: from, aead: aead}, nil
}

// Open returns the message of an envelope. Envelopes may be missing in between
// but never come twice or late. The error is one of this package's.
func (o *Opener) Open(envelope []byte) (Header, []byte, error) {
	h, sealed, err := ParseEnvelope(envelope)
	if err != nil {
		return h, nil, err
	}
	if h.From != o.from {
		return h, nil, ErrSeal
	}
	if binary.BigEndian.Uint32(sealed) != 0 {
		return h, nil, ErrEnvelope
	}
	nonce, counter := sealed[:nonceSize], binary.BigEndian.Uint64(sealed[4:])
	if counter < o.next {
		return h, nil, ErrEnvelopeReplay
	}
	aad := append(envelope[:HeaderSize:HeaderSize], o.room[:]...)
	message, err := o.aead.Open(nil, nonce, sealed[nonceSize:], aad)
	if err != nil || counter == 1<<64-1 {
		return h, nil, ErrSeal
	}
	o.next = counter + 1
	return h, message, nil
}

func (k *Keys) connAEAD(from ConnID) (cipher.AEAD, error) {
	key, err := k.sealKey(from)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
