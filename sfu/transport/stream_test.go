package transport

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func frame(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

func TestReadFrame(t *testing.T) {
	dst := make([]byte, 10)
	stream := append(frame([]byte("one")), frame(nil)...)
	stream = append(stream, frame([]byte("0123456789"))...)
	r := bufio.NewReader(iotestOneByte{bytes.NewReader(stream)})
	for _, want := range []string{"one", "0123456789"} {
		n, err := readFrame(r, dst)
		if err != nil || string(dst[:n]) != want {
			t.Fatal(n, err)
		}
	}
	if _, err := readFrame(r, dst); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if _, err := readFrame(bufio.NewReader(bytes.NewReader(frame(make([]byte, 11)))), dst); !errors.Is(err, ErrFrame) {
		t.Fatal(err)
	}
	if _, err := readFrame(bufio.NewReader(bytes.NewReader(frame([]byte("cut"))[:4])), dst); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
}

// iotestOneByte delivers a stream byte by byte, as a slow network may.
type iotestOneByte struct{ r io.Reader }

func (o iotestOneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

func FuzzReadFrame(f *testing.F) {
	f.Add(append(frame([]byte("abc")), frame(nil)...))
	f.Add([]byte{0xff, 0xff, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(bytes.NewReader(b))
		dst := make([]byte, maxDatagram)
		var again []byte
		for {
			n, err := readFrame(r, dst)
			if err != nil {
				break
			}
			if n == 0 || n > len(dst) {
				t.Fatal(n)
			}
			again = append(again, frame(dst[:n])...)
		}
		if len(again) > len(b) {
			t.Fatal("more out than in")
		}
	})
}

// pipeListener hands out connections in memory that claim TCP addresses.
type pipeListener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

type pipeConn struct {
	net.Conn
	remote *net.TCPAddr
}

func (c pipeConn) RemoteAddr() net.Addr { return c.remote }

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipeListener) dial(ip string) net.Conn {
	near, far := net.Pipe()
	l.conns <- pipeConn{near, &net.TCPAddr{IP: net.ParseIP(ip), Port: 5000}}
	return far
}

func withStreams(t *testing.T, limits Limits, test func(t *testing.T, s *shard, l *pipeListener, cfg OpenConfig, id SessionID)) {
	synctest.Test(t, func(t *testing.T) {
		s := newShard(t, NewChanBind(netip.MustParseAddrPort("192.0.2.1:3478"), 1024), limits)
		l := newPipeListener()
		if err := s.e.ServeTCP(l); err != nil {
			t.Fatal(err)
		}
		cfg := OpenConfig{
			Local: NewCredentials(NodeID{}), Remote: Credentials{Ufrag: "peer", Pwd: "0123456789012345678901"},
			RemoteFingerprint: s.e.certificate.Fingerprint(),
		}
		var id SessionID
		s.do(func() { id, _ = s.e.Open(time.Now(), cfg) })
		test(t, s, l, cfg, id)
		s.stop()
	})
}

// closedAfter waits until the server closes c.
func closedAfter(c net.Conn) time.Duration {
	start := time.Now()
	_, _ = io.Copy(io.Discard, c)
	return time.Since(start)
}

func TestStream_firstFrame(t *testing.T) {
	withStreams(t, Limits{}, func(t *testing.T, s *shard, l *pipeListener, cfg OpenConfig, _ SessionID) {
		if took := closedAfter(l.dial("198.51.100.1")); took != firstFrameTimeout {
			t.Errorf("silent: closed after %v", took)
		}
		wrong := cfg
		wrong.Local.Pwd = "0123456789012345678901"
		for name, first := range map[string][]byte{
			"HTTP":           []byte("GET / HTTP/1.1\r\n\r\n"),
			"not STUN":       frame([]byte("hello")),
			"oversized":      {0xff, 0xff},
			"wrong password": frame(check(wrong)), // only the shard can tell: closed by the deadline
		} {
			c := l.dial("198.51.100.1")
			go func() { _, _ = c.Write(first) }()
			limit := time.Duration(0)
			if name == "wrong password" || name == "HTTP" { // "GE" is a length of 18 kB
				limit = firstFrameTimeout
			}
			if took := closedAfter(c); took > limit {
				t.Errorf("%s: closed after %v", name, took)
			}
		}
		synctest.Wait()
		if st := s.stats(); st.Streams != 0 || st.StreamsUnchecked != 5 || st.StreamsAccepted != 5 {
			t.Errorf("%+v", st)
		}
	})
}

func TestStream_staysAfterCheck(t *testing.T) {
	withStreams(t, Limits{}, func(t *testing.T, s *shard, l *pipeListener, cfg OpenConfig, id SessionID) {
		c := l.dial("198.51.100.1")
		r := bufio.NewReader(c)
		ask := func() {
			t.Helper()
			if _, err := c.Write(frame(nominating(cfg))); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 1500)
			if n, err := readFrame(r, b); err != nil || b[0] != 1 || n < 40 {
				t.Fatal(n, err)
			}
		}
		ask()
		time.Sleep(3 * firstFrameTimeout)
		ask()
		s.do(func() {
			s.e.Send(id, []byte("framed"), 0)
			s.e.Send(id, []byte("abcd"), 2)
			if n := s.e.Flush(); n != 3 {
				t.Error(n)
			}
		})
		b := make([]byte, 1500)
		for _, want := range []string{"framed", "ab", "cd"} {
			if n, err := readFrame(r, b); err != nil || string(b[:n]) != want {
				t.Fatal(err, string(b[:n]))
			}
		}
		s.do(func() { s.e.Close(time.Now(), id) })
		if took := closedAfter(c); took != 0 {
			t.Fatal(took)
		}
	})
}

// Video leaves room for sound in the queue of a slow connection, and is refused as a whole; UDP takes everything.
func TestAccepts_keepsRoomForSound(t *testing.T) {
	withStreams(t, Limits{StreamQueue: 8_000}, func(t *testing.T, s *shard, l *pipeListener, cfg OpenConfig, id SessionID) {
		s.do(func() {
			if !s.e.Accepts(id, 6, 1<<20) {
				t.Error("refused without a path")
			}
		})
		c := l.dial("198.51.100.1")
		go func() { _, _ = c.Write(frame(nominating(cfg))) }()
		b := make([]byte, 1500)
		if _, err := readFrame(bufio.NewReader(c), b); err != nil {
			t.Fatal(err)
		}
		s.do(func() {
			if !s.e.Accepts(id, 6, 6_900) || s.e.Accepts(id, 6, 7_000) {
				t.Error("an eighth is for sound")
			}
			s.e.Send(id, make([]byte, 7_500), 0)
		})
		if n := s.drops(DropStreamQueue); n != 6 {
			t.Errorf("%d of 6 counted", n)
		}
	})
}

// A peer that reads slowly loses whole packets and holds up nobody; one that stops reading is closed.
func TestStream_boundedQueue(t *testing.T) {
	withStreams(t, Limits{StreamQueue: 10_000}, func(t *testing.T, s *shard, l *pipeListener, cfg OpenConfig, id SessionID) {
		c := l.dial("198.51.100.1")
		go func() { _, _ = c.Write(frame(nominating(cfg))) }()
		r := bufio.NewReader(c)
		b := make([]byte, 1500)
		if _, err := readFrame(r, b); err != nil {
			t.Fatal(err)
		}
		packet := make([]byte, 998)
		s.do(func() {
			for range 100 {
				s.e.Send(id, packet, 0)
				s.e.Flush()
			}
		})
		// The writer may have taken what was queued at one moment or another.
		dropped := s.drops(DropStreamQueue)
		if dropped < 80 || dropped > 90 {
			t.Fatal(dropped)
		}
		for range 100 - dropped {
			if n, err := readFrame(r, b); err != nil || n != len(packet) {
				t.Fatal(n, err)
			}
		}
		s.do(func() { s.e.Send(id, packet, 0); s.e.Flush() })
		time.Sleep(streamWriteTimeout + time.Second)
		synctest.Wait()
		if st := s.stats(); st.Streams != 0 {
			t.Fatalf("%+v", st)
		}
		s.do(func() {
			if s.e.session(id).current() != nil {
				t.Error("a dead connection is still the path")
			}
			s.e.Send(id, packet, 0)
		})
		if s.drops(DropNoPath) != 1 {
			t.Fatal(dropNames(s.stats()))
		}
		// A new connection takes over at once, without nomination.
		c = l.dial("198.51.100.1")
		go func() { _, _ = c.Write(frame(check(cfg))) }()
		if _, err := readFrame(bufio.NewReader(c), b); err != nil {
			t.Fatal(err)
		}
		s.do(func() {
			if s.e.session(id).current() == nil {
				t.Error("no path")
			}
		})
	})
}

func TestStream_caps(t *testing.T) {
	withStreams(t, Limits{Streams: 6, StreamsPerAddress: 3}, func(t *testing.T, s *shard, l *pipeListener, _ OpenConfig, _ SessionID) {
		for _, ip := range []string{"198.51.100.1", "::ffff:198.51.100.1", "198.51.100.2", "198.51.100.3"} {
			for range 4 {
				l.dial(ip)
			}
		}
		synctest.Wait()
		if st := s.stats(); st.Streams != 6 || st.StreamsRefused != 10 {
			t.Fatalf("%+v", st)
		}
		time.Sleep(firstFrameTimeout)
		synctest.Wait()
		if st := s.stats(); st.Streams != 0 {
			t.Fatalf("%+v", st)
		}
		l.dial("198.51.100.1")
		synctest.Wait()
		if st := s.stats(); st.Streams != 1 {
			t.Fatalf("%+v", st)
		}
	})
}

// Connections that come, go and break off leave nothing behind.
func TestStream_leaksNothing(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	n := loopback(t)
	s := newShard(t, n.server, Limits{})
	l := n.listener
	if err := s.e.ServeTCP(l); err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(frame(bytes.Repeat([]byte{byte(i)}, i*10))[:i])
		if i%2 == 0 {
			_ = c.Close()
		} else {
			t.Cleanup(func() { _ = c.Close() })
		}
	}
	s.stop()
	if err := s.e.ServeTCP(newPipeListener()); !errors.Is(err, ErrShutdown) {
		t.Fatal(err)
	}
}
