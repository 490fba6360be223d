package shard

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"golang.org/x/sys/unix"

	"sotto/sfu/transport"
)

// processTime is what this process has used. Unlike the clock it holds on a machine that has other work.
func processTime() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// stopped opens n sockets that nobody reads: what the kernel does with a datagram ends at a full buffer.
func stopped(b *testing.B, n int) (list []netip.AddrPort) {
	for range n {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			b.Fatal(err)
		}
		_ = conn.SetReadBuffer(1)
		b.Cleanup(func() { _ = conn.Close() })
		list = append(list, conn.LocalAddr().(*net.UDPAddr).AddrPort())
	}
	return list
}

func socket(b *testing.B, offload transport.Offload) transport.Bind {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	bind, err := transport.NewUDPBind(conn, offload)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = bind.Close() })
	return bind
}

const (
	flatPackets = 6 // of a frame, and so of a flush
	flatPayload = 1060
)

// BenchmarkFlatOut is a video frame of six packets from its arrival to the kernel, for n subscribers, in CPU time per sent
// packet; and the floor below it: the same packets sealed and written without a server. Compare what one run prints.
func BenchmarkFlatOut(b *testing.B) {
	for _, n := range []int{10, 100} {
		for o := transport.OffloadAuto; o <= transport.OffloadOff; o++ {
			b.Run(fmt.Sprintf("subscribers=%d/socket=%v", n, o), func(b *testing.B) { flatOut(b, n, socket(b, o)) })
		}
		b.Run(fmt.Sprintf("subscribers=%d/floor", n), func(b *testing.B) { flatOutFloor(b, n, socket(b, transport.OffloadAuto)) })
	}
}

func flatOut(b *testing.B, n int, bind transport.Bind) {
	f := newFlat(b, n, bind)
	for range flatFrames {
		f.next()
	}
	sent, spent := f.wire.sent.Load(), f.cpu
	b.ReportAllocs()
	for b.Loop() {
		f.next()
	}
	sent = f.wire.sent.Load() - sent
	if sent < int64(b.N*n*flatPackets*9/10) {
		b.Fatalf("%d packets of %d went out", sent, b.N*n*flatPackets)
	}
	b.ReportMetric(float64((f.cpu-spent).Nanoseconds())/float64(sent), "cpu-ns/packet")
}

// BenchmarkShards is how the packets per second of a node grow with its shards: each with a socket, a core and a room of 30
// subscribers of its own. cpu-ns/packet shows what they take from each other where the machine has other work.
func BenchmarkShards(b *testing.B) {
	for _, shards := range []int{1, 2} {
		b.Run(fmt.Sprintf("shards=%d", shards), func(b *testing.B) {
			if runtime.NumCPU() < shards {
				b.Skip("too few cores")
			}
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(shards))
			const subscribers = 30
			list := make([]*flat, shards)
			for i := range list {
				list[i] = newFlat(b, subscribers, socket(b, transport.OffloadAuto))
				for range flatFrames {
					list[i].next()
				}
			}
			var all sync.WaitGroup
			rates := make([]float64, shards)
			b.ResetTimer()
			before := processTime()
			for i, f := range list {
				all.Go(func() {
					sent, wall := f.wire.sent.Load(), f.wall
					for range b.N {
						f.next()
					}
					rates[i] = float64(f.wire.sent.Load()-sent) / (f.wall - wall).Seconds()
				})
			}
			all.Wait()
			spent, sum := processTime()-before, 0.0
			for _, r := range rates {
				sum += r
			}
			b.ReportMetric(sum/1e3, "kpackets/s")
			b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N*shards*subscribers*flatPackets), "cpu-ns/packet")
		})
	}
}

// flatFrames is how many frames are made at a time: 10 s, below the timeout of consent.
const flatFrames = 300

// flat is a shard with a room of n that gets frames as fast as it takes them.
type flat struct {
	*rig
	publisher   *far
	subscribers []*far
	frame       int
	seq         uint16
	list        [][]byte
	cpu, wall   time.Duration // in the shard
}

func newFlat(b *testing.B, n int, bind transport.Bind) *flat {
	r := newRig(b)
	f := &flat{rig: r}
	f.publisher, f.subscribers = audience(r, n)
	far := stopped(b, n)
	var runs []transport.Run
	r.wire.onward = func(list []transport.Run) (int, error) {
		runs = runs[:0]
		for _, run := range list {
			run.To = far[int(run.To.Addr().As4()[3])%n]
			runs = append(runs, run)
		}
		return bind.WriteBatch(runs)
	}
	b.Cleanup(func() { r.wire.onward = nil }) // the end of the sessions is not for the socket
	return f
}

// next feeds a frame.
func (f *flat) next() {
	if len(f.list) == 0 {
		f.prepare()
	}
	for i := range flatPackets {
		f.datagrams[i] = transport.Datagram{Data: f.list[i], From: f.publisher.addr, At: f.now}
	}
	f.list = f.list[flatPackets:]
	cpu, wall := processTime(), time.Now()
	f.round(f.now, flatPackets)
	f.cpu, f.wall = f.cpu+processTime()-cpu, f.wall+time.Since(wall)
	f.now = f.now.Add(33 * time.Millisecond)
}

// prepare makes the next frames, and shows that the subscribers are alive.
func (f *flat) prepare() {
	empty, err := (&rtcp.ReceiverReport{SSRC: 1}).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range f.subscribers {
		sealed, err := s.out.EncryptRTCP(nil, empty, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.feed(transport.Datagram{Data: sealed, From: s.addr, At: f.now})
	}
	for range flatFrames {
		for i := range flatPackets {
			f.seq++
			p := &rtp.Packet{
				Header: rtp.Header{Version: 2, SSRC: cameraSSRC, PayloadType: vp8PT, SequenceNumber: f.seq,
					Timestamp: uint32(f.frame) * 3000, Marker: i == flatPackets-1},
				Payload: vp8Payload(flatPayload - i%2)(f.frame),
			}
			if i > 0 {
				p.Payload[0] &^= 0x10
			}
			f.list = append(f.list, f.publisher.seal(f, p))
		}
		f.frame++
	}
}

func flatOutFloor(b *testing.B, n int, bind transport.Bind) {
	far := stopped(b, n)
	seal, err := srtp.CreateContext(make([]byte, 16), make([]byte, 12), srtp.ProtectionProfileAeadAes128Gcm)
	if err != nil {
		b.Fatal(err)
	}
	const size = 12 + flatPayload + transport.SealOverhead
	runs := make([]transport.Run, n)
	for i := range runs {
		runs[i] = transport.Run{Data: make([]byte, flatPackets*size), Segment: size, To: far[i]}
	}
	var header rtp.Header
	seq, sent := uint16(0), 0
	frame := func() {
		for i := range runs {
			for k := range flatPackets {
				p := runs[i].Data[k*size : (k+1)*size-transport.SealOverhead : (k+1)*size]
				p[0], p[1] = 0x80, vp8PT
				binary.BigEndian.PutUint16(p[2:], seq+uint16(k))
				binary.BigEndian.PutUint32(p[8:], uint32(i))
				if _, err := seal.EncryptRTP(p, p, &header); err != nil {
					b.Fatal(err)
				}
			}
		}
		seq += flatPackets
		k, err := bind.WriteBatch(runs)
		if err != nil {
			b.Fatal(err)
		}
		sent += k
	}
	frame()
	sent = 0
	b.ReportAllocs()
	before := processTime()
	for b.Loop() {
		frame()
	}
	b.ReportMetric(float64((processTime()-before).Nanoseconds())/float64(sent), "cpu-ns/packet")
}
