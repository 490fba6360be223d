//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"sotto/sfu/sim"
	"sotto/sfu/unit"
)

// sampleEvery is the interval of samples.
const sampleEvery = 100 * time.Millisecond

// settings are a link's, as JSON has them; what is left out of a change stays as it is.
type settings struct {
	RateKbps float64 `json:"rate_kbps"` // 0: unlimited
	QueueMs  float64 `json:"queue_ms"`  // 0: 300
	DelayMs  float64 `json:"delay_ms"`
	JitterMs float64 `json:"jitter_ms"`
	Loss     float64 `json:"loss"`
	BurstP   float64 `json:"burst_p"` // Gilbert-Elliott: to bad, with each packet
	BurstR   float64 `json:"burst_r"` // back to good
	Late     float64 `json:"late"`
	LateMs   float64 `json:"late_ms"`
	Down     bool    `json:"down"`
}

func (s settings) merged(part []byte) (settings, error) {
	if err := json.Unmarshal(part, &s); err != nil {
		return settings{}, err
	}
	for _, v := range []float64{s.RateKbps, s.QueueMs, s.DelayMs, s.JitterMs, s.Loss, s.BurstP, s.BurstR, s.Late, s.LateMs} {
		if v < 0 {
			return settings{}, fmt.Errorf("%v is less than nothing", v)
		}
	}
	return s, nil
}

func (s settings) link() sim.LinkConfig {
	ms := func(v float64) time.Duration { return time.Duration(v * float64(time.Millisecond)) }
	return sim.LinkConfig{
		Rate: unit.Bitrate(s.RateKbps * float64(unit.Kbps)), Queue: ms(s.QueueMs), Delay: ms(s.DelayMs), Jitter: ms(s.JitterMs),
		Loss: s.Loss, Burst: sim.GilbertElliott{P: s.BurstP, R: s.BurstR}, Late: s.Late, LateBy: ms(s.LateMs), Down: s.Down,
	}
}

// description is the first line that the command reads.
type description struct {
	Server hostName   `json:"server"`
	Hosts  []hostName `json:"hosts"`
}

type hostName struct {
	Namespace string `json:"namespace"`
	Address   string `json:"address"`
}

// change is a line that the command writes.
type change struct {
	Host int             `json:"host"` // from 1
	Link string          `json:"link"` // "up" or "down"
	Set  json.RawMessage `json:"set"`  // settings
}

// sample is what the links did so far, in the order of the hosts.
type sample struct {
	At    int64        `json:"at"` // Unix time in ms
	Up    []linkSample `json:"up"`
	Down  []linkSample `json:"down"`
	Error string       `json:"error,omitempty"` // of the last change
}

type linkSample struct {
	RateKbps  float64 `json:"rate_kbps"`
	Sent      int     `json:"sent"`      // bytes offered, IP headers among them
	Delivered int     `json:"delivered"` // bytes
	Dropped   int     `json:"dropped"`   // packets, by the queue
	Lost      int     `json:"lost"`      // packets, on the way
	QueueMs   float64 `json:"queue_ms"`  // that a packet waits now
}

func (p *path) sample() linkSample {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.link.Counters()
	return linkSample{
		RateKbps: p.settings.RateKbps, Sent: c.SentBytes, Delivered: c.DeliveredBytes, Dropped: c.Dropped, Lost: c.Lost,
		QueueMs: p.link.QueueDelay(p.now()).Seconds() * 1000,
	}
}

// control serves the command's end of the network until that closes it.
func (n *network) control(c net.Conn) {
	failed := make(chan error, 1)
	go n.obey(c, failed)
	out := json.NewEncoder(c)
	first := description{Server: n.middle.name()}
	for _, h := range n.hosts {
		first.Hosts = append(first.Hosts, h.name())
	}
	err := out.Encode(first)
	for tick := time.NewTicker(sampleEvery); err == nil; <-tick.C {
		s := sample{At: time.Now().UnixMilli()}
		for i := range n.hosts {
			s.Up = append(s.Up, n.up[i].sample())
			s.Down = append(s.Down, n.down[i].sample())
		}
		select {
		case err := <-failed:
			s.Error = err.Error()
		default:
		}
		_ = c.SetWriteDeadline(time.Now().Add(10 * time.Second)) // a command that does not read gets no more samples
		err = out.Encode(s)
	}
}

// obey carries out the command's changes.
func (n *network) obey(c net.Conn, failed chan<- error) {
	for lines := bufio.NewScanner(c); lines.Scan(); {
		if err := n.apply(lines.Bytes()); err != nil {
			select {
			case failed <- err:
			default: // an earlier one is not yet told
			}
		}
	}
}

func (n *network) apply(line []byte) error {
	var c change
	if err := json.Unmarshal(line, &c); err != nil {
		return err
	}
	if c.Host < 1 || c.Host > len(n.hosts) {
		return fmt.Errorf("host %d: %w", c.Host, errNobody)
	}
	switch c.Link {
	case "up":
		return n.up[c.Host-1].change(c.Set)
	case "down":
		return n.down[c.Host-1].change(c.Set)
	}
	return fmt.Errorf("link %q is neither up nor down", c.Link)
}

func (h *host) name() hostName { return hostName{h.namespace, h.address.String()} }

// socketPair returns the two ends of a stream: ours to read and write, theirs to be inherited.
func socketPair() (ours net.Conn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socket pair: %w", err)
	}
	end := os.NewFile(uintptr(fds[0]), "control")
	defer func() { _ = end.Close() }() // FileConn has its own
	theirs = os.NewFile(uintptr(fds[1]), "control")
	if ours, err = net.FileConn(end); err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}
