package bench

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"sotto/sfu"
	"sotto/signal/client"
)

// Result is what a measurement found. Rates are per second over the measurement.
type Result struct {
	Scenario   Scenario `json:"scenario"`
	MeasuredNS int64    `json:"measured_ns"`

	Participants int         `json:"participants"`
	Tracks       int         `json:"received_tracks"`
	Join         Percentiles `json:"join_ns"`

	PacketsIn  float64 `json:"packets_in_per_second"`  // to the server, media without retransmissions
	PacketsOut float64 `json:"packets_out_per_second"` // from the server, as received
	MbitIn     float64 `json:"mbit_in_per_second"`

	PacketsLost       uint64 `json:"packets_lost"` // numbers that never came
	PacketsDuplicate  uint64 `json:"packets_duplicate"`
	FramesDecoded     uint64 `json:"frames_decoded"`
	FramesUndecodable uint64 `json:"frames_undecodable"`
	FramesNotOpened   uint64 `json:"frames_not_opened"`
	Freezes           uint64 `json:"freezes"`
	KeyFrameRequests  uint64 `json:"key_frame_requests"`
	LayerSwitches     uint64 `json:"layer_switches"`

	// Latency is one way, from before encryption to after decryption of a frame; synthetic video only.
	Latency *Percentiles `json:"frame_latency_ns,omitempty"`

	ServerCPU    float64       `json:"server_cpu_cores,omitempty"`
	CPUPerPacket time.Duration `json:"server_cpu_per_packet_ns,omitempty"` // forwarded packet
	ServerRSS    int64         `json:"server_max_rss_bytes,omitempty"`
	Resident     int64         `json:"server_rss_bytes,omitempty"` // at the end
	Heap         uint64        `json:"server_heap_bytes,omitempty"`
	Stacks       uint64        `json:"server_stack_bytes,omitempty"`
	Goroutines   int           `json:"server_goroutines,omitempty"`
	// Forward is the server's own time from receiving a packet to writing it, upper bounds of its histogram, without the Paced
	// packets that a pacer held back on purpose.
	ForwardP50 time.Duration `json:"server_forward_p50_ns,omitempty"`
	ForwardP99 time.Duration `json:"server_forward_p99_ns,omitempty"`
	// Core is how late the server's core lets a thread go on that goes before everything else, Publishers how late frames were
	// sent after their time: the machine's share in the latency, and the load generator's.
	Core       *Percentiles      `json:"core_late_ns,omitempty"`
	Publishers Percentiles       `json:"publishers_late_ns"`
	Paced      uint64            `json:"server_paced,omitempty"`
	Drops      map[string]uint64 `json:"server_drops,omitempty"`
	// Socket is what the server handed to the kernel.
	Socket sfu.SocketStats `json:"server_socket"`
}

// Percentiles of durations.
type Percentiles struct {
	P50 time.Duration `json:"p50"`
	P95 time.Duration `json:"p95"`
	P99 time.Duration `json:"p99"`
	Max time.Duration `json:"max"`
}

type snapshot struct {
	at     time.Time
	core   *Percentiles // since the snapshot before
	server usage
	sums   Result // the counters only
	in     uint64 // packets
	out    uint64
	bytes  uint64
}

func (r *rig) snapshot(target server) (snapshot, error) {
	u, err := target.usage()
	s := snapshot{at: time.Now(), server: u}
	if r.watch != nil {
		w, failed := r.watch.usage()
		s.core, err = w.Late, errors.Join(err, failed)
	}
	for _, room := range r.rooms {
		for _, p := range room.participants {
			if slices.Contains(r.victims, p) {
				continue
			}
			c := p.Stats()
			s.in += c.PacketsSent
			s.bytes += c.BytesSent
			s.sums.KeyFrameRequests += c.KeyFrameRequests
			for _, n := range c.Keys.Dropped {
				s.sums.FramesNotOpened += n
			}
			for _, slot := range c.Slots {
				s.out += slot.Packets + slot.Duplicates + slot.Late
				s.sums.PacketsLost += slot.Lost
				s.sums.PacketsDuplicate += slot.Duplicates
			}
			for _, t := range c.Tracks {
				s.sums.FramesDecoded += t.Decoded
				s.sums.FramesUndecodable += t.Undecodable + t.Unknown
				s.sums.Freezes += t.Freezes
				s.sums.LayerSwitches += uint64(len(t.Switches))
			}
		}
	}
	return s, err
}

func (r *rig) result(a, b snapshot) *Result {
	span := b.at.Sub(a.at)
	out := &Result{
		Scenario:          r.scenario,
		MeasuredNS:        span.Nanoseconds(),
		PacketsIn:         float64(b.in-a.in) / span.Seconds(),
		PacketsOut:        float64(b.out-a.out) / span.Seconds(),
		MbitIn:            float64(b.bytes-a.bytes) * 8e-6 / span.Seconds(),
		PacketsLost:       b.sums.PacketsLost - a.sums.PacketsLost,
		PacketsDuplicate:  b.sums.PacketsDuplicate - a.sums.PacketsDuplicate,
		FramesDecoded:     b.sums.FramesDecoded - a.sums.FramesDecoded,
		FramesUndecodable: b.sums.FramesUndecodable - a.sums.FramesUndecodable,
		FramesNotOpened:   b.sums.FramesNotOpened - a.sums.FramesNotOpened,
		Freezes:           b.sums.Freezes - a.sums.Freezes,
		KeyFrameRequests:  b.sums.KeyFrameRequests - a.sums.KeyFrameRequests,
		LayerSwitches:     b.sums.LayerSwitches - a.sums.LayerSwitches,
		ServerRSS:         b.server.MaxRSS,
		Resident:          b.server.RSS,
		Heap:              b.server.Heap,
		Stacks:            b.server.Stacks,
		Goroutines:        b.server.Goroutines,
		Core:              b.core,
		Publishers:        r.late.percentiles(),
	}
	var joins []time.Duration
	for _, room := range r.rooms {
		for _, p := range room.participants {
			joins = append(joins, p.Stats().JoinTime)
			out.Tracks += r.expected(room, p)
		}
	}
	out.Participants = len(joins)
	out.Join = percentilesOf(joins)
	if r.scenario.Video == "synthetic" {
		l := r.latency.percentiles()
		out.Latency = &l
	}
	if cpu := b.server.CPU - a.server.CPU; cpu > 0 {
		out.ServerCPU = cpu.Seconds() / span.Seconds()
		if n := b.out - a.out; n > 0 {
			out.CPUPerPacket = cpu / time.Duration(n)
		}
	}
	if b.server.HasNode {
		h, g := &b.server.Node, &a.server.Node
		counts := make([]uint64, len(h.VideoLatency.Counts))
		for i := range counts {
			counts[i] = since(h.VideoLatency, g.VideoLatency, i) + since(h.AudioLatency, g.AudioLatency, i)
			out.Paced += since(h.PacedLatency, g.PacedLatency, i)
		}
		bounds := h.VideoLatency.Bounds
		out.ForwardP50, out.ForwardP99 = quantile(bounds, counts, 0.5), quantile(bounds, counts, 0.99)
		out.Socket = b.server.Node.Socket
		out.Socket.Messages -= a.server.Node.Socket.Messages
		out.Socket.Calls -= a.server.Node.Socket.Calls
		out.Socket.Refused -= a.server.Node.Socket.Refused
		out.Socket.Waits -= a.server.Node.Socket.Waits
		for reason, n := range b.server.Node.Drops {
			if n -= a.server.Node.Drops[reason]; n > 0 {
				if out.Drops == nil {
					out.Drops = map[string]uint64{}
				}
				out.Drops[reason] = n
			}
		}
	}
	return out
}

// since is what bucket i of a histogram got.
func since(now, before sfu.Histogram, i int) uint64 {
	if i < len(before.Counts) {
		return now.Counts[i] - before.Counts[i]
	}
	return now.Counts[i]
}

// quantile returns the upper bound of the bucket that holds the quantile; beyond the last bound it is twice that.
func quantile(bounds []time.Duration, counts []uint64, q float64) time.Duration {
	var total uint64
	for _, n := range counts {
		total += n
	}
	if total == 0 || len(bounds) == 0 {
		return 0
	}
	rank := uint64(q * float64(total))
	for i, n := range counts {
		if rank < n {
			if i < len(bounds) {
				return bounds[i]
			}
			break
		}
		rank -= n
	}
	return 2 * bounds[len(bounds)-1]
}

func percentilesOf(d []time.Duration) Percentiles {
	if len(d) == 0 {
		return Percentiles{}
	}
	slices.Sort(d)
	at := func(q float64) time.Duration { return d[min(int(q*float64(len(d))), len(d)-1)] }
	return Percentiles{P50: at(0.5), P95: at(0.95), P99: at(0.99), Max: d[len(d)-1]}
}

// latency counts durations: 50 µs wide up to 200 ms, the rest in the last bucket.
type latency struct {
	on      atomic.Bool
	buckets [4001]atomic.Uint64
	max     atomic.Int64
}

const latencyWidth = 50 * time.Microsecond

// ReceivedFrame implements client.Observer.
func (l *latency) ReceivedFrame(e client.FrameEvent) {
	if e.Latency > 0 {
		l.add(e.Latency)
	}
}

func (l *latency) add(d time.Duration) {
	if !l.on.Load() {
		return
	}
	l.buckets[min(int(d/latencyWidth), len(l.buckets)-1)].Add(1)
	for {
		old := l.max.Load()
		if int64(d) <= old || l.max.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

func (l *latency) reset() {
	for i := range l.buckets {
		l.buckets[i].Store(0)
	}
	l.max.Store(0)
}

func (l *latency) percentiles() Percentiles {
	bounds := make([]time.Duration, len(l.buckets)-1)
	counts := make([]uint64, len(l.buckets))
	for i := range counts {
		counts[i] = l.buckets[i].Load()
		if i < len(bounds) {
			bounds[i] = time.Duration(i+1) * latencyWidth
		}
	}
	return Percentiles{
		P50: quantile(bounds, counts, 0.5), P95: quantile(bounds, counts, 0.95), P99: quantile(bounds, counts, 0.99),
		Max: time.Duration(l.max.Load()),
	}
}

func (r *Result) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	s := r.Scenario
	kind := fmt.Sprintf("%d publishers, %d subscribers", s.Publishers, s.Subscribers)
	if s.Meeting {
		kind = fmt.Sprintf("meeting of %d", s.Publishers)
	}
	media := s.Video
	if s.KbitPerSec > 0 {
		media = fmt.Sprintf("%s %d kbit/s", media, s.KbitPerSec)
	}
	if s.Audio {
		media += " + audio"
	}
	row := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	row("scenario", "%d x %s; %s; encrypted; %.1f s", s.Rooms, kind, media, time.Duration(r.MeasuredNS).Seconds())
	row("participants", "%d, receiving %d tracks", r.Participants, r.Tracks)
	row("join", "%s", r.Join)
	row("packets in", "%.0f /s, %.2f Mbit/s", r.PacketsIn, r.MbitIn)
	row("packets out", "%.0f /s", r.PacketsOut)
	row("packets lost", "%d, duplicates %d", r.PacketsLost, r.PacketsDuplicate)
	row("frames decoded", "%d, undecodable %d, not opened %d, freezes %d", r.FramesDecoded, r.FramesUndecodable, r.FramesNotOpened, r.Freezes)
	row("key frame requests", "%d, layer switches %d", r.KeyFrameRequests, r.LayerSwitches)
	if r.Latency != nil {
		row("frame latency", "%s", *r.Latency)
	}
	if r.ServerCPU > 0 {
		row("server CPU", "%.3f cores, %.2f µs per forwarded packet", r.ServerCPU, float64(r.CPUPerPacket)/1e3)
	}
	if r.ServerRSS > 0 {
		row("server memory", "%.1f MB, at most %.1f; heap %.1f, stacks %.1f of %d goroutines", float64(r.Resident)/1e6,
			float64(r.ServerRSS)/1e6, float64(r.Heap)/1e6, float64(r.Stacks)/1e6, r.Goroutines)
	}
	if r.ForwardP99 > 0 {
		row("server forwarding", "p50 ≤ %v, p99 ≤ %v; %d packets paced beside", r.ForwardP50, r.ForwardP99, r.Paced)
	}
	if r.Core != nil {
		row("core late", "%s", *r.Core)
	}
	row("publishers late", "%s", r.Publishers)
	if m := r.Socket; m.Messages > 0 {
		row("server socket", "%.2f media packets per message, %.1f messages per call; %d refused, %d waits",
			r.PacketsOut*float64(r.MeasuredNS)/1e9/float64(m.Messages), float64(m.Messages)/float64(max(m.Calls, 1)), m.Refused, m.Waits)
	}
	for reason, n := range r.Drops {
		row("server drops", "%s %d", reason, n)
	}
	return t.Flush()
}

// String prints rounded percentiles.
func (p Percentiles) String() string {
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	return fmt.Sprintf("p50 %.2f ms, p95 %.2f ms, p99 %.2f ms, max %.2f ms", ms(p.P50), ms(p.P95), ms(p.P99), ms(p.Max))
}
