package protocol

import (
	"encoding/binary"
	"fmt"
)

// EnvelopeVersion is the first byte of every envelope.
const EnvelopeVersion = 1

// EnvelopeHeaderSize is the length in bytes of the clear header.
const EnvelopeHeaderSize = 1 + 1 + 2 + 16 + 8 + 8 + 16 + 16

// SealOverhead is what sealing adds: a 12-byte nonce before the ciphertext and
// a 16-byte tag after it.
const SealOverhead = 12 + 16

// SequenceSize is the length in bytes of the order number that the service
// writes before a relayed envelope.
const SequenceSize = 8

// EnvelopeType says what is sealed.
type EnvelopeType uint8

// The envelope types. Version 1 of the service relays EnvelopeApp alone; the
// others carry the group handshake of a later version.
const (
	EnvelopeCreate  EnvelopeType = 1
	EnvelopeKP      EnvelopeType = 2
	EnvelopeCommit  EnvelopeType = 3
	EnvelopeWelcome EnvelopeType = 4
	EnvelopeApp     EnvelopeType = 5
)

// EnvelopeHeader is the clear part of a sealed message, and the associated
// data of its seal. All integers are big-endian on the wire.
type EnvelopeHeader struct {
	Type EnvelopeType
	// Gen is the generation of the link, 0 for the link that founded the room.
	Gen uint16
	// GroupInstance is the second half of the MLS group id; zero without MLS.
	GroupInstance [16]byte
	// Slot is the number of commits before this message.
	Slot uint64
	// Epoch of the group in which it was sealed.
	Epoch uint64
	// From is the sender. The service checks it.
	From ConnID
	// To is the one addressee, or zero for everybody else in the room.
	To ConnID
}

// Envelope is a parsed binary message. Sealed aliases the parsed bytes.
type Envelope struct {
	EnvelopeHeader
	Sealed []byte
}

// ParseEnvelope reads a binary message of a client. It never looks into the
// sealed part. Errors are *[DecodeError] with code bad_envelope, too_large or
// unsupported_envelope.
func ParseEnvelope(b []byte) (Envelope, error) {
	switch {
	case len(b) < EnvelopeHeaderSize+SealOverhead:
		return Envelope{}, refuse(CodeBadEnvelope, fmt.Errorf("envelope: %w", errLength))
	case len(b) > MaxEnvelope:
		return Envelope{}, refuse(CodeTooLarge, fmt.Errorf("envelope: %w", errLength))
	case b[0] != EnvelopeVersion:
		return Envelope{}, refuse(CodeUnsupportedEnvelope, fmt.Errorf("envelope version: %w", errEnum))
	}
	e := Envelope{
		EnvelopeHeader: EnvelopeHeader{
			Type:          EnvelopeType(b[1]),
			Gen:           binary.BigEndian.Uint16(b[2:]),
			GroupInstance: [16]byte(b[4:20]),
			Slot:          binary.BigEndian.Uint64(b[20:]),
			Epoch:         binary.BigEndian.Uint64(b[28:]),
			From:          ConnID(b[36:52]),
			To:            ConnID(b[52:68]),
		},
		Sealed: b[EnvelopeHeaderSize:],
	}
	if e.Type < EnvelopeCreate || e.Type > EnvelopeApp {
		return Envelope{}, refuse(CodeBadEnvelope, fmt.Errorf("envelope type: %w", errEnum))
	}
	if e.From.IsZero() {
		return Envelope{}, refuse(CodeBadEnvelope, fmt.Errorf("from_conn: is zero: %w", errRange))
	}
	return e, nil
}

// ParseRelayed reads a binary message of the service: the order number, then
// the envelope.
func ParseRelayed(b []byte) (seq uint64, e Envelope, err error) {
	if len(b) < SequenceSize {
		return 0, Envelope{}, refuse(CodeBadEnvelope, fmt.Errorf("sequence: %w", errLength))
	}
	e, err = ParseEnvelope(b[SequenceSize:])
	if err != nil {
		return 0, Envelope{}, err
	}
	return binary.BigEndian.Uint64(b), e, nil
}

// AppendHeader appends the 68 bytes of the clear header.
func (h EnvelopeHeader) AppendHeader(b []byte) []byte {
	b = append(b, EnvelopeVersion, byte(h.Type))
	b = binary.BigEndian.AppendUint16(b, h.Gen)
	b = append(b, h.GroupInstance[:]...)
	b = binary.BigEndian.AppendUint64(b, h.Slot)
	b = binary.BigEndian.AppendUint64(b, h.Epoch)
	b = append(b, h.From[:]...)
	return append(b, h.To[:]...)
}
