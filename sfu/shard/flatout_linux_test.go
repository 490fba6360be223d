package shard

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"golang.org/x/sys/unix"

	"sotto/sfu/transport"
)

// cpuTime is what this process has used. Unlike the clock it holds on a machine that has other work.
func cpuTime(b *testing.B) time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
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
	r := newRig(b)
	publisher, subscribers := audience(r, n)
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
	empty, err := (&rtcp.ReceiverReport{SSRC: 1}).Marshal()
	if err != nil {
		b.Fatal(err)
	}
	defer func() { r.wire.onward = nil }() // the end of the sessions is not for the socket
	const frames = 300                     // 10 s, below the timeout of consent
	frame, seq := 0, uint16(0)
	var list [][]byte
	next := func() time.Duration {
		if len(list) == 0 {
			for _, f := range subscribers {
				sealed, err := f.out.EncryptRTCP(nil, empty, nil)
				if err != nil {
					b.Fatal(err)
				}
				r.feed(transport.Datagram{Data: sealed, From: f.addr, At: r.now})
			}
			for range frames {
				for i := range flatPackets {
					seq++
					p := &rtp.Packet{
						Header: rtp.Header{Version: 2, SSRC: cameraSSRC, PayloadType: vp8PT, SequenceNumber: seq,
							Timestamp: uint32(frame) * 3000, Marker: i == flatPackets-1},
						Payload: vp8Payload(flatPayload - i%2)(frame),
					}
					if i > 0 {
						p.Payload[0] &^= 0x10
					}
					list = append(list, publisher.seal(b, p))
				}
				frame++
			}
		}
		for i := range flatPackets {
			r.datagrams[i] = transport.Datagram{Data: list[i], From: publisher.addr, At: r.now}
		}
		list = list[flatPackets:]
		before := cpuTime(b)
		r.round(r.now, flatPackets)
		spent := cpuTime(b) - before
		r.now = r.now.Add(33 * time.Millisecond)
		return spent
	}
	for range frames {
		next()
	}
	before, spent := r.wire.sent.Load(), time.Duration(0)
	b.ReportAllocs()
	for b.Loop() {
		spent += next()
	}
	sent := r.wire.sent.Load() - before
	if sent < int64(b.N*n*flatPackets*9/10) {
		b.Fatalf("%d packets of %d went out", sent, b.N*n*flatPackets)
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(sent), "cpu-ns/packet")
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
	before := cpuTime(b)
	for b.Loop() {
		frame()
	}
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(sent), "cpu-ns/packet")
}
