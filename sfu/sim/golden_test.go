package sim

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sotto/sfu/unit"
)

var (
	update = flag.Bool("update", false, "write the curves of testdata anew")
	plots  = flag.String("plots", "", "write an SVG of each scenario into this folder")
)

// TestScenarios compares the curves of every scenario with those of testdata, so that a change of behaviour is seen in the
// diff (go test -run Scenarios -update writes them anew; -plots draws them).
func TestScenarios(t *testing.T) {
	for _, plan := range few(Scenarios(), 4) {
		t.Run(plan.Name, func(t *testing.T) {
			r := Run(plan, 1)
			for i := range r.Viewers {
				name := plan.Name
				if len(r.Viewers) > 1 {
					name += fmt.Sprint("-", i+1)
				}
				golden := filepath.Join("testdata", name+".csv")
				got := r.Viewers[i].CSV()
				if *update {
					write(t, golden, got)
				}
				if *plots != "" {
					write(t, filepath.Join(*plots, name+".svg"), r.SVG(i))
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s is not as it was; if that is meant, run with -update and look at the diff. First: %s", golden, firstDifference(got, want))
				}
			}
		})
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func firstDifference(got, want []byte) string {
	a, b := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return a[i] + ", was " + b[i]
		}
	}
	return "the length"
}

// TestPaths prints what the cases of RFC 8867 show: delay by queues, use of the capacity, and how equal shares are.
func TestPaths(t *testing.T) {
	var table strings.Builder
	table.WriteString("\n| scenario | viewer | sent kbit/s | used | queue p50 / p95 ms | frozen s | switches | layer 0 / 1 / 2 |\n|---|---|---|---|---|---|---|---|\n")
	for _, plan := range few([]Plan{
		Steady(), Variable(), VariableShared(), CongestedFeedback(), CrossTraffic(), Fairness(), FarAndNear(), Competitor(), ShortTCP(), PauseResume(),
		PauseShared(), Grid(), Outage(),
	}, 4) {
		r := Run(plan, 1)
		var shares []float64
		for i := range r.Viewers {
			v := &r.Viewers[i]
			from := plan.Viewers[i].Joins + 4*time.Second
			if len(r.Viewers) > 1 {
				from = plan.Length / 2 // all are there
			}
			var sent, used, capacity float64
			var queue []time.Duration
			n := 0.0
			for _, l := range v.Lines {
				if l.At > from {
					n++
					sent += float64(l.Sent)
					used += float64(l.LinkUsed)
					capacity += float64(l.Link)
					queue = append(queue, l.Queue)
				}
			}
			slices.Sort(queue)
			shares = append(shares, sent/n)
			fmt.Fprintf(&table, "| %s | %d | %.0f | %.0f %% | %d / %d | %.1f | %d | %.0f / %.0f / %.0f %% |\n", plan.Name, i+1, sent/n/float64(unit.Kbps),
				100*used/capacity, queue[len(queue)/2].Milliseconds(), queue[len(queue)*95/100].Milliseconds(),
				v.Frozen(0, plan.Length).Seconds(), len(v.Switches),
				100*v.OnLayer(0, from, plan.Length), 100*v.OnLayer(1, from, plan.Length), 100*v.OnLayer(2, from, plan.Length))
		}
		if len(shares) > 1 {
			fmt.Fprintf(&table, "| %s | fairness (Jain) | %.3f%s | | | | | |\n", plan.Name, jain(shares), of(plan, r))
		}
	}
	t.Log(table.String())
}

// of names the fairest index, where the capacity stays what it is.
func of(plan Plan, r *Result) string {
	for _, l := range r.Viewers[0].Lines {
		if l.Link != plan.Shared[0].Rate {
			return ""
		}
	}
	return fmt.Sprintf(" of %.3f", fairest(len(r.Viewers), plan.Shared[0].Rate))
}

// fairest returns the highest index that so many flows of the usual layers can have on a link while none of them could take one layer
// more: layers are steps, and shares become equal only by leaving free what somebody wants.
func fairest(flows int, rate unit.Bitrate) (best float64) {
	w := [3]float64{float64(wire(usual[0])), float64(wire(usual[1])), float64(wire(usual[2]))}
	for top := range flows + 1 {
		for middle := range flows - top + 1 {
			low := flows - top - middle
			sum := float64(top)*w[2] + float64(middle)*w[1] + float64(low)*w[0]
			free := float64(rate) - sum
			if free < 0 || low > 0 && free >= w[1]-w[0] || middle > 0 && free >= w[2]-w[1] {
				continue
			}
			shares := slices.Concat(slices.Repeat(w[2:], top), slices.Repeat(w[1:2], middle), slices.Repeat(w[:1], low))
			best = max(best, jain(shares))
		}
	}
	return best
}

func TestFairest(t *testing.T) {
	for _, test := range []struct {
		flows int
		rate  unit.Bitrate
		want  float64
	}{{2, 2000, 1}, {3, 3000, 1}, {4, 6000, 0.81}, {3, 3500, 0.74}, {2, 1000, 0.83}, {1, 3000, 1}} {
		if got := fairest(test.flows, test.rate*unit.Kbps); got < test.want-0.006 || got > test.want+0.006 {
			t.Errorf("%d flows on %d kbit/s: %.3f, want %.2f", test.flows, test.rate, got, test.want)
		}
	}
}

// jain returns Jain's index: 1 is equal shares, 1/n is all for one.
func jain(shares []float64) float64 {
	var sum, squares float64
	for _, s := range shares {
		sum += s
		squares += s * s
	}
	return sum * sum / (float64(len(shares)) * squares)
}
