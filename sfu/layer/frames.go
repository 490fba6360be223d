package layer

import "sotto/sfu/packet"

// AllLayers lets all temporal, or all spatial, layers pass.
const AllLayers = 255

// frame is what was decided about one picture, identified by its timestamp: one frame, or one of each spatial layer.
type frame struct {
	in, out uint32 // timestamp as received and as sent
	pic     uint16 // subtracted from picture ids
	picNext uint16 // the same for the picture after it
	limit   uint8  // highest temporal layer forwarded at that time
	sid     uint8  // spatial layer shown at that time
	limited bool   // see Out
	cut     bool   // left out, see Switch.Cut
}

// limits reports whether layers of the picture may be left out.
func (f *frame) limits() bool { return f.limit != AllLayers || f.sid != AllLayers }

// takes reports whether a packet of the picture is forwarded.
func (f *frame) takes(p *packet.Packet) bool {
	return p.TID <= f.limit && !f.cut && (f.sid == AllLayers || p.SID <= f.sid && p.Skips>>f.sid&1 == 0)
}

// close takes the picture of p, which is left out, out of the picture ids. Receivers of VP8 take a missing picture id for a lost frame.
// VP9 and the dependency descriptor name the frames they refer to by difference: gaps are legal there and closing them would break
// the references.
func (f *frame) close(p *packet.Packet) {
	if p.Codec == packet.VP8 && p.PictureIDAt != 0 {
		f.picNext++
	}
}

// historySize is how many frames back a late packet still finds its frame: a second of 30 frames.
const historySize = 32

// history holds the newest frames of the current stream, newest at head, ordered by time.
type history struct {
	frames [historySize]frame
	head   uint8
	count  uint8
}

func (h *history) at(age uint8) *frame { return &h.frames[(h.head-age)%historySize] }

func (h *history) push(f *frame) {
	h.head = (h.head + 1) % historySize
	h.frames[h.head] = *f
	h.count = min(h.count+1, historySize)
}

// lookup returns the frame of a late packet. If no packet of the frame came before, the frame gets its place between its neighbours;
// nil means that there is none: too old, or no timestamp left between them.
func (h *history) lookup(p *packet.Packet) *frame {
	for age := range h.count {
		f := h.at(age)
		if f.in == p.TS {
			return f
		}
		if int32(p.TS-f.in) > 0 {
			if age == 0 {
				return nil // newer than the newest frame, yet with an older number: the sender is confused
			}
			return h.insert(p, age)
		}
	}
	return nil
}

// insert places the frame of p just newer than the one of that age.
func (h *history) insert(p *packet.Packet, age uint8) *frame {
	older, newer := h.at(age), h.at(age-1)
	f := frame{
		in:      p.TS,
		out:     older.out + (p.TS - older.in),
		pic:     older.picNext,
		picNext: older.picNext, // the newer frame counts on this one even if it is left out now
		limit:   older.limit,
		sid:     older.sid,
		limited: older.limited,
		cut:     older.cut,
	}
	if int32(newer.out-f.out) <= 0 {
		f.out = newer.out - 1
	}
	if int32(f.out-older.out) <= 0 {
		return nil
	}
	h.head = (h.head + 1) % historySize
	h.count = min(h.count+1, historySize)
	for a := range age { // the newer ones move up; the oldest falls out if the history is full
		*h.at(a) = *h.at(a + 1)
	}
	*h.at(age) = f
	return h.at(age)
}

// dropWindowSize is how far back a late packet still gets its number, in packets of the stream.
const dropWindowSize = 512

// dropWindow remembers which recent packets were dropped. The number of one that comes late depends on the drops before it.
type dropWindow [dropWindowSize / 64]uint64 // bit ext%512

func (w *dropWindow) add(ext uint64)      { w[ext/64%uint64(len(w))] |= 1 << (ext % 64) }
func (w *dropWindow) has(ext uint64) bool { return w[ext/64%uint64(len(w))]&(1<<(ext%64)) != 0 }

// advance forgets what leaves the window when the newest number moves from top to ext, in another group of 64.
func (w *dropWindow) advance(top, ext uint64) {
	for g := top/64 + 1; g <= ext/64; g++ {
		w[g%uint64(len(w))] = 0
		if g-top/64 >= uint64(len(w)) {
			return
		}
	}
}

// after counts the drops in (ext, top]. Both are in the window.
func (w *dropWindow) after(ext, top uint64) (n uint64) {
	for e := ext + 1; e <= top; e++ {
		if w.has(e) {
			n++
		}
	}
	return n
}
