package transport

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func udpBindOf(t testing.TB, offload Offload) *udpBind {
	t.Helper()
	b, err := NewUDPBind(listenLoopback(t, "udp4", "127.0.0.1"), offload)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b.(*udpBind)
}

// numbered returns n datagrams of size bytes in one piece; the first bytes of each are its number.
func numbered(first, n, size int) []byte {
	data := make([]byte, n*size)
	for i := range n {
		binary.BigEndian.PutUint32(data[i*size:], uint32(first+i))
	}
	return data
}

// collect reads n numbered datagrams and checks their order.
func collect(t *testing.T, b Bind, n, size int) (calls int) {
	t.Helper()
	dst := make([]Datagram, 7) // so that coalesced messages are split over reads
	for got := 0; got < n; calls++ {
		k, err := b.ReadBatch(dst, soon())
		if err != nil || k == 0 {
			t.Fatalf("after %d of %d: n=%d err=%v", got, n, k, err)
		}
		for _, d := range dst[:k] {
			if len(d.Data) != size || binary.BigEndian.Uint32(d.Data) != uint32(got) {
				t.Fatalf("datagram %d: %d bytes, number %d", got, len(d.Data), binary.BigEndian.Uint32(d.Data))
			}
			clear(d.Data[:cap(d.Data)]) // the caller's to overwrite, and nobody else's
			got++
		}
	}
	return calls
}

func TestUDPBind_sendsRunsAsOneMessage(t *testing.T) {
	for o, messages := range map[Offload]uint64{OffloadAuto: 2, OffloadSendmmsg: 100, OffloadOff: 100} {
		t.Run(o.String(), func(t *testing.T) {
			near, far := udpBindOf(t, o), udpBindOf(t, o)
			// More than one message may hold: 64 segments, and 65,507 bytes.
			n, err := near.WriteBatch([]Run{{Data: numbered(0, 100, 1000), Segment: 1000, To: far.LocalAddr()}})
			if n != 100 || err != nil {
				t.Fatalf("n=%d err=%v", n, err)
			}
			collect(t, far, 100, 1000)
			s := near.SocketStats()
			if o == OffloadAuto && s.Path != PathSegment {
				t.Skipf("the kernel offers %v", s.Path)
			}
			if s.Messages != messages || s.Refused != 0 {
				t.Fatalf("%+v", s)
			}
		})
	}
}

// TestUDPBind_fansOut writes more messages than one call takes, to several destinations.
func TestUDPBind_fansOut(t *testing.T) {
	const rounds = 150
	for o := OffloadAuto; o <= OffloadOff; o++ {
		t.Run(o.String(), func(t *testing.T) {
			near := udpBindOf(t, o)
			far := []*udpBind{udpBindOf(t, o), udpBindOf(t, o), udpBindOf(t, o)}
			var runs []Run
			for i := range rounds {
				for _, b := range far {
					runs = append(runs, Run{Data: numbered(2*i, 2, 300), Segment: 300, To: b.LocalAddr()})
				}
			}
			before := append([]Run(nil), runs...)
			if n, err := near.WriteBatch(runs); n != 2*rounds*len(far) || err != nil {
				t.Fatalf("n=%d err=%v", n, err)
			}
			for i := range runs {
				if !bytes.Equal(runs[i].Data, before[i].Data) || runs[i].To != before[i].To {
					t.Fatal("the caller's runs were changed")
				}
			}
			for _, b := range far {
				collect(t, b, 2*rounds, 300)
			}
		})
	}
}

// Several writers of one socket, and who has none, write at the same time; what each writes arrives in its order.
func TestUDPBind_writersShareASocket(t *testing.T) {
	const rounds, packets = 40, 3
	for o := OffloadAuto; o <= OffloadOff; o++ {
		t.Run(o.String(), func(t *testing.T) {
			near := udpBindOf(t, o)
			writers := []Writer{near, near.NewWriter(), near.NewWriter()}
			var far []*udpBind
			var all sync.WaitGroup
			for _, w := range writers {
				to := udpBindOf(t, o)
				far = append(far, to)
				all.Go(func() {
					for i := range rounds {
						n, err := w.WriteBatch([]Run{{Data: numbered(i*packets, packets, 500), Segment: 500, To: to.LocalAddr()}})
						if n != packets || err != nil {
							t.Errorf("n=%d err=%v", n, err)
						}
					}
				})
			}
			all.Wait()
			for _, b := range far {
				collect(t, b, rounds*packets, 500)
			}
			if s := near.SocketStats(); s.Messages < rounds*uint64(len(writers)) {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A socket without checksums makes the kernel refuse segmentation, as a device without checksum offload does.
func TestUDPBind_fallsBackWhereTheKernelDoesNotSegment(t *testing.T) {
	near, far := udpBindOf(t, OffloadAuto), udpBindOf(t, OffloadAuto)
	if near.SocketStats().Path != PathSegment {
		t.Skip("the kernel does not segment")
	}
	set := func(v int) {
		if err := near.raw.Control(func(fd uintptr) {
			if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, v); err != nil {
				t.Fatal(err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	write := func(first, runs int) {
		t.Helper()
		var batch []Run
		for i := range runs {
			batch = append(batch, Run{Data: numbered(first+3*i, 3, 700), Segment: 700, To: far.LocalAddr()})
		}
		if n, err := near.WriteBatch(batch); n != 3*runs || err != nil {
			t.Fatalf("n=%d err=%v", n, err)
		}
	}
	set(1)
	write(0, refusalsToSwitch-1)
	set(0)
	write(3*(refusalsToSwitch-1), 1) // one that gets through: it was not the machine
	if s := near.SocketStats(); s.Path != PathSegment || s.Refused != refusalsToSwitch-1 {
		t.Fatalf("%+v", s)
	}
	set(1)
	write(3*refusalsToSwitch, refusalsToSwitch)
	if s := near.SocketStats(); s.Path != PathSendmmsg {
		t.Fatalf("%+v", s)
	}
	write(6*refusalsToSwitch, 1)
	if s := near.SocketStats(); s.Refused != 2*refusalsToSwitch-1 {
		t.Fatalf("%+v", s)
	}
	collect(t, far, 6*refusalsToSwitch+3, 700)
}

func TestSender_takesAnErrorForWhatItIs(t *testing.T) {
	for _, tt := range []struct {
		errno   syscall.Errno
		refused bool
		path    SendPath
	}{
		{syscall.EIO, true, PathSendmmsg},
		{syscall.EOPNOTSUPP, true, PathSendmmsg},
		{syscall.EINVAL, true, PathSegment},
		{syscall.EMSGSIZE, true, PathSegment}, // of one destination's path
		{syscall.EHOSTUNREACH, false, PathSegment},
		{syscall.EPERM, false, PathSegment}, // a packet filter
		{syscall.ENOBUFS, false, PathSegment},
	} {
		s := sender{outlet: new(outlet)}
		if got := s.refuse(tt.errno); got != tt.refused || s.stats().Path != tt.path {
			t.Errorf("%v: refused %v, path %v", tt.errno, got, s.stats().Path)
		}
	}
}

func TestUDPBind_stampsWithTheKernelsTime(t *testing.T) {
	near, far := udpBindOf(t, OffloadAuto), udpBindOf(t, OffloadAuto)
	dst := make([]Datagram, 4)
	// The time stamps of a socket begin a moment after they were asked for.
	for range 100 {
		before := time.Now()
		_, _ = near.WriteBatch([]Run{{Data: []byte("x"), To: far.LocalAddr()}})
		written := time.Now()
		for time.Since(written) < 2*time.Millisecond { // it waits in the socket
		}
		if n, err := far.ReadBatch(dst, soon()); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		at := dst[0].At
		if at.After(time.Now()) {
			t.Fatal("in the future")
		}
		if !at.After(written.Add(time.Millisecond)) && !at.Before(before.Add(-time.Millisecond)) {
			return
		}
	}
	t.Fatal("the wait in the socket never showed")
}

func TestStamped(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		name string
		wall time.Duration // of the stamp, from now
		want time.Duration
	}{
		{"waited", -3 * time.Millisecond, -3 * time.Millisecond},
		{"just now", 0, 0},
		{"clock set back", time.Hour, 0},
		{"clock set forward", -time.Hour, 0},
	} {
		if got := stamped(now, now.Add(tt.wall).UnixNano()).Sub(now); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestUDPBind_allocatesNothingOnAnyPath(t *testing.T) {
	for o := OffloadAuto; o <= OffloadOff; o++ {
		t.Run(o.String(), func(t *testing.T) {
			b := udpBindOf(t, o)
			runs := []Run{
				{Data: make([]byte, 3600), Segment: 1200, To: b.LocalAddr()}, // to itself
				{Data: make([]byte, 100), To: b.LocalAddr()},
			}
			dst := make([]Datagram, 64)
			if n := testing.AllocsPerRun(200, func() {
				if n, err := b.WriteBatch(runs); n != 4 || err != nil {
					t.Fatal(n, err)
				}
				for got := 0; got < 4; {
					n, err := b.ReadBatch(dst, time.Time{})
					if err != nil {
						t.Fatal(err)
					}
					got += n
				}
			}); n != 0 {
				t.Fatalf("%v allocations", n)
			}
		})
	}
}

func TestUDPBind_dropsCoalescedGiants(t *testing.T) {
	near, far := listenLoopback(t, "udp4", "127.0.0.1"), udpBindOf(t, OffloadAuto)
	to := far.LocalAddr()
	for _, data := range [][]byte{make([]byte, 60_000), make([]byte, maxDatagram), numbered(0, 1, maxDatagram-1)} {
		if _, err := near.WriteToUDPAddrPort(data, to); err != nil {
			t.Fatal(err)
		}
	}
	collect(t, far, 1, maxDatagram-1)
}

func BenchmarkUDPBind_write(b *testing.B) {
	for o := OffloadAuto; o <= OffloadOff; o++ {
		b.Run(o.String(), func(b *testing.B) {
			bind := udpBindOf(b, o)
			sink := listenLoopback(b, "udp4", "127.0.0.1") // its buffer is full soon
			_ = sink.SetReadBuffer(1)
			var runs []Run
			for range 20 {
				runs = append(runs, Run{Data: make([]byte, 6*1100), Segment: 1100, To: sink.LocalAddr().(*net.UDPAddr).AddrPort()})
			}
			b.ReportAllocs()
			for i := 0; i < b.N; i += 120 {
				if n, err := bind.WriteBatch(runs); n != 120 || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}
