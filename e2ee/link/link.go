package link

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
)

// SecretSize is the length of the link secret in bytes.
const SecretSize = 32

// Errors of Parse and ParseSecret. They never contain any part of the link.
var (
	ErrBadLink   = errors.New("link: not a room link")
	ErrBadSecret = errors.New("link: the secret is not 32 bytes of base64url")
	// ErrRoomMismatch: the room id in the path is not the one of the secret, so
	// somebody changed one of them.
	ErrRoomMismatch = errors.New("link: the room id does not belong to the secret")
)

// Secret is the secret of a room. It formats as "[secret]", so that it cannot
// slip into a log; [Secret.Encode] gives it away on purpose.
type Secret [SecretSize]byte

// NewSecret draws the secret of a new room.
func NewSecret() (s Secret) {
	rand.Read(s[:]) // never fails
	return s
}

// ParseSecret reads the fragment of a link: 43 characters of base64url, in the
// one canonical form.
func ParseSecret(text string) (s Secret, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != SecretSize || strings.ContainsAny(text, "\r\n") {
		return s, ErrBadSecret
	}
	return Secret(b), nil
}

// Encode is the fragment of the link.
func (s Secret) Encode() string { return base64.RawURLEncoding.EncodeToString(s[:]) }

// String hides the secret from %v, %s and %q.
func (Secret) String() string { return "[secret]" }

// GoString hides the secret from %#v.
func (Secret) GoString() string { return "[secret]" }

// Equal compares in constant time.
func (s Secret) Equal(t Secret) bool { return subtle.ConstantTimeCompare(s[:], t[:]) == 1 }

// Link is a parsed room link.
type Link struct {
	// Origin is scheme and host, such as "https://meet.example".
	Origin string
	// Host is what [Keys.ConnectSignature] binds a connection to.
	Host   string
	Secret Secret
	Keys   *Keys
}

// maxLink bounds what Parse looks at, in bytes: a host name is at most 253.
const maxLink = 512

// Parse reads a link and recomputes the room id, refusing one that does not
// belong to the secret ([ErrRoomMismatch]).
func Parse(text string) (*Link, error) {
	if len(text) > maxLink {
		return nil, ErrBadLink
	}
	origin, path, fragment, ok := split(text)
	if !ok {
		return nil, ErrBadLink
	}
	scheme, host, ok := strings.Cut(origin, "://")
	if !ok || (scheme != "https" && scheme != "http") || !validHost(host) {
		return nil, ErrBadLink
	}
	room, ok := strings.CutPrefix(path, "/r/")
	if !ok || len(room) != RoomIDLength {
		return nil, ErrBadLink
	}
	secret, err := ParseSecret(fragment)
	if err != nil {
		return nil, err
	}
	keys, err := Derive(secret)
	if err != nil {
		return nil, err
	}
	if room != keys.RoomID() {
		return nil, ErrRoomMismatch
	}
	return &Link{Origin: origin, Host: host, Secret: secret, Keys: keys}, nil
}

// split takes a link apart at the first slash behind the host and at the first
// "#". Package net/url would double the part of a WebAssembly build that is not
// cryptography, and accept much that is no link of a room.
func split(text string) (origin, path, fragment string, ok bool) {
	text, fragment, _ = strings.Cut(text, "#")
	at := strings.Index(text, "://")
	if at < 0 {
		return "", "", "", false
	}
	at += len("://")
	slash := strings.IndexByte(text[at:], '/')
	if slash < 0 {
		return "", "", "", false
	}
	return text[:at+slash], text[at+slash:], fragment, true
}

// validHost accepts what a browser has as location.host: a name in ASCII, an
// IPv4 address or an IPv6 address in brackets, and maybe a port.
func validHost(host string) bool {
	const digits, hex = "0123456789", "0123456789abcdefABCDEF:."
	name, port := host, ""
	if at := strings.LastIndexByte(host, ':'); at >= 0 && !strings.HasSuffix(host, "]") {
		name, port = host[:at], host[at+1:]
		if port == "" || len(port) > 5 || strings.Trim(port, digits) != "" {
			return false
		}
	}
	if inner, ok := strings.CutPrefix(name, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		return ok && inner != "" && strings.Trim(inner, hex) == ""
	}
	for _, c := range []byte(name) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && !(c >= '0' && c <= '9') && c != '-' && c != '.' {
			return false
		}
	}
	return name != ""
}

// New makes the link of a new room at origin ("https://meet.example").
func New(origin string) (*Link, error) {
	secret := NewSecret()
	keys, err := Derive(secret)
	if err != nil {
		return nil, err
	}
	return Parse(strings.TrimSuffix(origin, "/") + "/r/" + keys.RoomID() + "#" + secret.Encode())
}

// URL is the whole link, with the secret.
func (l *Link) URL() string { return l.Origin + "/r/" + l.Keys.RoomID() + "#" + l.Secret.Encode() }

// String is the link without the secret, fit for people to see.
func (l *Link) String() string { return l.Origin + "/r/" + l.Keys.RoomID() }
