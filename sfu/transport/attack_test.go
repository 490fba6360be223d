package transport

import (
	"bytes"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/webrtc/v4"
)

// D2, D3, D7, D8: whoever forges the client's address cannot end its handshake or its call with a plaintext alert, a hello
// without a suite of ours, early data or garbage in DTLS's clothes.
func TestInterop_forgedDTLS(t *testing.T) {
	forged := [][]byte{
		record(contentAlert, 0, []byte{2, 40}),
		record(contentAlert, 0, []byte{1, 0}), // close_notify
		record(contentAlert, 1, []byte{1, 0}),
		whole(messageClientHello, 0, helloBody(versionDTLS12, 0x0000)),
		whole(messageClientHello, 1, helloBody(versionDTLS12, 0xc02f)),
		whole(messageClientHello, 0, helloBody(versionDTLS10, suiteECDHEECDSAWithAES128GCM)),
		whole(messageClientHello, 5, []byte("short")),
		record(contentApplicationData, 0, []byte("x")),
		record(contentChangeCipherSpec, 0, []byte{2}),
		record(contentChangeCipherSpec, 0, []byte{1}), // early
		record(contentHandshake, 0, bytes.Repeat([]byte{0xff}, 60)),
		record(63, 0, []byte("x")),
		{22}, {22, 0xfe, 0xfd}, bytes.Repeat([]byte{20}, 100),
	}
	inBubble(t, func(t *testing.T, n *network, s *shard) {
		attack := func(from netip.AddrPort) {
			for _, data := range forged {
				s.e.Receive(time.Now(), Datagram{Data: bytes.Clone(data), From: from})
			}
		}
		s.do(func() {
			s.tap = func(d Datagram) { // before and after each datagram of every handshake
				if d.Data[0] < 64 {
					attack(d.From)
				}
			}
		})
		for range 20 {
			p := newPeer(t, n.client())
			id := p.join(s, false, nil)
			s.event(Connected)
			p.waitState(webrtc.PeerConnectionStateConnected)
			s.do(func() { attack(s.e.session(id).current().addr) })
			synctest.Wait()
			exchange(t, s, p, id, 1, 5)
			p.close()
			s.event(Closed)
		}
		if st := s.stats(); st.HandshakesDone != 20 || st.HandshakesFailed != 0 || st.Drops[DropDTLSHello] == 0 || st.Drops[DropDTLSRecord] == 0 {
			t.Fatalf("%+v %v", st, dropNames(st))
		}
	})
}

// completeHello is a hello that the library answers with its flight.
func completeHello() []byte {
	b := helloBody(versionDTLS12, suiteECDHEECDSAWithAES128GCM)
	b = append(b[:len(b)-2],
		0, 35, // extensions
		0, 10, 0, 4, 0, 2, 0, 0x1d, // groups: X25519
		0, 11, 0, 2, 1, 0, // uncompressed points
		0, 13, 0, 4, 0, 2, 4, 3, // ECDSA with SHA-256
		0, 14, 0, 5, 0, 2, 0, 7, 0, // AEAD_AES_128_GCM
		0, 23, 0, 0) // extended master secret
	return whole(messageClientHello, 0, b)
}

// D5: a handshake that is begun and left. Freed after 10 s, with its goroutines.
func TestHandshake_timesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bind := NewChanBind(netip.MustParseAddrPort("192.0.2.1:3478"), 1024)
		s := newShard(t, bind, Limits{})
		cfg := OpenConfig{
			Local: NewCredentials(NodeID{}), Remote: Credentials{Ufrag: "peer", Pwd: "0123456789012345678901"},
			RemoteFingerprint: s.e.certificate.Fingerprint(),
		}
		s.do(func() {
			if _, err := s.e.Open(time.Now(), cfg); err != nil {
				t.Error(err)
			}
		})
		bind.Inject(check(cfg), client(1))
		synctest.Wait()
		before := runtime.NumGoroutine()
		start := time.Now()
		bind.Inject(completeHello(), client(1))
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n < 1 || n > 5 {
			t.Fatalf("%d goroutines for a handshake", n)
		}
		ev := s.event(Closed)
		if took := time.Since(start); ev.Reason != ReasonHandshake || took != handshakeTimeout {
			t.Fatalf("%+v after %v", ev, took)
		}
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n > 0 {
			t.Fatalf("%d goroutines left", n)
		}
		s.stop()
	})
}

// A participant costs at most five goroutines, and none after it left.
func TestInterop_goroutines(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network, s *shard) {
		p := newPeer(t, n.client())
		id := p.join(s, false, nil)
		s.event(Connected)
		p.waitState(webrtc.PeerConnectionStateConnected)
		synctest.Wait()
		ours := func() int {
			b := make([]byte, 1<<20)
			b = b[:runtime.Stack(b, true)]
			count := 0
			for _, g := range bytes.Split(b, []byte("\n\n")) {
				if bytes.Contains(g, []byte("transport.(*association)")) || bytes.Contains(g, []byte("transport.(*associationConn)")) ||
					bytes.Contains(g, []byte("dtls")) && !bytes.Contains(g, []byte("ice")) && !bytes.Contains(g, []byte("mux")) {
					count++
				}
			}
			return count
		}
		// The client's own DTLS goroutines are counted too: an upper bound.
		if got := ours(); got < 2 || got > 10 {
			t.Fatalf("%d goroutines", got)
		}
		s.do(func() { s.e.Close(time.Now(), id) })
		p.waitState(webrtc.PeerConnectionStateClosed)
		p.close()
		synctest.Wait()
		if got := ours(); got != 0 {
			t.Fatalf("%d goroutines left", got)
		}
	})
}

// natBind is a NAT between the clients and the server that forgets its mappings.
type natBind struct {
	Bind
	mu    sync.Mutex
	shift uint16 // of the outer port
}

func (n *natBind) rebind() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.shift += 7
}

func (n *natBind) outer(a netip.AddrPort, sign int) netip.AddrPort {
	n.mu.Lock()
	defer n.mu.Unlock()
	return netip.AddrPortFrom(a.Addr(), a.Port()+uint16(sign)*n.shift)
}

func (n *natBind) ReadBatch(dst []Datagram, deadline time.Time) (int, error) {
	k, err := n.Bind.ReadBatch(dst, deadline)
	for i := range dst[:k] {
		dst[i].From = n.outer(dst[i].From, 1)
	}
	return k, err
}

func (n *natBind) WriteBatch(runs []Run) (int, error) {
	mapped := make([]Run, len(runs))
	for i, r := range runs {
		r.To = n.outer(r.To, -1) // an address of before the rebinding reaches nobody
		mapped[i] = r
	}
	return n.Bind.WriteBatch(mapped)
}

// P11: the client's address changes in a call, without USE-CANDIDATE. Media is back within a check interval.
func TestInterop_addressMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := virtual(t)
		nat := &natBind{Bind: n.server}
		s := newShard(t, nat, Limits{})
		se := n.client()
		se.SetICETimeouts(20*time.Second, 40*time.Second, 2500*time.Millisecond) // as Chromium checks
		p := newPeer(t, se)
		id := p.join(s, false, nil)
		s.event(Connected)
		p.waitState(webrtc.PeerConnectionStateConnected)
		exchange(t, s, p, id, 1, 20)

		nat.rebind()
		start := time.Now()
		for seq := uint16(1000); ; seq++ {
			s.do(func() { s.sendRTP(id, seq, "on the move") })
			time.Sleep(10 * time.Millisecond)
			if len(p.received) > 0 {
				break
			}
			if time.Since(start) > 7*time.Second {
				t.Fatalf("no media; %v", dropNames(s.stats()))
			}
		}
		took := time.Since(start)
		t.Logf("media back after %v", took)
		if took > 3*time.Second {
			t.Fatalf("media back after %v", took)
		}
		for len(p.received) > 0 {
			<-p.received
		}
		time.Sleep(time.Second)
		for len(p.received) > 0 {
			<-p.received
		}
		exchange(t, s, p, id, 3000, 20)
		if st := s.stats(); st.PathMoves != 1 {
			t.Fatalf("%+v", st)
		}
		p.close()
		s.stop()
		n.stop()
	})
}
