package group

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"sotto/e2ee/link"
	"sotto/e2ee/mls"
)

const suite = mls.X25519AES128SHA256Ed25519

// Role is what a member claims to be.
type Role uint8

// The roles. Host can be claimed by the creator of the group only, but the
// creator need not claim it: a newcomer does not know the group's id yet.
const (
	RoleMember Role = 0
	RoleHost   Role = 1
)

// Credential is what a member says of itself, covered by the signature of its
// leaf. On the wire, in the identity of an MLS basic credential:
//
//	u8 version = 1 || opaque name<V> (0..64 bytes) || u8 role || opaque conn_id[16] || u32 serial
type Credential struct {
	Name string
	Role Role
	Conn link.ConnID
	// Serial numbers the key packages of a connection, from 1; 0 is the leaf of
	// who founds a group. It says which of two is the newer one.
	Serial uint32
}

// Reasons to refuse a credential or a policy.
var (
	errCredential = errors.New("group: unacceptable credential")
	errPolicy     = errors.New("group: unacceptable policy")
)

const credentialVersion = 1

// Append appends the encoded credential.
func (c Credential) Append(dst []byte) []byte {
	dst = append(dst, credentialVersion)
	if n := len(c.Name); n < 64 {
		dst = append(dst, byte(n)) // RFC 9420 2.1.2: shortest form
	} else {
		dst = append(dst, 0x40|byte(n>>8), byte(n))
	}
	dst = append(dst, c.Name...)
	dst = append(dst, byte(c.Role))
	dst = append(dst, c.Conn[:]...)
	return binary.BigEndian.AppendUint32(dst, c.Serial)
}

// ParseCredential reads a credential; there is one encoding of each.
func ParseCredential(b []byte) (c Credential, err error) {
	if len(b) < 2 || b[0] != credentialVersion {
		return c, errCredential
	}
	n, rest := int(b[1]), b[2:]
	if n == 0x40 && len(rest) > 0 { // two bytes of length, for a name of 64
		n, rest = int(rest[0]), rest[1:]
		if n < 64 {
			return c, errCredential
		}
	}
	if n > maxName || len(rest) != n+1+len(c.Conn)+4 {
		return c, errCredential
	}
	c.Name, c.Role, rest = string(rest[:n]), Role(rest[n]), rest[n+1:]
	c.Conn, c.Serial = link.ConnID(rest), binary.BigEndian.Uint32(rest[len(c.Conn):])
	if c.Name != "" && !AcceptName(c.Name) || c.Role > RoleHost || c.Conn == (link.ConnID{}) {
		return Credential{}, errCredential
	}
	return c, nil
}

// maxName is the longest name in bytes.
const maxName = 64

// AcceptName reports whether a name can be shown as it is: 1 to 64 bytes of
// UTF-8 without white space at its ends and without characters that are not
// seen or that turn the text around. The two joiners are needed by some scripts
// and by emoji. Normalization is the duty of who sets the name.
func AcceptName(name string) bool {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.TrimSpace(name) != name {
		return false
	}
	visible := false
	for _, r := range name {
		joiner := r == 0x200c || r == 0x200d
		if !joiner && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return false
		}
		visible = visible || !isBlank(r)
	}
	return visible
}

// isBlank reports whether a character shows nothing of itself: white space,
// fillers, joiners, selectors of variants, and the Braille pattern without dots.
func isBlank(r rune) bool {
	return unicode.IsSpace(r) || r == 0x2800 ||
		unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// A group id is room id raw (16) || gi (16) || SHA-256(creator's key)[:16].
const groupIDSize = 48

func newGroupID(room, gi [16]byte, creator []byte) []byte {
	hash := sha256.Sum256(creator)
	id := append(make([]byte, 0, groupIDSize), room[:]...)
	id = append(id, gi[:]...)
	return append(id, hash[:16]...)
}

// giOf is the part of a group id that envelopes carry.
func giOf(groupID []byte) (gi [16]byte, ok bool) {
	if len(groupID) != groupIDSize {
		return gi, false
	}
	return [16]byte(groupID[16:32]), true
}

// isHost reports whether key is the creator's.
func isHost(groupID, key []byte) bool {
	hash := sha256.Sum256(key)
	return len(groupID) == groupIDSize && bytes.Equal(hash[:16], groupID[32:])
}

// extensionPolicy is the GroupContext extension with the policy of the room.
const extensionPolicy mls.ExtensionType = 0xF050

// policy is the content of the extension:
//
//	locked u8 || knock u8 || link_gen u16
type policy struct {
	Policy
	gen uint16 // of the link
}

func (p policy) extension() mls.Extension {
	data := []byte{0, 0}
	if p.Locked {
		data[0] = 1
	}
	if p.Knock {
		data[1] = 1
	}
	return mls.Extension{Type: extensionPolicy, Data: binary.BigEndian.AppendUint16(data, p.gen)}
}

func parsePolicy(b []byte) (p policy, err error) {
	if len(b) != 4 || b[0] > 1 || b[1] > 1 {
		return p, errPolicy
	}
	p.Locked, p.Knock, p.gen = b[0] == 1, b[1] == 1, binary.BigEndian.Uint16(b[2:])
	return p, nil
}

// policyOf reads the policy of a group, whose context has that one extension
// and no other.
func policyOf(extensions mls.Extensions) (p policy, err error) {
	if len(extensions) != 1 || extensions[0].Type != extensionPolicy {
		return p, errPolicy
	}
	return parsePolicy(extensions[0].Data)
}
