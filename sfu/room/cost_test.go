package room

import (
	"encoding/binary"
	"testing"
	"time"

	"sotto/sfu/packet"
)

// fan is a running call of one publisher and n subscribers of one layer, and the next packet of it.
type fan struct {
	w   *world
	raw []byte
	buf []byte
	pkt packet.Packet
	seq uint16
	pic uint16
	n   int
}

func newFan(t testing.TB, n int) *fan {
	w := newWorld(t, 50)
	w.apply(Join{Peer: 1, Extensions: pubExt})
	w.apply(Publish{Peer: 1, Tracks: []PublishedTrack{{Source: SourceCamera, MID: "1", Codecs: []PayloadType{vp8}, RIDs: rids[:1]}}})
	for i := range n {
		id := PeerID(2 + i)
		w.apply(Join{Peer: id, Extensions: subExt})
		w.apply(Slots{Peer: id, Slots: []Slot{{MID: "a", Kind: Video, SSRC: uint32(id) * 10, RTXSSRC: uint32(id)*10 + 1, Codecs: []PayloadType{vp8Sub}}}})
		w.apply(Want{Peer: id, Wishes: []Wish{{Publisher: 1, Source: SourceCamera, Height: 720}}})
	}
	p := &publisher{w: w, id: 1}
	f := &fan{w: w, raw: p.header(96, 0, 0, 5, "1", "q", true)}
	f.raw = append(f.raw, 0x90, 0xE0, 0, 0, 0, 0x20, 0)
	f.raw = append(f.raw, make([]byte, 1100)...)
	f.buf = make([]byte, len(f.raw))
	for range 2000 { // past the first round of the ring
		f.step()
	}
	f.w.batch.Reset()
	return f
}

// step receives one frame of one packet, 8 ms after the last: 1.1 Mbit/s.
func (f *fan) step() int {
	f.n++
	f.seq++
	f.pic++
	at := len(f.raw) - 1107
	binary.BigEndian.PutUint16(f.raw[2:], f.seq)
	binary.BigEndian.PutUint32(f.raw[4:], uint32(f.n*720))
	binary.BigEndian.PutUint16(f.raw[17:], f.seq)
	binary.BigEndian.PutUint16(f.raw[at+2:], 0x8000|f.pic)
	f.raw[at+6] = 1
	if f.n == 1 {
		f.raw[at+6] = 0
	}
	copy(f.buf, f.raw)
	f.w.now = f.w.now.Add(8 * time.Millisecond)
	f.w.batch.Sends, f.w.batch.RTCP = f.w.batch.Sends[:0], f.w.batch.RTCP[:0]
	if err := packet.Parse(f.buf, &pubExt, f.w.now, &f.pkt); err != nil {
		f.w.t.Fatal(err)
	}
	f.w.room.HandleRTP(f.w.now, 1, &f.pkt, &f.w.batch)
	return len(f.w.batch.Sends)
}

func TestHandleRTP_doesNotAllocate(t *testing.T) {
	f := newFan(t, 10)
	if n := f.step(); n != 10 {
		t.Fatalf("%d sends for 10 subscribers", n)
	}
	if n := testing.AllocsPerRun(2000, func() { f.step() }); n != 0 {
		t.Fatalf("%v allocations a packet", n)
	}
}

func BenchmarkHandleRTP_1to100(b *testing.B) {
	f := newFan(b, 100)
	b.ReportAllocs()
	sends := 0
	for b.Loop() {
		sends += f.step()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(sends), "ns/send")
}

func BenchmarkTick_100peers(b *testing.B) {
	f := newFan(b, 100)
	b.ReportAllocs()
	for b.Loop() {
		f.w.room.Tick(f.w.now, &f.w.batch)
	}
}
