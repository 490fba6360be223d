package sfu

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
)

// keyRequests counts the requests for key frames that reach a publisher's camera.
func (c *client) keyRequests() *atomic.Int64 {
	n := new(atomic.Int64)
	for _, sender := range c.pc.GetSenders() {
		if sender.Track() != c.camera[0] {
			continue
		}
		for _, rid := range []string{"q", "h", "f"} {
			c.wg.Go(func() {
				for {
					list, _, err := sender.ReadSimulcastRTCP(rid)
					if err != nil {
						return
					}
					for _, p := range list {
						if _, ok := p.(*rtcp.PictureLossIndication); ok {
							n.Add(1)
						}
					}
				}
			})
		}
	}
	return n
}

// floods lets one of two viewers send floods of RTCP, and demands that neither its own picture nor the other's suffers, and that the
// publisher is not asked for more key frames than it may be.
func floods(t *testing.T, w *world) {
	t.Helper()
	const rounds, each, interval = 50, 20, 20 * time.Millisecond
	alice, bob, carol := newClient(t, w, "alice"), newClient(t, w, "bob"), newClient(t, w, "carol")
	alice.publish()
	alice.join("room")
	w.log.connected("alice")
	requests := alice.keyRequests()
	alice.send()
	for _, c := range []*client{bob, carol} {
		c.slots(video)
		c.join("room")
		w.log.connected(c.name)
		if _, err := w.node.Update(t.Context(), Update{Room: "room", Peer: c.name, Wishes: []Wish{{Peer: "alice", Source: SourceCamera, Height: 720}}}); err != nil {
			t.Fatal(err)
		}
		c.hear("0", func(h heard) bool { return h.layer == 2 })
	}
	ssrc := uint32(bob.pc.GetReceivers()[0].Track().SSRC())
	counted := func(c *client) []heard {
		c.mu.Lock()
		defer c.mu.Unlock()
		return slices.Clone(c.got["0"])
	}
	before := map[*client]int{bob: len(counted(bob)), carol: len(counted(carol))}
	asked, began, frames := requests.Load(), time.Now(), alice.frames.Load()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for round := range rounds {
		<-tick.C
		newest := counted(bob)[len(counted(bob))-1].seq
		for range each {
			for _, p := range []rtcp.Packet{
				&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 1000, SSRCs: []uint32{ssrc}},
				&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 1e10, SSRCs: []uint32{ssrc}},
				&rtcp.PictureLossIndication{MediaSSRC: ssrc},
				&rtcp.FullIntraRequest{MediaSSRC: ssrc, FIR: []rtcp.FIREntry{{SSRC: ssrc, SequenceNumber: uint8(round)}}},
				&rtcp.TransportLayerNack{MediaSSRC: ssrc, Nacks: []rtcp.NackPair{{PacketID: newest - 16, LostPackets: 0xffff}}},
			} {
				if err := bob.pc.WriteRTCP([]rtcp.Packet{p}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	took, sent := time.Since(began), int(alice.frames.Load()-frames)
	for _, c := range []*client{bob, carol} {
		c.hear("0", func(h heard) bool { return h.layer == 2 })
		list := counted(c)[before[c]:]
		if len(list) < sent*3/4 { // some are on their way still
			t.Errorf("%s got %d of %d packets", c.name, len(list), sent)
		}
		if c == bob { // who asked for retransmissions
			slices.SortFunc(list, func(a, b heard) int { return int(int16(a.seq - b.seq)) })
			list = slices.Compact(list)
		}
		for i, h := range list {
			if h.layer != 2 || i > 0 && h.seq != list[i-1].seq+1 {
				t.Errorf("%s: packet %d of layer %d has number %d", c.name, i, h.layer, h.seq)
			}
		}
	}
	if got, most := requests.Load()-asked, int64(2*took/time.Second)+2; got > most {
		t.Errorf("%d key frame requests in %v", got, took)
	}
	if s := w.node.Stats(); s.PeerFaults != 0 {
		t.Errorf("%+v", s)
	}
	for _, c := range []*client{alice, bob, carol} {
		c.close()
	}
}

func TestNode_floodsOverASimulatedNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := virtual(t, Limits{}, 1)
		floods(t, w)
		w.stop()
	})
}

func TestNode_floodsOverUDP(t *testing.T) {
	w := loopback(t, false)
	floods(t, w)
	w.stop()
}
