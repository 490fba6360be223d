package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"sotto/cmd/sotto/internal/config"
	"sotto/metrics"
	"sotto/sfu"
	"sotto/signal"
	"sotto/signal/blob"
	"sotto/signal/cluster"
	"sotto/signal/protocol"
	"sotto/signal/web"
)

// closeTimeout is how long a service waits for its clients to hear that it stops.
const closeTimeout = 5 * time.Second

// dev runs signaling and one media node in this process until ctx ends. Signaling calls the node directly: there is no engine
// that could be away.
func dev(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c, err := load(config.Dev, args, stderr)
	if err != nil {
		return err
	}
	if err := web.Available(); err != nil {
		return err
	}
	if c.Verbose {
		c.LogLevel = "debug"
	}
	logger, _, err := devLogger(stderr, c.LogLevel)
	if err != nil {
		return err
	}
	defer func() { _ = logger.Sync() }() // a terminal cannot be synced; nothing is lost

	shards, port, err := listenMedia(c.MediaListen, 1, c.Advertise, c.SocketOffload)
	if err != nil {
		return err
	}
	node, err := sfu.New(sfu.Config{Shards: shards, Codecs: c.VideoCodecs, Logger: logger.Named("sfu")})
	if err != nil {
		return fmt.Errorf("media node: %w", err)
	}
	defer func() { _ = node.Close() }()
	files, closeFiles, err := openFiles(c)
	if err != nil {
		return err
	}
	defer closeFiles()
	rooms, err := signal.New(signal.Config{
		Media: node, Logger: logger.Named("signal"), OpenRooms: true, LoopbackUnlimited: true, Files: files,
	})
	if err != nil {
		return fmt.Errorf("signaling: %w", err)
	}
	defer closeRooms(ctx, rooms)

	h := &health{drain: cluster.NewDrain()}
	failed := make(chan error, 2)
	page, stopPage, err := serve(c.Listen, pageMux(rooms, files, h), nil, failed)
	if err != nil {
		return fmt.Errorf("page: %w (another address: --listen 127.0.0.1:PORT)", err)
	}
	defer stopPage()

	fmt.Fprintf(stdout, "Sotto runs for development: open rooms, throw-away keys, no TLS.\n")
	fmt.Fprintf(stdout, "  page     http://%s/\n", page)
	fmt.Fprintf(stdout, "  media    port %d, UDP and TCP\n", port)
	addr, stopMetrics, err := serveMetrics(c.MetricsListen, metrics.Sources{Node: node.Stats, Signal: rooms.Stats}, h, failed)
	if err != nil {
		return err
	}
	defer stopMetrics()
	if addr != nil {
		fmt.Fprintf(stdout, "  metrics  http://%s/metrics\n", addr)
	}
	fmt.Fprintf(stdout, "Open the page in two tabs and talk. Ctrl-C stops.\n")

	select {
	case <-ctx.Done():
		h.drain.Begin()
		return nil
	case err := <-failed:
		return err
	}
}

// pageMux serves what browsers need: page, signaling, files if they are stored, and health for a load balancer.
func pageMux(rooms *signal.Server, files *blob.Store, h *health) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("/ws", rooms)
	if files != nil {
		mux.Handle(protocol.FilePrefix, files)
	}
	mux.Handle("/", web.Handler())
	h.register(mux)
	return mux
}

// openFiles starts the file store; it is nil where the configuration wants none.
func openFiles(c *config.Config) (_ *blob.Store, stop func(), _ error) {
	if c.FilesLimit == 0 {
		return nil, func() {}, nil
	}
	files, err := blob.New(blob.Config{
		Dir: c.FilesDir, Bytes: int64(c.FilesLimit) << 20, TTL: time.Duration(c.FilesMinutes) * time.Minute,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("files: %w", err)
	}
	return files, func() { _ = files.Close() }, nil // what is left is ciphertext in the system's temporary directory
}

func closeRooms(ctx context.Context, rooms *signal.Server) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	_ = rooms.Close(ctx) // late clients were cut off, nothing else is left
}
