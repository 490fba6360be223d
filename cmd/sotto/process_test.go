package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sotto/e2ee/link"
	"sotto/signal/client"
	"sotto/signal/web"
)

// process is a service that runs as a process of its own.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	mu       sync.Mutex
	out, log strings.Builder
}

// start runs this test binary as the command.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0], args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "SOTTO_TEST_AS_COMMAND=1", "SOTTO_DRAIN_SECONDS=0") // calls are over when a test stops
	var readers sync.WaitGroup
	for _, pipe := range []struct {
		open func() (io.ReadCloser, error)
		into *strings.Builder
	}{{p.cmd.StdoutPipe, &p.out}, {p.cmd.StderrPipe, &p.log}} {
		r, err := pipe.open()
		if err != nil {
			t.Fatal(err)
		}
		readers.Go(func() {
			for s := bufio.NewScanner(r); s.Scan(); {
				p.mu.Lock()
				pipe.into.WriteString(s.Text() + "\n")
				p.mu.Unlock()
			}
		})
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		readers.Wait()
		_ = p.cmd.Wait() // the exit code is in ProcessState
		close(p.done)
	}()
	t.Cleanup(func() { p.stop(syscall.SIGKILL) })
	return p
}

func (p *process) stop(s syscall.Signal) {
	_ = p.cmd.Process.Signal(s) // it may have ended
	<-p.done
}

func (p *process) text(b *strings.Builder) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return b.String()
}

// printed waits until the process has printed a line like "  page     http://…/" and returns what follows the word.
func (p *process) printed(word string) (value string) {
	p.t.Helper()
	pattern := regexp.MustCompile(`(?m)^  ` + word + ` +(\S+)`)
	until(p.t, word+" is printed", func() bool {
		select {
		case <-p.done:
			p.t.Fatalf("ended:\n%s", p.text(&p.log))
		default:
		}
		m := pattern.FindStringSubmatch(p.text(&p.out))
		if m != nil {
			value = m[1]
		}
		return m != nil
	})
	return value
}

// until looks again and again: processes tell nothing else.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(30 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("in 30 s it did not come to pass that %s", what)
		}
	}
}

func status(url string) int {
	r, err := http.Get(url)
	if err != nil {
		return 0
	}
	_ = r.Body.Close()
	return r.StatusCode
}

// services are signaling and one media node.
type services struct {
	t           *testing.T
	secret      string // file
	signal, sfu *process
	page        string // URL
	engine      string // address
}

func startServices(t *testing.T) *services {
	t.Helper()
	if err := web.Available(); err != nil {
		t.Skip(err)
	}
	if testing.Short() {
		t.Skip("runs processes")
	}
	s := &services{t: t, secret: filepath.Join(t.TempDir(), "secret"), page: "http://127.0.0.1:0/", engine: "127.0.0.1:0"}
	if err := os.WriteFile(s.secret, []byte(rand.Text()+rand.Text()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.startSignal()
	s.sfu = s.startNode("--log-level", "debug")
	s.ready()
	return s
}

// startNode starts a media node.
func (s *services) startNode(args ...string) *process {
	s.t.Helper()
	return start(s.t, append([]string{"sfu", "--cluster-secret-file", s.secret, "--cluster-url", s.engine,
		"--media-listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"}, args...)...)
}

// startSignal starts signaling, at the addresses of before if it ran before.
func (s *services) startSignal(args ...string) {
	s.t.Helper()
	s.signal = start(s.t, append([]string{"signal", "--cluster-secret-file", s.secret, "--open-rooms",
		"--listen", strings.Trim(strings.TrimPrefix(s.page, "http://"), "/"), "--cluster-listen", s.engine,
		"--metrics-listen", "127.0.0.1:0", "--log-level", "debug"}, args...)...)
	s.page, s.engine = s.signal.printed("page"), s.signal.printed("cluster")
}

func (s *services) ready() {
	s.t.Helper()
	until(s.t, "signaling is ready", func() bool { return status(s.page+"readyz") == http.StatusOK })
}

func (s *services) websocket() string { return "ws" + strings.TrimPrefix(s.page, "http") + "ws" }

// patient is a connection of a client that never notices the end of the other side: it stands for one that resumes.
type patient struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
}

func dialPatient(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &patient{Conn: c, closed: make(chan struct{})}, nil
}

func (p *patient) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if err != nil {
		<-p.closed
	}
	return n, err
}

func (p *patient) Write(b []byte) (int, error) {
	if _, err := p.Conn.Write(b); err != nil {
		return len(b), nil
	}
	return len(b), nil
}

func (p *patient) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.Conn.Close()
}

// arrivals notes the largest gap between received frames.
type arrivals struct {
	mu    sync.Mutex
	last  time.Time
	gap   time.Duration
	count int
}

func (a *arrivals) ReceivedFrame(e client.FrameEvent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.last.IsZero() {
		a.gap = max(a.gap, e.At.Sub(a.last))
	}
	a.last = e.At
	a.count++
}

// many reports whether a second of sound has come since the last call of since.
func (a *arrivals) many() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.count >= 50
}

// since returns frames and largest gap since the last call, the time up to now included.
func (a *arrivals) since() (count int, gap time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	count, gap = a.count, max(a.gap, time.Since(a.last))
	a.count, a.gap = 0, 0
	return count, gap
}

func (s *services) join(keys *link.Keys, dial func(context.Context, string, string) (net.Conn, error)) (*client.Participant, *arrivals) {
	s.t.Helper()
	a := &arrivals{}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	p, err := client.Join(ctx, client.Config{
		URL: s.websocket(), Keys: keys, Dial: dial, Audio: true, AudioSlots: 4, VideoSlots: 4, Observer: a,
	})
	if err != nil {
		s.t.Fatalf("join: %v\nsignal:\n%s\nsfu:\n%s", err, s.signal.text(&s.signal.log), s.sfu.text(&s.sfu.log))
	}
	s.t.Cleanup(func() { _ = p.Close() })
	return p, a
}

func newRoom(t *testing.T) *link.Keys {
	t.Helper()
	keys, err := link.Derive(link.NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// TestProcesses_mediaOutlivesSignaling: two services as processes carry a room; kill -9 of signaling, with the engine in it,
// leaves media alone, and after its restart rooms go on on the same node.
func TestProcesses_mediaOutlivesSignaling(t *testing.T) {
	s := startServices(t)
	keys := newRoom(t)
	first, atFirst := s.join(keys, dialPatient)
	_, atSecond := s.join(keys, dialPatient)
	both := func() (count int, gap time.Duration) {
		c1, g1 := atFirst.since()
		c2, g2 := atSecond.since()
		return min(c1, c2), max(g1, g2)
	}
	heard := func() bool { return atFirst.many() && atSecond.many() }
	until(t, "both are heard", heard)
	both()
	until(t, "both are heard", heard)
	_, usual := both() // how late this machine is anyway

	s.signal.stop(syscall.SIGKILL)
	killed := time.Now()
	until(t, "both are heard without signaling", heard)
	s.startSignal()
	s.ready()
	away := time.Since(killed)
	until(t, "both are heard after the restart", heard)
	count, gap := both()
	t.Logf("largest gap %v over %d frames, before %v; signaling was away for %v", gap, count, usual, away)
	if gap > max(away/2, 3*usual) {
		t.Errorf("media stopped for %v (before: %v) while signaling was away for %v", gap, usual, away)
	}

	// The restarted service finds the node and the room on it: a newcomer is the third there.
	s.join(keys, nil)
	s.expect(`rooms 1`, `joins_total\{result="ok"\} 3`)
	if first.Err() != nil {
		t.Errorf("first participant: %v", first.Err())
	}
	s.quiet(keys)
}

// expect looks for metrics of the node.
func (s *services) expect(patterns ...string) {
	s.t.Helper()
	r, err := http.Get(s.sfu.printed("metrics"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range patterns {
		if !regexp.MustCompile(`(?m)^sotto_\w*` + p + `$`).Match(text) {
			s.t.Errorf("the node does not say %s:\n%s", p, text)
		}
	}
}

// quiet fails when the logs hold what they must not.
func (s *services) quiet(keys *link.Keys) {
	s.t.Helper()
	secret, err := os.ReadFile(s.secret)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range []*process{s.signal, s.sfu} {
		log := p.text(&p.log)
		for _, secret := range []string{"127.0.0.1", "a=ice", "fingerprint", keys.RoomID(), string(secret)} {
			if strings.Contains(log, secret) {
				s.t.Errorf("the log holds %q:\n%s", secret, log)
			}
		}
		for line := range strings.Lines(log) {
			if !strings.HasPrefix(line, "{") {
				s.t.Errorf("no JSON in the log: %s", line)
			}
		}
	}
}

// TestProcesses_stopInOrder: a stopped node is not ready any more, both services end with 0 and say nothing they should not.
func TestProcesses_stopInOrder(t *testing.T) {
	s := startServices(t)
	metrics := s.sfu.printed("metrics")
	if code := status(strings.TrimSuffix(metrics, "metrics") + "livez"); code != http.StatusOK {
		t.Errorf("livez: %d", code)
	}
	if code := status(strings.TrimSuffix(metrics, "metrics") + "debug/pprof/cmdline"); code != http.StatusOK && code != http.StatusNotFound {
		t.Errorf("pprof: %d", code)
	}
	if code := status(metrics); code != http.StatusOK {
		t.Errorf("metrics: %d", code)
	}
	s.sfu.stop(syscall.SIGTERM)
	until(t, "signaling notices", func() bool { return status(s.page+"readyz") == http.StatusServiceUnavailable })
	s.signal.stop(syscall.SIGTERM)
	for name, p := range map[string]*process{"signal": s.signal, "sfu": s.sfu} {
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("%s ended with %d:\n%s", name, code, p.text(&p.log))
		}
	}
	s.quiet(newRoom(t))
}
