package main

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"sotto/metrics"
)

func TestServe_tls(t *testing.T) {
	certFile, keyFile := certificate(t, t.TempDir(), time.Now().Add(time.Hour))
	c, err := loadCertificate(certFile, keyFile, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	ready := false
	h := &health{ready: func() bool { return ready }}
	h.register(mux)
	addr, stop, err := serve("127.0.0.1:0", mux, c, make(chan error, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	pem, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}}
	defer transport.CloseIdleConnections()
	code := func(path string) int {
		t.Helper()
		r, err := (&http.Client{Transport: transport}).Get("https://" + addr.String() + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		return r.StatusCode
	}
	if got := code("/livez"); got != http.StatusOK {
		t.Errorf("livez %d", got)
	}
	if got := code("/readyz"); got != http.StatusServiceUnavailable {
		t.Errorf("readyz before it is ready %d", got)
	}
	ready = true
	if got := code("/readyz"); got != http.StatusOK {
		t.Errorf("readyz %d", got)
	}
	h.stopping.Store(true)
	if got := code("/readyz"); got != http.StatusServiceUnavailable {
		t.Errorf("readyz while stopping %d", got)
	}
	old, err := tls.Dial("tcp", addr.String(), &tls.Config{RootCAs: roots, ServerName: "localhost", MaxVersion: tls.VersionTLS11})
	if err == nil {
		_ = old.Close()
		t.Error("TLS 1.1 is taken")
	}
}

// TestServeMetrics_profilesOnLoopbackOnly: what shows the inside of the process is not for the network.
func TestServeMetrics_profilesOnLoopbackOnly(t *testing.T) {
	for address, want := range map[string]int{
		"127.0.0.1:0": http.StatusOK,
		"0.0.0.0:0":   http.StatusNotFound,
		":0":          http.StatusNotFound,
	} {
		addr, stop, err := serveMetrics(address, metrics.Sources{}, &health{}, make(chan error, 1))
		if err != nil {
			t.Fatal(err)
		}
		_, port, err := net.SplitHostPort(addr.String())
		if err != nil {
			t.Fatal(err)
		}
		if got := status("http://127.0.0.1:" + port + "/debug/pprof/heap?debug=1"); got != want {
			t.Errorf("%s: %d, want %d", address, got, want)
		}
		if got := status("http://127.0.0.1:" + port + "/livez"); got != http.StatusOK {
			t.Errorf("%s: livez %d", address, got)
		}
		stop()
	}
	if addr, stop, err := serveMetrics("", metrics.Sources{}, &health{}, nil); addr != nil || err != nil {
		t.Errorf("empty address: %v, %v", addr, err)
	} else {
		stop()
	}
}
