package shard

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/bwe"
)

const (
	// maxFeedbackPackets caps the packets of one compound that are looked at; clients send a handful.
	maxFeedbackPackets = 64
	// feedbackRate and feedbackBurst bound the RTCP of one peer in bytes per second and bytes. Decoding costs ten times as
	// much a byte as media does, and a peer that receives 40 Mbit/s sends 20 kB/s of feedback and requests.
	feedbackRate  = 64 << 10
	feedbackBurst = 64 << 10

	rtcpHeader = 4
)

// Formats of RTCP feedback packets that rooms use (RFC 4585 6, RFC 5104 4.3.1, transport-wide congestion control).
const (
	formatPLI  = 1
	formatFIR  = 4
	formatNACK = 1
	formatTCC  = 15
)

var errFeedback = errors.New("shard: malformed or absurd RTCP")

// unmarshalFeedback appends the packets of a compound that rooms use to dst. The rest, such as extended reports, which take
// longest to decode, is skipped unread.
func unmarshalFeedback(raw []byte, dst []rtcp.Packet) ([]rtcp.Packet, error) {
	if !bwe.CheckCompound(raw) {
		return dst, errFeedback
	}
	for packets := 0; len(raw) > 0; packets++ {
		if len(raw) < rtcpHeader || raw[0]>>6 != 2 || packets == maxFeedbackPackets {
			return dst, errFeedback
		}
		size := rtcpHeader * (int(binary.BigEndian.Uint16(raw[2:])) + 1)
		if size > len(raw) {
			return dst, errFeedback
		}
		if p := feedbackKind(raw[0]&0x1f, rtcp.PacketType(raw[1])); p != nil {
			if err := p.Unmarshal(raw[:size]); err != nil {
				return dst, errFeedback
			}
			dst = append(dst, p)
		}
		raw = raw[size:]
	}
	return dst, nil
}

// feedbackKind returns an empty packet of the kind, nil for one that rooms do not use.
func feedbackKind(format uint8, kind rtcp.PacketType) rtcp.Packet {
	switch kind {
	case rtcp.TypeSenderReport:
		return new(rtcp.SenderReport)
	case rtcp.TypeReceiverReport:
		return new(rtcp.ReceiverReport)
	case rtcp.TypePayloadSpecificFeedback:
		switch format {
		case formatPLI:
			return new(rtcp.PictureLossIndication)
		case formatFIR:
			return new(rtcp.FullIntraRequest)
		}
	case rtcp.TypeTransportSpecificFeedback:
		switch format {
		case formatNACK:
			return new(rtcp.TransportLayerNack)
		case formatTCC:
			return new(rtcp.TransportLayerCC)
		}
	}
	return nil
}

// allowance is a token bucket of RTCP bytes; the zero value is full.
type allowance struct {
	spent float64
	at    time.Time
}

func (a *allowance) take(now time.Time, n int) bool {
	if d := now.Sub(a.at); d > 0 {
		a.spent = max(a.spent-feedbackRate*d.Seconds(), 0)
		a.at = now
	}
	if a.spent+float64(n) > feedbackBurst {
		return false
	}
	a.spent += float64(n)
	return true
}
