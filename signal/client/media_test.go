package client

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtp/codecs"

	"sotto/signal/client/clips"
)

func loadClip(t testing.TB) *clips.Clip {
	t.Helper()
	c, err := clips.Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPacketize_isReadByPionAndByUs(t *testing.T) {
	var v vp8Packetizer
	lastPicture, lastTL0 := -1, -1
	for _, f := range loadClip(t).Layers[2].Frames {
		var got []byte
		payloads := v.packetize(f.Data, f.TID, f.Refs&clips.Golden == 0, nil)
		for i, p := range payloads {
			if len(p) > maxPayload {
				t.Fatalf("payload of %d bytes", len(p))
			}
			ours, err := parseVP8(p)
			if err != nil {
				t.Fatal(err)
			}
			var theirs codecs.VP8Packet
			rest, err := theirs.Unmarshal(p)
			if err != nil {
				t.Fatal(err)
			}
			if ours.start != (theirs.S == 1 && theirs.PID == 0) || ours.start != (i == 0) || ours.tid != theirs.TID || ours.tid != f.TID ||
				ours.pictureID != int(theirs.PictureID) || ours.tl0 != int(theirs.TL0PICIDX) || !bytes.Equal(p[ours.size:], rest) {
				t.Fatalf("ours %+v, theirs %+v", ours, theirs)
			}
			if lastPicture >= 0 && i == 0 && ours.pictureID != (lastPicture+1)&0x7fff {
				t.Fatalf("picture id %d after %d", ours.pictureID, lastPicture)
			}
			if i == 0 && lastTL0 >= 0 && (f.TID == 0) != (ours.tl0 == lastTL0+1) {
				t.Fatalf("TL0PICIDX %d after %d in temporal layer %d", ours.tl0, lastTL0, f.TID)
			}
			lastPicture, lastTL0 = ours.pictureID, ours.tl0
			got = append(got, rest...)
		}
		if !bytes.Equal(got, f.Data) {
			t.Fatal("payloads do not add up to the frame")
		}
	}
}

func FuzzParseVP8(f *testing.F) {
	f.Add([]byte{0x90, 0xe0, 0x80, 0x01, 0x02, 0x20, 1, 2, 3})
	f.Add([]byte{0x10, 0, 0})
	f.Add([]byte{0x80, 0x80, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parseVP8(b)
		if err == nil && d.size > len(b) {
			t.Fatalf("descriptor of %d bytes in a payload of %d", d.size, len(b))
		}
		var theirs codecs.VP8Packet
		rest, theirErr := theirs.Unmarshal(b)
		if err != nil || theirErr != nil {
			return
		}
		if len(rest) != len(b)-d.size {
			t.Fatalf("descriptor of %d bytes, pion reads %d", d.size, len(b)-len(rest))
		}
	})
}

// stream makes packets of frames with a few packets each; the payload names the frame.
func stream(first uint16, sizes []int) []arrival {
	var out []arrival
	for i, n := range sizes {
		for k := range n {
			payload := binary.BigEndian.AppendUint32(nil, uint32(i*100+k))
			out = append(out, arrival{seq: first, ts: uint32(i * 6000), start: k == 0, end: k == n-1, payload: payload})
			first++
		}
	}
	return out
}

// framesOf lists the frames that an assembler gives, by their number in stream.
func framesOf(t *testing.T, a *assembler, now time.Time) []int {
	t.Helper()
	var got []int
	for {
		f, ok := a.pop(now)
		if !ok {
			return got
		}
		i := int(binary.BigEndian.Uint32(f.data)) / 100
		for k := 0; k*4 < len(f.data); k++ {
			if v := int(binary.BigEndian.Uint32(f.data[k*4:])); v != i*100+k {
				t.Fatalf("frame %d has %d at packet %d", i, v, k)
			}
		}
		got = append(got, i)
	}
}

func TestAssembler_table(t *testing.T) {
	const ms = time.Millisecond
	type step struct {
		packet int // index into the stream, -1 = none
		at     time.Duration
		want   []int
	}
	tests := []struct {
		name  string
		sizes []int
		steps []step
	}{
		{"in order", []int{2, 1}, []step{{0, 0, nil}, {1, 0, []int{0}}, {2, 0, []int{1}}}},
		{"reordered inside a frame", []int{1, 3}, []step{{0, 0, []int{0}}, {3, 0, nil}, {2, 0, nil}, {1, 0, []int{1}}}},
		{"reordered frames", []int{1, 1, 1}, []step{{0, 0, []int{0}}, {2, 0, nil}, {1, 1 * ms, []int{1, 2}}}},
		{"duplicate", []int{1, 2}, []step{{0, 0, []int{0}}, {0, 0, nil}, {1, 0, nil}, {1, 0, nil}, {2, 0, []int{1}}, {2, 0, nil}}},
		{"hole is waited for", []int{1, 2, 1}, []step{{0, 0, []int{0}}, {1, 0, nil}, {3, 50 * ms, nil}, {2, 90 * ms, []int{1, 2}}}},
		{"hole is given up", []int{1, 2, 1}, []step{{0, 0, []int{0}}, {1, 0, nil}, {3, 50 * ms, nil}, {-1, 151 * ms, []int{2}}}},
		{"first packet of a frame lost", []int{1, 2, 1}, []step{{0, 0, []int{0}}, {2, 0, nil}, {3, 0, nil}, {-1, 100 * ms, []int{2}}}},
		{"starts in the middle of a frame", []int{3, 1}, []step{{1, 0, nil}, {2, 0, nil}, {3, 0, []int{1}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Unix(1000, 0)
			a := newAssembler(windowVideo, 100*ms)
			packets := stream(65534, tt.sizes)
			for i, s := range tt.steps {
				if s.packet >= 0 {
					a.push(start.Add(s.at), packets[s.packet])
				}
				if got := framesOf(t, a, start.Add(s.at)); !equalInts(got, s.want) {
					t.Fatalf("step %d: frames %v, want %v", i, got, s.want)
				}
			}
		})
	}
}

// TestAssembler_givesExactlyTheCompleteFrames drops, doubles and reorders packets at random: every frame that arrived whole
// comes out once and in order, no other does.
func TestAssembler_givesExactlyTheCompleteFrames(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		sizes := make([]int, 300)
		for i := range sizes {
			sizes[i] = 1 + rng.IntN(6)
		}
		packets := stream(uint16(rng.Uint32()), sizes)
		whole := make([]bool, len(sizes))
		for i := range whole {
			whole[i] = true
		}
		type event struct {
			at float64
			p  arrival
		}
		var events []event
		for i, p := range packets {
			frame := int(p.ts / 6000)
			if i >= 6 && rng.Float64() < 0.03 {
				whole[frame] = false
				continue
			}
			at := float64(i)
			if i >= 6 {
				at += rng.Float64() * 8
			}
			events = append(events, event{at, p})
			if rng.Float64() < 0.05 {
				events = append(events, event{at + rng.Float64()*20, p})
			}
		}
		for i := range events { // insertion sort: keeps equal times in order
			for k := i; k > 0 && events[k].at < events[k-1].at; k-- {
				events[k], events[k-1] = events[k-1], events[k]
			}
		}
		a := newAssembler(windowVideo, 100*time.Millisecond)
		var got, want []int
		now := time.Unix(0, 0)
		for _, e := range events {
			now = time.Unix(0, int64(e.at*float64(5*time.Millisecond)))
			a.push(now, e.p)
			got = append(got, framesOf(t, a, now)...)
		}
		got = append(got, framesOf(t, a, now.Add(time.Second))...)
		for i, ok := range whole {
			if ok {
				want = append(want, i)
			}
		}
		if !equalInts(got, want) {
			t.Fatalf("seed %d: %d frames, want %d", seed, len(got), len(want))
		}
	}
}

func FuzzAssembler(f *testing.F) {
	f.Add([]byte{0, 0, 3, 1, 0, 1, 3, 2, 255, 0, 1, 9})
	f.Fuzz(func(t *testing.T, b []byte) {
		a := newAssembler(64, 10*time.Millisecond)
		now := time.Unix(0, 0)
		for ; len(b) >= 4; b = b[4:] {
			now = now.Add(time.Duration(b[3]) * time.Millisecond)
			a.push(now, arrival{
				seq: binary.BigEndian.Uint16(b), ts: uint32(b[3]), start: b[2]&1 != 0, end: b[2]&2 != 0, payload: b[:b[2]>>2&3],
			})
			for range 200 {
				if _, ok := a.pop(now); !ok {
					break
				}
			}
		}
	})
}

func equalInts(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestDecoder(t *testing.T) {
	c := loadClip(t)
	q, h := c.Layers[0].Frames, c.Layers[1].Frames
	f := func(layer []clips.Frame, index ...int) []*clips.Frame {
		var out []*clips.Frame
		for _, i := range index {
			out = append(out, &layer[i])
		}
		return out
	}
	tests := []struct {
		name   string
		frames []*clips.Frame
		want   error // of the last frame; all others must be fine
	}{
		{"key frame first", f(q, 1), errNoKeyFrame},
		{"whole pattern", f(q, 0, 1, 2, 3, 4, 5, 6, 7), nil},
		{"without temporal layer 2", f(q, 0, 2, 4, 6), nil},
		{"only temporal layer 0", f(q, 0, 4, 8), nil},
		{"temporal layer 0 lost", f(q, 0, 1, 2, 3, 5), errReference},
		{"temporal layer 1 lost before 3", f(q, 0, 1, 3+4), errReference},
		{"late frame", f(q, 0, 4, 1), errReference},
		{"round and round", append(f(q, 0, 1, 2, 3, 4), f(q, 0, 1, 2)...), nil},
		{"other layer without key frame", append(f(q, 0, 1), f(h, 2)...), errNoKeyFrame},
		{"other layer with key frame", append(f(q, 0, 1), f(h, 0, 1, 2)...), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var d decoder
			for i, fr := range tt.frames {
				err := d.feed(fr)
				if i < len(tt.frames)-1 && err != nil {
					t.Fatalf("frame %d: %v", i, err)
				}
				if i == len(tt.frames)-1 && err != tt.want {
					t.Fatalf("last frame: %v, want %v", err, tt.want)
				}
			}
		})
	}
}
