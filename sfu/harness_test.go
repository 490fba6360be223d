package sfu

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/rtp"
	"github.com/pion/transport/v5/vnet"
	"github.com/pion/webrtc/v4"
)

// world is where a node and its clients live: a simulated network or the loopback.
type world struct {
	node   *Node
	client func() *webrtc.SettingEngine
	stop   func()
	log    *eventLog
}

func quiet() logging.LoggerFactory {
	f := logging.NewDefaultLoggerFactory()
	f.DefaultLogLevel = logging.LogLevelDisabled
	return f
}

// virtual makes a simulated network with 20 ms of delay per direction. It belongs into a synctest bubble.
func virtual(t *testing.T, limits Limits, shards int) *world {
	t.Helper()
	router, err := vnet.NewRouter(&vnet.RouterConfig{CIDR: "10.0.0.0/8", MinDelay: 20 * time.Millisecond, LoggerFactory: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	host := func(ip string) *vnet.Net {
		n, err := vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{ip}})
		if err != nil {
			t.Fatal(err)
		}
		if err := router.AddNet(n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	server := host("10.0.0.1")
	if err := router.Start(); err != nil {
		t.Fatal(err)
	}
	var cfg Config
	for i := range shards {
		conn, err := server.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 3478 + i})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Shards = append(cfg.Shards, ShardConfig{Conn: conn})
	}
	cfg.Limits = limits
	clients := 0
	return newWorld(t, cfg, func() *webrtc.SettingEngine {
		clients++
		se := &webrtc.SettingEngine{}
		se.SetNet(host(fmt.Sprintf("10.0.1.%d", clients)))
		return se
	}, func() { _ = router.Stop() })
}

// loopback makes a node on real sockets; over TCP it advertises nothing else.
func loopback(t *testing.T, tcp bool) *world {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	shard := ShardConfig{Conn: conn, Offload: os.Getenv("SOTTO_TEST_OFFLOAD")} // to run all tests on each path
	if tcp {
		if shard.TCP, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	return newWorld(t, Config{Shards: []ShardConfig{shard}}, func() *webrtc.SettingEngine {
		se := &webrtc.SettingEngine{}
		se.SetIncludeLoopbackCandidate(true)
		se.SetInterfaceFilter(func(name string) bool { return name == "lo" })
		if tcp {
			se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
		}
		return se
	}, func() {})
}

func newWorld(t *testing.T, cfg Config, client func() *webrtc.SettingEngine, stop func()) *world {
	t.Helper()
	node, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{node: node, client: client, log: newEventLog(t, node)}
	w.stop = func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
		<-w.log.ended
		stop()
	}
	return w
}

// eventLog keeps what an Events channel said.
type eventLog struct {
	t     *testing.T
	mu    sync.Mutex
	list  []Event
	more  chan struct{}
	ended chan struct{}
}

func newEventLog(t *testing.T, node *Node) *eventLog {
	t.Helper()
	events, err := node.Events(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	l := &eventLog{t: t, more: make(chan struct{}, 1), ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		for e := range events {
			l.mu.Lock()
			l.list = append(l.list, e)
			l.mu.Unlock()
			select {
			case l.more <- struct{}{}:
			default:
			}
		}
	}()
	return l
}

// wait returns the first event that fits, past or to come.
func (l *eventLog) wait(what string, fits func(Event) bool) Event {
	l.t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		l.mu.Lock()
		i := slices.IndexFunc(l.list, fits)
		var e Event
		if i >= 0 {
			e = l.list[i]
		}
		l.mu.Unlock()
		if i >= 0 {
			return e
		}
		select {
		case <-l.more:
		case <-deadline:
			l.t.Fatalf("no event %s in %+v", what, l.list)
		}
	}
}

func (l *eventLog) connected(peer string) {
	l.t.Helper()
	l.wait("connected "+peer, func(e Event) bool { return e.Kind == EventConnected && e.Peer == peer })
}

// client is a pion participant.
type client struct {
	t      *testing.T
	w      *world
	name   string
	pc     *webrtc.PeerConnection
	camera []*webrtc.TrackLocalStaticRTP // lowest layer first
	mic    *webrtc.TrackLocalStaticRTP
	tracks []Track
	frames atomic.Int64 // of the camera, sent
	ended  chan struct{}
	wg     sync.WaitGroup

	mu  sync.Mutex
	got map[string][]heard // by mid
	new chan struct{}
}

// heard is one received packet.
type heard struct {
	seq   uint16
	layer byte // of video
	codec string
}

const (
	extMID = "urn:ietf:params:rtp-hdrext:sdes:mid"
	extRID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
	extRRR = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
	extTCC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
)

func newClient(t *testing.T, w *world, name string) *client {
	t.Helper()
	media := &webrtc.MediaEngine{}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	feedback := []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}, {Type: "transport-cc"}}
	must(media.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000, RTCPFeedback: feedback}, PayloadType: 96,
	}, webrtc.RTPCodecTypeVideo))
	must(media.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeRTX, ClockRate: 90000, SDPFmtpLine: "apt=96"}, PayloadType: 97,
	}, webrtc.RTPCodecTypeVideo))
	must(media.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, PayloadType: 111,
	}, webrtc.RTPCodecTypeAudio))
	for _, uri := range []string{extMID, extRID, extRRR, extTCC} {
		must(media.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, webrtc.RTPCodecTypeVideo))
	}
	must(media.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: extMID}, webrtc.RTPCodecTypeAudio))
	se := w.client()
	se.LoggerFactory = quiet()
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(*se), webrtc.WithMediaEngine(media),
		webrtc.WithInterceptorRegistry(&interceptor.Registry{})).NewPeerConnection(webrtc.Configuration{})
	must(err)
	c := &client{t: t, w: w, name: name, pc: pc, got: map[string][]heard{}, new: make(chan struct{}, 1), ended: make(chan struct{})}
	pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		mid := ""
		for _, tr := range pc.GetTransceivers() {
			if tr.Receiver() == receiver {
				mid = tr.Mid()
			}
		}
		c.wg.Go(func() { c.read(mid, track) })
	})
	return c
}

func (c *client) read(mid string, track *webrtc.TrackRemote) {
	for {
		p, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		h := heard{seq: p.SequenceNumber, codec: track.Codec().MimeType}
		if h.codec == webrtc.MimeTypeVP8 && len(p.Payload) > 7 {
			h.layer = p.Payload[7]
		}
		c.mu.Lock()
		c.got[mid] = append(c.got[mid], h)
		c.mu.Unlock()
		select {
		case c.new <- struct{}{}:
		default:
		}
	}
}

// publish adds a microphone and a camera with three layers.
func (c *client) publish() {
	c.t.Helper()
	opus := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
	vp8 := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}
	c.mic, _ = webrtc.NewTrackLocalStaticRTP(opus, "mic", "s")
	sendonly := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}
	if _, err := c.pc.AddTransceiverFromTrack(c.mic, sendonly); err != nil {
		c.t.Fatal(err)
	}
	for _, rid := range []string{"q", "h", "f"} {
		track, err := webrtc.NewTrackLocalStaticRTP(vp8, "camera", "s", webrtc.WithRTPStreamID(rid))
		if err != nil {
			c.t.Fatal(err)
		}
		c.camera = append(c.camera, track)
	}
	tr, err := c.pc.AddTransceiverFromTrack(c.camera[0], sendonly)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, track := range c.camera[1:] {
		if err := tr.Sender().AddEncoding(track); err != nil {
			c.t.Fatal(err)
		}
	}
	c.tracks = []Track{{MID: "0", Source: SourceMic}, {MID: "1", Source: SourceCamera}}
}

// slots adds receiving m-lines.
func (c *client) slots(kinds ...webrtc.RTPCodecType) {
	c.t.Helper()
	for _, k := range kinds {
		if _, err := c.pc.AddTransceiverFromKind(k, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			c.t.Fatal(err)
		}
	}
}

// offer returns the local description of a new offer.
func (c *client) offer() string { return c.describe(nil) }

// restart returns an offer with new ICE credentials.
func (c *client) restart() string { return c.describe(&webrtc.OfferOptions{ICERestart: true}) }

func (c *client) describe(options *webrtc.OfferOptions) string {
	c.t.Helper()
	o, err := c.pc.CreateOffer(options)
	if err != nil {
		c.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(c.pc)
	if err := c.pc.SetLocalDescription(o); err != nil {
		c.t.Fatal(err)
	}
	<-gathered
	return c.pc.LocalDescription().SDP
}

func (c *client) accept(answer string) {
	c.t.Helper()
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		c.t.Fatalf("%v\n%s", err, answer)
	}
}

func (c *client) join(room string) {
	c.t.Helper()
	reply, err := c.w.node.Join(c.t.Context(), JoinRequest{Room: room, Peer: c.name, Offer: c.offer(), Tracks: c.tracks})
	if err != nil {
		c.t.Fatal(err)
	}
	c.accept(reply.Answer)
}

// send sends 30 frames a second on all layers, every tenth a key frame, and 50 packets of audio, until close.
func (c *client) send() {
	c.wg.Go(func() {
		video, audio := time.NewTicker(33*time.Millisecond), time.NewTicker(20*time.Millisecond)
		defer video.Stop()
		defer audio.Stop()
		for frame, packet := uint16(0), uint16(0); ; {
			select {
			case <-c.ended:
				return
			case <-audio.C:
				packet++
				_ = c.mic.WriteRTP(&rtp.Packet{
					Header:  rtp.Header{Version: 2, SequenceNumber: packet, Timestamp: uint32(packet) * 960},
					Payload: []byte("opus, sealed"),
				})
			case <-video.C:
				frame++
				for layer, track := range c.camera {
					_ = track.WriteRTP(frameOf(byte(layer), frame))
				}
				c.frames.Add(1)
			}
		}
	})
}

// frameOf is one VP8 frame in one packet (RFC 7741 4.2): picture id, TL0PICIDX, TID 0, then the clear byte and "ciphertext".
func frameOf(layer byte, frame uint16) *rtp.Packet {
	p := &rtp.Packet{Header: rtp.Header{Version: 2, Marker: true, SequenceNumber: frame, Timestamp: uint32(frame) * 3000}}
	_ = p.SetExtension(1, []byte("1"))
	_ = p.SetExtension(2, []byte{"qhf"[layer]})
	delta := byte(1)
	if frame%10 == 1 {
		delta = 0
	}
	p.Payload = []byte{0x90, 0xe0, 0, 0, byte(frame), 0, delta, layer}
	binary.BigEndian.PutUint16(p.Payload[2:], frame|0x8000)
	p.Payload = append(p.Payload, make([]byte, 100*(int(layer)+1))...)
	return p
}

// hear waits for a packet on a slot that fits, from now on when fresh.
func (c *client) hear(mid string, fits func(heard) bool) {
	c.t.Helper()
	c.mu.Lock()
	from := len(c.got[mid])
	c.mu.Unlock()
	deadline := time.After(60 * time.Second)
	for {
		c.mu.Lock()
		list := c.got[mid][from:]
		ok := slices.ContainsFunc(list, fits)
		c.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-c.new:
		case <-deadline:
			c.t.Fatalf("nothing fits on slot %s: %d packets; all %v; drops %v", mid, len(list), c.counts(), nonzero(c.w.node.Stats()))
		}
	}
}

func (c *client) counts() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := map[string]int{}
	for mid, list := range c.got {
		m[mid] = len(list)
	}
	return m
}

func nonzero(s Stats) string {
	var b strings.Builder
	for k, n := range s.Drops {
		if n > 0 {
			fmt.Fprintf(&b, "%s=%d ", k, n)
		}
	}
	fmt.Fprintf(&b, "in %v/%v out %v/%v", s.AudioIn, s.VideoIn, s.AudioOut, s.VideoOut)
	return b.String()
}

func (c *client) close() {
	close(c.ended)
	_ = c.pc.GracefulClose()
	c.wg.Wait()
}
