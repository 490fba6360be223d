package layer

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"sotto/sfu/packet"
)

// script drives a switch with three encoders over a path that delays packets.
type script struct {
	seed    uint64
	frames  int
	reorder int  // largest delay in packets
	dd      bool // Chromium's form: dependency descriptor, no picture ids
	temps   bool // change temporal layers
	reports bool // sender reports, with errors
}

func (sc script) run(s *Switch, visit func(sp sentPacket, o Out, ok bool) error) error {
	rng := rand.New(rand.NewPCG(sc.seed, 7))
	var encoders [MaxRungs]*encoder
	store := map[[2]uint64]sentPacket{} // what the rings hold
	var newest [MaxRungs]uint64
	for r := range encoders {
		encoders[r] = newEncoder(rng, int8(r), sc.dd)
	}
	type delayed struct {
		sp  sentPacket
		due int
	}
	var path []delayed
	clock, wantSince := 0, 0
	next := func(sp sentPacket) error {
		o, ok := s.Next(&sp.p)
		if err := visit(sp, o, ok); err != nil {
			return err
		}
		for e := sp.p.ExtSeq + 1; ok && o.Switched && e <= newest[sp.p.Layer]; e++ {
			if again, stored := store[[2]uint64{uint64(sp.p.Layer), e}]; stored {
				o2, ok2 := s.Next(&again.p)
				if err := visit(again, o2, ok2); err != nil {
					return err
				}
			}
		}
		return nil
	}
	deliver := func(all bool) error {
		rest := path[:0]
		var now []sentPacket
		for _, d := range path {
			if all || d.due <= clock {
				now = append(now, d.sp)
			} else {
				rest = append(rest, d)
			}
		}
		path = rest
		for _, sp := range now {
			r := sp.p.Layer
			store[[2]uint64{uint64(r), sp.p.ExtSeq}] = sp
			newest[r] = max(newest[r], sp.p.ExtSeq)
			if err := next(sp); err != nil {
				return err
			}
		}
		return nil
	}
	s.SetTarget(int8(rng.IntN(MaxRungs)))
	for f := range sc.frames {
		t := time.Duration(f) * time.Second / 30
		if rng.IntN(25) == 0 {
			s.SetTarget(int8(rng.IntN(MaxRungs+1)) - 1)
		}
		if sc.temps && rng.IntN(9) == 0 {
			s.SetMaxTID(uint8(rng.IntN(3)))
		}
		want, wants := s.WantsKey()
		if !wants {
			wantSince = f
		}
		for r, e := range encoders {
			if sc.reports && rng.IntN(30) == 0 {
				wrong := time.Duration(rng.IntN(80)-40) * time.Millisecond
				if rng.IntN(5) == 0 {
					wrong = time.Duration(rng.IntN(100)-50) * time.Second
				}
				s.SetClock(int8(r), start.Add(t+wrong), e.tsBase+uint32(t*90_000/time.Second), 90_000)
			}
			key := f == 0 || wants && int(want) == r && f-wantSince > 3
			if key {
				wantSince = f
			}
			for _, sp := range e.encode(t, key) {
				d := delayed{sp, clock}
				if sc.reorder > 0 && rng.IntN(4) == 0 {
					d.due += 1 + rng.IntN(sc.reorder)
				}
				path = append(path, d)
				clock++
				if err := deliver(false); err != nil {
					return fmt.Errorf("frame %d: %w", f, err)
				}
			}
		}
	}
	return deliver(true)
}

// continuous runs the script and has the receiver check the result.
func continuous(sc script) (forwarded, switches, fills int, err error) {
	s := NewSwitch(100, 5000)
	var r receiver
	sent := map[uint16]received{}
	err = sc.run(&s, func(sp sentPacket, o Out, ok bool) error {
		if ok {
			forwarded++
			sent[o.Seq] = received{sentPacket: sp, out: o}
			rung, ext, again, found := s.Repair(o.Seq)
			o.Switched = false
			if !found || rung != sp.p.Layer || ext != sp.p.ExtSeq || again != o {
				return fmt.Errorf("Repair(%d) = %d %d %+v %v, want %d %d %+v", o.Seq, rung, ext, again, found, sp.p.Layer, sp.p.ExtSeq, o)
			}
		}
		if ok || o.Fill {
			o.Switched = ok && sent[o.Seq].out.Switched
			if o.Switched {
				switches++
			}
			if o.Fill {
				fills++
			}
			return r.take(sp, o, o.Fill)
		}
		return nil
	})
	if err == nil {
		tail := 1
		if sc.reorder > 0 {
			tail = 2 + sc.reorder
		}
		r.ended = s.Current() == Paused
		err = r.check(tail)
	}
	return forwarded, switches, fills, err
}

func TestSwitch_receiverSeesOneStream(t *testing.T) {
	for name, sc := range map[string]script{
		"in order":                         {},
		"in order, temporal layers":        {temps: true},
		"sender reports":                   {reports: true},
		"reordered":                        {reorder: 6},
		"reordered, temporal layers":       {reorder: 6, temps: true, reports: true},
		"far reordered, temporal layers":   {reorder: 40, temps: true, reports: true},
		"dependency descriptor":            {dd: true, temps: true},
		"dependency descriptor, reordered": {dd: true, temps: true, reorder: 12, reports: true},
	} {
		t.Run(name, func(t *testing.T) {
			var forwarded, switches, fills int
			for seed := range uint64(60) {
				sc.seed, sc.frames = seed, 400
				f, s, l, err := continuous(sc)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				forwarded, switches, fills = forwarded+f, switches+s, fills+l
			}
			if switches < 60*3 || forwarded < 60*400/2 {
				t.Errorf("only %d packets and %d switches: the script tests nothing", forwarded, switches)
			}
			t.Logf("%d packets, %d switches, %d holes filled", forwarded, switches, fills)
		})
	}
}

func FuzzSwitch(f *testing.F) {
	f.Add(uint64(1), uint8(6), uint8(7))
	f.Add(uint64(9), uint8(0), uint8(2))
	f.Fuzz(func(t *testing.T, seed uint64, reorder, flags uint8) {
		sc := script{seed: seed, frames: 200, reorder: int(reorder % 48), dd: flags&1 != 0, temps: flags&2 != 0, reports: flags&4 != 0}
		if _, _, _, err := continuous(sc); err != nil {
			t.Fatalf("%+v: %v", sc, err)
		}
	})
}

// FuzzSwitchHostile feeds packets that no encoder would send: whatever comes, no number goes out twice, and numbers of packets that are
// newer in their stream are newer.
func FuzzSwitchHostile(f *testing.F) {
	f.Add([]byte{0x80, 1, 1, 1, 0x90, 1, 1, 2, 0, 0xff, 3, 0, 0, 0x81, 1, 4})
	f.Add([]byte{0x80, 1, 1, 1, 0x46, 1, 9, 9, 0x48, 1, 2, 3, 0x88, 1, 2, 2, 0x40, 1, 1, 7})
	f.Add([]byte{0x80, 1, 1, 1, 0x40, 1, 9, 9, 0x80, 0x7f, 1, 1, 0x20, 5, 5, 5})
	f.Fuzz(func(t *testing.T, in []byte) {
		s := NewSwitch(1000, 0)
		s.SetTarget(0)
		used := map[int64]bool{}
		last := int64(999)
		ext := uint64(1 << 32)
		ts := uint32(0)
		for ; len(in) >= 4; in = in[4:] {
			switch in[0] & 7 {
			case 1:
				s.SetTarget(int8(in[1]%5) - 1)
			case 2:
				s.SetMaxTID(in[1] % 8)
			case 3:
				s.Reset(int8(in[1]%5) - 1)
			case 4:
				s.SetClock(int8(in[1]%5)-1, start.Add(time.Duration(in[2])*time.Hour), uint32(in[3])<<24, 90_000)
			case 5:
				ts += uint32(in[1]) << 24
			case 6:
				s.SetMaxSID(in[1])
			}
			ext += uint64(int64(int8(in[1]))) << (in[2] & 15)
			ts += uint32(int32(int8(in[3]))) * 100
			p := packet.Packet{
				ExtSeq: ext, TS: ts, Layer: int8(in[2]>>4&3) - 1, TID: in[3] & 3, SwitchTID: in[3] >> 6, Codec: packet.VP8,
				Start: in[0]&0x80 != 0, Key: in[0]&0x80 != 0, PayloadEnd: uint16(in[0] & 0xc0),
				SID: in[2] & 3, Skips: in[3] &^ (uint8(2)<<(in[2]&3) - 1), End: in[0]&0x20 != 0,
				PictureID: uint16(in[3]), PictureIDAt: 1, TL0At: 3, Arrival: start.Add(time.Duration(ts) * 11 * time.Microsecond),
			}
			if in[0]&0x08 != 0 {
				p.Codec = packet.VP9
			}
			o, ok := s.Next(&p)
			if !ok && !o.Fill {
				continue
			}
			seq := last + int64(int16(o.Seq-uint16(last)))
			if used[seq] {
				t.Fatalf("%d went out twice", seq)
			}
			used[seq] = true
			if seq > last+maxGap {
				t.Fatalf("jump from %d to %d", last, seq)
			}
			last = max(last, seq)
		}
	})
}

// video returns packet n of a stream with one packet a frame.
func video(rung int8, n int) *packet.Packet {
	return &packet.Packet{
		ExtSeq: 1<<32 + uint64(n), TS: uint32(n) * 3000, Layer: rung, Codec: packet.VP8, PayloadAt: 12, PayloadEnd: 100,
		Start: true, End: true, Arrival: start.Add(time.Duration(n) * time.Second / 30),
	}
}

func keyFrame(rung int8, n int) *packet.Packet {
	p := video(rung, n)
	p.Key = true
	return p
}

func forwardingSwitch(rung int8) Switch {
	s := NewSwitch(100, 0)
	s.SetTarget(rung)
	s.Next(keyFrame(rung, 0))
	return s
}

func TestSwitch_oldLayerPlaysOnUntilTheKeyFrame(t *testing.T) {
	s := forwardingSwitch(0)
	s.SetTarget(2)
	if rung, ok := s.WantsKey(); rung != 2 || !ok {
		t.Errorf("WantsKey = %d %v, want 2", rung, ok)
	}
	if _, ok := s.Next(video(2, 1)); ok {
		t.Error("a delta frame of the new layer passed")
	}
	if _, ok := s.Next(video(0, 1)); !ok {
		t.Error("the old layer stopped before the key frame")
	}
	if o, ok := s.Next(keyFrame(2, 2)); !ok || !o.Switched || o.Seq != 102 {
		t.Errorf("key frame = %+v %v, want 102, switched", o, ok)
	}
	if _, ok := s.Next(video(0, 2)); ok || s.Current() != 2 {
		t.Error("the old layer went on after the switch")
	}
	if _, ok := s.WantsKey(); ok {
		t.Error("still wants a key frame")
	}
}

func TestSwitch_pauseIsImmediateAndResumesOnAKeyFrame(t *testing.T) {
	s := forwardingSwitch(1)
	s.SetTarget(Paused)
	if _, ok := s.Next(keyFrame(1, 1)); ok || s.Current() != Paused {
		t.Error("forwards while paused")
	}
	s.SetTarget(1)
	if _, ok := s.Next(video(1, 2)); ok {
		t.Error("resumed without a key frame")
	}
	o, ok := s.Next(keyFrame(1, 90))
	if !ok || o.Seq != 101 || o.TS != 90*3000 {
		t.Errorf("resumed with %+v %v, want 101 and a timestamp 3 s on", o, ok)
	}
}

func TestSwitch_changeOfMindKeepsTheCurrentLayer(t *testing.T) {
	s := forwardingSwitch(0)
	s.SetTarget(1)
	s.SetTarget(0)
	if _, ok := s.WantsKey(); ok {
		t.Error("wants a key frame of a layer that plays")
	}
	if _, ok := s.Next(video(0, 1)); !ok {
		t.Error("the layer stopped")
	}
}

func TestSwitch_resetWaitsForTheNewStream(t *testing.T) {
	s := forwardingSwitch(0)
	s.Reset(0)
	if rung, ok := s.WantsKey(); rung != 0 || !ok || s.Current() != Paused {
		t.Error("does not wait for a key frame after Reset")
	}
	if _, _, _, ok := s.Repair(100); ok {
		t.Error("repairs from a stream that is gone")
	}
	p := keyFrame(0, 5)
	p.ExtSeq, p.TS = 1<<40, 77
	if o, ok := s.Next(p); !ok || o.Seq != 101 || o.TS != 14_999 {
		t.Errorf("first packet of the new stream = %+v %v", o, ok)
	}
}

func TestSwitch_reportsAlignTimestamps(t *testing.T) {
	s := forwardingSwitch(0)
	s.SetClock(0, start, 0, 90_000)
	s.SetClock(1, start.Add(time.Second), 500_000, 90_000) // timestamp 500,000 is what 90,000 is on rung 0
	s.SetTarget(1)
	s.Next(video(0, 30)) // timestamp 90,000
	p := keyFrame(1, 31)
	p.TS = 503_000
	p.Arrival = p.Arrival.Add(50 * time.Millisecond) // a key frame takes longer
	if o, _ := s.Next(p); o.TS != 93_000 {
		t.Errorf("timestamp %d, want 93,000", o.TS)
	}
	if ts, ok := s.Timestamp(500_000); ts != 90_000 || !ok {
		t.Errorf("Timestamp = %d %v", ts, ok)
	}
}

func TestSwitch_catchesUpWhenTheNewLayerIsBehind(t *testing.T) {
	s := forwardingSwitch(0)
	s.SetClock(0, start, 0, 90_000)
	s.SetClock(1, start, 0, 90_000)
	s.SetTarget(1)
	s.Next(video(0, 30))
	var got []uint32
	for n := 28; n <= 32; n++ { // captured two frames before what was sent last
		p := video(1, n)
		p.Key = n == 28
		o, _ := s.Next(p)
		got = append(got, o.TS)
	}
	want := []uint32{90_001, 90_002, 90_003, 93_000, 96_000}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("timestamps %d, want %d", got, want)
		}
	}
}

func TestSwitch_jumpOfNumbersIsTakenOut(t *testing.T) {
	s := forwardingSwitch(0)
	p := video(0, 1)
	p.ExtSeq += 40_000
	if o, ok := s.Next(p); !ok || o.Seq != 101 {
		t.Errorf("after a jump: %+v %v, want 101", o, ok)
	}
	if _, ok := s.Next(video(0, 2)); ok {
		t.Error("a packet from before the jump passed")
	}
}

func TestSwitch_lossLeavesAHoleForTheRepair(t *testing.T) {
	s := forwardingSwitch(0)
	if o, _ := s.Next(video(0, 3)); o.Seq != 103 {
		t.Errorf("after two lost packets: %d, want 103", o.Seq)
	}
	if o, ok := s.Next(video(0, 1)); !ok || o.Seq != 101 || o.TS != 3000 {
		t.Errorf("repaired packet = %+v %v", o, ok)
	}
	if _, ok := s.Next(video(0, 1)); ok {
		t.Error("a duplicate passed")
	}
}

func TestSwitch_lateDropIsFilled(t *testing.T) {
	s := forwardingSwitch(0)
	s.SetMaxTID(0)
	s.Next(video(0, 1))
	s.Next(video(0, 3))
	p := video(0, 2)
	p.TID = 1
	if o, ok := s.Next(p); ok || !o.Fill || o.Seq != 102 {
		t.Errorf("late packet of a dropped layer = %+v %v, want a fill of 102", o, ok)
	}
	if _, _, _, ok := s.Repair(102); ok {
		t.Error("a fill can be repaired")
	}
}

func TestSwitch_temporalLayers(t *testing.T) {
	s := forwardingSwitch(0)
	n := 0
	next := func(tid, up uint8) bool {
		n++
		p := video(0, n)
		p.TID, p.SwitchTID = tid, up
		_, ok := s.Next(p)
		return ok
	}
	check := func(what string, got, want bool) {
		t.Helper()
		if got != want {
			t.Errorf("%s: forwarded %v, want %v", what, got, want)
		}
	}
	check("no limit", next(2, 0), true)
	s.SetMaxTID(0)
	p := video(0, n) // more of the same frame
	p.ExtSeq, p.TID = p.ExtSeq+1000, 2
	_, ok := s.Next(p)
	check("the rest of a frame that was begun", ok, true)
	n += 1000
	check("the next frame", next(2, 0), false)
	check("base layer", next(0, 0), true)
	s.SetMaxTID(2)
	check("refers to its own layer", next(1, 0), false)
	check("two layers up", next(2, 2), false)
	check("refers to the base only", next(1, 1), true)
	check("refers to its own layer, which was dropped", next(2, 0), false)
	check("refers to what was forwarded", next(2, 2), true)
	check("from then on", next(2, 0), true)
	s.SetMaxTID(0)
	check("limited again", next(1, 1), false)
	s.SetMaxTID(1)
	check("a frame after which two more layers can follow", next(0, 2), true)
	check("up to the limit", next(1, 0), true)
	check("not beyond", next(2, 2), false)
}

func TestSwitch_paddingIsClosedUp(t *testing.T) {
	s := forwardingSwitch(0)
	p := video(0, 1)
	p.PayloadEnd = p.PayloadAt
	if _, ok := s.Next(p); ok {
		t.Error("padding was forwarded")
	}
	if o, _ := s.Next(video(0, 2)); o.Seq != 101 {
		t.Errorf("after padding: %d, want 101", o.Seq)
	}
}

func TestSwitch_repairReachesBackOverASwitch(t *testing.T) {
	s := forwardingSwitch(0)
	s.SetTarget(1)
	s.Next(keyFrame(1, 7))
	if rung, ext, o, ok := s.Repair(100); !ok || rung != 0 || ext != 1<<32 || o.Seq != 100 {
		t.Errorf("Repair(100) = %d %d %+v %v", rung, ext, o, ok)
	}
	for n := range 512 {
		s.Next(video(1, 8+n))
	}
	if _, _, _, ok := s.Repair(100); ok {
		t.Error("Repair(100) after 512 more packets")
	}
}

func TestSwitch_audio(t *testing.T) {
	s := NewSwitch(7, 0)
	s.SetTarget(0)
	for n := range 200 {
		p := &packet.Packet{ExtSeq: 1<<32 + uint64(n), TS: uint32(n * 960), Codec: packet.Opus, Start: true, End: true, Key: true, PayloadEnd: 1}
		if o, ok := s.Next(p); !ok || o.Seq != uint16(7+n) || o.TS != uint32(n*960) {
			t.Fatalf("packet %d = %+v %v", n, o, ok)
		}
	}
}

func TestSwitch_noAllocation(t *testing.T) {
	s := forwardingSwitch(0)
	s.SetMaxTID(1)
	p := *video(0, 1)
	n := 1
	if a := testing.AllocsPerRun(1000, func() {
		n++
		p.ExtSeq++
		p.TID = uint8(n % 3)
		p.TS += uint32(n%2) * 3000
		s.Next(&p)
		s.Repair(uint16(n))
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

func BenchmarkSwitchNext(b *testing.B) {
	for _, perFrame := range []int{1, 6} {
		b.Run(fmt.Sprintf("%d packets a frame", perFrame), func(b *testing.B) {
			s := forwardingSwitch(0)
			p := *video(0, 1)
			b.ReportAllocs()
			for i := range b.N {
				p.ExtSeq++
				if i%perFrame == 0 {
					p.TS += 3000
				}
				s.Next(&p)
			}
		})
	}
	b.Run("other layer", func(b *testing.B) {
		s := forwardingSwitch(0)
		p := *video(1, 1)
		b.ReportAllocs()
		for range b.N {
			p.ExtSeq++
			s.Next(&p)
		}
	})
}

// A rung is not gone back to with a key frame from before it was left: some of it has gone out.
func TestSwitch_goesBackWithNewPicturesOnly(t *testing.T) {
	s := NewSwitch(100, 0)
	next := func(rung int8, n int, key bool) bool {
		p := video(rung, n)
		p.Key = key
		_, ok := s.Next(p)
		return ok
	}
	s.SetTarget(0)
	if !next(0, 0, true) || !next(0, 2, false) {
		t.Fatal("the rung is not forwarded")
	}
	s.SetTarget(1)
	if !next(1, 2, true) {
		t.Fatal("no switch")
	}
	s.SetTarget(0)
	if next(0, 1, true) {
		t.Error("goes back with a picture from before")
	}
	if !next(0, 3, true) {
		t.Error("does not go back")
	}
	s.SetTarget(1)
	next(1, 4, true)
	s.Reset(0) // the publisher restarted
	s.SetTarget(0)
	if !next(0, 1, true) {
		t.Error("takes the numbers of a new stream for old ones")
	}
}
