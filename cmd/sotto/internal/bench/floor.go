package bench

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/srtp/v3"
	"golang.org/x/sys/unix"

	"sotto/sfu/transport"
)

// floorPacket is the length of a packet before sealing, as the forwarder's are in the same run.
const floorPacket = 1072

// floorSource makes what a forwarder cannot avoid, and nothing else: at each frame it seals the packets for each destination
// into a slab and writes all of them as one message per destination.
type floorSource struct {
	bind    transport.Bind
	seal    *srtp.Context
	slabs   [][]byte
	runs    []transport.Run
	packets int // of a frame
	seq     uint16
	sent    atomic.Uint64
}

func newFloorSource(destinations []netip.AddrPort, packets int) (*floorSource, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	f := &floorSource{packets: packets}
	if f.bind, err = transport.NewUDPBind(conn, transport.OffloadAuto); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	key, salt := make([]byte, 16), make([]byte, 12)
	_, _ = rand.Read(key)
	if f.seal, err = srtp.CreateContext(key, salt, srtp.ProtectionProfileAeadAes128Gcm); err != nil {
		return nil, errors.Join(err, f.bind.Close())
	}
	size := floorPacket + transport.SealOverhead
	for _, to := range destinations {
		slab := make([]byte, packets*size)
		f.slabs = append(f.slabs, slab)
		f.runs = append(f.runs, transport.Run{Data: slab, Segment: size, To: to})
	}
	return f, nil
}

// frame sends one frame to everybody.
func (f *floorSource) frame() error {
	size := floorPacket + transport.SealOverhead
	for i, slab := range f.slabs {
		for k := range f.packets {
			b := slab[k*size : k*size+floorPacket : (k+1)*size]
			b[0], b[1] = 0x80, 96
			binary.BigEndian.PutUint16(b[2:], f.seq+uint16(k))
			binary.BigEndian.PutUint32(b[8:], uint32(i+1)) // a stream each
			if _, err := f.seal.EncryptRTP(b, b, nil); err != nil {
				return err
			}
		}
	}
	f.seq += uint16(f.packets)
	n, err := f.bind.WriteBatch(f.runs)
	f.sent.Add(uint64(n))
	return err
}

// serveFloor is the floor's process: it sends frames until in ends and answers each line with a usage.
func serveFloor(ctx context.Context, setup setup, in io.Reader, out io.Writer) error {
	var destinations []netip.AddrPort
	for _, word := range strings.Split(setup.floor, ",") {
		a, err := netip.ParseAddrPort(word)
		if err != nil {
			return fmt.Errorf("%w: -floor %q", errUsage, word)
		}
		destinations = append(destinations, a)
	}
	f, err := newFloorSource(destinations, framePackets)
	if err != nil {
		return err
	}
	defer f.bind.Close()
	if _, err := fmt.Fprintln(out, "floor"); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var sending sync.WaitGroup
	defer sending.Wait()
	defer cancel()
	sending.Go(func() {
		tick := time.NewTicker(time.Second / framesPerSecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = f.frame()
			case <-ctx.Done():
				return
			}
		}
	})
	lines := bufio.NewScanner(in)
	encoder := json.NewEncoder(out)
	for lines.Scan() {
		var r unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
			return err
		}
		if err := encoder.Encode(usage{CPU: time.Duration(r.Utime.Nano() + r.Stime.Nano()), Sent: f.sent.Load()}); err != nil {
			return err
		}
	}
	return lines.Err()
}

// sinks are sockets that are read as participants read theirs.
type sinks struct {
	conns   []*net.UDPConn
	reading sync.WaitGroup
}

func openSinks(n int) (*sinks, error) {
	s := &sinks{}
	for range n {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			s.close()
			return nil, err
		}
		s.conns = append(s.conns, conn)
		s.reading.Go(func() {
			for b := make([]byte, 2048); ; {
				if _, _, err := conn.ReadFromUDPAddrPort(b); err != nil {
					return
				}
			}
		})
	}
	return s, nil
}

func (s *sinks) addresses() string {
	words := make([]string, len(s.conns))
	for i, c := range s.conns {
		words[i] = c.LocalAddr().String()
	}
	return strings.Join(words, ",")
}

func (s *sinks) close() {
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.reading.Wait()
}

// measureFloor returns the CPU time of one packet.
func measureFloor(ctx context.Context, s Scenario, setup setup) (time.Duration, error) {
	receivers, err := openSinks(s.Rooms * s.Subscribers)
	if err != nil {
		return 0, err
	}
	defer receivers.close()
	setup.floor = receivers.addresses()
	target, err := startChild(setup)
	if err != nil {
		return 0, err
	}
	defer target.close()
	before, err := target.usage()
	if err != nil {
		return 0, err
	}
	timer := time.NewTimer(s.Duration)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	after, err := target.usage()
	if err != nil {
		return 0, err
	}
	return (after.CPU - before.CPU) / time.Duration(max(after.Sent-before.Sent, 1)), nil
}
