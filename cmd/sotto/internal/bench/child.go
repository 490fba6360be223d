package bench

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"sotto/sfu"
	"sotto/signal/cluster"
)

// serve is the process of the media node: its first line of input is where the engine is and the cluster's secret. Then it
// answers each line with a usage, and ends with in.
func serve(ctx context.Context, setup setup, in io.Reader, out io.Writer) error {
	switch {
	case setup.floor:
		return serveFloor(ctx, setup, in, out)
	case setup.watch:
		return serveWatch(ctx, setup, in, out)
	}
	if setup.memory != "" {
		runtime.MemProfileRate = 4 << 10 // fine enough to tell sessions apart
	}
	lines := bufio.NewScanner(in)
	if !lines.Scan() {
		return lines.Err()
	}
	engine, secret, _ := strings.Cut(lines.Text(), " ")
	key, err := hex.DecodeString(secret)
	if err != nil {
		return fmt.Errorf("%w: first line of a server process", errUsage)
	}
	if setup.cpu >= 0 {
		if err := pin(setup.cpu, serverPriority); err != nil {
			return err
		}
	}
	if os.Getenv("GOGC") == "" && !setup.naive {
		debug.SetGCPercent(sfu.GCPercent)
	}
	node, ports, err := startNode(setup)
	if err != nil {
		return err
	}
	defer node.Close()
	nc, err := cluster.Connect(cluster.ConnectConfig{URL: engine, Secret: key, Name: "sotto bench", Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer nc.Close()
	ctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- cluster.Serve(ctx, nc, cluster.ServeConfig{NodeID: cluster.NewNodeID(), Media: node}) }()
	defer func() {
		stop()
		<-done
	}()
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
	encoder := json.NewEncoder(out)
	for lines.Scan() && ctx.Err() == nil {
		u, err := spent()
		if err != nil {
			return err
		}
		u.HasNode, u.Node, u.Ports, u.StreamPort = !setup.naive, node.Stats(), ports.udp, ports.stream
		if setup.memory != "" {
			if err := writeHeapProfile(setup.memory); err != nil {
				return err
			}
		}
		if err := encoder.Encode(u); err != nil {
			return err
		}
	}
	return lines.Err()
}

// polled is an open file, such as standard input, that the runtime's poller waits for. A read that waits in the kernel would keep
// the only processor of a process on one core, in which nobody looks at the media socket, for up to 20 ms: until the runtime's
// monitor has seen it twice. That would happen after each answer, in the middle of what is measured.
func polled(fd int) (*os.File, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("bench: input: %w", err)
	}
	return os.NewFile(uintptr(fd), "input"), nil
}

// writeHeapProfile writes what is alive now.
func writeHeapProfile(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	runtime.GC()
	return errors.Join(pprof.WriteHeapProfile(f), f.Close())
}

// process is a server process: the floor, or a media node.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	mu  sync.Mutex // one question at a time
}

func startProcess(setup setup) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(self, append([]string{"bench", "-serve"}, setup.args()...)...)}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("bench: server process: %w", err)
	}
	return p, nil
}

func (p *process) usage() (usage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var u usage
	if _, err := io.WriteString(p.in, "usage\n"); err != nil {
		return u, fmt.Errorf("bench: server process: %w", err)
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return u, fmt.Errorf("bench: server process: %w", err)
	}
	return u, json.Unmarshal(line, &u)
}

func (p *process) close() {
	_ = p.in.Close() // its end is the sign to stop
	timer := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	_ = p.cmd.Wait()
}

// child is a media node in a process of its own, as in a cluster: signaling and its engine are in this process.
type child struct {
	*process
	*signaling
	stop []func() // last first
}

func startChild(setup setup) (_ *child, err error) {
	c := &child{}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	engine, err := cluster.StartEngine(cluster.EngineConfig{Listen: "127.0.0.1:0", Secret: secret})
	if err != nil {
		return nil, err
	}
	c.stop = append(c.stop, engine.Close)
	nc, err := engine.Connect("sotto bench")
	if err != nil {
		return nil, err
	}
	c.stop = append(c.stop, nc.Close)
	remote, err := cluster.NewRemote(nc, cluster.RemoteConfig{})
	if err != nil {
		return nil, err
	}
	c.stop = append(c.stop, remote.Close)
	if c.process, err = startProcess(setup); err != nil {
		return nil, err
	}
	c.stop = append(c.stop, c.process.close)
	if _, err = fmt.Fprintf(c.in, "%v %x\n", engine.Addr(), secret); err != nil {
		return nil, err
	}
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(10 * time.Second); !remote.Ready(); <-ticker.C {
		if time.Now().After(deadline) {
			return nil, errors.New("bench: the server process did not start")
		}
	}
	if c.signaling, err = startSignaling(remote); err != nil {
		return nil, err
	}
	c.stop = append(c.stop, c.signaling.close)
	return c, nil
}

func (c *child) usage() (usage, error) { return c.process.usage() }

func (c *child) close() {
	for len(c.stop) > 0 {
		last := len(c.stop) - 1
		c.stop[last]()
		c.stop = c.stop[:last]
	}
}
