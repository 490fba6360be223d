package transport

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	ptransport "github.com/pion/transport/v5"
	"github.com/pion/transport/v5/vnet"
	"github.com/pion/webrtc/v4"

	"sotto/sfu/packet"
)

// shard runs an Endpoint as a shard does, and notes what comes out.
type shard struct {
	t        testing.TB
	e        *Endpoint
	bind     Bind
	commands chan func()
	done     chan struct{}
	events   chan Event
	media    chan media

	// Of the shard's goroutine.
	tap func(d Datagram) // sees each datagram before Receive
}

type media struct {
	session SessionID
	rtcp    bool
	data    []byte
}

func newShard(t testing.TB, bind Bind, limits Limits) *shard {
	t.Helper()
	certificate, err := NewCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEndpoint(Config{Bind: bind, Certificate: certificate, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	s := &shard{
		t: t, e: e, bind: bind,
		commands: make(chan func(), 16),
		done:     make(chan struct{}),
		events:   make(chan Event, 1024),
		media:    make(chan media, 8192),
	}
	go s.run()
	return s
}

func (s *shard) run() {
	defer close(s.done)
	dst := make([]Datagram, 32)
	var events []Event
	for {
		for more := true; more; {
			select {
			case f, ok := <-s.commands:
				if !ok {
					return
				}
				f()
			default:
				more = false
			}
		}
		var next time.Time
		events, next = s.e.Poll(time.Now(), events[:0])
		for _, ev := range events {
			s.events <- ev
		}
		s.e.Flush() // what commands sent must not wait for the next datagram
		n, err := s.e.Read(dst, next)
		if err != nil {
			return
		}
		for _, d := range dst[:n] {
			if s.tap != nil {
				s.tap(d)
			}
			if in, ok := s.e.Receive(d.At, d); ok {
				select {
				case s.media <- media{in.Session, in.RTCP, append([]byte(nil), in.Data...)}:
				default:
				}
			}
		}
		s.e.Flush()
	}
}

// do runs f in the shard's goroutine.
func (s *shard) do(f func()) {
	ran := make(chan struct{})
	s.commands <- func() { defer close(ran); f() }
	s.bind.Wake()
	<-ran
}

func (s *shard) stats() (st Stats) {
	s.do(func() { st = s.e.Stats() })
	return st
}

func (s *shard) drops(r DropReason) uint64 { st := s.stats(); return st.Drops[r] }

// stop ends the shard and everything of its endpoint.
func (s *shard) stop() {
	s.do(s.e.Shutdown)
	close(s.commands)
	s.bind.Wake()
	<-s.done
	_ = s.bind.Close()
}

// event returns the next event and fails if it is not of this kind.
func (s *shard) event(kind EventKind) Event {
	s.t.Helper()
	select {
	case ev := <-s.events:
		if ev.Kind != kind {
			s.t.Fatalf("event %v (%v), want %v", ev.Kind, ev.Reason, kind)
		}
		return ev
	case <-time.After(40 * time.Second):
		s.t.Fatalf("no %v; drops %v", kind, dropNames(s.stats()))
	}
	return Event{}
}

func dropNames(s Stats) map[string]uint64 {
	m := map[string]uint64{}
	for i, n := range s.Drops {
		if n > 0 {
			m[DropReason(i).String()] = n
		}
	}
	return m
}

// network is where clients and servers live: the loopback or a simulated one.
type network struct {
	listener net.Listener // of loopback: the same port by TCP
	server   Bind
	client   func() *webrtc.SettingEngine
	router   *vnet.Router
	stop     func()
}

const virtualServer = "10.0.0.1"

// virtual makes a simulated network with 20 ms of delay per direction.
func virtual(t testing.TB) *network {
	t.Helper()
	router, err := vnet.NewRouter(&vnet.RouterConfig{
		CIDR: "10.0.0.0/8", MinDelay: 20 * time.Millisecond, LoggerFactory: &silence{},
	})
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
	serverNet := host(virtualServer)
	clients := 0
	if err := router.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := serverNet.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(virtualServer), Port: 3478})
	if err != nil {
		t.Fatal(err)
	}
	return &network{
		server: NewPacketBind(conn),
		router: router,
		client: func() *webrtc.SettingEngine {
			clients++
			se := &webrtc.SettingEngine{}
			var n ptransport.Net = host(fmt.Sprintf("10.0.1.%d", clients))
			se.SetNet(n)
			return se
		},
		stop: func() { _ = router.Stop() },
	}
}

func loopback(t testing.TB) *network {
	t.Helper()
	conn := listenLoopback(t, "udp4", "127.0.0.1")
	l, err := net.Listen("tcp4", conn.LocalAddr().String())
	for range 20 {
		if err == nil {
			break
		}
		_ = conn.Close() // somebody else has the TCP port of that number
		conn = listenLoopback(t, "udp4", "127.0.0.1")
		l, err = net.Listen("tcp4", conn.LocalAddr().String())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	bind, err := NewUDPBind(conn, OffloadAuto)
	if err != nil {
		t.Fatal(err)
	}
	return &network{
		server: bind, listener: l,
		client: func() *webrtc.SettingEngine {
			se := &webrtc.SettingEngine{}
			se.SetIncludeLoopbackCandidate(true)
			se.SetInterfaceFilter(func(name string) bool { return name == "lo" })
			return se
		},
		stop: func() {},
	}
}

// peer is a pion client with one outgoing track and one slot.
type peer struct {
	t        testing.TB
	pc       *webrtc.PeerConnection
	track    *webrtc.TrackLocalStaticRTP
	offer    *Offer
	local    Credentials // of the server
	received chan *rtp.Packet
	rtcp     chan rtcp.Packet
	states   chan webrtc.PeerConnectionState
}

const (
	slotSSRC  = 0x51070001
	slotMIDPT = 96
)

func newPeer(t testing.TB, se *webrtc.SettingEngine) *peer {
	t.Helper()
	var log logging.LoggerFactory = &silence{}
	se.LoggerFactory = log
	media := &webrtc.MediaEngine{}
	if err := media.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000},
		PayloadType:        slotMIDPT,
	}, webrtc.RTPCodecTypeVideo); err != nil {
		t.Fatal(err)
	}
	api := webrtc.NewAPI(webrtc.WithSettingEngine(*se), webrtc.WithMediaEngine(media),
		webrtc.WithInterceptorRegistry(&interceptor.Registry{}))
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{
		t: t, pc: pc,
		received: make(chan *rtp.Packet, 4096),
		rtcp:     make(chan rtcp.Packet, 4096),
		states:   make(chan webrtc.PeerConnectionState, 64),
	}
	if p.track, err = webrtc.NewTrackLocalStaticRTP(
		webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "video", "stream"); err != nil {
		t.Fatal(err)
	}
	up, err := pc.AddTransceiverFromTrack(p.track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			packets, _, err := up.Sender().ReadRTCP()
			if err != nil {
				return
			}
			for _, packet := range packets {
				p.rtcp <- packet
			}
		}
	}()
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo,
		webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		t.Fatal(err)
	}
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		select {
		case p.states <- s:
		default:
		}
	})
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			packet, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			p.received <- packet
		}
	})
	return p
}

// join connects the peer to the shard, over UDP or over TCP, and returns the session.
// edit may change what the server believes.
func (p *peer) join(s *shard, tcp bool, edit func(*OpenConfig)) SessionID {
	p.t.Helper()
	offer, err := p.pc.CreateOffer(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(offer); err != nil {
		p.t.Fatal(err)
	}
	<-gathered
	if p.offer, err = ParseOffer([]byte(p.pc.LocalDescription().SDP)); err != nil {
		p.t.Fatal(err)
	}
	p.local = NewCredentials(NewNodeID(1, []byte("a secret of the tests")))
	open := OpenConfig{Local: p.local, Remote: p.offer.Remote, RemoteFingerprint: p.offer.Fingerprint}
	if edit != nil {
		edit(&open)
	}
	var id SessionID
	s.do(func() { id, err = s.e.Open(time.Now(), open) })
	if err != nil {
		p.t.Fatal(err)
	}
	answer := AnswerConfig{
		SessionID: 1, Version: 1, Local: p.local,
		Fingerprint: s.e.certificate.Fingerprint(),
		Video:       []packet.Codec{packet.VP8},
		Media:       []MediaConfig{{Role: RoleReceive}, {Role: RoleSend, SSRC: slotSSRC}},
	}
	if tcp {
		answer.TCPCandidates = []netip.AddrPort{s.bind.LocalAddr()}
	} else {
		answer.Candidates = []netip.AddrPort{s.bind.LocalAddr()}
	}
	a, err := p.offer.Answer(answer)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{
		Type: webrtc.SDPTypeAnswer, SDP: string(a.Description),
	}); err != nil {
		p.t.Fatalf("%v\n%s", err, a.Description)
	}
	return id
}

// waitState waits until the client's connection is in a state.
func (p *peer) waitState(want webrtc.PeerConnectionState) {
	p.t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		select {
		case got := <-p.states:
			if got == want {
				return
			}
		case <-deadline:
			p.t.Fatalf("client not %v but %v", want, p.pc.ConnectionState())
		}
	}
}

func (p *peer) close() { _ = p.pc.GracefulClose() }

// exchange sends n packets up and n down and demands all of them, unchanged.
func exchange(t testing.TB, s *shard, p *peer, id SessionID, first uint16, n int) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			_ = p.track.WriteRTP(&rtp.Packet{
				Header:  rtp.Header{Version: 2, SequenceNumber: first + uint16(i), Timestamp: uint32(i) * 3000, PayloadType: slotMIDPT},
				Payload: []byte(fmt.Sprintf("up %d", i)),
			})
			time.Sleep(time.Millisecond) // virtual time, or pacing on the loopback
		}
	})
	for i := range n {
		s.do(func() { s.sendRTP(id, first+uint16(i), fmt.Sprintf("down %d", i)) })
		time.Sleep(time.Millisecond) // a client's socket buffer holds 256 packets
	}
	wg.Wait()
	for i := range n {
		select {
		case m := <-s.media:
			var packet rtp.Packet
			if err := packet.Unmarshal(m.data); err != nil || m.session != id || m.rtcp {
				t.Fatalf("packet %d: %v rtcp=%v session=%v", i, err, m.rtcp, m.session)
			}
			if want := fmt.Sprintf("up %d", i); string(packet.Payload) != want {
				t.Fatalf("got %q, want %q", packet.Payload, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%d of %d packets up; drops %v", i, n, dropNames(s.stats()))
		}
	}
	for i := range n {
		select {
		case packet := <-p.received:
			if want := fmt.Sprintf("down %d", i); string(packet.Payload) != want {
				t.Fatalf("got %q, want %q", packet.Payload, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%d of %d packets down; drops %v", i, n, dropNames(s.stats()))
		}
	}
}

// sendRTP seals and queues one packet of the slot, in the shard's goroutine.
func (s *shard) sendRTP(id SessionID, seq uint16, payload string) {
	packet := rtp.Packet{
		Header:  rtp.Header{Version: 2, PayloadType: slotMIDPT, SSRC: slotSSRC, SequenceNumber: seq, Timestamp: 90000},
		Payload: []byte(payload),
	}
	buf := s.e.Slab(packet.MarshalSize() + SealOverhead)
	n, err := packet.MarshalTo(buf[:cap(buf)])
	if err != nil {
		s.t.Error(err)
		return
	}
	if n, err = s.e.SealRTP(id, buf[:n]); err != nil {
		s.t.Error(err)
		return
	}
	s.e.Send(id, buf[:n], 0)
}
