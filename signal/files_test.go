package signal

import (
	"bytes"
	"crypto/ed25519"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sotto/signal/blob"
	"sotto/signal/protocol"
)

// withFiles runs f with a service that stores files.
func withFiles(t *testing.T, f func(w *world, files *blob.Store)) {
	t.Helper()
	inBubble(t, Limits{}, func(w *world) {
		files, err := blob.New(blob.Config{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := files.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}()
		w.stop()
		w.config.Files = files
		w.start()
		synctest.Wait()
		f(w, files)
	})
}

// found makes the room's group, which only members of store files for.
func (c *client) found() {
	c.t.Helper()
	c.create(testGroup)
	c.gets(c, protocol.EnvelopeCreate, 0)
}

func request(files *blob.Store, method, path, token string, content []byte) int {
	r := httptest.NewRequest(method, path, bytes.NewReader(content))
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	files.ServeHTTP(w, r)
	return w.Code
}

func TestUpload_fromParticipantToParticipant(t *testing.T) {
	withFiles(t, func(w *world, files *blob.Store) {
		a := w.join()
		a.found()
		a.send(&protocol.Upload{ID: 7, Size: 5})
		place := expect[*protocol.UploadPath](a)
		if place.ID != 7 || !strings.HasPrefix(place.Path, protocol.FilePrefix) {
			t.Errorf("place %+v", place)
		}
		if code := request(files, http.MethodPut, place.Path, place.Token, []byte("12345")); code != http.StatusCreated {
			t.Errorf("PUT: %d", code)
		}
		if code := request(files, http.MethodGet, place.Path, "", nil); code != http.StatusOK {
			t.Errorf("GET: %d", code)
		}

		// The file outlives the last participant by ten minutes, and no time
		// counts while somebody is there.
		a.send(&protocol.Leave{})
		time.Sleep(9 * time.Minute)
		b := w.join()
		time.Sleep(9 * time.Minute)
		if code := request(files, http.MethodGet, place.Path, "", nil); code != http.StatusOK {
			t.Errorf("GET by one who came back: %d", code)
		}
		b.send(&protocol.Leave{})
		time.Sleep(10 * time.Minute)
		if code := request(files, http.MethodGet, place.Path, "", nil); code != http.StatusNotFound {
			t.Errorf("GET of an empty room's: %d", code)
		}
		if st := w.server.Stats().Files; st.Requests["stored"] != 1 || st.Requests["read"] != 2 || st.Requests["unknown"] != 1 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestUpload_refuses(t *testing.T) {
	withFiles(t, func(w *world, files *blob.Store) {
		a := w.join()
		a.found()
		for size, code := range map[string]protocol.Code{
			"67174401": protocol.CodeTooLarge, "0": protocol.CodeBadMessage, "-1": protocol.CodeBadMessage,
		} {
			a.text(`{"type":"upload","id":7,"size":` + size + `}`)
			if e := a.expectError(code, false); e.ID == nil || *e.ID != 7 {
				t.Errorf("%s: %+v", size, e)
			}
		}
		for range 3 {
			a.send(&protocol.Upload{ID: 8, Size: protocol.MaxFile})
			expect[*protocol.UploadPath](a)
		}
		a.send(&protocol.Upload{ID: 9, Size: protocol.MaxFile})
		a.expectError(protocol.CodeLimit, false)
		a.text(`{"type":"upload","id":10,"size":0}`)
		a.expectError(protocol.CodeBadMessage, true)
	})
	inBubble(t, Limits{}, func(w *world) {
		a := w.join()
		a.found()
		a.send(&protocol.Upload{ID: 7, Size: 5})
		a.expectError(protocol.CodeNotPermitted, false)
	})
}

// Who waits to be let in has no part in the room's space.
func TestUpload_needsAMember(t *testing.T) {
	withFiles(t, func(w *world, files *blob.Store) {
		a := w.join()
		a.found()
		b := w.join()
		expect[*protocol.PeerJoined](a)
		b.send(&protocol.Upload{ID: 7, Size: 5})
		b.expectError(protocol.CodeNotPermitted, false)
		a.admit(testGroup, 0, b)
		b.gets(a, protocol.EnvelopeCommit, 0)
		b.gets(a, protocol.EnvelopeWelcome, 0)
		b.send(&protocol.Upload{ID: 8, Size: 5})
		expect[*protocol.UploadPath](b)
		if got := files.Stats().Reserved["ok"]; got != 1 {
			t.Errorf("%d places", got)
		}
	})
}

// One address has its share of the store, over all rooms.
func TestUpload_shareOfAnAddress(t *testing.T) {
	withFiles(t, func(w *world, files *blob.Store) {
		w.stop()
		w.config.ClientAddr = func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.7") }
		w.start()
		synctest.Wait()
		for room, want := range []int{3, 3, 3, 3, 3, 0} { // a gigabyte
			_, w.link, _ = ed25519.GenerateKey(nil)
			a := w.join()
			a.found()
			for n := range want + 1 {
				a.send(&protocol.Upload{ID: 8, Size: protocol.MaxFile})
				if n < want {
					expect[*protocol.UploadPath](a)
				} else {
					a.expectError(protocol.CodeLimit, false)
				}
			}
			if got := files.Stats().Reserved["client"]; (got == 1) != (room == 5) {
				t.Errorf("room %d: %d refused for the address", room, got)
			}
		}
	})
}
