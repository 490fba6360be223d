package ring

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"sotto/sfu/packet"
)

func numbered(ext uint64, n int) *packet.Packet {
	raw := make([]byte, n)
	for i := range raw {
		raw[i] = byte(ext) + byte(i)
	}
	return &packet.Packet{Raw: raw, ExtSeq: ext, PayloadAt: 12, PayloadEnd: uint16(n)}
}

func TestRing_keepsTheLastPackets(t *testing.T) {
	r := New(64)
	rng := rand.New(rand.NewPCG(3, 4))
	const first, last = 1<<32 + 5, 1<<32 + 1005
	for ext := uint64(first); ext <= last; ext++ {
		p := numbered(ext, 20+rng.IntN(packet.MaxPacket-20))
		want := bytes.Clone(p.Raw)
		q := r.Put(p)
		clear(p.Raw) // the reader reuses its buffer
		if q == nil || !bytes.Equal(q.Raw, want) || q.PayloadAt != 12 {
			t.Fatalf("Put(%d) did not copy the packet", ext)
		}
	}
	for ext := uint64(first); ext <= last; ext++ {
		q := r.Get(ext)
		if kept := ext > last-64; kept != (q != nil) {
			t.Fatalf("Get(last-%d) = %v", last-ext, q)
		}
		if q != nil && !bytes.Equal(q.Raw, numbered(ext, len(q.Raw)).Raw) {
			t.Fatalf("packet last-%d has other bytes", last-ext)
		}
	}
}

func TestRing_refuses(t *testing.T) {
	r := New(16)
	r.Put(numbered(100, 50))
	for name, p := range map[string]*packet.Packet{
		"too long":               numbered(101, packet.MaxPacket+1),
		"older than its slot's":  numbered(84, 50),
		"without a valid number": numbered(0, 50),
	} {
		if r.Put(p) != nil {
			t.Errorf("%s: stored", name)
		}
	}
	if r.Get(100) == nil || r.Get(101) != nil || r.Get(84) != nil || r.Get(0) != nil {
		t.Error("a refused packet changed the ring")
	}
}

func TestRing_longerPacketsLeaveStoredOnesAlone(t *testing.T) {
	r := New(16)
	small := r.Put(numbered(32, 100))
	r.Put(numbered(33, 1200))
	if !bytes.Equal(small.Raw, numbered(32, 100).Raw) {
		t.Error("growing changed a stored packet")
	}
}

func TestRing_resetForgets(t *testing.T) {
	r := New(16)
	r.Put(numbered(1<<33, 100))
	r.Reset()
	if r.Get(1<<33) != nil || r.Put(numbered(1<<32, 100)) == nil {
		t.Error("Reset did not forget")
	}
}

func TestRing_noAllocationOnceFull(t *testing.T) {
	r := New(128)
	p := numbered(1<<32, 1200)
	step := func() {
		p.ExtSeq++
		if r.Put(p) == nil || r.Get(p.ExtSeq) == nil {
			t.Fatal("not stored")
		}
	}
	for range 128 {
		step()
	}
	if a := testing.AllocsPerRun(1000, step); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

func FuzzRing(f *testing.F) {
	f.Add([]byte{1, 20, 1, 255, 3, 7})
	f.Fuzz(func(t *testing.T, steps []byte) {
		r := New(16)
		at := uint64(1 << 32)
		for i := 0; i+1 < len(steps); i += 2 {
			at += uint64(int64(int8(steps[i])))
			p := numbered(at, 12+8*int(steps[i+1]))
			if q := r.Put(p); q != nil && (r.Get(at) != q || !bytes.Equal(q.Raw, p.Raw)) {
				t.Fatal("stored packet is not found")
			}
		}
	})
}

func BenchmarkPut1100(b *testing.B) {
	r := New(512)
	p := numbered(1<<32, 1100)
	b.ReportAllocs()
	for range b.N {
		p.ExtSeq++
		r.Put(p)
	}
}

func BenchmarkGet(b *testing.B) {
	r := New(512)
	for i := range uint64(512) {
		r.Put(numbered(1<<32+i, 1100))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range uint64(b.N) {
		if r.Get(1<<32+i%512) == nil {
			b.Fatal("lost")
		}
	}
}
