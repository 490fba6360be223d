package signal

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"sotto/signal/protocol"
	"sotto/signal/token"
)

var testKeys = map[string][]byte{"APIkey": bytes.Repeat([]byte{3}, 32)}

func byToken() Config { return Config{Keys: testKeys, TokenAudience: testHost} }

func (w *world) claims() token.Claims {
	return token.Claims{
		Issuer: "APIkey", Identity: "alice@example.org", Room: w.room().String(),
		NotBefore: time.Now(), Expires: time.Now().Add(time.Hour), Publish: token.Sources(), Subscribe: true,
	}
}

func (w *world) mint(change func(*token.Claims)) string {
	w.t.Helper()
	c := w.claims()
	change(&c)
	text, err := token.Mint(testKeys[c.Issuer], c)
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// present connects with a join token.
func (w *world) present(text string) *client {
	w.t.Helper()
	c := w.open()
	m := c.connectMessage()
	m.Token = text
	c.send(m)
	return c
}

func TestToken_decidesWhoJoins(t *testing.T) {
	inBubbleWith(t, byToken(), func(w *world) {
		good := w.mint(func(*token.Claims) {})
		stolen := strings.Replace(good, "ey", "eZ", 1)
		foreign, err := token.Mint(bytes.Repeat([]byte{4}, 32), w.claims())
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			text string
			code protocol.Code
		}{
			"none":          {"", protocol.CodeTokenInvalid},
			"forged":        {foreign, protocol.CodeTokenInvalid},
			"changed":       {stolen, protocol.CodeTokenInvalid},
			"no algorithm":  {"eyJhbGciOiJub25lIn0." + strings.Split(good, ".")[1] + ".", protocol.CodeTokenInvalid}, // S10
			"expired":       {w.mint(func(c *token.Claims) { c.NotBefore, c.Expires = back(2*time.Hour), back(time.Hour) }), protocol.CodeTokenExpired},
			"not yet":       {w.mint(func(c *token.Claims) { c.NotBefore = back(-time.Minute) }), protocol.CodeTokenNotYet},
			"other room":    {w.mint(func(c *token.Claims) { c.Room = protocol.RoomID{9}.String() }), protocol.CodeTokenWrongRoom}, // S13
			"other service": {w.mint(func(c *token.Claims) { c.Audience = []string{"elsewhere"} }), protocol.CodeTokenInvalid},
		} {
			o := w.present(c.text)
			if e := expect[*protocol.Error](o); e.Code != c.code || !e.Fatal || e.ID == nil {
				t.Errorf("%s: %+v", name, e)
			}
			o.expectClose(websocket.StatusPolicyViolation)
		}
		for _, size := range []int{protocol.MaxToken + 1, 10 << 20} { // S15
			o := w.open()
			o.text(`{"type":"connect","token":"` + strings.Repeat(".", size) + `"}`)
			if size > protocol.MaxConnect {
				o.expectClose(websocket.StatusMessageTooBig)
			} else {
				o.expectError(protocol.CodeBadMessage, true)
			}
		}
		if st := w.server.Stats(); st.Rooms != 0 || st.Joins["token_invalid"] != 5 || st.Joins["token_expired"] != 1 {
			t.Errorf("stats %+v", st)
		}
		// The clocks may differ by 30 s. A token does not hold back who knows no
		// link, and is good more than once unless it says otherwise.
		for range 2 {
			o := w.present(w.mint(func(c *token.Claims) { c.NotBefore = back(-token.Skew); c.Audience = []string{testHost} }))
			if welcome := expect[*protocol.Welcome](o); len(welcome.NoPublish) != 0 || welcome.NoSubscribe {
				t.Errorf("welcome %+v", welcome)
			}
		}
		o := w.open()
		m := o.connectMessage()
		m.Token = good
		clear(m.LinkSig)
		o.send(m)
		o.expectError(protocol.CodeBadSignature, true)
		for _, e := range w.logs.All() {
			if line := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(line, "alice") || strings.Contains(line, good[:20]) {
				t.Errorf("in the log: %s", line)
			}
		}
	})
}

func back(d time.Duration) time.Time { return time.Now().Add(-d) }

func TestToken_once(t *testing.T) { // S16
	config := byToken()
	config.Limits.OnceTokens = 2
	inBubbleWith(t, config, func(w *world) {
		once := func(id string) string {
			return w.mint(func(c *token.Claims) { c.Once, c.ID = true, id })
		}
		a := w.present(once("1"))
		expect[*protocol.Welcome](a)
		w.present(once("1")).expectError(protocol.CodeTokenInvalid, true)
		// One whose connect fails for another reason is not used up.
		b := w.open()
		b.conn = a.conn
		m := b.connectMessage()
		m.Token = once("2")
		b.send(m)
		b.expectError(protocol.CodeDuplicateConn, true)
		expect[*protocol.Welcome](w.present(once("2")))
		w.present(once("3")).expectError(protocol.CodeBusy, true)
		text := once("1")
		time.Sleep(time.Hour + token.Skew)
		w.present(text).expectError(protocol.CodeTokenExpired, true)
		expect[*protocol.Welcome](w.present(once("3"))) // those of before are forgotten
	})
}

func TestToken_permissions(t *testing.T) {
	config := byToken()
	config.ResumeKey = bytes.Repeat([]byte{7}, minResumeKey)
	inBubbleWith(t, config, func(w *world) {
		a := w.present(w.mint(func(c *token.Claims) {
			c.Publish, c.Subscribe = []token.Source{token.SourceMicrophone}, false
		}))
		want := []protocol.Source{protocol.SourceCamera, protocol.SourceScreen, protocol.SourceScreenAudio}
		check := func(welcome *protocol.Welcome) {
			t.Helper()
			if !slices.Equal(welcome.NoPublish, want) || !welcome.NoSubscribe {
				t.Errorf("welcome %+v", welcome)
			}
			a.leaf, a.resume = welcome.Leaf, welcome.Resume
		}
		check(expect[*protocol.Welcome](a))
		try := func(c *client) {
			t.Helper()
			c.send(offerOf(2, sections("sendonly", "sendonly"), protocol.SourceMic, protocol.SourceCamera))
			if e := c.expectError(protocol.CodeNotPermitted, false); e.ID == nil || *e.ID != 2 {
				t.Errorf("error %+v", e)
			}
			c.send(offerOf(3, sections("sendonly", "sendrecv"), protocol.SourceMic))
			c.expectError(protocol.CodeBadOffer, false)
		}
		try(a)
		if got := a.offer(4, sections("sendonly", "recvonly"), protocol.SourceMic); got.SDP != "answer to "+sections("sendonly", "inactive") {
			t.Errorf("answer %q", got.SDP)
		}
		a.tracks = []protocol.Track{{Source: protocol.SourceMic}, {Source: protocol.SourceCamera}}

		// It has no more after a resumption, which needs no token, nor after a
		// restart: what it claims to publish is restricted too.
		a2 := w.open()
		a2.send(a2.resumeMessage(a))
		check(expect[*protocol.Welcome](a2))
		expect[*protocol.Slots](a2)
		try(a2)
		w.crash()
		w.start()
		a3 := w.open()
		a3.send(a3.resumeMessage(a))
		check(expect[*protocol.Welcome](a3))
		expect[*protocol.Slots](a3)
		try(a3)
		b := w.present(w.mint(func(c *token.Claims) { c.Publish = nil }))
		if welcome := expect[*protocol.Welcome](b); len(welcome.NoPublish) != 4 || welcome.NoSubscribe ||
			len(welcome.Peers) != 1 || len(welcome.Peers[0].Tracks) != 1 || welcome.Peers[0].Tracks[0].Source != protocol.SourceMic {
			t.Errorf("welcome %+v", welcome)
		}
		b.send(offerOf(2, "v=0", protocol.SourceMic))
		b.expectError(protocol.CodeNotPermitted, false)
		b.offer(3, sections("recvonly"))
		synctest.Wait()
	})
}

// sections is a session description with one section for each direction.
func sections(directions ...string) string {
	var b strings.Builder
	b.WriteString("v=0\r\n")
	for i, d := range directions {
		fmt.Fprintf(&b, "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:%d\r\na=%s\r\n", i, d)
	}
	return b.String()
}

func TestWithoutReceiving(t *testing.T) {
	for name, c := range map[string]struct {
		in, want string
		ok       bool
	}{
		"sends":           {sections("sendonly"), sections("sendonly"), true},
		"receives":        {sections("recvonly", "sendonly", "recvonly"), sections("inactive", "sendonly", "inactive"), true},
		"inactive":        {sections("inactive"), sections("inactive"), true},
		"both":            {sections("sendrecv"), "", false},
		"no direction":    {"v=0\r\nm=audio 9 x 0\r\na=mid:0\r\n", "", false},
		"none at first":   {"v=0\r\nm=audio 9 x 0\r\nm=audio 9 x 0\r\na=sendonly\r\n", "", false},
		"two directions":  {"v=0\r\nm=audio 9 x 0\r\na=sendonly\r\na=recvonly\r\n", "", false},
		"of the session":  {"v=0\r\na=recvonly\r\nm=audio 9 x 0\r\n", "", false},
		"line feeds":      {"v=0\nm=audio 9 x 0\na=recvonly\n", "v=0\r\nm=audio 9 x 0\r\na=inactive\r\n", true},
		"lone returns":    {"v=0\rm=audio 9 x 0\ra=recvonly\r", "", false},
		"in a name":       {"v=0\r\ns=a=recvonly\r\nm=audio 9 x 0\r\na=sendonly\r\n", "v=0\r\ns=a=recvonly\r\nm=audio 9 x 0\r\na=sendonly\r\n", true},
		"space after it":  {"v=0\r\nm=audio 9 x 0\r\na=recvonly \r\n", "v=0\r\nm=audio 9 x 0\r\na=inactive\r\n", true},
		"no section":      {"v=0\r\n", "v=0\r\n", true},
		"capital letters": {"v=0\r\nm=audio 9 x 0\r\na=RECVONLY\r\n", "", false},
		"space before it": {"v=0\r\nm=audio 9 x 0\r\na=sendonly\r\n m=audio 9 x 0\r\n", "", false},
		"with a value":    {"v=0\r\nm=audio 9 x 0\r\na=sendonly\r\na=recvonly:x\r\n", "", false},
	} {
		got, ok := withoutReceiving(c.in)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
	}
}

func TestNew_wantsAWayIn(t *testing.T) {
	for name, c := range map[string]Config{
		"nobody may join":  {},
		"weak secret":      {Keys: map[string][]byte{"devkey": []byte("secret")}},
		"key without name": {Keys: map[string][]byte{"": bytes.Repeat([]byte{1}, 32)}},
		"weak resume key":  {OpenRooms: true, ResumeKey: []byte("secret")},
	} {
		c.Media = newRecorder()
		if _, err := New(c); err == nil {
			t.Errorf("%s: started", name)
		}
	}
}

// TestServer_floodFromOneAddress is S20, over loopback.
func TestServer_floodFromOneAddress(t *testing.T) {
	hs := serve(t, Config{})
	refused := 0
	started := time.Now()
	for range 2000 {
		r, err := http.NewRequest("GET", hs.URL+"/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Sec-WebSocket-Protocol", protocol.Subprotocol)
		// No upgrade: it counts all the same, and closes at once, so that the
		// rate alone refuses.
		res, err := hs.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode == http.StatusTooManyRequests {
			refused++
			if res.Header.Get("Retry-After") == "" {
				t.Fatal("no Retry-After")
			}
		}
	}
	most := 10 + int(10*time.Since(started).Seconds()) + 1
	if passed := 2000 - refused; passed < 10 || passed > most {
		t.Errorf("%d passed, want 10 to %d", passed, most)
	}
}

func TestServer_openFromOneAddress(t *testing.T) {
	hs := serve(t, Config{Limits: Limits{AddressRate: 1000}})
	for range DefaultLimits().AddressOpen {
		attack(t, hs) // fails unless it is upgraded
	}
	r, err := http.NewRequest("GET", hs.URL+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-WebSocket-Protocol", protocol.Subprotocol)
	res, err := hs.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
	}
}
