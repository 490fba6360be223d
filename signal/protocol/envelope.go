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

// The envelope types. A client sends EnvelopeWelcome inside a [Bundle] only.
const (
	EnvelopeCreate  EnvelopeType = 1 // a group is made
	EnvelopeKP      EnvelopeType = 2 // an MLS key package: somebody wants to join
	EnvelopeCommit  EnvelopeType = 3 // an MLS commit
	EnvelopeWelcome EnvelopeType = 4 // an MLS Welcome for those whom a commit adds
	EnvelopeApp     EnvelopeType = 5 // an application message
)

// maxSealed is the largest sealed part of the type in bytes, 0 for no type.
func (t EnvelopeType) maxSealed() int {
	switch t {
	case EnvelopeCreate, EnvelopeKP:
		return MaxSealedCreate
	case EnvelopeCommit:
		return MaxSealedCommit
	case EnvelopeWelcome:
		return MaxSealedWelcome
	case EnvelopeApp:
		return MaxSealed
	}
	return 0
}

// EnvelopeHeader is the clear part of a sealed message, and the associated
// data of its seal. All integers are big-endian on the wire.
type EnvelopeHeader struct {
	Type EnvelopeType
	// Gen is the generation of the link, 0 for the link that founded the room.
	Gen uint16
	// GroupInstance is the middle of the MLS group id; zero without a group.
	GroupInstance GroupInstance
	// Slot of a commit is the number of commits accepted before it; else 0.
	Slot uint64
	// Epoch of the group in which it was sealed, of a welcome the one it leads
	// to; 0 in a create and with a key package.
	Epoch uint64
	// From is the sender. The service checks it.
	From ConnID
	// To is the one addressee, or zero for everybody else in the room. In a
	// create it is the host tag.
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
	case b[0] != EnvelopeVersion:
		return Envelope{}, refuse(CodeUnsupportedEnvelope, fmt.Errorf("envelope version: %w", errEnum))
	}
	e := Envelope{
		EnvelopeHeader: EnvelopeHeader{
			Type:          EnvelopeType(b[1]),
			Gen:           binary.BigEndian.Uint16(b[2:]),
			GroupInstance: GroupInstance(b[4:20]),
			Slot:          binary.BigEndian.Uint64(b[20:]),
			Epoch:         binary.BigEndian.Uint64(b[28:]),
			From:          ConnID(b[36:52]),
			To:            ConnID(b[52:68]),
		},
		Sealed: b[EnvelopeHeaderSize:],
	}
	switch limit := e.Type.maxSealed(); {
	case limit == 0:
		return Envelope{}, refuse(CodeBadEnvelope, fmt.Errorf("envelope type: %w", errEnum))
	case len(e.Sealed) > limit:
		return Envelope{}, refuse(CodeTooLarge, fmt.Errorf("envelope: %w", errLength))
	case e.From.IsZero():
		return Envelope{}, refuse(CodeBadEnvelope, fmt.Errorf("from_conn: is zero: %w", errRange))
	}
	if err := e.checkGroup(); err != nil {
		return Envelope{}, refuse(CodeBadEnvelope, err)
	}
	return e, nil
}

// checkGroup checks the fields that mean something for the delivery service.
// Those of an application message it passes on unread.
func (h EnvelopeHeader) checkGroup() error {
	if h.Type == EnvelopeApp {
		return nil
	}
	if h.GroupInstance.IsZero() {
		return fmt.Errorf("gi: is zero: %w", errRange)
	}
	if (h.Type == EnvelopeCreate) == h.To.IsZero() {
		return fmt.Errorf("to_conn: %w", errRange)
	}
	if h.Type == EnvelopeCreate || h.Type == EnvelopeKP {
		if h.Slot != 0 || h.Epoch != 0 {
			return fmt.Errorf("slot, epoch: %w", errRange)
		}
	}
	return nil
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
