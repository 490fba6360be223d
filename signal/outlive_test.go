package signal

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/pion/webrtc/v4"

	"sotto/sfu"
	"sotto/signal/protocol"
)

// TestNode_outlivesTheService: a real peer connection stays up while the
// service is killed, its participant resumes at the next one, and the media
// session goes on from where it was.
func TestNode_outlivesTheService(t *testing.T) {
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	node, err := sfu.New(sfu.Config{Shards: []sfu.ShardConfig{{Conn: udp}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = node.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	var handler http.Handler
	hs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	defer hs.Close()
	start := func() (*Server, *plug) {
		p := &plug{Media: node}
		s, err := New(Config{Media: p, OpenRooms: true, ResumeKey: bytes.Repeat([]byte{7}, minResumeKey)})
		if err != nil {
			t.Fatal(err)
		}
		handler = s
		return s, p
	}
	public, link, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	conn := protocol.ConnID{1, 2, 3}
	connect := func(resume *protocol.Resume) (*websocket.Conn, *protocol.Welcome) {
		t.Helper()
		ws, _, err := websocket.Dial(ctx, hs.URL+"/ws", &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}})
		if err != nil {
			t.Fatal(err)
		}
		ws.SetReadLimit(protocol.MaxNegotiation)
		hello := read[*protocol.Hello](ctx, t, ws)
		write(ctx, t, ws, &protocol.Connect{
			ID: 1, Room: protocol.RoomOf(public), ConnID: conn, LinkPub: protocol.Bytes(public), Resume: resume,
			LinkSig: ed25519.Sign(link, protocol.ConnectSigned(strings.TrimPrefix(hs.URL, "http://"), hello.Nonce, conn)),
		})
		return ws, read[*protocol.Welcome](ctx, t, ws)
	}

	pc, states := publisher(t)
	defer func() { _ = pc.Close() }()
	tracks := []protocol.OfferTrack{{MID: "0", Source: protocol.SourceMic}}
	negotiate := func(ws *websocket.Conn, id uint32) {
		t.Helper()
		offer, err := pc.CreateOffer(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := pc.SetLocalDescription(offer); err != nil {
			t.Fatal(err)
		}
		write(ctx, t, ws, &protocol.Offer{ID: id, SDP: offer.SDP, Tracks: tracks})
		answer := read[*protocol.Answer](ctx, t, ws)
		if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer.SDP}); err != nil {
			t.Fatalf("answer: %v\n%s", err, answer.SDP)
		}
	}

	first, p := start()
	ws, welcome := connect(nil)
	defer func() { _ = ws.CloseNow() }()
	negotiate(ws, 2)
	for state := range states {
		if state == webrtc.PeerConnectionStateConnected {
			break
		}
	}
	events, err := node.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for e := range events {
		if e.Kind == sfu.EventConnected {
			break
		}
	}

	p.pulled.Store(true)
	first.cancel()
	if err := first.Close(ctx); err != nil {
		t.Fatal(err)
	}
	second, _ := start()
	defer func() {
		if err := second.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	again, back := connect(&protocol.Resume{
		Token: welcome.Resume, Tracks: []protocol.Track{{Source: protocol.SourceMic}},
	})
	defer func() { _ = again.CloseNow() }()
	if !back.Resumed || !back.Lost || back.Leaf != welcome.Leaf {
		t.Errorf("welcome %+v", back)
	}
	if g := read[*protocol.Group](ctx, t, again); g.GI != nil { // it is all there was
		t.Errorf("group %+v", g)
	}
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		t.Fatal(err)
	}
	negotiate(again, 3) // the node would refuse it of another session
	if pc.ConnectionState() != webrtc.PeerConnectionStateConnected || node.Stats().Joins["ok"] != 1 {
		t.Errorf("%v, joins %v", pc.ConnectionState(), node.Stats().Joins)
	}
	select {
	case state := <-states:
		t.Errorf("the peer connection became %v", state)
	default:
	}
}

// publisher is a peer connection that sends a microphone, and its states.
func publisher(t *testing.T) (*webrtc.PeerConnection, <-chan webrtc.PeerConnectionState) {
	t.Helper()
	engine := webrtc.SettingEngine{}
	engine.SetIncludeLoopbackCandidate(true)
	engine.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(engine)).NewPeerConnection(webrtc.Configuration{BundlePolicy: webrtc.BundlePolicyMaxBundle})
	if err != nil {
		t.Fatal(err)
	}
	states := make(chan webrtc.PeerConnectionState, 16)
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) { states <- s })
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, "mic", "mic")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
		t.Fatal(err)
	}
	return pc, states
}
