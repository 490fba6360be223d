package bench

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"golang.org/x/sys/unix"

	"sotto/sfu"
)

// framePackets is how many packets a frame of the flat-out benchmarks has.
const framePackets = 6

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

// BenchmarkFlatOut_naive is the counterpart of BenchmarkFlatOut in sfu/shard: frames of six packets written to the track of
// the naive forwarder, whose subscribers have stopped to read, in CPU time per sent packet.
func BenchmarkFlatOut_naive(b *testing.B) {
	for _, n := range []int{10, 100} {
		b.Run(fmt.Sprintf("subscribers=%d", n), func(b *testing.B) { flatOutNaive(b, n) })
	}
}

func flatOutNaive(b *testing.B, n int) {
	forwarder, err := newNaive()
	if err != nil {
		b.Fatal(err)
	}
	defer forwarder.Close()
	local, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, "camera", "a")
	if err != nil {
		b.Fatal(err)
	}
	forwarder.rooms["r"] = &naiveRoom{tracks: []*naiveTrack{{publisher: "a", source: sfu.SourceCamera, local: local}}}
	var gates []*gate
	for i := range n {
		gates = append(gates, subscribe(b, forwarder, fmt.Sprint("subscriber ", i)))
	}
	for connected := 0; connected < n; {
		select {
		case e := <-forwarder.events:
			if e.Kind == sfu.EventConnected {
				connected++
			}
		case <-time.After(30 * time.Second):
			b.Fatalf("%d of %d connected", connected, n)
		}
	}
	for _, g := range gates {
		_ = g.PacketConn.(*net.UDPConn).SetReadBuffer(1)
		g.shut.Store(true)
	}
	packet := &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96}, Payload: make([]byte, 1060)}
	frame := func() {
		packet.Timestamp += 3000
		for i := range framePackets {
			packet.SequenceNumber++
			packet.Marker = i == framePackets-1
			_ = local.WriteRTP(packet)
		}
	}
	frame()
	b.ReportAllocs()
	before := processTime(b)
	for b.Loop() {
		frame()
	}
	b.ReportMetric(float64((processTime(b)-before).Nanoseconds())/float64(b.N*n*framePackets), "cpu-ns/packet")
}

// subscribe connects a participant that wants the track.
func subscribe(b *testing.B, forwarder *naive, name string) *gate {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	g := &gate{PacketConn: conn, done: make(chan struct{})}
	var engine webrtc.SettingEngine
	engine.SetICEUDPMux(webrtc.NewICEUDPMux(logging.NewDefaultLoggerFactory().NewLogger("ice"), g))
	engine.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	engine.SetIncludeLoopbackCandidate(true)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(engine)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = g.Close()
		_ = pc.Close()
	})
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		b.Fatal(err)
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		b.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		b.Fatal(err)
	}
	<-gathered
	reply, err := forwarder.Join(b.Context(), sfu.JoinRequest{Room: "r", Peer: name, Offer: pc.LocalDescription().SDP})
	if err != nil {
		b.Fatal(err)
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: reply.Answer}); err != nil {
		b.Fatal(err)
	}
	return g
}

func processTime(b *testing.B) time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
