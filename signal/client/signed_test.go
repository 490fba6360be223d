package client_test

import (
	"testing"
	"testing/synctest"
	"time"

	"sotto/e2ee/room"
	"sotto/signal/client"
	"sotto/signal/protocol"
)

// TestRoom_signedMediaIsVerified: two sign what they send, over a path with loss, while layers and epochs change. One does
// not, and nobody misses anything of it.
func TestRoom_signedMediaIsVerified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, 0.02)
		defer c.close()
		join := func(index int, sign bool) *client.Participant {
			cfg := c.config(index, 4)
			cfg.SignMedia = sign
			return c.join(cfg)
		}
		a, b := join(1, true), join(2, true)
		defer a.Close()
		defer b.Close()
		advance(3 * time.Second)
		for _, height := range []int{180, 720, 360} {
			want(t, b, height, a)
			advance(2 * time.Second)
		}
		plain := join(3, false)
		defer plain.Close()
		want(t, plain, 180, a, b)
		want(t, b, 720, a, plain)
		advance(7 * time.Second)
		for _, p := range []*client.Participant{a, b, plain} {
			s := p.Stats().Keys
			if s.FramesVerified == 0 || s.FramesForged+s.FramesUnverified > 0 || s.EnvelopesRefused > 0 {
				t.Errorf("%+v", s)
			}
			for _, other := range []*client.Participant{a, b, plain} {
				if other != p && p.PeerState(other.ConnID()) != room.Encrypted {
					t.Errorf("a peer is %v", p.PeerState(other.ConnID()))
				}
			}
		}
		s := b.Stats().Keys
		if mine := track(b, plain, protocol.SourceMic).Opened + track(b, plain, protocol.SourceCamera).Opened; mine == 0 || s.FramesVerified > s.Opened-mine {
			t.Errorf("%d of %d frames verified, %d are of somebody who does not sign", s.FramesVerified, s.Opened, mine)
		}
	})
}
