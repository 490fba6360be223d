package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
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
	CPU        time.Duration `json:"cpu_ns"` // user and system; 0 = not known
	MaxRSS     int64         `json:"max_rss_bytes,omitempty"`
	RSS        int64         `json:"rss_bytes,omitempty"`
	Heap       uint64        `json:"heap_bytes,omitempty"`  // in use
	Stacks     uint64        `json:"stack_bytes,omitempty"` // of goroutines
	Goroutines int           `json:"goroutines,omitempty"`
	Ports      []int         `json:"media_ports,omitempty"` // UDP
	StreamPort int           `json:"stream_port,omitempty"` // ICE-TCP of the first shard, if asked for
	HasNode    bool          `json:"has_node"`
	Sent       uint64        `json:"sent,omitempty"` // of the floor
	Late       *Percentiles  `json:"late,omitempty"` // of the watch
	Node       sfu.Stats     `json:"node"`
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
	return usage{
		CPU:    time.Duration(user+system) * tick,
		MaxRSS: residentMemory(strconv.Itoa(r.pid), "VmHWM:"),
		RSS:    residentMemory(strconv.Itoa(r.pid), "VmRSS:"),
	}, errors.Join(err1, err2)
}

// setup is how a server is started.
type setup struct {
	shards  int
	offload string // sfu.ShardConfig.Offload
	naive   bool   // the naive forwarder instead of the node
	floor   bool   // the floor's process instead of a server
	watch   bool   // the watch's process instead of a server
	profile string // file of a CPU profile; empty = none
	memory  string // file of a heap profile; empty = none
	cpu     int    // core of a process of its own; -1 = all
	link    string // address to advertise for ICE-TCP; empty = none
}

// args are the flags that tell a child.
func (s setup) args() []string {
	return []string{"-shards", strconv.Itoa(s.shards), "-socket-offload", s.offload, "-cpu", strconv.Itoa(s.cpu),
		"-cpuprofile", s.profile, "-memprofile", s.memory, "-naive=" + strconv.FormatBool(s.naive), "-floor=" + strconv.FormatBool(s.floor),
		"-watch=" + strconv.FormatBool(s.watch), "-link", s.link}
}

// mediaNode is a *sfu.Node, or what is compared with it.
type mediaNode interface {
	signal.Media
	Stats() sfu.Stats
	Close() error
}

// ports are where a node listens.
type ports struct {
	udp    []int
	stream int // ICE-TCP; 0 = none
}

// startNode starts what is measured.
func startNode(setup setup) (mediaNode, ports, error) {
	if setup.naive {
		n, err := newNaive()
		return n, ports{}, err
	}
	var cfg sfu.Config
	var p ports
	closeAll := func() {
		for _, s := range cfg.Shards {
			_ = s.Conn.Close()
			if s.TCP != nil {
				_ = s.TCP.Close()
			}
		}
	}
	for range setup.shards {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			closeAll()
			return nil, p, err
		}
		cfg.Shards = append(cfg.Shards, sfu.ShardConfig{Conn: conn, Offload: setup.offload})
		p.udp = append(p.udp, conn.LocalAddr().(*net.UDPAddr).Port)
	}
	if setup.link != "" {
		link, err := netip.ParseAddrPort(setup.link)
		if err != nil {
			closeAll()
			return nil, p, fmt.Errorf("%w: -link %q", errUsage, setup.link)
		}
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			closeAll()
			return nil, p, err
		}
		cfg.Shards[0].TCP, cfg.Shards[0].TCPCandidates = l, []netip.AddrPort{link}
		p.stream = l.Addr().(*net.TCPAddr).Port
	}
	node, err := sfu.New(cfg)
	if err != nil {
		closeAll()
		return nil, p, fmt.Errorf("bench: media node: %w", err)
	}
	return node, p, nil
}

// residentMemory reads a line of /proc/pid/status, in bytes. Getrusage would include the memory of this process's parent
// before exec.
func residentMemory(pid, line string) int64 {
	raw, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(raw), line)
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kilobytes, _ := strconv.ParseInt(fields[0], 10, 64)
	return kilobytes * 1024
}

// spent is what this process has used.
func spent() (usage, error) {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return usage{}, err
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{
		CPU:        time.Duration(r.Utime.Nano() + r.Stime.Nano()),
		MaxRSS:     residentMemory("self", "VmHWM:"),
		RSS:        residentMemory("self", "VmRSS:"),
		Heap:       m.HeapInuse,
		Stacks:     m.StackInuse,
		Goroutines: runtime.NumGoroutine(),
	}, nil
}

// local is a server in this process.
type local struct {
	*signaling
	node    mediaNode
	ports   ports
	hasNode bool
}

func startHere(setup setup) (*local, error) {
	node, ports, err := startNode(setup)
	if err != nil {
		return nil, err
	}
	s, err := startSignaling(node)
	if err != nil {
		return nil, errors.Join(err, node.Close())
	}
	return &local{signaling: s, node: node, ports: ports, hasNode: !setup.naive}, nil
}

func (l *local) usage() (usage, error) {
	u, err := spent()
	u.HasNode, u.Node, u.Ports, u.StreamPort = l.hasNode, l.node.Stats(), l.ports.udp, l.ports.stream
	return u, err
}

func (l *local) close() {
	l.signaling.close()
	_ = l.node.Close()
}

// signaling is the signaling side of a server: it is always in the process of the participants, or that of everything.
type signaling struct {
	rooms   *signal.Server
	http    *http.Server
	address string
	done    chan struct{}
}

func startSignaling(media signal.Media) (*signaling, error) {
	rooms, err := signal.New(signal.Config{Media: media, OpenRooms: true, LoopbackUnlimited: true})
	if err != nil {
		return nil, fmt.Errorf("bench: signaling: %w", err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, rooms.Close(context.Background()))
	}
	mux := http.NewServeMux()
	mux.Handle("/ws", rooms)
	s := &signaling{
		rooms: rooms, address: "ws://" + l.Addr().String() + "/ws", done: make(chan struct{}),
		http: &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second},
	}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(l) // ends with close
	}()
	return s, nil
}

func (s *signaling) url() string { return s.address }

func (s *signaling) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = s.rooms.Close(ctx)
	_ = s.http.Close()
	<-s.done
}
