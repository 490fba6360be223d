package shard

import (
	"time"

	"sotto/sfu/room"
	"sotto/sfu/transport"
)

// DropReason names why the shard itself dropped a packet; room and transport have their own.
type DropReason uint8

// Reasons, incoming first.
const (
	DropNotInRoom DropReason = iota // media of a session that is not in a room (any more)
	DropRTP                         // RTP header or extensions malformed
	DropRTCP                        // RTCP malformed or absurd
	DropRTCPRate                    // more RTCP than a peer may send
	DropGone                        // out: the subscriber left meanwhile
	DropMarshal                     // out: does not fit, or overwritten in the ring
	DropSeal                        // out: refused by SRTP
	DropReasons                     // number of reasons, for arrays
)

// String returns the label that the metrics use.
func (d DropReason) String() string {
	switch d {
	case DropNotInRoom:
		return "not_in_room"
	case DropRTP:
		return "rtp_malformed"
	case DropRTCP:
		return "rtcp_malformed"
	case DropRTCPRate:
		return "rtcp_rate"
	case DropGone:
		return "subscriber_gone"
	case DropMarshal:
		return "marshal"
	case DropSeal:
		return "seal"
	}
	return "unknown"
}

// Traffic counts packets and bytes.
type Traffic struct{ Packets, Bytes uint64 }

func (t *Traffic) add(bytes int) {
	t.Packets++
	t.Bytes += uint64(bytes)
}

// counters are the shard's own, plain because one goroutine owns them.
type counters struct {
	drops           [DropReasons]uint64
	rtcpIn, rtcpOut Traffic
	faults          uint64
	ice, dtls       room.Spread
}

// Stats is an immutable snapshot of a shard.
type Stats struct {
	At              time.Time
	Rooms, Peers    int
	Connected       int
	Room            room.Stats // sum of all rooms since the start
	Transport       transport.Stats
	Drops           [DropReasons]uint64
	RTCPIn, RTCPOut Traffic // without SRTCP
	Latency         [LatencySeries]Latency
	Faults          uint64      // panics caught
	ICE, DTLS       room.Spread // of joins: session opened to first connectivity check, and from there to keys
	NoticesMerged   uint64
	Helped          uint64 // packets that Senders sealed
}

// Stats returns the last snapshot, at most about a second old. Do(Sync) makes a new one.
func (s *Shard) Stats() *Stats { return s.snapshot.Load() }

// publish makes a snapshot.
func (s *Shard) publish() {
	st := &Stats{
		At:            time.Now(),
		Rooms:         len(s.active),
		Peers:         len(s.byKey),
		Room:          s.closedRun,
		Transport:     s.endpoint.Stats(),
		Drops:         s.counters.drops,
		RTCPIn:        s.counters.rtcpIn,
		RTCPOut:       s.counters.rtcpOut,
		Faults:        s.counters.faults,
		ICE:           s.counters.ice,
		DTLS:          s.counters.dtls,
		NoticesMerged: s.notices.Merged(),
	}
	s.own.addTo(st)
	for _, l := range s.lanes {
		l.addTo(st)
		st.Helped += l.packets
	}
	for _, h := range s.active {
		addRoom(&st.Room, h.room.Stats())
	}
	for _, p := range s.byKey {
		if p.entered {
			st.Connected++
		}
	}
	s.snapshot.Store(st)
}

// addTo adds what a lane counted.
func (l *lane) addTo(st *Stats) {
	st.Faults += l.faults
	for i, n := range l.drops {
		st.Drops[i] += n
	}
	for k := range l.latency.totals {
		from, to := &l.latency.totals[k], &st.Latency[k]
		to.Sum += from.Sum
		for i, n := range from.Counts {
			to.Counts[i] += n
		}
	}
}

// addRoom adds the counters of a room to sum; the gauges of an empty room are zero.
func addRoom(sum *room.Stats, r room.Stats) {
	sum.Peers += r.Peers
	sum.Tracks += r.Tracks
	sum.Subscriptions += r.Subscriptions
	for k := range r.In {
		sum.In[k].Packets += r.In[k].Packets
		sum.In[k].Bytes += r.In[k].Bytes
		sum.Out[k].Packets += r.Out[k].Packets
		sum.Out[k].Bytes += r.Out[k].Bytes
	}
	for i := range r.Drops {
		sum.Drops[i] += r.Drops[i]
	}
	sum.NACKsIn += r.NACKsIn
	sum.NACKsOut += r.NACKsOut
	sum.RTXIn += r.RTXIn
	sum.RTXOut += r.RTXOut
	sum.RTXRefused += r.RTXRefused
	sum.KeyRequestsIn += r.KeyRequestsIn
	sum.KeyRequestsOut += r.KeyRequestsOut
	sum.LayerSwitches += r.LayerSwitches
	sum.FeedbackInvalid += r.FeedbackInvalid
	sum.PacketsLost += r.PacketsLost
	sum.PacketsExpected += r.PacketsExpected
	sum.Probes.Packets += r.Probes.Packets
	sum.Probes.Bytes += r.Probes.Bytes
	sum.LostOut += r.LostOut
	sum.ExpectedOut += r.ExpectedOut
	sum.JitterIn.Add(&r.JitterIn)
	sum.JitterOut.Add(&r.JitterOut)
	sum.RTT.Add(&r.RTT)
}
