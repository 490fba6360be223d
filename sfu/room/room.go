package room

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/unit"
)

// Limits and periods of a room.
const (
	// DefaultMaxStreams is the cap of incoming streams of a peer: three layers and their retransmissions for each of two
	// video tracks, two audio tracks, and room for restarts.
	DefaultMaxStreams = 32
	// MaxSlots is the cap of receiving slots of a peer, as many as an offer may have m-lines.
	MaxSlots = 128
	// MaxPeers is the cap of a room; every peer may cost every other one a slot.
	MaxPeers = 1000
	// MaxWishes is the cap of a peer's list of wishes: all sources of a full grid and of everybody's screen.
	MaxWishes = 512
	// MaxPublish is what one peer may send of video: more than three layers of 1080p take. The excess is dropped.
	MaxPublish = 12 * unit.Mbps
	// MaxPublishAudio is the same of audio: two Opus streams of 510 kbit/s (RFC 6716 2.1.1) with their headers. Audio passes
	// the subscribers' pacers and takes from what is left for video, so nothing else bounds it.
	MaxPublishAudio = 1200 * unit.Kbps
	// minCharge is what a packet counts at least, in bytes: tiny ones cost as much work. It allows 11,000 packets/s of video.
	minCharge = 128

	// housekeeping is the period of everything that need not be exact.
	housekeeping = 100 * time.Millisecond
	// reportEvery is the interval of sender and receiver reports: fast enough for lip sync soon after a join, and
	// 40 bytes a stream and second are nothing beside the media.
	reportEvery = time.Second
	// defaultRTT is assumed until a report tells.
	defaultRTT = 100 * time.Millisecond
)

// Config is what a room is made with.
type Config struct {
	// Rand gives the first sequence numbers, timestamps and our own SSRCs. Equal sources and equal input give equal
	// output; in production it must be seeded so that nobody can guess it. Required.
	Rand rand.Source
}

// Room is one room. Not safe for concurrent use.
type Room struct {
	rng   *rand.Rand
	peers []*peer // ascending by id
	thin  thinning
	stats Stats

	next      time.Time // when Tick is due; zero: never
	keep      time.Time // next housekeeping
	alloc     allocScratch
	assigning assignment
	nacks     []uint16 // scratch
	feedback  []*rtcp.TransportLayerCC
}

// New returns an empty room.
func New(cfg Config) *Room {
	return &Room{rng: rand.New(cfg.Rand), nacks: make([]uint16, 0, 64), thin: thinningOf(0)}
}

// Empty reports whether nobody is in the room.
func (r *Room) Empty() bool { return len(r.peers) == 0 }

// Next returns when Tick is due, at the latest; zero is never. Any other call of the room may bring it forward.
func (r *Room) Next() time.Time { return r.next }

// wake brings the next Tick forward to t.
func (r *Room) wake(t time.Time) {
	if !t.IsZero() && (r.next.IsZero() || t.Before(r.next)) {
		r.next = t
	}
}

// find returns the peer with an id, or nil. Rooms are small: a binary search is as fast as a map and allocates nothing.
func (r *Room) find(id PeerID) *peer {
	lo, hi := 0, len(r.peers)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if r.peers[mid].id < id {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(r.peers) && r.peers[lo].id == id {
		return r.peers[lo]
	}
	return nil
}

// Apply carries out a command. The error is ErrUnknownPeer, ErrPeerExists, ErrLimit or ErrInvalid, wrapped; on an error
// nothing has changed. The command's slices must not be changed afterwards.
func (r *Room) Apply(now time.Time, c Command, out *Batch) error {
	if err := r.Check(c); err != nil {
		return err
	}
	if r.keep.IsZero() {
		r.keep = now.Add(housekeeping)
		r.wake(r.keep)
	}
	p := r.find(commandPeer(c))
	switch c := c.(type) {
	case Join:
		r.join(now, c)
	case Leave:
		r.leave(now, p, out)
	case Extensions:
		p.ext = c.IDs
	case Publish:
		r.publish(now, p, c.Tracks, out)
	case Slots:
		r.setSlots(now, p, c.Slots, out)
	case Want:
		r.want(now, p, c.Wishes, out)
	case Mute:
		r.mute(now, p, c.Source, c.Muted, out)
	}
	return nil
}

// Check returns the error that Apply would return, and changes nothing.
func (r *Room) Check(c Command) error {
	if j, ok := c.(Join); ok {
		return r.checkJoin(j)
	}
	p := r.find(commandPeer(c))
	if p == nil {
		return ErrUnknownPeer
	}
	switch c := c.(type) {
	case Leave, Extensions:
		return nil
	case Publish:
		return checkTracks(c.Tracks)
	case Slots:
		return p.checkSlots(c.Slots)
	case Want:
		return checkWishes(c.Wishes)
	case Mute:
		return checkSource(c.Source)
	}
	return ErrInvalid
}

func commandPeer(c Command) PeerID {
	switch c := c.(type) {
	case Leave:
		return c.Peer
	case Extensions:
		return c.Peer
	case Publish:
		return c.Peer
	case Slots:
		return c.Peer
	case Want:
		return c.Peer
	case Mute:
		return c.Peer
	}
	return 0
}

func (r *Room) checkJoin(j Join) error {
	if r.find(j.Peer) != nil {
		return ErrPeerExists
	}
	if len(r.peers) >= MaxPeers {
		return ErrLimit
	}
	return nil
}

func (r *Room) join(now time.Time, j Join) {
	p := newPeer(now, j, r.rng)
	at, _ := slices.BinarySearchFunc(r.peers, j.Peer, func(p *peer, id PeerID) int { return int(int64(p.id) - int64(id)) })
	r.peers = slices.Insert(r.peers, at, p)
}

func (r *Room) leave(now time.Time, p *peer, out *Batch) {
	var c change
	for s, t := range p.tracks {
		if t != nil {
			r.stopTrack(t, out)
			p.tracks[s] = nil
			c.removed = append(c.removed, t)
		}
	}
	for _, s := range p.slots {
		s.release()
	}
	r.peers = slices.DeleteFunc(r.peers, func(q *peer) bool { return q == p })
	r.tracksChanged(now, p, c, out)
}

// Tick does what is due: paced packets, loss and key frame retries, feedback, reports. It returns when it wants to be
// called next; zero is not before another call of the room.
func (r *Room) Tick(now time.Time, out *Batch) (next time.Time) {
	r.next = time.Time{}
	if len(r.peers) == 0 {
		r.keep = time.Time{}
		return r.next
	}
	housekeep := !now.Before(r.keep)
	if housekeep {
		r.keep = now.Add(housekeeping)
	}
	r.wake(r.keep)
	for _, p := range r.peers {
		r.pump(now, p, out)
		r.probe(now, p, out)
		r.askMissing(now, p, out)
		r.sendFeedback(now, p, out)
		r.retryKeys(now, p, out)
		if housekeep {
			r.housekeep(now, p, out)
		}
	}
	return r.next
}

// housekeep does what a peer needs ten times a second.
func (r *Room) housekeep(now time.Time, p *peer, out *Batch) {
	r.estimate(now, p, out)
	if p.liveness(now) {
		for _, t := range p.tracks {
			if t != nil {
				for _, s := range t.subs {
					s.peer.dirty = true
				}
			}
		}
	}
	if p.dirty || !now.Before(p.allocAt) {
		r.allocate(now, p, out)
	}
	for _, s := range p.slots {
		r.wantKey(now, s, out)
	}
	r.constrain(now, p, out)
	p.tellPauses(now, out)
	if !now.Before(p.reportAt) {
		p.reportAt = now.Add(reportEvery)
		r.sendReports(now, p, out)
	}
}

// Stats returns the counters.
func (r *Room) Stats() Stats {
	s := r.stats
	s.Peers = len(r.peers)
	for _, p := range r.peers {
		for _, t := range p.tracks {
			if t != nil {
				s.Tracks++
				s.Subscriptions += len(t.subs)
			}
		}
	}
	return s
}

func (r *Room) drop(reason DropReason) { r.stats.Drops[reason]++ }

// HandleRTCP takes the RTCP packets of one compound that from sent. Packets of kinds that the room does not use, and those
// about streams that the peer does not receive or send, are ignored and counted.
func (r *Room) HandleRTCP(now time.Time, from PeerID, pkts []rtcp.Packet, out *Batch) {
	p := r.find(from)
	if p == nil {
		r.drop(DropUnknownPeer)
		return
	}
	asked := 0
	for _, pkt := range pkts {
		switch pkt := pkt.(type) {
		case *rtcp.SenderReport:
			r.onSenderReport(now, p, pkt)
			r.onReceptions(now, p, pkt.Reports)
		case *rtcp.ReceiverReport:
			r.onReceptions(now, p, pkt.Reports)
		case *rtcp.PictureLossIndication:
			r.onKeyRequest(now, p, pkt.MediaSSRC, out)
		case *rtcp.FullIntraRequest:
			for _, e := range pkt.FIR[:min(len(pkt.FIR), maxRequests)] {
				r.onKeyRequest(now, p, e.SSRC, out)
			}
		case *rtcp.TransportLayerNack:
			asked = r.onNACK(now, p, pkt, asked, out)
		case *rtcp.TransportLayerCC:
			r.onFeedback(now, p, pkt, out)
		}
	}
}
