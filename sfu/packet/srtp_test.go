package packet_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"sotto/sfu/packet"
)

// TestMarshal_sealsInPlace: what Marshal writes can be sealed where it lies, opens to the same bytes, and nothing allocates.
func TestMarshal_sealsInPlace(t *testing.T) {
	newContext := func() *srtp.Context {
		c, err := srtp.CreateContext(bytes.Repeat([]byte{1}, 16), bytes.Repeat([]byte{2}, 12), srtp.ProtectionProfileAeadAes128Gcm)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	seal, open := newContext(), newContext()
	const tag = 16
	ext := packet.Extensions{MID: 4, TransportCC: 3, DependencyDescriptor: 12}

	raw := []byte{0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0x10, 0, 0, 8, 12, 28} // a DD of 28 bytes, two of padding
	raw = append(raw, make([]byte, 30+1000)...)
	var p packet.Packet
	if err := packet.Parse(raw, &ext, time.Time{}, &p); err != nil {
		t.Fatal(err)
	}
	o := packet.Outgoing{Packet: &p, SSRC: 42, PT: 120, TS: 7, MID: []byte("12"), Frame: 5}
	slab := make([]byte, 4*packet.MaxPacket)
	at := slab[1000 : 1000 : 1000+packet.MaxPacket+tag]
	plain := make([]byte, packet.MaxPacket)
	var h rtp.Header
	step := func() (total int, sealed []byte) {
		o.Seq++
		total, _, err := o.Marshal(at, &ext, &h)
		if err != nil {
			t.Fatal(err)
		}
		copy(plain, at[:total])
		sealed, err = seal.EncryptRTP(at, at[:total], &h)
		if err != nil {
			t.Fatal(err)
		}
		return total, sealed
	}
	for range 100 {
		total, sealed := step()
		if &sealed[0] != &slab[1000] || len(sealed) != total+tag {
			t.Fatal("not sealed in place")
		}
		if bytes.Contains(sealed, plain[60:total]) {
			t.Fatal("not encrypted")
		}
		opened, err := open.DecryptRTP(nil, sealed, nil)
		if err != nil || !bytes.Equal(opened, plain[:total]) {
			t.Fatalf("opens to other bytes: %v", err)
		}
	}
	if a := testing.AllocsPerRun(1000, func() { step() }); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

// TestNoAllocation covers the way of a packet through this package.
func TestNoAllocation(t *testing.T) {
	ext := packet.Extensions{MID: 4, TransportCC: 3}
	raw := append([]byte{0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0, 1, 0x31, 1, 2, 0}, 0x90, 0xe0, 0x81, 0x01, 7, 0x20, 1)
	var p packet.Packet
	var d packet.Descriptor
	o := packet.Outgoing{Packet: &p, MID: []byte("1")}
	dst := make([]byte, packet.MaxPacket)
	var h rtp.Header
	if a := testing.AllocsPerRun(1000, func() {
		if err := packet.Parse(raw, &ext, time.Time{}, &p); err != nil {
			t.Fatal(err)
		}
		p.Codec = packet.VP8
		p.ExtSeq++
		if err := d.Read(&p); err != nil {
			t.Fatal(err)
		}
		if _, _, err := o.Marshal(dst, &ext, &h); err != nil {
			t.Fatal(err)
		}
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}
