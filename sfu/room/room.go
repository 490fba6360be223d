package room

import (
	"math/rand/v2"
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/packet"
)

// Config is what a room is made with.
type Config struct {
	// Rand gives the first sequence numbers and timestamps of outgoing streams. Equal sources and equal input give
	// equal output. Required.
	Rand rand.Source
}

// Room is one room. Not safe for concurrent use.
type Room struct {
	stats Stats
}

// New returns an empty room.
func New(cfg Config) *Room { return &Room{} }

// Apply carries out a command. On an error nothing has changed.
func (r *Room) Apply(now time.Time, c Command, out *Batch) error { return nil }

// HandleRTP takes one packet that from sent. p.Raw may be overwritten once HandleRTP has returned.
func (r *Room) HandleRTP(now time.Time, from PeerID, p *packet.Packet, out *Batch) {}

// HandleRTCP takes the RTCP packets of one compound that from sent.
func (r *Room) HandleRTCP(now time.Time, from PeerID, pkts []rtcp.Packet, out *Batch) {}

// Tick does what is due: reports, feedback, paced packets, retries. It returns when it wants to be called next.
func (r *Room) Tick(now time.Time, out *Batch) (next time.Time) { return now.Add(time.Second) }

// Stats returns the counters.
func (r *Room) Stats() Stats { return r.stats }

// Empty reports whether nobody is in the room.
func (r *Room) Empty() bool { return true }

// DefaultMaxStreams is the cap of incoming streams of a peer: three layers and their retransmissions for two cameras'
// worth of video, two audio tracks, and room for restarts.
const DefaultMaxStreams = 32
