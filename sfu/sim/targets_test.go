package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// brief reports whether a few runs must do.
func brief() bool { return testing.Short() || underRace }

// seeds is how many runs a row takes; one tells a broken build.
func seeds() uint64 {
	if brief() {
		return 1
	}
	return 5
}

// target is a row of the table: what is measured, how it is to be, and whether more is better.
type target struct {
	name    string
	plan    func() Plan
	unit    string
	bound   float64 // 0: only reported
	atLeast bool
	measure func(*Result) float64
}

func seconds(d time.Duration) float64 {
	if d < 0 {
		return 999
	}
	return d.Seconds()
}

// standing returns the 95th percentile of a viewer's queue, in ms, between two times.
func standing(v *ViewerResult, from, to time.Duration) float64 {
	var q []time.Duration
	for _, l := range v.Lines {
		if l.At > from && l.At <= to {
			q = append(q, l.Queue)
		}
	}
	slices.Sort(q)
	return float64(q[len(q)*95/100].Milliseconds())
}

func switchesPerMinute(v *ViewerResult, from, to time.Duration) float64 {
	n := 0
	for _, s := range v.Switches {
		if s.At > from && s.At <= to {
			n++
		}
	}
	return float64(n) / (to - from).Minutes()
}

// ourShare returns what a viewer gets beside a TCP flow that runs from 10 s to 70 s, in percent of both.
func ourShare(r *Result) float64 {
	ours, n := 0.0, 0
	for _, l := range r.Viewers[0].Lines {
		if l.At > 15*time.Second {
			ours += float64(l.Sent)
			n++
		}
	}
	ours /= float64(n)
	return 100 * ours / (ours + float64(r.TCPRate(0, time.Minute)))
}

func targets() []target {
	v := func(r *Result) *ViewerResult { return &r.Viewers[0] }
	const end = DipAt + DipFor
	return []target{
		{"join to the top layer, 3 Mbit/s", Dip, "s", 4, false, func(r *Result) float64 { return seconds(v(r).Until(2, time.Second)) }},
		{"3 -> 0.5 Mbit/s: sent rate under the link", Dip, "s", 1, false, func(r *Result) float64 { return seconds(v(r).Under(slow, DipAt)) }},
		{"frozen in the dip of 40 s", Dip, "s", 1, false, func(r *Result) float64 { return seconds(v(r).Frozen(DipAt-time.Second, end)) }},
		{"time on the best layer that fits, in the dip", Dip, "%", 85, true, func(r *Result) float64 { return 100 * v(r).OnLayer(0, DipAt, end) }},
		{"back to the top layer after the dip", Dip, "s", 8, false, func(r *Result) float64 { return seconds(v(r).Until(2, end)) }},
		{"5 % loss, 3 Mbit/s: time on the top layer", RandomLoss, "%", 90, true, func(r *Result) float64 { return 100 * v(r).OnLayer(2, 2*time.Second, time.Minute) }},
		{"5 % loss, 3 Mbit/s: frozen in a minute", RandomLoss, "s", 0.5, false, func(r *Result) float64 { return seconds(v(r).Frozen(0, time.Minute)) }},
		{"10 % bursty loss, 100 ms jitter: sound lost", BurstLoss, "%", 0, false, func(r *Result) float64 { return 100 * (1 - float64(v(r).AudioReceived)/float64(v(r).AudioSent)) }},
		{"10 % bursty loss, 100 ms jitter: frozen in a minute", BurstLoss, "s", 0, false, func(r *Result) float64 { return seconds(v(r).Frozen(0, time.Minute)) }},
		{"TCP competitor, 3 Mbit/s: our share", Competitor, "%", 20, true, ourShare},
		{"steady 3 Mbit/s: frozen", Steady, "s", 0, false, func(r *Result) float64 { return seconds(v(r).Frozen(0, time.Minute)) }},
		{"steady 3 Mbit/s: layer switches a minute", Steady, "", 2, false, func(r *Result) float64 { return switchesPerMinute(v(r), 5*time.Second, time.Minute) }},
		{"standing queue after convergence, p95, 3 Mbit/s", Steady, "ms", 60, false, func(r *Result) float64 { return standing(v(r), 10*time.Second, time.Minute) }},
		{"standing queue in the dip after 5 s, p95", Dip, "ms", 60, false, func(r *Result) float64 { return standing(v(r), DipAt+5*time.Second, end) }},
		{"layer switches a minute in the dip after 5 s", Dip, "", 2, false, func(r *Result) float64 { return switchesPerMinute(v(r), DipAt+5*time.Second, end) }},
		{"feedback every 150 ms: frozen in the dip", LazyDip, "s", 1, false, func(r *Result) float64 { return seconds(v(r).Frozen(DipAt-time.Second, end)) }},
		{"feedback every 150 ms: back to the top layer", LazyDip, "s", 8, false, func(r *Result) float64 { return seconds(v(r).Until(2, end)) }},
		{"an encoder that stalls: frozen in the dip", BusyDip, "s", 1, false, func(r *Result) float64 { return seconds(v(r).Frozen(DipAt-time.Second, end)) }},
		{"an encoder that stalls: time on the best layer that fits, in the dip", BusyDip, "%", 85, true, func(r *Result) float64 { return 100 * v(r).OnLayer(0, DipAt, end) }},
		{"an encoder that stalls: back to the top layer", BusyDip, "s", 8, false, func(r *Result) float64 { return seconds(v(r).Until(2, end)) }},
		{"an encoder that stalls: layer switches a minute in the dip after 5 s", BusyDip, "", 2, false, func(r *Result) float64 { return switchesPerMinute(v(r), DipAt+5*time.Second, end) }},
		{"jitter of 60 ms, 3 Mbit/s: time on the top layer", Jitter, "%", 90, true, func(r *Result) float64 { return 100 * v(r).OnLayer(2, 2*time.Second, time.Minute) }},
		{"stalls of a busy receiver: time on the top layer", Stalls, "%", 90, true, func(r *Result) float64 { return 100 * v(r).OnLayer(2, 2*time.Second, 30*time.Second) }},
		{"join over 0.5 Mbit/s: first picture", SlowJoin, "s", 0, false, func(r *Result) float64 { return seconds(v(r).First) }},
		{"join over 0.5 Mbit/s: frozen", SlowJoin, "s", 0, false, func(r *Result) float64 { return seconds(v(r).Frozen(0, time.Minute)) }},
		{"outage of 4 s: back on the top layer", Outage, "s", 0, false, func(r *Result) float64 { return seconds(v(r).Until(2, 14*time.Second+line)) }},
		{"free link: time to the top layer", Free, "s", 0, false, func(r *Result) float64 { return seconds(v(r).Until(2, time.Second)) }},
		{"free link: frozen", Free, "s", 0, false, func(r *Result) float64 { return seconds(v(r).Frozen(0, time.Minute)) }},
	}
}

// runs remembers finished runs, since several rows look at one plan.
type runs map[string][]*Result

func (r runs) of(plan func() Plan) []*Result {
	name := plan().Name
	if r[name] == nil {
		for seed := range seeds() {
			r[name] = append(r[name], Run(plan(), seed+1))
		}
	}
	return r[name]
}

// TestTargets measures every row with five seeds and prints the table (go test -v -run Targets).
func TestTargets(t *testing.T) {
	done := runs{}
	var table strings.Builder
	table.WriteString("\n| figure | target | median | worst |\n|---|---|---|---|\n")
	for _, row := range targets() {
		var got []float64
		for _, r := range done.of(row.plan) {
			got = append(got, row.measure(r))
		}
		slices.Sort(got)
		if row.atLeast {
			slices.Reverse(got)
		}
		median, worst := got[len(got)/2], got[len(got)-1]
		bound := "-"
		if row.bound != 0 {
			sign := "≤"
			if row.atLeast {
				sign = "≥"
			}
			bound = strings.TrimSpace(fmt.Sprintf("%s %g %s", sign, row.bound, row.unit))
			if missed := row.atLeast && worst < row.bound || !row.atLeast && worst > row.bound; missed {
				t.Errorf("%s: worst %.2f %s, want %s", row.name, worst, row.unit, bound)
			}
		}
		fmt.Fprintf(&table, "| %s | %s | %.2f | %.2f |\n", row.name, bound, median, worst)
	}
	t.Log(table.String())
}
