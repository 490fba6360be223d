package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"sotto/signal/protocol"
)

// A media session that ends is followed by another one, with the same keys and counters, as long as the participation lasts
// (PROTOCOL.md section 5). One that lasted mediaStable was a success: what ends it begins anew with what is left of the time.
const (
	mediaStable  = 10 * time.Second
	mediaWithin  = 20 * time.Second
	mediaAttempt = 8 * time.Second // DTLS repeats a lost flight after 1 s
)

// mediaSession is one peer connection with the service, from its offer to its end.
type mediaSession struct {
	pc          *webrtc.PeerConnection
	mic, camera *webrtc.RTPTransceiver // nil: not published
	connected   chan struct{}          // closed when media can flow

	ctx    context.Context // ends when the session is of no use any more, or with the participant
	cancel context.CancelFunc

	answered bool // the service told how its sections are to be used; under Participant.mu

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

// isAnswered reports whether what the service says of media is about this session. Participant.mu is held.
func (m *mediaSession) isAnswered() bool { return m != nil && m.answered }

// run starts a goroutine that close waits for, unless the session is closed: a track may begin in that moment.
func (m *mediaSession) run(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.running.Go(f)
	}
}

// close returns when nothing of the session is left.
func (m *mediaSession) close() {
	m.cancel()
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	// GracefulClose waits for pion's goroutines; its error would be that of a transport that is gone already.
	_ = m.pc.GracefulClose()
	m.running.Wait()
}

// keepMedia replaces the media session each time it ends, until the participant is out of the room.
func (p *Participant) keepMedia() {
	var began time.Time // when the latest trouble did
	var wait time.Duration
	for {
		p.mu.Lock()
		media := p.media
		p.mu.Unlock()
		opened := time.Now()
		<-media.ctx.Done()
		if now := time.Now(); began.IsZero() || now.Sub(opened) >= mediaStable {
			began, wait = now, 0
		}
		for {
			select {
			case <-p.ctx.Done():
				return
			case <-time.After(spread(wait)):
			}
			wait = min(max(2*wait, resumeFirst), resumeMost)
			err := p.reopenMedia()
			if err == nil {
				break
			}
			if lasting(err) || time.Since(began) > mediaWithin {
				p.cancel(err)
				return
			}
		}
	}
}

// lasting refusals would meet the next offer as well.
func lasting(err error) bool {
	var refused *RefusedError
	if !errors.As(err, &refused) {
		return errors.Is(err, ErrProtocol)
	}
	switch refused.Code {
	case protocol.CodeBadOffer, protocol.CodeNotPermitted, protocol.CodeTooLarge, protocol.CodeLimit, protocol.CodeRoomFull:
		return true
	}
	return false
}

func (p *Participant) reopenMedia() error {
	ctx, cancel := context.WithTimeout(p.ctx, mediaAttempt)
	defer cancel()
	return p.openMedia(ctx)
}

// openMedia makes a peer connection in the place of the former one, offers all media sections and waits until it is connected.
func (p *Participant) openMedia(ctx context.Context) error {
	p.mu.Lock()
	former := p.media
	p.mu.Unlock()
	if former != nil {
		former.close()
	}
	m, err := p.newMedia()
	if err != nil {
		return err
	}
	p.mu.Lock()
	if p.stopped {
		p.mu.Unlock()
		m.close()
		return context.Cause(p.ctx)
	}
	p.media = m
	err = p.unbind()
	p.mu.Unlock()
	if err != nil {
		return err
	}
	if err := p.exchange(ctx, m, former != nil); err != nil {
		return err
	}
	select {
	case <-m.connected:
	case <-m.ctx.Done():
		if p.ctx.Err() != nil {
			return context.Cause(p.ctx)
		}
		return ErrMedia
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrMedia, ctx.Err())
	}
	p.startPublishing(m)
	return nil
}

// unbind forgets what was received over the former media session, and what was wanted of it.
func (p *Participant) unbind() error {
	if p.camera != nil {
		p.camera.wanted.Store(int32(len(p.camera.streams)))
	}
	p.receptions, p.requests = nil, nil
	defer p.flush()
	return p.bind(time.Now(), &protocol.Slots{})
}

// newMedia makes a peer connection with all media sections.
func (p *Participant) newMedia() (*mediaSession, error) {
	pc, err := newPeerConnection(p.cfg.Engine, p.cfg.Codecs)
	if err != nil {
		return nil, fmt.Errorf("client: peer connection: %w", err)
	}
	m := &mediaSession{pc: pc, connected: make(chan struct{})}
	m.ctx, m.cancel = context.WithCancel(p.ctx)
	var once sync.Once
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		switch s {
		case webrtc.PeerConnectionStateConnected:
			once.Do(func() { close(m.connected) })
		case webrtc.PeerConnectionStateFailed:
			m.cancel()
		}
	})
	pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		for _, tr := range pc.GetTransceivers() {
			if tr.Receiver() == receiver {
				m.run(func() { drainRTCP(receiver) })
				m.run(func() { p.receive(track, tr.Mid()) })
			}
		}
	})
	if err := p.addSections(m); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// addSections adds the sending and the receiving media sections.
func (p *Participant) addSections(m *mediaSession) (err error) {
	if m.mic, err = publish(m.pc, p.mic); err != nil {
		return fmt.Errorf("client: microphone: %w", err)
	}
	if m.camera, err = publish(m.pc, p.camera); err != nil {
		return fmt.Errorf("client: camera: %w", err)
	}
	for _, s := range []struct {
		kind  webrtc.RTPCodecType
		count int
	}{{webrtc.RTPCodecTypeAudio, p.cfg.AudioSlots}, {webrtc.RTPCodecTypeVideo, p.cfg.VideoSlots}} {
		for range s.count {
			if _, err := m.pc.AddTransceiverFromKind(s.kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
				return fmt.Errorf("client: slot: %w", err)
			}
		}
	}
	return nil
}

// exchange sends an offer and sets the answer.
func (p *Participant) exchange(ctx context.Context, m *mediaSession, rejoin bool) error {
	p.offering.Lock()
	defer p.offering.Unlock()
	offer, err := m.pc.CreateOffer(nil)
	if err != nil {
		return fmt.Errorf("client: offer: %w", err)
	}
	if err := m.pc.SetLocalDescription(offer); err != nil {
		return fmt.Errorf("client: offer: %w", err)
	}
	request := &protocol.Offer{ID: p.lastID.Add(1), SDP: offer.SDP, Tracks: []protocol.OfferTrack{}, Rejoin: rejoin}
	if m.mic != nil {
		request.Tracks = append(request.Tracks, protocol.OfferTrack{MID: m.mic.Mid(), Source: protocol.SourceMic})
	}
	if m.camera != nil {
		request.Tracks = append(request.Tracks, protocol.OfferTrack{MID: m.camera.Mid(), Source: protocol.SourceCamera})
	}
	reply, err := p.ask(ctx, request.ID, request)
	if err != nil {
		return err
	}
	answer, ok := reply.(*protocol.Answer)
	if !ok {
		return fmt.Errorf("%w: instead of an answer", ErrProtocol)
	}
	if m.camera != nil {
		pt, err := chosenPT(answer.SDP, m.camera.Mid())
		if err != nil {
			return err
		}
		if p.cfg.Synthetic == nil {
			pt = payloadVP8
		}
		p.camera.use(pt)
	}
	if err := m.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer.SDP}); err != nil {
		return fmt.Errorf("%w: answer: %w", ErrProtocol, err)
	}
	return nil
}

// recode makes the camera be sent in a codec: by another offer, whose answer puts it first.
func (p *Participant) recode(m *mediaSession, codec string) {
	if p.camera.codec() == codec {
		return
	}
	ctx, cancel := context.WithTimeout(m.ctx, mediaAttempt)
	defer cancel()
	if p.exchange(ctx, m, false) != nil {
		m.cancel()
	}
}

func (p *Participant) startPublishing(m *mediaSession) {
	if p.mic != nil {
		p.mic.begin(m.mic)
		m.run(func() { p.mic.readRTCP(m.mic.Sender(), 0) })
		m.run(func() { p.runAudio(m.ctx, p.mic) })
	}
	if p.camera != nil {
		p.camera.begin(m.camera)
		for i := range p.camera.streams {
			m.run(func() { p.camera.readRTCP(m.camera.Sender(), i) })
		}
		if p.cfg.Synthetic != nil {
			m.run(func() { p.runSynthetic(m.ctx, p.camera) })
		} else {
			m.run(func() { p.runVideo(m.ctx, p.camera) })
		}
	}
}

// drainRTCP reads what comes for a receiver: reading is what feeds the interceptors with sender reports.
func drainRTCP(receiver *webrtc.RTPReceiver) {
	buf := make([]byte, 2048)
	for {
		if _, _, err := receiver.Read(buf); err != nil {
			return
		}
	}
}
