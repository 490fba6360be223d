package room

import (
	"time"

	"sotto/sfu/loss"
	"sotto/sfu/packet"
	"sotto/sfu/report"
	"sotto/sfu/ring"
	"sotto/sfu/seq"
	"sotto/sfu/unit"
)

const (
	// videoRing packets are kept of a video stream: about a second of 5 Mbit/s; audioRing twice what a batch may hold.
	videoRing = 512
	audioRing = 128
	// liveFor is how long a layer counts as sent after its last packet. A publisher stops layers for want of bandwidth;
	// a track's only stream is live while it exists, since a still screen may send a frame a minute.
	liveFor = 1500 * time.Millisecond
	// relatchAfter is the least time between two SSRCs for one layer, so that invented SSRCs cannot make subscribers ask
	// for key frames all the time.
	relatchAfter = time.Second
)

// stream is one received RTP stream: a layer of a track.
type stream struct {
	ssrc    uint32
	track   *track
	layer   int8
	latched time.Time
	// Where the publisher restarted: the repair stream of the stream before, 0 if none was seen. Its packets are not of this one.
	restarted bool
	formerRTX uint32
	contested bool // packets of another SSRC came, too soon for a restart, and none of this one since

	unwrap seq.Unwrapper
	window seq.Window
	// badSeq is the last number that was older than the window, if badSeen.
	badSeq   uint16
	badSeen  bool
	desc     packet.Descriptor
	ring     *ring.Ring
	loss     loss.Detector
	given    uint64 // packets that loss has given up, as far as they were acted on
	recv     report.Receiver
	clock    report.Clock
	rate     meter
	spatial  spatial
	temporal temporal
	expected uint64 // as counted in the room's statistics
	lost     int64

	last   time.Time // arrival of the newest packet
	live   bool      // false before the first packet, too
	height uint16    // lines, 0 unknown

	key keyState
}

func newStream(now time.Time, ssrc uint32, t *track, layer int8) *stream {
	size := videoRing
	if t.source.Kind() == Audio {
		size = audioRing
	}
	return &stream{
		ssrc: ssrc, track: t, layer: layer, latched: now, last: now, ring: ring.New(size), rate: meter{since: now},
	}
}

// pause forgets what a pause of the media makes meaningless.
func (s *stream) pause() {
	s.loss = loss.Detector{}
	s.key.wanted = false
}

// meter measures a rate over windows of half a second and keeps the mean of the last two.
//
// An encoder that is short of processor time leaves out frames for a second or two, and its layers look cheap just then. So the
// meter also keeps how many frames a second the publisher has shown that it can make.
type meter struct {
	since     time.Time
	bytes     int
	frames    int
	now, then sample
	windows   uint8
	most      float64 // frames a second, forgotten slowly
}

// sample is what one window measured.
type sample struct {
	rate   unit.Bitrate
	frames float64 // a second
}

const (
	meterWindow = 500 * time.Millisecond
	// fewerFrames is how fast a frame rate that is not reached any more is forgotten, a part of it for each window: a stall of
	// two seconds costs an eighth, a camera that goes from 30 to 15 frames/s is believed after ten seconds.
	fewerFrames = 1.0 / 32
)

// add counts a packet of n bytes and reports whether a window ended with it. first tells the one packet of each frame that counts the
// frame, however late it comes and whatever comes before it.
func (m *meter) add(now time.Time, first bool, n int) (rolled bool) {
	if first {
		m.frames++
	}
	m.bytes += n
	d := now.Sub(m.since)
	if d < meterWindow {
		return false
	}
	m.then, m.now = m.now, sample{unit.RateOf(m.bytes, d), float64(m.frames) / d.Seconds()}
	m.since, m.bytes, m.frames = now, 0, 0
	m.windows = min(m.windows+1, 2)
	m.most = max(m.most*(1-fewerFrames), m.mean().frames)
	return true
}

// resume begins a window anew after a pause, which is no rate of zero.
func (m *meter) resume(now time.Time) { m.since, m.bytes, m.frames = now, 0, 0 }

// mean returns what was measured of late, while windows is not 0.
func (m *meter) mean() sample {
	if m.windows == 1 {
		return m.now
	}
	return sample{(m.now.rate + m.then.rate) / 2, (m.now.frames + m.then.frames) / 2}
}

// rate returns the measured rate, or guess while there is none.
func (m *meter) rate(guess unit.Bitrate) unit.Bitrate {
	if m.windows == 0 {
		return guess
	}
	return m.mean().rate
}

// full returns the rate at the frame rate that the publisher has reached before, at least what rate returns.
func (m *meter) full(guess unit.Bitrate) unit.Bitrate {
	if m.windows == 0 {
		return guess
	}
	s := m.mean()
	if s.frames == 0 { // less than one in two windows
		return s.rate
	}
	return unit.Bitrate(float64(s.rate) * (m.most / s.frames))
}

// liveness ends the live marks of a peer's streams that fell silent and reports whether there was one.
func (p *peer) liveness(now time.Time) (changed bool) {
	for _, t := range p.tracks {
		if t == nil || t.layers() == 1 {
			continue
		}
		for _, s := range t.streams {
			if s == nil || !s.live {
				continue
			}
			patience := liveFor
			if c := t.constraint(); c.known && s.layer > c.layer {
				patience = unwantedLiveFor
			}
			if now.Sub(s.last) >= patience {
				s.live, changed = false, true
			}
		}
	}
	return changed
}

// live reports whether any layer of the track is sent.
func (t *track) live() bool {
	for _, s := range t.streams {
		if s != nil && s.live {
			return true
		}
	}
	return false
}
