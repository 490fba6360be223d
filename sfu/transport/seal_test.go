package transport

import (
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

func unhex(t testing.TB, words string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(words), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 3711 B.3.
func TestDeriveSRTP_vectors(t *testing.T) {
	prf, err := aes.NewCipher(unhex(t, "E1F97A0D3E018BE0D64FA32C06DE4139"))
	if err != nil {
		t.Fatal(err)
	}
	salt := unhex(t, "0EC675AD498AFEEBB6960B3AABE6")
	for _, test := range []struct {
		label byte
		want  string
	}{
		{labelRTPKey, "C61E7A93744F39EE10734AFE3FF7A087"},
		{labelRTPSalt, "30CBBC08863D8C85D49DB34A9AE1"},
		{0x01, `CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE
			E049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC25
			6D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2`},
	} {
		want := unhex(t, test.want)
		got := make([]byte, len(want))
		if deriveSRTP(prf, salt, test.label, got); !bytes.Equal(got, want) {
			t.Errorf("label %d: %X", test.label, got)
		}
	}
}

// RFC 7714 16.1.1 and 16.2.1: the keys of a session, roll-over counter 0.
func TestSealer_vectors(t *testing.T) {
	const plain = `8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573`
	for _, test := range []struct{ key, want string }{
		{"000102030405060708090a0b0c0d0e0f", `8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5
			0d294e6f 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce`},
		{"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", `8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa
			332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13`},
	} {
		s, err := sessionSealer(unhex(t, test.key), unhex(t, "517569642070726f2071756f"))
		if err != nil {
			t.Fatal(err)
		}
		b := append(make([]byte, 0, 100), unhex(t, plain)...)
		n, err := s.seal(b)
		if err != nil || !bytes.Equal(b[:n], unhex(t, test.want)) {
			t.Errorf("%x %v", b[:n], err)
		}
	}
}

// Whatever the library seals, the sealer seals to the same bytes, and the other way round what the sealer seals, it opens:
// several streams with losses, reordering and wraps, CSRCs, extensions of both profiles, padding, no payload.
func TestSealer_agreesWithTheLibrary(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 14))
	for _, size := range []int{16, 32} {
		profile := srtp.ProtectionProfileAeadAes128Gcm
		if size == 32 {
			profile = srtp.ProtectionProfileAeadAes256Gcm
		}
		key, salt := make([]byte, size), make([]byte, srtpSalt)
		for i := range key {
			key[i] = byte(r.Uint32())
		}
		for i := range salt {
			salt[i] = byte(r.Uint32())
		}
		ours, err := newSealer(key, salt)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err1 := srtp.CreateContext(key, salt, profile)
		open, err2 := srtp.CreateContext(key, salt, profile, srtp.SRTPReplayProtection(1024))
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		type stream struct {
			ssrc  uint32
			index uint64
			late  []uint64 // skipped, to be sent later
		}
		streams := []*stream{{ssrc: 1, index: 5}, {ssrc: 0xffffffff, index: 0x7fff}, {ssrc: 0, index: 0}}
		for range 20_000 {
			s := streams[r.IntN(len(streams))]
			index := s.index
			switch k := r.IntN(20); {
			case k == 0: // a gap that stays, as long as the receiver's guess allows
				s.index += uint64(r.IntN(20_000))
				s.late = nil
				index = s.index
				s.index++
			case k < 3: // a gap that is filled later
				s.late = append(s.late, s.index)
				s.index++
				index = s.index
				s.index++
			case k < 5 && len(s.late) > 0 && s.index-s.late[0] < 500:
				index, s.late = s.late[0], s.late[1:]
			default:
				s.index++
			}
			p := rtp.Packet{
				Header: rtp.Header{Version: 2, SSRC: s.ssrc, SequenceNumber: uint16(index), Timestamp: r.Uint32(), PayloadType: 96,
					Marker: r.IntN(2) == 0},
				Payload: make([]byte, r.IntN(1200)),
			}
			for range r.IntN(3) {
				p.CSRC = append(p.CSRC, r.Uint32())
			}
			if n := r.IntN(40); n > 0 {
				p.Extension, p.ExtensionProfile = true, 0x1000
				if err := p.SetExtension(5, make([]byte, n)); err != nil {
					t.Fatal(err)
				}
			}
			if r.IntN(4) == 0 {
				p.Padding, p.PaddingSize = true, byte(1+r.IntN(255))
			}
			plain, err := p.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			want, err := theirs.EncryptRTP(nil, plain, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := append(make([]byte, 0, len(plain)+SealOverhead), plain...)
			n, err := ours.seal(got)
			if err != nil || !bytes.Equal(got[:n], want) {
				t.Fatalf("index %d of %#x: %v", index, s.ssrc, err)
			}
			if back, err := open.DecryptRTP(nil, got[:n], nil); err != nil || !bytes.Equal(back, plain) {
				t.Fatalf("index %d of %#x does not open: %v", index, s.ssrc, err)
			}
		}
		for _, s := range streams {
			if s.index < 3<<16 {
				t.Fatalf("only %d packets: no wrap tested", s.index)
			}
		}
	}
}

// No nonce twice, whatever is asked for.
func TestSealer_refusesNumbersAgain(t *testing.T) {
	for _, test := range []struct {
		numbers string // a letter for each: s is sealed, r refused
		list    []int
	}{
		{"ssr", []int{5, 6, 6}},
		{"sssr", []int{5, 7, 6, 6}},
		{"srs", []int{5, 5, 6}},
		{"srs", []int{3, 65535, 4}}, // below the first: there is no roll-over counter for it
		{"ssrs", []int{5, 5 + 1024, 5, 6}},
		{"ssr", []int{5, 6 + 1024, 6}}, // too old to tell
		{"sssr", []int{65535, 0, 65534, 65535}},
	} {
		s, err := newSealer(make([]byte, 16), make([]byte, srtpSalt))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, n := range test.list {
			switch _, err := s.seal(append(make([]byte, 0, 200), plainRTP(uint16(n), 7, 100)...)); err {
			case nil:
				got += "s"
			case ErrSequence:
				got += "r"
			default:
				got += err.Error()
			}
		}
		if got != test.numbers {
			t.Errorf("%v: %s, want %s", test.list, got, test.numbers)
		}
	}
}

// FuzzSealer: nothing panics, and the library takes for a header what the sealer does.
func FuzzSealer(f *testing.F) {
	f.Add(plainRTP(1, 2, 30))
	f.Add([]byte{0x9f, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3})
	f.Add([]byte{0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := newSealer(make([]byte, 16), make([]byte, srtpSalt))
		if err != nil {
			t.Fatal(err)
		}
		buf := append(make([]byte, 0, len(b)+SealOverhead), b...)
		n, err := s.seal(buf)
		var h rtp.Header
		length, theirs := h.Unmarshal(b)
		if theirs == nil && h.Version == 2 {
			if ours, ok := rtpHeader(b); !ok || ours != length || err != nil {
				t.Fatalf("header of %d bytes, want %d: %v", ours, length, err)
			}
		}
		if err == nil && n != len(b)+SealOverhead {
			t.Fatal(n)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	plain := plainRTP(0, 6, 1050)
	seal := func(f func(buf []byte) error) func(*testing.B) {
		number := uint16(0) // goes on over the runs of a benchmark
		return func(b *testing.B) {
			buf := make([]byte, len(plain)+SealOverhead)
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			for range b.N {
				copy(buf, plain)
				buf[2], buf[3] = byte(number>>8), byte(number)
				number++
				if err := f(buf[:len(plain)]); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	for _, streams := range []int{1, 100} {
		s, err1 := newSealer(make([]byte, 16), make([]byte, srtpSalt))
		c, err2 := srtp.CreateContext(make([]byte, 16), make([]byte, srtpSalt), srtp.ProtectionProfileAeadAes128Gcm)
		if err1 != nil || err2 != nil {
			b.Fatal(err1, err2)
		}
		for i := range streams {
			s.stream(uint32(i) << 24)
		}
		var h rtp.Header
		b.Run(fmt.Sprintf("streams=%d/sealer", streams), seal(func(buf []byte) error { _, err := s.seal(buf); return err }))
		b.Run(fmt.Sprintf("streams=%d/library", streams), seal(func(buf []byte) error { _, err := c.EncryptRTP(buf, buf, &h); return err }))
	}
}
