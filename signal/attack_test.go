package signal

import (
	"bufio"
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"sotto/signal/protocol"
)

// These speak to a real socket, in frames that no library would send.

type attacker struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func serve(t *testing.T, c Config) *httptest.Server {
	t.Helper()
	c.Media, c.OpenRooms = newRecorder(), true
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	hs := httptest.NewServer(s)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		hs.Close()
	})
	return hs
}

func attack(t *testing.T, hs *httptest.Server) *attacker {
	t.Helper()
	conn, err := net.Dial("tcp", hs.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return newAttacker(t, conn)
}

// newAttacker does the handshake.
func newAttacker(t *testing.T, conn net.Conn) *attacker {
	t.Helper()
	a := &attacker{t: t, conn: conn, in: bufio.NewReader(conn)}
	a.write([]byte("GET /ws HTTP/1.1\r\nHost: meet.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: sotto.v1\r\n" +
		"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"))
	res, err := http.ReadResponse(a.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Sec-WebSocket-Extensions") != "" {
		t.Fatalf("status %d, extensions %q", res.StatusCode, res.Header.Get("Sec-WebSocket-Extensions"))
	}
	return a
}

func (a *attacker) write(b []byte) {
	_, _ = a.conn.Write(b) // the service may have had enough
}

// header is that of a masked frame, the mask zero.
func header(fin bool, opcode byte, length uint64) []byte {
	if fin {
		opcode |= 0x80
	}
	switch {
	case length < 126:
		return []byte{opcode, 0x80 | byte(length), 0, 0, 0, 0}
	case length < 1<<16:
		return append(binary.BigEndian.AppendUint16([]byte{opcode, 0x80 | 126}, uint16(length)), 0, 0, 0, 0)
	}
	return append(binary.BigEndian.AppendUint64([]byte{opcode, 0x80 | 127}, length), 0, 0, 0, 0)
}

// closed reads to the close frame and returns its code, or 0 when the
// connection ends without one.
func (a *attacker) closed() uint16 {
	for {
		var h [2]byte
		if _, err := a.in.Read(h[:1]); err != nil {
			return 0
		}
		if _, err := a.in.Read(h[1:]); err != nil {
			return 0
		}
		n := int(h[1] & 0x7f)
		if n == 126 {
			var l [2]byte
			if _, err := a.in.Read(l[:]); err != nil {
				return 0
			}
			n = int(binary.BigEndian.Uint16(l[:]))
		}
		payload := make([]byte, n)
		for got := 0; got < n; {
			k, err := a.in.Read(payload[got:])
			if err != nil {
				return 0
			}
			got += k
		}
		if h[0]&0xf == 8 && n >= 2 {
			return binary.BigEndian.Uint16(payload)
		}
	}
}

func TestAttack_hugeFrame(t *testing.T) { // S4
	hs := serve(t, Config{})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	a := attack(t, hs)
	a.write(header(true, 1, 1<<30))
	a.write([]byte(strings.Repeat("a", protocol.MaxConnect+1)))
	if got := a.closed(); got != 1009 {
		t.Errorf("close %d", got)
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.TotalAlloc - before.TotalAlloc); grown > 1<<20 {
		t.Errorf("%d bytes allocated", grown)
	}
}

// TestAttack_stalls is S4 and S18: a frame is announced and never comes. The
// connection ends all the same, whether or not its reader has given up.
func TestAttack_stalls(t *testing.T) {
	for name, c := range map[string]struct {
		payload int
		status  uint16
		within  time.Duration
	}{
		"no payload":       {0, 1008, protocol.ConnectTimeout + closeTimeout},
		"beyond the limit": {protocol.MaxConnect + 1, 1009, closeTimeout},
	} {
		inBubble(t, Limits{}, func(w *world) {
			conn, err := w.pipes.dial()
			if err != nil {
				w.t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			a := newAttacker(w.t, conn)
			start := time.Now()
			go a.write(append(header(true, 1, 1<<30), make([]byte, c.payload)...))
			if got := a.closed(); got != c.status {
				w.t.Errorf("%s: close %d", name, got)
			}
			if a.closed() != 0 { // reads to the end of the connection
				w.t.Errorf("%s: two close frames", name)
			}
			if took := time.Since(start); took > c.within {
				w.t.Errorf("%s: ended after %v", name, took)
			}
		})
	}
}

func TestAttack_fragments(t *testing.T) { // S5
	hs := serve(t, Config{})
	a := attack(t, hs)
	first := append(header(false, 1, 1), '{')
	more := append(header(false, 0, 1), ' ')
	a.write(first)
	a.write([]byte(strings.Repeat(string(more), protocol.MaxConnect)))
	if got := a.closed(); got != 1009 {
		t.Errorf("close %d", got)
	}
}

func TestAttack_emptyFragments(t *testing.T) { // no byte of payload, so no limit of the message
	hs := serve(t, Config{Limits: Limits{ByteBurst: 100_000, ByteRate: 1}})
	a := attack(t, hs)
	a.write(header(false, 1, 0))
	a.write([]byte(strings.Repeat(string(header(false, 0, 0)), 20_000)))
	if got := a.closed(); got != 1008 && got != 0 {
		t.Errorf("close %d", got)
	}
}

func TestAttack_frames(t *testing.T) {
	hs := serve(t, Config{})
	for name, c := range map[string]struct {
		frame []byte
		want  uint16 // 0: cut without a close frame
	}{
		"compressed":       {append([]byte{0xc1}, header(true, 1, 0)[1:]...), 1002}, // S6
		"reserved opcode":  {header(true, 3, 0), 1002},
		"control fragment": {header(false, 9, 0), 1002},
		"long control":     {header(true, 9, 126), 1002},
		"lone continue":    {header(true, 0, 0), 1002},
		"no mask":          {[]byte{0x81, 0x00}, 1002},
		"binary":           {header(true, 2, 0), 1008},
	} {
		a := attack(t, hs)
		a.write(c.frame)
		if got := a.closed(); got != c.want {
			t.Errorf("%s: close %d, want %d", name, got, c.want)
		}
	}
}

// TestAddresses_boundOneClient is S20, with an address that is not loopback.
func TestAddresses_boundOneClient(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	table := addresses{maxOpen: 32, perSecond: 10, maxTable: 100, table: map[netip.Addr]*address{}}
	ip := netip.MustParseAddr("192.0.2.7")
	open, refused := 0, map[string]int{}
	for range 2000 {
		if why := table.open(now, ip); why != "" {
			refused[why]++
		} else {
			open++
		}
	}
	if open != 10 || refused[refusedAddressRate] != 1990 {
		t.Errorf("%d open at once, refused %v", open, refused)
	}
	for range 10 {
		now = now.Add(time.Second)
		for range 10 {
			if table.open(now, ip) == "" {
				open++
			}
		}
	}
	if open != 32 {
		t.Errorf("%d open", open)
	}
	if why := table.open(now, netip.MustParseAddr("192.0.2.8")); why != "" {
		t.Errorf("a neighbour is refused: %s", why)
	}
	now = now.Add(time.Second)
	table.closed(now, ip)
	if why := table.open(now, ip); why != "" {
		t.Errorf("refused after one left: %s", why)
	}
	for range 32 {
		now = now.Add(time.Second)
		table.closed(now, ip)
	}
	table.closed(now.Add(time.Minute), netip.MustParseAddr("192.0.2.8"))
	table.forget(now.Add(time.Minute))
	if len(table.table) != 0 {
		t.Errorf("%d addresses remembered", len(table.table))
	}
}

func TestAddresses_whatIsOneClient(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "fe80::1%eth0": "fe80::",
	} {
		if got := prefix(netip.MustParseAddr(text)); got.String() != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	for _, free := range []bool{false, true} {
		a := addresses{loopbackFree: free}
		for _, loopback := range []string{"127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"} {
			if a.limited(netip.MustParseAddr(loopback)) == free {
				t.Errorf("%s is limited: %v", loopback, !free)
			}
		}
		if a.limited(netip.Addr{}) || !a.limited(netip.MustParseAddr("192.0.2.7")) {
			t.Error("no address is limited, or one is not")
		}
	}
}

func TestServer_refusesBeyondAddressLimit(t *testing.T) {
	hs := serve(t, Config{
		ClientAddr: func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.7") },
		Limits:     Limits{AddressOpen: 2, AddressRate: 100},
	})
	attack(t, hs)
	attack(t, hs)
	r, err := http.NewRequest("GET", hs.URL+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol": "sotto.v1",
	} {
		r.Header.Set(key, value)
	}
	res, err := hs.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
	}
}
