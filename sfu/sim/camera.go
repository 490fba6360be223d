package sim

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/packet"
	"sotto/sfu/report"
	"sotto/sfu/room"
	"sotto/sfu/unit"
)

var (
	cameraExtensions = packet.Extensions{MID: 4, RID: 5, RepairedRID: 6, TransportCC: 3}
	cameraVP8        = room.PayloadType{PT: 96, RTX: 97, Codec: packet.VP8, ClockRate: 90000}
	cameraOpus       = room.PayloadType{PT: 111, Codec: packet.Opus, ClockRate: 48000}
	layerNames       = []string{"q", "h", "f"}
)

const (
	frameRate = 30
	// keyFactor is how much larger than the mean a key frame is: measured 4-8 with browsers' VP8 at these sizes, and 12 with a
	// picture that needs all it may spend.
	keyFactor = 5
	// keyGap is the least time between two key frames of an encoder that is asked for them (libwebrtc).
	keyGap = 300 * time.Millisecond
	// descriptorBytes are the VP8 payload descriptor, bodyHeader what the model writes at the start of a packet.
	descriptorBytes, bodyHeader = 6, 8
	maxBody                     = 1100
)

// CameraPlan describes a publisher: a camera of up to three layers and a microphone.
type CameraPlan struct {
	Layers []unit.Bitrate  // lowest first; none is 150, 500 and 1,700 kbit/s
	Ramp   []time.Duration // when each layer begins; none is 0, 100 and 250 ms, as measured with Chromium
	Delay  time.Duration   // one way to the server, 0 is 20 ms
	Off    bool            // begins silent
	Key    float64         // key frames in mean frames, 0 is keyFactor
}

// Camera is a publisher's encoder and sender.
type Camera struct {
	Off  bool
	Deaf bool // answers no key frame request
	Keep int  // encodes one picture of so many, for want of processor time; 0 is all

	w      *World
	id     room.PeerID
	plan   CameraPlan
	layers []*encoding
	frame  int
	twcc   uint16
	audio  uint16
	PLIs   int
}

// encoding is one simulcast layer.
type encoding struct {
	ssrc, rtx uint32
	rate      unit.Bitrate
	begins    time.Duration
	seq, rtxs uint16
	ts        uint32
	pic       uint16
	tl0       uint8
	debt      float64 // bytes spent above the rate, which the rate control takes back
	key       bool
	keyAt     time.Duration
	stopped   bool
	sent      map[uint16][]byte
}

func newCamera(w *World, id room.PeerID, plan CameraPlan) *Camera {
	if plan.Layers == nil {
		plan.Layers = []unit.Bitrate{150 * unit.Kbps, 500 * unit.Kbps, 1700 * unit.Kbps}
	}
	if plan.Ramp == nil {
		plan.Ramp = []time.Duration{0, 100 * time.Millisecond, 250 * time.Millisecond}
	}
	if plan.Key == 0 {
		plan.Key = keyFactor
	}
	if plan.Delay == 0 {
		plan.Delay = 20 * time.Millisecond
	}
	c := &Camera{w: w, id: id, plan: plan, Off: plan.Off}
	track := room.PublishedTrack{Source: room.SourceCamera, MID: "1", Codecs: []room.PayloadType{cameraVP8}}
	for i, rate := range plan.Layers {
		c.layers = append(c.layers, &encoding{
			ssrc: uint32(id)*1000 + uint32(i), rtx: uint32(id)*1000 + 100 + uint32(i), rate: rate, begins: plan.Ramp[i],
			seq: uint16(w.rng.Uint32()), ts: w.rng.Uint32(), pic: uint16(w.rng.Uint32N(1 << 15)), tl0: uint8(w.rng.Uint32()),
			key: true, keyAt: -time.Hour, sent: map[uint16][]byte{},
		})
		track.RIDs = append(track.RIDs, layerNames[i])
	}
	w.apply(room.Join{Peer: id, Extensions: cameraExtensions})
	w.apply(room.Publish{Peer: id, Tracks: []room.PublishedTrack{track, {Source: room.SourceMic, MID: "0", Codecs: []room.PayloadType{cameraOpus}}}})
	phase := time.Duration(w.rng.Int64N(int64(time.Second / frameRate)))
	w.every(phase, time.Second/frameRate, c.capture)
	w.every(phase, 20*time.Millisecond, c.listen)
	w.every(phase+500*time.Millisecond, time.Second, c.reports)
	return c
}

// SetRate changes what a layer sends.
func (c *Camera) SetRate(layer int, rate unit.Bitrate) { c.layers[layer].rate = rate }

// Stop ends or resumes a layer.
func (c *Camera) Stop(layer int, stopped bool) {
	c.layers[layer].stopped, c.layers[layer].key = stopped, true
}

func (c *Camera) reports() {
	for _, l := range c.layers {
		if !c.Off && len(l.sent) > 0 {
			c.w.rtcp(c.id, c.plan.Delay, &rtcp.SenderReport{SSRC: l.ssrc, NTPTime: report.ToNTP(c.w.wall()), RTPTime: l.ts})
		}
	}
}

func (c *Camera) listen() {
	if c.Off {
		return
	}
	c.audio++
	h := c.header(cameraOpus.PT, c.audio, uint32(c.audio)*960, uint32(c.id)*1000+500, "0", "", false)
	c.emit(append(h, make([]byte, 80)...))
}

func (c *Camera) capture() {
	c.frame++
	if c.Keep > 1 && c.frame%c.Keep != 0 {
		return
	}
	for i, l := range c.layers {
		if !c.Off && !l.stopped && c.w.now >= l.begins {
			c.encode(i, l)
		}
	}
}

// encode sends one frame. Sizes vary, key frames are larger, and the rate control takes back what they cost.
func (c *Camera) encode(i int, l *encoding) {
	mean := float64(l.rate) / 8 / frameRate
	size := mean * math.Exp(0.15*c.w.rng.NormFloat64())
	key := l.key && c.w.now-l.keyAt >= keyGap
	if key {
		size *= c.plan.Key
		l.key, l.keyAt = false, c.w.now
	} else {
		size = max(size-l.debt/20, mean/3)
	}
	l.debt += size - mean
	l.ts += 90000 / frameRate
	l.pic = (l.pic + 1) & 0x7fff
	l.tl0++
	total := int(size)
	n := total/maxBody + 1
	for k := range n {
		d := []byte{0x80, 0xE0, 0x80 | byte(l.pic>>8), byte(l.pic), l.tl0, 0x20}
		if k == 0 {
			d[0] |= 0x10
		}
		body := make([]byte, bodyHeader+total/n)
		if k > 0 || !key {
			body[0] |= 1
		}
		body[1], body[2], body[3] = byte(i), byte(k), byte(n)
		binary.BigEndian.PutUint32(body[4:], uint32(c.frame))
		l.seq++
		h := c.header(cameraVP8.PT, l.seq, l.ts, l.ssrc, "1", layerNames[i], k == n-1)
		raw := append(append(h, d...), body...)
		l.sent[l.seq] = raw
		delete(l.sent, l.seq-2000)
		c.emit(raw)
	}
}

func (c *Camera) header(pt uint8, seq uint16, ts, ssrc uint32, mid, rid string, marker bool) []byte {
	h := make([]byte, 28, 28+descriptorBytes+bodyHeader+maxBody)
	h[0], h[1] = 0x90, pt
	if marker {
		h[1] |= 0x80
	}
	binary.BigEndian.PutUint16(h[2:], seq)
	binary.BigEndian.PutUint32(h[4:], ts)
	binary.BigEndian.PutUint32(h[8:], ssrc)
	h[12], h[13], h[15] = 0xBE, 0xDE, 3
	c.twcc++
	e := append(h[16:16], cameraExtensions.TransportCC<<4|1, byte(c.twcc>>8), byte(c.twcc), cameraExtensions.MID<<4, mid[0])
	if rid != "" {
		id := cameraExtensions.RID
		if pt == cameraVP8.RTX {
			id = cameraExtensions.RepairedRID
		}
		_ = append(e, id<<4, rid[0])
	}
	return h
}

func (c *Camera) emit(raw []byte) {
	c.w.at(c.w.now+c.plan.Delay, func() {
		buf := append([]byte(nil), raw...)
		var p packet.Packet
		if err := packet.Parse(buf, &cameraExtensions, c.w.wall(), &p); err != nil {
			panic("sim: " + err.Error())
		}
		c.w.room.HandleRTP(c.w.wall(), c.id, &p, &c.w.batch)
		c.w.flush()
	})
}

func (c *Camera) feedback(p rtcp.Packet) {
	switch p := p.(type) {
	case *rtcp.PictureLossIndication:
		c.PLIs++
		for _, l := range c.layers { // browsers answer with key frames on all layers
			l.key = l.key || !c.Deaf
		}
	case *rtcp.TransportLayerNack:
		for _, pair := range p.Nacks {
			for _, n := range pair.PacketList() {
				c.retransmit(p.MediaSSRC, n)
			}
		}
	}
}

func (c *Camera) retransmit(ssrc uint32, n uint16) {
	for i, l := range c.layers {
		if raw := l.sent[n]; l.ssrc == ssrc && raw != nil {
			l.rtxs++
			h := c.header(cameraVP8.RTX, l.rtxs, binary.BigEndian.Uint32(raw[4:]), l.rtx, "1", layerNames[i], raw[1]&0x80 != 0)
			c.emit(append(append(h, byte(n>>8), byte(n)), raw[len(h):]...))
		}
	}
}
