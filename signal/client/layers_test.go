package client_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sotto/e2ee/sframe"
	"sotto/sfu"
	"sotto/signal/client"
	"sotto/signal/protocol"
)

// everyCodec is what a participant knows that can decode anything.
func everyCodec() []sframe.Codec { return []sframe.Codec{sframe.VP8, sframe.VP9, sframe.AV1} }

// watch joins a publisher of a synthetic source and a viewer.
func (c *call) watch(source client.Synthetic) (publisher, viewer *client.Participant) {
	cfg := c.config(1, 1)
	cfg.Audio, cfg.Synthetic, cfg.Codecs = false, &source, everyCodec()
	publisher = c.join(cfg)
	cfg = c.config(2, 1)
	cfg.Audio, cfg.Video, cfg.Codecs = false, false, everyCodec()
	return publisher, c.join(cfg)
}

// TestRoom_layersOfEveryCodec walks a viewer through the layers of streams as VP8, VP9 and AV1 have them, and has a model of a decoder
// say that nothing is missing that a frame refers to.
func TestRoom_layersOfEveryCodec(t *testing.T) {
	for _, test := range []struct {
		name, codec string
		source      client.Synthetic
		loss        float64
	}{
		{"VP8 simulcast", sfu.CodecVP8, client.Synthetic{Streams: 3}, 0},
		{"VP9 simulcast", sfu.CodecVP9, client.Synthetic{Streams: 3}, 0},
		{"VP9 L3T3_KEY", sfu.CodecVP9, client.Synthetic{Spatial: 3}, 0},
		{"VP9 L3T3", sfu.CodecVP9, client.Synthetic{Spatial: 3, Between: true}, 0},
		{"AV1 simulcast", sfu.CodecAV1, client.Synthetic{Streams: 3}, 0},
		{"AV1 L3T3_KEY", sfu.CodecAV1, client.Synthetic{Spatial: 3}, 0},
		{"AV1 L3T3", sfu.CodecAV1, client.Synthetic{Spatial: 3, Between: true}, 0},
		{"VP9 L3T3_KEY, loss", sfu.CodecVP9, client.Synthetic{Spatial: 3}, 0.01},
		{"AV1 L3T3_KEY, loss", sfu.CodecAV1, client.Synthetic{Spatial: 3}, 0.01},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, test.loss, test.codec)
				defer c.close()
				test.source.BytesPerSecond = 100_000
				a, b := c.watch(test.source)
				defer a.Close()
				defer b.Close()
				walk(t, b, a, 720, 180, 360, 180, 720, 360, 720)
				got := track(b, a, protocol.SourceCamera)
				t.Logf("%d frames opened, %d pictures, %d switches, gap p95 %v, longest %v", got.Opened, got.Decoded, len(got.Switches), got.GapQuantile(0.95), got.MaxGap)
				if got.Decoded < 380 || got.Unknown > 0 {
					t.Errorf("%d pictures, %d unknown frames", got.Decoded, got.Unknown)
				}
				if test.loss == 0 && (got.Undecodable+got.Freezes > 0 || got.MaxGap > 120*time.Millisecond) {
					t.Errorf("%d undecodable frames, %d freezes, longest gap %v", got.Undecodable, got.Freezes, got.MaxGap)
				}
				if test.loss > 0 && got.Undecodable > 10 {
					t.Errorf("%d undecodable frames", got.Undecodable)
				}
			})
		})
	}
}

// TestRoom_codecFollowsWhoIsThere: AV1 as long as everybody can decode it, VP8 while somebody cannot.
func TestRoom_codecFollowsWhoIsThere(t *testing.T) {
	for _, source := range []client.Synthetic{{Streams: 3}, {Spatial: 3}} {
		t.Run(fmt.Sprintf("%d streams", max(source.Streams, 1)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, 0, sfu.CodecAV1)
				defer c.close()
				source.BytesPerSecond = 100_000
				a, b := c.watch(source)
				defer a.Close()
				defer b.Close()
				want(t, b, 720, a)
				advance(2 * time.Second)
				if got := a.Stats().Codec; got != sfu.CodecAV1 {
					t.Fatalf("sends %q at first", got)
				}
				cfg := c.config(3, 1)
				cfg.Audio, cfg.Video = false, false
				old := c.join(cfg) // knows VP8 alone
				want(t, old, 720, a)
				advance(2 * time.Second)
				if got := a.Stats().Codec; got != sfu.CodecVP8 {
					t.Errorf("sends %q with one there that knows VP8 alone", got)
				}
				if got := track(old, a, protocol.SourceCamera); got.Decoded < 20 || got.Undecodable+got.Unknown > 0 {
					t.Errorf("the newcomer decodes %d frames, %d undecodable", got.Decoded, got.Undecodable)
				}
				if err := old.Leave(t.Context()); err != nil {
					t.Fatal(err)
				}
				advance(2 * time.Second)
				if got := a.Stats().Codec; got != sfu.CodecAV1 {
					t.Errorf("sends %q after it left", got)
				}
				got := track(b, a, protocol.SourceCamera)
				if got.Decoded < 150 || got.Undecodable+got.Unknown+got.Freezes > 0 || got.MaxGap > 150*time.Millisecond {
					t.Errorf("the one who stayed: %d pictures, %d undecodable, %d unknown, %d freezes, longest gap %v",
						got.Decoded, got.Undecodable, got.Unknown, got.Freezes, got.MaxGap)
				}
			})
		})
	}
}
