package protocol

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// BundleVersion is the first byte of every bundle, where an envelope has
// EnvelopeVersion.
const BundleVersion = 2

// BeginsCommit reports whether the beginning of a binary message, at least two
// bytes, says that it is a commit or a bundle: the ones that may exceed
// MaxMessage.
func BeginsCommit(prefix []byte) bool {
	return len(prefix) >= 2 && (prefix[0] == BundleVersion ||
		prefix[0] == EnvelopeVersion && EnvelopeType(prefix[1]) == EnvelopeCommit)
}

// bundleHead is the length in bytes of what stands before the list.
const bundleHead = 1 + 1

// Bundle is a commit with the Welcome for those whom it adds. The service
// accepts or refuses both as one.
//
//	u8 2 || u8 n || n x conn_id || u32 length of commit || commit || welcome
//
// Admits are the n connections, 1 to MaxAdmits, that the Welcome admits. Commit
// and Welcome are whole envelopes; parsed, they alias the message.
type Bundle struct {
	Admits          []ConnID
	Commit, Welcome []byte
}

// Append appends the binary message. It does not check what it writes.
func (b Bundle) Append(to []byte) []byte {
	to = append(to, BundleVersion, byte(len(b.Admits)))
	for _, c := range b.Admits {
		to = append(to, c[:]...)
	}
	to = binary.BigEndian.AppendUint32(to, uint32(len(b.Commit)))
	to = append(to, b.Commit...)
	return append(to, b.Welcome...)
}

// ParseBundle reads the binary message of a client that begins with
// BundleVersion, and the header of its commit. Errors are *[DecodeError] with
// code bad_envelope, too_large or unsupported_envelope.
func ParseBundle(b []byte) (Bundle, EnvelopeHeader, error) {
	fail := func(code Code, what string, why error) (Bundle, EnvelopeHeader, error) {
		return Bundle{}, EnvelopeHeader{}, refuse(code, fmt.Errorf("bundle: %s: %w", what, why))
	}
	if len(b) < bundleHead || b[0] != BundleVersion {
		return fail(CodeBadEnvelope, "head", errLength)
	}
	n, rest := int(b[1]), b[bundleHead:]
	if n < 1 || n > MaxAdmits {
		return fail(CodeBadEnvelope, "list", errRange)
	}
	if len(rest) < n*len(ConnID{})+4 {
		return fail(CodeBadEnvelope, "list", errLength)
	}
	out := Bundle{Admits: make([]ConnID, 0, n)}
	for ; n > 0; n-- {
		conn := ConnID(rest[:len(ConnID{})])
		switch {
		case conn.IsZero():
			return fail(CodeBadEnvelope, "list", errRange)
		case slices.Contains(out.Admits, conn):
			return fail(CodeBadEnvelope, "list", errTwice)
		}
		out.Admits, rest = append(out.Admits, conn), rest[len(conn):]
	}
	size := uint64(binary.BigEndian.Uint32(rest))
	if rest = rest[4:]; size > uint64(len(rest)) {
		return fail(CodeBadEnvelope, "commit", errLength)
	}
	out.Commit, out.Welcome = rest[:size:size], rest[size:]
	commit, err := ParseEnvelope(out.Commit)
	if err != nil {
		return Bundle{}, EnvelopeHeader{}, err
	}
	welcome, err := ParseEnvelope(out.Welcome)
	if err != nil {
		return Bundle{}, EnvelopeHeader{}, err
	}
	switch {
	case commit.Type != EnvelopeCommit || welcome.Type != EnvelopeWelcome:
		return fail(CodeBadEnvelope, "types", errEnum)
	case commit.From != welcome.From || commit.GroupInstance != welcome.GroupInstance:
		return fail(CodeBadEnvelope, "welcome", errRange)
	case slices.Contains(out.Admits, commit.From):
		return fail(CodeBadEnvelope, "list", errRange) // who commits is in the group
	}
	return out, commit.EnvelopeHeader, nil
}
