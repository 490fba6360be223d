package sfu

import (
	"maps"
	"time"

	"sotto/sfu/room"
	"sotto/sfu/shard"
	"sotto/sfu/transport"
)

// Stats returns the node's counters: those of the shards as of their last snapshot, at most about a second ago.
func (n *Node) Stats() Stats {
	st := Stats{Shards: len(n.shards), Drops: map[string]uint64{}, AudioLatency: newLatency(), VideoLatency: newLatency(), PacedLatency: newLatency(),
		Jitter: [2]Histogram{newSpread(), newSpread()}, RTT: newSpread(), ICE: newSpread(), DTLS: newSpread(),
		SocketPaths: map[string]uint64{}}
	for p := range transport.NumSendPaths {
		st.SocketPaths[transport.SendPath(p).String()] = 0
	}
	n.mu.Lock()
	st.Rooms, st.Peers = len(n.rooms), len(n.sessions)
	st.Joins = maps.Clone(n.joins)
	for r := range n.readers {
		st.EventsCoalesced += r.queue.Merged()
	}
	n.mu.Unlock()
	for _, s := range n.shards {
		st.add(s.Stats())
	}
	return st
}

func newLatency() Histogram {
	bounds := shard.LatencyBounds()
	return Histogram{Bounds: bounds[:], Counts: make([]uint64, len(bounds)+1)}
}

func newSpread() Histogram {
	bounds := room.SpreadBounds()
	return Histogram{Bounds: bounds[:], Counts: make([]uint64, len(bounds)+1)}
}

// add sums up the snapshot of a shard.
func (st *Stats) add(s *shard.Stats) {
	st.Connected += s.Connected
	st.AudioIn.add(s.Room.In[room.Audio])
	st.AudioOut.add(s.Room.Out[room.Audio])
	st.VideoIn.add(s.Room.In[room.Video])
	st.VideoOut.add(s.Room.Out[room.Video])
	st.RTCPIn.add(room.Traffic(s.RTCPIn))
	st.RTCPOut.add(room.Traffic(s.RTCPOut))
	st.AudioLatency.add(s.Latency[shard.SeriesAudio].Counts[:], s.Latency[shard.SeriesAudio].Sum)
	st.VideoLatency.add(s.Latency[shard.SeriesVideo].Counts[:], s.Latency[shard.SeriesVideo].Sum)
	st.PacedLatency.add(s.Latency[shard.SeriesPaced].Counts[:], s.Latency[shard.SeriesPaced].Sum)
	st.Tracks += s.Room.Tracks
	st.Loss[In].add(s.Room.PacketsExpected, s.Room.PacketsLost)
	st.Loss[Out].add(s.Room.ExpectedOut, s.Room.LostOut)
	st.Jitter[In].add(s.Room.JitterIn.Counts[:], s.Room.JitterIn.Sum)
	st.Jitter[Out].add(s.Room.JitterOut.Counts[:], s.Room.JitterOut.Sum)
	st.RTT.add(s.Room.RTT.Counts[:], s.Room.RTT.Sum)
	st.ICE.add(s.ICE.Counts[:], s.ICE.Sum)
	st.DTLS.add(s.DTLS.Counts[:], s.DTLS.Sum)
	st.Probes.add(s.Room.Probes)
	st.RetransmitRefused += s.Room.RTXRefused
	st.KeyFrameRequests += s.Room.KeyRequestsOut
	st.NACKsIn += s.Room.NACKsIn
	st.NACKsOut += s.Room.NACKsOut
	st.Retransmitted += s.Room.RTXOut
	st.LayerSwitches += s.Room.LayerSwitches
	st.PeerFaults += s.Faults
	st.EventsCoalesced += s.NoticesMerged
	st.Helped += s.Helped
	st.SocketPaths[s.Transport.Socket.Path.String()]++
	st.Socket.Messages += s.Transport.Socket.Messages
	st.Socket.Calls += s.Transport.Socket.Calls
	st.Socket.Refused += s.Transport.Socket.Refused
	st.Socket.Waits += s.Transport.Socket.Waits
	// Every reason is listed, also at zero, so that a rate over it is defined from the start.
	for i, n := range s.Drops {
		st.Drops[shard.DropReason(i).String()] += n
	}
	for i, n := range s.Room.Drops {
		st.Drops[room.DropReason(i).String()] += n
	}
	for i, n := range s.Transport.Drops {
		st.Drops[transport.DropReason(i).String()] += n
	}
}

func (t *Traffic) add(r room.Traffic) {
	t.Packets += r.Packets
	t.Bytes += r.Bytes
}

func (l *Loss) add(expected, lost uint64) {
	l.Expected += expected
	l.Lost += lost
}

func (h *Histogram) add(counts []uint64, sum time.Duration) {
	for i, n := range counts {
		h.Counts[i] += n
	}
	h.Sum += sum
}
