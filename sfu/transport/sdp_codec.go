package transport

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"sotto/sfu/packet"
)

// Header extensions by URI. Others are never answered: the audio level would tell the server who speaks, and
// abs-send-time is not needed where transport-cc is.
const (
	uriMID         = "urn:ietf:params:rtp-hdrext:sdes:mid"
	uriRID         = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
	uriRepairedRID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
	uriTransportCC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
	uriAbsSendTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
	uriDescriptor  = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
)

// extensionField returns the place of an extension in e, nil for one that the server does not use.
func extensionField(e *packet.Extensions, uri string) *uint8 {
	switch uri {
	case uriMID:
		return &e.MID
	case uriRID:
		return &e.RID
	case uriRepairedRID:
		return &e.RepairedRID
	case uriTransportCC:
		return &e.TransportCC
	case uriAbsSendTime:
		return &e.AbsSendTime
	case uriDescriptor:
		return &e.DependencyDescriptor
	}
	return nil
}

// parseExtension reads "id[/direction] uri [attributes]" (RFC 8285 5).
func (m *Media) parseExtension(value string) error {
	f := strings.Fields(value)
	if len(f) < 2 {
		return ErrOfferExtension
	}
	number, direction, _ := strings.Cut(f[0], "/")
	id, err := strconv.ParseUint(number, 10, 16)
	if err != nil || id == 0 {
		return ErrOfferExtension
	}
	if extensionField(&m.Incoming, f[1]) == nil {
		return nil
	}
	if id == 15 || id > 255 { // 15 is reserved in the one-byte form, above 255 is not an id of the wire
		return ErrOfferExtension
	}
	both := direction == "" || direction == "sendrecv"
	if both || direction == "sendonly" {
		*extensionField(&m.Incoming, f[1]) = uint8(id)
	}
	if both || direction == "recvonly" {
		*extensionField(&m.Outgoing, f[1]) = uint8(id)
	}
	return nil
}

// merge adds the ids of m to all, where an extension has one id and an id one extension.
func merge(all *packet.Extensions, m packet.Extensions) error {
	a, b := extensionList(all), extensionList(&m)
	for i := range a {
		if *b[i] == 0 {
			continue
		}
		if *a[i] != 0 && *a[i] != *b[i] {
			return fmt.Errorf("%w: ids differ between m-lines", ErrOfferExtension)
		}
		*a[i] = *b[i]
	}
	for i := range a {
		for j := range i {
			if *a[i] != 0 && *a[i] == *a[j] {
				return fmt.Errorf("%w: one id for two", ErrOfferExtension)
			}
		}
	}
	return nil
}

// extensions lists the URIs in the order in which answers have them; extensionList gives the fields in the same order.
var extensions = [...]string{uriMID, uriRID, uriRepairedRID, uriTransportCC, uriAbsSendTime, uriDescriptor}

func extensionList(e *packet.Extensions) [len(extensions)]*uint8 {
	return [...]*uint8{&e.MID, &e.RID, &e.RepairedRID, &e.TransportCC, &e.AbsSendTime, &e.DependencyDescriptor}
}

// payloadTypes remembers what each payload type means: the same on every bundled m-line (RFC 9143 9.1).
type payloadTypes [128]struct {
	codec packet.Codec
	apt   uint8 // of RTX, codec None
	set   bool
}

func (p *payloadTypes) put(pt uint8, codec packet.Codec, apt uint8) error {
	e := &p[pt]
	if e.set && (e.codec != codec || e.apt != apt) {
		return fmt.Errorf("%w: one number for two formats", ErrOfferPayloadType)
	}
	e.codec, e.apt, e.set = codec, apt, true
	return nil
}

// format collects what the attributes of an m-line say about one payload type.
type format struct {
	listed   bool // in the m-line itself
	encoding string
	fmtp     string
	feedback feedback
}

// parseCodecs reads rtpmap, fmtp and rtcp-fb.
func (m *Media) parseCodecs(d *sdp.MediaDescription, pts *payloadTypes) error {
	var formats [128]format
	var order []uint8
	for _, f := range d.MediaName.Formats {
		pt, ok := parsePT(f)
		if !ok || formats[pt].listed {
			return ErrOfferPayloadType
		}
		formats[pt].listed = true
		order = append(order, pt)
	}
	for _, a := range d.Attributes {
		number, rest, _ := strings.Cut(a.Value, " ")
		switch a.Key {
		case "rtpmap":
			if pt, ok := parsePT(number); ok {
				formats[pt].encoding = strings.ToLower(strings.TrimSpace(rest))
			}
		case "fmtp":
			if pt, ok := parsePT(number); ok {
				formats[pt].fmtp = rest
			}
		case "rtcp-fb":
			bit := feedbackBit(strings.TrimSpace(rest))
			if number == "*" {
				for _, pt := range order {
					formats[pt].feedback |= bit
				}
			} else if pt, ok := parsePT(number); ok {
				formats[pt].feedback |= bit
			}
		}
	}
	for _, pt := range order {
		c, ok := codecOf(m.Kind, formats[pt])
		if !ok {
			continue
		}
		c.PT = pt
		if err := pts.put(pt, c.Codec, 0); err != nil {
			return err
		}
		m.Codecs = append(m.Codecs, c)
	}
	for _, pt := range order {
		if formats[pt].encoding != "rtx/90000" && formats[pt].encoding != "rtx/48000" {
			continue
		}
		apt, ok := parsePT(strings.TrimPrefix(parameter(formats[pt].fmtp, "apt="), "apt="))
		if !ok {
			continue
		}
		for i := range m.Codecs {
			if m.Codecs[i].PT == apt && m.Codecs[i].RTX == 0 {
				if err := pts.put(pt, packet.None, apt); err != nil {
					return err
				}
				m.Codecs[i].RTX = pt
			}
		}
	}
	return nil
}

// codecOf names the codecs that the server can carry. Video profiles other than the first of a codec are left out: they would
// need their own payload type on every receiver.
func codecOf(kind MediaKind, f format) (PayloadType, bool) {
	switch {
	case kind == MediaAudio && f.encoding == "opus/48000/2":
		return PayloadType{Codec: packet.Opus, ClockRate: 48000, feedback: f.feedback & feedbackTransportCC}, true
	case kind == MediaVideo && f.encoding == "vp8/90000":
		return PayloadType{Codec: packet.VP8, ClockRate: 90000, feedback: f.feedback}, true
	case kind == MediaVideo && f.encoding == "vp9/90000":
		if p := parameter(f.fmtp, "profile-id="); p != "" && p != "profile-id=0" {
			return PayloadType{}, false
		}
		return PayloadType{Codec: packet.VP9, ClockRate: 90000, feedback: f.feedback}, true
	case kind == MediaVideo && f.encoding == "av1/90000":
		if p := parameter(f.fmtp, "profile="); p != "" && p != "profile=0" {
			return PayloadType{}, false
		}
		return PayloadType{Codec: packet.AV1, ClockRate: 90000, feedback: f.feedback}, true
	}
	return PayloadType{}, false
}

// parameter returns the parameter of an fmtp value that starts with prefix.
func parameter(fmtp, prefix string) string {
	for p := range strings.SplitSeq(fmtp, ";") {
		if p = strings.TrimSpace(p); strings.HasPrefix(p, prefix) {
			return p
		}
	}
	return ""
}

func feedbackBit(s string) feedback {
	for _, n := range feedbackNames {
		if n.name == s {
			return n.bit
		}
	}
	return 0
}

func parsePT(s string) (uint8, bool) {
	n, err := strconv.ParseUint(s, 10, 8)
	return uint8(n), err == nil && n < 128
}
