package sim

import (
	"strconv"
	"time"

	"github.com/pion/rtcp"

	"sotto/sfu/bwe"
	"sotto/sfu/packet"
	"sotto/sfu/room"
	"sotto/sfu/unit"
)

var (
	viewerExtensions = packet.Extensions{MID: 3, TransportCC: 7}
	viewerVP8        = room.PayloadType{PT: 120, RTX: 124, Codec: packet.VP8, ClockRate: 90000}
	viewerOpus       = room.PayloadType{PT: 109, Codec: packet.Opus, ClockRate: 48000}
)

// ViewerPlan describes a subscriber.
type ViewerPlan struct {
	Down   LinkConfig    // Delay 0 is 20 ms
	Up     time.Duration // delay of its feedback, 0 is 20 ms
	UpLoss float64       // of its feedback, 0-1
	UpRate unit.Bitrate  // of the way back, 0 is unlimited
	Shared int           // 1 is the first of the plan's shared links, instead of Down, and Down.Delay comes on top; 0 is none
	Joins  time.Duration
	Height uint16 // of every camera, 0 is 720
	// Feedback is the interval of its transport-wide feedback, 0 is that of the recorder (50 ms).
	Feedback time.Duration
}

type layerSwitch struct {
	at time.Duration
	to int8
}

// Viewer is a subscriber of every camera: a link and a receiver for each slot.
type Viewer struct {
	Link  *Link
	back  *Link         // of its feedback; nil is a way without limit
	extra time.Duration // of its way behind a shared link
	w     *World
	id    room.PeerID
	plan  ViewerPlan
	slots []room.Slot
	video []*decoder
	rec   bwe.Recorder
	audio audioResult

	switches []layerSwitch
	out      int // bytes handed to the link since the last line
	repairs  int // of them retransmissions, probes among them
	joined   bool
	fedBack  time.Duration // last transport-wide feedback
}

// audioResult counts packets of sound.
type audioResult struct{ sent, received int }

func newViewer(w *World, id room.PeerID, plan ViewerPlan) *Viewer {
	extra := plan.Down.Delay
	if plan.Down.Delay == 0 {
		plan.Down.Delay = 20 * time.Millisecond
	}
	if plan.Up == 0 {
		plan.Up = 20 * time.Millisecond
	}
	if plan.Height == 0 {
		plan.Height = 720
	}
	v := &Viewer{w: w, id: id, plan: plan}
	if plan.UpRate > 0 {
		v.back = newLink(w, LinkConfig{Rate: plan.UpRate, Delay: plan.Up})
	}
	if plan.Shared > 0 {
		v.Link, v.extra = w.Links[plan.Shared-1], extra
	} else {
		v.Link = newLink(w, plan.Down)
	}
	for i := range w.Cameras {
		ssrc := uint32(id)*1000 + 4*uint32(i)
		v.slots = append(v.slots,
			room.Slot{MID: strconv.Itoa(2 * i), Kind: room.Video, SSRC: ssrc, RTXSSRC: ssrc + 1, Codecs: []room.PayloadType{viewerVP8}},
			room.Slot{MID: strconv.Itoa(2*i + 1), Kind: room.Audio, SSRC: ssrc + 2, Codecs: []room.PayloadType{viewerOpus}})
		v.video = append(v.video, newDecoder(v, ssrc))
	}
	w.at(plan.Joins, v.join)
	return v
}

func (v *Viewer) join() {
	v.joined = true
	v.w.apply(room.Join{Peer: v.id, Extensions: viewerExtensions})
	v.w.apply(room.Slots{Peer: v.id, Slots: v.slots})
	v.Want(v.plan.Height)
	v.w.every(v.w.now+5*time.Millisecond, 5*time.Millisecond, v.tick)
	v.w.every(v.w.now+time.Second, time.Second, v.report)
}

// Want asks for all cameras at a height; 0 pauses them.
func (v *Viewer) Want(height uint16) {
	var wishes []room.Wish
	for _, c := range v.w.Cameras {
		wishes = append(wishes, room.Wish{Publisher: c.id, Source: room.SourceCamera, Height: height, Paused: height == 0})
	}
	v.w.apply(room.Want{Peer: v.id, Wishes: wishes})
}

// sent puts a packet of the room on the link.
func (v *Viewer) sent(s *room.Send, raw []byte) {
	size := len(raw) + wireOverhead
	v.out += size
	if s.RTX || s.Packet == nil {
		v.repairs += size
	}
	if s.Kind == room.Audio {
		v.audio.sent++
	}
	v.Link.send(size, func() {
		if v.extra == 0 {
			v.receive(raw)
			return
		}
		v.w.at(v.w.now+v.extra, func() { v.receive(raw) })
	}, nil)
}

func (v *Viewer) receive(raw []byte) {
	p := new(packet.Packet)
	if err := packet.Parse(raw, &viewerExtensions, v.w.wall(), p); err != nil {
		panic("sim: the room sent a packet that cannot be read: " + err.Error())
	}
	v.rec.Received(v.w.wall(), p.TransportSeq)
	for i, s := range v.slots {
		switch p.SSRC {
		case s.SSRC:
			if s.Kind == room.Audio {
				v.audio.received++
			} else {
				v.video[i/2].packet(p)
			}
			return
		case s.RTXSSRC:
			if p.PaddingOnly() || p.UnwrapRTX(s.SSRC, viewerVP8.PT) != nil {
				return // a probe
			}
			v.video[i/2].packet(p)
			return
		}
	}
}

func (v *Viewer) tick() {
	for _, d := range v.video {
		d.tick()
	}
	if v.w.now-v.fedBack < v.plan.Feedback {
		return
	}
	v.fedBack = v.w.now
	for _, fb := range v.rec.Feedback(v.w.wall(), 1, 2, nil) {
		v.w.rtcp(v.id, v.plan.Up, fb)
	}
}

func (v *Viewer) report() {
	for _, d := range v.video {
		if d.stats.Started() {
			b := d.stats.Report(v.w.wall(), d.ssrc)
			v.w.rtcp(v.id, v.plan.Up, &rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{b}})
		}
	}
}

func (v *Viewer) senderReport(sr *rtcp.SenderReport) {
	for _, d := range v.video {
		if d.ssrc == sr.SSRC {
			d.stats.SenderReport(v.w.wall(), sr.NTPTime)
		}
	}
}

// stuck is how old a picture may be and still count as shown.
const stuck = 500 * time.Millisecond

// layer returns the lowest layer that the decoders show, -1 if one shows none.
func (v *Viewer) layer() int {
	lowest := 2
	for _, d := range v.video {
		if v.w.now-d.shownAt > stuck {
			return -1
		}
		lowest = min(lowest, d.layer)
	}
	return lowest
}
