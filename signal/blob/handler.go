package blob

import (
	"crypto/subtle"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"
)

// ServeHTTP serves the files below protocol.FilePrefix: PUT, GET and HEAD.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	name, ok := nameOf(r.URL.Path)
	if !ok {
		s.refuse(w, http.StatusNotFound, refusedUnknown)
		return
	}
	client := s.client(r)
	if status, reason := s.enter(client); reason != "" {
		w.Header().Set("Retry-After", "2")
		s.refuse(w, status, reason)
		return
	}
	defer s.exit(client)
	switch r.Method {
	case http.MethodPut:
		s.put(w, r, name)
	case http.MethodGet, http.MethodHead:
		s.get(w, r, name)
	default:
		w.Header().Set("Allow", "GET, HEAD, PUT")
		s.refuse(w, http.StatusMethodNotAllowed, refusedMethod)
	}
}

// enter counts a request that runs from now on, or says why not.
func (s *Store) enter(client netip.Addr) (status int, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.requests >= maxRequests:
		return http.StatusServiceUnavailable, refusedBusy
	case client.IsValid() && s.running[client] >= clientRequests:
		return http.StatusTooManyRequests, refusedClient
	}
	s.requests++
	s.running[client]++
	return 0, ""
}

func (s *Store) exit(client netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests--
	if s.running[client]--; s.running[client] == 0 {
		delete(s.running, client)
	}
}

// secure sets the headers of every response: a browser takes it for bytes, runs
// nothing of it and keeps nothing.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
}

func (s *Store) refuse(w http.ResponseWriter, status int, reason string) {
	s.count(reason)
	http.Error(w, http.StatusText(status), status)
}

func (s *Store) get(w http.ResponseWriter, r *http.Request, name string) {
	s.mu.Lock()
	f := s.find(name, time.Now())
	there := f != nil && f.state == stored
	s.mu.Unlock()
	if !there {
		s.refuse(w, http.StatusNotFound, refusedUnknown)
		return
	}
	content, err := s.root.Open(name)
	if err != nil {
		s.refuse(w, http.StatusNotFound, refusedUnknown) // swept a moment ago
		return
	}
	defer content.Close() // read only: nothing is lost
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", "attachment")
	s.count(resultRead)
	out := &reply{ResponseWriter: w, control: http.NewResponseController(w), until: time.Now().Add(timeFor(f.size))}
	http.ServeContent(out, r, "", time.Time{}, content)
	_ = out.control.SetWriteDeadline(time.Time{}) // the connection may go on with something else
	if out.err != nil {
		s.count(brokenOff)
	}
}

// put stores a file in its place.
func (s *Store) put(w http.ResponseWriter, r *http.Request, name string) {
	f, status, reason := s.begin(r, name)
	if f == nil {
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		// The body is not read: what is sent on does not reach the next request.
		w.Header().Set("Connection", "close")
		s.refuse(w, status, reason)
		return
	}
	err := s.write(w, r, f)
	if status, reason = s.finish(f, err); status != http.StatusCreated {
		s.refuse(w, status, reason)
		return
	}
	s.count(reason)
	w.WriteHeader(status)
}

// begin finds the place of an upload and takes it, or says why not.
func (s *Store) begin(r *http.Request, name string) (_ *file, status int, reason string) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.find(name, now)
	if f == nil {
		return nil, http.StatusNotFound, refusedUnknown
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case !ok || subtle.ConstantTimeCompare([]byte(token), []byte(f.token)) != 1:
		return nil, http.StatusUnauthorized, refusedToken
	case f.state != waiting:
		return nil, http.StatusConflict, refusedTwice
	case r.ContentLength < 0:
		return nil, http.StatusLengthRequired, refusedLength
	case r.ContentLength != f.size:
		return nil, http.StatusBadRequest, refusedLength
	}
	f.state, f.until = writing, now.Add(timeFor(f.size))
	return f, 0, ""
}

var errLength = errors.New("blob: the body is not as long as announced")

// write copies the body to the disk.
func (s *Store) write(w http.ResponseWriter, r *http.Request, f *file) (err error) {
	out, err := s.root.OpenFile(f.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	in := &body{r: r.Body, control: http.NewResponseController(w), until: time.Now().Add(timeFor(f.size))}
	n, err := io.Copy(out, io.LimitReader(in, f.size))
	if in.err != nil {
		return errors.Join(errLength, in.err)
	}
	if err == nil && n != f.size {
		return errLength
	}
	return err
}

// finish ends an upload. One that failed can be tried again for a while.
func (s *Store) finish(f *file, err error) (status int, reason string) {
	now := time.Now()
	s.mu.Lock()
	gone := s.files[f.name] != f // swept meanwhile
	switch {
	case gone:
		status, reason = http.StatusNotFound, refusedUnknown
	case err == nil:
		f.state, f.until = stored, now.Add(s.ttl)
		status, reason = http.StatusCreated, resultStored
	default:
		status, reason = http.StatusInsufficientStorage, refusedDisk
		if errors.Is(err, errLength) {
			status, reason = http.StatusBadRequest, refusedLength
		}
	}
	s.mu.Unlock()
	if status == http.StatusCreated {
		return status, reason
	}
	s.unlink(f.name)
	if !gone {
		// Only now: the next attempt makes the file anew.
		s.mu.Lock()
		f.state, f.until = waiting, now.Add(uploadWait)
		s.mu.Unlock()
	}
	return status, reason
}

// timeFor is how long a transfer of that many bytes may take.
func timeFor(size int64) time.Duration {
	return idleTime + time.Duration(size)*time.Second/minRate
}

// deadline is when a transfer is cut that makes no progress from now on.
func deadline(until time.Time) time.Time {
	if idle := time.Now().Add(idleTime); idle.Before(until) {
		return idle
	}
	return until
}

// reply is a response whose reader may stand still for idleTime only.
type reply struct {
	http.ResponseWriter
	control *http.ResponseController
	until   time.Time
	err     error
}

func (w *reply) Write(p []byte) (int, error) {
	_ = w.control.SetWriteDeadline(deadline(w.until)) // where it is supported
	n, err := w.ResponseWriter.Write(p)
	if err != nil {
		w.err = err
	}
	return n, err
}

// body is a request's body that may stand still for idleTime only.
type body struct {
	r       io.Reader
	control *http.ResponseController
	until   time.Time
	err     error // of reading, unlike one of writing
}

func (b *body) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(deadline(b.until)) // where that is not supported, the client decides
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}
