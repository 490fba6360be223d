// Package web serves the browser client: the bundle that is embedded in the
// binary, under strict headers, and nothing else.
//
//	/              the page
//	/r/{room}      the same page; the room's secret is in the fragment, which
//	               no server sees
//	/assets/{name} scripts, styles, worker; a name holds the content's hash
//
// Everything else is 404. The bundle is held in memory, packed once.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// ErrNoAssets: the binary was built without the browser bundle.
var ErrNoAssets = errors.New("web: this binary was built without the browser page; run `go tool task build` (or `go run ./signal/web/build`, then build again)")

// Available reports whether the binary holds the browser client.
func Available() error {
	if _, err := fs.Stat(dist, distFolder+"/index.html"); err != nil {
		return ErrNoAssets
	}
	return nil
}

// Handler serves the embedded page. Without assets it answers 503 with what
// to do; see Available.
func Handler() http.Handler {
	bundle, err := fs.Sub(dist, distFolder)
	if err != nil {
		return unavailable{}
	}
	h, err := newHandler(bundle)
	if err != nil {
		return unavailable{}
	}
	return h
}

// handler serves a bundle. Immutable.
type handler struct {
	index  file
	assets map[string]file // by name below assets/
}

// file is one file of the bundle, ready to be sent.
type file struct {
	kind        string // Content-Type
	etag        string
	plain       []byte // nil if the bundle has it compressed
	gzip        []byte // nil if it is not smaller
	cacheHeader string
}

// packedExt ends the names of files that the bundle holds compressed: megabytes
// that hardly any browser wants otherwise.
const packedExt = ".gz"

const (
	// A name that holds the hash of its content never changes it.
	cacheForever = "public, max-age=31536000, immutable"
	// The page names the assets and has to be asked for each time.
	cacheNever = "no-cache"
)

func newHandler(bundle fs.FS) (*handler, error) {
	index, err := load(bundle, "index.html", cacheNever)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNoAssets, err)
	}
	h := &handler{index: index, assets: make(map[string]file)}
	entries, err := fs.ReadDir(bundle, "assets")
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNoAssets, err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		f, err := load(bundle, "assets/"+e.Name(), cacheForever)
		if err != nil {
			return nil, err
		}
		h.assets[strings.TrimSuffix(e.Name(), packedExt)] = f
	}
	return h, nil
}

func load(bundle fs.FS, name, cache string) (file, error) {
	content, err := fs.ReadFile(bundle, name)
	if err != nil {
		return file{}, err
	}
	sum := sha256.Sum256(content)
	unpacked, packedAlready := strings.CutSuffix(name, packedExt)
	f := file{
		kind:        contentType(unpacked),
		etag:        `"` + base64.RawURLEncoding.EncodeToString(sum[:15]) + `"`,
		cacheHeader: cache,
	}
	if packedAlready {
		f.gzip = content
		return f, nil
	}
	f.plain = content
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return file{}, err
	}
	if _, err := w.Write(content); err != nil {
		return file{}, err
	}
	if err := w.Close(); err != nil {
		return file{}, err
	}
	if packed.Len() < len(content) {
		f.gzip = packed.Bytes()
	}
	return f, nil
}

// contentType does not depend on the tables of the machine, as package mime does.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".wasm":
		return "application/wasm"
	case ".json", ".map":
		return "application/json"
	case ".woff2":
		return "font/woff2"
	case ".png":
		return "image/png"
	}
	return "application/octet-stream"
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header(), r)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	f, ok := h.find(r.URL.Path)
	// An escaped slash or dot has no business in any of our paths.
	if !ok || r.URL.RawPath != "" {
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	f.serve(w, r)
}

// find looks the path up; nothing is opened by a name that a client chose.
func (h *handler) find(p string) (file, bool) {
	if p == "/" {
		return h.index, true
	}
	if room, ok := strings.CutPrefix(p, "/r/"); ok {
		return h.index, isRoom(room)
	}
	if name, ok := strings.CutPrefix(p, "/assets/"); ok {
		f, ok := h.assets[name]
		return f, ok
	}
	return file{}, false
}

// isRoom reports whether s is a room id: 26 characters of lowercase base32.
func isRoom(s string) bool {
	if len(s) != 26 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", f.cacheHeader)
	h.Set("Vary", "Accept-Encoding")
	etag, body := f.etag, f.plain
	if f.gzip != nil && acceptsGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		etag, body = f.etag[:len(f.etag)-1]+`-gz"`, f.gzip
	}
	h.Set("ETag", etag)
	if strings.Contains(r.Header.Get("If-None-Match"), etag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.kind)
	if body == nil {
		f.serveUnpacked(w, r)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(body) // the browser went away: nobody to tell
}

// serveUnpacked is for clients that take no gzip: the length is not known.
func (f *file) serveUnpacked(w http.ResponseWriter, r *http.Request) {
	content, err := gzip.NewReader(bytes.NewReader(f.gzip))
	if err != nil {
		http.Error(w, "broken asset", http.StatusInternalServerError)
		return
	}
	if r.Method == http.MethodHead {
		return
	}
	_, _ = io.Copy(w, content)
}

// acceptsGzip reports whether gzip is among the accepted codings and not
// refused with q=0 (RFC 9110 section 12.5.3).
func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		coding, params, _ := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			continue
		}
		q, found := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
		if !found {
			return true
		}
		weight, err := strconv.ParseFloat(q, 64)
		return err == nil && weight > 0
	}
	return false
}

// unavailable stands in for a page that was not built.
type unavailable struct{}

func (unavailable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header(), r)
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, ErrNoAssets.Error(), http.StatusServiceUnavailable)
}
