package room

import (
	"encoding/hex"
	"sync"
	"testing"
	"time"

	"sotto/e2ee/link"
	"sotto/e2ee/sframe"
)

// Attack 29: over restarts in the same room and leaf, reconnects, several layers
// at once and senders asked for again, no key meets a nonce twice; nor do the
// keys of envelopes.
func TestNonces_neverTwice(t *testing.T) {
	type use struct{ key, nonce string }
	var mu sync.Mutex
	frames, envelopes := map[use]bool{}, map[use]bool{}
	sources := []sframe.Context{sframe.Microphone, sframe.Camera, sframe.Screen}
	for restart := range byte(5) {
		m := newMember(t, link.Secret{1}, 3, restart+1)
		now := start
		if err := m.Welcome(now, 3, nil, &m.out); err != nil {
			t.Fatal(err)
		}
		base, _ := m.group.SenderBase()
		for reconnect := range byte(3) {
			if err := m.PeerJoined(now, Peer{link.ConnID{restart + 100, reconnect}, 10 + reconnect}, &m.out); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for _, c := range sources {
				for range 3 { // layers
					s, err := m.Sender(c)
					if err != nil {
						t.Fatal(err)
					}
					wg.Go(func() {
						for range 50 {
							b, _ := s.Protect(nil, sframe.VP9, false, []byte("frame"))
							f, err := sframe.Parse(sframe.VP9, b)
							// The key is a function of base key and KID, the nonce of key and CTR.
							u := use{hex.EncodeToString(base), hex.EncodeToString(f.Header.Append(nil))}
							mu.Lock()
							if err != nil || frames[u] {
								t.Errorf("KID %#x CTR %d again, %v", f.KID, f.CTR, err)
							}
							frames[u] = true
							mu.Unlock()
						}
					})
				}
			}
			wg.Wait()
			now = now.Add(time.Minute)
			if _, err := m.Tick(now, &m.out); err != nil {
				t.Fatal(err)
			}
		}
		for _, e := range m.out.Send {
			h, sealed, err := link.ParseEnvelope(e)
			u := use{h.From.String(), hex.EncodeToString(sealed[:12])}
			if err != nil || envelopes[u] {
				t.Errorf("nonce of an envelope again: %v", err)
			}
			envelopes[u] = true
		}
	}
	if want := 5 * 3 * len(sources) * 3 * 50; len(frames) != want || len(envelopes) != 5*(1+3+3) {
		t.Errorf("%d frames, want %d; %d envelopes", len(frames), want, len(envelopes))
	}
}
