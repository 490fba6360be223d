package transport

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
)

// wire is the far side of a bind under test.
type wire interface {
	send(t *testing.T, data []byte)
	receive(t *testing.T) []byte
	addr() netip.AddrPort // of the far side
}

type socketWire struct {
	conn *net.UDPConn
	to   netip.AddrPort
}

func (w *socketWire) send(t *testing.T, data []byte) {
	t.Helper()
	if _, err := w.conn.WriteToUDPAddrPort(data, w.to); err != nil {
		t.Fatal(err)
	}
}

func (w *socketWire) receive(t *testing.T) []byte {
	t.Helper()
	b := make([]byte, 65536)
	_ = w.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, _, err := w.conn.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func (w *socketWire) addr() netip.AddrPort {
	return w.conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

type chanWire struct{ bind *ChanBind }

func (w chanWire) send(t *testing.T, data []byte) {
	if len(data) < maxDatagram && !w.bind.Inject(data, w.addr()) {
		t.Fatal("queue full")
	}
}
func (w chanWire) receive(*testing.T) []byte { return (<-w.bind.Sent()).Data }
func (chanWire) addr() netip.AddrPort        { return netip.MustParseAddrPort("192.0.2.9:999") }

func listenLoopback(t testing.TB, network, host string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP(network, &net.UDPAddr{IP: net.ParseIP(host)})
	if err != nil {
		t.Skipf("no %s here: %v", network, err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// eachBind runs one test over all implementations.
func eachBind(t *testing.T, test func(t *testing.T, b Bind, w wire)) {
	socket := func(network, listen, far string, make func(*net.UDPConn) (Bind, error)) func(*testing.T) {
		return func(t *testing.T) {
			near := listenLoopback(t, network, listen)
			b, err := make(near)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = b.Close() })
			farConn := listenLoopback(t, "udp", far)
			to := netip.AddrPortFrom(netip.MustParseAddr(far), b.LocalAddr().Port())
			test(t, b, &socketWire{conn: farConn, to: to})
		}
	}
	packetBind := func(c *net.UDPConn) (Bind, error) { return NewPacketBind(c), nil }
	for o := OffloadAuto; o <= OffloadOff; o++ {
		udp := func(c *net.UDPConn) (Bind, error) { return NewUDPBind(c, o) }
		t.Run("udp4 "+o.String(), socket("udp4", "127.0.0.1", "127.0.0.1", udp))
		t.Run("udp6 "+o.String(), socket("udp6", "::1", "::1", udp))
		t.Run("dual stack "+o.String(), socket("udp", "::", "127.0.0.1", udp))
	}
	t.Run("packet", socket("udp4", "127.0.0.1", "127.0.0.1", packetBind))
	t.Run("chan", func(t *testing.T) {
		b := NewChanBind(netip.MustParseAddrPort("192.0.2.1:443"), 256)
		test(t, b, chanWire{b})
	})
}

func soon() time.Time { return time.Now().Add(5 * time.Second) }

func TestBind_deliversDatagramsWithTheirOrigin(t *testing.T) {
	eachBind(t, func(t *testing.T, b Bind, w wire) {
		for i := range 100 {
			w.send(t, bytes.Repeat([]byte{byte(i)}, 1+i*12))
		}
		w.send(t, make([]byte, 9000)) // longer than any packet: dropped
		w.send(t, []byte("last"))
		got := 0
		for dst := make([]Datagram, 7); got < 101; {
			n, err := b.ReadBatch(dst, soon())
			if err != nil || n == 0 {
				t.Fatalf("after %d datagrams: n=%d err=%v", got, n, err)
			}
			for _, d := range dst[:n] {
				want := []byte("last")
				if got < 100 {
					want = bytes.Repeat([]byte{byte(got)}, 1+got*12)
				}
				if !bytes.Equal(d.Data, want) {
					t.Fatalf("datagram %d: %d bytes", got, len(d.Data))
				}
				if d.From != w.addr() || d.Stream != nil || time.Since(d.At) > time.Minute {
					t.Fatalf("datagram %d: %+v", got, d)
				}
				got++
			}
		}
	})
}

func TestBind_cutsRuns(t *testing.T) {
	eachBind(t, func(t *testing.T, b Bind, w wire) {
		data := []byte("aaaabbbbcc")
		n, err := b.WriteBatch([]Run{
			{Data: data, Segment: 4, To: w.addr()},
			{Data: []byte("whole"), To: w.addr()},
			{Data: []byte("one"), Segment: 3, To: w.addr()},
		})
		if n != 5 || err != nil {
			t.Fatalf("n=%d err=%v", n, err)
		}
		for _, want := range []string{"aaaa", "bbbb", "cc", "whole", "one"} {
			if got := string(w.receive(t)); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
	})
}

func TestBind_deadlines(t *testing.T) {
	eachBind(t, func(t *testing.T, b Bind, w wire) {
		dst := make([]Datagram, 4)
		for _, deadline := range []time.Time{longAgo(), time.Now().Add(5 * time.Millisecond)} {
			if n, err := b.ReadBatch(dst, deadline); n != 0 || err != nil {
				t.Fatalf("n=%d err=%v", n, err)
			}
		}
		// A deadline that has passed still takes what is there.
		w.send(t, []byte("x"))
		for tries := 0; ; tries++ {
			n, err := b.ReadBatch(dst, longAgo())
			if n == 1 && err == nil {
				break
			}
			if err != nil || tries > 1_000_000 {
				t.Fatalf("n=%d err=%v", n, err)
			}
		}
	})
}

// A Wake is never lost, whenever it comes.
func TestBind_wakes(t *testing.T) {
	eachBind(t, func(t *testing.T, b Bind, _ wire) {
		dst := make([]Datagram, 4)
		b.Wake()
		if n, err := b.ReadBatch(dst, soon()); n != 0 || err != nil {
			t.Fatalf("woken before: n=%d err=%v", n, err)
		}
		var next = make(chan struct{})
		go func() {
			for range next {
				b.Wake()
			}
		}()
		defer close(next)
		for range 2000 {
			next <- struct{}{}
			if n, err := b.ReadBatch(dst, time.Time{}); n != 0 || err != nil {
				t.Fatalf("n=%d err=%v", n, err)
			}
		}
	})
}

func TestBind_closes(t *testing.T) {
	eachBind(t, func(t *testing.T, b Bind, w wire) {
		done := make(chan error)
		go func() {
			for {
				if _, err := b.ReadBatch(make([]Datagram, 1), time.Time{}); err != nil {
					done <- err
					return
				}
			}
		}()
		_ = b.Close()
		if err := <-done; !errors.Is(err, ErrBindClosed) {
			t.Fatal(err)
		}
		if _, err := b.WriteBatch([]Run{{Data: []byte("x"), To: w.addr()}}); !errors.Is(err, ErrBindClosed) {
			t.Fatal(err)
		}
		b.Wake() // harmless
	})
}

// An address nobody can reach, or nobody listens at, hinders nobody.
func TestUDPBind_survivesUnreachableDestinations(t *testing.T) {
	b, err := NewUDPBind(listenLoopback(t, "udp4", "127.0.0.1"), OffloadAuto)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	dead := listenLoopback(t, "udp4", "127.0.0.1")
	nobody := dead.LocalAddr().(*net.UDPAddr).AddrPort()
	_ = dead.Close()
	far := &socketWire{conn: listenLoopback(t, "udp4", "127.0.0.1"), to: b.LocalAddr()}
	n, err := b.WriteBatch([]Run{
		{Data: []byte("a"), To: nobody},
		{Data: []byte("b"), To: netip.MustParseAddrPort("[2001:db8::1]:9")},
		{Data: []byte("c"), To: far.addr()},
	})
	if n != 2 || err != nil {
		t.Fatalf("n=%d err=%v", n, err)
	}
	if got := string(far.receive(t)); got != "c" {
		t.Fatal(got)
	}
	far.send(t, []byte("still alive"))
	for dst := make([]Datagram, 1); ; {
		n, err := b.ReadBatch(dst, soon())
		if err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			break
		}
	}
}

func TestUDPBind_allocatesNothing(t *testing.T) {
	b, err := NewUDPBind(listenLoopback(t, "udp4", "127.0.0.1"), OffloadAuto)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	to := b.LocalAddr() // to itself
	runs := []Run{{Data: make([]byte, 3600), Segment: 1200, To: to}}
	dst := make([]Datagram, 64)
	if n := testing.AllocsPerRun(200, func() {
		runs[0].Data = runs[0].Data[:3600]
		if n, err := b.WriteBatch(runs); n != 3 || err != nil {
			t.Fatal(n, err)
		}
		for got := 0; got < 3; {
			n, err := b.ReadBatch(dst, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			got += n
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkUDPBind_read(b *testing.B) {
	for o := OffloadAuto; o <= OffloadOff; o++ {
		for _, burst := range []int{1, 6, 24} {
			b.Run(fmt.Sprintf("%v/burst=%d", o, burst), func(b *testing.B) { benchmarkRead(b, o, burst) })
		}
	}
}

func benchmarkRead(b *testing.B, o Offload, burst int) {
	bind, err := NewUDPBind(listenLoopback(b, "udp4", "127.0.0.1"), o)
	if err != nil {
		b.Fatal(err)
	}
	defer bind.Close()
	runs := []Run{{Data: make([]byte, burst*1100), Segment: 1100, To: bind.LocalAddr()}}
	dst := make([]Datagram, 64)
	var reading time.Duration
	b.ReportAllocs()
	for i := 0; i < b.N; i += burst {
		_, _ = bind.WriteBatch(runs)
		start := time.Now()
		for got := 0; got < burst; {
			n, err := bind.ReadBatch(dst, time.Time{})
			if err != nil {
				b.Fatal(err)
			}
			got += n
		}
		reading += time.Since(start)
	}
	b.ReportMetric(float64(reading.Nanoseconds())/float64(b.N), "ns/read")
}

// The wrapper to compare with: one system call per datagram through package net.
func BenchmarkUDPConn_readFromUDPAddrPort(b *testing.B) {
	conn := listenLoopback(b, "udp4", "127.0.0.1")
	to := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	data, buf := make([]byte, 1100), make([]byte, 2048)
	var reading time.Duration
	for range b.N {
		_, _ = conn.WriteToUDPAddrPort(data, to)
		start := time.Now()
		if _, _, err := conn.ReadFromUDPAddrPort(buf); err != nil {
			b.Fatal(err)
		}
		reading += time.Since(start)
	}
	b.ReportMetric(float64(reading.Nanoseconds())/float64(b.N), "ns/read")
}
