package client

import (
	"sync/atomic"
	"time"

	"sotto/e2ee/room"
	"sotto/signal/protocol"
)

// Stats is a snapshot of a participant.
type Stats struct {
	// JoinTime is from the start of Join to the connected media transport.
	JoinTime time.Duration
	// Tracks are those received, in the order of their first frame; they stay when the track is gone.
	Tracks []TrackStats
	// Slots are the receiving media sections of the present media session that got packets, in the order of the first.
	Slots []SlotStats
	// PacketsSent and BytesSent are RTP packets and payload bytes of all layers, without retransmissions.
	PacketsSent, BytesSent uint64
	// CameraPackets are those sent of each layer of the camera, the lowest first.
	CameraPackets []uint64
	// FramesNotProtected and FramesNotWritten are own frames that did not leave.
	FramesNotProtected, FramesNotWritten uint64
	// Codec is what the camera is sent in, such as "vp8"; empty without one.
	Codec string
	// Malformed are RTP packets that could not be read.
	Malformed uint64
	// KeyFrameRequests are PLIs sent.
	KeyFrameRequests uint64
	// EnvelopesDropped: the queue to the service was full.
	EnvelopesDropped uint64
	// Keys are the counters of the key state, with the reasons of frames that did not open.
	Keys room.Stats
}

// SlotStats counts the packets of a receiving media section.
type SlotStats struct {
	MID                                         string
	Packets, Duplicates, Late, Lost, Incomplete uint64
}

// TrackStats counts the frames of a received track.
type TrackStats struct {
	Conn   protocol.ConnID
	Source protocol.Source
	// Opened frames passed authentication; Decoded ones were also byte for byte of the clip and decodable where they came.
	Opened, Decoded uint64
	// Unknown frames opened but are not of the clip; Undecodable ones lack a key frame or a reference.
	Unknown, Undecodable uint64
	KeyFrames            uint64
	Bytes                uint64
	// Layer is that of the last decoded frame, -1 before any.
	Layer    int
	Switches []Switch
	// Paused is why no picture comes now, as the service says: one of protocol's Paused constants, or empty.
	Paused string
	// First and Last decoded frame.
	First, Last time.Time
	// Freezes are intervals between decoded frames longer than three times the mean and 150 ms above it, as W3C
	// webrtc-stats defines freezeCount; Frozen is their sum.
	Freezes uint64
	Frozen  time.Duration
	MaxGap  time.Duration

	gaps    [gapBuckets]uint64
	gapSum  time.Duration
	gapRows uint64
}

// Switch is a change of the simulcast layer between two decoded frames.
type Switch struct {
	At       time.Time
	From, To int // From is -1 for the first
}

// maxSwitches caps the list of a track.
const maxSwitches = 4096

// Gaps between decoded frames are counted by gapWidth; the last bucket holds the rest.
const (
	gapWidth   = 5 * time.Millisecond
	gapBuckets = 401
)

// GapQuantile returns the interval between decoded frames that the share q of them does not exceed, to 5 ms.
func (t *TrackStats) GapQuantile(q float64) time.Duration {
	rest := uint64(q * float64(t.gapRows))
	for i, n := range t.gaps {
		if n > rest {
			return time.Duration(i+1) * gapWidth
		}
		rest -= n
	}
	return t.MaxGap
}

// decoded notes a decoded frame of a layer. now may be a little before the last frame's: a frame that was held is released by who
// receives another track, and has looked at the clock before it waited for the lock.
func (t *TrackStats) decoded(now time.Time, layer int, resumed bool) {
	if now.Before(t.Last) {
		now = t.Last
	}
	t.Decoded++
	if layer != t.Layer && len(t.Switches) < maxSwitches {
		t.Switches = append(t.Switches, Switch{At: now, From: t.Layer, To: layer})
	}
	t.Layer = layer
	if t.First.IsZero() {
		t.First = now
	}
	if !t.Last.IsZero() && !resumed {
		gap := now.Sub(t.Last)
		if t.gapRows > 0 {
			mean := t.gapSum / time.Duration(t.gapRows)
			if gap > max(3*mean, mean+150*time.Millisecond) {
				t.Freezes++
				t.Frozen += gap
			}
		}
		t.gapSum += gap
		t.gapRows++
		t.gaps[min(int(gap/gapWidth), gapBuckets-1)]++
		t.MaxGap = max(t.MaxGap, gap)
	}
	t.Last = now
}

type counters struct {
	notProtected, notWritten, malformed, keyRequests, envelopesDropped atomic.Uint64
}

// Stats returns a snapshot.
func (p *Participant) Stats() Stats {
	s := Stats{
		FramesNotProtected: p.count.notProtected.Load(),
		FramesNotWritten:   p.count.notWritten.Load(),
		Malformed:          p.count.malformed.Load(),
		KeyFrameRequests:   p.count.keyRequests.Load(),
		EnvelopesDropped:   p.count.envelopesDropped.Load(),
	}
	for _, pub := range []*publication{p.mic, p.camera} {
		if pub == nil {
			continue
		}
		for _, o := range pub.streams {
			s.PacketsSent += o.packets.Load()
			s.BytesSent += o.size.Load()
			if pub == p.camera {
				s.CameraPackets = append(s.CameraPackets, o.packets.Load())
			}
		}
	}
	if p.camera != nil {
		s.Codec = p.camera.codec()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.JoinTime = p.joinTime
	s.Keys = p.keys.room.Stats()
	for _, t := range p.tracks {
		c := t.stats
		c.Switches = append([]Switch(nil), c.Switches...)
		s.Tracks = append(s.Tracks, c)
	}
	for _, r := range p.receptions {
		a := r.assembler.stats
		s.Slots = append(s.Slots, SlotStats{r.mid, a.Packets, a.Duplicates, a.Late, a.Lost, a.Incomplete})
	}
	return s
}
