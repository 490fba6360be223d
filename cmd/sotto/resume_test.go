package main

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/pion/webrtc/v4"

	"sotto/e2ee/link"
	"sotto/signal/protocol"
)

// caller is a client down to its messages: one that resumes.
type caller struct {
	t    *testing.T
	ctx  context.Context
	s    *services
	keys *link.Keys
	conn link.ConnID
	pc   *webrtc.PeerConnection
	ws   *websocket.Conn
	id   uint32
}

// connect opens a WebSocket and asks for admission, or to resume.
func (c *caller) connect(resume *protocol.Resume) *protocol.Welcome {
	c.t.Helper()
	ws, _, err := websocket.Dial(c.ctx, c.s.websocket(), &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = ws.CloseNow() })
	ws.SetReadLimit(protocol.MaxNegotiation)
	c.ws = ws
	hello := await[*protocol.Hello](c)
	room, err := protocol.ParseRoomID(c.keys.RoomID())
	if err != nil {
		c.t.Fatal(err)
	}
	host := strings.Trim(strings.TrimPrefix(c.s.page, "http://"), "/")
	c.id++
	c.send(&protocol.Connect{
		ID: c.id, Room: room, ConnID: protocol.ConnID(c.conn), LinkPub: protocol.Bytes(c.keys.Public()),
		LinkSig: c.keys.ConnectSignature(host, hello.Nonce, c.conn), Resume: resume,
	})
	return await[*protocol.Welcome](c)
}

func (c *caller) send(m protocol.ClientMessage) {
	c.t.Helper()
	text, err := protocol.Encode(m)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.ws.Write(c.ctx, websocket.MessageText, text); err != nil {
		c.t.Fatal(err)
	}
}

// await is the next message of type M; slots, and that there is no group after a start, are passed over.
func await[M protocol.ServerMessage](c *caller) M {
	c.t.Helper()
	for {
		_, data, err := c.ws.Read(c.ctx)
		if err != nil {
			c.t.Fatal(err)
		}
		m, err := protocol.DecodeServer(data)
		if err != nil {
			c.t.Fatal(err)
		}
		if typed, ok := m.(M); ok {
			return typed
		}
		switch m.(type) {
		case *protocol.Slots, *protocol.Group:
		default:
			c.t.Fatalf("got %T %+v", m, m)
		}
	}
}

// negotiate adds a slot and carries an offer and its answer out.
func (c *caller) negotiate() {
	c.t.Helper()
	if _, err := c.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		c.t.Fatal(err)
	}
	offer, err := c.pc.CreateOffer(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.pc.SetLocalDescription(offer); err != nil {
		c.t.Fatal(err)
	}
	c.id++
	c.send(&protocol.Offer{ID: c.id, SDP: offer.SDP, Tracks: []protocol.OfferTrack{{MID: "0", Source: protocol.SourceMic}}})
	answer := await[*protocol.Answer](c)
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer.SDP}); err != nil {
		c.t.Fatal(err)
	}
}

// TestProcesses_resume: after kill -9 and restart of signaling a client goes on with the media session that it has.
func TestProcesses_resume(t *testing.T) {
	s := startServices(t)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{BundlePolicy: webrtc.BundlePolicyMaxBundle})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pc.GracefulClose() }()
	connected := make(chan struct{})
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		switch state {
		case webrtc.PeerConnectionStateConnected:
			close(connected)
		case webrtc.PeerConnectionStateDisconnected, webrtc.PeerConnectionStateFailed:
			t.Errorf("the media connection is %v", state)
		}
	})
	mic, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "mic", "mic")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTransceiverFromTrack(mic, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
		t.Fatal(err)
	}
	c := &caller{t: t, ctx: ctx, s: s, keys: newRoom(t), conn: link.NewConnID(), pc: pc}
	welcome := c.connect(nil)
	c.negotiate()
	select {
	case <-connected:
	case <-ctx.Done():
		t.Fatal("no media connection")
	}

	s.signal.stop(syscall.SIGKILL)
	killed := time.Now()
	s.startSignal()
	again := c.connect(&protocol.Resume{Token: welcome.Resume, Tracks: []protocol.Track{{Source: protocol.SourceMic}}})
	took := time.Since(killed)
	if !again.Resumed || !again.Lost || again.Leaf != welcome.Leaf {
		t.Errorf("welcome %+v", again)
	}
	t.Logf("resumed %v after the kill", took.Round(time.Millisecond))
	if took > protocol.ResumeTimeout { // clients give up then
		t.Errorf("resumed after %v", took)
	}
	c.negotiate()
	s.expect(`rooms 1`, `joins_total\{result="ok"\} 1`)
	s.quiet(c.keys)
}
