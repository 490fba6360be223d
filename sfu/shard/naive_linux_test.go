package shard

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// newNaive writes frames to the track of a naive forwarder: a PeerConnection with the default interceptors for each of n
// subscribers, which have stopped to read, and one TrackLocalStaticRTP.
func newNaive(b *testing.B, n int) (frame func(), count func() int64) {
	local, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, "camera", "a")
	if err != nil {
		b.Fatal(err)
	}
	api := webrtc.NewAPI(webrtc.WithSettingEngine(loopbackOnly()))
	for range n {
		subscribe(b, api, local)
	}
	packet := &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96}, Payload: make([]byte, flatPayload)}
	sent := int64(0)
	return func() {
		packet.Timestamp += 3000
		for i := range flatPackets {
			packet.SequenceNumber++
			packet.Marker = i == flatPackets-1
			if err := local.WriteRTP(packet); err != nil {
				b.Fatal(err)
			}
			sent += int64(n)
		}
	}, func() int64 { return sent }
}

func loopbackOnly() (engine webrtc.SettingEngine) {
	engine.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	engine.SetIncludeLoopbackCandidate(true)
	engine.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	return engine
}

// subscribe connects a participant to a PeerConnection of the forwarder and stops its socket.
func subscribe(b *testing.B, forwarder *webrtc.API, local webrtc.TrackLocal) {
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(err)
	g := &gate{PacketConn: conn, done: make(chan struct{})}
	engine := loopbackOnly()
	silent := &logging.DefaultLoggerFactory{Writer: io.Discard}
	engine.SetICEUDPMux(webrtc.NewICEUDPMux(silent.NewLogger("ice"), g))
	far, err := webrtc.NewAPI(webrtc.WithSettingEngine(engine)).NewPeerConnection(webrtc.Configuration{})
	must(err)
	near, err := forwarder.NewPeerConnection(webrtc.Configuration{})
	must(err)
	b.Cleanup(func() {
		_ = near.Close()
		_ = g.Close()
		_ = far.Close()
	})
	connected := make(chan struct{})
	near.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			close(connected)
		}
	})
	_, err = near.AddTrack(local)
	must(err)
	_, err = far.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
	must(err)
	offer, err := far.CreateOffer(nil)
	must(err)
	gathered := webrtc.GatheringCompletePromise(far)
	must(far.SetLocalDescription(offer))
	<-gathered
	must(near.SetRemoteDescription(*far.LocalDescription()))
	answer, err := near.CreateAnswer(nil)
	must(err)
	gathered = webrtc.GatheringCompletePromise(near)
	must(near.SetLocalDescription(answer))
	<-gathered
	must(far.SetRemoteDescription(*near.LocalDescription()))
	select {
	case <-connected:
	case <-time.After(30 * time.Second):
		b.Fatal("no connection")
	}
	must(conn.SetReadBuffer(1))
	g.shut.Store(true)
}

// gate is a socket whose reader can be stopped.
type gate struct {
	net.PacketConn
	shut atomic.Bool
	done chan struct{}
	once sync.Once
}

func (g *gate) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := g.PacketConn.ReadFrom(b)
	if g.shut.Load() {
		<-g.done
		return 0, nil, net.ErrClosed
	}
	return n, from, err
}

func (g *gate) Close() error {
	g.once.Do(func() { close(g.done) })
	return g.PacketConn.Close()
}
