package transport

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// fixedKeys exports the same keying material on both sides of a session.
type fixedKeys struct{ seed uint64 }

func (f fixedKeys) ExportKeyingMaterial(_ string, _ []byte, n int) ([]byte, error) {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(f.seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b, nil
}

// far is the client's side of fixedKeys.
type far struct{ out, in *srtp.Context }

func newFar(t testing.TB, profile srtp.ProtectionProfile, seed uint64) far {
	t.Helper()
	cfg := srtp.Config{Profile: profile}
	if err := cfg.ExtractSessionKeysFromDTLS(fixedKeys{seed}, true); err != nil {
		t.Fatal(err)
	}
	out, err := srtp.CreateContext(cfg.Keys.LocalMasterKey, cfg.Keys.LocalMasterSalt, profile)
	if err != nil {
		t.Fatal(err)
	}
	in, err := srtp.CreateContext(cfg.Keys.RemoteMasterKey, cfg.Keys.RemoteMasterSalt, profile,
		srtp.SRTPReplayProtection(1024), srtp.SRTCPReplayProtection(128))
	if err != nil {
		t.Fatal(err)
	}
	return far{out, in}
}

// connect opens a session whose handshake is taken as done, on address i.
func (b *bench) connect(i int, profile srtp.ProtectionProfile) (SessionID, far) {
	b.t.Helper()
	id, cfg := b.open()
	b.deliver(check(cfg), client(i))
	k, err := newKeys(profile, fixedKeys{uint64(i)})
	if err != nil {
		b.t.Fatal(err)
	}
	s := b.e.session(id)
	s.keys, s.state = k, stateUp
	b.e.schedule(s)
	return id, newFar(b.t, profile, uint64(i))
}

func plainRTP(seq uint16, ssrc uint32, size int) []byte {
	p := rtp.Packet{
		Header:  rtp.Header{Version: 2, PayloadType: 96, SequenceNumber: seq, SSRC: ssrc, Timestamp: 7},
		Payload: bytes.Repeat([]byte{byte(seq)}, size),
	}
	_ = p.SetExtension(1, []byte{1, 2, 3})
	b, _ := p.Marshal()
	return b
}

var profiles = []srtp.ProtectionProfile{
	srtp.ProtectionProfileAeadAes128Gcm, srtp.ProtectionProfileAeadAes256Gcm, srtp.ProtectionProfileAes128CmHmacSha1_80,
}

func TestSRTP_bothWays(t *testing.T) {
	for _, profile := range profiles {
		t.Run(fmt.Sprint(profile), func(t *testing.T) {
			b := newBench(t)
			id, f := b.connect(1, profile)
			for seq := range uint16(50) {
				plain := plainRTP(65520+seq, 5, 1000) // over the wrap
				cipher, err := f.out.EncryptRTP(nil, plain, nil)
				if err != nil {
					t.Fatal(err)
				}
				in, ok := b.e.Receive(b.now, Datagram{Data: cipher, From: client(1)})
				if !ok || in.Session != id || in.RTCP || !bytes.Equal(in.Data, plain) || &in.Data[0] != &cipher[0] {
					t.Fatalf("%v %+v", ok, dropNames(b.e.stats))
				}
				buf := append(make([]byte, 0, len(plain)+SealOverhead), plain...)
				n, err := b.e.SealRTP(id, buf)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := f.in.DecryptRTP(nil, buf[:n], nil); err != nil || !bytes.Equal(got, plain) {
					t.Fatal(err)
				}
			}
			report, _ := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 9}, &rtcp.PictureLossIndication{MediaSSRC: 5}})
			cipher, _ := f.out.EncryptRTCP(nil, report, nil)
			replay := bytes.Clone(cipher)
			if in, ok := b.e.Receive(b.now, Datagram{Data: cipher, From: client(1)}); !ok || !in.RTCP || !bytes.Equal(in.Data, report) {
				t.Fatal("RTCP up")
			}
			if _, ok := b.e.Receive(b.now, Datagram{Data: replay, From: client(1)}); ok || b.drops(DropSRTPReplay) != 1 {
				t.Fatal("RTCP replayed")
			}
			for _, room := range []int{0, SealOverheadRTCP} {
				sealed, err := b.e.SealRTCP(id, append(make([]byte, 0, len(report)+room), report...))
				if err != nil || len(sealed) > len(report)+SealOverheadRTCP {
					t.Fatal(err, len(sealed))
				}
				if got, err := f.in.DecryptRTCP(nil, sealed, nil); err != nil || !bytes.Equal(got, report) {
					t.Fatal(err)
				}
			}
			if _, err := b.e.SealRTP(id, plainRTP(1, 2, 100)[:100:100]); err != ErrCapacity {
				t.Fatal(err)
			}
		})
	}
}

func TestSRTP_countsWhatItDrops(t *testing.T) {
	b := newBench(t)
	_, f := b.connect(1, profiles[0])
	waiting, cfg := b.open()
	b.deliver(check(cfg), client(2))
	_ = waiting
	cipher, _ := f.out.EncryptRTP(nil, plainRTP(1, 5, 100), nil)
	flipped := bytes.Clone(cipher)
	flipped[40] ^= 1
	lying := append([]byte{0x9f, 96}, make([]byte, 60)...) // extension and 15 CSRCs beyond the end
	rtcpJunk := append([]byte{0x80, 200, 0, 1}, make([]byte, 60)...)
	for _, test := range []struct {
		data []byte
		from int
		want DropReason
	}{
		{flipped, 1, DropSRTPAuth},
		{cipher, 2, DropNotConnected},
		{cipher[:20], 1, DropMalformed},
		{cipher[:3], 1, DropMalformed},
		{lying, 1, DropMalformed},
		{rtcpJunk, 1, DropSRTPAuth},
		{rtcpJunk[:20], 1, DropMalformed},
	} {
		before := b.drops(test.want)
		b.deliver(test.data, client(test.from))
		if b.drops(test.want) != before+1 {
			t.Errorf("%v not counted: %v", test.want, dropNames(b.e.stats))
		}
	}
	if _, ok := b.e.Receive(b.now, Datagram{Data: cipher, From: client(1)}); !ok {
		t.Fatal("the call did not survive")
	}
}

// The cap holds for streams that authenticate, too.
func TestSRTP_capsStreams(t *testing.T) {
	b := newBench(t)
	_, f := b.connect(1, profiles[0])
	accepted := 0
	for ssrc := range uint32(100) {
		cipher, _ := f.out.EncryptRTP(nil, plainRTP(1, ssrc, 100), nil)
		if _, ok := b.e.Receive(b.now, Datagram{Data: cipher, From: client(1)}); ok {
			accepted++
		}
	}
	if accepted != maxInboundStreams || b.drops(DropSRTPStreams) != 100-maxInboundStreams {
		t.Fatal(accepted)
	}
}

// raceDetector reports -race, under which a sync.Pool, as the library's HMAC
// uses one, forgets at random.
func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func TestPacketPath_allocatesNothing(t *testing.T) {
	for _, profile := range profiles {
		if profile == srtp.ProtectionProfileAes128CmHmacSha1_80 && raceDetector() {
			continue
		}
		b := newBench(t)
		id, f := b.connect(1, profile)
		const rounds = 300
		var inbound [][]byte
		for seq := range uint16(rounds) {
			c, _ := f.out.EncryptRTP(nil, plainRTP(seq, 5, 1000), nil)
			inbound = append(inbound, c)
		}
		plain, seq := plainRTP(0, 6, 1000), uint16(0)
		sink := &countBind{Bind: b.bind}
		b.e.writer = sink
		round := func() {
			if _, ok := b.e.Receive(b.now, Datagram{Data: inbound[seq], From: client(1)}); !ok {
				t.Fatal(dropNames(b.e.stats))
			}
			for stream := range byte(3) {
				buf := b.e.Slab(len(plain) + SealOverhead)
				buf = append(buf, plain...)
				buf[2], buf[3], buf[8] = byte(seq>>8), byte(seq), stream
				n, err := b.e.SealRTP(id, buf)
				if err != nil {
					t.Fatal(err)
				}
				b.e.Send(id, buf[:n], 0)
			}
			b.e.Flush()
			seq++
		}
		for range 50 {
			round()
		}
		if n := testing.AllocsPerRun(200, round); n != 0 {
			t.Errorf("%v: %v allocations", profile, n)
		}
		if sink.datagrams == 0 || sink.runs*3 != sink.datagrams {
			t.Errorf("%d datagrams in %d runs", sink.datagrams, sink.runs)
		}
	}
}

// countBind counts what is written and keeps nothing.
type countBind struct {
	Bind
	runs, datagrams int
}

func (c *countBind) WriteBatch(runs []Run) (int, error) {
	n := 0
	for _, r := range runs {
		n += r.datagrams()
	}
	c.runs += len(runs)
	c.datagrams += n
	return n, nil
}

func BenchmarkSealAndSend(b *testing.B) {
	for _, profile := range profiles {
		b.Run(fmt.Sprint(profile), func(b *testing.B) {
			w := newBench(b)
			id, _ := w.connect(1, profile)
			w.e.writer = &countBind{Bind: w.bind}
			plain := plainRTP(0, 6, 1050)
			b.ReportAllocs()
			for i := range b.N {
				buf := append(w.e.Slab(len(plain)+SealOverhead), plain...)
				buf[2], buf[3] = byte(i>>8), byte(i)
				n, err := w.e.SealRTP(id, buf)
				if err != nil {
					b.Fatal(err)
				}
				w.e.Send(id, buf[:n], 0)
				if i%6 == 5 {
					w.e.Flush()
				}
			}
		})
	}
}

func BenchmarkReceiveRTP(b *testing.B) {
	w := newBench(b)
	_, f := w.connect(1, profiles[0])
	inbound := make([][]byte, 60_000)
	for seq := range inbound {
		inbound[seq], _ = f.out.EncryptRTP(nil, plainRTP(uint16(seq), 5, 1050), nil)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i%len(inbound) == 0 && i > 0 {
			b.StopTimer() // the replay window has seen them all
			for seq := range inbound {
				inbound[seq], _ = f.out.EncryptRTP(nil, plainRTP(uint16(seq), uint32(5+i/len(inbound)), 1050), nil)
			}
			b.StartTimer()
		}
		if _, ok := w.e.Receive(w.now, Datagram{Data: inbound[i%len(inbound)], From: client(1)}); !ok {
			b.Fatal(dropNames(w.e.stats))
		}
	}
}
