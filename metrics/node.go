package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"sotto/sfu"
)

// nodeFamilies is the catalogue of what a media node shows, beside the latency histogram.
func nodeFamilies() []family[sfu.Stats] {
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	return []family[sfu.Stats]{
		{desc("node_rooms", "Rooms on this node."), gauge, func(s sfu.Stats) []sample { return one(float64(s.Rooms)) }},
		{desc("node_peers", "Media sessions on this node by state.", "state"), gauge, func(s sfu.Stats) []sample {
			return []sample{
				{float64(s.Connected), []string{"connected"}},
				{float64(s.Peers - s.Connected), []string{"connecting"}},
			}
		}},
		{desc("node_shards", "Shards of this node: goroutines with a media socket each."), gauge, func(s sfu.Stats) []sample { return one(float64(s.Shards)) }},
		{desc("node_socket_path", "Shards by the way their packets take into the kernel: segment (runs as one message), sendmmsg, plain or portable.", "path"), gauge,
			func(s sfu.Stats) []sample { return byLabel(s.SocketPaths) }},
		{desc("node_socket_messages_total", "Messages handed to the kernel: packets, or runs of them."), counter,
			func(s sfu.Stats) []sample { return one(float64(s.Socket.Messages)) }},
		{desc("node_socket_calls_total", "System calls that wrote them."), counter,
			func(s sfu.Stats) []sample { return one(float64(s.Socket.Calls)) }},
		{desc("node_socket_refused_total", "Runs that the kernel did not take as one message."), counter,
			func(s sfu.Stats) []sample { return one(float64(s.Socket.Refused)) }},
		{desc("node_socket_waits_total", "Times that a socket's send buffer was full."), counter,
			func(s sfu.Stats) []sample { return one(float64(s.Socket.Waits)) }},
		{desc("node_helped_packets_total", "RTP packets that were sent by goroutines which help a shard with a large room."), counter,
			func(s sfu.Stats) []sample { return one(float64(s.Helped)) }},
		{desc("bytes_total", "RTP and RTCP bytes by direction (in: from publishers) and kind, without UDP and IP headers.", "direction", "kind"), counter,
			traffic(func(t sfu.Traffic) uint64 { return t.Bytes })},
		{desc("packets_total", "RTP and RTCP packets by direction and kind.", "direction", "kind"), counter,
			traffic(func(t sfu.Traffic) uint64 { return t.Packets })},
		{desc("packets_dropped_total", "Packets that were received or due and not forwarded, by reason.", "reason"), counter,
			func(s sfu.Stats) []sample { return byLabel(s.Drops) }},
		{desc("node_joins_total", "Requests for a media session by result.", "result"), counter,
			func(s sfu.Stats) []sample { return byLabel(s.Joins) }},
		{desc("node_tracks", "Tracks that are published on this node."), gauge, func(s sfu.Stats) []sample { return one(float64(s.Tracks)) }},
		{desc("packets_expected_total", "Packets that should have arrived, by direction (in: from publishers; out: at subscribers, as they report).", "direction"), counter,
			func(s sfu.Stats) []sample { return inOut(s.Loss[sfu.In].Expected, s.Loss[sfu.Out].Expected) }},
		{desc("packets_lost_total", "Of those the packets that did not arrive; repairs are not taken off.", "direction"), counter,
			func(s sfu.Stats) []sample { return inOut(s.Loss[sfu.In].Lost, s.Loss[sfu.Out].Lost) }},
		{desc("probe_bytes_total", "Bytes sent to subscribers to prove a higher rate; part of the video bytes."), counter,
			func(s sfu.Stats) []sample { return one(float64(s.Probes.Bytes)) }},
		{desc("rtx_refused_total", "Packets that subscribers asked for again and did not get: too old, too often, or over the budget."), counter,
			func(s sfu.Stats) []sample { return one(float64(s.RetransmitRefused)) }},
		{desc("keyframe_requests_total", "Key frame requests sent to publishers."), counter,
			func(s sfu.Stats) []sample { return one(float64(s.KeyFrameRequests)) }},
		{desc("layer_switches_total", "Simulcast layer changes carried out for subscribers."), counter,
			func(s sfu.Stats) []sample { return one(float64(s.LayerSwitches)) }},
		{desc("nacks_total", "Packets asked for again, by direction (in: by subscribers).", "direction"), counter, func(s sfu.Stats) []sample {
			return inOut(s.NACKsIn, s.NACKsOut)
		}},
		{desc("rtx_packets_total", "Packets sent again to subscribers (RFC 4588)."), counter,
			func(s sfu.Stats) []sample { return one(float64(s.Retransmitted)) }},
		{desc("peer_faults_total", "Sessions given up after an internal fault."), counter,
			func(s sfu.Stats) []sample { return one(float64(s.PeerFaults)) }},
		{desc("events_coalesced_total", "Node events replaced by a newer one before signaling read them."), counter,
			func(s sfu.Stats) []sample { return one(float64(s.EventsCoalesced)) }},
	}
}

// histogramFamily is one metric with the distributions that it takes from a snapshot.
type histogramFamily struct {
	desc       *prometheus.Desc
	histograms func(*sfu.Stats) []distribution
}

func nodeHistograms() []histogramFamily {
	return []histogramFamily{
		{desc("forward_latency_seconds", "Time from the receipt of a packet to the end of the socket write that forwarded it; paced is video that was held back on purpose.", "kind"),
			func(s *sfu.Stats) []distribution {
				return []distribution{{s.AudioLatency, []string{"audio"}}, {s.VideoLatency, []string{"video"}}, {s.PacedLatency, []string{"paced"}}}
			}},
		{desc("jitter_seconds", "Interarrival jitter (RFC 3550 6.4.1), once per report and stream, by direction.", "direction"),
			func(s *sfu.Stats) []distribution {
				return []distribution{{s.Jitter[sfu.In], []string{"in"}}, {s.Jitter[sfu.Out], []string{"out"}}}
			}},
		{desc("rtt_seconds", "Round-trip time to subscribers, once per report."),
			func(s *sfu.Stats) []distribution { return []distribution{{s.RTT, nil}} }},
		{desc("node_join_duration_seconds", "Stages of joining: ice until the first connectivity check, dtls from there until media can flow.", "stage"),
			func(s *sfu.Stats) []distribution {
				return []distribution{{s.ICE, []string{"ice"}}, {s.DTLS, []string{"dtls"}}}
			}},
	}
}

func inOut(in, out uint64) []sample {
	return []sample{{float64(in), []string{"in"}}, {float64(out), []string{"out"}}}
}

func traffic(value func(sfu.Traffic) uint64) func(sfu.Stats) []sample {
	return func(s sfu.Stats) []sample {
		return []sample{
			{float64(value(s.AudioIn)), []string{"in", "audio"}},
			{float64(value(s.VideoIn)), []string{"in", "video"}},
			{float64(value(s.RTCPIn)), []string{"in", "rtcp"}},
			{float64(value(s.AudioOut)), []string{"out", "audio"}},
			{float64(value(s.VideoOut)), []string{"out", "video"}},
			{float64(value(s.RTCPOut)), []string{"out", "rtcp"}},
		}
	}
}
