package client

import (
	"context"
	"encoding/binary"
	"time"

	"sotto/e2ee/sframe"
)

// Synthetic is a video source for measurements and tests: frames that only look like an encoder's as far as a server can see. Inside
// the encryption they carry the time of sending and what they refer to, so that a receiver knows whether a decoder would have shown
// them. It is sent in the first codec of the answer, and in another one when the service asks for it. VP8 has one layer; streams in
// VP9 and AV1 have three temporal layers.
type Synthetic struct {
	// BytesPerSecond is the rate of plain frames, all layers together; each layer has twice the rate of the one below.
	BytesPerSecond int
	// FramesPerSecond; 0 is 30.
	FramesPerSecond int
	// Streams is how many simulcast streams are sent, at most 3; 0 is 1.
	Streams int
	// Spatial is how many spatial layers each stream has in VP9 and AV1, at most 3; 0 is 1.
	Spatial int
	// Between: spatial layers refer to each other in every picture (L3T3), not in key pictures alone (L3T3_KEY).
	Between bool
}

// A synthetic frame is: the clear first byte (bit 0 is 0 on frames that refer to none), syntheticMagic, u64 send time in ns since
// 1970, u64 number of the frame since its stream began, u8 layer, u8 count and the frames referred to, each as u8 difference of
// numbers, filling.
const (
	syntheticMagic  = "sotto synthetic"
	syntheticHeader = 1 + len(syntheticMagic) + 8 + 8 + 1 + 1
	// maxRefs is how many frames one refers to: the one before in its layer, and the layer below.
	maxRefs = 2
	// syntheticKeyInterval is how often a key frame comes without being asked for, in frames.
	syntheticKeyInterval = 300
)

func (s *Synthetic) interval() time.Duration {
	return time.Second / time.Duration(s.framesPerSecond())
}

func (s *Synthetic) framesPerSecond() int {
	if s.FramesPerSecond <= 0 {
		return 30
	}
	return s.FramesPerSecond
}

func (s *Synthetic) streams() int { return min(max(s.Streams, 1), 3) }

// size returns the bytes of a frame of one of so many layers.
func (s *Synthetic) size(layer, layers int) int {
	return s.BytesPerSecond / s.framesPerSecond() << layer / (1<<layers - 1)
}

// syntheticFrame is what a frame carries inside the encryption.
type syntheticFrame struct {
	sent   time.Time
	number uint64
	layer  int
	refs   []uint64 // none: a key frame
}

func (f *syntheticFrame) append(dst []byte, size int) []byte {
	first := byte(1)
	if len(f.refs) == 0 {
		first = 0
	}
	at := len(dst)
	dst = append(dst, first)
	dst = append(dst, syntheticMagic...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(f.sent.UnixNano()))
	dst = binary.BigEndian.AppendUint64(dst, f.number)
	dst = append(dst, byte(f.layer), byte(len(f.refs)))
	for _, ref := range f.refs {
		dst = append(dst, byte(f.number-ref))
	}
	for len(dst)-at < size {
		dst = append(dst, byte(len(dst)-at))
	}
	return dst
}

// parseSynthetic reads a frame; its references go into refs.
func parseSynthetic(b []byte, refs []uint64) (syntheticFrame, bool) {
	if len(b) < syntheticHeader || string(b[1:1+len(syntheticMagic)]) != syntheticMagic {
		return syntheticFrame{}, false
	}
	rest := b[1+len(syntheticMagic):]
	f := syntheticFrame{
		sent:   time.Unix(0, int64(binary.BigEndian.Uint64(rest))),
		number: binary.BigEndian.Uint64(rest[8:]),
		layer:  int(rest[16]),
		refs:   refs[:0],
	}
	count := int(rest[17])
	at := syntheticHeader + count
	if count > maxRefs || at > len(b) || b[0]&1 == 0 != (count == 0) {
		return syntheticFrame{}, false
	}
	for _, back := range rest[18 : 18+count] {
		f.refs = append(f.refs, f.number-uint64(back))
	}
	for i, v := range b[at:] {
		if v != byte(at+i) {
			return syntheticFrame{}, false
		}
	}
	return f, true
}

// encoder is a model of an encoder of one stream: it decides what each frame refers to.
type encoder struct {
	layers  uint8 // spatial
	tiers   bool  // temporal layers
	between bool
	number  uint64 // of the newest frame
	picture int    // since the last key picture
	newest  [3][temporalLayers]uint64
}

// begin begins the next picture and returns its temporal layer; its frames come from next.
func (e *encoder) begin(key bool) (tid uint8) {
	e.picture++
	if key {
		e.picture = 0
	}
	if !e.tiers {
		return 0
	}
	return []uint8{0, 2, 1, 2}[e.picture%4]
}

// next returns the frame of a spatial layer in the picture, and the frames that it refers to.
func (e *encoder) next(sid, tid uint8, refs []uint64) (layered, []uint64) {
	e.number++
	keyPicture := e.picture == 0
	f := layered{
		key: keyPicture && sid == 0, sid: sid, tid: tid, layers: e.layers, number: e.number,
		between: sid > 0 && (keyPicture || e.between), upper: sid < e.layers-1 && (keyPicture || e.between),
		template: sid*templatesPerLayer + 1 + tid,
	}
	refs = refs[:0]
	if keyPicture {
		f.template = sid * templatesPerLayer
	} else {
		from := uint8(0)
		if tid == 2 && e.picture%4 == 3 {
			from = 1
		}
		refs = append(refs, e.newest[sid][from])
		f.back = int(e.number-e.newest[sid][from]) / int(e.layers)
	}
	if f.between {
		refs = append(refs, e.number-1)
	}
	e.newest[sid][tid] = e.number
	return f, refs
}

// runSynthetic sends synthetic frames until ctx ends.
func (p *Participant) runSynthetic(ctx context.Context, pub *publication) {
	source := p.cfg.Synthetic
	step := uint32(clockVideo / source.framesPerSecond())
	p.every(ctx, source.interval(), func(time.Time) {
		for i, s := range pub.streams {
			s.ts += step
			if pub.muted.Load() || i >= int(pub.wanted.Load()) {
				s.key.Store(true)
				continue
			}
			p.writeSynthetic(s, i, len(pub.streams))
		}
	})
}

// writeSynthetic sends the next picture of a stream.
func (p *Participant) writeSynthetic(s *outStream, index, streams int) {
	source, codec := p.cfg.Synthetic, s.track.codec()
	if codec != s.codec { // another codec begins with a key frame
		s.codec = codec
		layers := uint8(1)
		if codec != sframe.VP8 {
			layers = uint8(min(max(source.Spatial, 1), 3))
		}
		s.encoder = encoder{layers: layers, tiers: codec != sframe.VP8, between: source.Between, number: s.encoder.number}
		s.key.Store(true)
	}
	if s.key.Swap(false) || s.next == syntheticKeyInterval {
		s.next = 0
	}
	tid := s.encoder.begin(s.next == 0)
	s.next++
	for sid := range s.encoder.layers {
		f, refs := s.encoder.next(sid, tid, s.refs)
		s.refs, f.shrink = refs, uint8(streams-1-index)
		layer, layers := index, streams
		if s.encoder.layers > 1 {
			layer, layers = int(sid), int(s.encoder.layers)
		}
		body := syntheticFrame{sent: time.Now(), number: f.number, layer: layer, refs: refs}
		s.plain = body.append(s.plain[:0], source.size(layer, layers))
		var err error
		if s.protected, err = p.keys.protect(s.protected[:0], sframe.Camera, codec, f.key, s.plain); err != nil {
			p.count.notProtected.Add(1)
			s.next = 0
			return
		}
		if s.writeFrame(&f) != nil {
			p.count.notWritten.Add(1)
		}
	}
}
