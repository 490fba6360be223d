package transport

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
)

// Lengths in characters of the local ICE credentials. Base64 without padding
// is exactly the ice-char alphabet of RFC 8839 5.4, 6 bits per character.
const (
	nodePrefixLen   = 16 // 32 bits of node number, 64 bits of authentication tag
	ufragRandomLen  = 16 // 96 bits: a guess of a live ufrag is hopeless
	localUfragLen   = nodePrefixLen + ufragRandomLen
	localPwdLen     = 24 // 144 bits, RFC 8445 5.3 asks for 128
	maxIceCharacter = 256
	minRemoteUfrag  = 4  // RFC 8839 5.4
	minRemotePwd    = 22 // RFC 8839 5.4
)

// ErrCredentials says that an ICE ufrag or password has a length or a
// character that RFC 8839 5.4 does not allow.
var ErrCredentials = errors.New("transport: bad ICE credentials")

// Credentials are the ICE user name fragment and password of one side of a
// session (RFC 8445 5.3). They authenticate connectivity checks: secret, never
// logged.
type Credentials struct {
	Ufrag, Pwd string
}

// String hides the values, so that a stray %v does not print them.
func (Credentials) String() string { return "credentials(hidden)" }

// GoString hides the values from %#v.
func (Credentials) GoString() string { return "credentials(hidden)" }

// Validate checks lengths and alphabet against RFC 8839 5.4. The error wraps
// ErrCredentials.
func (c Credentials) Validate() error {
	if n := len(c.Ufrag); n < minRemoteUfrag || n > maxIceCharacter {
		return fmt.Errorf("%w: ufrag of %d characters", ErrCredentials, n)
	}
	if n := len(c.Pwd); n < minRemotePwd || n > maxIceCharacter {
		return fmt.Errorf("%w: password of %d characters", ErrCredentials, n)
	}
	if !iceChars(c.Ufrag) || !iceChars(c.Pwd) {
		return fmt.Errorf("%w: character outside ice-char", ErrCredentials)
	}
	return nil
}

func iceChars(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '+', c == '/':
		default:
			return false
		}
	}
	return true
}

// NodeID names a node inside the ufrags that it hands out, so that a packet
// front can route a connectivity check to the node without any state: the
// first 16 characters of a ufrag are the node's number and a tag over number
// and the random rest, under a key that the nodes and the front share.
type NodeID struct {
	number uint32
	key    [sha256.Size]byte
}

// NewNodeID makes the id of node number. The secret is shared by all nodes of
// a cluster and by its packet front; it may have any length, 32 random bytes
// are right. Without a front any secret will do.
func NewNodeID(number uint32, secret []byte) NodeID {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte("sotto-node-id/1"))
	n := NodeID{number: number}
	m.Sum(n.key[:0])
	return n
}

// Number returns the node's number.
func (n NodeID) Number() uint32 { return n.number }

// String gives the number and hides the key.
func (n NodeID) String() string { return fmt.Sprintf("node %d", n.number) }

// GoString gives the number and hides the key.
func (n NodeID) GoString() string { return n.String() }

// NewCredentials draws fresh local credentials. Any goroutine may call it.
func NewCredentials(node NodeID) Credentials {
	var random [(ufragRandomLen + localPwdLen) / 4 * 3]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand ends the process instead
	enc := base64.RawStdEncoding
	suffix := enc.EncodeToString(random[:ufragRandomLen/4*3])
	return Credentials{
		Ufrag: node.prefix(suffix) + suffix,
		Pwd:   enc.EncodeToString(random[ufragRandomLen/4*3:]),
	}
}

// prefix returns the 16 authenticated characters that precede suffix.
func (n NodeID) prefix(suffix string) string {
	var b [nodePrefixLen / 4 * 3]byte
	binary.BigEndian.PutUint32(b[:], n.number)
	m := hmac.New(sha256.New, n.key[:])
	m.Write(b[:4])
	m.Write([]byte(suffix))
	var sum [sha256.Size]byte
	copy(b[4:], m.Sum(sum[:0]))
	return base64.RawStdEncoding.EncodeToString(b[:])
}

// RouteUfrag returns the number of the node that made ufrag, for a packet
// front that shares the nodes' secret. ok is false when the tag does not fit.
func RouteUfrag(ufrag string, secret []byte) (number uint32, ok bool) {
	if len(ufrag) != localUfragLen {
		return 0, false
	}
	raw, err := base64.RawStdEncoding.DecodeString(ufrag[:nodePrefixLen])
	if err != nil {
		return 0, false
	}
	number = binary.BigEndian.Uint32(raw)
	want := NewNodeID(number, secret).prefix(ufrag[nodePrefixLen:])
	return number, hmac.Equal([]byte(want), []byte(ufrag[:nodePrefixLen]))
}
