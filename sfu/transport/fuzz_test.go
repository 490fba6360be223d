package transport

import (
	"bytes"
	"testing"

	"github.com/pion/rtcp"
)

// FuzzReceive: whatever arrives, from a stranger, a checked address or a connected peer, nothing breaks, nothing is
// learned, no stranger gets an answer and nothing unauthenticated comes out.
func FuzzReceive(f *testing.F) {
	w := newBench(f)
	_, cfg := w.open()
	fa := newFar(f, profiles[0], 1)
	f.Add(check(cfg))
	f.Add(check(cfg)[:40])
	f.Add(whole(messageClientHello, 0, helloBody(versionDTLS12, 0x002f)))
	f.Add(record(contentAlert, 0, []byte{2, 40}))
	f.Add(record(contentHandshake, 1, make([]byte, 40)))
	sealed, _ := fa.out.EncryptRTP(nil, plainRTP(1, 5, 100), nil)
	f.Add(append(bytes.Clone(sealed), 0))
	report, _ := rtcp.Marshal([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: 5}})
	sealed, _ = fa.out.EncryptRTCP(nil, report, nil)
	f.Add(append(bytes.Clone(sealed), 0))
	f.Add([]byte{0x9f, 96, 0, 1, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0x80, 200})
	f.Add([]byte{3})

	b := newBench(f)
	b.connect(1, profiles[0])
	_, waiting := b.open()
	b.deliver(check(waiting), client(2))
	f.Fuzz(func(t *testing.T, data []byte) {
		// A well-formed hello would start a handshake: that is for other tests.
		if v := new(guard).admit(data, false); v.hello && len(data) > 0 && data[0] >= 20 && data[0] < 64 {
			return
		}
		for i := 1; i <= 3; i++ {
			in, ok := b.e.Receive(b.now, Datagram{Data: bytes.Clone(data), From: client(i)})
			if ok {
				t.Fatalf("unauthenticated: %+v", in)
			}
		}
		if b.e.addresses.used != 2 || len(b.sent()) != 0 {
			t.Fatal("answered, or learned an address")
		}
		var total uint64
		for _, n := range b.e.stats.Drops {
			total += n
		}
		if b.e.stats.DatagramsIn != total+2 { // two checks
			t.Fatalf("%d in, %d dropped: a drop without a reason", b.e.stats.DatagramsIn, total)
		}
	})
}
