package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sotto/metrics"
	"sotto/sfu"
	"sotto/signal"
	"sotto/signal/web"
)

// devConfig is what `sotto dev` can be told.
type devConfig struct {
	listen    string // page and signaling
	media     string // UDP and TCP of the media node
	advertise string // one address instead of the machine's own
	metrics   string
	verbose   bool
}

func parseDev(args []string, stderr io.Writer) (devConfig, error) {
	var c devConfig
	fs := flag.NewFlagSet("sotto dev", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&c.listen, "listen", "127.0.0.1:8080", "`address` of page and signaling; browsers allow camera and encryption on 127.0.0.1 without TLS")
	fs.StringVar(&c.media, "media-listen", ":0", "`address` of the media port, UDP and TCP; port 0 takes a free one")
	fs.StringVar(&c.advertise, "advertise", "", "`IP` address that browsers reach the media port at (default: every address of this machine that is not loopback)")
	fs.StringVar(&c.metrics, "metrics-listen", "127.0.0.1:9464", "`address` of /metrics; empty = none")
	fs.BoolVar(&c.verbose, "verbose", false, "log what sessions do")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return c, err
		}
		return c, errUsage
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(stderr, "sotto dev takes no argument %q\n", fs.Arg(0))
		return c, errUsage
	}
	return c, nil
}

// dev runs signaling and one media node in this process until ctx ends.
func dev(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c, err := parseDev(args, stderr)
	if err != nil {
		return err
	}
	if err := web.Available(); err != nil {
		return err
	}
	logger := devLogger(stderr, c.verbose)
	defer func() { _ = logger.Sync() }() // a terminal cannot be synced; nothing is lost

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	shard, port, err := listenMedia(c.media, c.advertise)
	if err != nil {
		return err
	}
	node, err := sfu.New(sfu.Config{Shards: []sfu.ShardConfig{shard}, Logger: logger.Named("sfu")})
	if err != nil {
		return fmt.Errorf("media node: %w", err)
	}
	defer func() { _ = node.Close() }()
	rooms, err := signal.New(signal.Config{
		Media: node, Logger: logger.Named("signal"), OpenRooms: true, LoopbackUnlimited: true,
	})
	if err != nil {
		return fmt.Errorf("signaling: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = rooms.Close(ctx)
	}()

	mux := http.NewServeMux()
	mux.Handle("/ws", rooms)
	mux.Handle("/", web.Handler())
	failed := make(chan error, 2)
	page, stopPage, err := serve(c.listen, mux, failed)
	if err != nil {
		return fmt.Errorf("page: %w (another address: -listen 127.0.0.1:PORT)", err)
	}
	defer stopPage()

	fmt.Fprintf(stdout, "Sotto runs for development: open rooms, throw-away keys, this machine only.\n")
	fmt.Fprintf(stdout, "  page     http://%s/\n", page)
	fmt.Fprintf(stdout, "  media    port %d, UDP and TCP\n", port)
	if c.metrics != "" {
		m := http.NewServeMux()
		m.Handle("GET /metrics", metrics.Handler(metrics.Sources{Node: node.Stats, Signal: rooms.Stats}, version()))
		addr, stopMetrics, err := serve(c.metrics, m, failed)
		if err != nil {
			return fmt.Errorf("metrics: %w (another address: -metrics-listen 127.0.0.1:PORT)", err)
		}
		defer stopMetrics()
		fmt.Fprintf(stdout, "  metrics  http://%s/metrics\n", addr)
	}
	fmt.Fprintf(stdout, "Open the page in two tabs and talk. Ctrl-C stops.\n")

	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// serve answers HTTP at address until the returned function is called. An error later than the start goes to failed.
func serve(address string, h http.Handler, failed chan<- error) (_ net.Addr, stop func(), _ error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second, // a client that trickles its header is cut off
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		// The standard logger would print client addresses.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}()
	return l.Addr(), func() {
		_ = s.Close()
		<-done
	}, nil
}

// listenMedia opens one port number for UDP and TCP and says which addresses to advertise.
func listenMedia(address, advertise string) (sfu.ShardConfig, uint16, error) {
	udpAddr, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return sfu.ShardConfig{}, 0, fmt.Errorf("media address: %w", err)
	}
	var (
		udp *net.UDPConn
		tcp *net.TCPListener
	)
	// A free UDP port may be taken for TCP: draw again, a few times.
	for try := 0; ; try++ {
		udp, err = net.ListenUDP("udp", udpAddr)
		if err != nil {
			return sfu.ShardConfig{}, 0, fmt.Errorf("media port: %w", err)
		}
		tcp, err = net.ListenTCP("tcp", &net.TCPAddr{IP: udpAddr.IP, Zone: udpAddr.Zone, Port: udp.LocalAddr().(*net.UDPAddr).Port})
		if err == nil {
			break
		}
		_ = udp.Close()
		if udpAddr.Port != 0 || try == 9 {
			return sfu.ShardConfig{}, 0, fmt.Errorf("media port over TCP: %w", err)
		}
	}
	port := udp.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	addrs, err := mediaAddresses(udpAddr.IP, advertise)
	if err != nil {
		_, _ = udp.Close(), tcp.Close()
		return sfu.ShardConfig{}, 0, err
	}
	candidates := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		candidates[i] = netip.AddrPortFrom(a, port)
	}
	return sfu.ShardConfig{Conn: udp, TCP: tcp, Candidates: candidates, TCPCandidates: candidates}, port, nil
}

// mediaAddresses returns the addresses to put into answers: the one that was asked for, else the bound one, else every
// address of this machine that is not loopback, since Firefox never pairs with a loopback candidate. A machine without a
// network gets loopback: Chromium works there.
func mediaAddresses(bound net.IP, advertise string) ([]netip.Addr, error) {
	if advertise != "" {
		a, err := netip.ParseAddr(advertise)
		if err != nil {
			return nil, fmt.Errorf("advertise: %w", err)
		}
		return []netip.Addr{a}, nil
	}
	if a, ok := netip.AddrFromSlice(bound); ok && !a.IsUnspecified() {
		return []netip.Addr{a.Unmap()}, nil
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("addresses of this machine: %w", err)
	}
	var found []netip.Addr
	for _, ia := range all {
		prefix, err := netip.ParsePrefix(ia.String())
		if err != nil {
			continue
		}
		a := prefix.Addr().Unmap()
		if a.IsGlobalUnicast() && (!bound.Equal(net.IPv4zero) || a.Is4()) {
			found = append(found, a)
		}
	}
	if len(found) == 0 {
		found = append(found, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	return found, nil
}

// devLogger writes to the terminal. Whatever is logged below passes no address, name, key or session description.
func devLogger(w io.Writer, verbose bool) *zap.Logger {
	level := zapcore.WarnLevel
	if verbose {
		level = zapcore.DebugLevel
	}
	cfg := zap.NewDevelopmentEncoderConfig()
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(cfg), zapcore.Lock(zapcore.AddSync(w)), level))
}
