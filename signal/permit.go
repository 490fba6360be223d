package signal

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"sotto/signal/protocol"
	"sotto/signal/token"
)

// grant is what a member may do with media.
type grant struct {
	publish   [protocol.MaxTracks]bool // by SFrame context
	subscribe bool
}

func fullGrant() grant { return grantOf(0xff) }

// bits writes a grant in a byte: bit i for publishing source i, then one for
// receiving.
func (g grant) bits() byte {
	var b byte
	for i, may := range g.publish {
		if may {
			b |= 1 << i
		}
	}
	if g.subscribe {
		b |= 1 << len(g.publish)
	}
	return b
}

func grantOf(b byte) grant {
	var g grant
	for i := range g.publish {
		g.publish[i] = b>>i&1 == 1
	}
	g.subscribe = b>>len(g.publish)&1 == 1
	return g
}

// denied lists the sources that may not be published.
func (g grant) denied() []protocol.Source {
	var list []protocol.Source
	for i, source := range protocol.Sources() {
		if !g.publish[i] {
			list = append(list, source)
		}
	}
	return list
}

// restrict checks an offer against the grant and takes out of it what may not
// be received.
func (g grant) restrict(o *protocol.Offer) *refusal {
	for _, t := range o.Tracks {
		if i, ok := t.Source.Context(); !ok || !g.publish[i] {
			return &refusal{id: &o.ID, code: protocol.CodeNotPermitted, text: "may not publish " + string(t.Source)}
		}
	}
	if g.subscribe {
		return nil
	}
	sdp, ok := withoutReceiving(o.SDP)
	if !ok {
		return &refusal{id: &o.ID, code: protocol.CodeBadOffer, text: "every section needs one direction, and not sendrecv"}
	}
	o.SDP = sdp
	return nil
}

// withoutReceiving makes every recvonly section of a session description
// inactive, so that the media node answers it so. It reports false where the
// direction of a section is not plain to see: a parser could read another one
// into it (RFC 8866 section 6.7: sendrecv where none stands).
func withoutReceiving(sdp string) (string, bool) {
	lines := strings.Split(strings.ReplaceAll(sdp, "\r\n", "\n"), "\n")
	section, directions := false, 1
	for i, line := range lines {
		if strings.Contains(line, "\r") {
			return "", false
		}
		line = strings.TrimSpace(line)
		switch name, _, hasValue := strings.Cut(line, ":"); name {
		case "a=recvonly", "a=sendonly", "a=inactive":
			if hasValue {
				return "", false
			}
			directions++
			if name == "a=recvonly" {
				lines[i] = "a=inactive"
			}
		case "a=sendrecv":
			return "", false
		}
		if strings.HasPrefix(line, "m=") {
			if section && directions != 1 {
				return "", false
			}
			section, directions = true, 0
		}
	}
	return strings.Join(lines, "\r\n"), directions == 1
}

// policy says who may connect and join. It is replaced as a whole.
type policy struct {
	origins    []string
	clientAddr func(*http.Request) netip.Addr

	open     bool // everybody who holds the link
	keys     map[string][]byte
	audience string
}

// newPolicy refuses what would let nobody in, or anybody by accident.
func newPolicy(c Config) (*policy, error) {
	for _, o := range c.AllowedOrigins {
		if _, err := originHost(o); err != nil {
			return nil, err
		}
	}
	if !c.OpenRooms && len(c.Keys) == 0 {
		return nil, errors.New("signal: rooms are not open, and there is no key for join tokens")
	}
	for issuer, secret := range c.Keys {
		if issuer == "" || len(secret) < token.MinSecret {
			return nil, fmt.Errorf("signal: a key for join tokens needs a name and a secret of at least %d bytes", token.MinSecret)
		}
	}
	p := &policy{
		origins: c.AllowedOrigins, clientAddr: c.ClientAddr,
		open: c.OpenRooms, keys: c.Keys, audience: c.TokenAudience,
	}
	if p.clientAddr == nil {
		p.clientAddr = remoteAddress
	}
	return p, nil
}

// admit checks the join token of a connect. undo gives a token that admits
// once back, for when the connection is refused after all.
func (p *policy) admit(c *protocol.Connect, now time.Time, used *usedTokens) (_ grant, identity string, undo func(), _ *refusal) {
	nothing := func() {}
	if p.open {
		return fullGrant(), "", nothing, nil
	}
	claims, err := token.Verify(c.Token, now, token.Policy{Keys: p.keys, Audience: p.audience, Room: c.Room.String()})
	if err != nil {
		return grant{}, "", nothing, &refusal{id: &c.ID, code: tokenCode(err), text: clip(err.Error(), 128), fatal: true}
	}
	if claims.Once {
		id := claims.Issuer + "\x00" + claims.ID
		switch used.add(id, claims.Expires.Add(token.Skew), now) {
		case usedBefore:
			return grant{}, "", nothing, &refusal{id: &c.ID, code: protocol.CodeTokenInvalid, text: "token: used up", fatal: true}
		case usedFull:
			return grant{}, "", nothing, &refusal{id: &c.ID, code: protocol.CodeBusy, text: "no more tokens of one use", fatal: true}
		}
		nothing = func() { used.remove(id) }
	}
	g := grant{subscribe: claims.Subscribe}
	for _, s := range claims.Publish {
		switch s {
		case token.SourceMicrophone:
			g.allow(protocol.SourceMic)
		case token.SourceCamera:
			g.allow(protocol.SourceCamera)
		case token.SourceScreenShare:
			g.allow(protocol.SourceScreen)
		case token.SourceScreenShareAudio:
			g.allow(protocol.SourceScreenAudio)
		}
	}
	return g, claims.Identity, nothing, nil
}

func (g *grant) allow(s protocol.Source) {
	if i, ok := s.Context(); ok {
		g.publish[i] = true
	}
}

func tokenCode(err error) protocol.Code {
	switch {
	case errors.Is(err, token.ErrExpired):
		return protocol.CodeTokenExpired
	case errors.Is(err, token.ErrNotYet):
		return protocol.CodeTokenNotYet
	case errors.Is(err, token.ErrWrongRoom):
		return protocol.CodeTokenWrongRoom
	}
	return protocol.CodeTokenInvalid
}
