package main

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"sotto/cmd/sotto/internal/config"
	"sotto/metrics"
	"sotto/signal"
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
	logger, level, err := serviceLogger(stderr, c.LogLevel)
	if err != nil {
		return err
	}
	defer func() { _ = logger.Sync() }() // standard error cannot be synced; nothing is lost
	hangUp, stopHangUp := onHangUp()
	defer stopHangUp()

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
	cfg, err := roomsConfig(c)
	if err != nil {
		return err
	}
	cfg.Media, cfg.Files, cfg.Logger = remote, files, logger.Named("signal")
	rooms, err := signal.New(cfg)
	if err != nil {
		return fmt.Errorf("signaling: %w", err)
	}
	defer closeRooms(ctx, rooms)

	h := &health{drain: cluster.NewDrain(), ready: remote.Ready}
	failed := make(chan error, 2)
	scheme, served := "http", (*atomic.Pointer[tls.Certificate])(nil)
	if certificate != nil {
		scheme, served = "https", new(atomic.Pointer[tls.Certificate])
		served.Store(certificate)
	}
	page, stopPage, err := serve(c.Listen, pageMux(rooms, files, h), served, failed)
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	defer stopPage()
	sources := metrics.Sources{Signal: rooms.Stats, Cluster: remote.Stats}
	if served != nil {
		sources.CertificateEnd = func() time.Time { return served.Load().Leaf.NotAfter }
	}
	addr, stopMetrics, err := serveMetrics(c.MetricsListen, sources, h, failed)
	if err != nil {
		return err
	}
	defer stopMetrics()
	fmt.Fprintf(stdout, "sotto signal\n  page     %s://%s/\n", scheme, page)
	if engineAddr.IsValid() {
		fmt.Fprintf(stdout, "  cluster  %s\n", engineAddr)
	}
	if addr != nil {
		fmt.Fprintf(stdout, "  metrics  http://%s/metrics\n", addr)
	}

	again := &reload{command: config.Signal, args: args, running: c, log: logger, apply: func(c *config.Config) error {
		return reloadSignal(c, rooms, served, level)
	}}
	if err := again.until(ctx, hangUp, failed); err != nil {
		return err
	}
	insist, stopInsist := onStop()
	defer stopInsist()
	h.drain.Begin()
	logger.Info("draining")
	// It goes on serving, so that a load balancer sees that it is not ready any more before it ends.
	select {
	case <-time.After(again.drainTime()):
	case <-insist:
	case err := <-failed:
		return err
	}
	return nil
}

// reloadSignal brings what may change while signaling runs into force, all of it or nothing.
func reloadSignal(c *config.Config, rooms *signal.Server, served *atomic.Pointer[tls.Certificate], level zap.AtomicLevel) error {
	certificate, err := loadCertificate(c.TLSCert, c.TLSKey, time.Now())
	if err != nil {
		return err
	}
	if (certificate != nil) != (served != nil) {
		return errors.New("tls-cert: TLS is switched on and off by a restart")
	}
	cfg, err := roomsConfig(c)
	if err != nil {
		return err
	}
	if err := rooms.Reload(cfg); err != nil {
		return err
	}
	if served != nil {
		served.Store(certificate)
	}
	return level.UnmarshalText([]byte(c.LogLevel))
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

// roomsConfig is what the configuration says of signaling.
func roomsConfig(c *config.Config) (signal.Config, error) {
	// Known to no client, and the same after a restart: participants come back with what it sealed.
	resume, err := hkdf.Key(sha256.New, c.ClusterSecret, nil, "sotto resume 1", 32)
	if err != nil {
		return signal.Config{}, err
	}
	proxies, err := c.Proxies()
	if err != nil {
		return signal.Config{}, err
	}
	cfg := signal.Config{
		OpenRooms: c.OpenRooms, ResumeKey: resume,
		AllowedOrigins: c.AllowedOrigins, ClientAddr: clientAddress(proxies),
		Limits: signal.Limits{AddressOpen: c.AddressConnections, AddressRate: c.AddressRate},
	}
	if c.APIKey != "" {
		cfg.Keys = map[string][]byte{c.APIKey: c.APISecret}
	}
	return cfg, nil
}
