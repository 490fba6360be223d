package transport

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"sotto/sfu/packet"
)

// Role is what the server does with an m-line of an offer.
type Role uint8

const (
	// RoleInactive keeps the m-line without media; the client may use it in a later offer.
	RoleInactive Role = iota
	// RoleReceive takes what the client sends.
	RoleReceive
	// RoleSend makes the m-line a slot: the server sends on it with the SSRCs of its MediaConfig.
	RoleSend
	// RoleReject stops the m-line for good (port 0).
	RoleReject
)

// MediaConfig says how one m-line is answered.
type MediaConfig struct {
	Role      Role
	SSRC, RTX uint32 // RoleSend: unique in the session; RTX 0 = no retransmissions
}

// AnswerConfig is what the server puts into an answer.
type AnswerConfig struct {
	// SessionID and Version are those of the o= line (RFC 8866 5.2): the same id for all answers of a session, the version
	// rises with each.
	SessionID, Version uint64
	Local              Credentials
	Fingerprint        Fingerprint
	// Candidates and TCPCandidates are the server's host candidates (RFC 8839 5.1, RFC 6544 4.5), best first.
	Candidates, TCPCandidates []netip.AddrPort
	// Video is the list of video codecs that may be used, best first; nil is VP8 alone.
	Video []packet.Codec
	// Media has one entry for each m-line of the offer.
	Media []MediaConfig
}

// Answer is a session description with what was chosen.
type Answer struct {
	Description []byte
	Media       []AnswerMedia // one for each m-line of the offer
	// Incoming are the header extensions that the client may use, Outgoing those that every packet to it may carry.
	Incoming, Outgoing packet.Extensions
}

// AnswerMedia is what was agreed on one m-line. Role may be lower than asked for: an m-line without a common codec is
// rejected, one whose direction does not fit is inactive.
type AnswerMedia struct {
	MID     string
	Kind    MediaKind
	Role    Role
	Codecs  []PayloadType
	RIDs    []string
	Streams []Stream
}

// Answer writes the answer (RFC 9429 5.3): mids, BUNDLE order, payload types and extension ids are those of the offer.
func (o *Offer) Answer(cfg AnswerConfig) (*Answer, error) {
	if len(cfg.Media) != len(o.Media) {
		return nil, fmt.Errorf("transport: answer for %d of %d m-lines", len(cfg.Media), len(o.Media))
	}
	if cfg.Video == nil {
		cfg.Video = []packet.Codec{packet.VP8}
	}
	a := &Answer{Media: make([]AnswerMedia, len(o.Media))}
	for i := range o.Media {
		a.Media[i] = o.Media[i].agree(cfg.Media[i].Role, cfg.Video)
	}
	a.Incoming, a.Outgoing = o.agreedExtensions(a.Media)

	w := &writer{}
	w.line("v=0")
	w.line("o=- ", strconv.FormatUint(cfg.SessionID, 10), " ", strconv.FormatUint(cfg.Version, 10), " IN IP4 0.0.0.0")
	w.line("s=-")
	w.line("t=0 0")
	if group := o.bundled(a.Media); len(group) > 0 {
		w.line("a=group:BUNDLE ", strings.Join(group, " "))
	}
	w.line("a=ice-lite")
	if o.allowMixed {
		w.line("a=extmap-allow-mixed")
	}
	w.line("a=msid-semantic: WMS *")
	w.line("a=fingerprint:", cfg.Fingerprint.String())
	w.line("a=ice-ufrag:", cfg.Local.Ufrag)
	w.line("a=ice-pwd:", cfg.Local.Pwd)
	tagged := o.tagged(a.Media)
	for i := range o.Media {
		o.Media[i].write(w, a.Media[i], cfg.Media[i])
		if i == tagged {
			w.candidates(cfg.Candidates, cfg.TCPCandidates)
		}
	}
	a.Description = []byte(w.String())
	return a, nil
}

// agree chooses what happens on one m-line.
func (m *Media) agree(role Role, video []packet.Codec) AnswerMedia {
	a := AnswerMedia{MID: m.MID, Kind: m.Kind, Role: RoleReject}
	if m.Rejected || m.Kind == MediaOther || role == RoleReject {
		return a
	}
	order := video
	if m.Kind == MediaAudio {
		order = []packet.Codec{packet.Opus}
	}
	for _, codec := range order {
		if i := slices.IndexFunc(m.Codecs, func(c PayloadType) bool { return c.Codec == codec }); i >= 0 {
			a.Codecs = append(a.Codecs, m.Codecs[i])
		}
	}
	if len(a.Codecs) == 0 {
		return a
	}
	a.Role = RoleInactive
	switch {
	case role == RoleReceive && m.Direction&Send != 0:
		a.Role, a.RIDs, a.Streams = RoleReceive, m.RIDs, m.Streams
	case role == RoleSend && m.Direction&Recv != 0:
		a.Role = RoleSend
	}
	return a
}

// agreedExtensions returns the ids in use after the answer. Outgoing packets of all slots share one set, so the dependency
// descriptor goes out only where every video slot can read it.
func (o *Offer) agreedExtensions(agreed []AnswerMedia) (in, out packet.Extensions) {
	slots, descriptors := 0, 0
	for i, a := range agreed {
		m := &o.Media[i]
		switch a.Role {
		case RoleReceive:
			_ = merge(&in, withoutRedundant(m.Incoming)) // ParseOffer has found no conflict
		case RoleSend:
			_ = merge(&out, withoutRedundant(m.Outgoing))
			if a.Kind == MediaVideo {
				slots++
				if m.Outgoing.DependencyDescriptor != 0 {
					descriptors++
				}
			}
		}
	}
	if descriptors < slots {
		out.DependencyDescriptor = 0
	}
	out.RID, out.RepairedRID = 0, 0 // a slot carries one stream
	return in, out
}

// withoutRedundant leaves abs-send-time out where transport-cc is.
func withoutRedundant(e packet.Extensions) packet.Extensions {
	if e.TransportCC != 0 {
		e.AbsSendTime = 0
	}
	return e
}

// extensions returns those that the answer to this m-line contains: all that the server knows, whatever the m-line is used
// for now. Chromium does not offer again on a new or reactivated m-line what was once answered without: a page that joined
// with slots alone could not publish simulcast later.
func (m *Media) extensions() packet.Extensions {
	e := m.Incoming
	_ = merge(&e, m.Outgoing)
	return withoutRedundant(e)
}

// bundled lists the accepted mids in the order of the offer's group (RFC 9143 7.3).
func (o *Offer) bundled(agreed []AnswerMedia) []string {
	var mids []string
	for _, mid := range o.bundle {
		if slices.Contains(mids, mid) {
			continue
		}
		if slices.ContainsFunc(agreed, func(a AnswerMedia) bool { return a.MID == mid && a.Role != RoleReject }) {
			mids = append(mids, mid)
		}
	}
	return mids
}

// tagged returns the m-line that carries the candidates: the first of the group (RFC 9143 7.1.1), -1 for none.
func (o *Offer) tagged(agreed []AnswerMedia) int {
	group := o.bundled(agreed)
	if len(group) == 0 {
		return -1
	}
	return slices.IndexFunc(agreed, func(a AnswerMedia) bool { return a.MID == group[0] })
}

// write appends the m-line's part of the answer.
func (m *Media) write(w *writer, a AnswerMedia, cfg MediaConfig) {
	if a.Role == RoleReject {
		formats := strings.Join(m.name.Formats, " ")
		if formats == "" {
			formats = "0" // the grammar asks for one
		}
		w.line("m=", m.name.Media, " 0 ", strings.Join(m.name.Protos, "/"), " ", formats)
		w.line("c=IN IP4 0.0.0.0")
		w.line("a=inactive")
		w.line("a=mid:", m.MID)
		return
	}
	rtx := a.Role != RoleSend || cfg.RTX != 0
	w.media(m.name.Media, a.Codecs, rtx)
	w.line("a=mid:", m.MID)
	if m.allowMixed {
		w.line("a=extmap-allow-mixed")
	}
	e := m.extensions()
	for i, id := range extensionList(&e) {
		if *id == 0 {
			continue
		}
		w.line("a=extmap:", strconv.Itoa(int(*id)), m.extensionDirection(i), " ", extensions[i])
	}
	switch a.Role {
	case RoleReceive:
		w.line("a=recvonly")
	case RoleSend:
		w.line("a=sendonly")
	default:
		w.line("a=inactive")
	}
	w.line("a=setup:passive") // on each m-line: pion reads it nowhere else
	w.line("a=rtcp-mux")
	w.line("a=rtcp-rsize")
	for _, c := range a.Codecs {
		w.codec(c, rtx)
	}
	// An inactive m-line keeps its layers too: without them Chromium drops all but the first for good.
	if a.Role != RoleSend && len(m.RIDs) > 0 {
		for _, rid := range m.RIDs {
			w.line("a=rid:", rid, " recv")
		}
		w.line("a=simulcast:recv ", strings.Join(m.RIDs, ";"))
	}
	if a.Role == RoleSend {
		w.slot(m.MID, cfg)
	}
}

// extensionDirection mirrors a restricted direction of the offer (RFC 8285 6).
func (m *Media) extensionDirection(i int) string {
	in, out := *extensionList(&m.Incoming)[i] != 0, *extensionList(&m.Outgoing)[i] != 0
	switch {
	case in && !out:
		return "/recvonly"
	case out && !in:
		return "/sendonly"
	}
	return ""
}
