package transport

import (
	"net/netip"
	"strconv"
	"strings"

	"sotto/sfu/packet"
)

// writer builds a session description line by line.
type writer struct{ strings.Builder }

func (w *writer) line(parts ...string) {
	for _, p := range parts {
		w.WriteString(p)
	}
	w.WriteString("\r\n")
}

func (w *writer) media(kind string, codecs []PayloadType, rtx bool) {
	w.WriteString("m=" + kind + " 9 UDP/TLS/RTP/SAVPF")
	for _, c := range codecs {
		w.WriteString(" " + strconv.Itoa(int(c.PT)))
		if rtx && c.RTX != 0 {
			w.WriteString(" " + strconv.Itoa(int(c.RTX)))
		}
	}
	w.line()
	w.line("c=IN IP4 0.0.0.0")
}

func (w *writer) codec(c PayloadType, rtx bool) {
	pt := strconv.Itoa(int(c.PT))
	w.line("a=rtpmap:", pt, " ", encodingName(c.Codec))
	for _, f := range feedbackNames {
		if c.feedback&f.bit != 0 {
			w.line("a=rtcp-fb:", pt, " ", f.name)
		}
	}
	if c.Codec == packet.Opus {
		w.line("a=fmtp:", pt, " minptime=10;useinbandfec=1")
	}
	if c.Codec == packet.VP9 {
		w.line("a=fmtp:", pt, " profile-id=0")
	}
	if rtx && c.RTX != 0 {
		number := strconv.Itoa(int(c.RTX))
		w.line("a=rtpmap:", number, " rtx/", strconv.Itoa(int(c.ClockRate)))
		w.line("a=fmtp:", number, " apt=", pt)
	}
}

func encodingName(c packet.Codec) string {
	switch c {
	case packet.Opus:
		return "opus/48000/2"
	case packet.VP8:
		return "VP8/90000"
	case packet.VP9:
		return "VP9/90000"
	case packet.AV1:
		return "AV1/90000"
	}
	return "none/90000"
}

// slot declares the streams that the server sends. The track has no stream ("-"): which slots belong together changes with
// what plays on them, and the client knows it from signaling.
func (w *writer) slot(mid string, cfg MediaConfig) {
	w.line("a=msid:- slot", mid)
	ssrc := strconv.FormatUint(uint64(cfg.SSRC), 10)
	if cfg.RTX == 0 {
		w.line("a=ssrc:", ssrc, " cname:sotto")
		return
	}
	rtx := strconv.FormatUint(uint64(cfg.RTX), 10)
	w.line("a=ssrc-group:FID ", ssrc, " ", rtx)
	w.line("a=ssrc:", ssrc, " cname:sotto")
	w.line("a=ssrc:", rtx, " cname:sotto")
}

// candidates lists host candidates and says that there are no more. UDP before TCP (RFC 6544 4.2), then in the given order.
func (w *writer) candidates(udp, tcp []netip.AddrPort) {
	for i, a := range udp {
		w.candidate(i, "udp", 126, a, "")
	}
	for i, a := range tcp {
		w.candidate(len(udp)+i, "tcp", 90, a, " tcptype passive")
	}
	w.line("a=end-of-candidates")
}

// candidate computes the priority of RFC 8445 5.1.2.1 for component 1.
func (w *writer) candidate(i int, protocol string, preference uint64, a netip.AddrPort, suffix string) {
	local := uint64(max(65535-i, 0))
	priority := preference<<24 | local<<8 | 255
	w.line("a=candidate:", strconv.Itoa(i+1), " 1 ", protocol, " ", strconv.FormatUint(priority, 10), " ",
		a.Addr().Unmap().WithZone("").String(), " ", strconv.Itoa(int(a.Port())), " typ host", suffix)
}
