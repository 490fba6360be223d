package sframe

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

var (
	epoch    = time.Unix(1_800_000_000, 0)
	baseKey  = []byte("0123456789abcdef")
	codecs   = []Codec{Opus, VP8, VP9, AV1}
	contextC = map[Codec]Context{Opus: Microphone, VP8: Camera, VP9: Camera, AV1: Camera}
)

// pair is a sender and the receiver of its key.
type pair struct {
	t testing.TB
	*Sender
	*Receiver
	order Order
	rtp   uint32
}

func newPair(t testing.TB, c Context) *pair {
	t.Helper()
	key, err := DeriveKey(baseKey, MakeKID(c, 7, 0))
	if err != nil {
		t.Fatal(err)
	}
	return &pair{t: t, Sender: NewSender(key), Receiver: NewReceiver(key)}
}

func (p *pair) protect(codec Codec, key bool, frame string) []byte {
	p.t.Helper()
	b, err := p.Protect(nil, codec, key, []byte(frame))
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

func (p *pair) openAt(rtp uint32, codec Codec, b []byte) (string, error) {
	f, err := Parse(codec, b)
	if err != nil {
		return "", err
	}
	out, err := p.Open(nil, epoch, &p.order, rtp, f)
	return string(out), err
}

func (p *pair) open(codec Codec, b []byte) (string, error) { return p.openAt(0, codec, b) }

func TestProtect_opensAgain(t *testing.T) {
	for _, codec := range codecs {
		for _, size := range []int{1, 2, 100, 111, 112, 127, 128, 20_000} {
			p := newPair(t, contextC[codec])
			frame := make([]byte, size)
			rand.NewChaCha8([32]byte{byte(size)}).Read(frame)
			b := p.protect(codec, size%2 == 0, string(frame))
			if len(b) > size+Overhead {
				t.Errorf("codec %d: %d bytes for %d, more than Overhead", codec, len(b), size)
			}
			if size > 16 && bytes.Contains(b, frame[1:]) {
				t.Errorf("codec %d: the frame is readable", codec)
			}
			if got, err := p.open(codec, b); err != nil || got != string(frame) {
				t.Errorf("codec %d, %d bytes: %v", codec, size, err)
			}
		}
	}
}

func TestProtect_leavesWhatPacketizersNeed(t *testing.T) {
	p := newPair(t, Camera)
	if b := p.protect(VP8, false, "\x10rest"); b[0] != 0x10 {
		t.Errorf("VP8 begins with %#x", b[0])
	}
	key, delta := p.protect(AV1, true, "frame"), p.protect(AV1, false, "frame")
	if key[0] != 0x0a || delta[0] != 0x32 || int(key[1]) != len(key)-2 {
		t.Errorf("AV1 wraps as %x and %x", key[:2], delta[:2])
	}
	for _, test := range []struct {
		codec Codec
		b     []byte
		key   bool
	}{{VP8, p.protect(VP8, false, "\x10"), true}, {VP8, p.protect(VP8, true, "\x11"), false}, {AV1, key, true}, {AV1, delta, false}} {
		if f, err := Parse(test.codec, test.b); err != nil || f.KeyFrame() != test.key {
			t.Errorf("codec %d: key frame %v, %v", test.codec, f.KeyFrame(), err)
		}
	}
}

// Depacketizers add a temporal delimiter, drop the size or add an extension.
func TestOpen_toleratesRewrittenOBUs(t *testing.T) {
	rewrites := map[string]func(b []byte) []byte{
		"as sent":            func(b []byte) []byte { return b },
		"temporal delimiter": func(b []byte) []byte { return append([]byte{0x12, 0}, b...) },
		"no size":            func(b []byte) []byte { return append([]byte{b[0] &^ 2}, b[2:]...) },
		"extension":          func(b []byte) []byte { return append([]byte{b[0] | 4, 0x08, b[1]}, b[2:]...) },
		"long size":          func(b []byte) []byte { return append([]byte{b[0], b[1] | 0x80, 0}, b[2:]...) },
	}
	for name, rewrite := range rewrites {
		p := newPair(t, Camera)
		if got, err := p.open(AV1, rewrite(p.protect(AV1, true, "picture"))); err != nil || got != "picture" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, rewrite := range map[string]func(b []byte) []byte{
		"delta shown as key": func(b []byte) []byte { b[0] = 0x0a; return b },
		"trailing OBU":       func(b []byte) []byte { return append(b, 0x12, 0) },
		"other type":         func(b []byte) []byte { b[0] = 0x2a; return b },
		"two delimiters":     func(b []byte) []byte { return append([]byte{0x12, 0, 0x12, 0}, b...) },
		"forbidden bit":      func(b []byte) []byte { b[0] |= 0x80; return b },
		"size beyond":        func(b []byte) []byte { b[1]++; return b },
		"endless size":       func(b []byte) []byte { return append([]byte{b[0]}, bytes.Repeat([]byte{0x80}, 40)...) },
	} {
		p := newPair(t, Camera)
		if _, err := p.open(AV1, rewrite(p.protect(AV1, false, "picture"))); err != DropMalformed && err != DropAuth {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Attack 1: every bit of a frame is covered.
func TestOpen_refusesEveryFlippedBit(t *testing.T) {
	for _, codec := range codecs {
		p := newPair(t, contextC[codec])
		for range 9 {
			p.protect(codec, false, "past") // so that the CTR has a byte of its own
		}
		b := p.protect(codec, false, "\x01a frame of some length")
		for bit := range len(b) * 8 {
			forged := bytes.Clone(b)
			forged[bit/8] ^= 1 << (bit % 8)
			_, err := p.open(codec, forged)
			switch err {
			case DropMalformed, DropAuth, DropNoKey:
			default:
				t.Errorf("codec %d bit %d: %v", codec, bit, err)
			}
		}
		if _, err := p.open(codec, b); err != nil {
			t.Errorf("codec %d: the true frame: %v", codec, err)
		}
	}
}

func TestOpen_bindsTheCodec(t *testing.T) {
	p := newPair(t, Camera)
	if _, err := p.open(Opus, p.protect(VP9, false, "frame")); err != DropAuth {
		t.Fatalf("VP9 as Opus: %v", err)
	}
}

// Attacks 2 and 3: once each, in the window, and not after it.
func TestOpen_replayAndReorder(t *testing.T) {
	for _, c := range []Context{Microphone, Camera} {
		p := newPair(t, c)
		codec, size := VP9, VideoWindow
		if c.Audio() {
			codec, size = Opus, AudioWindow
		}
		var frames [][]byte
		for range size + 2 {
			frames = append(frames, p.protect(codec, false, "frame"))
		}
		for _, step := range []struct {
			ctr  int
			want error
		}{
			{5, nil}, {5, DropReplay}, {3, nil}, {3, DropReplay}, {4, nil}, // reordered within the window
			{size + 1, nil}, {2, nil}, {1, DropReplay}, {0, DropReplay}, // 1 is one too old
			{size, nil}, {size + 1, DropReplay}, {4, DropReplay},
		} {
			if _, err := p.open(codec, frames[step.ctr]); err != step.want {
				t.Errorf("context %d, CTR %d: %v, want %v", c, step.ctr, err, step.want)
			}
		}
	}
}

func TestWindow_equalsASet(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		w := window{size: AudioWindow}
		seen := map[uint64]bool{}
		top := uint64(0)
		for range 5000 {
			ctr := top + uint64(r.IntN(40))
			switch r.IntN(10) {
			case 0:
				ctr += uint64(r.IntN(1000))
			case 1, 2, 3, 4, 5:
				ctr = top - min(top, uint64(r.IntN(300)))
			}
			want := !seen[ctr] && (ctr >= top || top-ctr <= AudioWindow)
			if got := w.fresh(ctr); got != want {
				t.Fatalf("fresh(%d) = %v with top %d", ctr, got, top)
			}
			if want {
				w.mark(ctr)
				seen[ctr] = true
				top = max(top, ctr+1)
			}
		}
	}
}

// Attack 44: nothing older than two heartbeats is live.
func TestHeartbeat_raisesTheFloor(t *testing.T) {
	p := newPair(t, Camera)
	var frames [][]byte
	for range 30 {
		frames = append(frames, p.protect(VP9, false, "frame"))
	}
	open := func(ctr int, want error) {
		t.Helper()
		if _, err := p.open(VP9, frames[ctr]); err != want {
			t.Errorf("CTR %d: %v, want %v", ctr, err, want)
		}
	}
	p.Heartbeat(10)
	open(1, nil)
	p.Heartbeat(20)
	open(9, DropStale)
	open(10, nil)
	p.Heartbeat(5) // going back changes nothing
	open(8, DropStale)
	open(11, nil)
	p.Heartbeat(30)
	open(19, DropStale)
	open(20, nil)
}

func TestOrder_followsCounters(t *testing.T) {
	type step struct {
		ctr  int
		rtp  uint32
		want error
	}
	for name, steps := range map[string][]step{
		"forward":            {{0, 0, nil}, {1, 3000, nil}, {2, 6000, nil}},
		"layers share time":  {{0, 9000, nil}, {1, 9000, nil}, {2, 9000, nil}},
		"late but in order":  {{0, 0, nil}, {30, 9000, nil}, {10, 3000, nil}, {20, 6000, nil}},
		"newer shown older":  {{40, 9000, nil}, {50, 8999, DropOrder}, {60, 9000, nil}},
		"older shown newer":  {{40, 9000, nil}, {30, 9001, DropOrder}, {30, 8000, nil}},
		"between neighbours": {{10, 1000, nil}, {90, 9000, nil}, {50, 9500, DropOrder}, {50, 500, DropOrder}, {50, 5000, nil}},
		"wrap":               {{0, 0xfffffff0, nil}, {10, 0x10, nil}, {30, 0x30, nil}, {20, 0xffffffff, DropOrder}},
		// The key frame of another layer of a picture, after the picture's frame of the layer shown before.
		"layer switch":       {{30, 9000, nil}, {28, 9001, nil}, {33, 12000, nil}},
		"within the slack":   {{30, 9000, nil}, {30 - orderSlack, 9001, nil}},
		"beyond the slack":   {{30, 9000, nil}, {30 - orderSlack - 1, 9001, DropOrder}},
		"slack does not add": {{30, 9000, nil}, {24, 9001, nil}, {18, 9002, DropOrder}},
	} {
		p := newPair(t, Camera)
		var frames [][]byte
		for range 100 {
			frames = append(frames, p.protect(VP9, false, "frame"))
		}
		for i, s := range steps {
			if _, err := p.openAt(s.rtp, VP9, frames[s.ctr]); err != s.want {
				t.Errorf("%s, step %d: %v, want %v", name, i, err, s.want)
			}
		}
	}
}

func TestOrder_remembersAFewAndForgetsATimeline(t *testing.T) {
	var o Order
	add := func(now time.Time, ctr uint64, rtp uint32) bool {
		at, ok := o.place(now, 1, ctr, rtp)
		if ok {
			o.add(now, 1, ctr, rtp, at)
		}
		return ok
	}
	for i := range uint64(3 * orderLength) {
		if !add(epoch, 2*i, uint32(2*i)) {
			t.Fatalf("CTR %d", 2*i)
		}
	}
	last := uint64(6*orderLength - 2)
	if !add(epoch, last-1, uint32(last-1)) || add(epoch, last-3, uint32(last)) {
		t.Error("a late frame is not placed between its neighbours")
	}
	if add(epoch.Add(orderForget), last+1, 0) {
		t.Error("a new timeline was believed at once")
	}
	if !add(epoch.Add(orderForget+time.Second), last+1, 0) {
		t.Error("a new timeline was never believed")
	}
}

// Attacks 6 and 7: what is no SFrame frame of ours.
func TestParse_refusesForeignFrames(t *testing.T) {
	tail := bytes.Repeat([]byte{0x55}, 40)
	for name, b := range map[string][]byte{
		"opus silence":      {0xf8, 0xff, 0xfe},
		"vp8 8x8 key frame": {0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x08, 0x00, 0x08, 0x00},
		"header only":       {0x90, 0x01, 0x00},
		"tag cut":           append([]byte{0x00}, tail[:15]...),
		"KID of 8 bytes":    append([]byte{0xf8, 1, 1, 1, 1, 1, 1, 1, 1, 1}, tail...),
		"CTR 2^64-1":        append([]byte{0x0f, 255, 255, 255, 255, 255, 255, 255, 255}, tail...),
		"CTR 2^32":          append([]byte{0x0c, 1, 0, 0, 0, 0}, tail...),
		"n = 255":           append([]byte{0xff}, 255, 255),
	} {
		for _, codec := range []Codec{Opus, VP9} {
			if f, err := Parse(codec, b); err != DropMalformed {
				t.Errorf("%s: %+v, %v", name, f.Header, err)
			}
		}
	}
	for _, codec := range codecs {
		if _, err := Parse(codec, nil); err != DropEmpty {
			t.Errorf("codec %d, empty: %v", codec, err)
		}
	}
	if _, err := Parse(9, tail); err != DropCodec {
		t.Errorf("unknown codec: %v", err)
	}
}

func TestProtect_refusals(t *testing.T) {
	p := newPair(t, Camera)
	if _, err := p.Protect(nil, 5, false, []byte("h264")); err != DropCodec {
		t.Errorf("unknown codec: %v", err)
	}
	if _, err := p.Protect(nil, VP8, false, nil); err != DropEmpty {
		t.Errorf("empty frame: %v", err)
	}
	if p.Sender.Next() != 0 {
		t.Errorf("a refusal took CTR %d", p.Sender.Next())
	}
	p.Sender.next = RekeyCTR - 1
	if p.RekeyDue() {
		t.Error("rekey asked for too early")
	}
	p.protect(VP8, false, "frame")
	if !p.RekeyDue() {
		t.Error("rekey not asked for")
	}
	p.Sender.next = MaxCTR - 1
	p.protect(VP8, false, "frame")
	for range 2 {
		if b, err := p.Protect(nil, VP8, false, []byte("frame")); err != DropExhausted || len(b) != 0 {
			t.Errorf("beyond the last CTR: %x, %v", b, err)
		}
	}
}

// Simulcast layers protect from several goroutines: no counter comes twice.
func TestProtect_countersAreUnique(t *testing.T) {
	p := newPair(t, Camera)
	var mu sync.Mutex
	seen := map[uint64]bool{}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 500 {
				b, err := p.Protect(nil, VP9, false, []byte("layer"))
				f, err2 := Parse(VP9, b)
				mu.Lock()
				if err != nil || err2 != nil || seen[f.CTR] {
					t.Errorf("CTR %d: %v %v", f.CTR, err, err2)
				}
				seen[f.CTR] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != 1500 {
		t.Errorf("%d counters", len(seen))
	}
}

func TestOpen_wrongKeyAndSpoiledBuffers(t *testing.T) {
	p, q := newPair(t, Camera), newPair(t, Screen)
	b := p.protect(VP8, false, "\x01frame")
	f, err := Parse(VP8, b)
	if err != nil {
		t.Fatal(err)
	}
	dst := []byte("kept")
	if out, err := q.Open(dst, epoch, &q.order, 0, f); err != DropNoKey || string(out) != "kept" {
		t.Errorf("other KID: %q, %v", out, err)
	}
	b[len(b)-1] ^= 1
	if out, err := p.Open(dst, epoch, &p.order, 0, f); err != DropAuth || string(out) != "kept" {
		t.Errorf("forged: %q, %v", out, err)
	}
	if p.window.count() != 0 {
		t.Error("a forged frame was recorded")
	}
	b[len(b)-1] ^= 1
	if out, err := p.Open(dst, epoch, &p.order, 0, f); err != nil || string(out) != "kept\x01frame" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := DeriveKey(baseKey[:15], 0); err == nil {
		t.Error("a short base key was accepted")
	}
}

func TestMediaPath_doesNotAllocate(t *testing.T) {
	for _, codec := range codecs {
		p := newPair(t, contextC[codec])
		frame := make([]byte, 1200)
		sealed, opened := make([]byte, 0, 1200+Overhead), make([]byte, 0, 1200+Overhead)
		if n := testing.AllocsPerRun(200, func() {
			p.rtp += 3000
			b, err := p.Protect(sealed, codec, false, frame)
			if err != nil {
				t.Fatal(err)
			}
			f, err := Parse(codec, b)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = p.Open(opened, epoch, &p.order, p.rtp, f); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("codec %d: %v allocations per frame", codec, n)
		}
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add([]byte{0x99, 1, 0x23, 0x45, 0x67})
	f.Add([]byte{0xff, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := ParseHeader(b)
		if err != nil {
			return
		}
		if got := h.Append(nil); !bytes.Equal(got, b[:n]) || h.Len() != n {
			t.Fatalf("%x -> %+v -> %x", b[:n], h, got)
		}
	})
}

// Whatever arrives, only the frame that was sent comes out, once.
func FuzzOpen(f *testing.F) {
	for _, codec := range codecs {
		p := newPair(f, contextC[codec])
		f.Add(byte(codec), p.protect(codec, true, "\x10a frame"))
	}
	f.Add(byte(Opus), []byte{0xf8, 0xff, 0xfe})
	f.Add(byte(AV1), []byte{0x12, 0, 0x0a, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, codec byte, b []byte) {
		parsed, err := Parse(Codec(codec), b)
		if err != nil {
			return
		}
		c, _, _, _ := parsed.KID.Split()
		p := newPair(t, c)
		out, err := p.Open(nil, epoch, &p.order, 0, parsed)
		if err == nil && string(out) != "\x10a frame" {
			t.Fatalf("%x opened to %q", b, out)
		}
	})
}

func BenchmarkProtect(b *testing.B) {
	for _, size := range []int{120, 1200, 20_000} {
		b.Run(map[int]string{120: "audio120B", 1200: "video1200B", 20_000: "video20kB"}[size], func(b *testing.B) {
			p := newPair(b, Camera)
			frame, dst := make([]byte, size), make([]byte, 0, size+Overhead)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Protect(dst, VP8, false, frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	p := newPair(b, Microphone)
	frame, dst := make([]byte, 120), make([]byte, 0, 200)
	sealed := make([]byte, 0, 200)
	b.ReportAllocs()
	for b.Loop() {
		s, _ := p.Protect(sealed, Opus, false, frame)
		f, _ := Parse(Opus, s)
		if _, err := p.Open(dst, epoch, &p.order, 0, f); err != nil {
			b.Fatal(err)
		}
	}
}

// The digest is of the frame on the wire, whatever a depacketizer made of the
// OBU around it.
func TestDigest(t *testing.T) {
	sum := func(b []byte) Digest { s := sha256.Sum256(b); return Digest(s[:8]) }
	body := make([]byte, 60) // KID 0, CTR 0
	for i := range body {
		body[i] = byte(i)
	}
	after := func(first ...byte) []byte { return append(first, body...) }
	d := NewDigester()
	for _, c := range []struct {
		codec       Codec
		frame, wire []byte
	}{
		{Opus, body, body},
		{VP9, body, body},
		{VP8, after(0x10), after(0x10)},
		{AV1, after(obuKey, 60), after(obuKey)},
		{AV1, after(0x12, 0, obuKey, 60), after(obuKey)},
		{AV1, after(0x08), after(obuKey)},
	} {
		f, err := Parse(c.codec, c.frame)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Digest(&f); got != sum(c.wire) {
			t.Errorf("%v %x: %x", c.codec, c.frame[:4], got)
		}
		if n := testing.AllocsPerRun(10, func() { d.Digest(&f) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}
