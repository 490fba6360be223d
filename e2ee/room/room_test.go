package room

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"sotto/e2ee/group"
	"sotto/e2ee/link"
	"sotto/e2ee/sframe"
)

func TestRoom_everybodyHearsEverybody(t *testing.T) {
	s, all := call(t, 4)
	for _, from := range all {
		for _, to := range all {
			if from == to {
				continue
			}
			to.bind(s.now, from, sframe.Camera)
			if got, err := to.open(s.now, sframe.VP8, from.protect(sframe.Camera, sframe.VP8, "\x00picture")); err != nil || got != "\x00picture" {
				t.Errorf("%d to %d: %q, %v", from.Conn[0], to.Conn[0], got, err)
			}
			if to.state(from) != Encrypted {
				t.Errorf("%d sees %d as %v", to.Conn[0], from.Conn[0], to.state(from))
			}
		}
	}
}

func TestSender_saysNothingBeforeAdmission(t *testing.T) {
	s := newService(t)
	m := s.member(1)
	if _, err := m.Sender(sframe.Camera).Protect(nil, sframe.VP8, false, []byte("frame")); err != sframe.DropNoKey {
		t.Errorf("%v", err)
	}
}

// Attacks 4 and 5: the KID's owner and source, or nothing.
func TestOpen_bindsConnectionAndSource(t *testing.T) {
	s, all := call(t, 3)
	alice, bob, carol := all[0], all[1], all[2]
	for name, b := range map[string][]byte{
		"another person": carol.protect(sframe.Camera, sframe.VP9, "frame"),
		"another source": alice.protect(sframe.Screen, sframe.VP9, "frame"),
		"sound":          alice.protect(sframe.Microphone, sframe.Opus, "frame"),
	} {
		bob.bind(s.now, alice, sframe.Camera)
		if got, err := bob.open(s.now, sframe.VP9, b); err != ErrHeld {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	s.run(time.Second)
	if n := bob.Stats().Dropped[sframe.DropHoldExpired]; n != 3 || len(bob.frames) != 0 {
		t.Errorf("%d expired, %d came out", n, len(bob.frames))
	}
}

func TestOpen_holdsForALateBinding(t *testing.T) {
	s, all := call(t, 2)
	alice, bob := all[0], all[1]
	for i := range 70 {
		want := error(ErrHeld)
		if i >= holdMax {
			want = sframe.DropHoldFull
		}
		if _, err := bob.open(s.now, sframe.VP8, alice.protect(sframe.Camera, sframe.VP8, fmt.Sprintf("\x01frame %d", i))); err != want {
			t.Fatalf("frame %d: %v", i, err)
		}
	}
	bob.bind(s.now.Add(holdFor), alice, sframe.Camera)
	if len(bob.out.Frames) != holdMax {
		t.Fatalf("%d frames came out", len(bob.out.Frames))
	}
	for i, f := range bob.out.Frames {
		if string(f.Data) != fmt.Sprintf("\x01frame %d", i) || f.Conn != alice.Conn || f.MID != "0" {
			t.Errorf("frame %d: %q of %v", i, f.Data, f.Conn)
		}
	}
	if len(bob.out.KeyFrames) != 1 {
		t.Errorf("a stream that begins with a delta frame asked for %d key frames", len(bob.out.KeyFrames))
	}
}

// A frame of an epoch that the receiver does not have yet waits for its commit.
func TestOpen_holdsForALateEpoch(t *testing.T) {
	s, all := call(t, 2)
	alice, bob := all[0], all[1]
	bob.bind(s.now, alice, sframe.Camera)
	s.join(3)
	before := alice.Group().Epoch()
	slow := bob.Room
	s.hold(bob)
	s.run(time.Second)
	if alice.Group().Epoch() == before || slow.Group().Epoch() != before {
		t.Fatalf("epochs %d and %d, want a later one and %d", alice.Group().Epoch(), slow.Group().Epoch(), before)
	}
	if _, err := bob.open(s.now, sframe.VP8, alice.protect(sframe.Camera, sframe.VP8, "\x00key")); err != ErrHeld {
		t.Fatal(err)
	}
	s.release(bob)
	if len(bob.frames) != 1 || string(bob.frames[0].Data) != "\x00key" {
		t.Errorf("%d frames", len(bob.frames))
	}
}

// Nobody misses a frame while a third joins: the epoch changes under way.
func TestEpochSwitch_losesNothing(t *testing.T) {
	s, all := call(t, 2)
	alice, bob := all[0], all[1]
	bob.bind(s.now, alice, sframe.Microphone)
	s.join(3)
	kids := map[sframe.KID]bool{}
	for range 100 {
		b := alice.protect(sframe.Microphone, sframe.Opus, "sound")
		f, _ := sframe.Parse(sframe.Opus, b)
		kids[f.KID] = true
		if _, err := bob.open(s.now, sframe.Opus, b); err != nil {
			t.Fatal(err)
		}
		s.run(20 * time.Millisecond)
	}
	if len(kids) < 2 {
		t.Errorf("%d KIDs in use: the epoch did not change", len(kids))
	}
}

// Attack 45: who is gone is not shown, whatever the server still sends, also
// under the leaf when somebody else has it.
func TestOpen_afterLeaving(t *testing.T) {
	s, all := call(t, 3)
	alice, bob := all[0], all[1]
	bob.bind(s.now, alice, sframe.Camera)
	old := alice.protect(sframe.Camera, sframe.VP9, "old")
	s.leave(alice)
	s.run(time.Second)
	if _, err := bob.open(s.now, sframe.VP9, old); err == nil {
		t.Error("a frame of somebody gone is shown")
	}
	carol := s.join(9)
	s.run(2 * time.Second)
	if leaf, ok := carol.Group().Own(); !ok || leaf != 0 {
		t.Fatalf("the newcomer has leaf %d, %v; want the free one", leaf, ok)
	}
	bob.bind(s.now, carol, sframe.Camera)
	if _, err := bob.open(s.now, sframe.VP9, old); err == nil {
		t.Error("an old frame is shown under the name of the leaf's new owner")
	}
	if _, err := bob.open(s.now, sframe.VP9, carol.protect(sframe.Camera, sframe.VP9, "new")); err != nil {
		t.Error(err)
	}
}

// A wrong key shows, and costs a bounded number of key-frame requests.
func TestOpen_mismatchAndRecovery(t *testing.T) {
	s, all := call(t, 2)
	alice, bob := all[0], all[1]
	bob.bind(s.now, alice, sframe.Camera)
	now := s.now
	for range 40 {
		b := alice.protect(sframe.Camera, sframe.VP8, "\x01frame")
		b[len(b)-1] ^= 1
		if _, err := bob.open(now, sframe.VP8, b); err != sframe.DropAuth {
			t.Fatal(err)
		}
		now = now.Add(100 * time.Millisecond)
	}
	if bob.state(alice) != Mismatch || len(bob.out.KeyFrames) != 4 {
		t.Errorf("%v, %d key frames asked for in 4 s, want 4", bob.state(alice), len(bob.out.KeyFrames))
	}
	if _, err := bob.open(now, sframe.VP8, alice.protect(sframe.Camera, sframe.VP8, "\x00key")); err != nil || bob.state(alice) != Encrypted {
		t.Errorf("%v, %v", err, bob.state(alice))
	}
}

// Attack 44: nothing older than two heartbeats is shown as live.
func TestHeartbeat_dropsOldFrames(t *testing.T) {
	s, all := call(t, 2)
	alice, bob := all[0], all[1]
	bob.bind(s.now, alice, sframe.Camera)
	var frames [][]byte
	for range 3 {
		frames = append(frames, alice.protect(sframe.Camera, sframe.VP9, "a"), alice.protect(sframe.Camera, sframe.VP9, "b"))
		s.run(heartbeatMin)
	}
	for i, want := range []error{sframe.DropStale, sframe.DropStale, sframe.DropStale, sframe.DropStale, nil, nil} {
		if _, err := bob.open(s.now, sframe.VP9, frames[i]); err != want {
			t.Errorf("frame %d: %v, want %v", i, err, want)
		}
	}
}

// A heartbeat says of which epoch its counters are: in a new epoch they begin
// anew, and an old count must not silence it.
func TestHeartbeat_ofAnOldEpoch(t *testing.T) {
	s, all := call(t, 2)
	alice, bob := all[0], all[1]
	bob.bind(s.now, alice, sframe.Camera)
	for range 500 {
		alice.protect(sframe.Camera, sframe.VP9, "a")
	}
	leaf, _ := alice.Group().Own()
	old := alice.beat()
	s.join(3)
	s.run(2 * time.Second)
	for range 2 {
		if err := bob.heard(leaf, old); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := bob.open(s.now, sframe.VP9, alice.protect(sframe.Camera, sframe.VP9, "new")); err != nil {
		t.Error(err)
	}
}

func TestHeartbeat_slowsInLargeRooms(t *testing.T) {
	s := newService(t)
	m := s.member(1)
	var peers []link.ConnID
	for i := 1; i < 200; i++ {
		peers = append(peers, link.ConnID{byte(i), 1})
	}
	if err := m.Welcome(s.now, peers, nil, &m.out); err != nil {
		t.Fatal(err)
	}
	if got := m.heartbeatEvery(); got != 20*time.Second {
		t.Errorf("%v", got)
	}
}

func TestMessages_reachEverybodyElse(t *testing.T) {
	s, all := call(t, 3)
	err := all[0].Do(s.now, func(g *group.Group, acts *group.Actions) error {
		return g.Send(s.now, 4, []byte(`{"id":"1","text":"hello"}`), acts)
	}, &all[0].out)
	if err != nil {
		t.Fatal(err)
	}
	s.settle()
	for i, m := range all {
		if want := min(i, 1); len(m.messages) != want {
			t.Errorf("%d has %d messages, want %d", i, len(m.messages), want)
		} else if want == 1 && m.messages[0].Conn != all[0].Conn {
			t.Error("under another name")
		}
	}
}

func TestSlots_refusals(t *testing.T) {
	s := newService(t)
	bob := s.member(2)
	many := make([]Slot, maxSlots+1)
	for i := range many {
		many[i] = Slot{fmt.Sprint(i), link.ConnID{1}, sframe.Camera}
	}
	for name, list := range map[string][]Slot{
		"twice":     {{"0", link.ConnID{1}, 0}, {"0", link.ConnID{2}, 0}},
		"no mid":    {{"", link.ConnID{1}, 0}},
		"no conn":   {{"0", link.ConnID{}, 0}},
		"no source": {{"0", link.ConnID{1}, sframe.Data}},
		"too many":  many,
	} {
		if err := bob.Slots(s.now, list, &bob.out); !errors.Is(err, ErrSlots) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpen_doesNotAllocate(t *testing.T) {
	s, all := call(t, 2)
	alice, bob := all[0], all[1]
	bob.bind(s.now, alice, sframe.Camera)
	frame, sealed, dst := make([]byte, 1000), make([]byte, 0, 1100), make([]byte, 0, 1100)
	rtp := uint32(0)
	if n := testing.AllocsPerRun(200, func() {
		b, _ := alice.Sender(sframe.Camera).Protect(sealed, sframe.VP8, false, frame)
		rtp += 3000
		if _, err := bob.Room.Open(s.now, "0", sframe.VP8, rtp, b, dst, &bob.out); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
}

func FuzzHeartbeat(f *testing.F) {
	f.Add([]byte(`{"epoch":3,"ctr":{"0":1,"1":4294967296,"9":-1}}`))
	f.Add([]byte(`{"epoch":-1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		_ = decodeHeartbeat(body, func(epoch uint64, c sframe.Context, next uint64) {
			if c > sframe.Data || next > sframe.MaxCTR || epoch > maxEpochNumber {
				t.Fatalf("%d %d %d", epoch, c, next)
			}
		})
	})
}
