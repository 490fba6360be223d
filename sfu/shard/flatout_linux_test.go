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
// packet, in turns with two others: the floor, which seals and writes the same packets without a server, and the naive
// forwarder. of-floor and of-naive are what it is measured for.
func BenchmarkFlatOut(b *testing.B) {
	for _, n := range []int{10, 100} {
		b.Run(fmt.Sprintf("subscribers=%d", n), func(b *testing.B) { flatOut(b, n) })
	}
}

func flatOut(b *testing.B, n int) {
	const block = 30 // frames of a turn, a second of video
	f := newFlat(b, n, socket(b, transport.OffloadAuto), 0)
	ways := []struct {
		frame func()
		sent  func() int64
		cpu   time.Duration
		from  int64
	}{
		{frame: f.next, sent: f.wire.sent.Load},
		{},
		{},
	}
	ways[1].frame, ways[1].sent = newFloor(b, n, socket(b, transport.OffloadAuto))
	ways[2].frame, ways[2].sent = newNaive(b, n)
	for range flatFrames {
		f.next()
	}
	frames := 0
	turn := func() {
		for i := range ways {
			w := &ways[i]
			runtime.GC() // each pays for its own garbage
			f.cpu = 0
			before := processTime()
			for range block {
				w.frame()
			}
			if i == 0 {
				w.cpu += f.cpu // without the publisher
			} else {
				w.cpu += processTime() - before
			}
		}
		frames += block
	}
	turn()
	frames = 0
	for i := range ways {
		ways[i].cpu, ways[i].from = 0, ways[i].sent()
	}
	for b.Loop() {
		turn()
	}
	var cost [3]float64
	for i, w := range ways {
		sent := w.sent() - w.from
		if sent < int64(frames*n*flatPackets*9/10) {
			b.Fatalf("way %d: %d packets of %d went out", i, sent, frames*n*flatPackets)
		}
		cost[i] = float64(w.cpu.Nanoseconds()) / float64(sent)
	}
	b.ReportMetric(cost[0], "cpu-ns/packet")
	b.ReportMetric(cost[1], "cpu-ns/packet-floor")
	b.ReportMetric(cost[2], "cpu-ns/packet-naive")
	b.ReportMetric(cost[0]/cost[1], "of-floor")
	b.ReportMetric(cost[0]/cost[2], "of-naive")
}

// BenchmarkOffload is the cost of a packet, as in BenchmarkFlatOut, on each way into the kernel.
func BenchmarkOffload(b *testing.B) {
	const n = 100
	for o := transport.OffloadAuto; o <= transport.OffloadOff; o++ {
		b.Run(fmt.Sprintf("socket=%v", o), func(b *testing.B) {
			f := newFlat(b, n, socket(b, o), 0)
			for range flatFrames {
				f.next()
			}
			sent, spent := f.wire.sent.Load(), f.cpu
			for b.Loop() {
				f.next()
			}
			sent = f.wire.sent.Load() - sent
			b.ReportMetric(float64((f.cpu-spent).Nanoseconds())/float64(sent), "cpu-ns/packet")
		})
	}
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
				list[i] = newFlat(b, subscribers, socket(b, transport.OffloadAuto), 0)
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

// BenchmarkSenders is what a sender adds to one shard with one room: frames with and without it, in turns.
func BenchmarkSenders(b *testing.B) {
	for _, n := range []int{1, 10, 100, 250} {
		b.Run(fmt.Sprintf("subscribers=%d", n), func(b *testing.B) {
			f := newFlat(b, n, socket(b, transport.OffloadAuto), 1)
			var cpu, wall [2]time.Duration
			turn := func() {
				for i, worth := range [...]int{1 << 30, worthASender} {
					f.worthASender, f.cpu, f.wall = worth, 0, 0
					for range 10 {
						f.next()
					}
					cpu[i], wall[i] = cpu[i]+f.cpu, wall[i]+f.wall
				}
			}
			for range flatFrames / 20 {
				turn()
			}
			cpu, wall = [2]time.Duration{}, [2]time.Duration{}
			helped, frames := f.helped(), 0
			for b.Loop() {
				turn()
				frames += 10
			}
			packets := float64(frames * n * flatPackets)
			b.ReportMetric(packets/wall[0].Seconds()/1e3, "kpackets/s-alone")
			b.ReportMetric(packets/wall[1].Seconds()/1e3, "kpackets/s-helped")
			b.ReportMetric(wall[0].Seconds()/wall[1].Seconds(), "times")
			b.ReportMetric(float64(cpu[0].Nanoseconds())/packets, "cpu-ns/packet-alone")
			b.ReportMetric(float64(cpu[1].Nanoseconds())/packets, "cpu-ns/packet-helped")
			b.ReportMetric(float64(f.helped()-helped)/packets, "share-helped")
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

func newFlat(b *testing.B, n int, bind transport.Bind, senders int) *flat {
	r := newRigWith(b, senders)
	r.worthASender = worthASender
	f := &flat{rig: r}
	f.publisher, f.subscribers = audience(r, n)
	far := stopped(b, n)
	r.wire.socket = func() transport.Writer {
		return &divert{Writer: bind.(interface{ NewWriter() transport.Writer }).NewWriter(), far: far}
	}
	return f
}

// divert writes to sockets that take the places of the rig's subscribers.
type divert struct {
	transport.Writer
	far  []netip.AddrPort
	runs []transport.Run
}

func (d *divert) WriteBatch(list []transport.Run) (int, error) {
	d.runs = d.runs[:0]
	for _, run := range list {
		to := run.To.Addr().As4()
		run.To = d.far[int(binary.BigEndian.Uint16(to[2:]))%len(d.far)]
		d.runs = append(d.runs, run)
	}
	return d.Writer.WriteBatch(d.runs)
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

// newFloor seals and writes a frame for n receivers and does nothing else.
func newFloor(b *testing.B, n int, bind transport.Bind) (frame func(), count func() int64) {
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
	seq, sent := uint16(0), int64(0)
	return func() {
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
		sent += int64(k)
	}, func() int64 { return sent }
}
