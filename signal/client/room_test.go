package client_test

import (
	"context"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"

	"sotto/e2ee/group"
	e2eelink "sotto/e2ee/link"
	"sotto/sfu"
	"sotto/signal"
	"sotto/signal/client"
	"sotto/signal/protocol"
)

// call is a service with its media node and a room, on networks in memory.
type call struct {
	t       *testing.T
	network *network
	node    *sfu.Node
	rooms   *signal.Server
	http    *http.Server
	pipes   *pipeListener
	served  chan struct{}
	muxes   []ice.UDPMux
	keys    *e2eelink.Keys
}

var nodeAddress = netip.MustParseAddrPort("192.0.2.1:5000")

// address of a participant; index from 1.
func address(index int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + index)}), 6000)
}

// newCall starts a service. loss is that of every flow; codecs are those of the node, best first.
func newCall(t *testing.T, loss float64, codecs ...string) *call {
	t.Helper()
	c := newNetworkOf(t, loss)
	c.node = c.startNode(nodeAddress, codecs...)
	c.serve(c.node)
	return c
}

func newNetworkOf(t *testing.T, loss float64) *call {
	c := &call{t: t, pipes: newPipeListener(), served: make(chan struct{}), keys: newKeys(t)}
	c.network = newNetwork(func(from, to netip.AddrPort) path {
		// Every flow has a delay of its own, between 5 and 40 ms, to the nanosecond: no two packets tie.
		a, b := from.Addr().As4()[3], to.Addr().As4()[3]
		d := 5*time.Millisecond + time.Duration(a)*1_103_515 + time.Duration(b)*1_299_709
		return path{delay: d % (40 * time.Millisecond), loss: loss, seed: uint64(a)<<8 | uint64(b)}
	})
	return c
}

func (c *call) startNode(address netip.AddrPort, codecs ...string) *sfu.Node {
	c.t.Helper()
	node, err := sfu.New(sfu.Config{Shards: []sfu.ShardConfig{{Conn: c.network.open(address)}}, Codecs: codecs})
	if err != nil {
		c.t.Fatal(err)
	}
	return node
}

// serve starts signaling.
func (c *call) serve(media signal.Media) {
	c.t.Helper()
	var err error
	c.rooms, err = signal.New(signal.Config{
		Media: media, OpenRooms: true, LoopbackUnlimited: true,
		ClientAddr: func(*http.Request) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) },
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.http = &http.Server{Handler: c.rooms}
	go func() {
		defer close(c.served)
		_ = c.http.Serve(c.pipes)
	}()
}

func newKeys(t *testing.T) *e2eelink.Keys {
	t.Helper()
	keys, err := e2eelink.Derive(e2eelink.NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func (c *call) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = c.rooms.Close(ctx)
	_ = c.http.Close()
	<-c.served
	for _, m := range c.muxes {
		_ = m.Close()
	}
	if err := c.node.Close(); err != nil {
		c.t.Errorf("node: %v", err)
	}
	c.network.close()
}

// config is that of participant index (from 1), who publishes and receives.
func (c *call) config(index, slots int) client.Config {
	mux := webrtc.NewICEUDPMux(nil, c.network.open(address(index)))
	c.muxes = append(c.muxes, mux)
	return client.Config{
		URL:        "ws://sotto.test/ws",
		Keys:       c.keys,
		Dial:       c.pipes.dial,
		Audio:      true,
		Video:      true,
		AudioSlots: slots,
		VideoSlots: slots,
		Seed:       uint64(index),
		Phase:      time.Duration(index) * 1_700_003 * time.Nanosecond,
		Engine: func(e *webrtc.SettingEngine) {
			e.SetICEUDPMux(mux)
			e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
		},
	}
}

func (c *call) join(cfg client.Config) *client.Participant {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	p, err := client.Join(ctx, cfg)
	if err != nil {
		c.t.Fatalf("join: %v", err)
	}
	return p
}

func want(t *testing.T, p *client.Participant, height int, publishers ...*client.Participant) {
	t.Helper()
	var wishes []protocol.Wish
	for _, q := range publishers {
		if q != p {
			wishes = append(wishes, protocol.Wish{ConnID: q.ConnID(), Source: protocol.SourceCamera, Height: height})
		}
	}
	if err := p.Want(t.Context(), wishes); err != nil {
		t.Fatal(err)
	}
}

// track is what p received of a source of q; the zero value with Layer -1 when nothing.
func track(p, q *client.Participant, source protocol.Source) client.TrackStats {
	for _, t := range p.Stats().Tracks {
		if t.Conn == q.ConnID() && t.Source == source {
			return t
		}
	}
	return client.TrackStats{Layer: -1}
}

func TestRoom_twoSeeAndHearEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, 0)
		defer c.close()
		a, b := c.join(c.config(1, 4)), c.join(c.config(2, 4))
		defer a.Close()
		defer b.Close()
		want(t, a, 720, b)
		want(t, b, 720, a)
		advance(3 * time.Second)
		for _, pair := range [][2]*client.Participant{{a, b}, {b, a}} {
			camera, mic := track(pair[0], pair[1], protocol.SourceCamera), track(pair[0], pair[1], protocol.SourceMic)
			t.Logf("camera %+v", camera.Switches)
			if camera.Decoded < 35 || camera.Unknown+camera.Undecodable > 0 || camera.Freezes > 0 || camera.Layer != 2 {
				t.Errorf("camera: %d decoded, %d unknown, %d undecodable, %d freezes, layer %d",
					camera.Decoded, camera.Unknown, camera.Undecodable, camera.Freezes, camera.Layer)
			}
			if mic.Decoded < 130 || mic.Unknown+mic.Undecodable > 0 {
				t.Errorf("microphone: %d decoded, %d unknown", mic.Decoded, mic.Unknown)
			}
		}
		if t.Failed() {
			t.Logf("a %+v", a.Stats())
			t.Logf("node %+v", c.node.Stats())
		}
	})
}

// advance lets virtual time pass.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// walk has the viewer ask for each height of the publisher's camera in turn, for 2 s, and looks at the layer that comes.
func walk(t *testing.T, viewer, publisher *client.Participant, heights ...int) {
	t.Helper()
	for i, height := range heights {
		want(t, viewer, height, publisher)
		advance(2 * time.Second)
		layer := map[int]int{180: 0, 360: 1, 720: 2}[height]
		if got := track(viewer, publisher, protocol.SourceCamera); got.Layer != layer {
			t.Errorf("wish %d: %d lines give layer %d, want %d", i, height, got.Layer, layer)
		}
	}
}

func TestRoom_wishesChooseTheLayer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, 0)
		defer c.close()
		a, b := c.join(c.config(1, 4)), c.join(c.config(2, 4))
		defer a.Close()
		defer b.Close()
		walk(t, b, a, 180, 360, 720, 360, 180, 720, 180)
		got := track(b, a, protocol.SourceCamera)
		if got.Undecodable+got.Unknown+got.Freezes > 0 || got.GapQuantile(0.95) > 100*time.Millisecond {
			t.Errorf("%d undecodable, %d unknown, %d freezes, gap p95 %v", got.Undecodable, got.Unknown, got.Freezes, got.GapQuantile(0.95))
		}
		paused := []protocol.Wish{{ConnID: a.ConnID(), Source: protocol.SourceCamera, Paused: true}}
		if err := b.Want(t.Context(), paused); err != nil {
			t.Fatal(err)
		}
		advance(500 * time.Millisecond)
		before := track(b, a, protocol.SourceCamera).Opened
		advance(time.Second)
		if after := track(b, a, protocol.SourceCamera).Opened; after != before {
			t.Errorf("%d frames of a paused track", after-before)
		}
	})
}

func TestRoom_muteAndLeaveStopMedia(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, 0)
		defer c.close()
		a, b := c.join(c.config(1, 4)), c.join(c.config(2, 4))
		defer a.Close()
		defer b.Close()
		want(t, b, 180, a)
		advance(time.Second)
		if track(b, a, protocol.SourceMic).Decoded == 0 || track(b, a, protocol.SourceCamera).Decoded == 0 {
			t.Fatal("no media before the mute")
		}
		if err := a.Mute(t.Context(), protocol.SourceMic, true); err != nil {
			t.Fatal(err)
		}
		advance(200 * time.Millisecond)
		mic, camera := track(b, a, protocol.SourceMic).Decoded, track(b, a, protocol.SourceCamera).Decoded
		advance(time.Second)
		if got := track(b, a, protocol.SourceMic).Decoded; got != mic {
			t.Errorf("%d audio frames while muted", got-mic)
		}
		if got := track(b, a, protocol.SourceCamera).Decoded; got < camera+10 {
			t.Errorf("the mute of the microphone left %d frames of the camera", got-camera)
		}
		for _, p := range b.Peers() {
			for _, tr := range p.Tracks {
				if tr.Muted != (tr.Source == protocol.SourceMic) {
					t.Errorf("signaling says %s muted = %v", tr.Source, tr.Muted)
				}
			}
		}
		if err := a.Mute(t.Context(), protocol.SourceMic, false); err != nil {
			t.Fatal(err)
		}
		advance(time.Second)
		if got := track(b, a, protocol.SourceMic).Decoded; got < mic+40 {
			t.Errorf("%d audio frames after the mute", got-mic)
		}
		if err := a.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		advance(200 * time.Millisecond)
		opened := track(b, a, protocol.SourceCamera).Opened
		advance(500 * time.Millisecond)
		if got := track(b, a, protocol.SourceCamera).Opened; got != opened || len(b.Peers()) != 0 {
			t.Errorf("after the leave: %d frames, %d peers", got-opened, len(b.Peers()))
		}
		if err := b.Err(); err != nil {
			t.Errorf("the leave of one ended the other: %v", err)
		}
	})
}

// Attack 8: who is not let into the group opens nothing, although the server forwards everything to it.
func TestRoom_lockedOutOpensNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, 0)
		defer c.close()
		founder := c.config(1, 4)
		founder.Policy.Locked = true
		a := c.join(founder)
		defer a.Close()
		<-a.Admitted()
		b := c.join(c.config(2, 4))
		defer b.Close()
		want(t, b, 180, a)
		want(t, a, 180, b)
		advance(5 * time.Second)
		s := b.Stats()
		var packets uint64
		for _, slot := range s.Slots {
			packets += slot.Packets
		}
		if packets < 100 || s.Keys.Opened > 0 || b.Membership().State != group.StateWaiting {
			t.Errorf("locked out: %d packets, %d frames opened, %v", packets, s.Keys.Opened, b.Membership().State)
		}
		// Nothing leaves a participant that is in no group: there is no key that anybody else has.
		if s.PacketsSent > 0 || s.FramesNotProtected == 0 || len(a.Stats().Slots) > 0 {
			t.Errorf("locked out: sent %d packets", s.PacketsSent)
		}
	})
}

func TestRoom_lossIsRepaired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, 0.01)
		defer c.close()
		a, b := c.join(c.config(1, 4)), c.join(c.config(2, 4))
		defer a.Close()
		defer b.Close()
		want(t, b, 720, a)
		advance(10 * time.Second)
		camera, mic := track(b, a, protocol.SourceCamera), track(b, a, protocol.SourceMic)
		// Without retransmissions 2 % of the packets on two hops would break most of the frames between key frames.
		if camera.Decoded < 120 || camera.Undecodable > 5 || camera.Unknown > 0 {
			t.Errorf("camera: %d decoded, %d undecodable, %d unknown", camera.Decoded, camera.Undecodable, camera.Unknown)
		}
		if mic.Decoded < 450 || mic.Unknown > 0 {
			t.Errorf("microphone: %d decoded, %d unknown", mic.Decoded, mic.Unknown)
		}
	})
}
