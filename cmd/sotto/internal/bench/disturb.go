package bench

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

// junkRate is how many datagrams a second the media port gets in the phase of junk.
const junkRate = 20_000

// stallingConn is a participant's socket that can stop to be read: the kernel's buffer fills, nothing is answered, and a
// server that waited for it would stand still. What a dumb one writes is lost.
type stallingConn struct {
	*net.UDPConn
	stalled, dumb atomic.Bool
	closed        atomic.Bool
}

func (c *stallingConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if c.dumb.Load() {
		return len(b), nil
	}
	return c.UDPConn.WriteTo(b, to)
}

func (c *stallingConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.UDPConn.ReadFrom(b)
	for c.stalled.Load() && !c.closed.Load() {
		time.Sleep(10 * time.Millisecond)
	}
	return n, from, err
}

func (c *stallingConn) Close() error {
	c.closed.Store(true)
	return c.UDPConn.Close()
}

// phase is one of the states of the world that disturb compares. begin may return the way back.
type phase struct {
	name  string
	begin func() (end func(), err error)
	p50s  []time.Duration
	p99s  []time.Duration
	lost  uint64
	cpu   float64
	drops map[string]uint64
}

// disturb measures what the others notice of junk at the media port and of viewers that stop to read: one room, several
// phases in turn, the same server. The two viewers are in no figure.
func disturb(ctx context.Context, o options, stdout io.Writer) error {
	if o.scenario.Subscribers < 3 || o.setup.shards != 1 || o.url != "" {
		return fmt.Errorf("%w: -disturb needs three subscribers and a server of its own with one shard", errUsage)
	}
	link, err := newSlowLink()
	if err != nil {
		return err
	}
	defer link.close()
	o.setup.link = link.address()
	target, err := o.target()
	if err != nil {
		return err
	}
	defer target.close()
	u, err := target.usage()
	if err != nil {
		return err
	}
	link.port.Store(int32(u.StreamPort))
	r, err := start(ctx, o.scenario, target, link)
	if err != nil {
		return err
	}
	defer r.close()
	back, err := standAside(o.setup.cpu)
	if err != nil {
		return err
	}
	defer back()
	phases := []*phase{
		{name: "base line"},
		{name: fmt.Sprintf("%d junk datagrams/s", junkRate), begin: func() (func(), error) { return junk(u.Ports) }},
		{name: "a viewer does not read", begin: func() (func(), error) {
			r.stalled.stalled.Store(true)
			return func() { r.stalled.stalled.Store(false) }, nil
		}},
		{name: "a viewer's TCP buffers are full", begin: func() (func(), error) { return link.stop(), nil }},
	}
	for range o.rounds {
		for _, p := range phases {
			if err := r.observePhase(ctx, target, p); err != nil {
				return err
			}
		}
	}
	return printPhases(stdout, phases)
}

func (r *rig) observePhase(ctx context.Context, target server, p *phase) error {
	if p.begin != nil {
		end, err := p.begin()
		if err != nil {
			return err
		}
		defer end()
	}
	if err := pause(ctx, settle); err != nil {
		return err
	}
	result, err := r.observe(ctx, target)
	if err != nil {
		return err
	}
	p.p50s, p.p99s = append(p.p50s, result.ForwardP50), append(p.p99s, result.ForwardP99)
	p.lost, p.cpu, p.drops = p.lost+result.PacketsLost, result.ServerCPU, result.Drops
	return nil
}

// printPhases prints medians of the latencies, and what the last round showed of the rest.
func printPhases(w io.Writer, phases []*phase) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "phase\tforwarding p50\tp99\tto base\tp99 of the rounds\tothers\tCPU\tdrops")
	base := median(phases[0].p99s)
	for _, p := range phases {
		p99 := median(p.p99s)
		fmt.Fprintf(t, "%s\t%v\t%v\t%+v\t%v\tlost %d \t%.3f\t%v\n", p.name, median(p.p50s), p99, p99-base, p.p99s, p.lost, p.cpu, p.drops)
	}
	return t.Flush()
}

// junk sends datagrams that look like STUN, DTLS or SRTP by their first byte to the media ports, from an unknown address.
func junk(ports []int) (stop func(), err error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var sending sync.WaitGroup
	sending.Go(func() {
		const every = 2 * time.Millisecond
		tick := time.NewTicker(every)
		defer tick.Stop()
		rng, b := rand.New(rand.NewPCG(1, 2)), make([]byte, 200)
		begin, sent := time.Now(), 0
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				for due := int(now.Sub(begin).Seconds() * junkRate); sent < due; sent++ {
					for i := range b[:32] {
						b[i] = byte(rng.Uint32())
					}
					b[0] = []byte{0, 22, 0x80}[sent%3]
					to := net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: ports[sent%len(ports)]}
					_, _ = conn.WriteToUDP(b, &to) // a full buffer is the server's business
				}
			}
		}
	})
	return func() {
		cancel()
		sending.Wait()
		_ = conn.Close()
	}, nil
}
