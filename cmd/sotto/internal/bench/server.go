package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sotto/sfu"
	"sotto/signal"
)

// server is what a bench measures.
type server interface {
	url() string
	// usage is what the server process has spent and counted so far.
	usage() (usage, error)
	close()
}

// usage is a snapshot of the server process.
type usage struct {
	CPU     time.Duration `json:"cpu_ns"` // user and system; 0 = not known
	MaxRSS  int64         `json:"max_rss_bytes,omitempty"`
	HasNode bool          `json:"has_node"`
	Sent    uint64        `json:"sent,omitempty"` // of the floor
	Node    sfu.Stats     `json:"node"`
}

// running is a server that somebody else started.
type running struct {
	address string
	pid     int
}

func (r *running) url() string { return r.address }
func (r *running) close()      {}

// usage reads /proc/pid/stat (proc(5)): fields 14 and 15 after the command, which may hold spaces, in ticks of 10 ms.
func (r *running) usage() (usage, error) {
	if r.pid == 0 {
		return usage{}, nil
	}
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(r.pid) + "/stat")
	if err != nil {
		return usage{}, fmt.Errorf("bench: CPU time of the server: %w", err)
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go supports
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return usage{}, errors.New("bench: unreadable process statistics")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return usage{CPU: time.Duration(user+system) * tick}, errors.Join(err1, err2)
}

// setup is how a server is started.
type setup struct {
	shards  int
	offload string // sfu.ShardConfig.Offload
	naive   bool   // the naive forwarder instead of the node
	floor   string // destinations of the floor's process instead of a server
	profile string // file of a CPU profile; empty = none
	cpu     int    // core of a process of its own; -1 = all
}

// args are the flags that tell a child.
func (s setup) args() []string {
	return []string{"-shards", strconv.Itoa(s.shards), "-socket-offload", s.offload, "-cpu", strconv.Itoa(s.cpu),
		"-cpuprofile", s.profile, "-naive=" + strconv.FormatBool(s.naive), "-floor", s.floor}
}

// mediaNode is a *sfu.Node, or what is compared with it.
type mediaNode interface {
	signal.Media
	Stats() sfu.Stats
	Close() error
}

// local is a server in this process.
type local struct {
	node    mediaNode
	hasNode bool
	rooms   *signal.Server
	http    *http.Server
	address string
	done    chan struct{}
}

func startNode(setup setup) (mediaNode, error) {
	if setup.naive {
		return newNaive()
	}
	var cfg sfu.Config
	closeAll := func() {
		for _, s := range cfg.Shards {
			_ = s.Conn.Close()
		}
	}
	for range setup.shards {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			closeAll()
			return nil, err
		}
		cfg.Shards = append(cfg.Shards, sfu.ShardConfig{Conn: conn, Offload: setup.offload})
	}
	node, err := sfu.New(cfg)
	if err != nil {
		closeAll()
		return nil, fmt.Errorf("bench: media node: %w", err)
	}
	return node, nil
}

func startHere(setup setup) (*local, error) {
	node, err := startNode(setup)
	if err != nil {
		return nil, err
	}
	rooms, err := signal.New(signal.Config{Media: node, OpenRooms: true, LoopbackUnlimited: true})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bench: signaling: %w", err), node.Close())
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, node.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("/ws", rooms)
	s := &local{
		node: node, hasNode: !setup.naive, rooms: rooms, address: "ws://" + l.Addr().String() + "/ws", done: make(chan struct{}),
		http: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second},
	}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(l) // ends with close
	}()
	return s, nil
}

func (s *local) url() string { return s.address }

func (s *local) usage() (usage, error) {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return usage{}, err
	}
	return usage{
		CPU:     time.Duration(r.Utime.Nano() + r.Stime.Nano()),
		MaxRSS:  peakMemory(),
		HasNode: s.hasNode,
		Node:    s.node.Stats(),
	}, nil
}

// peakMemory is the most that was resident in this process. Getrusage would include its parent's memory before exec.
func peakMemory() int64 {
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(raw), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kilobytes, _ := strconv.ParseInt(fields[0], 10, 64)
	return kilobytes * 1024
}

func (s *local) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = s.rooms.Close(ctx)
	_ = s.http.Close()
	<-s.done
	_ = s.node.Close()
}

// serve is the server process: it prints its URL, answers each line of in with a usage, and ends with in.
func serve(ctx context.Context, setup setup, in io.Reader, out io.Writer) error {
	if setup.cpu >= 0 {
		if err := pin(setup.cpu); err != nil {
			return err
		}
	}
	if setup.floor != "" {
		return serveFloor(ctx, setup, in, out)
	}
	s, err := startHere(setup)
	if err != nil {
		return err
	}
	defer s.close()
	if setup.profile != "" {
		f, err := os.Create(setup.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if _, err := fmt.Fprintln(out, s.address); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	encoder := json.NewEncoder(out)
	for lines.Scan() && ctx.Err() == nil {
		u, err := s.usage()
		if err != nil {
			return err
		}
		if err := encoder.Encode(u); err != nil {
			return err
		}
	}
	return lines.Err()
}

// child is a server in a process of its own.
type child struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	address string
	mu      sync.Mutex // one question at a time
}

func startChild(setup setup) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(self, append([]string{"bench", "-serve"}, setup.args()...)...)}
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("bench: server process: %w", err)
	}
	line, err := c.out.ReadString('\n')
	if err != nil {
		c.close()
		return nil, fmt.Errorf("bench: the server process did not start: %w", err)
	}
	c.address = strings.TrimSpace(line)
	return c, nil
}

func (c *child) url() string { return c.address }

func (c *child) usage() (usage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var u usage
	if _, err := io.WriteString(c.in, "usage\n"); err != nil {
		return u, fmt.Errorf("bench: server process: %w", err)
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return u, fmt.Errorf("bench: server process: %w", err)
	}
	return u, json.Unmarshal(line, &u)
}

func (c *child) close() {
	_ = c.in.Close() // its end is the sign to stop
	timer := time.AfterFunc(10*time.Second, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	_ = c.cmd.Wait()
}
