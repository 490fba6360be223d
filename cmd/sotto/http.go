package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"sotto/metrics"
	"sotto/signal/cluster"
)

// serve answers HTTP at address, with TLS if certificate is not nil and then with what it holds at the moment, until the returned function is called. An error later than
// the start goes to failed.
func serve(address string, h http.Handler, certificate *atomic.Pointer[tls.Certificate], failed chan<- error) (_ net.Addr, stop func(), _ error) {
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
	run := func() error { return s.Serve(l) }
	if certificate != nil {
		s.TLSConfig = &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate.Load(), nil },
		}
		run = func() error { return s.ServeTLS(l, "", "") }
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := run(); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}()
	return l.Addr(), func() {
		_ = s.Close()
		<-done
	}, nil
}

// loadCertificate reads a certificate with its key, and refuses one that no browser would take because of its date.
func loadCertificate(certFile, keyFile string, now time.Time) (*tls.Certificate, error) {
	if certFile == "" {
		return nil, nil
	}
	c, err := tls.LoadX509KeyPair(certFile, keyFile)
	switch {
	case err != nil:
		return nil, fmt.Errorf("TLS certificate: %w", err)
	case now.After(c.Leaf.NotAfter):
		return nil, fmt.Errorf("TLS certificate %s expired on %s", certFile, c.Leaf.NotAfter.UTC().Format(time.DateTime))
	case now.Before(c.Leaf.NotBefore):
		return nil, fmt.Errorf("TLS certificate %s is valid from %s on", certFile, c.Leaf.NotBefore.UTC().Format(time.DateTime))
	}
	return &c, nil
}

// health answers /livez and /readyz.
type health struct {
	drain *cluster.Drain // once begun it is not ready any more
	ready func() bool    // before; nil = always
}

func (h *health) draining() bool {
	select {
	case <-h.drain.Begun():
		return true
	default:
		return false
	}
}

func (h *health) register(mux *http.ServeMux) {
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case h.draining():
			answer(w, http.StatusServiceUnavailable, "draining")
		case h.ready != nil && !h.ready():
			answer(w, http.StatusServiceUnavailable, "not ready")
		default:
			answer(w, http.StatusOK, "ready")
		}
	})
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}

// serveMetrics answers /metrics and the health paths, and profiles if the address is one of loopback: a profile shows what the
// process does, and costs it time. An empty address serves nothing.
func serveMetrics(address string, sources metrics.Sources, h *health, failed chan<- error) (_ net.Addr, stop func(), _ error) {
	if address == "" {
		return nil, func() {}, nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics.Handler(sources, version()))
	h.register(mux)
	if loopbackHost(address) {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	addr, stop, err := serve(address, mux, nil, failed)
	if err != nil {
		return nil, nil, fmt.Errorf("metrics: %w (another address: --metrics-listen 127.0.0.1:PORT)", err)
	}
	return addr, stop, nil
}

// loopbackHost reports whether an address to listen at is reached from this machine alone.
func loopbackHost(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// clientAddress tells a client's address behind trusted proxies: the last one of X-Forwarded-For that is none of theirs, since
// everything before it may be invented. It returns nil without proxies.
func clientAddress(proxies []netip.Prefix) func(*http.Request) netip.Addr {
	if len(proxies) == 0 {
		return nil
	}
	trusted := func(a netip.Addr) bool {
		for _, p := range proxies {
			if p.Contains(a) {
				return true
			}
		}
		return false
	}
	return func(r *http.Request) netip.Addr {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil {
			return netip.Addr{}
		}
		address := from.Addr().Unmap().WithZone("")
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for i := len(hops) - 1; i >= 0 && trusted(address); i-- {
			a, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
			if err != nil {
				break
			}
			address = a.Unmap().WithZone("")
		}
		return address
	}
}
