package main

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sotto/signal/web"
)

// TestProcesses_reload: SIGHUP brings certificate, keys, limits and log level into force; what is wrong is refused as a whole.
func TestProcesses_reload(t *testing.T) {
	t.Parallel()
	if err := web.Available(); err != nil {
		t.Skip(err)
	}
	if testing.Short() {
		t.Skip("runs processes")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "sotto.yaml")
	configure := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := certificate(t, dir, time.Now().Add(time.Hour))
	const rest = "cluster-secret: " + testSecret + "\nlisten: 127.0.0.1:0\ncluster-listen: 127.0.0.1:0\nmetrics-listen: 127.0.0.1:0\ndrain-seconds: 0\n"
	tlsFiles := "tls-cert: " + cert + "\ntls-key: " + key + "\n"
	configure(rest + tlsFiles + "open-rooms: true\n")
	p := start(t, "signal", "--config", file)
	page := p.printed("page")

	validTo := func() (end time.Time) {
		t.Helper()
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true, // its own; looked at below
			VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
				leaf, err := x509.ParseCertificate(raw[0])
				if err == nil {
					end = leaf.NotAfter
				}
				return err
			},
		}}}
		r, err := c.Get(page + "livez")
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		return end
	}
	// hangUp waits until the log says so once more.
	lines := map[string]int{}
	hangUp := func(says string) {
		t.Helper()
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		lines[says]++
		until(t, "the log says "+says, func() bool { return strings.Count(p.text(&p.log), says) == lines[says] })
	}
	first := validTo()

	certificate(t, dir, time.Now().Add(2*time.Hour))
	configure(rest + tlsFiles + "open-rooms: true\nlog-level: debug\naddress-connections: 1000\nfiles-limit: 7\n")
	hangUp("configuration read again")
	if now := validTo(); !now.After(first) {
		t.Errorf("the certificate ends %v, before %v", now, first)
	}
	if !strings.Contains(p.text(&p.log), `"these take a restart","keys":["files-limit"]`) {
		t.Errorf("log:\n%s", p.text(&p.log))
	}
	second := validTo()

	for _, bad := range []struct{ config, why string }{
		{rest + tlsFiles + "open-rooms: perhaps\n", "sotto.yaml:8): \\\"perhaps\\\" is neither true nor false"},
		{rest + tlsFiles + "open-romes: true\n", "unknown key"},
		{rest + tlsFiles, "api-key (from default): is missing"},
		{rest + "open-rooms: true\n", "TLS is switched on and off by a restart"},
	} {
		configure(bad.config)
		hangUp("configuration refused, the former one stays")
		if log := p.text(&p.log); !strings.Contains(log, bad.why) {
			t.Errorf("not told %s:\n%s", bad.why, log)
		}
	}
	certificate(t, dir, time.Now().Add(-time.Hour))
	configure(rest + tlsFiles + "open-rooms: true\n")
	hangUp("configuration refused, the former one stays")
	if now := validTo(); !now.Equal(second) {
		t.Errorf("an expired certificate is in force: %v", now)
	}
	p.stop(syscall.SIGTERM)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("ended with %d", code)
	}
	if strings.Contains(p.text(&p.log), testSecret) {
		t.Error("a secret is in the log")
	}
}
