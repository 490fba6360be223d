package transport

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/webrtc/v4"
)

// recordingBind notes the numbers of the encrypted DTLS records that are written.
type recordingBind struct {
	Bind
	mu      sync.Mutex
	numbers []uint64
}

func (b *recordingBind) WriteBatch(runs []Run) (int, error) {
	b.mu.Lock()
	for _, r := range runs {
		for d := r.Data; len(d) > recordHeaderLen && d[0] >= 20 && d[0] < 64; {
			n := recordHeaderLen + int(binary.BigEndian.Uint16(d[11:]))
			if binary.BigEndian.Uint16(d[3:]) == 1 {
				b.numbers = append(b.numbers, binary.BigEndian.Uint64(d[3:])&(1<<48-1))
			}
			d = d[min(n, len(d)):]
		}
	}
	b.mu.Unlock()
	return b.Bind.WriteBatch(runs)
}

func (b *recordingBind) sent() []uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.numbers)
}

// associationGoroutines counts those of this package's associations.
func associationGoroutines() int {
	b := make([]byte, 1<<20)
	b = b[:runtime.Stack(b, true)]
	n := 0
	for g := range bytes.SplitSeq(b, []byte("\n\n")) {
		if bytes.Contains(g, []byte("transport.(*association")) {
			n++
		}
	}
	return n
}

// forgedAlert looks like an encrypted alert.
func forgedAlert(number uint64) []byte {
	b := make([]byte, recordHeaderLen+8+2+16)
	b[0], b[12] = contentAlert, byte(len(b)-recordHeaderLen)
	binary.BigEndian.PutUint64(b[3:], number)
	binary.BigEndian.PutUint16(b[1:], versionDTLS12)
	binary.BigEndian.PutUint16(b[3:], 1)
	return b
}

// An association has no goroutine once media came, forged alerts wake it for a second at a time, it uses no record number
// twice, and its close_notify reaches the client.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := virtual(t)
		bind := &recordingBind{Bind: n.server}
		s := newShard(t, bind, Limits{})
		p := newPeer(t, n.client())
		defer p.close()
		var source Datagram
		s.do(func() {
			s.tap = func(d Datagram) {
				if d.Data[0] >= 128 {
					source.From = d.From
				}
			}
		})
		id := p.join(s, false, nil)
		s.event(Connected)
		p.waitState(webrtc.PeerConnectionStateConnected)
		synctest.Wait()
		if got := associationGoroutines(); got == 0 {
			t.Fatal("no goroutine before the first media: the last flight could not be repeated")
		}
		exchange(t, s, p, id, 1, 10)
		synctest.Wait()
		if got := associationGoroutines(); got != 0 {
			t.Fatalf("%d goroutines at rest", got)
		}
		for i := range 3 {
			forged := forgedAlert(uint64(1000 + i))
			s.do(func() { s.e.Receive(time.Now(), Datagram{Data: forged, From: source.From}) })
			synctest.Wait()
			if got := associationGoroutines(); got == 0 {
				t.Fatal("an alert did not wake the association")
			}
			time.Sleep(wakeTime)
			synctest.Wait()
			s.do(func() {}) // takes the snapshot over
			if got := associationGoroutines(); got != 0 {
				t.Fatalf("%d goroutines %v after an alert", got, wakeTime)
			}
		}
		exchange(t, s, p, id, 100, 10)
		s.do(func() {
			s.e.Receive(time.Now(), Datagram{Data: whole(messageClientHello, 0, helloBody(versionDTLS12, suiteECDHEECDSAWithAES128GCM)), From: source.From})
		})
		if s.drops(DropDTLSHello) != 1 {
			t.Fatalf("%v", dropNames(s.stats()))
		}
		before := bind.sent()
		s.do(func() { s.e.Close(time.Now(), id) })
		p.waitState(webrtc.PeerConnectionStateClosed)
		after := bind.sent()
		if len(after) <= len(before) {
			t.Fatal("no close_notify")
		}
		for i := 1; i < len(after); i++ {
			if after[i] <= after[i-1] {
				t.Fatalf("record numbers %d", after)
			}
		}
		s.stop()
		n.stop()
	})
}

// A session that is closed in the moment in which its association goes to rest says goodbye all the same.
func TestRest_whileTheSessionEnds(t *testing.T) {
	for _, shutdown := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := virtual(t)
			s := newShard(t, n.server, Limits{})
			p := newPeer(t, n.client())
			defer p.close()
			id := p.join(s, false, nil)
			s.event(Connected)
			p.waitState(webrtc.PeerConnectionStateConnected)
			s.do(func() {
				s.e.settle(s.e.session(id))
				if shutdown {
					s.e.Shutdown()
				} else {
					s.e.Close(time.Now(), id)
				}
			})
			p.waitState(webrtc.PeerConnectionStateClosed)
			s.stop()
			n.stop()
		})
	}
}

// The client's close_notify wakes the association and ends the session.
func TestRest_peerCloses(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network, s *shard) {
		p := newPeer(t, n.client())
		id := p.join(s, false, nil)
		s.event(Connected)
		p.waitState(webrtc.PeerConnectionStateConnected)
		exchange(t, s, p, id, 1, 10)
		time.Sleep(time.Minute)
		p.close()
		if ev := s.event(Closed); ev.Reason != ReasonPeerClosed {
			t.Fatalf("%+v", ev)
		}
		synctest.Wait()
		if got := associationGoroutines(); got != 0 {
			t.Fatalf("%d goroutines left", got)
		}
	})
}
