package bench

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// entry is a row of the suite.
type entry struct {
	Name     string
	Scenario Scenario
	Naive    bool // the naive forwarder can do it: nobody publishes and subscribes
}

// suite lists what `sotto bench -suite` measures: lectures, a meeting, an audio conference, many small rooms.
func suite(base Scenario) []entry {
	var list []entry
	for _, n := range []int{1, 10, 30, 60, 100, 250} {
		s := base
		s.Rooms, s.Publishers, s.Subscribers, s.Video, s.KbitPerSec = 1, 1, n, "synthetic", compareKbit
		list = append(list, entry{fmt.Sprintf("1 to %d", n), s, true})
	}
	meeting := func(name string, rooms, people, kbit int, audio bool) {
		s := base
		s.Rooms, s.Publishers, s.Subscribers, s.Meeting, s.Audio = rooms, people, 0, true, audio
		if s.Video, s.KbitPerSec = "synthetic", kbit; kbit == 0 {
			s.Video = "none"
		}
		list = append(list, entry{name, s, false})
	}
	// Below what a path is given at the start, or the pacers' waits would be in the latency.
	meeting("meeting of 10, audio", 1, 10, 150, true)
	meeting("audio of 50", 1, 50, 0, true)
	meeting("20 rooms of 5", 20, 5, 250, false)
	return list
}

// row is what the suite found for an entry: medians over the rounds; 0 is not measured.
type row struct {
	Name                string
	PacketsOut          float64
	Sotto, Naive, Floor time.Duration // CPU per packet
	PerMessage          float64
	P50, P99            time.Duration // forwarding
	RSS                 int64
	Lost                uint64
}

// runSuite measures every entry: server, naive forwarder and floor in turn, so that what else the machine does falls on all.
// What cannot be measured on this machine is told and left out.
func runSuite(ctx context.Context, o options, stdout, stderr io.Writer) error {
	var rows []row
	for _, e := range suite(o.scenario) {
		if o.only != "" && !strings.Contains(e.Name, o.only) {
			continue
		}
		r, err := measureEntry(ctx, o, e)
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			fmt.Fprintf(stderr, "%s: left out: %v\n", e.Name, cmp.Or(firstLine(err), "unknown"))
			continue
		}
		fmt.Fprintf(stderr, "%s: %.2f µs\n", e.Name, micro(r.Sotto))
		rows = append(rows, r)
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%d rounds of %v each, medians; server on core %d, %d shards; the rest beside it\n\n", o.rounds, o.scenario.Duration,
		o.setup.cpu, o.setup.shards)
	if err := printRows(&table, rows); err != nil {
		return err
	}
	if _, err := io.WriteString(stdout, table.String()); err != nil || o.dir == "" {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.dir, "suite.txt"), []byte(table.String()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.dir, "suite.svg"), []byte(plot(rows)), 0o644)
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func measureEntry(ctx context.Context, o options, e entry) (row, error) {
	out := row{Name: e.Name}
	var sotto, naive, floor, p50, p99 []time.Duration
	for range o.rounds {
		r, err := measureChild(ctx, e.Scenario, o.setup)
		if err != nil {
			return out, err
		}
		sotto = append(sotto, r.CPUPerPacket)
		out.PacketsOut, out.RSS, out.Lost = r.PacketsOut, r.Resident, out.Lost+r.PacketsLost
		p50, p99 = append(p50, r.ForwardP50), append(p99, r.ForwardP99)
		if r.Socket.Messages > 0 {
			out.PerMessage = r.PacketsOut * float64(r.MeasuredNS) / 1e9 / float64(r.Socket.Messages)
		}
		if e.Naive {
			plain := o.setup
			plain.naive = true
			if r, err := measureChild(ctx, e.Scenario, plain); err == nil { // it may not cope with the largest
				naive = append(naive, r.CPUPerPacket)
			}
		}
		d, err := measureFloor(ctx, e.Scenario, o.setup)
		if err != nil {
			return out, err
		}
		floor = append(floor, d)
	}
	out.Sotto, out.Naive, out.Floor = median(sotto), median(naive), median(floor)
	out.P50, out.P99 = median(p50), median(p99)
	return out, nil
}

func printRows(w io.Writer, rows []row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "scenario\tpackets/s\tCPU/packet\tnaive\tfloor\tto naive\tto floor\tpackets/message\tforwarding p50\tp99\tmemory\tlost\t")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%.0f\t%.2f µs\t%s\t%.2f µs\t%s\t%.2f\t%.2f\t≤ %v\t≤ %v\t%.0f MB\t%d\t\n", r.Name, r.PacketsOut, micro(r.Sotto),
			orDash(r.Naive > 0, "%.2f µs", micro(r.Naive)), micro(r.Floor), orDash(r.Naive > 0, "%.2f", float64(r.Sotto)/float64(max(r.Naive, 1))),
			float64(r.Sotto)/float64(max(r.Floor, 1)), r.PerMessage, r.P50, r.P99, float64(r.RSS)/1e6, r.Lost)
	}
	return t.Flush()
}

func orDash(known bool, format string, v float64) string {
	if !known {
		return "-"
	}
	return fmt.Sprintf(format, v)
}

func micro(d time.Duration) float64 { return float64(d) / 1e3 }

// plot draws the CPU time of a packet by scenario as bars, the longest of which fill the width.
func plot(rows []row) string {
	const (
		width, label, right = 760, 170, 70
		bar, gap, top       = 12, 14, 46
	)
	longest := time.Duration(1)
	for _, r := range rows {
		longest = max(longest, r.Sotto, r.Naive, r.Floor)
	}
	group := 3*bar + gap
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width,
		top+len(rows)*group+10)
	b.WriteString(`<rect width="100%" height="100%" fill="#fff"/>` + "\n")
	b.WriteString(`<text x="10" y="18" font-size="14">CPU time of the server process for each forwarded packet</text>` + "\n")
	ways := []struct {
		name, color string
		of          func(row) time.Duration
	}{
		{"Sotto", "#1b6e53", func(r row) time.Duration { return r.Sotto }},
		{"naive pion forwarder", "#c9603b", func(r row) time.Duration { return r.Naive }},
		{"floor: seal and one message per subscriber", "#9aa3ab", func(r row) time.Duration { return r.Floor }},
	}
	x := 10
	for _, w := range ways {
		fmt.Fprintf(&b, `<rect x="%d" y="28" width="10" height="10" fill="%s"/><text x="%d" y="37">%s</text>`+"\n", x, w.color, x+15, w.name)
		x += 35 + 7*len(w.name)
	}
	for i, r := range rows {
		y := top + i*group
		fmt.Fprintf(&b, `<text x="10" y="%d">%s</text>`+"\n", y+2*bar, r.Name)
		for k, w := range ways {
			d := w.of(r)
			if d == 0 {
				continue
			}
			length := int(float64(width-label-right) * float64(d) / float64(longest))
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/><text x="%d" y="%d" font-size="10">%.1f µs</text>`+"\n",
				label, y+k*bar, max(length, 1), bar-2, w.color, label+length+4, y+k*bar+bar-3, micro(d))
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}
