package layer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"sotto/sfu/packet"
)

// encoder is a model of one simulcast layer: VP8 in three temporal layers (0 2 1 2), as libvpx writes them.
type encoder struct {
	rung     int8
	ext      uint64
	tsBase   uint32
	pic, tl0 uint16
	frame    uint16
	pattern  int
	withDD   bool
	perFrame int // packets
	frames   int
}

// sentPacket is a packet and the truth about it.
type sentPacket struct {
	p     packet.Packet
	frame int // number of the frame within its rung
	count int // packets of the frame
	index int
}

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newEncoder(rng *rand.Rand, rung int8, withDD bool) *encoder {
	return &encoder{
		rung: rung, withDD: withDD,
		ext: 1<<32 + rng.Uint64N(1<<16), tsBase: rng.Uint32(), pic: uint16(rng.UintN(1 << 15)),
		tl0: uint16(rng.UintN(256)), frame: uint16(rng.UintN(1 << 16)), perFrame: 1 + int(rung)*2,
	}
}

// encode returns the packets of the frame captured at t.
func (e *encoder) encode(t time.Duration, key bool) []sentPacket {
	if key {
		e.pattern = 0
	}
	tid := []uint8{0, 2, 1, 2}[e.pattern%4]
	sync := []bool{false, true, true, false}[e.pattern%4]
	e.pattern++
	if tid == 0 {
		e.tl0 = (e.tl0 + 1) & 0xff
	}
	e.pic = (e.pic + 1) & 0x7fff
	e.frame++
	e.frames++
	var out []sentPacket
	for i := range e.perFrame {
		e.ext++
		p := packet.Packet{
			PayloadAt: 12, PayloadEnd: 100, Arrival: start.Add(t), TS: e.tsBase + uint32(t*90_000/time.Second),
			ExtSeq: e.ext, Seq: uint16(e.ext), Codec: packet.VP8, Layer: e.rung, TID: tid,
			Start: i == 0, End: i == e.perFrame-1, Key: key,
			PictureID: e.pic, PictureIDAt: 14, PictureIDWide: true, TL0: e.tl0, TL0At: 16,
		}
		if sync {
			p.SwitchTID = tid
		}
		if e.withDD { // as Chromium: no picture id
			p.DD, p.Frame = packet.Span{At: 20, Len: 3}, e.frame
			p.PictureIDAt, p.TL0At, p.PictureID, p.TL0 = 0, 0, 0, 0
			p.SwitchTID = 0
			if tid == 0 {
				p.SwitchTID = 2
			}
		}
		out = append(out, sentPacket{p: p, frame: e.frames, count: e.perFrame, index: i})
	}
	return out
}

// received is a packet at the subscriber, with the truth.
type received struct {
	sentPacket
	out  Out
	seq  int64 // unwrapped
	fill bool
	era  int
}

// receiver is a model of a browser's jitter buffer for VP8, checking what it sees as a whole.
type receiver struct {
	all  []received
	last int64
	era  int
	seqs map[int64]bool

	ended bool // paused at the end, as good as a switch
}

func (r *receiver) take(sp sentPacket, o Out, fill bool) error {
	if r.seqs == nil {
		r.seqs = map[int64]bool{}
		r.last = int64(o.Seq)
	}
	seq := r.last + int64(int16(o.Seq-uint16(r.last)))
	if r.seqs[seq] {
		return fmt.Errorf("number %d went out twice", o.Seq)
	}
	r.seqs[seq] = true
	if o.Switched {
		if len(r.all) > 0 && seq != r.last+1 {
			return fmt.Errorf("switch goes from number %d to %d", uint16(r.last), o.Seq)
		}
		r.era++
	}
	r.last = max(r.last, seq)
	r.all = append(r.all, received{sp, o, seq, fill, r.era})
	return nil
}

// group is the packets of one frame as received.
type group struct {
	packets []received
	whole   bool
	filled  int // filled holes before it
}

// check looks at the stream in the order of its numbers. In the last tail frames before a switch, packets may be missing.
func (r *receiver) check(tail int) error {
	slices.SortFunc(r.all, func(a, b received) int { return int(a.seq - b.seq) })
	var groups []group
	type id struct {
		rung  int8
		era   int
		frame int
	}
	seen := map[id]bool{}
	var of id
	filled := 0
	for i := range r.all {
		rec := r.all[i]
		if rec.fill {
			filled++
			continue
		}
		this := id{rec.p.Layer, rec.era, rec.frame}
		if len(groups) == 0 || this != of {
			if seen[this] {
				return fmt.Errorf("frame %v is interleaved with another", this)
			}
			seen[this] = true
			if n := len(groups); n > 0 {
				before := groups[n-1].packets[0]
				if int32(rec.out.TS-before.out.TS) <= 0 {
					return fmt.Errorf("timestamp of %v goes from %d to %d", this, before.out.TS, rec.out.TS)
				}
				if this.era == of.era && this.frame < of.frame {
					return fmt.Errorf("frame %v is numbered after %v", this, of)
				}
			}
			of = this
			groups = append(groups, group{filled: filled})
			filled = 0
		}
		g := &groups[len(groups)-1]
		g.packets = append(g.packets, rec)
		first := g.packets[0]
		if rec.out.TS != first.out.TS || rec.out.PictureID != first.out.PictureID || rec.out.TL0 != first.out.TL0 || rec.out.Frame != first.out.Frame {
			return fmt.Errorf("packets of frame %v differ: %+v, %+v", this, first.out, rec.out)
		}
		g.whole = len(g.packets) == rec.count && g.packets[rec.count-1].seq == first.seq+int64(rec.count-1)
	}
	return r.decode(groups, tail)
}

// decode follows the references as libwebrtc finds them: by picture id and TL0PICIDX, or else by frame number.
func (r *receiver) decode(groups []group, tail int) error {
	layers := map[uint8][3]int64{} // TL0PICIDX -> newest picture of each temporal layer, -1 none
	pics := map[int64]bool{}
	var lastPic int64 = -1
	var lastFrame *received
	var base *received // last frame of the lowest temporal layer
	for i, g := range groups {
		f := g.packets[0]
		if f.p.TID == 0 && f.p.TL0At != 0 {
			if base != nil {
				if d := f.out.TL0 - base.out.TL0; d == 0 || d > 1+uint8(tail) || d > 1 && base.era == f.era {
					return fmt.Errorf("TL0PICIDX goes from %d to %d", base.out.TL0, f.out.TL0)
				}
			}
			base = &g.packets[0]
		}
		atEnd := r.ended && i+tail >= len(groups)
		for k := i + 1; k < len(groups) && k <= i+tail; k++ {
			atEnd = atEnd || groups[k].packets[0].era != f.era
		}
		if !g.whole {
			if atEnd {
				continue
			}
			return fmt.Errorf("frame %d of rung %d (tid %d) is not whole: %d of %d packets", f.frame, f.p.Layer, f.p.TID, len(g.packets), f.count)
		}
		if f.p.DD.Len != 0 {
			if lastFrame != nil && int16(f.out.Frame-lastFrame.out.Frame) <= 0 {
				return fmt.Errorf("frame number goes from %d to %d", lastFrame.out.Frame, f.out.Frame)
			}
			if lastFrame != nil && lastFrame.era == f.era && int(f.out.Frame-lastFrame.out.Frame) != f.frame-lastFrame.frame {
				return fmt.Errorf("difference of frame numbers changed: references break")
			}
			lastFrame = &g.packets[0]
			continue
		}
		pic := int64(f.out.PictureID)
		if lastPic >= 0 {
			pic = lastPic + int64(int16((f.out.PictureID-uint16(lastPic))<<1)>>1)
			if pic <= lastPic {
				return fmt.Errorf("picture id goes from %d to %d", lastPic, pic)
			}
			if !f.p.Key && pic > lastPic+1+int64(g.filled) {
				if !atEnd {
					return fmt.Errorf("picture id jumps from %d to %d at frame %d of rung %d", lastPic, pic, f.frame, f.p.Layer)
				}
				continue
			}
		}
		lastPic = pic
		pics[pic] = true
		tl0, tid := f.out.TL0, f.p.TID
		switch {
		case f.p.Key:
			layers[tl0] = [3]int64{pic, -1, -1}
		case tid == 0:
			before, ok := layers[tl0-1]
			if !ok {
				if atEnd {
					continue
				}
				return fmt.Errorf("base layer frame with TL0PICIDX %d has no predecessor", tl0)
			}
			before[0] = pic
			layers[tl0] = before
		default:
			now, ok := layers[tl0]
			if !ok {
				if atEnd {
					continue
				}
				return fmt.Errorf("frame of layer %d has no base %d", tid, tl0)
			}
			if f.p.SwitchTID != tid { // refers to the layers below as well
				for l := range tid {
					if now[l] < 0 || now[l] < now[0] {
						return fmt.Errorf("frame of layer %d refers to layer %d, which was dropped", tid, l)
					}
				}
			}
			now[tid] = pic
			layers[tl0] = now
		}
		delete(layers, tl0-64)
	}
	return nil
}
