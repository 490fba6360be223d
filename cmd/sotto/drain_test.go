package main

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/pion/webrtc/v4"

	"sotto/e2ee/link"
	"sotto/signal/protocol"
)

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
	_, atFirst := s.join(keys, nil)
	_, atSecond := s.join(keys, nil)
	both := []*arrivals{atFirst, atSecond}
	heard := func() bool { return atFirst.many() && atSecond.many() }
	gap := func() (longest time.Duration) {
		for _, a := range both {
			_, gap := a.since()
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
	for _, a := range both {
		a.mu.Lock()
		a.count = 0
		a.mu.Unlock()
	}
	until(t, "both are heard on the other node", heard)
	t.Logf("longest silence %v (before: %v), the node was empty after %v", gap().Round(time.Millisecond), usual.Round(time.Millisecond), ended.Round(time.Millisecond))
	shows(t, second, "node_rooms 1")
	shows(t, second, `\w*joins_total\{result="ok"\} 2`)
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
