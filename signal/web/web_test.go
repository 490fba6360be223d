package web

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func bundle() fstest.MapFS {
	return fstest.MapFS{
		"index.html":                 {Data: []byte("<!doctype html><title>Sotto</title>" + strings.Repeat(" ", 500))},
		"assets/page-abcdef.js":      {Data: []byte(strings.Repeat("export const a = 1;\n", 100))},
		"assets/style-abcdef.css":    {Data: []byte("body{}")},
		"assets/worker-abcdef.js":    {Data: []byte("self.onmessage = null;")},
		"assets/room-abcdef.wasm":    {Data: []byte("\x00asm")},
		"assets/much-abcdef.wasm.gz": {Data: packed([]byte("\x00asm much"))},
		"assets/deeper/nothing.js":   {Data: []byte("1")},
		"README.md":                  {Data: []byte("written by the build")},
	}
}

func get(t *testing.T, h http.Handler, target string, change ...func(*http.Request)) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "http://meet.example/", nil)
	u, err := r.URL.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	r.URL = u
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func handlerOf(t *testing.T, b fstest.MapFS) *handler {
	t.Helper()
	h, err := newHandler(b)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

const room = "aaaqeayeaudaocajbifqydiob4"

func TestHandler_servesPageAndAssetsOnly(t *testing.T) {
	h := handlerOf(t, bundle())
	for _, c := range []struct {
		path   string
		status int
		kind   string
		cache  string
	}{
		{"/", 200, "text/html; charset=utf-8", cacheNever},
		{"/r/" + room, 200, "text/html; charset=utf-8", cacheNever},
		{"/assets/page-abcdef.js", 200, "text/javascript; charset=utf-8", cacheForever},
		{"/assets/style-abcdef.css", 200, "text/css; charset=utf-8", cacheForever},
		{"/assets/room-abcdef.wasm", 200, "application/wasm", cacheForever},
		{"/assets/much-abcdef.wasm", 200, "application/wasm", cacheForever},
		{"/assets/much-abcdef.wasm.gz", 404, "", "no-store"},
		{"/index.html", 404, "", "no-store"},
		{"/README.md", 404, "", "no-store"},
		{"/r/", 404, "", "no-store"},
		{"/r", 404, "", "no-store"},
		{"/r/" + room + "/", 404, "", "no-store"},
		{"/r/" + strings.ToUpper(room), 404, "", "no-store"},
		{"/r/short", 404, "", "no-store"},
		{"/r/" + strings.Repeat("a", 10_000), 404, "", "no-store"},
		{"/r/%E2%80%AEaaqeayeaudaocajbifqydio", 404, "", "no-store"},
		{"/assets/", 404, "", "no-store"},
		{"/assets", 404, "", "no-store"},
		{"/assets/deeper/nothing.js", 404, "", "no-store"},
		{"/assets/../index.html", 404, "", "no-store"},
		{"/..%2f..%2fetc/passwd", 404, "", "no-store"},
		{"/assets/..%2findex.html", 404, "", "no-store"},
		{"/assets/....//index.html", 404, "", "no-store"},
		{"/assets/page-abcdef.js%00", 404, "", "no-store"},
		{"/assets%2fpage-abcdef.js", 404, "", "no-store"},
		{"/ws", 404, "", "no-store"},
	} {
		res := get(t, h, c.path)
		name := c.path[:min(len(c.path), 40)]
		if res.StatusCode != c.status {
			t.Errorf("%s: status %d, want %d", name, res.StatusCode, c.status)
		}
		if c.kind != "" && res.Header.Get("Content-Type") != c.kind {
			t.Errorf("%s: type %q, want %q", name, res.Header.Get("Content-Type"), c.kind)
		}
		if got := res.Header.Get("Cache-Control"); got != c.cache {
			t.Errorf("%s: cache %q, want %q", name, got, c.cache)
		}
		checkSecure(t, name, res.Header)
	}
}

func TestHandler_refusesOtherMethods(t *testing.T) {
	h := handlerOf(t, bundle())
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE"} {
		res := get(t, h, "/", func(r *http.Request) { r.Method = method })
		if res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: status %d, Allow %q", method, res.StatusCode, res.Header.Get("Allow"))
		}
		checkSecure(t, method, res.Header)
	}
}

func checkSecure(t *testing.T, name string, h http.Header) {
	t.Helper()
	for key, want := range map[string]string{
		"Referrer-Policy":              "no-referrer",
		"X-Content-Type-Options":       "nosniff",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Embedder-Policy": "require-corp",
		"Cross-Origin-Resource-Policy": "same-origin",
	} {
		if got := h.Get(key); got != want {
			t.Errorf("%s: %s = %q, want %q", name, key, got, want)
		}
	}
	csp := h.Get("Content-Security-Policy")
	for _, want := range []string{
		"default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "worker-src 'self'", "connect-src 'self'",
		"img-src 'self' blob: data:", "media-src 'self' blob:", "style-src 'self'", "base-uri 'none'", "form-action 'none'",
		"frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types sotto",
	} {
		if !directive(csp, want) {
			t.Errorf("%s: policy lacks %q", name, want)
		}
	}
	if strings.Contains(csp, "unsafe-inline") || strings.Contains(csp, "'unsafe-eval'") || strings.Contains(csp, "*") {
		t.Errorf("%s: policy is open: %s", name, csp)
	}
	for _, want := range []string{"camera=(self)", "microphone=(self)", "display-capture=(self)", "geolocation=()"} {
		if !strings.Contains(h.Get("Permissions-Policy"), want) {
			t.Errorf("%s: permissions lack %q", name, want)
		}
	}
	if h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%s: other origins are allowed", name)
	}
}

func directive(csp, want string) bool {
	for d := range strings.SplitSeq(csp, ";") {
		if strings.TrimSpace(d) == want {
			return true
		}
	}
	return false
}

func TestHandler_hstsOnlyOverTLS(t *testing.T) {
	h := handlerOf(t, bundle())
	if got := get(t, h, "/").Header.Get("Strict-Transport-Security"); got != "" {
		t.Errorf("HSTS in clear: %q", got)
	}
	proxied := get(t, h, "/", func(r *http.Request) { r.Header.Set("X-Forwarded-Proto", "https") })
	if proxied.Header.Get("Strict-Transport-Security") == "" {
		t.Error("no HSTS over TLS")
	}
}

func TestHandler_compressesAndRevalidates(t *testing.T) {
	h := handlerOf(t, bundle())
	const path = "/assets/page-abcdef.js"
	want := bundle()["assets/page-abcdef.js"].Data

	packed := get(t, h, path, func(r *http.Request) { r.Header.Set("Accept-Encoding", "br, gzip") })
	if packed.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("encoding %q", packed.Header.Get("Content-Encoding"))
	}
	z, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, want) {
		t.Errorf("unpacked %d bytes, want %d: %v", len(got), len(want), err)
	}
	plain := get(t, h, path, func(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip;q=0, br") })
	if got, _ := io.ReadAll(plain.Body); plain.Header.Get("Content-Encoding") != "" || !bytes.Equal(got, want) {
		t.Errorf("gzip although refused")
	}
	if packed.Header.Get("ETag") == plain.Header.Get("ETag") {
		t.Error("one ETag for two representations")
	}
	again := get(t, h, path, func(r *http.Request) { r.Header.Set("If-None-Match", plain.Header.Get("ETag")) })
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("revalidation: status %d", again.StatusCode)
	}
	head := get(t, h, path, func(r *http.Request) { r.Method = http.MethodHead })
	if body, _ := io.ReadAll(head.Body); len(body) != 0 || head.StatusCode != 200 {
		t.Errorf("HEAD: status %d, %d bytes", head.StatusCode, len(body))
	}
}

func TestHandler_servesPackedFilesToEverybody(t *testing.T) {
	h := handlerOf(t, bundle())
	const path = "/assets/much-abcdef.wasm"
	zipped := get(t, h, path, func(r *http.Request) { r.Header.Set("Accept-Encoding", "gzip") })
	if got, _ := io.ReadAll(zipped.Body); zipped.Header.Get("Content-Encoding") != "gzip" || !bytes.Equal(got, packed([]byte("\x00asm much"))) {
		t.Errorf("gzip: %q, % x", zipped.Header.Get("Content-Encoding"), got)
	}
	plain := get(t, h, path)
	if got, _ := io.ReadAll(plain.Body); plain.Header.Get("Content-Encoding") != "" || string(got) != "\x00asm much" {
		t.Errorf("plain: %q, %q", plain.Header.Get("Content-Encoding"), got)
	}
	if zipped.Header.Get("ETag") == plain.Header.Get("ETag") {
		t.Error("one ETag for two representations")
	}
	head := get(t, h, path, func(r *http.Request) { r.Method = http.MethodHead })
	if body, _ := io.ReadAll(head.Body); len(body) != 0 || head.StatusCode != 200 {
		t.Errorf("HEAD: status %d, %d bytes", head.StatusCode, len(body))
	}
}

func packed(content []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(content)
	w.Close()
	return b.Bytes()
}

func TestNewHandler_saysWhatToRunWithoutAssets(t *testing.T) {
	_, err := newHandler(fstest.MapFS{"README.md": {Data: []byte("placeholder")}})
	if !errors.Is(err, ErrNoAssets) {
		t.Fatalf("error %v", err)
	}
	res := get(t, unavailable{}, "/")
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "task build") {
		t.Errorf("status %d: %s", res.StatusCode, body)
	}
	checkSecure(t, "unavailable", res.Header)
}

func TestAvailable_agreesWithHandler(t *testing.T) {
	_, stub := Handler().(unavailable)
	if (Available() != nil) != stub {
		t.Errorf("Available() = %v, handler without assets: %v", Available(), stub)
	}
}

func ExampleHandler() {
	mux := http.NewServeMux()
	mux.Handle("/", Handler())
}
