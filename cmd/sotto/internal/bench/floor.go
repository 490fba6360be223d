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
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/srtp/v3"
	"sotto/sfu/transport"
)

// Sizes of packets before sealing, as the forwarder's are in the same run.
const (
	floorVideo = 1072
	floorAudio = 140
)

// flow is what one publisher sends: so many packets at once, to everybody else in its room.
type flow struct {
	PerSecond float64 `json:"per_second"`
	Packets   int     `json:"packets"`
	Bytes     int     `json:"bytes"`
	To        []int   `json:"to"` // indices of addresses
}

// floorLoad is what the floor's process is told.
type floorLoad struct {
	Addresses []string `json:"addresses"`
	Flows     []flow   `json:"flows"`
}

// load is what a forwarder of the scenario has to send.
func (s *Scenario) load(addresses []string) floorLoad {
	l := floorLoad{Addresses: addresses}
	receivers := s.receivers()
	for room := range s.Rooms {
		for p := range s.Publishers {
			var to []int
			for i := range receivers {
				if !s.Meeting || i != p {
					to = append(to, room*receivers+i)
				}
			}
			if s.Video != "none" {
				packets := max(1, (s.KbitPerSec*1000/8/framesPerSecond+maxPayload-1)/maxPayload)
				l.Flows = append(l.Flows, flow{framesPerSecond, packets, floorVideo, to})
			}
			if s.Audio {
				l.Flows = append(l.Flows, flow{50, 1, floorAudio, to})
			}
		}
	}
	return l
}

// receivers is how many of a room receive.
func (s *Scenario) receivers() int {
	if s.Meeting {
		return s.Publishers
	}
	return s.Subscribers
}

// floorSource makes what a forwarder cannot avoid, and nothing else: it seals the packets for each destination into a slab and
// writes all of them as one message per destination.
type floorSource struct {
	bind  transport.Bind
	seal  *srtp.Context
	slab  []byte
	runs  []transport.Run
	flows []floorFlow
	sent  atomic.Uint64
}

type floorFlow struct {
	flow
	to  []netip.AddrPort
	seq uint16
	due time.Time
}

func newFloorSource(load floorLoad) (*floorSource, error) {
	f := &floorSource{}
	addresses := make([]netip.AddrPort, len(load.Addresses))
	for i, word := range load.Addresses {
		a, err := netip.ParseAddrPort(word)
		if err != nil {
			return nil, fmt.Errorf("%w: address of a sink", errUsage)
		}
		addresses[i] = a
	}
	for _, l := range load.Flows {
		own := floorFlow{flow: l}
		for _, i := range l.To {
			own.to = append(own.to, addresses[i])
		}
		f.flows = append(f.flows, own)
		if n := l.Packets * (l.Bytes + transport.SealOverhead) * len(l.To); n > len(f.slab) {
			f.slab = make([]byte, n)
		}
	}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	if f.bind, err = transport.NewUDPBind(conn, transport.OffloadAuto); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	key, salt := make([]byte, 16), make([]byte, 12)
	_, _ = rand.Read(key)
	if f.seal, err = srtp.CreateContext(key, salt, srtp.ProtectionProfileAeadAes128Gcm); err != nil {
		return nil, errors.Join(err, f.bind.Close())
	}
	return f, nil
}

// burst sends what flow i sends at once to everybody.
func (f *floorSource) burst(i int) error {
	l := &f.flows[i]
	size := l.Bytes + transport.SealOverhead
	f.runs = f.runs[:0]
	slab := f.slab
	for k, to := range l.to {
		data := slab[:l.Packets*size]
		slab = slab[len(data):]
		for n := range l.Packets {
			b := data[n*size : n*size+l.Bytes : (n+1)*size]
			b[0], b[1] = 0x80, 96
			binary.BigEndian.PutUint16(b[2:], l.seq+uint16(n))
			binary.BigEndian.PutUint32(b[8:], uint32(i)<<16|uint32(k+1)) // a stream each
			if _, err := f.seal.EncryptRTP(b, b, nil); err != nil {
				return err
			}
		}
		f.runs = append(f.runs, transport.Run{Data: data, Segment: size, To: to})
	}
	l.seq += uint16(l.Packets)
	n, err := f.bind.WriteBatch(f.runs)
	f.sent.Add(uint64(n))
	if errors.Is(err, transport.ErrBindFull) {
		return nil // lost, as it is to a server
	}
	return err
}

// run sends every flow at its times, spread over their intervals, until ctx ends.
func (f *floorSource) run(ctx context.Context) {
	begin := time.Now()
	for i := range f.flows {
		f.flows[i].due = begin.Add(time.Duration(float64(i) / float64(len(f.flows)) * float64(time.Second) / f.flows[i].PerSecond))
	}
	for ctx.Err() == nil {
		next := 0
		for i := range f.flows {
			if f.flows[i].due.Before(f.flows[next].due) {
				next = i
			}
		}
		if pause(ctx, time.Until(f.flows[next].due)) != nil {
			return
		}
		_ = f.burst(next)
		f.flows[next].due = f.flows[next].due.Add(time.Duration(float64(time.Second) / f.flows[next].PerSecond))
	}
}

// serveFloor is the floor's process: it sends until in ends and answers each line but the first, which is its load, with a
// usage.
func serveFloor(ctx context.Context, setup setup, in io.Reader, out io.Writer) error {
	if setup.cpu >= 0 {
		if err := pin(setup.cpu, serverPriority); err != nil {
			return err
		}
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() {
		return lines.Err()
	}
	var load floorLoad
	if err := json.Unmarshal(lines.Bytes(), &load); err != nil {
		return fmt.Errorf("%w: load of the floor", errUsage)
	}
	f, err := newFloorSource(load)
	if err != nil {
		return err
	}
	defer f.bind.Close()
	ctx, cancel := context.WithCancel(ctx)
	var sending sync.WaitGroup
	defer sending.Wait()
	defer cancel()
	sending.Go(func() { f.run(ctx) })
	encoder := json.NewEncoder(out)
	for lines.Scan() {
		u, err := spent()
		if err != nil {
			return err
		}
		u.Sent = f.sent.Load()
		if err := encoder.Encode(u); err != nil {
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

func (s *sinks) addresses() []string {
	words := make([]string, len(s.conns))
	for i, c := range s.conns {
		words[i] = c.LocalAddr().String()
	}
	return words
}

func (s *sinks) close() {
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.reading.Wait()
}

// measureFloor returns the CPU time of one packet.
func measureFloor(ctx context.Context, s Scenario, setup setup) (time.Duration, error) {
	receivers, err := openSinks(s.Rooms * s.receivers())
	if err != nil {
		return 0, err
	}
	defer receivers.close()
	setup.floor = true
	target, err := startProcess(setup)
	if err != nil {
		return 0, err
	}
	defer target.close()
	if err := json.NewEncoder(target.in).Encode(s.load(receivers.addresses())); err != nil {
		return 0, err
	}
	back, err := keepOff(setup.cpu)
	if err != nil {
		return 0, err
	}
	defer back()
	before, err := target.usage()
	if err != nil {
		return 0, err
	}
	if err := pause(ctx, s.Duration); err != nil {
		return 0, err
	}
	after, err := target.usage()
	if err != nil {
		return 0, err
	}
	return (after.CPU - before.CPU) / time.Duration(max(after.Sent-before.Sent, 1)), nil
}
