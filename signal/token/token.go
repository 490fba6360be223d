// Package token reads and makes join tokens: JSON Web Tokens (RFC 7519) of the
// shape that LiveKit's server SDKs mint, signed with HS256 and nothing else.
//
// It is pure: the time is a parameter, the keys are the caller's. There is no
// choice of algorithm and no lookup by anything but the issuer, so a header
// decides nothing:
//
//	claims, err := token.Verify(text, now, token.Policy{Keys: keys, Room: room})
//
// Only what restricts its holder is understood; claims that would give more
// than joining a room are ignored.
package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds of a token.
const (
	// MaxBytes is the length of a token: what a proxy passes on in a header.
	MaxBytes = 4 << 10
	// MaxIdentity is the length in bytes of an identity, and of a token's id.
	MaxIdentity = 128
	// MinSecret is the length in bytes of a signing secret: that of the hash
	// (RFC 7518 section 3.2).
	MinSecret = 32
	// MaxLifetime is how far apart the ends of a token's time may be: a token
	// cannot be taken back, so it does not live long.
	MaxLifetime = 24 * time.Hour
	// Skew is how much the clocks of issuer and service may differ.
	Skew = 30 * time.Second
)

// Errors of Verify and Mint. Test with errors.Is; the text names the rule that
// is broken, never the content.
var (
	ErrInvalid   = errors.New("token: invalid")
	ErrExpired   = errors.New("token: expired")
	ErrNotYet    = errors.New("token: not valid yet")
	ErrWrongRoom = errors.New("token: not for this room")
)

// Claims are what a token says.
type Claims struct {
	Issuer   string // the API key
	Identity string // whom it was given to
	ID       string // of the token itself, empty for none
	// Once: the token admits one connection. It needs an ID.
	Once               bool
	NotBefore, Expires time.Time // whole seconds
	Audience           []string
	Room               string
	// Publish lists the sources that its holder may publish.
	Publish []Source
	// Subscribe: its holder may receive media.
	Subscribe bool
}

// Source is a kind of track, as LiveKit calls it.
type Source string

// The sources.
const (
	SourceMicrophone       Source = "microphone"
	SourceCamera           Source = "camera"
	SourceScreenShare      Source = "screen_share"
	SourceScreenShareAudio Source = "screen_share_audio"
)

// Sources lists every source.
func Sources() []Source {
	return []Source{SourceMicrophone, SourceCamera, SourceScreenShare, SourceScreenShareAudio}
}

// Policy is what a token must agree with.
type Policy struct {
	Keys     map[string][]byte // secrets by issuer
	Audience string            // refuses a token that names other audiences; empty takes any
	Room     string
}

// header is what signs the token. Any other member but crit is ignored: kid
// names no key here.
type header struct {
	Algorithm string          `json:"alg"`
	Type      string          `json:"typ,omitempty"`
	Critical  json.RawMessage `json:"crit,omitempty"`
}

type payload struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  audience `json:"aud,omitempty"`
	NotBefore *int64   `json:"nbf,omitempty"`
	IssuedAt  *int64   `json:"iat,omitempty"`
	Expires   *int64   `json:"exp"`
	ID        string   `json:"jti,omitempty"`
	Once      bool     `json:"once,omitempty"`
	Video     *video   `json:"video"`
}

// video is LiveKit's grant. Absent permissions are given.
type video struct {
	RoomJoin     bool     `json:"roomJoin"`
	Room         string   `json:"room"`
	CanPublish   *bool    `json:"canPublish,omitempty"`
	CanSubscribe *bool    `json:"canSubscribe,omitempty"`
	Sources      []Source `json:"canPublishSources,omitempty"`
}

// audience is one string or a list (RFC 7519 section 4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// Verify reads a token and checks all of it. The errors are ErrInvalid,
// ErrExpired, ErrNotYet and ErrWrongRoom; the last three are told only to who
// holds a token with a good signature.
func Verify(text string, now time.Time, p Policy) (Claims, error) {
	signed, raw, mac, err := parse(text)
	if err != nil {
		return Claims{}, err
	}
	secret, known := p.Keys[raw.Issuer]
	if !known || len(secret) < MinSecret {
		return Claims{}, invalid("unknown issuer")
	}
	if !hmac.Equal(mac, sign(secret, signed)) {
		return Claims{}, invalid("signature")
	}
	c, err := raw.claims()
	switch {
	case err != nil:
		return Claims{}, err
	case now.Add(Skew).Before(c.NotBefore):
		return Claims{}, ErrNotYet
	case !now.Before(c.Expires.Add(Skew)):
		return Claims{}, ErrExpired
	case p.Audience != "" && len(c.Audience) > 0 && !slices.Contains(c.Audience, p.Audience):
		return Claims{}, invalid("audience")
	case !raw.Video.RoomJoin || c.Room == "" || c.Room != p.Room:
		return Claims{}, ErrWrongRoom
	}
	return c, nil
}

// parse takes a token apart without believing it.
func parse(text string) (signed string, p payload, mac []byte, err error) {
	if len(text) > MaxBytes {
		return "", p, nil, invalid("too long")
	}
	if strings.ContainsAny(text, "\r\n") { // encoding/base64 skips them
		return "", p, nil, invalid("line break")
	}
	dot := strings.LastIndexByte(text, '.')
	if dot < 0 || strings.Count(text, ".") != 2 {
		return "", p, nil, invalid("not three parts")
	}
	first, second, _ := strings.Cut(text[:dot], ".")
	var h header
	if err := decode(first, &h); err != nil {
		return "", p, nil, invalid("header")
	}
	switch {
	case h.Algorithm != "HS256":
		return "", p, nil, invalid("algorithm")
	case h.Type != "" && !strings.EqualFold(h.Type, "JWT"):
		return "", p, nil, invalid("type")
	case h.Critical != nil: // RFC 7515 section 4.1.11: none is understood
		return "", p, nil, invalid("critical header")
	}
	if err := decode(second, &p); err != nil {
		return "", p, nil, invalid("claims")
	}
	mac, err = base64url.DecodeString(text[dot+1:])
	if err != nil || len(mac) != sha256.Size {
		return "", p, nil, invalid("signature")
	}
	return text[:dot], p, mac, nil
}

// claims checks what does not depend on time and policy.
func (p *payload) claims() (Claims, error) {
	begin := p.NotBefore
	if begin == nil {
		begin = p.IssuedAt
	}
	switch {
	case p.Subject == "" || len(p.Subject) > MaxIdentity:
		return Claims{}, invalid("identity")
	case len(p.ID) > MaxIdentity || p.Once && p.ID == "":
		return Claims{}, invalid("token id")
	case p.Expires == nil || begin == nil:
		return Claims{}, invalid("no time")
	// Within these, no sum of times overflows.
	case *begin < 0 || *p.Expires > maxTime || *p.Expires < *begin:
		return Claims{}, invalid("time")
	case *p.Expires-*begin > int64(MaxLifetime/time.Second):
		return Claims{}, invalid("lifetime")
	case p.Video == nil:
		return Claims{}, ErrWrongRoom
	}
	c := Claims{
		Issuer: p.Issuer, Identity: p.Subject, ID: p.ID, Once: p.Once,
		NotBefore: time.Unix(*begin, 0), Expires: time.Unix(*p.Expires, 0),
		Audience: p.Audience, Room: p.Video.Room,
		Subscribe: p.Video.CanSubscribe == nil || *p.Video.CanSubscribe,
	}
	if p.Video.CanPublish == nil || *p.Video.CanPublish {
		c.Publish = Sources()
		if len(p.Video.Sources) > 0 { // an empty list restricts nothing, as in LiveKit
			c.Publish = slices.DeleteFunc(c.Publish, func(s Source) bool { return !slices.Contains(p.Video.Sources, s) })
		}
	}
	return c, nil
}

// Mint makes a token that Verify takes.
func Mint(secret []byte, c Claims) (string, error) {
	if len(secret) < MinSecret {
		return "", fmt.Errorf("token: a secret has at least %d bytes", MinSecret)
	}
	if c.Issuer == "" || c.Room == "" {
		return "", invalid("no issuer or room")
	}
	begin, end := c.NotBefore.Unix(), c.Expires.Unix()
	p := payload{
		Issuer: c.Issuer, Subject: c.Identity, Audience: c.Audience,
		NotBefore: &begin, Expires: &end, ID: c.ID, Once: c.Once,
		Video: &video{RoomJoin: true, Room: c.Room, CanSubscribe: &c.Subscribe},
	}
	publish := len(c.Publish) > 0
	p.Video.CanPublish = &publish
	if len(c.Publish) < len(Sources()) {
		p.Video.Sources = c.Publish
	}
	if _, err := p.claims(); err != nil {
		return "", err
	}
	head, err := json.Marshal(header{Algorithm: "HS256", Type: "JWT"})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	signed := base64url.EncodeToString(head) + "." + base64url.EncodeToString(body)
	text := signed + "." + base64url.EncodeToString(sign(secret, signed))
	if len(text) > MaxBytes {
		return "", invalid("too long")
	}
	return text, nil
}

// maxTime in seconds is in the year 9999, the last that RFC 3339 can write.
const maxTime = 253402300799

var base64url = base64.RawURLEncoding.Strict()

func sign(secret []byte, text string) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// decode reads a part: an object, and nothing after it.
func decode(part string, into any) error {
	b, err := base64url.DecodeString(part)
	if err != nil {
		return err
	}
	if len(b) == 0 || b[0] != '{' {
		return ErrInvalid
	}
	return json.Unmarshal(b, into)
}

func invalid(rule string) error { return fmt.Errorf("%w: %s", ErrInvalid, rule) }
