package transport

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/transport/v5/vnet"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"
)

// inBubble runs a test with a simulated network in virtual time.
func inBubble(t *testing.T, test func(t *testing.T, n *network, s *shard)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := virtual(t)
		s := newShard(t, n.server, Limits{})
		test(t, n, s)
		s.stop()
		n.stop()
	})
}

func TestInterop_virtualNetwork(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network, s *shard) {
		p := newPeer(t, n.client())
		defer p.close()
		id := p.join(s, false, nil)
		ev := s.event(Connected)
		if ev.Session != id || ev.Profile != ProfileGCM128 || ev.ICE <= 0 || ev.DTLS != 40*time.Millisecond {
			t.Fatalf("%+v", ev)
		}
		p.waitState(webrtc.PeerConnectionStateConnected)
		exchange(t, s, p, id, 100, 200)
		checkRTCP(t, s, p, id)

		// The client leaves with close_notify.
		p.close()
		if ev := s.event(Closed); ev.Reason != ReasonPeerClosed || ev.Session != id {
			t.Fatalf("%+v", ev)
		}
	})
}

func checkRTCP(t testing.TB, s *shard, p *peer, id SessionID) {
	t.Helper()
	report, _ := (&rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: uint32(p.offer.Media[0].Streams[0].SSRC)}).Marshal()
	s.do(func() {
		sealed, err := s.e.SealRTCP(id, append(make([]byte, 0, 64), report...))
		if err != nil {
			t.Error(err)
			return
		}
		s.e.Send(id, sealed, 0)
	})
	select {
	case got := <-p.rtcp:
		if _, ok := got.(*rtcp.PictureLossIndication); !ok {
			t.Fatalf("%T", got)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("no RTCP down")
	}
	if err := p.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{SenderSSRC: 2, MediaSSRC: slotSSRC}}); err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case m := <-s.media:
			if m.rtcp {
				if _, err := rtcp.Unmarshal(m.data); err != nil {
					t.Fatal(err)
				}
				return
			}
		case <-time.After(5 * time.Second):
			t.Fatal("no RTCP up")
		}
	}
}

func TestInterop_serverCloses(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network, s *shard) {
		p := newPeer(t, n.client())
		defer p.close()
		id := p.join(s, false, nil)
		s.event(Connected)
		p.waitState(webrtc.PeerConnectionStateConnected)
		s.do(func() { s.e.Close(time.Now(), id) })
		p.waitState(webrtc.PeerConnectionStateClosed) // by close_notify, not by time-out
		s.do(func() {
			s.e.Close(time.Now(), id) // again: ignored
			s.e.Send(id, []byte("x"), 0)
			if _, err := s.e.SealRTP(id, make([]byte, 20, 64)); err != ErrNotConnected {
				t.Error(err)
			}
		})
		if s.drops(DropStaleSession) != 1 || s.stats().Sessions != 0 {
			t.Fatalf("%+v", s.stats())
		}
	})
}

func TestInterop_loopback(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		t.Run(map[bool]string{false: "udp", true: "tcp"}[tcp], func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			n := loopback(t)
			s := newShard(t, n.server, Limits{})
			se := n.client()
			if tcp {
				if err := s.e.ServeTCP(n.listener); err != nil {
					t.Fatal(err)
				}
				se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4, webrtc.NetworkTypeUDP4})
			}
			p := newPeer(t, se)
			id := p.join(s, tcp, nil)
			if ev := s.event(Connected); ev.Profile != ProfileGCM128 {
				t.Fatalf("%+v", ev)
			}
			p.waitState(webrtc.PeerConnectionStateConnected)
			exchange(t, s, p, id, 1, 300)
			checkRTCP(t, s, p, id)
			st := s.stats()
			if (st.Streams > 0) != tcp || st.LibraryWarnings != 0 {
				t.Fatalf("%+v", st)
			}
			if tcp {
				s.do(func() { s.e.Close(time.Now(), id) })
				p.waitState(webrtc.PeerConnectionStateClosed) // close_notify precedes the FIN
			}
			p.close()
			s.stop()
		})
	}
}

func TestInterop_profiles(t *testing.T) {
	for offered, want := range map[webrtcProfile]Profile{
		gcm256: ProfileGCM256, sha1: ProfileSHA1,
	} {
		t.Run(want.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *network, s *shard) {
				se := n.client()
				se.SetSRTPProtectionProfiles(offered)
				p := newPeer(t, se)
				defer p.close()
				id := p.join(s, false, nil)
				if ev := s.event(Connected); ev.Profile != want {
					t.Fatal(ev.Profile)
				}
				p.waitState(webrtc.PeerConnectionStateConnected)
				exchange(t, s, p, id, 1, 20)
				checkRTCP(t, s, p, id)
			})
		})
	}
}

// D6: the certificate is not the one of the offer.
func TestInterop_wrongFingerprint(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network, s *shard) {
		p := newPeer(t, n.client())
		defer p.close()
		p.join(s, false, func(c *OpenConfig) { c.RemoteFingerprint.Sum[0] ^= 1 })
		if ev := s.event(Closed); ev.Reason != ReasonFingerprint {
			t.Fatalf("%+v", ev)
		}
		if st := s.stats(); st.HandshakesFailed != 1 || st.Sessions != 0 {
			t.Fatalf("%+v", st)
		}
	})
}

// P10: a client that vanishes. Sending stops after 15 s, the session is freed after 30.
func TestInterop_consent(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network, s *shard) {
		p := newPeer(t, n.client())
		defer p.close()
		id := p.join(s, false, nil)
		s.event(Connected)
		p.waitState(webrtc.PeerConnectionStateConnected)
		var cut atomic.Bool
		n.router.AddChunkFilter(func(vnet.Chunk) bool { return !cut.Load() })
		time.Sleep(20 * time.Second) // checks alone keep it alive
		if len(s.events) != 0 {
			t.Fatalf("%+v", <-s.events)
		}

		synctest.Wait()
		cut.Store(true)
		start := time.Now()
		s.event(Suspended)
		if took := time.Since(start); took > consentTimeout || took < consentTimeout-6*time.Second {
			t.Fatalf("suspended after %v", took)
		}
		s.do(func() { s.sendRTP(id, 5, "nobody hears") })
		if s.drops(DropNoPath) != 1 {
			t.Fatalf("%+v", dropNames(s.stats()))
		}
		cut.Store(false)
		s.event(Resumed)
		p.waitState(webrtc.PeerConnectionStateConnected)
		exchange(t, s, p, id, 200, 10)

		synctest.Wait()
		cut.Store(true)
		start = time.Now()
		s.event(Suspended)
		if ev := s.event(Closed); ev.Reason != ReasonConsent || time.Since(start) > silentTimeout {
			t.Fatalf("%+v after %v", ev, time.Since(start))
		}
	})
}

// A session nobody connects to is freed.
func TestEndpoint_noCheckEver(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network, s *shard) {
		s.do(func() {
			if _, err := s.e.Open(time.Now(), OpenConfig{
				Local:             NewCredentials(NodeID{}),
				Remote:            NewCredentials(NodeID{}),
				RemoteFingerprint: s.e.certificate.Fingerprint(),
			}); err != nil {
				t.Error(err)
			}
		})
		start := time.Now()
		if ev := s.event(Closed); ev.Reason != ReasonNoCheck || time.Since(start) != connectTimeout {
			t.Fatalf("%+v after %v", ev, time.Since(start))
		}
	})
}

// R8, R9: a replayed packet and a packet of another session are dropped, the call goes on.
func TestInterop_replayAndForeign(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network, s *shard) {
		a, b := newPeer(t, n.client()), newPeer(t, n.client())
		defer a.close()
		defer b.close()
		ida := a.join(s, false, nil)
		s.event(Connected)
		b.join(s, false, nil)
		s.event(Connected)
		a.waitState(webrtc.PeerConnectionStateConnected)
		b.waitState(webrtc.PeerConnectionStateConnected)

		var recorded [][]byte
		var from, other Datagram
		s.do(func() {
			s.tap = func(d Datagram) {
				if d.Data[0] >= 128 {
					recorded, from = append(recorded, append([]byte(nil), d.Data...)), d
				}
			}
		})
		exchange(t, s, a, ida, 1000, 20)
		s.do(func() {
			s.tap = nil
			for i := range s.e.addresses.entries {
				if e := s.e.addresses.entries[i]; e.addr.IsValid() && int(e.session) != ida.Index() {
					other.From = e.addr
				}
			}
			for _, data := range recorded {
				for _, origin := range []Datagram{from, other} {
					if _, ok := s.e.Receive(time.Now(), Datagram{Data: append([]byte(nil), data...), From: origin.From}); ok {
						t.Error("accepted")
					}
				}
			}
		})
		drops := dropNames(s.stats())
		if drops["srtp_replay"] != 20 || drops["srtp_auth"] != 20 {
			t.Fatalf("%v", drops)
		}
		exchange(t, s, a, ida, 2000, 20)
	})
}

// R5: 10^4 forged and 100 real streams: state for 32.
func TestInterop_streamCap(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network, s *shard) {
		p := newPeer(t, n.client())
		defer p.close()
		id := p.join(s, false, nil)
		s.event(Connected)
		p.waitState(webrtc.PeerConnectionStateConnected)
		exchange(t, s, p, id, 1, 1)
		s.do(func() {
			k := s.e.session(id).keys
			for i := range 100 { // as if authenticated
				if len(k.streams) < cap(k.streams) {
					k.streams = append(k.streams, uint32(i))
				}
			}
			if len(k.streams) != maxInboundStreams {
				t.Error(len(k.streams))
			}
			addr := s.e.session(id).current().addr
			for i := range 10_000 {
				forged := []byte(fmt.Sprintf("\x80\x60\x00\x01\x00\x00\x00\x00%04d%s", i, strings.Repeat("x", 100)))
				s.e.Receive(time.Now(), Datagram{Data: forged, From: addr})
			}
		})
		if got := s.drops(DropSRTPStreams); got != 10_000 {
			t.Fatal(got)
		}
		exchange(t, s, p, id, 100, 5)
	})
}

type webrtcProfile = dtls.SRTPProtectionProfile

const (
	gcm256 = dtls.SRTP_AEAD_AES_256_GCM
	sha1   = dtls.SRTP_AES128_CM_HMAC_SHA1_80
)
