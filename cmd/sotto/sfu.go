package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"sotto/cmd/sotto/internal/config"
	"sotto/metrics"
	"sotto/sfu"
	"sotto/signal/cluster"
)

// runSFU runs a media node until ctx ends, and then until it is empty or its time is over.
func runSFU(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c, err := load(config.SFU, args, stderr)
	if err != nil {
		return err
	}
	logger, level, err := serviceLogger(stderr, c.LogLevel)
	if err != nil {
		return err
	}
	defer func() { _ = logger.Sync() }() // standard error cannot be synced; nothing is lost
	hangUp, stopHangUp := onHangUp()
	defer stopHangUp()
	id := c.NodeID
	if id == "" {
		id = cluster.NewNodeID()
	}
	shards, port, err := listenMedia(c.MediaListen, c.Shards, c.Advertise, c.SocketOffload)
	if err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(sfu.GCPercent)
	}
	node, err := sfu.New(sfu.Config{Shards: shards, Codecs: c.VideoCodecs, Logger: logger.Named("sfu")})
	if err != nil {
		return fmt.Errorf("media node: %w", err)
	}
	defer func() { _ = node.Close() }()
	nc, err := connectEngine(c, "sotto sfu", logger)
	if err != nil {
		return err
	}
	defer nc.Close()

	h := &health{drain: cluster.NewDrain(), ready: nc.IsConnected}
	failed := make(chan error, 2)
	addr, stopMetrics, err := serveMetrics(c.MetricsListen, metrics.Sources{Node: node.Stats, Draining: h.draining}, h, failed)
	if err != nil {
		return err
	}
	defer stopMetrics()
	stopServing := serveNode(nc, cluster.ServeConfig{NodeID: id, Media: node, Drain: h.drain, Logger: logger.Named("cluster")}, failed)
	defer stopServing()
	fmt.Fprintf(stdout, "sotto sfu\n  node     %s\n  media    port %d, UDP and TCP\n", id, port)
	if addr != nil {
		fmt.Fprintf(stdout, "  metrics  http://%s/metrics\n", addr)
	}

	again := &reload{command: config.SFU, args: args, running: c, log: logger, apply: func(c *config.Config) error {
		return level.UnmarshalText([]byte(c.LogLevel))
	}}
	if err := again.until(ctx, hangUp, failed); err != nil {
		return err
	}
	insist, stopInsist := onStop()
	defer stopInsist()
	h.drain.Begin()
	waitEmpty(node, again.drainTime(), insist, logger)
	return nil
}

// serveNode puts a node on the connection until the returned function is called. An error before goes to failed.
func serveNode(nc *nats.Conn, c cluster.ServeConfig, failed chan<- error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := cluster.Serve(ctx, nc, c); err != nil {
			failed <- err
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// waitEmpty waits until a node has no session any more, at most for a time, or until somebody insists.
func waitEmpty(node *sfu.Node, limit time.Duration, insist <-chan os.Signal, logger *zap.Logger) {
	late := time.NewTimer(limit)
	defer late.Stop()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		left := node.Stats().Peers
		if left == 0 {
			logger.Info("empty")
			return
		}
		select {
		case <-look.C:
		case <-late.C:
			logger.Warn("not empty in time", zap.Int("sessions", left))
			return
		case <-insist:
			logger.Warn("told to stop at once", zap.Int("sessions", left))
			return
		}
	}
}
