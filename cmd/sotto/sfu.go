package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

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

	h := &health{ready: nc.IsConnected}
	drain := cluster.NewDrain()
	failed := make(chan error, 2)
	addr, stopMetrics, err := serveMetrics(c.MetricsListen, metrics.Sources{Node: node.Stats, Draining: h.isLeaving}, h, failed)
	if err != nil {
		return err
	}
	defer stopMetrics()
	served, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	done := make(chan error, 1)
	go func() {
		done <- cluster.Serve(served, nc, cluster.ServeConfig{
			NodeID: id, Media: node, Drain: drain, Logger: logger.Named("cluster"),
		})
	}()
	fmt.Fprintf(stdout, "sotto sfu\n  node     %s\n  media    port %d, UDP and TCP\n", id, port)
	if addr != nil {
		fmt.Fprintf(stdout, "  metrics  http://%s/metrics\n", addr)
	}

	again := &reload{command: config.SFU, args: args, running: c, log: logger, apply: func(c *config.Config) error {
		return level.UnmarshalText([]byte(c.LogLevel))
	}}
	for begun := drain.Begun(); ; {
		select {
		case <-hangUp:
			again.run()
		case <-begun: // asked for by an operator: the process goes on
			begun = nil
			h.leave("draining")
		case <-ctx.Done():
			insist, stop := onStop()
			defer stop()
			h.leave("draining")
			drain.Begin()
			waitEmpty(node, time.Duration(again.running.DrainSeconds)*time.Second, insist, logger)
			stopServing()
			return <-done
		case err := <-failed:
			stopServing()
			<-done
			return err
		case err := <-done:
			return err
		}
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
