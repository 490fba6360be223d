package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"sotto/sfu"
)

// naive is the forwarder that the examples of pion lead to, as something to compare with: a PeerConnection with the default
// interceptors for each participant, one TrackLocalStaticRTP for each published track. It forwards everything to everybody
// and knows no layers, so it is fit for synthetic video of publishers that do not subscribe.
type naive struct {
	api    *webrtc.API
	events chan sfu.Event

	mu    sync.Mutex
	rooms map[string]*naiveRoom
	peers []*webrtc.PeerConnection
}

type naiveRoom struct {
	tracks []*naiveTrack
}

// naiveTrack is a published track. Requests for key frames go to it, at most three a second.
type naiveTrack struct {
	publisher, source string
	local             *webrtc.TrackLocalStaticRTP
	mu                sync.Mutex
	pc                *webrtc.PeerConnection
	ssrc              uint32 // 0 before the first packet
	asked             time.Time
}

func newNaive() (*naive, error) {
	var engine webrtc.SettingEngine
	engine.SetIncludeLoopbackCandidate(true)
	engine.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	engine.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	quiet := logging.NewDefaultLoggerFactory()
	quiet.Writer, quiet.DefaultLogLevel = io.Discard, logging.LogLevelDisabled
	engine.LoggerFactory = quiet
	return &naive{
		api:    webrtc.NewAPI(webrtc.WithSettingEngine(engine)), // default codecs and interceptors
		events: make(chan sfu.Event, 4096),
		rooms:  map[string]*naiveRoom{},
	}, nil
}

// Join implements signal.Media.
func (n *naive) Join(ctx context.Context, r sfu.JoinRequest) (reply sfu.JoinReply, err error) {
	pc, err := n.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return reply, err
	}
	n.mu.Lock()
	room := n.rooms[r.Room]
	if room == nil {
		room = &naiveRoom{}
		n.rooms[r.Room] = room
	}
	n.peers = append(n.peers, pc)
	others := append([]*naiveTrack(nil), room.tracks...)
	n.mu.Unlock()

	senders := map[*webrtc.RTPSender]*naiveTrack{}
	if len(r.Tracks) > 0 {
		err = n.publish(pc, room, r)
	} else {
		for _, t := range others {
			sender, addErr := pc.AddTrack(t.local)
			if addErr != nil {
				err = addErr
				break
			}
			senders[sender] = t
			go t.relay(sender)
		}
	}
	if err != nil {
		return reply, err
	}
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s != webrtc.PeerConnectionStateConnected {
			return
		}
		n.events <- sfu.Event{Kind: sfu.EventConnected, Room: r.Room, Peer: r.Peer}
		var slots []sfu.Slot
		for _, tr := range pc.GetTransceivers() {
			if t := senders[tr.Sender()]; t != nil {
				slots = append(slots, sfu.Slot{MID: tr.Mid(), Peer: t.publisher, Source: t.source})
				t.askKeyFrame()
			}
		}
		if len(slots) > 0 {
			n.events <- sfu.Event{Kind: sfu.EventSlots, Room: r.Room, Peer: r.Peer, Slots: slots}
		}
	})
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: r.Offer}); err != nil {
		return reply, err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return reply, err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return reply, err
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return reply, ctx.Err()
	}
	return sfu.JoinReply{Answer: pc.LocalDescription().SDP}, nil
}

// publish makes the tracks of a publisher and forwards what comes on them.
func (n *naive) publish(pc *webrtc.PeerConnection, room *naiveRoom, r sfu.JoinRequest) error {
	byMID := map[string]*naiveTrack{}
	for _, track := range r.Tracks {
		kind := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}
		if strings.Contains(track.Source, "audio") || track.Source == sfu.SourceMic {
			kind = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
		}
		local, err := webrtc.NewTrackLocalStaticRTP(kind, track.Source, r.Peer)
		if err != nil {
			return fmt.Errorf("bench: naive forwarder: %w", err)
		}
		t := &naiveTrack{publisher: r.Peer, source: track.Source, local: local, pc: pc}
		byMID[track.MID] = t
		n.mu.Lock()
		room.tracks = append(room.tracks, t)
		n.mu.Unlock()
	}
	pc.OnTrack(func(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		for _, tr := range pc.GetTransceivers() {
			if tr.Receiver() == receiver && byMID[tr.Mid()] != nil {
				byMID[tr.Mid()].forward(remote)
			}
		}
	})
	return nil
}

func (t *naiveTrack) forward(remote *webrtc.TrackRemote) {
	t.mu.Lock()
	t.ssrc = uint32(remote.SSRC())
	t.mu.Unlock()
	t.askKeyFrame()
	for {
		packet, _, err := remote.ReadRTP()
		if err != nil {
			return
		}
		if err := t.local.WriteRTP(packet); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			return
		}
	}
}

// relay reads a subscriber's RTCP, as every sender has to.
func (t *naiveTrack) relay(sender *webrtc.RTPSender) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, p := range packets {
			switch p.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				t.askKeyFrame()
			}
		}
	}
}

func (t *naiveTrack) askKeyFrame() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ssrc == 0 || time.Since(t.asked) < 300*time.Millisecond {
		return
	}
	t.asked = time.Now()
	_ = t.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: t.ssrc}})
}

// Update implements signal.Media: wishes are ignored, everybody gets everything.
func (n *naive) Update(context.Context, sfu.Update) (sfu.UpdateReply, error) {
	return sfu.UpdateReply{}, nil
}

// Kick implements signal.Media.
func (n *naive) Kick(context.Context, string, string) error { return nil }

// Leave implements signal.Media; the connections end with the forwarder.
func (n *naive) Leave(context.Context, string, string) error { return nil }

// Events implements signal.Media. There is one reader.
func (n *naive) Events(ctx context.Context) (<-chan sfu.Event, error) {
	out := make(chan sfu.Event)
	go func() {
		defer close(out)
		e := sfu.Event{Kind: sfu.EventSynced}
		for {
			select {
			case out <- e:
			case <-ctx.Done():
				return
			}
			select {
			case e = <-n.events:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// Stats has no counters.
func (n *naive) Stats() sfu.Stats { return sfu.Stats{} }

// Close ends all connections.
func (n *naive) Close() error {
	n.mu.Lock()
	peers := n.peers
	n.mu.Unlock()
	var all sync.WaitGroup
	for _, pc := range peers {
		all.Go(func() { _ = pc.Close() })
	}
	all.Wait()
	return nil
}
