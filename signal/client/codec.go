package client

import (
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"sotto/e2ee/sframe"
)

// uriDescriptor is the header extension that carries the AV1 dependency descriptor.
const uriDescriptor = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"

// videoFormat is a video codec with the payload types of a native participant. Browsers number differently; the server maps.
type videoFormat struct {
	codec   sframe.Codec
	name    string // as the signaling protocol has it
	mime    string
	pt, rtx webrtc.PayloadType
	fmtp    string
}

// videoFormats are those that a participant may know; Config.Codecs says which it does.
func videoFormats() []videoFormat {
	return []videoFormat{
		{sframe.VP8, "vp8", webrtc.MimeTypeVP8, payloadVP8, payloadVP8RTX, ""},
		{sframe.VP9, "vp9", webrtc.MimeTypeVP9, payloadVP9, payloadVP9RTX, "profile-id=0"},
		{sframe.AV1, "av1", webrtc.MimeTypeAV1, payloadAV1, payloadAV1RTX, ""},
	}
}

// registerVideo makes a peer connection know these codecs, in this order.
func registerVideo(media *webrtc.MediaEngine, known []sframe.Codec) error {
	feedback := []webrtc.RTCPFeedback{{Type: "ccm", Parameter: "fir"}}
	for _, codec := range known {
		formats := videoFormats()
		i := slices.IndexFunc(formats, func(f videoFormat) bool { return f.codec == codec })
		if i < 0 {
			return fmt.Errorf("%w: video codec", ErrConfig)
		}
		f := formats[i]
		for _, c := range []webrtc.RTPCodecParameters{
			{PayloadType: f.pt, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: f.mime, ClockRate: clockVideo, SDPFmtpLine: f.fmtp, RTCPFeedback: feedback}},
			{PayloadType: f.rtx, RTPCodecCapability: webrtc.RTPCodecCapability{
				MimeType: webrtc.MimeTypeRTX, ClockRate: clockVideo, SDPFmtpLine: "apt=" + strconv.Itoa(int(f.pt)),
			}},
		} {
			if err := media.RegisterCodec(c, webrtc.RTPCodecTypeVideo); err != nil {
				return err
			}
		}
	}
	return nil
}

// codecOf returns the codec of a payload type; 0 for none of ours.
func codecOf(pt uint8) sframe.Codec {
	switch pt {
	case payloadOpus:
		return sframe.Opus
	case payloadVP8:
		return sframe.VP8
	case payloadVP9:
		return sframe.VP9
	case payloadAV1:
		return sframe.AV1
	}
	return 0
}

// chosenPT returns the payload type that an answer puts first in a media section: what is to be sent there.
func chosenPT(answer, mid string) (uint8, error) {
	var d sdp.SessionDescription
	if err := d.UnmarshalString(answer); err != nil {
		return 0, fmt.Errorf("%w: answer", ErrProtocol)
	}
	for _, m := range d.MediaDescriptions {
		if is, _ := m.Attribute(sdp.AttrKeyMID); is != mid || len(m.MediaName.Formats) == 0 {
			continue
		}
		if pt, err := strconv.ParseUint(m.MediaName.Formats[0], 10, 7); err == nil {
			return uint8(pt), nil
		}
	}
	return 0, fmt.Errorf("%w: no codec in the answer", ErrProtocol)
}

// outTrack is the sending end of one RTP stream. Unlike pion's own tracks it can change its codec: each packet has the payload type
// that the answer put first. Safe for concurrent use.
type outTrack struct {
	kind    webrtc.RTPCodecType
	id, rid string

	mu     sync.Mutex
	pt     uint8 // 0: what pion takes first
	ssrc   uint32
	writer webrtc.TrackLocalWriter
}

// Bind is called by pion when the stream can be sent.
func (t *outTrack) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	codecs := c.CodecParameters()
	i := slices.IndexFunc(codecs, func(p webrtc.RTPCodecParameters) bool { return uint8(p.PayloadType) == t.pt })
	if i < 0 {
		if t.pt != 0 || len(codecs) == 0 {
			return webrtc.RTPCodecParameters{}, webrtc.ErrUnsupportedCodec
		}
		i = 0
	}
	t.ssrc, t.writer, t.pt = uint32(c.SSRC()), c.WriteStream(), uint8(codecs[i].PayloadType)
	return codecs[i], nil
}

// Unbind is called by pion when the sender stops.
func (t *outTrack) Unbind(webrtc.TrackLocalContext) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writer = nil
	return nil
}

// ID, RID, StreamID and Kind are what pion writes into offers.
func (t *outTrack) ID() string                { return t.id }
func (t *outTrack) RID() string               { return t.rid }
func (t *outTrack) StreamID() string          { return "sotto" }
func (t *outTrack) Kind() webrtc.RTPCodecType { return t.kind }

// use sets the payload type.
func (t *outTrack) use(pt uint8) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pt = pt
}

// codec returns what is sent.
func (t *outTrack) codec() sframe.Codec {
	t.mu.Lock()
	defer t.mu.Unlock()
	return codecOf(t.pt)
}

// write sends one packet; without a bound sender it goes nowhere.
func (t *outTrack) write(p *rtp.Packet) error {
	t.mu.Lock()
	p.SSRC, p.PayloadType = t.ssrc, t.pt
	writer := t.writer
	t.mu.Unlock()
	if writer == nil {
		return nil
	}
	_, err := writer.WriteRTP(&p.Header, p.Payload)
	return err
}

// use sets the payload type of all streams of a source.
func (p *publication) use(pt uint8) {
	for _, s := range p.streams {
		s.track.use(pt)
	}
}

// codec names what a source is sent in, as the signaling protocol does.
func (p *publication) codec() string {
	codec := p.streams[0].track.codec()
	for _, f := range videoFormats() {
		if f.codec == codec {
			return f.name
		}
	}
	return ""
}
