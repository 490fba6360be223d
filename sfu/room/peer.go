package room

import (
	"math/rand/v2"
	"slices"
	"time"

	"sotto/sfu/bwe"
	"sotto/sfu/pace"
	"sotto/sfu/packet"
	"sotto/sfu/unit"
)

// peer is one participant: what it publishes, and what it receives.
type peer struct {
	id   PeerID
	ext  packet.Extensions
	ssrc uint32 // ours, in the RTCP to this peer

	// as a publisher
	tracks     [MaxSources]*track
	muted      [MaxSources]bool
	incoming   []incoming // latched SSRCs, at most maxStreams
	former     []former   // SSRCs of tracks that were withdrawn, at most maxStreams
	maxStreams int
	recorder   bwe.Recorder
	lastSSRC   uint32        // newest stream with a transport-wide number
	in         [Kinds]bucket // what it may still send
	clockShift time.Duration
	clockKnown bool
	asked      [MaxSources]constraint // what it was told to send

	// as a subscriber
	slots     []*slot // in m-line order
	retired   []*slot // no longer listed; kept because their SSRCs must never start over
	wishes    []Wish
	waiting   int         // wanted tracks without a slot
	lost      int         // slots whose tracks were withdrawn; tracksChanged has not been called yet
	moved     bool        // a slot got or lost its track; settle has not been called yet
	urgent    bool        // likewise, and layers must be chosen at once
	told      []SlotState // as of the last SlotsChanged
	estimator *bwe.Estimator
	pacer     pace.Pacer
	transport uint16 // next transport-wide number
	probing   probing
	climb     climb
	spent     unit.Bitrate // the rate of all targets, sound included
	repairs   bucket       // what retransmissions may still take
	rtt       time.Duration
	dirty     bool      // allocate at the next housekeeping
	allocAt   time.Time // allocate then at the latest
	reportAt  time.Time
}

// incoming maps an SSRC to the stream that it carries or repairs.
type incoming struct {
	ssrc uint32
	rtx  bool
	s    *stream
}

// former is what an SSRC carried before its track was withdrawn. A browser stops sending MID and RID once they were
// acknowledged, and goes on with the same SSRCs when its m-line comes back: nothing else tells then what they are.
type former struct {
	ssrc  uint32
	mid   string
	layer int8
	rtx   bool
}

// remember keeps what the SSRCs of a stream carry, the newest maxStreams of them.
func (p *peer) remember(s *stream) {
	for _, in := range p.incoming {
		if in.s != s {
			continue
		}
		p.former = slices.DeleteFunc(p.former, func(f former) bool { return f.ssrc == in.ssrc })
		if len(p.former) >= p.maxStreams {
			p.former = slices.Delete(p.former, 0, 1)
		}
		p.former = append(p.former, former{in.ssrc, s.track.def.MID, s.layer, in.rtx})
	}
}

// returning finds the track that an SSRC of a withdrawn one belongs to now.
func (p *peer) returning(ssrc uint32) (t *track, layer int, rtx bool) {
	for _, f := range p.former {
		if f.ssrc == ssrc {
			return p.byMID([]byte(f.mid)), int(f.layer), f.rtx
		}
	}
	return nil, 0, false
}

func newPeer(now time.Time, j Join, rng *rand.Rand) *peer {
	if j.MaxStreams <= 0 {
		j.MaxStreams = DefaultMaxStreams
	}
	e := bwe.New(bwe.Config{})
	p := &peer{
		id: j.Peer, ext: j.Extensions, ssrc: rng.Uint32(), maxStreams: j.MaxStreams,
		in:        [Kinds]bucket{newBucket(now, MaxPublishAudio, time.Second), newBucket(now, MaxPublish, time.Second)},
		estimator: e,
		pacer:     pace.New(now, e.Estimate().Keep),
		transport: uint16(rng.Uint32()),
		rtt:       defaultRTT,
		// Reports of the peers of a room are spread over the interval.
		reportAt: now.Add(reportEvery/4 + time.Duration(rng.Int64N(int64(reportEvery/2)))),
		allocAt:  now,
	}
	p.climb.change = e.Estimate().Change
	p.repairs = newBucket(now, e.Estimate().Keep/10, time.Second)
	return p
}

// latched returns the entry of an SSRC, or nil. There are at most maxStreams of them.
func (p *peer) latched(ssrc uint32) *incoming {
	for i := range p.incoming {
		if p.incoming[i].ssrc == ssrc {
			return &p.incoming[i]
		}
	}
	return nil
}

// unlatch forgets a stream and its repair stream.
func (p *peer) unlatch(s *stream) {
	p.incoming = slices.DeleteFunc(p.incoming, func(in incoming) bool { return in.s == s })
}

// slotOf returns the slot with an SSRC, or nil; RTX SSRCs are not looked for.
func (p *peer) slotOf(ssrc uint32) *slot {
	for _, s := range p.slots {
		if s.SSRC == ssrc {
			return s
		}
	}
	return nil
}

// bucket is a token bucket of bytes.
type bucket struct {
	rate   unit.Bitrate
	depth  time.Duration
	tokens float64
	at     time.Time
}

func newBucket(now time.Time, rate unit.Bitrate, depth time.Duration) bucket {
	return bucket{rate: rate, depth: depth, tokens: float64(rate.Bytes(depth)), at: now}
}

// take takes n bytes, if they are there.
func (b *bucket) take(now time.Time, n int) bool {
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(b.tokens+float64(b.rate)*d.Seconds()/8, float64(b.rate.Bytes(b.depth)))
		b.at = now
	}
	if b.tokens < float64(n) {
		return false
	}
	b.tokens -= float64(n)
	return true
}
