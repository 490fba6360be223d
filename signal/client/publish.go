package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"sotto/e2ee/sframe"
	"sotto/signal/client/clips"
)

// publication is one source that a participant sends: one stream, or one for each simulcast layer.
type publication struct {
	sender  *webrtc.RTPSender
	streams []*outStream // lowest layer first
	muted   atomic.Bool
	wanted  atomic.Int32 // how many of the streams are sent
}

// outStream is one RTP stream. Its fields belong to the publishing goroutine, except where said.
type outStream struct {
	track *webrtc.TrackLocalStaticRTP
	rid   string
	next  int         // frame of the loop
	key   atomic.Bool // set by the RTCP reader: start over at the key frame

	vp8           vp8Packetizer
	seq           uint16
	ts            uint32
	midID, ridID  uint8
	mid           string
	protected     []byte
	payloads      [][]byte
	packets, size atomic.Uint64
}

func newStream(kind webrtc.RTPCodecCapability, source, rid string, rng *rand.Rand) (*outStream, error) {
	var options []func(*webrtc.TrackLocalStaticRTP)
	if rid != "" {
		options = append(options, webrtc.WithRTPStreamID(rid))
	}
	track, err := webrtc.NewTrackLocalStaticRTP(kind, source, "sotto", options...)
	if err != nil {
		return nil, err
	}
	// Below 2^15, so that a receiver that sees the first packets late cannot take the wrap for the start (RFC 3711 3.3.1).
	return &outStream{track: track, rid: rid, seq: uint16(rng.Uint32N(1 << 15)), ts: rng.Uint32()}, nil
}

// publish adds a sending media section with one encoding per stream.
func publish(pc *webrtc.PeerConnection, streams []*outStream) (*publication, *webrtc.RTPTransceiver, error) {
	tr, err := pc.AddTransceiverFromTrack(streams[0].track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return nil, nil, err
	}
	for _, s := range streams[1:] {
		if err := tr.Sender().AddEncoding(s.track); err != nil {
			return nil, nil, err
		}
	}
	p := &publication{sender: tr.Sender(), streams: streams}
	p.wanted.Store(int32(len(streams)))
	return p, tr, nil
}

// negotiated reads what the answer fixed.
func (p *publication) negotiated(mid string) {
	var midID, ridID uint8
	for _, e := range p.sender.GetParameters().HeaderExtensions {
		switch e.URI {
		case sdp.SDESMidURI:
			midID = uint8(e.ID)
		case sdp.SDESRTPStreamIDURI:
			ridID = uint8(e.ID)
		}
	}
	for _, s := range p.streams {
		s.mid, s.midID, s.ridID = mid, midID, ridID
	}
}

// readRTCP takes the feedback for stream i until the sender stops. Reading is also what feeds the interceptors.
func (p *publication) readRTCP(i int) {
	s := p.streams[i]
	ssrc := uint32(p.sender.GetParameters().Encodings[i].SSRC)
	for {
		var packets []rtcp.Packet
		var err error
		if s.rid == "" {
			packets, _, err = p.sender.ReadRTCP()
		} else {
			packets, _, err = p.sender.ReadSimulcastRTCP(s.rid)
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
		if err := s.writePacket(payload, i == len(s.payloads)-1); err != nil {
			return err
		}
	}
	return nil
}

func (s *outStream) writePacket(payload []byte, marker bool) error {
	packet := rtp.Packet{Header: rtp.Header{Version: 2, Marker: marker, SequenceNumber: s.seq, Timestamp: s.ts}, Payload: payload}
	s.seq++
	if s.midID != 0 {
		if err := packet.SetExtension(s.midID, []byte(s.mid)); err != nil {
			return err
		}
	}
	if s.ridID != 0 && s.rid != "" {
		if err := packet.SetExtension(s.ridID, []byte(s.rid)); err != nil {
			return err
		}
	}
	s.packets.Add(1)
	s.size.Add(uint64(len(payload)))
	return s.track.WriteRTP(&packet)
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
		if s.writePacket(s.protected, false) != nil {
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
		tick(due)
		// Against the planned time, so that the rate holds; after a stall the missed ticks are not caught up with.
		now := time.Now()
		if due = due.Add(interval); due.Before(now) {
			due = now
		}
		timer.Reset(due.Sub(now))
	}
}

// addPublications adds the sending media sections that the configuration asks for.
func (p *Participant) addPublications() error {
	rng := rand.New(rand.NewPCG(p.cfg.Seed, 1))
	if p.cfg.Audio {
		s, err := newStream(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: clockAudio, Channels: 2}, "mic", "", rng)
		if err != nil {
			return fmt.Errorf("client: microphone: %w", err)
		}
		if p.mic, p.micSection, err = publish(p.pc, []*outStream{s}); err != nil {
			return fmt.Errorf("client: microphone: %w", err)
		}
	}
	if !p.cfg.Video {
		return nil
	}
	rids := []string{""}
	if p.cfg.Synthetic == nil {
		rids = nil
		for _, l := range p.cfg.Clip.Layers {
			rids = append(rids, l.RID)
		}
	}
	var streams []*outStream
	for i, rid := range rids {
		s, err := newStream(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: clockVideo}, "camera", rid, rng)
		if err != nil {
			return fmt.Errorf("client: camera layer %s: %w", strconv.Itoa(i), err)
		}
		streams = append(streams, s)
	}
	var err error
	if p.camera, p.cameraSection, err = publish(p.pc, streams); err != nil {
		return fmt.Errorf("client: camera: %w", err)
	}
	return nil
}
