package signal

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"sotto/sfu"
	"sotto/signal/protocol"
)

func TestRoom_tellsWhoIsThere(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		a := w.join()
		b := w.join()
		if len(a.peers) != 0 || len(b.peers) != 1 || b.peers[0].ConnID != a.conn || b.peers[0].Leaf != a.leaf || a.leaf == b.leaf {
			t.Fatalf("a has leaf %d, b leaf %d and peers %+v", a.leaf, b.leaf, b.peers)
		}
		if j := expect[*protocol.PeerJoined](a); j.ConnID != b.conn || j.Leaf != b.leaf {
			t.Errorf("a hears of %+v", j)
		}
		b.send(&protocol.Leave{})
		b.expectClose(websocket.StatusNormalClosure)
		if l := expect[*protocol.PeerLeft](a); l.ConnID != b.conn || l.Reason != protocol.LeftLeave {
			t.Errorf("a hears of %+v", l)
		}
		c := w.join()
		expect[*protocol.PeerJoined](a)
		c.drop()
		if l := expect[*protocol.PeerLeft](a); l.ConnID != c.conn || l.Reason != protocol.LeftGone {
			t.Errorf("a hears of %+v", l)
		}
		a.quiet()
	})
}

func TestRoom_isClosedToOthers(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		for name, c := range map[string]struct {
			change func(*protocol.Connect)
			code   protocol.Code
		}{
			"another room":       {func(m *protocol.Connect) { m.Room[0] ^= 1 }, protocol.CodeNotAdmitted},
			"another key":        {func(m *protocol.Connect) { m.LinkPub[0] ^= 1 }, protocol.CodeNotAdmitted},
			"no signature":       {func(m *protocol.Connect) { clear(m.LinkSig) }, protocol.CodeBadSignature},
			"another connection": {func(m *protocol.Connect) { m.ConnID[0] ^= 1 }, protocol.CodeBadSignature},
		} {
			o := w.open()
			m := o.connectMessage()
			m.LinkPub = bytes.Clone(m.LinkPub)
			c.change(m)
			o.send(m)
			if e := o.expectError(c.code, true); e.ID == nil || *e.ID != 1 {
				t.Errorf("%s: id %v", name, e.ID)
			}
			o.expectClose(websocket.StatusPolicyViolation)
		}
		// A signature recorded from another connection is of no use.
		first, second := w.open(), w.open()
		m := first.connectMessage()
		second.send(m)
		second.expectError(protocol.CodeBadSignature, true)
		if st := w.server.Stats(); st.Rooms != 0 || st.Joins["bad_signature"] != 3 || st.Joins["not_admitted"] != 2 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestRoom_refusesDuplicateConn(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		a := w.join()
		b := w.open()
		b.conn = a.conn
		b.send(b.connectMessage())
		b.expectError(protocol.CodeDuplicateConn, true)
		b.expectClose(websocket.StatusPolicyViolation)
		a.quiet()
	})
}

func TestRoom_holds256(t *testing.T) {
	inBubble(t, Limits{QueueMessages: 1000}, func(w *world) {
		leaves := map[int]bool{}
		clients := make([]*client, 0, protocol.MaxPeers)
		for range protocol.MaxPeers {
			c := w.join()
			leaves[c.leaf] = true
			clients = append(clients, c)
		}
		if len(leaves) != protocol.MaxPeers {
			t.Fatalf("%d leaves", len(leaves))
		}
		late := w.open()
		late.send(late.connectMessage())
		late.expectError(protocol.CodeRoomFull, true)
		gone := clients[77]
		gone.drop()
		late = w.open()
		late.send(late.connectMessage())
		late.expectError(protocol.CodeRoomFull, true) // it may come back
		time.Sleep(protocol.ResumeTimeout)
		synctest.Wait()
		if c := w.join(); c.leaf != gone.leaf || len(c.peers) != 255 {
			t.Errorf("leaf %d instead of %d, %d peers", c.leaf, gone.leaf, len(c.peers))
		}
	})
}

func TestRelay_keepsOneOrder(t *testing.T) {
	inBubble(t, Limits{MessageBurst: 1000, ByteBurst: 4 << 20}, func(w *world) {
		clients := []*client{w.join(), w.join(), w.join(), w.join()}
		watcher := w.join()
		form(watcher, clients...)
		const each = 50
		w.together = true
		for i, c := range clients {
			go func() {
				for n := range each {
					e := c.envelope(protocol.ConnID{}, 300)
					e[len(e)-1], e[len(e)-2] = byte(n), byte(i)
					c.write(websocket.MessageBinary, e)
				}
			}()
		}
		synctest.Wait()
		// Everybody sees the same numbers for the same envelopes, rising, each
		// sender's in its order, and never their own.
		order := map[uint64]string{}
		for i, c := range append(clients, watcher) {
			want, last := each*len(clients), uint64(0)
			if c != watcher {
				want -= each
			}
			next := map[byte]byte{}
			for range want {
				r := c.next()
				seq, e, err := protocol.ParseRelayed(r.envelope)
				if err != nil || seq <= last {
					t.Fatalf("client %d: seq %d after %d, %v", i, seq, last, err)
				}
				last = seq
				n, from := e.Sealed[len(e.Sealed)-1], e.Sealed[len(e.Sealed)-2]
				if e.From == c.conn || e.From != clients[from].conn || n != next[from] {
					t.Fatalf("client %d: envelope %d of sender %d, want %d", i, n, from, next[from])
				}
				next[from]++
				id := fmt.Sprint(from, " ", n)
				if was, seen := order[seq]; seen && was != id {
					t.Fatalf("seq %d is %s and %s", seq, was, id)
				}
				order[seq] = id
			}
			c.quiet()
		}
	})
}

func TestRelay_addressesOne(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		a, b, c := w.join(), w.join(), w.join()
		form(a, b, c)
		before := w.server.Stats()
		sent := a.envelope(c.conn, 300)
		a.write(websocket.MessageBinary, sent)
		if r := c.next(); len(r.envelope) != 8+len(sent) || binary.BigEndian.Uint64(r.envelope) == 0 || !bytes.Equal(r.envelope[8:], sent) {
			t.Errorf("c got %d bytes", len(r.envelope))
		}
		a.write(websocket.MessageBinary, a.envelope(protocol.ConnID{9}, 300)) // not there: no error
		a.write(websocket.MessageBinary, a.envelope(a.conn, 300))
		a.quiet()
		b.quiet()
		c.quiet()
		if st := w.server.Stats(); st.Envelopes != before.Envelopes+1 || st.EnvelopesSent != before.EnvelopesSent+1 || st.Dropped[droppedNoReceiver] != 2 {
			t.Errorf("stats %+v", st)
		}
	})
}

// Who is not in the group cannot speak to those who are, and is not told so.
func TestRelay_onlyOfMemberConnections(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		a, b, stranger := w.join(), w.join(), w.join()
		stranger.say(1) // a room without a group
		form(a, b)
		stranger.drain()
		stranger.say(2)
		stranger.write(websocket.MessageBinary, stranger.envelope(a.conn, 300))
		for _, c := range []*client{a, b, stranger} {
			c.quiet()
		}
		if st := w.server.Stats(); st.Dropped[droppedNotMember] != 3 {
			t.Errorf("dropped %+v", st.Dropped)
		}
		b.say(3)
		a.hears(b, 3)
		stranger.hears(b, 3) // it cannot read it
	})
}

func TestSession_refusesBadEnvelopes(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		watcher := w.join()
		for name, c := range map[string]struct {
			change func(c *client, e []byte) []byte
			code   protocol.Code
			fatal  bool
		}{
			"not an envelope":   {func(*client, []byte) []byte { return []byte("hello") }, protocol.CodeBadEnvelope, true},
			"another's name":    {func(_ *client, e []byte) []byte { copy(e[36:], watcher.conn[:]); return e }, protocol.CodeBadEnvelope, true},
			"unknown type":      {func(_ *client, e []byte) []byte { e[1] = 9; return e }, protocol.CodeBadEnvelope, true},
			"welcome alone":     {func(_ *client, e []byte) []byte { e[1], e[4] = 4, 1; return e }, protocol.CodeUnsupportedEnvelope, false},
			"no group":          {func(_ *client, e []byte) []byte { e[1] = 3; return e }, protocol.CodeBadEnvelope, true},
			"another version":   {func(_ *client, e []byte) []byte { e[0] = 3; return e }, protocol.CodeUnsupportedEnvelope, false},
			"more than 32 KiB":  {func(_ *client, e []byte) []byte { return append(e, make([]byte, protocol.MaxSealed)...) }, protocol.CodeTooLarge, false},
			"shorter than seal": {func(_ *client, e []byte) []byte { return e[:protocol.EnvelopeHeaderSize+27] }, protocol.CodeBadEnvelope, true},
		} {
			o := w.join()
			expect[*protocol.PeerJoined](watcher)
			o.write(websocket.MessageBinary, c.change(o, o.envelope(protocol.ConnID{}, 300)))
			o.expectError(c.code, c.fatal)
			reason := protocol.LeftLeave
			if c.fatal {
				o.expectClose(websocket.StatusUnsupportedData)
				reason = protocol.LeftError
			} else {
				o.send(&protocol.Leave{})
			}
			if l := expect[*protocol.PeerLeft](watcher); l.Reason != reason {
				t.Errorf("%s: left for %s", name, l.Reason)
			}
		}
		watcher.quiet()
	})
}

func TestSession_wantsConnectFirst(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		for _, first := range []func(*client){
			func(c *client) { c.send(&protocol.Leave{}) },
			func(c *client) { c.send(offerOf(1, "v=0")) },
			func(c *client) { c.write(websocket.MessageBinary, c.envelope(protocol.ConnID{}, 300)) },
		} {
			c := w.open()
			first(c)
			c.expectError(protocol.CodeBadState, true)
			c.expectClose(websocket.StatusPolicyViolation)
		}
		for _, text := range []string{"hello", `{"type":"connect"}`, `{"type":"answer"}`} {
			c := w.open()
			c.text(text)
			if e := expect[*protocol.Error](c); !e.Fatal {
				t.Errorf("%s: %+v", text, e)
			}
			c.expectClose(websocket.StatusPolicyViolation)
		}
		long := w.open()
		long.text(`{"type":"connect","x":"` + strings.Repeat("a", protocol.MaxConnect) + `"}`)
		long.expectClose(websocket.StatusMessageTooBig)
	})
}

func TestSession_cutsSilenceBeforeConnect(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		start := time.Now()
		c := w.open()
		c.expectError(protocol.CodeConnectTimeout, true)
		c.expectClose(websocket.StatusPolicyViolation)
		if took := time.Since(start); took != protocol.ConnectTimeout {
			t.Errorf("cut after %v", took)
		}
	})
}

func TestSession_badMessages(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		c := w.join()
		c.text(`{"type":"levitate","id":3}`)
		c.expectError(protocol.CodeUnknownType, false)
		c.text(`{"type":"mute","source":"mic","muted":true,"future":{"a":[1]}}`) // unknown members pass
		c.send(c.connectMessage())
		c.expectError(protocol.CodeBadState, false)
		c.text("not JSON")
		c.expectError(protocol.CodeBadMessage, false)
		c.text(`{"type":"mute","source":"mic"}`)
		c.expectError(protocol.CodeBadMessage, false)
		c.text(`{"type":"leave","type":"leave"}`)
		c.expectError(protocol.CodeBadMessage, true)
		c.expectClose(websocket.StatusPolicyViolation)
	})
}

func TestSession_messageSizes(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		fill := strings.Repeat("a", protocol.MaxMessage)
		c := w.join()
		if got := c.offer(2, "v=0 "+strings.Repeat("x", 200_000), protocol.SourceMic); len(got.SDP) < 200_000 {
			t.Errorf("answer of %d bytes", len(got.SDP))
		}
		c.text(`{"type":"offer","id":3,"tracks":[],"sdp":"` + strings.Repeat("a", protocol.MaxSDP+1) + `"}`)
		c.expectError(protocol.CodeTooLarge, false)
		c.text(`{"type":"want","tracks":[],"x":"` + fill + `"}`)
		c.expectClose(websocket.StatusMessageTooBig)

		late := w.join()
		late.text(`{"sdp":"` + fill + `","type":"offer","id":3,"tracks":[]}`)
		late.expectClose(websocket.StatusMessageTooBig)

		huge := w.join()
		huge.text(`{"type":"offer","x":"` + strings.Repeat("a", protocol.MaxNegotiation) + `"}`)
		huge.expectClose(websocket.StatusMessageTooBig)
	})
}

func TestSession_messageRate(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		c := w.join() // one message
		for range protocol.MessageBurst - 1 {
			c.text(`{"type":"mute","source":"mic","muted":true}`)
		}
		c.quiet()
		time.Sleep(time.Second) // virtual
		for range protocol.MessageRate {
			c.text(`{"type":"mute","source":"mic","muted":true}`)
		}
		c.quiet()
		c.text(`{"type":"mute","source":"mic","muted":true}`)
		c.expectError(protocol.CodeRateLimited, true)
		c.expectClose(websocket.StatusPolicyViolation)
	})
}

// TestSession_byteRate: pings are no messages, but bytes.
func TestSession_byteRate(t *testing.T) {
	inBubble(t, Limits{ByteRate: 1000, ByteBurst: 5000}, func(w *world) {
		c := w.join()
		for range 2000 {
			ctx, cancel := context.WithTimeout(w.t.Context(), time.Millisecond)
			err := c.ws.Ping(ctx)
			cancel()
			if err != nil {
				break
			}
		}
		c.expectError(protocol.CodeRateLimited, true)
	})
}

func TestSession_pingsAndCutsTheDead(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		alive := w.join()
		// This one does not read, so it does not answer pings either.
		dead := w.dial(nil)
		defer dead.ws.CloseNow()
		_, hello, err := dead.ws.Read(w.t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m, err := protocol.DecodeServer(hello)
		if err != nil {
			t.Fatal(err)
		}
		dead.hello = m.(*protocol.Hello)
		dead.send(dead.connectMessage())
		expect[*protocol.PeerJoined](alive)
		start := time.Now()
		if l := expect[*protocol.PeerLeft](alive); l.Reason != protocol.LeftGone {
			t.Errorf("left for %s", l.Reason)
		}
		if took := time.Since(start); took > 31*time.Second+protocol.ResumeTimeout {
			t.Errorf("dead for %v before it was gone", took)
		}
		time.Sleep(5 * time.Minute)
		alive.quiet()
	})
}

func TestSession_cutsSlowReaders(t *testing.T) {
	inBubble(t, Limits{MessageBurst: 1000, ByteBurst: 8 << 20}, func(w *world) {
		sender, reader := w.join(), w.join()
		expect[*protocol.PeerJoined](sender)
		slow := w.dial(nil)
		defer slow.ws.CloseNow()
		_, hello, err := slow.ws.Read(w.t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m, err := protocol.DecodeServer(hello)
		if err != nil {
			t.Fatal(err)
		}
		slow.hello = m.(*protocol.Hello)
		slow.send(slow.connectMessage())
		form(sender, reader)
		start := time.Now()
		for i := range 300 {
			sender.write(websocket.MessageBinary, sender.envelope(protocol.ConnID{}, 300))
			if i%50 == 0 {
				synctest.Wait() // the reader is not slower than this machine
			}
		}
		for range 300 {
			if r := reader.next(); r.envelope == nil {
				t.Fatalf("the reader got %+v, %v", r.msg, r.err)
			}
		}
		if l := expect[*protocol.PeerLeft](reader); l.ConnID != slow.conn {
			t.Errorf("%+v left", l)
		}
		if took := time.Since(start); took > 2*slowGrace+protocol.ResumeTimeout {
			t.Errorf("cut after %v", took)
		}
		if st := w.server.Stats(); st.SlowReaders != 1 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestServer_closeTellsEverybody(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		a, b := w.join(), w.open()
		go func() { _ = w.server.Close(w.t.Context()) }()
		a.expectError(protocol.CodeShutdown, true)
		a.expectClose(websocket.StatusGoingAway)
		b.expectError(protocol.CodeShutdown, true)
		b.expectClose(websocket.StatusGoingAway)
	})
}

func TestServer_kick(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		a, b := w.join(), w.join()
		expect[*protocol.PeerJoined](a)
		b.offer(2, "v=0", protocol.SourceCamera)
		expect[*protocol.PeerTracks](a)
		if there, err := w.server.Kick(w.t.Context(), w.room(), b.conn); !there || err != nil {
			t.Fatalf("kick: %v, %v", there, err)
		}
		b.expectError(protocol.CodeKicked, true)
		b.expectClose(websocket.StatusPolicyViolation)
		if l := expect[*protocol.PeerLeft](a); l.Reason != protocol.LeftKicked {
			t.Errorf("left for %s", l.Reason)
		}
		if there, _ := w.server.Kick(w.t.Context(), w.room(), b.conn); there {
			t.Error("kicked twice")
		}
		a.quiet()
	})
}

// TestServer_joinLeaveLeaksNothing is S24, smaller.
func TestServer_joinLeaveLeaksNothing(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		for range 300 {
			c := w.join()
			c.send(offerOf(2, "v=0", protocol.SourceMic))
			c.drop()
			time.Sleep(protocol.ResumeTimeout / 10) // some are there at a time
		}
		time.Sleep(protocol.ResumeTimeout)
		synctest.Wait()
		if st := w.server.Stats(); st.Sessions != 0 || st.Rooms != 0 || st.Joins["ok"] != 300 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestServer_originAndHandshake(t *testing.T) {
	s, err := New(Config{Media: newRecorder(), OpenRooms: true, AllowedOrigins: []string{"https://app.example"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(context.Background()) }()
	for name, c := range map[string]struct {
		origin []string
		sub    string
		want   int
	}{
		"no origin":         {nil, "sotto.v1", http.StatusUpgradeRequired}, // passes the checks; it is no WebSocket
		"own host":          {[]string{"https://meet.example"}, "sotto.v1", http.StatusUpgradeRequired},
		"own host, case":    {[]string{"https://MEET.example"}, "sotto.v1", http.StatusUpgradeRequired},
		"listed":            {[]string{"https://app.example"}, "sotto.v1", http.StatusUpgradeRequired},
		"listed, no TLS":    {[]string{"http://app.example"}, "sotto.v1", http.StatusForbidden},
		"other":             {[]string{"https://evil.example"}, "sotto.v1", http.StatusForbidden},
		"other port":        {[]string{"https://meet.example:444"}, "sotto.v1", http.StatusForbidden},
		"suffix":            {[]string{"https://meet.example.evil"}, "sotto.v1", http.StatusForbidden},
		"null":              {[]string{"null"}, "sotto.v1", http.StatusForbidden},
		"empty":             {[]string{""}, "sotto.v1", http.StatusForbidden},
		"user in it":        {[]string{"https://meet.example@evil"}, "sotto.v1", http.StatusForbidden},
		"two":               {[]string{"https://meet.example", "https://evil.example"}, "sotto.v1", http.StatusForbidden},
		"no subprotocol":    {nil, "", http.StatusBadRequest},
		"other subprotocol": {nil, "sotto.v2, chat", http.StatusBadRequest},
		"among others":      {nil, "chat, sotto.v1", http.StatusUpgradeRequired},
	} {
		r := httptest.NewRequest("GET", "http://meet.example/ws", nil)
		r.Header["Origin"] = c.origin
		if c.sub != "" {
			r.Header.Set("Sec-WebSocket-Protocol", c.sub)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s: %d, want %d", name, w.Code, c.want)
		}
	}
}

func TestNew_refusesBadConfig(t *testing.T) {
	if _, err := New(Config{OpenRooms: true}); err == nil {
		t.Error("no media node")
	}
	for _, o := range []string{"example.org", "https://example.org/path", "*", "null"} {
		if _, err := New(Config{Media: newRecorder(), OpenRooms: true, AllowedOrigins: []string{o}}); err == nil {
			t.Errorf("takes origin %q", o)
		}
	}
}

// TestLogs_holdNoContent: ids are hashed, and nothing else gets in.
func TestLogs_holdNoContent(t *testing.T) {
	inBubble(t, Limits{}, func(w *world) {
		const canary = "canary-4b1d"
		c := w.open()
		m := c.connectMessage()
		m.Client = canary + "-client"
		c.send(m)
		expect[*protocol.Welcome](c)
		c.offer(2, "v=0\r\nc=IN IP4 192.0.2.77 "+canary, protocol.SourceMic)
		w.media.set(func() { w.media.fail = fmt.Errorf("%w: %s 192.0.2.77", sfu.ErrBadOffer, canary) })
		c.send(offerOf(3, canary))
		c.expectError(protocol.CodeBadOffer, false)
		c.text(canary)
		c.expectError(protocol.CodeBadMessage, false)
		w.media.events <- sfu.Event{Kind: sfu.EventClosed, Room: w.room().String(), Peer: c.conn.String(), Reason: sfu.ReasonTimeout}
		c.expectError(protocol.CodeMediaClosed, false)
		c.drop()
		synctest.Wait()
		if w.logs.Len() == 0 {
			t.Fatal("nothing is logged")
		}
		secrets := []string{canary, "192.0.2", "v=0", w.room().String(), c.conn.String(),
			fmt.Sprintf("%x", []byte(m.LinkPub)), fmt.Sprintf("%x", c.conn[:]), m.LinkPub.String(), m.LinkSig.String(), "pipe"}
		for _, e := range w.logs.All() {
			line := fmt.Sprint(e.Message, " ", e.ContextMap())
			if i := slices.IndexFunc(secrets, func(s string) bool { return strings.Contains(line, s) }); i >= 0 {
				t.Errorf("%q is in the log: %s", secrets[i], line)
			}
		}
	})
}
