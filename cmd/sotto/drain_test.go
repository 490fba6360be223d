package main

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"sotto/e2ee/link"
	"sotto/signal/client"
	"sotto/signal/protocol"
)

// rover is a participant down to its messages, with a microphone and one slot, that follows its room to another node.
type rover struct {
	*caller
	moves atomic.Int32
	mic   atomic.Pointer[webrtc.TrackLocalStaticRTP]
	heard arrivals

	mu sync.Mutex
	pc *webrtc.PeerConnection
}

func (s *services) rover(ctx context.Context, keys *link.Keys) *rover {
	s.t.Helper()
	r := &rover{caller: &caller{t: s.t, ctx: ctx, s: s, keys: keys, conn: link.NewConnID()}}
	r.connect(nil)
	r.offer(false)
	r.answer(await[*protocol.Answer](r.caller))
	var running sync.WaitGroup
	running.Go(r.follow)
	running.Go(r.speak)
	s.t.Cleanup(func() {
		_ = r.ws.CloseNow()
		r.mu.Lock()
		_ = r.pc.GracefulClose()
		r.mu.Unlock()
		running.Wait()
	})
	return r
}

// offer makes a peer connection, in the place of the former one, and offers it.
func (r *rover) offer(rejoin bool) {
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{BundlePolicy: webrtc.BundlePolicyMaxBundle})
	if err != nil {
		r.t.Error(err)
		return
	}
	r.mu.Lock()
	before := r.pc
	r.pc = pc
	r.mu.Unlock()
	if before != nil {
		r.mic.Store(nil)
		_ = before.Close()
	}
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for buf := make([]byte, 1500); ; {
			if _, _, err := track.Read(buf); err != nil {
				return
			}
			r.heard.ReceivedFrame(client.FrameEvent{At: time.Now()})
		}
	})
	mic, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "mic", "mic")
	if err != nil {
		r.t.Error(err)
		return
	}
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			r.mic.Store(mic)
		}
	})
	_, err = pc.AddTransceiverFromTrack(mic, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err == nil {
		_, err = pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
	}
	offer, offerErr := pc.CreateOffer(nil)
	if err == nil {
		err = offerErr
	}
	if err == nil {
		err = pc.SetLocalDescription(offer)
	}
	if err != nil {
		r.t.Error(err)
		return
	}
	r.id++
	r.send(&protocol.Offer{ID: r.id, SDP: offer.SDP, Rejoin: rejoin, Tracks: []protocol.OfferTrack{{MID: "0", Source: protocol.SourceMic}}})
}

func (r *rover) answer(m *protocol.Answer) {
	if err := r.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: m.SDP}); err != nil {
		r.t.Error(err)
	}
}

// follow does what the service says until the WebSocket ends.
func (r *rover) follow() {
	for {
		_, data, err := r.ws.Read(r.ctx)
		if err != nil {
			return
		}
		m, err := protocol.DecodeServer(data)
		if err != nil {
			continue // an envelope
		}
		switch m := m.(type) {
		case *protocol.Answer:
			r.answer(m)
		case *protocol.Error:
			if m.Code != protocol.CodeMediaClosed {
				r.t.Errorf("told %s: %s", m.Code, m.Message)
				return
			}
			r.moves.Add(1)
			r.offer(true)
		}
	}
}

// speak sends a packet every 20 ms over the peer connection that is up.
func (r *rover) speak() {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	p := rtp.Packet{Header: rtp.Header{Version: 2}, Payload: []byte("what nobody but the other one can read")}
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
		}
		p.SequenceNumber++
		p.Timestamp += 960
		if mic := r.mic.Load(); mic != nil {
			_ = mic.WriteRTP(&p) // of one that has just been closed
		}
	}
}

// patientNode replaces the node by one that drains for a while.
func (s *services) patientNode(seconds string) {
	s.t.Helper()
	s.sfu.stop(syscall.SIGTERM) // empty
	shows(s.t, s.signal, `nodes\{state="running"\} 0`)
	s.sfu = s.startNode("--drain-seconds", seconds, "--log-level", "debug")
	shows(s.t, s.signal, `nodes\{state="running"\} 1`)
}

// shows waits until the metrics of a process have a line.
func shows(t *testing.T, p *process, line string) {
	t.Helper()
	url := p.printed("metrics")
	pattern := regexp.MustCompile(`(?m)^sotto_` + line + `$`)
	until(t, "metrics say "+line, func() bool {
		_, text := get(url)
		return pattern.MatchString(text)
	})
}

func get(url string) (status int, text string) {
	r, err := http.Get(url)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = r.Body.Close() }()
	body, _ := io.ReadAll(r.Body)
	return r.StatusCode, string(body)
}

func (p *process) readyz() (int, string) {
	return get(strings.TrimSuffix(p.printed("metrics"), "metrics") + "readyz")
}

// TestProcesses_drainMovesCalls: a node that is told to stop while another one is there hands its room over, and ends when the room
// has moved.
func TestProcesses_drainMovesCalls(t *testing.T) {
	t.Parallel() // it waits most of the time, as all below
	s := startServices(t)
	s.patientNode("60")
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	keys := newRoom(t)
	both := []*rover{s.rover(ctx, keys), s.rover(ctx, keys)}
	heard := func() bool {
		for _, r := range both {
			r.heard.mu.Lock()
			few := r.heard.count < 50
			r.heard.mu.Unlock()
			if few {
				return false
			}
		}
		return true
	}
	gap := func() (longest time.Duration) {
		for _, r := range both {
			_, gap := r.heard.since()
			longest = max(longest, gap)
		}
		return longest
	}
	until(t, "both are heard", heard)
	gap()
	until(t, "both are heard", heard)
	usual := gap()

	second := s.startNode("--node-id", "second")
	shows(t, s.signal, `nodes\{state="running"\} 2`)
	if err := s.sfu.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	told := time.Now()
	until(t, "the load balancer sees it", func() bool {
		code, why := s.sfu.readyz()
		select {
		case <-s.sfu.done: // faster than this
			return true
		default:
			return code == http.StatusServiceUnavailable && strings.TrimSpace(why) == "draining"
		}
	})
	select {
	case <-s.sfu.done:
	case <-ctx.Done():
		t.Fatal("the node does not end")
	}
	ended := time.Since(told)
	if code := s.sfu.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("ended with %d", code)
	}
	for _, r := range both {
		r.heard.mu.Lock()
		r.heard.count = 0
		r.heard.mu.Unlock()
	}
	until(t, "both are heard on the other node", heard)
	t.Logf("longest silence %v (before: %v), the node was empty after %v", gap().Round(time.Millisecond), usual.Round(time.Millisecond), ended.Round(time.Millisecond))
	for i, r := range both {
		if n := r.moves.Load(); n != 1 {
			t.Errorf("participant %d was moved %d times", i, n)
		}
	}
	shows(t, second, "node_rooms 1")
	shows(t, s.signal, `drain_participants_total\{result="moved"\} 2`)
	shows(t, s.signal, `drain_participants_total\{result="cut"\} 0`)
	s.quiet(keys)
}

// TestProcesses_drainEndsInTime: with nowhere to go calls stay until the time is over, or until somebody insists.
func TestProcesses_drainEndsInTime(t *testing.T) {
	t.Parallel()
	s := startServices(t)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for _, c := range []struct {
		name, seconds string
		insist        bool
	}{{"limit", "1", false}, {"insist", "3600", true}} {
		t.Run(c.name, func(t *testing.T) {
			s.patientNode(c.seconds)
			keys := newRoom(t)
			a := &caller{t: t, ctx: ctx, s: s, keys: keys, conn: link.NewConnID()}
			a.connect(nil)
			pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = pc.GracefulClose() }()
			mic, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "mic", "mic")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := pc.AddTransceiverFromTrack(mic, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
				t.Fatal(err)
			}
			a.pc = pc
			a.negotiate()
			_ = s.sfu.cmd.Process.Signal(syscall.SIGTERM)
			until(t, "it drains", func() bool { code, _ := s.sfu.readyz(); return code == http.StatusServiceUnavailable })
			if c.insist {
				_ = s.sfu.cmd.Process.Signal(syscall.SIGTERM)
			}
			if e := await[*protocol.Error](a); e.Code != protocol.CodeMediaClosed {
				t.Errorf("told %s", e.Code)
			}
			<-s.sfu.done
			shows(t, s.signal, `nodes\{state="running"\} 0`)
		})
	}
}

// TestProcesses_signalDrains: signaling is not ready before it closes connections, with the code that makes clients resume.
func TestProcesses_signalDrains(t *testing.T) {
	t.Parallel()
	s := startServices(t)
	s.signal.stop(syscall.SIGTERM)
	s.startSignal("--drain-seconds", "2")
	s.ready()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	c := &caller{t: t, ctx: ctx, s: s, keys: newRoom(t), conn: link.NewConnID()}
	c.connect(nil)
	if err := s.signal.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, "it is not ready", func() bool { return status(s.page+"readyz") == http.StatusServiceUnavailable })
	other := &caller{t: t, ctx: ctx, s: s, keys: c.keys, conn: link.NewConnID()}
	other.connect(nil) // it serves still
	await[*protocol.PeerJoined](c)
	if e := await[*protocol.Error](c); e.Code != protocol.CodeShutdown || !e.Fatal {
		t.Errorf("told %+v", e)
	}
	if _, _, err := c.ws.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("closed: %v", err)
	}
	<-s.signal.done
	if code := s.signal.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("ended with %d:\n%s", code, s.signal.text(&s.signal.log))
	}
}
