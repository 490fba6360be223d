package metrics

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"sotto/sfu"
	"sotto/signal"
	"sotto/signal/cluster"
)

// snapshot is a node and a service with some of everything.
func snapshot() Sources {
	return Sources{
		Node: func() sfu.Stats {
			return sfu.Stats{
				Rooms: 2, Peers: 5, Connected: 4, Shards: 1,
				AudioIn: sfu.Traffic{Packets: 10, Bytes: 1000}, VideoOut: sfu.Traffic{Packets: 30, Bytes: 33000},
				Drops: map[string]uint64{"muted": 3, "duplicate": 1},
				Joins: map[string]uint64{"ok": 5},
				VideoLatency: sfu.Histogram{
					Bounds: []time.Duration{25 * time.Microsecond, 50 * time.Microsecond},
					Counts: []uint64{7, 2, 1}, Sum: 300 * time.Microsecond,
				},
			}
		},
		Draining:       func() bool { return true },
		CertificateEnd: func() time.Time { return time.Unix(1800000000, 0) },
		Cluster:        func() cluster.Stats { return cluster.Stats{Running: 2, Draining: 1, Moved: 7, Cut: 1} },
		Signal: func() signal.Stats {
			s := signal.Stats{
				Rooms: 2, Members: 5, Groups: 1, Joins: map[string]uint64{"ok": 5, "not_admitted": 1},
				Group: map[string]uint64{"ok": 9, "stale_slot": 4}, Tickets: map[string]uint64{"forged": 1},
			}
			s.Files.Files, s.Files.Bytes = 3, 4096
			s.Files.Requests = map[string]uint64{"stored": 2, "token": 1}
			return s
		},
	}
}

func scrape(t *testing.T, s Sources) string {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(s, "test").ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestHandler_showsSnapshots(t *testing.T) {
	text := scrape(t, snapshot())
	for _, want := range []string{
		`sotto_build_info{version="test"} 1`,
		`sotto_node_peers{state="connecting"} 1`,
		`sotto_packets_total{direction="out",kind="video"} 30`,
		`sotto_bytes_total{direction="in",kind="audio"} 1000`,
		`sotto_packets_dropped_total{reason="muted"} 3`,
		`sotto_forward_latency_seconds_bucket{kind="video",le="2.5e-05"} 7`,
		`sotto_forward_latency_seconds_bucket{kind="video",le="5e-05"} 9`,
		`sotto_forward_latency_seconds_bucket{kind="video",le="+Inf"} 10`,
		`sotto_forward_latency_seconds_sum{kind="video"} 0.0003`,
		`sotto_joins_total{result="not_admitted"} 1`,
		`sotto_participants 5`,
		`sotto_groups 1`,
		`sotto_nodes{state="draining"} 1`,
		`sotto_node_draining 1`,
		`sotto_tls_certificate_end_timestamp_seconds 1.8e+09`,
		`sotto_drain_participants_total{result="moved"} 7`,
		`sotto_group_messages_total{result="stale_slot"} 4`,
		`sotto_group_tickets_total{result="forged"} 1`,
		`sotto_file_bytes 4096`,
		`sotto_file_requests_total{result="token"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
}

func TestHandler_leavesOutWhatIsNotThere(t *testing.T) {
	s := snapshot()
	s.Signal, s.Cluster = nil, nil
	if text := scrape(t, s); strings.Contains(text, "sotto_participants") || !strings.Contains(text, "sotto_node_rooms") {
		t.Error("a node alone must show its own metrics and no others")
	}
}

// promlint is what `promtool check metrics` runs.
func TestMetrics_passPromtoolsRules(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(scrape(t, snapshot()))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, namespace) {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// A label may come from a fixed set only: never a room, a participant or an address.
func TestMetrics_haveFewLabels(t *testing.T) {
	allowed := []string{"direction", "kind", "reason", "result", "state", "code", "version", "le", "path", "stage"}
	for line := range strings.Lines(scrape(t, snapshot())) {
		if !strings.HasPrefix(line, namespace) {
			continue
		}
		_, rest, ok := strings.Cut(line, "{")
		if !ok {
			continue
		}
		for pair := range strings.SplitSeq(rest[:strings.Index(rest, "}")], ",") {
			if name, _, _ := strings.Cut(pair, "="); !slices.Contains(allowed, name) {
				t.Errorf("label %q in %s", name, line)
			}
		}
	}
}

func TestCollector_isConsistent(t *testing.T) {
	if problems, err := testutil.CollectAndLint(New(snapshot())); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}
