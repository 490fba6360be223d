package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"sotto/cmd/sotto/internal/config"
	"sotto/metrics"
	"sotto/sfu"
	"sotto/signal/cluster"
)

// runSFU runs a media node until ctx ends.
func runSFU(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c, err := load(config.SFU, args, stderr)
	if err != nil {
		return err
	}
	logger, err := serviceLogger(stderr, c.LogLevel)
	if err != nil {
		return err
	}
	defer func() { _ = logger.Sync() }() // standard error cannot be synced; nothing is lost
	if c.NodeID == "" {
		c.NodeID = cluster.NewNodeID()
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
	failed := make(chan error, 2)
	addr, stopMetrics, err := serveMetrics(c.MetricsListen, metrics.Sources{Node: node.Stats}, h, failed)
	if err != nil {
		return err
	}
	defer stopMetrics()
	served, stopServing := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		done <- cluster.Serve(served, nc, cluster.ServeConfig{NodeID: c.NodeID, Media: node, Logger: logger.Named("cluster")})
	}()
	defer stopServing()
	fmt.Fprintf(stdout, "sotto sfu\n  node     %s\n  media    port %d, UDP and TCP\n", c.NodeID, port)
	if addr != nil {
		fmt.Fprintf(stdout, "  metrics  http://%s/metrics\n", addr)
	}

	select {
	case <-ctx.Done():
		h.stopping.Store(true)
		logger.Info("stopping")
		return <-done
	case err := <-failed:
		stopServing()
		<-done
		return err
	case err := <-done:
		return err
	}
}
