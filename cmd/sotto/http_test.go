package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sotto/cmd/sotto/internal/config"
	"sotto/signal/protocol"
)

// TestPageMux_files: files are at their path, behind headers that let a browser run nothing of them; without a store there is
// nothing.
func TestPageMux_files(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{0, 1} {
		files, stop, err := openFiles(&config.Config{FilesDir: t.TempDir(), FilesLimit: limit, FilesMinutes: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		path, token := protocol.FilePrefix+protocol.RoomID{}.String(), ""
		if files != nil {
			if path, token, err = files.Reserve(protocol.RoomID{1}, netip.Addr{}, 3); err != nil {
				t.Fatal(err)
			}
		}
		r := httptest.NewRequest(http.MethodPut, path, strings.NewReader("abc"))
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		pageMux(nil, files, &health{}).ServeHTTP(w, r)
		if stored := w.Code == http.StatusCreated; stored != (limit > 0) {
			t.Errorf("limit %d: status %d", limit, w.Code)
		}
		if csp := w.Header().Get("Content-Security-Policy"); limit > 0 && !strings.Contains(csp, "sandbox") {
			t.Errorf("policy %q", csp)
		}
	}
}

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
