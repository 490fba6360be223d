package main

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"sotto/cmd/sotto/internal/config"
	"sotto/metrics"
	"sotto/signal"
	"sotto/signal/blob"
	"sotto/signal/cluster"
	"sotto/signal/web"
)

// runSignal runs signaling, with the engine unless cluster-url names one, until ctx ends.
func runSignal(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	c, err := load(config.Signal, args, stderr)
	if err != nil {
		return err
	}
	if err := web.Available(); err != nil {
		return err
	}
	certificate, err := loadCertificate(c.TLSCert, c.TLSKey, time.Now())
	if err != nil {
		return err
	}
	logger, err := serviceLogger(stderr, c.LogLevel)
	if err != nil {
		return err
	}
	defer func() { _ = logger.Sync() }() // standard error cannot be synced; nothing is lost

	nc, engineAddr, stopEngine, err := signalEngine(c, logger)
	if err != nil {
		return err
	}
	defer stopEngine()
	remote, err := cluster.NewRemote(nc, cluster.RemoteConfig{Logger: logger.Named("cluster")})
	if err != nil {
		return err
	}
	defer remote.Close()
	files, closeFiles, err := openFiles(c)
	if err != nil {
		return err
	}
	defer closeFiles()
	rooms, err := newRooms(c, remote, files, logger)
	if err != nil {
		return fmt.Errorf("signaling: %w", err)
	}
	defer closeRooms(ctx, rooms)

	h := &health{ready: remote.Ready}
	failed := make(chan error, 2)
	page, stopPage, err := serve(c.Listen, pageMux(rooms, files, h), certificate, failed)
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	defer stopPage()
	addr, stopMetrics, err := serveMetrics(c.MetricsListen, metrics.Sources{Signal: rooms.Stats}, h, failed)
	if err != nil {
		return err
	}
	defer stopMetrics()
	scheme := "http"
	if certificate != nil {
		scheme = "https"
	}
	fmt.Fprintf(stdout, "sotto signal\n  page     %s://%s/\n", scheme, page)
	if engineAddr.IsValid() {
		fmt.Fprintf(stdout, "  cluster  %s\n", engineAddr)
	}
	if addr != nil {
		fmt.Fprintf(stdout, "  metrics  http://%s/metrics\n", addr)
	}

	select {
	case <-ctx.Done():
		h.stopping.Store(true)
		logger.Info("stopping")
		return nil
	case err := <-failed:
		return err
	}
}

// signalEngine starts the engine of this process, tells its address and connects to it, or connects to that of cluster-url.
func signalEngine(c *config.Config, logger *zap.Logger) (_ *nats.Conn, _ netip.AddrPort, stop func(), _ error) {
	var none netip.AddrPort
	if c.ClusterURL != "" {
		nc, err := connectEngine(c, "sotto signal", logger)
		if err != nil {
			return nil, none, nil, err
		}
		return nc, none, nc.Close, nil
	}
	engine, err := cluster.StartEngine(cluster.EngineConfig{Listen: c.ClusterListen, Secret: c.ClusterSecret})
	if err != nil {
		return nil, none, nil, err
	}
	nc, err := engine.Connect("sotto signal")
	if err != nil {
		engine.Close()
		return nil, none, nil, err
	}
	return nc, engine.Addr(), func() {
		nc.Close()
		engine.Close()
	}, nil
}

// connectEngine connects to the engine of cluster-url, now or when it is there.
func connectEngine(c *config.Config, name string, logger *zap.Logger) (*nats.Conn, error) {
	cc := cluster.ConnectConfig{URL: c.ClusterURL, Credentials: c.ClusterCreds, Name: name, Logger: logger.Named("cluster")}
	if c.SottoEngine() {
		cc.Secret = c.ClusterSecret
	}
	return cluster.Connect(cc)
}

func newRooms(c *config.Config, media signal.Media, files *blob.Store, logger *zap.Logger) (*signal.Server, error) {
	// Known to no client, and the same after a restart: participants come back with what it sealed.
	resume, err := hkdf.Key(sha256.New, c.ClusterSecret, nil, "sotto resume 1", 32)
	if err != nil {
		return nil, err
	}
	proxies, err := c.Proxies()
	if err != nil {
		return nil, err
	}
	cfg := signal.Config{
		Media: media, Files: files, Logger: logger.Named("signal"),
		OpenRooms: c.OpenRooms, ResumeKey: resume,
		AllowedOrigins: c.AllowedOrigins, ClientAddr: clientAddress(proxies),
	}
	if c.APIKey != "" {
		cfg.Keys = map[string][]byte{c.APIKey: c.APISecret}
	}
	return signal.New(cfg)
}
