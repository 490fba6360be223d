package client

import (
	"errors"
	"slices"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"sotto/e2ee/group"
	"sotto/e2ee/link"
	"sotto/e2ee/room"
	"sotto/e2ee/sframe"
	"sotto/signal/protocol"
)

const (
	// waitVideo is how long a hole in a video stream may wait for a retransmission.
	waitVideo = 400 * time.Millisecond
	// waitAudio covers reordering; audio is not sent again.
	waitAudio = 60 * time.Millisecond
	// askAgain is the least interval between key frame requests for a track whose decoder lacks a reference.
	askAgain = 500 * time.Millisecond
)

// reception is one receiving media section that gets packets. Under Participant.mu.
type reception struct {
	mid       string
	ssrc      uint32
	assembler *assembler

	track     *receivedTrack // what is bound to it now
	decoder   decoder
	synthetic syntheticDecoder
	refs      []uint64
	asked     time.Time
	plain     []byte
}

// receivedTrack is a track of a peer, on whatever media section it comes.
type receivedTrack struct {
	conn    link.ConnID
	source  sframe.Context
	stats   TrackStats
	resumed bool // the next gap does not count: the track was muted, hidden or unbound
}

// paused notes why no picture comes, as the service says.
func (t *receivedTrack) paused(why string) {
	if t.stats.Paused = why; why == protocol.PausedHidden || why == protocol.PausedPublisher {
		t.resumed = true
	}
}

// receive reads one media section until its peer connection closes.
func (p *Participant) receive(track *webrtc.TrackRemote, mid string) {
	r := &reception{mid: mid, ssrc: uint32(track.SSRC()), assembler: newAssembler(windowAudio, waitAudio)}
	if track.Kind() == webrtc.RTPCodecTypeVideo {
		r.assembler = newAssembler(windowVideo, waitVideo)
	}
	p.mu.Lock()
	p.receptions = append(p.receptions, r)
	p.mu.Unlock()

	buf := make([]byte, 2048)
	var packet rtp.Packet
	for {
		n, _, err := track.Read(buf)
		if err != nil {
			return
		}
		now := time.Now()
		if err := packet.Unmarshal(buf[:n]); err != nil {
			p.count.malformed.Add(1)
			continue
		}
		in, err := arrivalOf(&packet)
		if err != nil {
			p.count.malformed.Add(1)
			continue
		}
		p.mu.Lock()
		p.arrived(now, r, in)
		p.flush()
		p.mu.Unlock()
	}
}

// arrivalOf reads the payload descriptor of a packet, of whatever codec.
func arrivalOf(p *rtp.Packet) (in arrival, err error) {
	in = arrival{
		seq: p.SequenceNumber, ts: p.Timestamp, start: true, end: true, last: p.Marker, codec: codecOf(p.PayloadType), payload: p.Payload,
	}
	if len(p.Payload) == 0 {
		return in, nil // padding
	}
	size := 0
	switch in.codec {
	case sframe.Opus:
		in.last = true
	case sframe.VP8:
		var d vp8Descriptor
		d, err = parseVP8(p.Payload)
		size, in.start, in.end = d.size, d.start, p.Marker
	case sframe.VP9:
		size, in.start, in.end, err = parseVP9(p.Payload)
	case sframe.AV1:
		size = 1
		in.start, in.end, err = parseAV1(p.Payload)
	default:
		err = errDescriptor
	}
	if err == nil {
		in.payload = p.Payload[size:]
	}
	return in, err
}

// arrived takes one packet and opens what became complete.
func (p *Participant) arrived(now time.Time, r *reception, in arrival) {
	r.assembler.push(now, in)
	for {
		f, ok := r.assembler.pop(now)
		if !ok {
			return
		}
		var err error
		r.plain, err = p.keys.room.Open(now, r.mid, f.codec, f.ts, f.data, r.plain[:0], &p.keys.out)
		p.released(now)
		switch err {
		case nil:
			p.opened(now, r, r.plain, f.last)
		case room.ErrHeld:
			p.due = true // it may not be held for ever
		}
	}
}

// released takes the frames that had waited for a key or a binding.
func (p *Participant) released(now time.Time) {
	for _, f := range p.keys.out.Frames {
		for _, r := range p.receptions {
			if r.mid == f.MID {
				p.opened(now, r, f.Data, true)
			}
		}
	}
	p.keys.out.Frames = p.keys.out.Frames[:0]
}

// opened judges a frame as a decoder would. Only the last frame of a picture shows it.
func (p *Participant) opened(now time.Time, r *reception, frame []byte, last bool) {
	b, ok := p.bound[r.mid]
	if !ok {
		return // the binding ended between opening and here; cannot happen under one lock
	}
	t := p.trackOf(b)
	if r.track != t {
		r.track, r.decoder, r.synthetic = t, decoder{}, syntheticDecoder{}
		t.resumed = true
	}
	event := FrameEvent{
		At: now, From: t.stats.Conn, Source: t.stats.Source, Bytes: len(frame),
	}
	t.stats.Opened++
	t.stats.Bytes += uint64(len(frame))
	var err error
	if f, ok := p.cfg.Clip.Find(frame); ok {
		event.Layer, event.Index = f.Layer, f.Index
		if t.source == sframe.Camera {
			err = r.decoder.feed(f)
			if f.Key {
				t.stats.KeyFrames++
			}
		}
	} else if f, ok := parseSynthetic(frame, r.refs); ok {
		r.refs = f.refs
		event.Layer, event.Latency = f.layer, now.Sub(f.sent)
		err = r.synthetic.feed(&f)
		if len(f.refs) == 0 {
			t.stats.KeyFrames++
		}
	} else {
		err = errUnknownFrame
	}
	switch {
	case err == nil && !last:
		// A higher spatial layer of the picture follows.
	case err == nil:
		event.Decoded = true
		t.stats.decoded(now, event.Layer, t.resumed)
		t.resumed = false
	case errors.Is(err, errUnknownFrame):
		t.stats.Unknown++
	default:
		t.stats.Undecodable++
		if now.Sub(r.asked) >= askAgain {
			r.asked = now
			p.keys.out.KeyFrames = append(p.keys.out.KeyFrames, r.mid)
		}
	}
	if p.cfg.Observer != nil {
		p.cfg.Observer.ReceivedFrame(event)
	}
}

func (p *Participant) trackOf(b room.Slot) *receivedTrack {
	for _, t := range p.tracks {
		if t.conn == b.Conn && t.source == b.Source {
			return t
		}
	}
	t := &receivedTrack{conn: b.Conn, source: b.Source, resumed: true}
	t.stats = TrackStats{Conn: protocol.ConnID(b.Conn), Source: protocol.Sources()[b.Source], Layer: -1}
	p.tracks = append(p.tracks, t)
	return t
}

// flush hands out what the key state wants to have sent. It does not block: envelopes go through the queue of the writer, key
// frame requests through that of the RTCP goroutine.
func (p *Participant) flush() {
	p.outbox = p.keys.takeSends(p.outbox)
	if over := len(p.outbox) - maxOutbox; over > 0 {
		p.count.envelopesDropped.Add(uint64(over))
		p.outbox = p.outbox[:maxOutbox]
	}
	for _, mid := range p.keys.out.KeyFrames {
		for _, r := range p.receptions {
			if r.mid == mid && len(p.requests) < protocol.MaxSlots {
				p.requests = append(p.requests, &rtcp.PictureLossIndication{MediaSSRC: r.ssrc})
			}
		}
	}
	p.hear()
	p.keys.out.Reset()
	if len(p.outbox) > 0 || len(p.texts) > 0 || len(p.requests) > 0 || p.due {
		p.stir()
	}
}

// hear takes note of what the group says.
func (p *Participant) hear() {
	if p.keys.out.KnocksChanged {
		p.knocks = p.keys.out.Knocks
	}
	if p.keys.out.Changed && !p.isAdmitted && p.keys.room.Group().State() == group.StateMember {
		p.isAdmitted = true
		close(p.admitted)
	}
	if p.keys.out.Link != nil {
		p.alias()
	}
	for _, n := range p.keys.out.Notices {
		switch n.Code {
		case group.NoticeStuck:
			p.cancel(ErrStuck)
		case group.NoticeRemoved, group.NoticeDuplicateIdentity:
			p.cancel(ErrRemoved)
		}
	}
	if p.cfg.Listener == nil {
		return
	}
	for _, m := range p.keys.out.Messages {
		p.cfg.Listener.Message(m)
	}
	for _, n := range p.keys.out.Notices {
		p.cfg.Listener.Notice(n)
	}
}

// alias registers the room's new link with the service. It is signed over the nonce of this connection, so that after a
// break it is done anew.
func (p *Participant) alias() {
	keys, _ := p.keys.room.Group().Keys()
	room, err := protocol.ParseRoomID(keys.RoomID())
	if err != nil {
		return // a room id that is derived is well-formed
	}
	a := &protocol.Alias{
		ID: p.lastID.Add(1), Room: room, LinkPub: protocol.Bytes(keys.Public()),
		LinkSig: keys.AliasSignature(p.host, p.nonce, p.conn),
	}
	if p.keys.room.Group().IsHost() {
		a.Host = protocol.Bytes(p.cfg.HostToken[:])
	}
	p.aliasID, p.linkRefused = a.ID, false
	p.texts = append(withoutAlias(p.texts), a)
}

// withoutAlias leaves out the requests that hold for one connection alone.
func withoutAlias(texts []protocol.ClientMessage) []protocol.ClientMessage {
	return slices.DeleteFunc(texts, func(m protocol.ClientMessage) bool { _, ok := m.(*protocol.Alias); return ok })
}
