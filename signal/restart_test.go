package signal

import (
	"bytes"
	"crypto/ed25519"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"sotto/sfu"
	"sotto/signal/protocol"
)

func outlived() Config {
	return Config{OpenRooms: true, ResumeKey: bytes.Repeat([]byte{7}, minResumeKey)}
}

// drain takes what has come.
func (c *client) drain() {
	synctest.Wait()
	for len(c.in) > 0 {
		c.next()
	}
}

// TestRestart_mediaGoesOn is kill -9 of the service in a room of three, of whom
// one does not come back.
func TestRestart_mediaGoesOn(t *testing.T) {
	inBubbleWith(t, outlived(), func(w *world) {
		a, b, c := w.join(), w.join(), w.join()
		for _, x := range []*client{a, b, c} {
			x.drain()
			x.send(offerOf(2, "of "+x.conn.String()[:4], protocol.SourceMic))
			x.tracks = []protocol.Track{{Source: protocol.SourceMic, Muted: x == b}}
		}
		a.drain()
		w.media.fill(a, sfu.Slot{MID: "4", Peer: b.conn.String(), Source: "mic"}, sfu.Slot{MID: "5", Peer: c.conn.String(), Source: "mic"})
		form(a, b, c)
		b.say(1)
		for range 2 {
			a.drain()
		}
		before := a.seq
		asked := len(w.media.log())

		w.crash()
		time.Sleep(2 * time.Second)
		w.start()
		start := time.Now()

		a2 := w.back(a, true)
		if len(a2.peers) != 0 {
			t.Errorf("peers %+v", a2.peers)
		}
		// It knows the others still, so its slots name them.
		if s := expect[*protocol.Slots](a2); len(s.Slots) != 2 {
			t.Errorf("slots %+v", s)
		}
		a2.quiet()
		time.Sleep(time.Second)
		b2 := w.back(b, true)
		if len(b2.peers) != 1 || b2.peers[0].ConnID != a.conn || len(b2.peers[0].Tracks) != 1 || b2.peers[0].Tracks[0].Muted {
			t.Errorf("peers %+v", b2.peers)
		}
		expect[*protocol.Slots](b2)
		if j := expect[*protocol.PeerJoined](a2); j.ConnID != b.conn || j.Leaf != b.leaf {
			t.Errorf("a hears of %+v", j)
		}
		if p := expect[*protocol.PeerTracks](a2); p.ConnID != b.conn || len(p.Tracks) != 1 || !p.Tracks[0].Muted {
			t.Errorf("a hears of %+v", p)
		}
		b2.say(2)
		a2.seq = before
		a2.hears(b2, 2) // its number is above those of before

		// It loses the connection again: still the list of peers is to come.
		b2.drop()
		synctest.Wait()
		b3 := w.back(b2, true)
		expect[*protocol.Slots](b3)

		// A newcomer takes no leaf of before, and hears of who is back later.
		time.Sleep(time.Second)
		d := w.join()
		if d.leaf == a.leaf || d.leaf == b.leaf || d.leaf == c.leaf || len(d.peers) != 2 {
			t.Errorf("leaf %d, peers %+v", d.leaf, d.peers)
		}
		expect[*protocol.PeerJoined](a2)
		expect[*protocol.PeerJoined](b3)
		if now := time.Since(start); now >= protocol.ResumeTimeout {
			t.Fatalf("%v have passed", now)
		}
		a2.quiet()
		for _, call := range w.media.log()[asked:] {
			if call == "leave" || call == "kick" || strings.HasPrefix(call, "join") {
				t.Errorf("media node was asked %q", call)
			}
		}

		// c does not come back.
		for _, x := range []*client{a2, b3} {
			peers := expect[*protocol.Peers](x)
			if len(peers.Peers) != 2 {
				t.Errorf("peers %+v", peers)
			}
		}
		if took := time.Since(start); took != protocol.ResumeTimeout {
			t.Errorf("list of peers after %v", took)
		}
		if s := expect[*protocol.Slots](a2); len(s.Slots) != 1 || s.Slots[0].ConnID != b.conn {
			t.Errorf("slots %+v", s)
		}
		d.quiet()
		if got := w.media.log(); got[len(got)-1] != "leave" || w.media.sessions() != 2 {
			t.Errorf("media node was asked %q, has %d sessions", got, w.media.sessions())
		}
		late := w.open()
		late.send(late.resumeMessage(c))
		late.expectError(protocol.CodeResumeRefused, true)

		// From here on all is as ever.
		a2.send(&protocol.Mute{Source: protocol.SourceMic, Muted: true})
		if p := expect[*protocol.PeerTracks](b3); p.ConnID != a.conn || !p.Tracks[0].Muted {
			t.Errorf("b hears of %+v", p)
		}
		a2.drain()
		a2.offer(9, "again", protocol.SourceMic)
		if got := w.media.log(); got[len(got)-1] != "update offer again" {
			t.Errorf("media node was asked %q", got)
		}
		if st := w.server.Stats(); st.Resumes["lost"] != 3 || st.Resumes["resume_refused"] != 1 {
			t.Errorf("resumes %v", st.Resumes)
		}
	})
}

// TestRestart_newcomerBeforeTheOthers hears of them when they come back, and of
// the slot that carries one of them.
func TestRestart_newcomerBeforeTheOthers(t *testing.T) {
	inBubbleWith(t, outlived(), func(w *world) {
		a := w.join()
		a.offer(2, "first", protocol.SourceMic)
		w.crash()
		w.start()
		d := w.join()
		if d.leaf == a.leaf || len(d.peers) != 0 {
			t.Errorf("leaf %d, peers %+v", d.leaf, d.peers)
		}
		d.offer(2, "second", protocol.SourceMic)
		w.media.fill(d, sfu.Slot{MID: "4", Peer: a.conn.String(), Source: "mic"})
		if s := expect[*protocol.Slots](d); len(s.Slots) != 0 {
			t.Errorf("slots %+v", s)
		}
		a2 := w.back(a, true)
		if len(a2.peers) != 1 || a2.peers[0].ConnID != d.conn {
			t.Errorf("peers %+v", a2.peers)
		}
		if j := expect[*protocol.PeerJoined](d); j.ConnID != a.conn {
			t.Errorf("d hears of %+v", j)
		}
		if s := expect[*protocol.Slots](d); len(s.Slots) != 1 || s.Slots[0].ConnID != a.conn {
			t.Errorf("slots %+v", s)
		}
	})
}

func TestRestart_refuses(t *testing.T) {
	// start is the restart; join makes the participant that tries to come back.
	join := func(w *world) *client {
		a := w.join()
		a.offer(2, "first", protocol.SourceMic)
		return a
	}
	for name, c := range map[string]struct {
		config  Config
		join    func(*world) *client
		between func(*world, *client)
		code    protocol.Code
	}{
		"no media session": {outlived(), func(w *world) *client { return w.join() }, func(*world, *client) {}, protocol.CodeResumeRefused},
		"media session ended meanwhile": {outlived(), join, func(w *world, _ *client) {
			w.media.set(func() { clear(w.media.peers) })
		}, protocol.CodeResumeRefused},
		"another key": {outlived(), join, func(w *world, _ *client) { w.config.ResumeKey = make([]byte, 32) }, protocol.CodeResumeRefused},
		"no key":      {Config{OpenRooms: true}, join, func(w *world, _ *client) { w.media.set(func() { clear(w.media.peers) }) }, protocol.CodeResumeRefused},
		"leaf taken": {outlived(), join, func(w *world, a *client) {
			a.resume = resumeKey(w.config.ResumeKey).seal(w.room(), a.conn, ticket{leaf: newcomersLeaf(time.Now()), grant: fullGrant(), room: w.room()}, time.Now())
		}, protocol.CodeResumeRefused},
		"node silent": {outlived(), join, func(w *world, _ *client) { w.media.set(func() { w.media.mute = true }) }, protocol.CodeBusy},
	} {
		t.Run(name, func(t *testing.T) {
			inBubbleWith(t, c.config, func(w *world) {
				a := c.join(w)
				w.crash()
				c.between(w, a)
				w.start()
				synctest.Wait()
				w.join()
				start := time.Now()
				o := w.open()
				o.send(o.resumeMessage(a))
				o.expectError(c.code, true)
				o.expectClose(websocket.StatusPolicyViolation)
				if took := time.Since(start); took > w.server.limits.MediaTimeout {
					t.Errorf("refused after %v", took)
				}
				if st := w.server.Stats(); st.Members != 1 || st.Rooms != 1 {
					t.Errorf("stats %+v", st)
				}
			})
		})
	}
}

// TestClose_leavesMediaToTheNextService: with a resume key, a planned restart
// is no more than a crash.
func TestClose_leavesMediaToTheNextService(t *testing.T) {
	inBubbleWith(t, outlived(), func(w *world) {
		a, b := w.join(), w.join()
		a.drain()
		for _, x := range []*client{a, b} {
			x.send(offerOf(2, "first", protocol.SourceMic))
			x.drain()
		}
		a.drain()
		b.drop() // is away when the service stops
		synctest.Wait()
		go w.stop()
		a.expectError(protocol.CodeShutdown, true)
		a.expectClose(websocket.StatusGoingAway)
		synctest.Wait()
		if w.media.sessions() != 2 || slices.Contains(w.media.log(), "leave") {
			t.Fatalf("%d media sessions; the node was asked %q", w.media.sessions(), w.media.log())
		}
		w.start()
		w.back(a, true)
		w.back(b, true)
	})
}

// TestMedia_streamOfEventsBreaks: the node is asked again, and only what it
// does not have any more is over.
func TestMedia_streamOfEventsBreaks(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		a, b, c := w.join(), w.join(), w.join()
		for i, x := range []*client{a, b, c} {
			x.drain()
			x.send(offerOf(2, "first", protocol.SourceMic))
			synctest.Wait()
			if i < 2 { // c is not connected yet, so no snapshot has it
				w.media.events <- sfu.Event{Kind: sfu.EventConnected, Room: w.room().String(), Peer: x.conn.String()}
			}
		}
		for _, x := range []*client{a, b, c} {
			x.drain()
		}
		gap := func(change func(), down time.Duration) {
			w.media.set(func() { change(); close(w.media.broken) })
			time.Sleep(down)
			w.media.set(func() { w.media.broken = make(chan struct{}) })
			time.Sleep(5 * time.Second)
		}
		gap(func() { delete(w.media.peers, w.room().String()+"/"+c.conn.String()) }, 3*time.Second)
		a.quiet()
		b.quiet()
		gap(func() { delete(w.media.peers, w.room().String()+"/"+a.conn.String()) }, 3*time.Second)
		a.expectError(protocol.CodeMediaClosed, false)
		if p := expect[*protocol.PeerTracks](b); p.ConnID != a.conn || len(p.Tracks) != 0 {
			t.Errorf("b hears of %+v", p)
		}
		b.quiet()
		gap(func() {}, 2*DefaultLimits().MediaGrace)
		b.expectError(protocol.CodeMediaClosed, false)
		w.media.set(func() { clear(w.media.peers) })
	})
}

// TestRestart_stormOf500 is S25: everybody of ten rooms of fifty comes back at
// once, with the client's jittered back-off.
func TestRestart_stormOf500(t *testing.T) {
	config := outlived()
	inBubbleWith(t, config, func(w *world) {
		const rooms, each = 10, 50
		var all []*client
		for i := range rooms {
			w.link = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i)}, ed25519.SeedSize))
			for range each {
				c := w.join()
				c.send(offerOf(2, "first", protocol.SourceMic))
				c.tracks = []protocol.Track{{Source: protocol.SourceMic}}
				all = append(all, c)
			}
		}
		synctest.Wait()
		for _, c := range all {
			c.drain()
		}
		asked := len(w.media.log())
		w.crash()
		down := time.Now()
		var up sync.WaitGroup
		w.together = true
		back := make([]*client, len(all))
		took := make([]time.Duration, len(all))
		for i, c := range all {
			random := mathrand.New(mathrand.NewPCG(uint64(i), 1))
			up.Go(func() {
				for wait := 250 * time.Millisecond; ; wait = min(2*wait, 8*time.Second) {
					time.Sleep(time.Duration((0.5 + random.Float64()) * float64(wait)))
					if time.Since(down) < 3*time.Second {
						continue // nobody listens
					}
					back[i] = w.back(c, true)
					took[i] = time.Since(down)
					return
				}
			})
		}
		time.Sleep(2 * time.Second)
		w.start()
		up.Wait()
		slices.Sort(took)
		t.Logf("down for 2-3 s; back after p50 %v, p95 %v, all %v", took[len(took)/2], took[len(took)*95/100], took[len(took)-1])
		if took[len(took)-1] > 10*time.Second {
			t.Errorf("all back after %v", took[len(took)-1])
		}
		time.Sleep(protocol.ResumeTimeout)
		synctest.Wait()
		for i, c := range back {
			var peers *protocol.Peers
			for len(c.in) > 0 {
				switch m := c.next().msg.(type) {
				case *protocol.Peers:
					peers = m
				case *protocol.PeerLeft, *protocol.Error, nil:
					t.Fatalf("%d got %T %+v", i, m, m)
				}
			}
			if peers == nil || len(peers.Peers) != each-1 {
				t.Fatalf("%d: peers %+v", i, peers)
			}
		}
		for _, call := range w.media.log()[asked:] {
			if call != "update mute mic false" {
				t.Fatalf("media node was asked %q", call)
			}
		}
		if st := w.server.Stats(); st.Resumes["lost"] != rooms*each || st.Members != rooms*each || st.SlowReaders != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}
