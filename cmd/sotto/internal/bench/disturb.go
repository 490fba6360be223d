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
// server that waited for it would stand still.
type stallingConn struct {
	net.PacketConn
	stalled atomic.Bool
	closed  atomic.Bool
}

func (c *stallingConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(b)
	for c.stalled.Load() && !c.closed.Load() {
		time.Sleep(10 * time.Millisecond)
	}
	return n, from, err
}

func (c *stallingConn) Close() error {
	c.closed.Store(true)
	return c.PacketConn.Close()
}

// disturb measures what the others notice of a viewer that stops reading and of junk at the media port: one room, several
// phases, the same server. The base line is measured first and last.
func disturb(ctx context.Context, o options, stdout io.Writer) error {
	if o.scenario.Subscribers < 2 {
		return fmt.Errorf("%w: -disturb needs two subscribers", errUsage)
	}
	target, err := o.target()
	if err != nil {
		return err
	}
	defer target.close()
	r, err := start(ctx, o.scenario, target)
	if err != nil {
		return err
	}
	defer r.close()
	back, err := keepOff(o.setup.cpu)
	if err != nil {
		return err
	}
	defer back()
	u, err := target.usage()
	if err != nil {
		return err
	}
	last := r.sockets[len(r.sockets)-1]
	t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "phase\tforwarding p50\tp99\tframe p99\tothers\tCPU\tmemory\tdrops")
	for _, phase := range []struct {
		name  string
		begin func() (end func(), err error)
	}{
		{"base line", nil},
		{fmt.Sprintf("%d junk datagrams/s", junkRate), func() (func(), error) { return junk(u.Ports) }},
		{"a viewer that does not read", func() (func(), error) {
			last.stalled.Store(true)
			return func() { last.stalled.Store(false) }, nil
		}},
		{"base line again", nil},
	} {
		end := func() {}
		if phase.begin != nil {
			if end, err = phase.begin(); err != nil {
				return err
			}
		}
		result, err := r.observe(ctx, target)
		end()
		if err != nil {
			return err
		}
		fmt.Fprintf(t, "%s\t%v\t%v\t%.1f ms\tlost %d \t%.3f\t%.1f MB\t%v\n", phase.name, result.ForwardP50, result.ForwardP99,
			float64(result.Latency.P99)/1e6, result.PacketsLost, result.ServerCPU, float64(result.Resident)/1e6, result.Drops)
		if err := pause(ctx, min(time.Second, o.scenario.Duration/4)); err != nil { // let it settle
			return err
		}
	}
	return t.Flush()
}

// junk sends datagrams that look like STUN, DTLS or SRTP by their first byte to the media ports, from an unknown address.
func junk(ports []int) (stop func(), err error) {
	if len(ports) == 0 {
		return nil, fmt.Errorf("%w: -disturb needs a server of its own", errUsage)
	}
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
