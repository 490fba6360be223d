package signal

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"sotto/sfu"
	"sotto/signal/protocol"
)

func TestResume_goesOnAsIfNothingHadBeen(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		a, b := w.join(), w.join()
		form(a, b)
		a.offer(2, "first", protocol.SourceMic)
		expect[*protocol.PeerTracks](b)
		w.media.fill(a, sfu.Slot{MID: "4", Peer: b.conn.String(), Source: "mic"})
		expect[*protocol.Slots](a)
		b.say(1)
		b.say(2)
		a.hears(b, 1)
		synctest.Wait() // the second came, and was lost on the way to the page
		a.drop()
		b.quiet()
		time.Sleep(protocol.ResumeTimeout - time.Millisecond)
		b.say(3)
		b.say(4)
		synctest.Wait()
		c := w.join() // sees everybody
		if len(c.peers) != 2 {
			t.Errorf("peers %+v", c.peers)
		}
		expect[*protocol.PeerJoined](b)
		if st := w.server.Stats(); st.Members != 3 || st.Away != 1 {
			t.Errorf("stats %+v", st)
		}

		a2 := w.back(a, false)
		if len(a2.peers) != 2 || a2.peers[0].ConnID != b.conn || a2.peers[1].ConnID != c.conn {
			t.Errorf("peers %+v", a2.peers)
		}
		for n := byte(2); n <= 4; n++ {
			a2.hears(b, n)
		}
		if s := expect[*protocol.Slots](a2); len(s.Slots) != 1 || s.Slots[0].MID != "4" {
			t.Errorf("slots %+v", s)
		}
		b.say(5)
		a2.hears(b, 5)
		a2.say(6)
		b.hears(a2, 6)
		a2.send(&protocol.Mute{Source: protocol.SourceMic, Muted: true})
		if p := expect[*protocol.PeerTracks](b); !p.Tracks[0].Muted {
			t.Errorf("b hears of %+v", p)
		}
		time.Sleep(2 * protocol.ResumeTimeout) // nothing of before fires
		a2.quiet()
		b.quiet()
		if got := w.media.log(); !slices.Equal(got, []string{"join first", "update mute mic true"}) {
			t.Errorf("media node was asked %q", got)
		}
		if st := w.server.Stats(); st.Resumes["ok"] != 1 || st.Away != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestResume_goneAfterItsTime(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		a, b := w.join(), w.join()
		expect[*protocol.PeerJoined](a)
		a.offer(2, "first", protocol.SourceMic)
		expect[*protocol.PeerTracks](b)
		start := time.Now()
		a.drop()
		if l := expect[*protocol.PeerLeft](b); l.ConnID != a.conn || l.Reason != protocol.LeftGone {
			t.Errorf("b hears of %+v", l)
		}
		synctest.Wait()
		if took := time.Since(start); took != protocol.ResumeTimeout || w.media.sessions() != 0 {
			t.Errorf("after %v, %d media sessions", took, w.media.sessions())
		}
		late := w.open()
		late.send(late.resumeMessage(a))
		late.expectError(protocol.CodeResumeRefused, true)
		late.expectClose(websocket.StatusPolicyViolation)
		b.quiet()
	})
}

// TestResume_isNotForThoseWhoWent: leaving, an unloaded page, a broken rule.
func TestResume_isNotForThoseWhoWent(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		b := w.join()
		for name, c := range map[string]struct {
			end    func(*client)
			reason string
		}{
			"leave":    {func(c *client) { c.send(&protocol.Leave{}) }, protocol.LeftLeave},
			"unload":   {func(c *client) { _ = c.ws.Close(websocket.StatusGoingAway, "") }, protocol.LeftLeave},
			"bad rule": {func(c *client) { c.write(websocket.MessageBinary, []byte("x")) }, protocol.LeftError},
			"kick":     {func(c *client) { _, _ = w.server.Kick(w.t.Context(), w.room(), c.conn) }, protocol.LeftKicked},
			"kick while away": {func(c *client) {
				c.drop()
				synctest.Wait()
				_, _ = w.server.Kick(w.t.Context(), w.room(), c.conn)
			}, protocol.LeftKicked},
		} {
			a := w.join()
			expect[*protocol.PeerJoined](b)
			a.offer(2, "first", protocol.SourceMic)
			expect[*protocol.PeerTracks](b)
			c.end(a)
			if l := expect[*protocol.PeerLeft](b); l.Reason != c.reason {
				t.Errorf("%s: left for %s", name, l.Reason)
			}
			synctest.Wait()
			if w.media.sessions() != 0 {
				t.Errorf("%s: media goes on", name)
			}
			again := w.open()
			again.send(again.resumeMessage(a))
			again.expectError(protocol.CodeResumeRefused, true)
		}
		b.quiet()
	})
}

func TestResume_gap(t *testing.T) {
	inBubble(t, Limits{ResumeMessages: 4}, func(w *world) {
		a, b, c := w.join(), w.join(), w.join()
		form(b, a, c)
		a.drop()
		c.drop()
		for n := range byte(4) {
			b.say(n)
		}
		a2 := w.back(a, false)
		for n := range byte(4) {
			a2.hears(b, n)
		}
		b.say(4)
		a2.hears(b, 4)
		late := w.open()
		late.send(late.resumeMessage(c))
		late.expectError(protocol.CodeResumeGap, true)
		if l := expect[*protocol.PeerLeft](b); l.ConnID != c.conn || l.Reason != protocol.LeftGone {
			t.Errorf("b hears of %+v", l) // at once: it cannot come back
		}
	})
}

// TestResume_halfOpen: the old connection does not know yet that it is over.
func TestResume_halfOpen(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		a, b := w.join(), w.join()
		form(a, b)
		a.offer(2, "first", protocol.SourceMic)
		expect[*protocol.PeerTracks](b)
		a2 := w.back(a, false)
		expect[*protocol.Slots](a2)
		a.expectError(protocol.CodeReplaced, true)
		a.say(1)
		a.send(&protocol.Mute{Source: protocol.SourceMic, Muted: true})
		a.send(&protocol.Leave{})
		a.expectClose(websocket.StatusPolicyViolation)
		b.quiet()
		a2.say(2)
		b.hears(a2, 2)
		time.Sleep(2 * protocol.ResumeTimeout)
		b.quiet()
		if w.media.sessions() != 1 {
			t.Error("the media session is over")
		}
		// Many in a row: the last has it.
		last := a2
		for range 5 {
			next := w.back(last, false)
			expect[*protocol.Slots](next)
			last.expectError(protocol.CodeReplaced, true)
			last = next
		}
		last.say(3)
		b.hears(last, 3)
	})
}

func TestResume_refusesForeignTokens(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		a, b := w.join(), w.join()
		expect[*protocol.PeerJoined](a)
		a.drop()
		key, now := w.server.resumeKey, time.Now()
		t0 := ticket{leaf: a.leaf, grant: fullGrant(), room: w.room()}
		otherRoom, otherKey := w.room(), make(resumeKey, minResumeKey)
		otherRoom[0] ^= 1
		flipped := []byte(a.resume)
		flipped[20] ^= 1
		for name, token := range map[string]string{
			"another connection's": b.resume,
			"another room's":       key.seal(otherRoom, a.conn, t0, now),
			"another service's":    otherKey.seal(w.room(), a.conn, t0, now),
			"another leaf":         key.seal(w.room(), a.conn, ticket{leaf: 77, grant: fullGrant(), room: w.room()}, now),
			"expired":              key.seal(w.room(), a.conn, t0, now.Add(-resumeLifetime)),
			"truncated":            a.resume[:len(a.resume)-1],
			"one character":        "A",
			"longer":               a.resume + "A",
			"changed":              string(flipped),
			"a line break in it":   a.resume[:30] + "\n" + a.resume[31:],
			"256 characters":       strings.Repeat("A", protocol.MaxResume),
		} {
			o := w.open()
			m := o.resumeMessage(a)
			m.Resume.Token = token
			o.send(m)
			if e := expect[*protocol.Error](o); e.Code != protocol.CodeResumeRefused || !e.Fatal || e.ID == nil {
				t.Errorf("%s: %+v", name, e)
			}
		}
		for name, change := range map[string]func(m *protocol.Connect){
			"a signature over the old nonce": func(m *protocol.Connect) {
				m.LinkSig = ed25519.Sign(w.link, protocol.ConnectSigned(testHost, a.hello.Nonce, a.conn))
			},
			"no link key": func(m *protocol.Connect) { clear(m.LinkSig) },
		} {
			o := w.open()
			m := o.resumeMessage(a)
			change(m)
			o.send(m)
			if e := expect[*protocol.Error](o); e.Code != protocol.CodeBadSignature {
				t.Errorf("%s: %+v", name, e)
			}
		}
		w.back(a, false) // it is still there for its own
		b.quiet()
		if st := w.server.Stats(); st.Resumes["resume_refused"] != 11 || st.Resumes["ok"] != 1 {
			t.Errorf("resumes %v", st.Resumes)
		}
	})
}

// TestResume_keepsFewForOneAddress: who joins and breaks off again and again
// does not fill the room with those who may come back.
func TestResume_keepsFewForOneAddress(t *testing.T) {
	inBubbleWith(t, Config{
		OpenRooms: true, Limits: Limits{AddressOpen: 4, AddressRate: 1000},
		ClientAddr: func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.7") },
	}, func(w *world) {
		var last *client
		for i := range 20 {
			c := w.join()
			c.drop()
			synctest.Wait()
			if st := w.server.Stats(); st.Away != min(i+1, 4) || st.Members != st.Away {
				t.Fatalf("after %d: %+v", i+1, st)
			}
			if i == 3 {
				last = c
			}
		}
		for range 3 { // coming and going does not add up
			last = w.back(last, false)
			last.drop()
			synctest.Wait()
		}
		if st := w.server.Stats(); st.Away != 4 {
			t.Errorf("%+v", st)
		}
		last = w.back(last, false)
		w.join().drop()
		synctest.Wait()
		if st := w.server.Stats(); st.Away != 4 || st.Members != 5 {
			t.Errorf("%+v", st)
		}
		last.drop()
		time.Sleep(protocol.ResumeTimeout)
		synctest.Wait()
		w.server.mu.Lock()
		defer w.server.mu.Unlock()
		w.server.addresses.forget(time.Now())
		if len(w.server.addresses.table) != 0 || w.server.away != 0 {
			t.Errorf("%d addresses, %d away", len(w.server.addresses.table), w.server.away)
		}
	})
}

// TestResume_repeatsTheOffer: the answer was lost with the connection, or is
// still on its way.
func TestResume_repeatsTheOffer(t *testing.T) {
	for name, when := range map[string]bool{"lost": false, "open": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Limits{}, func(w *world) {
				block := make(chan struct{})
				w.media.set(func() { w.media.block = block })
				a := w.join()
				a.send(offerOf(2, "first", protocol.SourceMic))
				synctest.Wait()
				a.drop()
				if !when {
					close(block)
				}
				synctest.Wait()
				a2 := w.back(a, false)
				if !when {
					expect[*protocol.Slots](a2)
				}
				a2.send(offerOf(2, "first", protocol.SourceMic))
				synctest.Wait()
				if when {
					close(block)
				}
				if got := expect[*protocol.Answer](a2); got.ID != 2 || got.SDP != "answer to first" {
					t.Errorf("answer %+v", got)
				}
				expect[*protocol.Slots](a2)
				a2.quiet()
				a2.offer(3, "second", protocol.SourceMic)
				if got := w.media.log(); !slices.Equal(got, []string{"join first", "update offer second"}) {
					t.Errorf("media node was asked %q", got)
				}
			})
		})
	}
}

func TestResume_tellsOfMediaThatEnded(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		a, b := w.join(), w.join()
		expect[*protocol.PeerJoined](a)
		a.offer(2, "first", protocol.SourceMic)
		expect[*protocol.PeerTracks](b)
		a.drop()
		synctest.Wait()
		w.media.set(func() { clear(w.media.peers) })
		w.media.events <- sfu.Event{Kind: sfu.EventClosed, Room: w.room().String(), Peer: a.conn.String(), Reason: sfu.ReasonTimeout}
		if p := expect[*protocol.PeerTracks](b); len(p.Tracks) != 0 {
			t.Errorf("b hears of %+v", p)
		}
		a2 := w.back(a, false)
		a2.expectError(protocol.CodeMediaClosed, false)
		a2.offer(3, "second", protocol.SourceMic)
	})
}

// TestResume_randomly: whatever happens to connections, every member hears
// every envelope of the others once and in order, and of nobody that it left.
func TestResume_randomly(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, Limits{MessageBurst: 10_000, MessageRate: 10_000, ByteBurst: 1 << 30, ByteRate: 1 << 30}, func(w *world) {
				random := mathrand.New(mathrand.NewPCG(seed, 3))
				const members = 5
				var clients [members]*client
				var away [members]bool
				var next [members][members]byte // what i has to hear next of j
				var said [members]byte
				for i := range clients {
					clients[i] = w.join()
				}
				form(clients[0], clients[1:]...)
				hear := func(i int) {
					synctest.Wait()
					for {
						select {
						case r := <-clients[i].in:
							switch m := r.msg.(type) {
							case nil:
								seq, e, err := protocol.ParseRelayed(r.envelope)
								if err != nil || seq <= clients[i].seq {
									t.Fatalf("%d: seq %d after %d, %v, %v", i, seq, clients[i].seq, err, r.err)
								}
								clients[i].seq = seq
								j := slices.IndexFunc(clients[:], func(c *client) bool { return c.conn == e.From })
								if j < 0 || e.Sealed[0] != next[i][j] {
									t.Fatalf("%d: envelope %d of %d, want %d", i, e.Sealed[0], j, next[i][j])
								}
								next[i][j]++
							case *protocol.PeerLeft, *protocol.Error:
								t.Fatalf("%d: %+v", i, m)
							}
						default:
							return
						}
					}
				}
				back := func(i int) {
					o := w.open()
					o.send(o.resumeMessage(clients[i]))
					clients[i], away[i] = o, false
					synctest.Wait() // nothing is sent before welcome
				}
				for range 300 {
					i := random.IntN(members)
					switch what := random.IntN(10); {
					case away[i] && what < 4:
						back(i)
					case away[i]:
						time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
					case what < 6:
						clients[i].say(said[i])
						synctest.Wait()
						said[i]++
					case what < 8:
						hear(i)
					case what < 9:
						clients[i].drop()
						away[i] = true
					default: // over a connection that is half open
						old := clients[i]
						back(i)
						old.drop()
					}
				}
				for i := range clients {
					if away[i] {
						back(i)
					}
				}
				for i := range clients {
					hear(i)
					for j := range clients {
						if i != j && next[i][j] != said[j] {
							t.Errorf("%d heard %d of %d envelopes of %d", i, next[i][j], said[j], j)
						}
					}
				}
			})
		})
	}
}

func TestOutbox(t *testing.T) {
	o := outbox{maxFrames: 3, maxBytes: 100}
	f := func(n int) frame { return frame{data: make([]byte, n)} }
	if got, ok := o.after(0); len(got) != 0 || !ok {
		t.Errorf("empty: %d, %v", len(got), ok)
	}
	for _, seq := range []uint64{10, 20, 30} {
		o.add(seq, f(10))
	}
	for after, want := range map[uint64]int{0: 3, 9: 3, 10: 2, 15: 2, 20: 1, 30: 0, 99: 0} {
		if got, ok := o.after(after); len(got) != want || !ok {
			t.Errorf("after %d: %d, %v", after, len(got), ok)
		}
	}
	o.add(40, f(85))                                                              // 30 and 40 remain, then
	for after, want := range map[uint64]int{0: -1, 19: -1, 20: 2, 30: 1, 40: 0} { // 95 bytes of them
		got, ok := o.after(after)
		if ok != (want >= 0) || ok && len(got) != want {
			t.Errorf("after %d: %d, %v, want %d", after, len(got), ok, want)
		}
	}
	o.add(50, f(200)) // larger than the whole
	if got, ok := o.after(40); ok || o.bytes != 0 || len(o.kept) != 0 {
		t.Errorf("%d, %v, %d bytes", len(got), ok, o.bytes)
	}
}

func FuzzResumeToken(f *testing.F) {
	key := make(resumeKey, minResumeKey)
	room, conn, now := protocol.RoomID{1}, protocol.ConnID{2}, time.Unix(1_795_388_400, 0)
	good := key.seal(room, conn, ticket{leaf: 3, grant: grantOf(9)}, now)
	f.Add(good)
	f.Add("")
	f.Add(good[1:])
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := key.open(text, room, conn, now)
		if ok != (text == good) || ok && (got != ticket{leaf: 3, grant: grantOf(9)}) {
			t.Fatalf("%q: %+v, %v", text, got, ok)
		}
	})
}

func TestResumeToken_isBoundAndExpires(t *testing.T) {
	key := make(resumeKey, minResumeKey)
	_, _ = rand.Read(key)
	now := time.Unix(1_795_388_400, 0)
	for bits := range byte(32) {
		want := ticket{leaf: 255 - int(bits), grant: grantOf(bits), room: protocol.RoomID{9}, ordinal: int(bits)}
		text := key.seal(protocol.RoomID{1}, protocol.ConnID{2}, want, now)
		if len(text) > protocol.MaxResume || want.grant.bits() != bits {
			t.Fatalf("%d characters, grant %d is %d", len(text), bits, want.grant.bits())
		}
		for _, c := range []struct {
			room protocol.RoomID
			conn protocol.ConnID
			at   time.Time
			ok   bool
		}{
			{protocol.RoomID{1}, protocol.ConnID{2}, now, true},
			{protocol.RoomID{1}, protocol.ConnID{2}, now.Add(resumeLifetime - time.Second), true},
			{protocol.RoomID{1}, protocol.ConnID{2}, now.Add(resumeLifetime), false},
			{protocol.RoomID{2}, protocol.ConnID{2}, now, false},
			{protocol.RoomID{1}, protocol.ConnID{1}, now, false},
		} {
			if got, ok := key.open(text, c.room, c.conn, c.at); ok != c.ok || ok && got != want {
				t.Errorf("%+v: %+v, %v", c, got, ok)
			}
		}
	}
}
