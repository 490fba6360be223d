package transport

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"sotto/sfu/packet"
)

// Caps of an offer, checked before the parser sees it. Fifty m-lines of Chromium are 151 kB and 4,000 lines.
const (
	maxOfferBytes = 256 << 10
	maxOfferLines = 16384
	maxOfferMedia = 128
	maxMID        = 16 // longest identification that a one-byte header extension carries (RFC 8285 4.2)
	maxRIDs       = 3  // layers that a track can have
	maxStreams    = 3  // layers declared by SSRC: more are ignored
)

// Errors of ParseOffer and Offer.Continues. All wrap ErrOffer.
var (
	ErrOffer            = errors.New("transport: bad offer")
	ErrOfferSize        = fmt.Errorf("%w: too large", ErrOffer)
	ErrOfferSyntax      = fmt.Errorf("%w: syntax", ErrOffer)
	ErrOfferTransport   = fmt.Errorf("%w: transport attributes", ErrOffer)
	ErrOfferBundle      = fmt.Errorf("%w: everything must be bundled on one transport", ErrOffer)
	ErrOfferMID         = fmt.Errorf("%w: media identification", ErrOffer)
	ErrOfferPayloadType = fmt.Errorf("%w: payload types", ErrOffer)
	ErrOfferExtension   = fmt.Errorf("%w: header extensions", ErrOffer)
	ErrOfferChanged     = fmt.Errorf("%w: contradicts the session", ErrOffer)
)

// MediaKind is the kind of an m-line.
type MediaKind uint8

// Kinds of m-lines. All but audio and video are rejected.
const (
	MediaOther MediaKind = iota
	MediaAudio
	MediaVideo
)

// Direction is an m-line's direction as a set: what the client offers to do.
type Direction uint8

// The client sends, receives, both (SendRecv) or nothing (0).
const (
	Send     Direction = 1
	Recv     Direction = 2
	SendRecv           = Send | Recv
)

// Offer is what the server needs of a client's session description. Immutable after ParseOffer.
type Offer struct {
	Remote      Credentials
	Fingerprint Fingerprint
	Media       []Media // in m-line order
	// Extensions are the ids that packets of the client may carry; ids are the same on all bundled m-lines (RFC 8285 6).
	Extensions packet.Extensions
	// allowMixed: two-byte header extensions may be mixed in (RFC 8285 4.1.2), offered for the whole session.
	allowMixed bool
	bundle     []string // mids in the order of the BUNDLE group
}

// Media is one m-line of an Offer.
type Media struct {
	MID       string
	Kind      MediaKind
	Direction Direction
	// Rejected: port 0 and not bundle-only, the transceiver was stopped; or an m-line that cannot be taken.
	Rejected bool
	// Codecs are those that the server knows, in the client's order.
	Codecs []PayloadType
	// RIDs are the simulcast streams that the client offers to send, in its order, at most three (RFC 8853).
	RIDs []string
	// Streams are the declared SSRCs of what the client sends, in FID order.
	Streams []Stream
	// Extensions are the ids negotiable on this m-line, Incoming from the client, Outgoing to it.
	Incoming, Outgoing packet.Extensions

	allowMixed bool
	name       sdp.MediaName // echoed when the m-line is rejected
}

// PayloadType is one codec of an m-line.
type PayloadType struct {
	PT, RTX   uint8 // RTX 0: none offered
	Codec     packet.Codec
	ClockRate uint32
	feedback  feedback
}

// Stream is a declared SSRC with that of its retransmissions, 0 = none (RFC 4588, RFC 5576 4.2).
type Stream struct{ SSRC, RTX uint32 }

// feedback is the set of RTCP feedback kinds (RFC 4585) that the server makes use of.
type feedback uint8

const (
	feedbackNACK feedback = 1 << iota
	feedbackPLI
	feedbackFIR
	feedbackTransportCC
)

// feedbackNames is in the order in which answers list them.
var feedbackNames = [...]struct {
	bit  feedback
	name string
}{
	{feedbackNACK, "nack"},
	{feedbackPLI, "nack pli"},
	{feedbackFIR, "ccm fir"},
	{feedbackTransportCC, "transport-cc"},
}

// ParseOffer reads the offer of a client. Limits apply before parsing: 256 KiB, 16,384 lines, 128 m-lines. Candidates are
// ignored: the server is ICE-lite and never sends first. The errors wrap ErrOffer and hold nothing of the input.
func ParseOffer(description []byte) (*Offer, error) {
	if err := checkOfferSize(description); err != nil {
		return nil, err
	}
	var s sdp.SessionDescription
	if err := s.UnmarshalString(string(description)); err != nil {
		return nil, ErrOfferSyntax // the cause quotes the input, which may end in a log
	}
	if len(s.MediaDescriptions) == 0 {
		return nil, fmt.Errorf("%w: no media", ErrOfferSyntax)
	}
	o := &Offer{Media: make([]Media, 0, len(s.MediaDescriptions))}
	if err := o.parseTransport(&s); err != nil {
		return nil, err
	}
	for _, a := range s.Attributes {
		switch a.Key {
		case sdp.AttrKeyGroup:
			if mids, ok := strings.CutPrefix(a.Value, "BUNDLE "); ok && o.bundle == nil {
				o.bundle = strings.Fields(mids)
			}
		case sdp.AttrKeyExtMapAllowMixed:
			o.allowMixed = true
		}
	}
	var pts payloadTypes
	for _, d := range s.MediaDescriptions {
		m, err := parseMedia(d, &pts)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(o.Media, func(other Media) bool { return other.MID == m.MID }) {
			return nil, fmt.Errorf("%w: twice", ErrOfferMID)
		}
		if !m.Rejected && m.Kind != MediaOther && !slices.Contains(o.bundle, m.MID) {
			return nil, ErrOfferBundle
		}
		if err := merge(&o.Extensions, m.Incoming); err != nil {
			return nil, err
		}
		o.Media = append(o.Media, m)
	}
	// Outgoing ids live in the same space: one id means one thing on the whole transport.
	all := o.Extensions
	for i := range o.Media {
		if err := merge(&all, o.Media[i].Outgoing); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// checkOfferSize counts before anything is allocated.
func checkOfferSize(b []byte) error {
	if len(b) > maxOfferBytes || bytes.Count(b, []byte{'\n'}) > maxOfferLines || bytes.Count(b, []byte{'\r'}) > maxOfferLines {
		return ErrOfferSize
	}
	if bytes.Count(b, []byte("\nm="))+bytes.Count(b, []byte("\rm=")) > maxOfferMedia {
		return ErrOfferSize
	}
	return nil
}

// parseTransport takes ICE and DTLS attributes from the session or, as browsers write them, from the m-lines, where they must
// all be equal because everything is bundled.
func (o *Offer) parseTransport(s *sdp.SessionDescription) error {
	session := func(key string) string { v, _ := s.Attribute(key); return v }
	var found bool
	for _, d := range s.MediaDescriptions {
		if d.MediaName.Port.Value == 0 {
			if _, bundled := d.Attribute("bundle-only"); !bundled {
				continue // rejected: need not carry any
			}
		}
		value := func(key string) string {
			if v, ok := d.Attribute(key); ok {
				return v
			}
			return session(key)
		}
		c := Credentials{Ufrag: value("ice-ufrag"), Pwd: value("ice-pwd")}
		f, err := ParseFingerprint(value("fingerprint"))
		if err != nil {
			return fmt.Errorf("%w: fingerprint", ErrOfferTransport)
		}
		if err := c.Validate(); err != nil {
			return fmt.Errorf("%w: credentials", ErrOfferTransport)
		}
		if setup := value(sdp.AttrKeyConnectionSetup); setup != "" && setup != "actpass" && setup != "active" {
			return fmt.Errorf("%w: the server is passive", ErrOfferTransport)
		}
		if found && (c != o.Remote || f != o.Fingerprint) {
			return fmt.Errorf("%w: differ between m-lines", ErrOfferTransport)
		}
		o.Remote, o.Fingerprint, found = c, f, true
	}
	if !found {
		return fmt.Errorf("%w: no usable m-line", ErrOfferTransport)
	}
	return nil
}

// parseMedia reads one m-line. What is unknown is skipped; what is malformed in a part that the server uses is an error.
func parseMedia(d *sdp.MediaDescription, pts *payloadTypes) (Media, error) {
	m := Media{name: d.MediaName, Direction: SendRecv} // RFC 8866 6.7: sendrecv is the default
	switch d.MediaName.Media {
	case "audio":
		m.Kind = MediaAudio
	case "video":
		m.Kind = MediaVideo
	}
	m.MID, _ = d.Attribute(sdp.AttrKeyMID)
	if len(m.MID) == 0 || len(m.MID) > maxMID || !isToken(m.MID) {
		return Media{}, ErrOfferMID
	}
	_, bundleOnly := d.Attribute("bundle-only")
	m.Rejected = d.MediaName.Port.Value == 0 && !bundleOnly
	if m.Rejected || m.Kind == MediaOther {
		m.Direction = 0
		return m, nil
	}
	if strings.Join(d.MediaName.Protos, "/") != "UDP/TLS/RTP/SAVPF" {
		return Media{}, fmt.Errorf("%w: protocol", ErrOfferTransport)
	}
	if _, mux := d.Attribute(sdp.AttrKeyRTCPMux); !mux {
		return Media{}, fmt.Errorf("%w: rtcp-mux is missing", ErrOfferTransport)
	}
	for _, a := range d.Attributes {
		switch a.Key {
		case "sendrecv":
			m.Direction = SendRecv
		case "sendonly":
			m.Direction = Send
		case "recvonly":
			m.Direction = Recv
		case "inactive":
			m.Direction = 0
		case sdp.AttrKeyExtMapAllowMixed:
			m.allowMixed = true
		case sdp.AttrKeyExtMap:
			if err := m.parseExtension(a.Value); err != nil {
				return Media{}, err
			}
		case "simulcast":
			m.parseSimulcast(a.Value)
		}
	}
	if err := m.parseCodecs(d, pts); err != nil {
		return Media{}, err
	}
	if m.Direction&Send != 0 {
		m.parseStreams(d)
	}
	return m, nil
}

// parseSimulcast reads the streams that the client offers to send, "send q;~h;f,g recv …" (RFC 8853 5.1): a tilde says that a
// stream starts paused, alternatives after a comma are not used.
func (m *Media) parseSimulcast(value string) {
	fields := strings.Fields(value)
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] != "send" {
			continue
		}
		for list := range strings.SplitSeq(fields[i+1], ";") {
			rid, _, _ := strings.Cut(list, ",")
			rid = strings.TrimPrefix(rid, "~")
			if len(m.RIDs) == maxRIDs || !isRID(rid) || slices.Contains(m.RIDs, rid) {
				continue
			}
			m.RIDs = append(m.RIDs, rid)
		}
	}
}

// parseStreams reads a=ssrc and a=ssrc-group:FID of an m-line that the client sends on.
func (m *Media) parseStreams(d *sdp.MediaDescription) {
	var paired []uint32
	for _, a := range d.Attributes {
		if a.Key != sdp.AttrKeySSRCGroup {
			continue
		}
		f := strings.Fields(a.Value)
		if len(f) != 3 || f[0] != sdp.SemanticTokenFlowIdentification || len(m.Streams) == maxStreams {
			continue
		}
		media, ok1 := parseSSRC(f[1])
		rtx, ok2 := parseSSRC(f[2])
		if ok1 && ok2 && media != rtx && !slices.Contains(paired, media) && !slices.Contains(paired, rtx) {
			m.Streams = append(m.Streams, Stream{SSRC: media, RTX: rtx})
			paired = append(paired, media, rtx)
		}
	}
	for _, a := range d.Attributes {
		if a.Key != sdp.AttrKeySSRC || len(m.Streams) == maxStreams {
			continue
		}
		id, _, _ := strings.Cut(a.Value, " ")
		if ssrc, ok := parseSSRC(id); ok && !slices.Contains(paired, ssrc) {
			m.Streams = append(m.Streams, Stream{SSRC: ssrc})
			paired = append(paired, ssrc)
		}
	}
}

func parseSSRC(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n != 0
}

// isToken reports whether s is a token of RFC 8866 9.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]`, c) >= 0 {
			return false
		}
	}
	return len(s) > 0
}

// isRID reports whether s is a rid-id that fits a one-byte header extension (RFC 8852 3: alphanumeric).
func isRID(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return len(s) > 0 && len(s) <= maxMID
}
