package transport

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

const (
	// SealOverhead is the most that SealRTP adds: the tag of AES-GCM.
	SealOverhead = 16
	// SealOverheadRTCP is the most that SealRTCP adds: tag and index.
	SealOverheadRTCP = 20

	// maxInboundStreams is how many SSRCs of RTP a session may use, RTX
	// included: 16 tracks. The library keeps state per SSRC for ever, so the
	// cap stands in front of it.
	maxInboundStreams = 32
	// maxInboundReporters is the same for the senders of RTCP. Some clients
	// (pion) report each received stream under an SSRC of its own: two for each
	// of 128 slots, with retransmission, and those of what they send.
	maxInboundReporters = 2*128 + maxInboundStreams

	// Replay windows in packets. 1,024 of RTP is half a second of a 20 Mbit/s
	// stream, more reordering than any path has.
	replayWindowRTP  = 1024
	replayWindowRTCP = 128

	minRTP  = 12
	minRTCP = 8
)

// keys are the SRTP contexts of a session. Outgoing RTP and RTCP have contexts
// of their own, so that they may belong to different goroutines.
type keys struct {
	profile          Profile
	overhead         int // bytes that authentication adds to RTP
	in               *srtp.Context
	sealer           *sealer       // of outgoing RTP; nil where the profile is not AES-GCM
	outRTP, outRTCP  *srtp.Context // outRTP is nil where sealer is not
	streams, senders []uint32      // SSRCs seen authenticated
}

func newKeys(profile srtp.ProtectionProfile, exporter srtp.KeyingMaterialExporter) (*keys, error) {
	k := &keys{streams: make([]uint32, 0, maxInboundStreams), senders: make([]uint32, 0, 8)}
	switch profile {
	case srtp.ProtectionProfileAeadAes128Gcm:
		k.profile, k.overhead = ProfileGCM128, 16
	case srtp.ProtectionProfileAeadAes256Gcm:
		k.profile, k.overhead = ProfileGCM256, 16
	case srtp.ProtectionProfileAes128CmHmacSha1_80:
		k.profile, k.overhead = ProfileSHA1, 10
	default:
		return nil, errors.New("transport: SRTP profile not offered")
	}
	cfg := srtp.Config{Profile: profile}
	if err := cfg.ExtractSessionKeysFromDTLS(exporter, false); err != nil {
		return nil, err
	}
	var err error
	if k.in, err = srtp.CreateContext(cfg.Keys.RemoteMasterKey, cfg.Keys.RemoteMasterSalt, profile,
		srtp.SRTPReplayProtection(replayWindowRTP), srtp.SRTCPReplayProtection(replayWindowRTCP)); err != nil {
		return nil, err
	}
	key, salt := cfg.Keys.LocalMasterKey, cfg.Keys.LocalMasterSalt
	if k.outRTCP, err = srtp.CreateContext(key, salt, profile); err != nil {
		return nil, err
	}
	if k.profile == ProfileSHA1 {
		k.outRTP, err = srtp.CreateContext(key, salt, profile)
	} else {
		k.sealer, err = newSealer(key, salt)
	}
	return k, err
}

// receiveSRTP decrypts one RTP or RTCP packet in place.
func (e *Endpoint) receiveSRTP(now time.Time, d Datagram) (Inbound, bool) {
	s, r := e.origin(d)
	if s == nil {
		e.drop(DropUnknownAddress)
		return Inbound{}, false
	}
	if s.keys == nil {
		// The first media may overtake the hand-over of the keys.
		if e.collectHandshakes(now); s.keys == nil {
			e.drop(DropNotConnected)
			return Inbound{}, false
		}
	}
	if len(d.Data) < minRTCP {
		e.drop(DropMalformed)
		return Inbound{}, false
	}
	in := Inbound{Session: s.id}
	var reason DropReason
	var ok bool
	// RFC 5761 4: payload types 64-95 with the marker bit are RTCP.
	if t := d.Data[1]; t >= 192 && t < 224 {
		in.RTCP = true
		in.Data, reason, ok = s.keys.openRTCP(d.Data)
	} else {
		in.Data, reason, ok = s.keys.openRTP(d.Data, &e.header)
	}
	if !ok {
		e.drop(reason)
		return Inbound{}, false
	}
	s.heardFrom(now, r)
	if !s.settled {
		e.settle(s)
	}
	if s.state == stateSuspended && s.path >= 0 && r == &s.remotes[s.path] {
		e.resume(s) // elsewhere only a check may choose the path
	}
	return in, true
}

func (k *keys) openRTP(b []byte, h *rtp.Header) ([]byte, DropReason, bool) {
	if len(b) < minRTP+k.overhead {
		return nil, DropMalformed, false
	}
	ssrc := binary.BigEndian.Uint32(b[8:])
	known := slices.Contains(k.streams, ssrc)
	if !known && len(k.streams) == cap(k.streams) {
		return nil, DropSRTPStreams, false
	}
	out, err := k.in.DecryptRTP(b, b, h)
	if err != nil {
		if errors.Is(err, srtp.ErrFailedToVerifyAuthTag) {
			return nil, DropSRTPAuth, false
		}
		// The library has no exported error for a replay: what parses and is
		// long enough fails only for that before authentication.
		if n, err := h.Unmarshal(b); err == nil && len(b) >= n+k.overhead {
			return nil, DropSRTPReplay, false
		}
		return nil, DropMalformed, false
	}
	if !known {
		k.streams = append(k.streams, ssrc)
	}
	return out, 0, true
}

func (k *keys) openRTCP(b []byte) ([]byte, DropReason, bool) {
	if len(b) < minRTCP+k.overhead+4 {
		return nil, DropMalformed, false
	}
	ssrc := binary.BigEndian.Uint32(b[4:])
	known := slices.Contains(k.senders, ssrc)
	if !known && len(k.senders) >= maxInboundReporters {
		return nil, DropSRTPStreams, false
	}
	out, err := k.in.DecryptRTCP(b, b, nil)
	if err != nil {
		if errors.Is(err, srtp.ErrFailedToVerifyAuthTag) {
			return nil, DropSRTPAuth, false
		}
		return nil, DropSRTPReplay, false
	}
	if !known {
		k.senders = append(k.senders, ssrc)
	}
	return out, 0, true
}

// ErrNotConnected is returned by SealRTP and SealRTCP for a session without
// keys, or one that is gone.
var ErrNotConnected = errors.New("transport: session not connected")

// ErrCapacity says that a buffer has no room for the authentication tag.
var ErrCapacity = errors.New("transport: no capacity for the authentication tag")

// SealRTP encrypts the RTP packet buf in place and returns its new length;
// cap(buf) must have SealOverhead bytes more than len(buf). A sequence number
// of an SSRC that was sealed before is refused with ErrSequence (profiles of
// AES-GCM, which derive their nonce from it). An SSRC's first number must be
// below 2^15, or receivers may guess the roll-over counter wrong after loss
// (RFC 3711 3.3.1).
func (o *Outbox) SealRTP(id SessionID, buf []byte) (int, error) {
	s := o.endpoint.session(id)
	if s == nil || s.keys == nil {
		return 0, ErrNotConnected
	}
	if cap(buf) < len(buf)+s.keys.overhead {
		return 0, ErrCapacity
	}
	if s.keys.sealer != nil {
		return s.keys.sealer.seal(buf)
	}
	out, err := s.keys.outRTP.EncryptRTP(buf, buf, &o.sealed)
	return len(out), err
}

// SealRTCP encrypts the RTCP compound buf in place where cap(buf) has
// SealOverheadRTCP bytes more than len(buf), else in a new slice.
func (e *Endpoint) SealRTCP(id SessionID, buf []byte) ([]byte, error) {
	s := e.session(id)
	if s == nil || s.keys == nil {
		return nil, ErrNotConnected
	}
	return s.keys.outRTCP.EncryptRTCP(buf, buf, nil)
}
