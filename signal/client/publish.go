package client

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"sotto/e2ee/sframe"
	"sotto/signal/client/clips"
)

// publication is one source that a participant sends: one stream, or one for each simulcast layer. It outlives media sessions.
type publication struct {
	streams []*outStream // lowest layer first
	muted   atomic.Bool
	wanted  atomic.Int32 // how many of the streams are sent
}

// outStream is one RTP stream. Its fields belong to the publishing goroutine of the media session, except where said.
type outStream struct {
	track *outTrack
	rid   string
	next  int         // frame of the loop
	key   atomic.Bool // set by the RTCP reader: start over at the key frame

	vp8           vp8Packetizer
	vp9           vp9Packetizer
	av1           av1Packetizer
	seq           uint16
	ts            uint32
	midID, ridID  uint8
	ddID          uint8
	mid           string
	protected     []byte
	dd            []byte
	payloads      [][]byte
	packets, size atomic.Uint64

	// of a synthetic source
	codec   sframe.Codec
	encoder encoder
	refs    []uint64
	plain   []byte
}

// firstNumbers bounds the sequence number with which a stream begins, so that a receiver that sees the first packets late cannot
// take the wrap for the start (RFC 3711 3.3.1).
const firstNumbers = 1 << 15

func newStream(kind webrtc.RTPCodecType, source, rid string, rng *rand.Rand) *outStream {
	return &outStream{
		track: &outTrack{kind: kind, id: source, rid: rid}, rid: rid, seq: uint16(rng.Uint32N(firstNumbers)), ts: rng.Uint32(),
	}
}

func newPublication(streams ...*outStream) *publication {
	p := &publication{streams: streams}
	p.wanted.Store(int32(len(streams)))
	return p
}

// publish adds a sending media section with one encoding per stream; nil for no publication.
func publish(pc *webrtc.PeerConnection, pub *publication) (*webrtc.RTPTransceiver, error) {
	if pub == nil {
		return nil, nil
	}
	init := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}
	section, err := pc.AddTransceiverFromTrack(pub.streams[0].track, init)
	if err != nil {
		return nil, err
	}
	for _, s := range pub.streams[1:] {
		if err := section.Sender().AddEncoding(s.track); err != nil {
			return nil, err
		}
	}
	return section, nil
}

// begin makes the streams ready for a media session that is connected: with what its answer fixed and, to be understood there, with
// a key frame.
func (p *publication) begin(section *webrtc.RTPTransceiver) {
	var midID, ridID, ddID uint8
	for _, e := range section.Sender().GetParameters().HeaderExtensions {
		switch e.URI {
		case sdp.SDESMidURI:
			midID = uint8(e.ID)
		case sdp.SDESRTPStreamIDURI:
			ridID = uint8(e.ID)
		case uriDescriptor:
			ddID = uint8(e.ID)
		}
	}
	for _, s := range p.streams {
		s.mid, s.midID, s.ridID, s.ddID = section.Mid(), midID, ridID, ddID
		s.seq %= firstNumbers
		s.key.Store(true)
	}
}

// readRTCP takes the feedback for stream i until the sender stops. Reading is also what feeds the interceptors.
func (p *publication) readRTCP(sender *webrtc.RTPSender, i int) {
	s := p.streams[i]
	ssrc := uint32(sender.GetParameters().Encodings[i].SSRC)
	for {
		var packets []rtcp.Packet
		var err error
		if s.rid == "" {
			packets, _, err = sender.ReadRTCP()
		} else {
			packets, _, err = sender.ReadSimulcastRTCP(s.rid)
		}
		if err != nil {
			return
		}
		for _, packet := range packets {
			if wantsKeyFrame(packet, ssrc) {
				s.key.Store(true)
			}
		}
	}
}

func wantsKeyFrame(packet rtcp.Packet, ssrc uint32) bool {
	switch p := packet.(type) {
	case *rtcp.PictureLossIndication:
		return p.MediaSSRC == ssrc
	case *rtcp.FullIntraRequest:
		for _, e := range p.FIR {
			if e.SSRC == ssrc {
				return true
			}
		}
	}
	return false
}

// writeVP8 sends the protected frame that lies in s.protected.
func (s *outStream) writeVP8(tid uint8, sync bool) error {
	s.payloads = s.vp8.packetize(s.protected, tid, sync, s.payloads[:0])
	for i, payload := range s.payloads {
		if err := s.writePacket(payload, i == len(s.payloads)-1, nil); err != nil {
			return err
		}
	}
	return nil
}

// writeFrame sends the protected frame of a synthetic stream that lies in s.protected.
func (s *outStream) writeFrame(f *layered) error {
	s.payloads = s.payloads[:0]
	switch s.codec {
	case sframe.VP9:
		s.payloads = s.vp9.packetize(s.protected, f, s.payloads)
	case sframe.AV1:
		s.payloads = s.av1.packetize(s.protected, f.key, s.payloads)
	default:
		return s.writeVP8(0, false)
	}
	for i, payload := range s.payloads {
		end := i == len(s.payloads)-1
		if s.dd = s.dd[:0]; s.ddID != 0 && s.codec == sframe.AV1 {
			s.dd = appendDescriptor(s.dd, f, i == 0, end, s.encoder.between)
		}
		if err := s.writePacket(payload, end && f.sid == f.layers-1, s.dd); err != nil {
			return err
		}
	}
	return nil
}

// writePacket sends one packet, with a dependency descriptor if dd is not empty.
func (s *outStream) writePacket(payload []byte, marker bool, dd []byte) error {
	packet := rtp.Packet{Header: rtp.Header{Version: 2, Marker: marker, SequenceNumber: s.seq, Timestamp: s.ts}, Payload: payload}
	s.seq++
	profile := uint16(rtp.ExtensionProfileOneByte)
	if len(dd) > 16 { // RFC 8285 4.3
		profile = rtp.ExtensionProfileTwoByte
	}
	for _, e := range []struct {
		id    uint8
		value []byte
	}{{s.midID, []byte(s.mid)}, {s.ridID, []byte(s.rid)}, {s.ddID, dd}} {
		if e.id == 0 || len(e.value) == 0 {
			continue
		}
		if err := packet.SetExtensionWithProfile(e.id, e.value, profile); err != nil {
			return err
		}
	}
	s.packets.Add(1)
	s.size.Add(uint64(len(payload)))
	return s.track.write(&packet)
}

// runAudio sends the audio clip in a loop until ctx ends.
func (p *Participant) runAudio(ctx context.Context, pub *publication) {
	s := pub.streams[0]
	step := uint32(p.cfg.Clip.AudioInterval.Seconds() * clockAudio)
	p.every(ctx, p.cfg.Clip.AudioInterval, func(time.Time) {
		f := &p.cfg.Clip.Audio[s.next%len(p.cfg.Clip.Audio)]
		s.next++
		s.ts += step
		if pub.muted.Load() {
			return
		}
		var err error
		if s.protected, err = p.keys.protect(s.protected[:0], sframe.Microphone, sframe.Opus, true, f.Data); err != nil {
			p.count.notProtected.Add(1)
			return
		}
		if s.writePacket(s.protected, false, nil) != nil {
			p.count.notWritten.Add(1)
		}
	})
}

// runVideo sends all layers of the video clip in a loop until ctx ends.
func (p *Participant) runVideo(ctx context.Context, pub *publication) {
	step := uint32(p.cfg.Clip.FrameInterval.Seconds()*clockVideo + 0.5)
	p.every(ctx, p.cfg.Clip.FrameInterval, func(time.Time) {
		for i, s := range pub.streams {
			frames := p.cfg.Clip.Layers[i].Frames
			if s.key.Swap(false) || s.next == len(frames) {
				s.next = 0
			}
			f := &frames[s.next]
			s.next++
			s.ts += step
			if pub.muted.Load() || i >= int(pub.wanted.Load()) {
				s.next = 0 // what comes back begins with a key frame, as an encoder that was stopped does
				continue
			}
			var err error
			if s.protected, err = p.keys.protect(s.protected[:0], sframe.Camera, sframe.VP8, f.Key, f.Data); err != nil {
				p.count.notProtected.Add(1)
				s.next = 0
				continue
			}
			if s.writeVP8(f.TID, f.Refs&clips.Golden == 0) != nil {
				p.count.notWritten.Add(1)
			}
		}
	})
}

// every calls tick each interval until ctx ends, beginning after the configured phase.
func (p *Participant) every(ctx context.Context, interval time.Duration, tick func(time.Time)) {
	timer := time.NewTimer(p.cfg.Phase)
	defer timer.Stop()
	due := time.Now().Add(p.cfg.Phase)
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if p.cfg.Late != nil {
			p.cfg.Late(time.Since(due))
		}
		tick(due)
		// Against the planned time, so that the rate holds; after a stall the missed ticks are not caught up with.
		now := time.Now()
		if due = due.Add(interval); due.Before(now) {
			due = now
		}
		timer.Reset(due.Sub(now))
	}
}

// addPublications makes what the configuration asks to send.
func (p *Participant) addPublications() {
	rng := rand.New(rand.NewPCG(p.cfg.Seed, 1))
	if p.cfg.Audio {
		p.mic = newPublication(newStream(webrtc.RTPCodecTypeAudio, "mic", "", rng))
	}
	if !p.cfg.Video {
		return
	}
	var rids []string
	switch source := p.cfg.Synthetic; {
	case source == nil:
		for _, l := range p.cfg.Clip.Layers {
			rids = append(rids, l.RID)
		}
	case source.streams() == 1:
		rids = []string{""}
	default:
		rids = []string{"q", "h", "f"}[:source.streams()]
	}
	var streams []*outStream
	for _, rid := range rids {
		streams = append(streams, newStream(webrtc.RTPCodecTypeVideo, "camera", rid, rng))
	}
	p.camera = newPublication(streams...)
}
