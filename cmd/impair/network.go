//go:build linux

package main

import (
	"errors"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"sotto/sfu/sim/impair"
)

// maxPacket is more than the devices' MTU.
const maxPacket = 2048

// network is a star: a server in the middle, and hosts round it.
type network struct {
	start  time.Time
	middle *host
	hosts  []*host
	up     []*path // from each host, in their order
	down   []*path // to each host
	done   chan struct{}
	tasks  sync.WaitGroup
}

// build makes the network and lets it run until close.
func build(hosts int, each settings, seed uint64) (*network, error) {
	n := &network{start: time.Now(), done: make(chan struct{})}
	var err error
	if n.middle, err = openHost("server", middleAddress); err != nil {
		return nil, err
	}
	for i := range hosts {
		h, err := openHost(strconv.Itoa(i+1), netip.AddrFrom4([4]byte{10, 98, 0, firstHost + byte(i)}))
		if err != nil {
			n.close()
			return nil, err
		}
		n.hosts = append(n.hosts, h)
		n.up = append(n.up, n.newPath(each, seed*1000+uint64(2*i), n.arrive))
		n.down = append(n.down, n.newPath(each, seed*1000+uint64(2*i+1), func(packet []byte) { _, _ = h.device.Write(packet) }))
	}
	n.tasks.Go(func() { n.read(n.middle, n.fromMiddle) })
	for i, h := range n.hosts {
		n.tasks.Go(func() { n.read(h, n.up[i].send) })
	}
	return n, nil
}

func (n *network) close() {
	close(n.done)
	n.middle.close()
	for _, h := range n.hosts {
		h.close()
	}
	n.tasks.Wait()
}

// read passes a host's packets on until its device is closed.
func (n *network) read(h *host, send func([]byte)) {
	buffer := make([]byte, maxPacket)
	for {
		size, err := h.device.Read(buffer)
		if err != nil {
			return
		}
		send(append([]byte(nil), buffer[:size]...))
	}
}

// arrive takes what came over an up link.
func (n *network) arrive(packet []byte) {
	if to, ok := destination(packet); ok && to == middleAddress {
		_, _ = n.middle.device.Write(packet)
		return
	}
	n.fromMiddle(packet)
}

// fromMiddle sends a packet down to its host. What goes nowhere, as a browser's look for the world, is dropped.
func (n *network) fromMiddle(packet []byte) {
	if i, err := n.hostOf(packet); err == nil {
		n.down[i].send(packet)
	}
}

var errNobody = errors.New("no such host")

func (n *network) hostOf(packet []byte) (int, error) {
	to, ok := destination(packet)
	if !ok {
		return 0, errNobody
	}
	for i, h := range n.hosts {
		if h.address == to {
			return i, nil
		}
	}
	return 0, errNobody
}

// path runs a link on the wall clock.
type path struct {
	network *network
	deliver func([]byte)
	wake    chan struct{}

	mu       sync.Mutex
	link     *impair.Link
	settings settings
}

func (n *network) newPath(s settings, seed uint64, deliver func([]byte)) *path {
	p := &path{network: n, deliver: deliver, wake: make(chan struct{}, 1), link: impair.NewLink(s.link(), seed), settings: s}
	n.tasks.Go(p.run)
	return p
}

func (p *path) now() time.Duration { return time.Since(p.network.start) }

func (p *path) send(packet []byte) {
	p.mu.Lock()
	p.link.Send(p.now(), packet)
	p.mu.Unlock()
	p.notify()
}

// notify tells run that there may be something to deliver earlier than it knows.
func (p *path) notify() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *path) run() {
	timer := time.NewTimer(time.Hour)
	for {
		p.mu.Lock()
		packet := p.link.Receive(p.now())
		next, ok := p.link.Next()
		p.mu.Unlock()
		if packet != nil {
			p.deliver(packet)
			continue
		}
		wait := time.Hour
		if ok {
			wait = next - p.now()
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-p.wake:
		case <-p.network.done:
			return
		}
	}
}

// change merges new settings, JSON of a part of them, into the path's.
func (p *path) change(part []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, err := p.settings.merged(part)
	if err != nil {
		return err
	}
	p.settings = s
	p.link.Configure(p.now(), s.link())
	p.notify()
	return nil
}
