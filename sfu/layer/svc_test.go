package layer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sotto/sfu/packet"
)

// svcEncoder is a model of one stream of three spatial and three temporal layers, as libaom (L3T3, L3T3_KEY) and libvpx (VP9) write it.
// Layers refer to each other in every picture, or with keyMode in key pictures alone.
type svcEncoder struct {
	rung    int8
	keyMode bool
	vp9     bool // payload descriptor without dependency descriptor
	ext     uint64
	pic     int
	frame   int
	pattern int
	tl0     uint8
	last    [3][3]int // newest frame of each layer, by SID and TID
	base    [2]uint16 // of picture ids and frame numbers
}

// svcFrame is the truth about a frame.
type svcFrame struct {
	id, pic  int
	sid, tid uint8
	refs     []int
	packets  int
}

type svcPacket struct {
	p     packet.Packet
	f     *svcFrame
	index int
}

// encode returns the packets of the picture captured at t.
func (e *svcEncoder) encode(t time.Duration, key bool) (out []svcPacket) {
	if key {
		e.pattern = 0
	}
	tid := []uint8{0, 2, 1, 2}[e.pattern%4]
	second := e.pattern%4 == 3
	e.pattern++
	e.pic++
	if tid == 0 {
		e.tl0++
	}
	for sid := range uint8(3) {
		e.frame++
		f := &svcFrame{id: e.frame, pic: e.pic, sid: sid, tid: tid, packets: 1 + int(sid)*2}
		if !key {
			from := uint8(0)
			if second {
				from = 1
			}
			f.refs = append(f.refs, e.last[sid][from])
		}
		if sid > 0 && (key || !e.keyMode) {
			f.refs = append(f.refs, e.frame-1)
		}
		e.last[sid][tid] = f.id
		for i := range f.packets {
			e.ext++
			p := packet.Packet{
				PayloadAt: 12, PayloadEnd: 100, Arrival: start.Add(t), TS: uint32(t * 90_000 / time.Second),
				ExtSeq: e.ext, Seq: uint16(e.ext), Codec: packet.AV1, Layer: e.rung, TID: tid, SID: sid,
				Start: i == 0, End: i == f.packets-1, Marker: sid == 2 && i == f.packets-1, Key: key && sid == 0 && i == 0,
			}
			if tid < 2 {
				p.SwitchTID = 2
			}
			if e.keyMode && !key && sid < 2 {
				p.Skips = ^(uint8(2)<<sid - 1)
			}
			if e.vp9 {
				p.Codec, p.PictureIDAt, p.PictureIDWide, p.TL0At = packet.VP9, 13, true, 16
				p.PictureID, p.TL0 = (e.base[0]+uint16(f.pic))&0x7fff, uint16(e.tl0)
			} else {
				p.DD, p.Frame = packet.Span{At: 20, Len: 3}, e.base[1]+uint16(f.id)
			}
			out = append(out, svcPacket{p, f, i})
		}
	}
	return out
}

// svcScript drives a switch with such streams.
type svcScript struct {
	seed         uint64
	streams      int // 0 is 1
	reorder      int
	keyMode, vp9 bool
	pauses       bool
}

// svcReceived is a packet at the subscriber, by its number.
type svcReceived struct {
	svcPacket
	out  Out
	era  int
	fill bool
}

// run returns what the subscriber got, by number, and how often its spatial layer changed.
func (sc svcScript) run() (got map[int64]svcReceived, changes int, err error) {
	rng := rand.New(rand.NewPCG(sc.seed, 11))
	encoders := make([]*svcEncoder, max(sc.streams, 1))
	for rung := range encoders {
		encoders[rung] = &svcEncoder{
			rung: int8(rung), keyMode: sc.keyMode, vp9: sc.vp9, ext: 1<<32 + rng.Uint64N(1<<16),
			base: [2]uint16{uint16(rng.UintN(1 << 15)), uint16(rng.UintN(1 << 16))},
		}
	}
	s := NewSwitch(100, 5000)
	got = map[int64]svcReceived{}
	store := map[[2]uint64]svcPacket{} // by rung and number
	last, era := int64(99), 0
	take := func(sp svcPacket) (switched bool, err error) {
		o, ok := s.Next(&sp.p)
		if !ok && !o.Fill {
			return false, nil
		}
		seq := last + int64(int16(o.Seq-uint16(last)))
		if _, twice := got[seq]; twice {
			return false, fmt.Errorf("number %d went out twice", seq)
		}
		if o.Switched {
			era++
		}
		if ok {
			again := o
			again.Switched = false
			if rung, ext, r, found := s.Repair(o.Seq); !found || rung != sp.p.Layer || ext != sp.p.ExtSeq || r != again {
				return false, fmt.Errorf("Repair(%d) = %d %+v %v, want %d %+v", o.Seq, ext, r, found, sp.p.ExtSeq, again)
			}
		}
		last = max(last, seq)
		got[seq] = svcReceived{sp, o, era, o.Fill}
		return o.Switched, nil
	}
	s.SetTarget(0)
	s.SetMaxSID(uint8(rng.IntN(3)))
	type delayed struct {
		sp  svcPacket
		due int
	}
	var path []delayed
	clock, asked := 0, 0
	shown := s.SID()
	for n := range 400 {
		if rng.IntN(20) == 0 {
			s.SetMaxSID(uint8(rng.IntN(3)))
		}
		if rng.IntN(20) == 0 {
			s.SetMaxTID(uint8(rng.IntN(3)))
		}
		if sc.pauses && rng.IntN(40) == 0 {
			s.SetTarget(int8(rng.IntN(len(encoders)+1)) - 1)
		}
		if sc.streams > 1 && rng.IntN(30) == 0 {
			s.SetTarget(int8(rng.IntN(len(encoders))))
		}
		rung, wants := s.WantsKey()
		if !wants {
			asked = n
		}
		var pictures []svcPacket
		for _, e := range encoders {
			pictures = append(pictures, e.encode(time.Duration(n)*time.Second/30, n == 0 || wants && rung == e.rung && n-asked > 3)...)
		}
		for _, sp := range pictures {
			d := delayed{sp, clock}
			if sc.reorder > 0 && rng.IntN(4) == 0 {
				d.due += 1 + rng.IntN(sc.reorder)
			}
			path = append(path, d)
			clock++
			rest := path[:0]
			for _, d := range path {
				if d.due > clock && n < 399 {
					rest = append(rest, d)
					continue
				}
				layer := uint64(d.sp.p.Layer)
				store[[2]uint64{layer, d.sp.p.ExtSeq}] = d.sp
				switched, err := take(d.sp)
				for ext := d.sp.p.ExtSeq + 1; err == nil && switched && ext <= encoders[layer].ext; ext++ {
					if later, ok := store[[2]uint64{layer, ext}]; ok {
						_, err = take(later)
					}
				}
				if err != nil {
					return nil, 0, fmt.Errorf("picture %d: %w", n, err)
				}
			}
			path = rest
		}
		if s.SID() != shown {
			shown = s.SID()
			changes++
		}
	}
	return got, changes, nil
}

// check follows the references of all frames that arrived whole, in the order of the numbers. Near a reordered change of layers, tail
// pictures may miss something.
func (sc svcScript) check(got map[int64]svcReceived) (pictures int, err error) {
	numbers := make([]int64, 0, len(got))
	for seq := range got {
		numbers = append(numbers, seq)
	}
	slices.Sort(numbers)
	whole := map[[2]int]int{} // era, frame -> packets
	var before *svcReceived
	for i, seq := range numbers {
		r := got[seq]
		if r.fill {
			continue
		}
		if before == nil || before.era != r.era || before.f.pic != r.f.pic {
			pictures++
		}
		if before != nil {
			b := before
			switch {
			case int32(r.out.TS-b.out.TS) < 0 || r.out.TS == b.out.TS && (b.era != r.era || b.f.pic != r.f.pic):
				return 0, fmt.Errorf("timestamp goes from %d to %d at number %d", b.out.TS, r.out.TS, seq)
			case b.era == r.era && (r.f.id < b.f.id || r.f.id == b.f.id && r.index <= b.index):
				return 0, fmt.Errorf("frame %d packet %d is numbered after frame %d packet %d", r.f.id, r.index, b.f.id, b.index)
			case sc.vp9 && b.era == r.era && int(r.out.PictureID-b.out.PictureID)&0x7fff != r.f.pic-b.f.pic:
				return 0, fmt.Errorf("difference of picture ids changed: references break")
			case !sc.vp9 && b.era == r.era && int(r.out.Frame-b.out.Frame) != r.f.id-b.f.id:
				return 0, fmt.Errorf("difference of frame numbers changed: references break")
			case sc.reorder == 0 && b.out.Marker != (b.out.TS != r.out.TS):
				return 0, fmt.Errorf("marker %v before number %d, which begins a picture: %v", b.out.Marker, seq, b.out.TS != r.out.TS)
			case sc.reorder == 0 && seq != numbers[i-1]+1:
				return 0, fmt.Errorf("hole before number %d", seq)
			}
		}
		before = &r
		key := [2]int{r.era, r.f.id}
		whole[key]++
		if whole[key] < r.f.packets {
			continue
		}
		for _, ref := range r.f.refs {
			if n := whole[[2]int{r.era, ref}]; sc.reorder == 0 && n == 0 {
				return 0, fmt.Errorf("frame %d of layer S%dT%d refers to %d, which was not forwarded", r.f.id, r.f.sid, r.f.tid, ref)
			}
		}
	}
	return pictures, nil
}

func TestSwitch_spatialLayersAreDecodable(t *testing.T) {
	for name, sc := range map[string]svcScript{
		"L3T3_KEY":            {keyMode: true},
		"L3T3":                {},
		"L3T3_KEY, pauses":    {keyMode: true, pauses: true},
		"L3T3_KEY, reordered": {keyMode: true, pauses: true, reorder: 12},
		"L3T3, reordered":     {reorder: 30},
		"VP9, key":            {vp9: true, keyMode: true},
		"VP9":                 {vp9: true, pauses: true},
		"VP9, reordered":      {vp9: true, keyMode: true, reorder: 12},
		"two streams":         {streams: 2, keyMode: true},
		"VP9, three streams":  {streams: 3, vp9: true, pauses: true},
		"streams, reordered":  {streams: 3, reorder: 20, pauses: true},
	} {
		t.Run(name, func(t *testing.T) {
			var all, changes int
			for seed := range uint64(20) {
				sc.seed = seed
				got, n, err := sc.run()
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				pictures, err := sc.check(got)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				all, changes = all+pictures, changes+n
			}
			if all < 20*400/4 || changes < 20*4 {
				t.Errorf("only %d pictures and %d changes of layer: the script tests nothing", all, changes)
			}
			t.Logf("%d pictures, %d changes of layer", all, changes)
		})
	}
}

func FuzzSwitchSpatial(f *testing.F) {
	f.Add(uint64(1), uint8(0), uint8(1))
	f.Add(uint64(3), uint8(9), uint8(6))
	f.Add(uint64(5), uint8(0), uint8(8+16))
	f.Fuzz(func(t *testing.T, seed uint64, reorder, flags uint8) {
		sc := svcScript{seed: seed, reorder: int(reorder % 48), keyMode: flags&1 != 0, vp9: flags&2 != 0, pauses: flags&4 != 0, streams: int(flags >> 3 & 3)}
		got, _, err := sc.run()
		if err == nil {
			_, err = sc.check(got)
		}
		if err != nil {
			t.Fatalf("%+v: %v", sc, err)
		}
	})
}

// svcSwitch returns a switch that shows a spatial layer, after the key picture, and what drives it: next passes a picture and returns
// the layers forwarded.
func svcSwitch(keyMode bool, sid uint8) (s *Switch, next func(key bool) string) {
	sw := NewSwitch(100, 0)
	s = &sw
	s.SetTarget(0)
	s.SetMaxSID(sid)
	e := &svcEncoder{keyMode: keyMode, ext: 1 << 32}
	n := 0
	return s, func(key bool) (layers string) {
		n++
		for _, sp := range e.encode(time.Duration(n)*time.Second/30, key) {
			if o, ok := s.Next(&sp.p); ok && sp.p.End {
				layers += string(rune('0' + sp.p.SID))
				if o.Marker {
					layers += "."
				}
			}
		}
		return layers
	}
}

func TestSwitch_showsOneSpatialLayer(t *testing.T) {
	for _, test := range []struct {
		name         string
		keyMode      bool
		from, to     uint8
		first, delta string // in the first key picture and after it
		wantsKey     bool
		then, later  string // after the change, without a key picture, and with one
	}{
		{"L3T3, down", false, 2, 0, "012.", "012.", false, "0.", "0."},
		{"L3T3, up", false, 0, 2, "0.", "0.", true, "0.", "012."},
		{"L3T3_KEY, down", true, 2, 1, "012.", "2.", true, "2.", "01."},
		{"L3T3_KEY, up", true, 1, 2, "01.", "1.", true, "1.", "012."},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, next := svcSwitch(test.keyMode, test.from)
			check := func(what, got, want string) {
				t.Helper()
				if got != want {
					t.Errorf("%s: layers %q, want %q", what, got, want)
				}
			}
			check("key picture", next(true), test.first)
			check("after it", next(false), test.delta)
			s.SetMaxSID(test.to)
			if _, wants := s.WantsKey(); wants != test.wantsKey {
				t.Errorf("wants a key frame: %v, want %v", wants, test.wantsKey)
			}
			check("after the change", next(false), test.then)
			check("key picture", next(true), test.later)
			if _, wants := s.WantsKey(); wants || s.SID() != test.to {
				t.Errorf("shows layer %d, wants a key frame: %v", s.SID(), wants)
			}
		})
	}
}

func TestSwitch_lowersAtOnceWhileNothingWasLeftOut(t *testing.T) {
	s, next := svcSwitch(true, 2)
	next(true)
	s.SetMaxSID(0) // the key picture had all layers
	if _, wants := s.WantsKey(); wants {
		t.Error("wants a key frame")
	}
	if got := next(false); got != "0." {
		t.Errorf("layers %q, want the lowest", got)
	}
}

func TestSwitch_codecChangesOnAKeyFrame(t *testing.T) {
	s := forwardingSwitch(0)
	other := func(n int, key bool) *packet.Packet {
		p := video(0, n)
		p.Codec, p.Key = packet.AV1, key
		return p
	}
	if _, ok := s.Next(other(1, false)); ok {
		t.Error("a delta frame of another codec passed")
	}
	if o, ok := s.Next(other(2, true)); !ok || !o.Switched || o.Seq != 101 {
		t.Errorf("key frame of another codec = %+v %v, want 101, switched", o, ok)
	}
	if _, ok := s.Next(video(0, 1)); ok {
		t.Error("a late packet of the former codec passed")
	}
	if o, ok := s.Next(other(3, false)); !ok || o.Seq != 102 {
		t.Errorf("next frame = %+v %v", o, ok)
	}
	if rung, wants := s.WantsKey(); wants {
		t.Errorf("wants a key frame of %d", rung)
	}
}

func TestSwitch_codecChangeLeavesTheTargetAlone(t *testing.T) {
	s := forwardingSwitch(0)
	s.SetTarget(1)
	p := keyFrame(0, 1)
	p.Codec = packet.VP9
	if _, ok := s.Next(p); !ok {
		t.Fatal("the old layer stopped")
	}
	if rung, wants := s.WantsKey(); rung != 1 || !wants {
		t.Errorf("WantsKey = %d %v, want 1", rung, wants)
	}
}
