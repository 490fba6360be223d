package main

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestServe_cutsSlowHeaders is S18: a request whose header trickles in is cut off after five seconds, and others are served.
func TestServe_cutsSlowHeaders(t *testing.T) {
	t.Parallel()
	served := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	addr, stop, err := serve("127.0.0.1:0", served, nil, make(chan error, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	slow, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slow.Close() }()
	began := time.Now()
	go func() {
		_, err := io.WriteString(slow, "GET /ws HTTP/1.1\r\nHost: meet.example\r\n")
		for err == nil {
			time.Sleep(100 * time.Millisecond) // the attack itself
			_, err = io.WriteString(slow, "X: y\r\n")
		}
	}()
	if reply, err := http.Get("http://" + addr.String() + "/"); err != nil || reply.StatusCode != http.StatusNoContent {
		t.Errorf("another client got %v, %v", reply, err)
	} else {
		_ = reply.Body.Close()
	}
	if err := slow.SetReadDeadline(began.Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, slow)
	if lasted := time.Since(began); lasted < 4*time.Second || lasted > 12*time.Second {
		t.Errorf("cut after %v (%v), want about 5 s", lasted, err)
	}
}
