package blob

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"sotto/signal/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testRoom = protocol.RoomID{1}

func newStore(t *testing.T, c Config) *Store {
	t.Helper()
	c.Dir = t.TempDir()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if left, _ := os.ReadDir(c.Dir); len(left) != 0 {
			t.Errorf("%d left in %s", len(left), c.Dir)
		}
	})
	return s
}

func reserve(t *testing.T, s *Store, size int64) (path, token string) {
	t.Helper()
	path, token, err := s.Reserve(testRoom, netip.Addr{}, size)
	if err != nil {
		t.Fatal(err)
	}
	return path, token
}

func do(s *Store, method, path, token string, content []byte, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/", bytes.NewReader(content))
	r.URL.Path = path
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// put stores a file of random bytes.
func put(t *testing.T, s *Store, size int) (path string, content []byte) {
	t.Helper()
	path, token := reserve(t, s, int64(size))
	content = make([]byte, size)
	_, _ = rand.Read(content)
	if w := do(s, http.MethodPut, path, token, content); w.Code != http.StatusCreated {
		t.Fatalf("PUT: %d", w.Code)
	}
	return path, content
}

func onDisk(t *testing.T, s *Store) int {
	t.Helper()
	list, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestStore_givesBackWhatWasPut(t *testing.T) {
	s := newStore(t, Config{})
	path, content := put(t, s, 100_000)
	if info, err := os.Stat(s.dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}
	for name, c := range map[string]struct {
		method string
		header []string
		code   int
		want   []byte
	}{
		"whole":         {http.MethodGet, nil, 200, content},
		"head":          {http.MethodHead, nil, 200, nil},
		"range":         {http.MethodGet, []string{"Range", "bytes=1000-1999"}, 206, content[1000:2000]},
		"open range":    {http.MethodGet, []string{"Range", "bytes=99000-"}, 206, content[99000:]},
		"last bytes":    {http.MethodGet, []string{"Range", "bytes=-10"}, 206, content[99990:]},
		"outside":       {http.MethodGet, []string{"Range", "bytes=100000-"}, 416, nil},
		"not a range":   {http.MethodGet, []string{"Range", "bytes=z"}, 416, nil},
		"with a cookie": {http.MethodGet, []string{"Cookie", "a=b"}, 200, content},
	} {
		w := do(s, c.method, path, "", nil, c.header...)
		if w.Code != c.code || c.want != nil && !bytes.Equal(w.Body.Bytes(), c.want) {
			t.Errorf("%s: %d, %d bytes", name, w.Code, w.Body.Len())
		}
		if c.method == http.MethodHead && (w.Body.Len() != 0 || w.Header().Get("Content-Length") != "100000") {
			t.Errorf("%s: %d bytes, length %s", name, w.Body.Len(), w.Header().Get("Content-Length"))
		}
	}
	if st := s.Stats(); st.Files != 1 || st.Bytes != 100_000 || st.Requests[resultStored] != 1 || st.Reserved[resultOK] != 1 {
		t.Errorf("stats %+v", st)
	}
}

func TestHandler_headers(t *testing.T) {
	s := newStore(t, Config{})
	path, _ := put(t, s, 10)
	always := map[string]string{
		"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Content-Security-Policy":      "default-src 'none'; sandbox; frame-ancestors 'none'",
		"Access-Control-Allow-Origin":  "",
	}
	for _, w := range []*httptest.ResponseRecorder{
		do(s, http.MethodGet, path, "", nil, "Origin", "https://evil.example"),
		do(s, http.MethodGet, protocol.FilePrefix, "", nil),
		do(s, http.MethodPut, path, "", []byte("x")),
		do(s, http.MethodOptions, path, "", nil, "Origin", "https://evil.example"),
	} {
		for name, want := range always {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%d: %s is %q", w.Code, name, got)
			}
		}
		if w.Code == http.StatusOK && (w.Header().Get("Content-Type") != "application/octet-stream" || w.Header().Get("Content-Disposition") != "attachment") {
			t.Errorf("headers %v", w.Header())
		}
	}
	// A script that somebody uploads stays bytes.
	path, token := reserve(t, s, 25)
	do(s, http.MethodPut, path, token, []byte("<script>alert(1)</script>"), "Content-Type", "text/html")
	if w := do(s, http.MethodGet, path, "", nil); w.Header().Get("Content-Type") != "application/octet-stream" {
		t.Errorf("headers %v", w.Header())
	}
}

func TestHandler_refuses(t *testing.T) {
	s := newStore(t, Config{})
	stored, _ := put(t, s, 10)
	path, token := reserve(t, s, 10)
	ten := make([]byte, 10)
	unknown := protocol.FilePrefix + randomName()
	for name, c := range map[string]struct {
		method, path, token string
		content             []byte
		code                int
		reason              string
	}{
		"not there yet":        {http.MethodGet, path, "", nil, 404, refusedUnknown},
		"unknown":              {http.MethodGet, unknown, "", nil, 404, refusedUnknown},
		"PUT to unknown":       {http.MethodPut, unknown, token, ten, 404, refusedUnknown},
		"no token":             {http.MethodPut, path, "", ten, 401, refusedToken},
		"wrong token":          {http.MethodPut, path, token + "A", ten, 401, refusedToken},
		"another's token":      {http.MethodPut, stored, token, ten, 401, refusedToken},
		"too short":            {http.MethodPut, path, token, ten[:9], 400, refusedLength},
		"too long":             {http.MethodPut, path, token, append(ten, 0), 400, refusedLength},
		"DELETE":               {http.MethodDelete, stored, token, nil, 405, refusedMethod},
		"POST":                 {http.MethodPost, path, token, ten, 405, refusedMethod},
		"directory":            {http.MethodGet, protocol.FilePrefix, "", nil, 404, refusedUnknown},
		"no prefix":            {http.MethodGet, "/etc/passwd", "", nil, 404, refusedUnknown},
		"upwards":              {http.MethodGet, protocol.FilePrefix + "../../etc/passwd", "", nil, 404, refusedUnknown},
		"upwards, as long":     {http.MethodGet, protocol.FilePrefix + "../../../../../../etc/hosts", "", nil, 404, refusedUnknown},
		"below":                {http.MethodGet, stored + "/x", "", nil, 404, refusedUnknown},
		"a dot":                {http.MethodGet, protocol.FilePrefix + ".", "", nil, 404, refusedUnknown},
		"NUL":                  {http.MethodGet, stored + "\x00", "", nil, 404, refusedUnknown},
		"capitals":             {http.MethodGet, strings.ToUpper(stored), "", nil, 404, refusedUnknown},
		"an absolute path":     {http.MethodPut, protocol.FilePrefix + "/tmp/x", token, ten, 404, refusedUnknown},
		"a name of the system": {http.MethodGet, protocol.FilePrefix + filepath.Base(s.dir), "", nil, 404, refusedUnknown},
	} {
		before := s.Stats().Requests[c.reason]
		if w := do(s, c.method, c.path, c.token, c.content); w.Code != c.code {
			t.Errorf("%s: %d, want %d", name, w.Code, c.code)
		}
		if got := s.Stats().Requests[c.reason]; got != before+1 {
			t.Errorf("%s is not counted as %s", name, c.reason)
		}
	}
	r := httptest.NewRequest(http.MethodPut, path, io.MultiReader(bytes.NewReader(ten))) // of no known length
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	if s.ServeHTTP(w, r); w.Code != http.StatusLengthRequired {
		t.Errorf("without a length: %d", w.Code)
	}
	// None of that took the place.
	if w := do(s, http.MethodPut, path, token, ten); w.Code != http.StatusCreated {
		t.Errorf("the right one: %d", w.Code)
	}
	if w := do(s, http.MethodPut, path, token, ten); w.Code != http.StatusConflict {
		t.Errorf("once more: %d", w.Code)
	}
}

func TestReserve_caps(t *testing.T) {
	s := newStore(t, Config{Bytes: roomBytes + 5})
	for _, size := range []int64{0, -1, protocol.MaxFile + 1, 1 << 62} {
		if _, _, err := s.Reserve(testRoom, netip.Addr{}, size); !errors.Is(err, ErrSize) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	largest := 0
	for {
		if _, _, err := s.Reserve(testRoom, netip.Addr{}, protocol.MaxFile); err != nil {
			break
		}
		largest++
	}
	if left := int64(roomBytes - largest*protocol.MaxFile); left < 0 || left >= protocol.MaxFile {
		t.Errorf("%d of the largest files in a room", largest)
	} else if _, _, err := s.Reserve(testRoom, netip.Addr{}, left); err != nil {
		t.Errorf("what is left of the room: %v", err)
	}
	if _, _, err := s.Reserve(testRoom, netip.Addr{}, 1); !errors.Is(err, ErrFull) {
		t.Errorf("a full room: %v", err)
	}
	other := protocol.RoomID{2}
	for range 5 {
		if _, _, err := s.Reserve(other, netip.Addr{}, 1); err != nil {
			t.Errorf("another room: %v", err)
		}
	}
	if _, _, err := s.Reserve(other, netip.Addr{}, 1); !errors.Is(err, ErrFull) {
		t.Errorf("a full store: %v", err)
	}
	if st := s.Stats(); st.Bytes != roomBytes+5 || st.Reserved[refusedSize] != 4 || st.Reserved[refusedFull] != 3 {
		t.Errorf("stats %+v", st)
	}
}

func TestReserve_filesOfARoom(t *testing.T) {
	s := newStore(t, Config{})
	for i := range roomFiles + 1 {
		if _, _, err := s.Reserve(testRoom, netip.Addr{}, 1); (err != nil) != (i == roomFiles) {
			t.Fatalf("file %d: %v", i, err)
		}
	}
}

// TestStore_endsOnTime in virtual time: what is over is 404 at once, and gone
// from the disk and the caps with the next sweep.
func TestStore_endsOnTime(t *testing.T) {
	for name, c := range map[string]struct {
		ttl, lives time.Duration
		change     func(s *Store)
	}{
		"its time":           {20 * time.Minute, 20 * time.Minute, func(*Store) {}},
		"default":            {0, DefaultTTL, func(*Store) {}},
		"empty room":         {0, emptyTime, func(s *Store) { s.Emptied(testRoom) }},
		"shorter than that":  {time.Minute, time.Minute, func(s *Store) { s.Emptied(testRoom) }},
		"somebody came back": {0, DefaultTTL, func(s *Store) { s.Emptied(testRoom); time.Sleep(emptyTime / 2); s.Occupied(testRoom) }},
		"another room":       {0, DefaultTTL, func(s *Store) { s.Emptied(protocol.RoomID{2}) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t, Config{TTL: c.ttl})
				path, _ := put(t, s, 1000)
				start := time.Now()
				c.change(s)
				time.Sleep(time.Until(start.Add(c.lives - time.Millisecond)))
				if w := do(s, http.MethodGet, path, "", nil); w.Code != http.StatusOK {
					t.Errorf("just before: %d", w.Code)
				}
				time.Sleep(time.Millisecond)
				if w := do(s, http.MethodGet, path, "", nil); w.Code != http.StatusNotFound {
					t.Errorf("its time is over: %d", w.Code)
				}
				time.Sleep(sweepInterval)
				synctest.Wait()
				if st := s.Stats(); st.Files != 0 || st.Bytes != 0 || len(s.rooms) != 0 || onDisk(t, s) != 0 {
					t.Errorf("stats %+v, %d rooms, %d on disk", st, len(s.rooms), onDisk(t, s))
				}
			})
		})
	}
}

func TestReserve_endsUnused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, Config{})
		path, token := reserve(t, s, 10)
		time.Sleep(uploadWait)
		if w := do(s, http.MethodPut, path, token, make([]byte, 10)); w.Code != http.StatusNotFound {
			t.Errorf("late: %d", w.Code)
		}
		time.Sleep(sweepInterval)
		synctest.Wait()
		if st := s.Stats(); st.Files != 0 || st.Bytes != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

// TestPut_brokenOff over a connection: nothing stays on the disk, and it can be
// tried again.
func TestPut_brokenOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, Config{})
		path, token := reserve(t, s, 1000)
		l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		hs := &http.Server{Handler: s}
		go func() { _ = hs.Serve(l) }()
		defer hs.Close()
		for name, end := range map[string]func(c net.Conn){
			"closed":       func(c net.Conn) { _ = c.Close() },
			"stands still": func(c net.Conn) { time.Sleep(idleTime + time.Second); _, _ = io.Copy(io.Discard, c) },
		} {
			c, server := net.Pipe()
			l.conns <- server
			fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\n%s", path, token, make([]byte, 999))
			synctest.Wait()
			if w := do(s, http.MethodPut, path, token, make([]byte, 1000)); w.Code != http.StatusConflict {
				t.Errorf("%s: a second one meanwhile: %d", name, w.Code)
			}
			if w := do(s, http.MethodGet, path, "", nil); w.Code != http.StatusNotFound {
				t.Errorf("%s: half a file: %d", name, w.Code)
			}
			go end(c)
			time.Sleep(idleTime + 2*time.Second)
			synctest.Wait()
			if st := s.Stats(); onDisk(t, s) != 0 || st.Files != 1 {
				t.Errorf("%s: %d on disk, stats %+v", name, onDisk(t, s), st)
			}
			_ = c.Close()
		}
		if got := s.Stats().Requests[refusedLength]; got != 2 {
			t.Errorf("%d counted", got)
		}
		if w := do(s, http.MethodPut, path, token, make([]byte, 1000)); w.Code != http.StatusCreated {
			t.Errorf("again: %d", w.Code)
		}
	})
}

// pipes is a listener of net.Pipe connections, for virtual time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.done) }); return nil }

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func TestPut_diskAway(t *testing.T) {
	s := newStore(t, Config{})
	path, token := reserve(t, s, 10)
	if err := os.Mkdir(filepath.Join(s.dir, strings.TrimPrefix(path, protocol.FilePrefix)), 0o700); err != nil {
		t.Fatal(err)
	}
	if w := do(s, http.MethodPut, path, token, make([]byte, 10)); w.Code != http.StatusInsufficientStorage {
		t.Errorf("PUT: %d", w.Code)
	}
	if st := s.Stats(); st.Requests[refusedDisk] != 1 {
		t.Errorf("stats %+v", st)
	}
}

// TestPut_manyAtOnce: of those with one token one succeeds, and all others work
// beside it, over real connections.
func TestPut_manyAtOnce(t *testing.T) {
	s := newStore(t, Config{})
	hs := httptest.NewServer(s)
	defer hs.Close()
	const files, tries, size = 16, 4, 200_000
	var wait sync.WaitGroup
	var mu sync.Mutex
	created := map[string]int{}
	for i := range files {
		path, token := reserve(t, s, size)
		content := bytes.Repeat([]byte{byte(i)}, size)
		for range tries {
			wait.Go(func() {
				r, _ := http.NewRequest(http.MethodPut, hs.URL+path, bytes.NewReader(content))
				r.Header.Set("Authorization", "Bearer "+token)
				res, err := hs.Client().Do(r)
				if err != nil {
					return // refused while it was sending: the server does not read on
				}
				_ = res.Body.Close()
				mu.Lock()
				defer mu.Unlock()
				if res.StatusCode == http.StatusCreated {
					created[path]++
				} else if res.StatusCode != http.StatusConflict {
					t.Errorf("status %d", res.StatusCode)
				}
			})
		}
	}
	wait.Wait()
	hs.Client().CloseIdleConnections()
	if len(created) != files {
		t.Errorf("%d of %d files were stored", len(created), files)
	}
	for path, n := range created {
		w := do(s, http.MethodGet, path, "", nil)
		if n != 1 || w.Body.Len() != size || bytes.Count(w.Body.Bytes(), w.Body.Bytes()[:1]) != size {
			t.Errorf("stored %d times, %d bytes", n, w.Body.Len())
		}
	}
	if got := onDisk(t, s); got != files {
		t.Errorf("%d on disk", got)
	}
}

func TestHandler_tooManyRequests(t *testing.T) {
	s := newStore(t, Config{})
	path, _ := put(t, s, 10)
	s.requests = maxRequests
	w := do(s, http.MethodGet, path, "", nil)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d, %v", w.Code, w.Header())
	}
	s.requests--
	if w := do(s, http.MethodGet, path, "", nil); w.Code != http.StatusOK {
		t.Errorf("with room for one: %d", w.Code)
	}
}

func TestReserve_client(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, Config{})
		one, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		taken := int64(0)
		for i := byte(0); ; i++ {
			if _, _, err := s.Reserve(protocol.RoomID{i / 2}, one, protocol.MaxFile); err != nil {
				break
			}
			taken += protocol.MaxFile
		}
		if taken > DefaultBytes/clientShare || taken < DefaultBytes/clientShare-protocol.MaxFile {
			t.Errorf("%d bytes for one client", taken)
		}
		if st := s.Stats(); st.Reserved[refusedClient] != 1 {
			t.Errorf("stats %+v", st)
		}
		for _, client := range []netip.Addr{other, {}} {
			if _, _, err := s.Reserve(protocol.RoomID{200}, client, protocol.MaxFile); err != nil {
				t.Errorf("another client: %v", err)
			}
		}
		time.Sleep(uploadWait + sweepInterval)
		synctest.Wait()
		if _, _, err := s.Reserve(testRoom, one, 1); err != nil {
			t.Errorf("when its places are over: %v", err)
		}
		time.Sleep(uploadWait + sweepInterval)
		synctest.Wait()
		if len(s.clients) != 0 {
			t.Errorf("%d clients remembered", len(s.clients))
		}
	})
	small := newStore(t, Config{Bytes: roomBytes})
	if _, _, err := small.Reserve(testRoom, netip.MustParseAddr("192.0.2.1"), protocol.MaxFile); err != nil {
		t.Errorf("in a small store: %v", err)
	}
}

func TestHandler_requestsOfOneClient(t *testing.T) {
	s := newStore(t, Config{})
	s.CountClients(func(r *http.Request) netip.Addr {
		client, _ := netip.ParseAddr(r.Header.Get("Client"))
		return client
	})
	path, _ := put(t, s, 10)
	one := netip.MustParseAddr("192.0.2.1")
	for range clientRequests {
		if _, reason := s.enter(one); reason != "" {
			t.Fatal(reason)
		}
	}
	for client, want := range map[string]int{"192.0.2.1": http.StatusTooManyRequests, "192.0.2.2": http.StatusOK, "": http.StatusOK} {
		w := do(s, http.MethodGet, path, "", nil, "Client", client)
		if w.Code != want || (w.Code != http.StatusOK) != (w.Header().Get("Retry-After") != "") {
			t.Errorf("%q: %d, %v", client, w.Code, w.Header())
		}
	}
	for range clientRequests {
		s.exit(one)
	}
	if w := do(s, http.MethodGet, path, "", nil, "Client", "192.0.2.1"); w.Code != http.StatusOK || len(s.running) != 0 || s.requests != 0 {
		t.Errorf("when the others have ended: %d, %v", w.Code, s.running)
	}
}

// TestGet_slow: who reads nothing, or too little, does not hold its place.
func TestGet_slow(t *testing.T) {
	const size = 3 << 20
	for name, c := range map[string]struct {
		read func(c net.Conn)
		cut  time.Duration
	}{
		"nothing": {func(net.Conn) {}, idleTime},
		"a few bytes now and then": {func(c net.Conn) {
			for b := make([]byte, 2000); ; time.Sleep(time.Second) {
				if _, err := io.ReadFull(c, b); err != nil {
					return
				}
			}
		}, timeFor(size)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore(t, Config{})
				path, _ := put(t, s, size)
				l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
				hs := &http.Server{Handler: s}
				go func() { _ = hs.Serve(l) }()
				defer hs.Close()
				client, server := net.Pipe()
				defer client.Close()
				l.conns <- server
				fmt.Fprintf(client, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
				go c.read(client)
				time.Sleep(c.cut - time.Second)
				synctest.Wait()
				if running(s) != 1 {
					t.Fatal("cut too early")
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if running(s) != 0 || s.Stats().Requests[brokenOff] != 1 {
					t.Errorf("%d requests, stats %+v", running(s), s.Stats())
				}
			})
		})
	}
}

// running returns how many requests are under way.
func running(s *Store) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

func FuzzPath(f *testing.F) {
	s, err := New(Config{Dir: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	path, token, err := s.Reserve(testRoom, netip.Addr{}, 4)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{path, path + "/", path[:len(path)-1], protocol.FilePrefix + "..", "/blob", "", "/blob/%2e%2e", "/blob/\\..\\x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, p string) {
		w := do(s, http.MethodPut, p, token, make([]byte, 4))
		if p != path && w.Code != http.StatusNotFound {
			t.Fatalf("%q: %d", p, w.Code)
		}
		if left, _ := os.ReadDir(filepath.Dir(s.dir)); len(left) != 1 {
			t.Fatalf("%q made something", p)
		}
	})
}
