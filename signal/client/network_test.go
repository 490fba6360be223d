package client_test

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// network is a datagram network in memory for virtual time. Each directed flow has its own delay and its own random losses,
// and one goroutine delivers in the order of (time, flow, number): whatever the scheduler does, the same sends arrive alike.
type network struct {
	path func(from, to netip.AddrPort) path // fixed when a flow sends first

	mu    sync.Mutex
	isCut bool // nothing arrives
	ports map[netip.AddrPort]*port
	flows map[[2]netip.AddrPort]*flow
	queue deliveries
	wake  chan struct{}
	done  chan struct{}
	ended sync.WaitGroup
}

// path is one direction between two ports.
type path struct {
	delay time.Duration
	loss  float64
	seed  uint64
}

type flow struct {
	path
	order uint64 // of flows: by address, so that it does not depend on who sends first
	sent  uint64

	now  time.Time         // of the last packet
	same map[uint64]uint64 // packets that were sent now, by kind
}

// lost draws whether a packet is lost. Goroutines that send at the same instant take turns as the scheduler likes, so the draw
// cannot depend on the order of all packets: it is made from the flow's seed, the time, the packet's kind (payload type and
// length) and its place among those of its kind and instant, whose order is that of one stream. Handshakes are spared: the
// length of their signatures is random.
func (f *flow) lost(now time.Time, data []byte) bool {
	if f.loss == 0 || len(data) < 12 || data[0]>>6 != 2 {
		return false
	}
	if !now.Equal(f.now) {
		f.now = now
		clear(f.same)
	}
	kind := uint64(data[1])<<16 | uint64(len(data))
	if data[1] >= 192 && data[1] <= 223 {
		kind = uint64(data[1]) << 16 // RTCP (RFC 5761 4): how feedback is run-length coded depends on those turns
	}
	f.same[kind]++
	r := rand.New(rand.NewPCG(f.seed<<32^kind, uint64(now.UnixNano())^f.same[kind]<<56))
	return r.Float64() < f.loss
}

type delivery struct {
	at     time.Time
	order  uint64
	number uint64
	from   netip.AddrPort
	to     *port
	data   []byte
}

type deliveries []delivery

func (d deliveries) Len() int { return len(d) }
func (d deliveries) Less(i, k int) bool {
	a, b := &d[i], &d[k]
	if !a.at.Equal(b.at) {
		return a.at.Before(b.at)
	}
	if a.order != b.order {
		return a.order < b.order
	}
	return a.number < b.number
}
func (d deliveries) Swap(i, k int) { d[i], d[k] = d[k], d[i] }
func (d *deliveries) Push(x any)   { *d = append(*d, x.(delivery)) }
func (d *deliveries) Pop() any {
	old := *d
	x := old[len(old)-1]
	old[len(old)-1] = delivery{}
	*d = old[:len(old)-1]
	return x
}

func newNetwork(p func(from, to netip.AddrPort) path) *network {
	n := &network{
		path:  p,
		ports: map[netip.AddrPort]*port{},
		flows: map[[2]netip.AddrPort]*flow{},
		wake:  make(chan struct{}, 1),
		done:  make(chan struct{}),
	}
	n.ended.Go(n.run)
	return n
}

func (n *network) close() {
	close(n.done)
	n.ended.Wait()
}

// cut stops or restores all flows.
func (n *network) cut(is bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.isCut = is
}

func (n *network) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		n.mu.Lock()
		now := time.Now()
		for len(n.queue) > 0 && !n.queue[0].at.After(now) {
			d := heap.Pop(&n.queue).(delivery)
			d.to.deliver(d.from, d.data)
		}
		wait := time.Hour
		if len(n.queue) > 0 {
			wait = n.queue[0].at.Sub(now)
		}
		n.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-n.done:
			return
		case <-n.wake:
		case <-timer.C:
		}
	}
}

func (n *network) send(from, to netip.AddrPort, data []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	target := n.ports[to]
	if target == nil || n.isCut {
		return
	}
	key := [2]netip.AddrPort{from, to}
	f := n.flows[key]
	if f == nil {
		l := n.path(from, to)
		a, b := from.Addr().As4(), to.Addr().As4()
		f = &flow{path: l, same: map[uint64]uint64{}}
		f.order = uint64(a[2])<<24 | uint64(a[3])<<16 | uint64(b[2])<<8 | uint64(b[3])
		n.flows[key] = f
	}
	f.sent++
	now := time.Now()
	if f.lost(now, data) {
		return
	}
	heap.Push(&n.queue, delivery{now.Add(f.delay), f.order, f.sent, from, target, append([]byte(nil), data...)})
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// port is a net.PacketConn on the network.
type port struct {
	net     *network
	address netip.AddrPort

	mu       sync.Mutex
	received []delivery
	changed  chan struct{} // closed and replaced when something that a reader waits for changes
	deadline time.Time
	closed   bool
}

func (n *network) open(address netip.AddrPort) *port {
	p := &port{net: n, address: address, changed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ports[address] = p
	return p
}

func (p *port) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *port) deliver(from netip.AddrPort, data []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.received = append(p.received, delivery{from: from, data: data})
	p.notify()
}

func (p *port) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		p.mu.Lock()
		switch {
		case p.closed:
			p.mu.Unlock()
			return 0, nil, net.ErrClosed
		case len(p.received) > 0:
			d := p.received[0]
			p.received = p.received[1:]
			p.mu.Unlock()
			return copy(b, d.data), net.UDPAddrFromAddrPort(d.from), nil
		}
		changed, deadline := p.changed, p.deadline
		p.mu.Unlock()
		if deadline.IsZero() {
			<-changed
			continue
		}
		left := time.Until(deadline)
		if left <= 0 {
			return 0, nil, os.ErrDeadlineExceeded
		}
		timer := time.NewTimer(left)
		select {
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (p *port) WriteTo(b []byte, to net.Addr) (int, error) {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return 0, net.ErrClosed
	}
	p.net.send(p.address, to.(*net.UDPAddr).AddrPort(), b)
	return len(b), nil
}

func (p *port) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		p.notify()
	}
	return nil
}

func (p *port) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(p.address) }

func (p *port) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	p.notify()
	return nil
}

func (p *port) SetDeadline(t time.Time) error    { return p.SetReadDeadline(t) }
func (p *port) SetWriteDeadline(time.Time) error { return nil }

// pipeListener accepts connections in memory.
type pipeListener struct {
	incoming chan net.Conn
	done     chan struct{}
	once     sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{incoming: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.incoming <- theirs:
		return ours, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.incoming:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80} }
