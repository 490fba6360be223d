package client_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sotto/signal/protocol"
)

// What nobody watches does not leave the publisher; a later viewer gets a picture as soon as one could be on its way.
func TestRoom_unwatchedLayersAreNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, 0)
		defer c.close()
		a := c.join(c.config(1, 4))
		defer a.Close()
		advance(5 * time.Second)
		alone := a.Stats().CameraPackets
		advance(5 * time.Second)
		if got := a.Stats().CameraPackets; !slices.Equal(got, alone) {
			t.Fatalf("from %v to %v packets although nobody watches", alone, got)
		}

		b := c.join(c.config(2, 4))
		defer b.Close()
		asked := time.Now()
		want(t, b, 720, a)
		advance(4 * time.Second)
		camera := track(b, a, protocol.SourceCamera)
		// To the node and on to the publisher, the next frame, and the way of the picture: 60 ms, up to 66 ms, 60 ms.
		if d := camera.First.Sub(asked); d > 250*time.Millisecond || camera.Layer != 2 || camera.Freezes > 0 {
			t.Errorf("first picture after %v, layer %d, %d freezes", d, camera.Layer, camera.Freezes)
		}

		want(t, b, 180, a)
		advance(5 * time.Second)
		small := a.Stats().CameraPackets
		advance(5 * time.Second)
		got := a.Stats().CameraPackets
		if got[0] == small[0] || got[1] != small[1] || got[2] != small[2] {
			t.Errorf("from %v to %v packets with the lowest layer wanted", small, got)
		}
		asked = time.Now()
		want(t, b, 720, a)
		advance(2 * time.Second)
		camera = track(b, a, protocol.SourceCamera)
		last := camera.Switches[len(camera.Switches)-1]
		if d := last.At.Sub(asked); last.To != 2 || d > 250*time.Millisecond || camera.Freezes > 0 || camera.Undecodable > 0 {
			t.Errorf("layer %d after %v, %d freezes, %d undecodable", last.To, d, camera.Freezes, camera.Undecodable)
		}
		if mic := track(b, a, protocol.SourceMic); mic.Freezes > 0 || mic.MaxGap > 100*time.Millisecond {
			t.Errorf("sound: %d freezes, longest gap %v", mic.Freezes, mic.MaxGap)
		}
	})
}

// A viewer is told why a picture pauses, and when it goes on.
func TestRoom_pausedPicturesSayWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, 0)
		defer c.close()
		a, b := c.join(c.config(1, 4)), c.join(c.config(2, 4))
		defer a.Close()
		defer b.Close()
		expect := func(when, why string) {
			t.Helper()
			if got := track(b, a, protocol.SourceCamera).Paused; got != why {
				t.Errorf("%s: paused %q, want %q", when, got, why)
			}
		}
		want(t, b, 180, a)
		advance(time.Second)
		expect("running", "")
		hidden := []protocol.Wish{{ConnID: a.ConnID(), Source: protocol.SourceCamera, Paused: true}}
		if err := b.Want(t.Context(), hidden); err != nil {
			t.Fatal(err)
		}
		advance(time.Second)
		expect("hidden", protocol.PausedHidden)
		want(t, b, 180, a)
		advance(time.Second)
		expect("shown again", "")
		if err := a.Mute(t.Context(), protocol.SourceCamera, true); err != nil {
			t.Fatal(err)
		}
		advance(time.Second)
		expect("muted", protocol.PausedPublisher)
		if err := a.Mute(t.Context(), protocol.SourceCamera, false); err != nil {
			t.Fatal(err)
		}
		advance(time.Second)
		expect("unmuted", "")
	})
}
