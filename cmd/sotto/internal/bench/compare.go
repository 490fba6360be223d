package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"
)

// What a synthetic publisher sends at the rate of the comparison, and so what the floor sends.
const (
	framesPerSecond = 30
	maxPayload      = 1060
	compareKbit     = 1500
)

const (
	naiveWay = "naive pion forwarder"
	floorWay = "floor: seal, one GSO message per subscriber"
)

// way is one of the things that are compared.
type way struct {
	name  string
	setup func(setup) setup // of the server; nil = the floor
}

func ways() []way {
	offload := func(o string) func(setup) setup {
		return func(s setup) setup { s.offload = o; return s }
	}
	return []way{
		{"sotto", offload("auto")},
		{"sotto, -socket-offload sendmmsg", offload("sendmmsg")},
		{"sotto, -socket-offload off", offload("off")},
		{naiveWay, func(s setup) setup { s.naive = true; return s }},
		{floorWay, nil},
	}
}

// compared is the outcome for one way: medians over the rounds.
type compared struct {
	Name         string          `json:"name"`
	CPUPerPacket time.Duration   `json:"cpu_per_packet_ns"`
	Rounds       []time.Duration `json:"rounds_ns"`
	P99          time.Duration   `json:"frame_latency_p99_ns,omitempty"`
	Forward      []time.Duration `json:"server_forward_p99_ns,omitempty"` // by round
	RSS          int64           `json:"max_rss_bytes,omitempty"`
	PerMessage   float64         `json:"packets_per_message,omitempty"`
	Lost         uint64          `json:"packets_lost"`
}

// compare measures the same scenario in several ways in turn, several times, so that what else the machine does falls on all
// of them, and prints the medians. Only the ratios mean something on another machine.
func compare(ctx context.Context, o options, stdout io.Writer) error {
	s := o.scenario
	if s.Video != "synthetic" || s.Audio || s.Meeting || s.Publishers != 1 || s.KbitPerSec != compareKbit || s.Subscribers < 1 {
		return fmt.Errorf("%w: -compare takes one publisher of synthetic video at %d kbit/s and no audio", errUsage, compareKbit)
	}
	list := ways()
	results := make([]compared, len(list))
	p99s := make([][]time.Duration, len(list))
	for range o.rounds {
		for i, w := range list {
			c := &results[i]
			c.Name = w.name
			if w.setup == nil {
				d, err := measureFloor(ctx, s, o.setup)
				if err != nil {
					return err
				}
				c.Rounds = append(c.Rounds, d)
				continue
			}
			r, err := measureChild(ctx, s, w.setup(o.setup))
			if ctx.Err() != nil {
				return err
			}
			if err != nil { // a busy machine; the other rounds count
				fmt.Fprintf(os.Stderr, "%s: round left out: %s\n", w.name, firstLine(err))
				continue
			}
			c.Rounds = append(c.Rounds, r.CPUPerPacket)
			p99s[i] = append(p99s[i], r.Latency.P99)
			if r.ForwardP99 > 0 {
				c.Forward = append(c.Forward, r.ForwardP99)
			}
			c.RSS, c.Lost = max(c.RSS, r.ServerRSS), c.Lost+r.PacketsLost
			if r.Socket.Messages > 0 {
				c.PerMessage = r.PacketsOut * float64(r.MeasuredNS) / 1e9 / float64(r.Socket.Messages)
			}
		}
	}
	for i := range results {
		results[i].CPUPerPacket, results[i].P99 = median(results[i].Rounds), median(p99s[i])
	}
	if o.json {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		return e.Encode(results)
	}
	return printCompared(stdout, o, results)
}

func measureChild(ctx context.Context, s Scenario, setup setup) (*Result, error) {
	target, err := startChild(setup)
	if err != nil {
		return nil, err
	}
	defer target.close()
	return measure(ctx, s, setup.cpu, target)
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d))
	return sorted[len(sorted)/2]
}

func printCompared(w io.Writer, o options, results []compared) error {
	s := o.scenario
	fmt.Fprintf(w, "%d x %d publisher, %d subscribers; %d kbit/s; %d rounds of %v; server on core %d\n",
		s.Rooms, s.Publishers, s.Subscribers, s.KbitPerSec, o.rounds, s.Duration, o.setup.cpu)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "way\tCPU/packet\tto naive\tto floor\tpackets/message\tframe p99\tforwarding p99\tmemory\tlost\trounds")
	reference := func(name string) float64 {
		for _, r := range results {
			if r.Name == name {
				return float64(r.CPUPerPacket)
			}
		}
		return 0
	}
	naive, floor := reference(naiveWay), reference(floorWay)
	for _, r := range results {
		ns := float64(r.CPUPerPacket)
		fmt.Fprintf(t, "%s\t%.2f µs\t%.2f\t%.2f\t%.2f\t%.1f ms\t%s\t%.0f MB\t%d\t%.1f µs\n", r.Name, ns/1e3, ns/naive, ns/floor,
			r.PerMessage, float64(r.P99)/1e6, orDash(len(r.Forward) > 0, "≤ %.1f ms", float64(median(r.Forward))/1e6), float64(r.RSS)/1e6, r.Lost, microseconds(r.Rounds))
	}
	return t.Flush()
}

func microseconds(d []time.Duration) []float64 {
	out := make([]float64, len(d))
	for i := range d {
		out[i] = float64(d[i]) / 1e3
	}
	return out
}
