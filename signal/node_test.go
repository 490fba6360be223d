package signal

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/pion/webrtc/v4"

	"sotto/sfu"
	"sotto/signal/protocol"
)

// TestNode_negotiates: a real media node behind a real socket answers the
// offer of a real peer connection, renegotiates, and tells when it closes.
func TestNode_negotiates(t *testing.T) {
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := udp.LocalAddr().(*net.UDPAddr).AddrPort()
	node, err := sfu.New(sfu.Config{Shards: []sfu.ShardConfig{{Conn: udp, Candidates: []netip.AddrPort{addr}}}})
	if err != nil {
		t.Fatal(err)
	}
	server, err := New(Config{Media: node, OpenRooms: true})
	if err != nil {
		t.Fatal(err)
	}
	hs := httptest.NewServer(server)
	defer hs.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	defer func() {
		_ = node.Close()
		if err := server.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	}()

	ws, _, err := websocket.Dial(ctx, hs.URL+"/ws", &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	ws.SetReadLimit(protocol.MaxNegotiation)
	hello := read[*protocol.Hello](ctx, t, ws)
	public, link, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	conn := protocol.ConnID{1, 2, 3}
	host := strings.TrimPrefix(hs.URL, "http://")
	write(ctx, t, ws, &protocol.Connect{
		ID: 1, Room: protocol.RoomOf(public), ConnID: conn, LinkPub: protocol.Bytes(public),
		LinkSig: ed25519.Sign(link, protocol.ConnectSigned(host, hello.Nonce, conn)),
	})
	read[*protocol.Welcome](ctx, t, ws)

	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{BundlePolicy: webrtc.BundlePolicyMaxBundle})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pc.Close() }()
	direction := func(d webrtc.RTPTransceiverDirection) webrtc.RTPTransceiverInit {
		return webrtc.RTPTransceiverInit{Direction: d}
	}
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "mic", "mic")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTransceiverFromTrack(track, direction(webrtc.RTPTransceiverDirectionSendonly)); err != nil {
		t.Fatal(err)
	}
	for id := uint32(2); id < 4; id++ { // the second offer has one more slot
		if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, direction(webrtc.RTPTransceiverDirectionRecvonly)); err != nil {
			t.Fatal(err)
		}
		offer, err := pc.CreateOffer(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := pc.SetLocalDescription(offer); err != nil {
			t.Fatal(err)
		}
		write(ctx, t, ws, &protocol.Offer{ID: id, SDP: offer.SDP, Tracks: []protocol.OfferTrack{{MID: "0", Source: protocol.SourceMic}}})
		answer := read[*protocol.Answer](ctx, t, ws)
		if answer.ID != id {
			t.Errorf("answer to %d, want %d", answer.ID, id)
		}
		if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer.SDP}); err != nil {
			t.Fatalf("answer: %v\n%s", err, answer.SDP)
		}
	}
	write(ctx, t, ws, &protocol.Offer{ID: 9, SDP: "v=0\r\nnonsense"})
	if e := read[*protocol.Error](ctx, t, ws); e.Code != protocol.CodeBadOffer || e.ID == nil || *e.ID != 9 {
		t.Errorf("error %+v", e)
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	if e := read[*protocol.Error](ctx, t, ws); e.Code != protocol.CodeMediaClosed || e.Fatal {
		t.Errorf("error %+v", e)
	}
}

// TestNode_givesNoSlotsWithoutPermission: what restrict leaves of a real offer
// gets an answer that sends nothing, and that the client takes.
func TestNode_givesNoSlotsWithoutPermission(t *testing.T) {
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	node, err := sfu.New(sfu.Config{Shards: []sfu.ShardConfig{{Conn: udp}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = node.Close() }()
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{BundlePolicy: webrtc.BundlePolicyMaxBundle})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pc.Close() }()
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "mic", "mic")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		if _, err := pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			t.Fatal(err)
		}
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	o := &protocol.Offer{SDP: offer.SDP, Tracks: []protocol.OfferTrack{{MID: "0", Source: protocol.SourceMic}}}
	if r := (grant{publish: fullGrant().publish}).restrict(o); r != nil {
		t.Fatal(r)
	}
	reply, err := node.Join(t.Context(), sfu.JoinRequest{Room: "r", Peer: "p", Offer: o.SDP, Tracks: mediaTracks(o.Tracks)})
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: reply.Answer}); err != nil {
		t.Fatalf("answer: %v\n%s", err, reply.Answer)
	}
	if strings.Count(reply.Answer, "a=recvonly") != 1 || strings.Count(reply.Answer, "a=inactive") != 2 || strings.Contains(reply.Answer, "a=send") {
		t.Errorf("answer\n%s", reply.Answer)
	}
}

// read is the next message of type T; slots in between are passed over.
func read[T protocol.ServerMessage](ctx context.Context, t *testing.T, ws *websocket.Conn) T {
	t.Helper()
	for {
		_, data, err := ws.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		m, err := protocol.DecodeServer(data)
		if err != nil {
			t.Fatal(err)
		}
		if _, slots := m.(*protocol.Slots); slots {
			continue
		}
		typed, ok := m.(T)
		if !ok {
			t.Fatalf("got %T %+v", m, m)
		}
		return typed
	}
}

func write(ctx context.Context, t *testing.T, ws *websocket.Conn, m protocol.ClientMessage) {
	t.Helper()
	text, err := protocol.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := ws.Write(ctx, websocket.MessageText, text); err != nil {
		t.Fatal(err)
	}
}
