// Package metrics shows a node's and the signaling service's counters to Prometheus.
//
// Nothing is counted here. Shards and sessions keep plain integers and publish snapshots; a [Collector] reads the latest one
// when it is scraped, so a scrape costs the packet path nothing. No metric has a room or a participant in its labels: the
// number of series does not depend on how many people talk.
package metrics

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sotto/sfu"
	"sotto/signal"
	"sotto/signal/cluster"
)

// Sources are the snapshots that a Collector reads. A nil one is left out, as in a process that runs only one service.
type Sources struct {
	Node     func() sfu.Stats
	Draining func() bool // of the node
	Signal   func() signal.Stats
	Cluster  func() cluster.Stats // of the nodes, as signaling sees them
	// CertificateEnd is when the TLS certificate of the page expires.
	CertificateEnd func() time.Time
}

// Collector implements prometheus.Collector. Safe for concurrent use if the sources are.
type Collector struct {
	sources Sources
}

// New returns a collector over the sources.
func New(s Sources) *Collector { return &Collector{sources: s} }

const namespace = "sotto_"

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+name, help, labels, nil)
}

// family is one metric with the value that it takes from a snapshot; samples is called once a scrape.
type family[S any] struct {
	desc    *prometheus.Desc
	kind    prometheus.ValueType
	samples func(S) []sample
}

type sample struct {
	value  float64
	labels []string
}

func one(v float64) []sample { return []sample{{value: v}} }

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	if c.sources.Node != nil {
		describe(ch, nodeFamilies())
		for _, f := range nodeHistograms() {
			ch <- f.desc
		}
	}
	if c.sources.Draining != nil {
		describe(ch, drainFamilies())
	}
	if c.sources.Signal != nil {
		describe(ch, signalFamilies())
	}
	if c.sources.Cluster != nil {
		describe(ch, clusterFamilies())
	}
	if c.sources.CertificateEnd != nil {
		describe(ch, certificateFamilies())
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	if c.sources.Node != nil {
		s := c.sources.Node()
		collect(ch, s, nodeFamilies())
		for _, f := range nodeHistograms() {
			for _, h := range f.histograms(&s) {
				ch <- h.metric(f.desc)
			}
		}
	}
	if c.sources.Draining != nil {
		collect(ch, c.sources.Draining(), drainFamilies())
	}
	if c.sources.Signal != nil {
		collect(ch, c.sources.Signal(), signalFamilies())
	}
	if c.sources.Cluster != nil {
		collect(ch, c.sources.Cluster(), clusterFamilies())
	}
	if c.sources.CertificateEnd != nil {
		collect(ch, c.sources.CertificateEnd(), certificateFamilies())
	}
}

func describe[S any](ch chan<- *prometheus.Desc, families []family[S]) {
	for _, f := range families {
		ch <- f.desc
	}
}

func collect[S any](ch chan<- prometheus.Metric, snapshot S, families []family[S]) {
	for _, f := range families {
		for _, s := range f.samples(snapshot) {
			ch <- prometheus.MustNewConstMetric(f.desc, f.kind, s.value, s.labels...)
		}
	}
}

// distribution is one histogram of a family.
type distribution struct {
	sfu.Histogram
	labels []string
}

func (d distribution) metric(desc *prometheus.Desc) prometheus.Metric {
	buckets := make(map[float64]uint64, len(d.Bounds))
	var total uint64
	for i, n := range d.Counts {
		total += n
		if i < len(d.Bounds) {
			buckets[d.Bounds[i].Seconds()] = total
		}
	}
	return prometheus.MustNewConstHistogram(desc, total, d.Sum.Seconds(), buckets, d.labels...)
}

// byLabel turns a map of counters into samples, in the order of the label, so that two scrapes of one state are equal.
func byLabel(m map[string]uint64) []sample {
	out := make([]sample, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, sample{value: float64(m[k]), labels: []string{k}})
	}
	return out
}

// Handler serves the sources, the Go runtime and the process in the Prometheus text format. version names the build.
func Handler(s Sources, version string) http.Handler {
	r := prometheus.NewRegistry()
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: namespace + "build_info", Help: "Always 1; the label names the build.",
	}, []string{"version"})
	build.WithLabelValues(version).Set(1)
	r.MustRegister(New(s), build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{Timeout: 5 * time.Second})
}
