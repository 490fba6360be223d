package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sotto/signal/cluster"
)

// clusterFamilies is the catalogue of what signaling shows of its media nodes.
func clusterFamilies() []family[cluster.Stats] {
	return []family[cluster.Stats]{
		{desc("nodes", "Live media nodes by state: running, or draining (being emptied).", "state"), prometheus.GaugeValue,
			func(s cluster.Stats) []sample {
				return []sample{{float64(s.Running), []string{"running"}}, {float64(s.Draining), []string{"draining"}}}
			}},
		{desc("drain_participants_total", "Participants of media nodes that drain by result: moved (told to join on another node), or cut (still there when the node ended).", "result"),
			prometheus.CounterValue, func(s cluster.Stats) []sample {
				return []sample{{float64(s.Moved), []string{"moved"}}, {float64(s.Cut), []string{"cut"}}}
			}},
	}
}

// drainFamilies is what a node shows besides its counters.
func drainFamilies() []family[bool] {
	return []family[bool]{
		{desc("node_draining", "1 while this node is being emptied, else 0."), prometheus.GaugeValue, func(draining bool) []sample {
			if draining {
				return one(1)
			}
			return one(0)
		}},
	}
}

// certificateFamilies is what signaling with a certificate shows of it.
func certificateFamilies() []family[time.Time] {
	return []family[time.Time]{
		{desc("tls_certificate_end_timestamp_seconds", "When the TLS certificate of the page expires."), prometheus.GaugeValue,
			func(end time.Time) []sample { return one(float64(end.Unix())) }},
	}
}
