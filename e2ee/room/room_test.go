package room

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
	"time"

	"sotto/e2ee/link"
	"sotto/e2ee/sframe"
)

var start = time.Unix(1_800_000_000, 0)

// member is a client whose service delivers at once.
type member struct {
	t testing.TB
	*Room
	Peer
	out  Actions
	read int // of Send, by the service
}

func newMember(t testing.TB, secret link.Secret, leaf uint8, id byte) *member {
	t.Helper()
	keys, err := link.Derive(secret)
	if err != nil {
		t.Fatal(err)
	}
	conn := link.ConnID(bytes.Repeat([]byte{id}, 16))
	r, err := New(Config{Keys: keys, Conn: conn, Random: [16]byte{id}})
	if err != nil {
		t.Fatal(err)
	}
	return &member{t: t, Room: r, Peer: Peer{conn, leaf}}
}

// call puts members into one room, leaf = index.
func call(t testing.TB, n int) []*member {
	t.Helper()
	var all []*member
	for i := range n {
		m := newMember(t, link.Secret{1}, uint8(i), byte(i+1))
		join(t, all, m)
		all = append(all, m)
	}
	return all
}

func join(t testing.TB, others []*member, m *member) {
	t.Helper()
	var peers []Peer
	for _, o := range others {
		peers = append(peers, o.Peer)
	}
	if err := m.Welcome(start, m.Leaf, peers, &m.out); err != nil {
		t.Fatal(err)
	}
	for _, o := range others {
		if err := o.PeerJoined(start, m.Peer, &o.out); err != nil {
			t.Fatal(err)
		}
	}
	relay(append(others, m))
}

// relay delivers what was sent to those it is for.
func relay(all []*member) {
	for _, from := range all {
		for ; from.read < len(from.out.Send); from.read++ {
			data := append(make([]byte, 8), from.out.Send[from.read]...)
			h, _, _ := link.ParseEnvelope(data[8:])
			for _, to := range all {
				if to != from && (h.To == link.ConnID{} || h.To == to.Conn) {
					if err := to.Envelope(start, data, &to.out); err != nil {
						to.t.Errorf("envelope from leaf %d to leaf %d: %v", from.Leaf, to.Leaf, err)
					}
				}
			}
		}
	}
}

func (m *member) protect(c sframe.Context, codec sframe.Codec, frame string) []byte {
	m.t.Helper()
	s, err := m.Sender(c)
	if err != nil {
		m.t.Fatal(err)
	}
	b, err := s.Protect(nil, codec, false, []byte(frame))
	if err != nil {
		m.t.Fatal(err)
	}
	return b
}

func (m *member) open(now time.Time, codec sframe.Codec, b []byte) (string, error) {
	out, err := m.Room.Open(now, "0", codec, 0, b, nil, &m.out)
	return string(out), err
}

func (m *member) bind(now time.Time, to *member, c sframe.Context) {
	m.t.Helper()
	if err := m.Slots(now, []Slot{{"0", to.Conn, c}}, &m.out); err != nil {
		m.t.Fatal(err)
	}
}

func (m *member) state(of *member) (s State) {
	for _, p := range m.out.States {
		if p.Conn == of.Conn {
			s = p.State
		}
	}
	return s
}

func TestRoom_everybodyHearsEverybody(t *testing.T) {
	all := call(t, 4)
	for _, from := range all {
		for _, to := range all {
			if from == to {
				continue
			}
			to.bind(start, from, sframe.Camera)
			if got, err := to.open(start, sframe.VP8, from.protect(sframe.Camera, sframe.VP8, "\x00picture")); err != nil || got != "\x00picture" {
				t.Errorf("%d to %d: %q, %v", from.Leaf, to.Leaf, got, err)
			}
			if to.state(from) != Encrypted {
				t.Errorf("%d sees %d as %v", to.Leaf, from.Leaf, to.state(from))
			}
		}
	}
}

// Attacks 4 and 5: the KID's owner and source, or nothing.
func TestOpen_bindsConnectionAndSource(t *testing.T) {
	all := call(t, 3)
	alice, bob, carol := all[0], all[1], all[2]
	for name, b := range map[string][]byte{
		"another person": carol.protect(sframe.Camera, sframe.VP9, "frame"),
		"another source": alice.protect(sframe.Screen, sframe.VP9, "frame"),
		"sound":          alice.protect(sframe.Microphone, sframe.Opus, "frame"),
	} {
		bob.bind(start, alice, sframe.Camera)
		if got, err := bob.open(start, sframe.VP9, b); err != ErrHeld {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	bob.Tick(start.Add(time.Second), &bob.out)
	if n := bob.Stats().Dropped[sframe.DropHoldExpired]; n != 3 || len(bob.out.Frames) != 0 {
		t.Errorf("%d expired, %d came out", n, len(bob.out.Frames))
	}
}

func TestOpen_holdsForALateBinding(t *testing.T) {
	all := call(t, 2)
	alice, bob := all[0], all[1]
	for i := range 70 {
		want := error(ErrHeld)
		if i >= holdMax {
			want = sframe.DropHoldFull
		}
		if _, err := bob.open(start, sframe.VP8, alice.protect(sframe.Camera, sframe.VP8, fmt.Sprintf("\x01frame %d", i))); err != want {
			t.Fatalf("frame %d: %v", i, err)
		}
	}
	bob.bind(start.Add(holdFor), alice, sframe.Camera)
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

func TestOpen_holdsForALateKey(t *testing.T) {
	alice, bob := newMember(t, link.Secret{1}, 0, 1), newMember(t, link.Secret{1}, 1, 2)
	alice.Welcome(start, 0, nil, &alice.out)
	bob.Welcome(start, 1, []Peer{alice.Peer}, &bob.out)
	bob.bind(start, alice, sframe.Camera)
	if _, err := bob.open(start, sframe.VP8, alice.protect(sframe.Camera, sframe.VP8, "\x00key")); err != ErrHeld {
		t.Fatal(err)
	}
	if next, _ := bob.Tick(start, &bob.out); next.Sub(start) > holdFor+time.Millisecond {
		t.Errorf("next tick after %v", next.Sub(start))
	}
	if err := bob.Envelope(start, append(make([]byte, 8), alice.out.Send[0]...), &bob.out); err != nil {
		t.Fatal(err)
	}
	if len(bob.out.Frames) != 1 || len(bob.out.KeyFrames) != 0 {
		t.Errorf("%d frames, %d requests", len(bob.out.Frames), len(bob.out.KeyFrames))
	}
}

// A wrong key shows, and costs a bounded number of key-frame requests.
func TestOpen_mismatchAndRecovery(t *testing.T) {
	all := call(t, 2)
	alice, bob := all[0], all[1]
	bob.bind(start, alice, sframe.Camera)
	now := start
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

func TestHeartbeat_dropsOldFrames(t *testing.T) {
	all := call(t, 2)
	alice, bob := all[0], all[1]
	bob.bind(start, alice, sframe.Camera)
	var frames [][]byte
	now := start
	for range 3 {
		frames = append(frames, alice.protect(sframe.Camera, sframe.VP9, "a"), alice.protect(sframe.Camera, sframe.VP9, "b"))
		now = now.Add(heartbeatMin)
		alice.Tick(now, &alice.out)
		relay(all)
	}
	for i, want := range []error{sframe.DropStale, sframe.DropStale, sframe.DropStale, sframe.DropStale, nil, nil} {
		if _, err := bob.open(now, sframe.VP9, frames[i]); err != want {
			t.Errorf("frame %d: %v, want %v", i, err, want)
		}
	}
}

func TestHeartbeat_slowsInLargeRooms(t *testing.T) {
	m := newMember(t, link.Secret{1}, 0, 1)
	var peers []Peer
	for i := 1; i < 200; i++ {
		peers = append(peers, Peer{link.ConnID{byte(i), 1}, uint8(i)})
	}
	if err := m.Welcome(start, 0, peers, &m.out); err != nil {
		t.Fatal(err)
	}
	if got := m.heartbeatEvery(); got != 20*time.Second {
		t.Errorf("%v", got)
	}
}

func TestRoster_refusals(t *testing.T) {
	all := call(t, 3)
	alice, bob := all[0], all[1]
	for name, p := range map[string]Peer{
		"own leaf":   {link.ConnID{9}, alice.Leaf},
		"taken leaf": {link.ConnID{9}, bob.Leaf},
		"own conn":   {alice.Conn, 9},
		"known conn": {bob.Conn, 9},
		"zero conn":  {link.ConnID{}, 9},
	} {
		if err := alice.PeerJoined(start, p, &alice.out); !errors.Is(err, ErrRoster) {
			t.Errorf("%s: %v", name, err)
		}
	}
	alice.PeerLeft(start, bob.Conn, &alice.out)
	if err := alice.PeerJoined(start, bob.Peer, &alice.out); !errors.Is(err, ErrRoster) {
		t.Errorf("a connection came back: %v", err)
	}
	if err := alice.PeerJoined(start, Peer{link.ConnID{9}, bob.Leaf}, &alice.out); err != nil {
		t.Errorf("a free leaf: %v", err)
	}
	if err := alice.Welcome(start, 0, nil, &alice.out); !errors.Is(err, ErrAdmitted) {
		t.Errorf("second welcome: %v", err)
	}
	if _, err := newMember(t, link.Secret{1}, 0, 1).Sender(sframe.Camera); !errors.Is(err, ErrNotAdmitted) {
		t.Errorf("a sender before admission: %v", err)
	}
}

// Attack 45: a reused leaf does not open with the keys of who had it before.
func TestOpen_reusedLeaf(t *testing.T) {
	all := call(t, 2)
	alice, bob := all[0], all[1]
	bob.bind(start, alice, sframe.Camera)
	old := alice.protect(sframe.Camera, sframe.VP9, "old")
	bob.PeerLeft(start, alice.Conn, &bob.out)
	if _, err := bob.open(start, sframe.VP9, old); err != ErrHeld {
		t.Errorf("a frame of somebody gone: %v", err)
	}
	carol := newMember(t, link.Secret{1}, alice.Leaf, 7)
	join(t, []*member{bob}, carol)
	bob.bind(start, carol, sframe.Camera)
	if _, err := bob.open(start, sframe.VP9, old); err != sframe.DropAuth {
		t.Errorf("a frame of the leaf's former owner: %v", err)
	}
}

func TestEnvelope_refusals(t *testing.T) {
	all := call(t, 2)
	alice, bob := all[0], all[1]
	eve := newMember(t, link.Secret{2}, 2, 9) // another room's secret
	eve.Welcome(start, 2, nil, &eve.out)
	if err := bob.PeerJoined(start, eve.Peer, &bob.out); err != nil {
		t.Fatal(err)
	}
	wrap := func(b []byte) []byte { return append(make([]byte, 8), b...) }
	flipped := wrap(alice.out.Send[0])
	flipped[len(flipped)-1] ^= 1
	for name, test := range map[string]struct {
		data []byte
		want error
	}{
		"another secret": {wrap(eve.out.Send[0]), link.ErrSeal},
		"replay":         {wrap(alice.out.Send[0]), link.ErrEnvelopeReplay},
		"cut":            {flipped[:40], link.ErrEnvelope},
		"empty":          {nil, ErrEnvelope},
		"own":            {wrap(bob.out.Send[0]), ErrEnvelope},
	} {
		if err := bob.Envelope(start, test.data, &bob.out); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if bob.Stats().EnvelopesRefused != 5 {
		t.Errorf("%d counted", bob.Stats().EnvelopesRefused)
	}
}

func TestAnnouncement_firstOneStands(t *testing.T) {
	all := call(t, 2)
	alice, bob := all[0], all[1]
	say := func(a announcement) error {
		if err := alice.send(link.ConnID{}, messageSender, a, &alice.out); err != nil {
			t.Fatal(err)
		}
		alice.read = len(alice.out.Send)
		return bob.Envelope(start, append(make([]byte, 8), alice.out.Send[len(alice.out.Send)-1]...), &bob.out)
	}
	again := alice.link.announcement()
	if err := say(again); err != nil {
		t.Errorf("the same again: %v", err)
	}
	other := again
	other.Random = link.ConnID{99}.String()
	for name, a := range map[string]announcement{
		"other randomness": other,
		"other leaf":       {again.Conn, 9, again.Random},
		"other connection": {bob.Conn.String(), again.Leaf, again.Random},
		"absurd leaf":      {again.Conn, 256, again.Random},
		"short randomness": {again.Conn, again.Leaf, "AAAA"},
	} {
		if err := say(a); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	bob.bind(start, alice, sframe.Camera)
	if _, err := bob.open(start, sframe.VP9, alice.protect(sframe.Camera, sframe.VP9, "frame")); err != nil {
		t.Errorf("the first key: %v", err)
	}
}

func TestSlots_refusals(t *testing.T) {
	bob := call(t, 2)[1]
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
		if err := bob.Slots(start, list, &bob.out); !errors.Is(err, ErrSlots) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpen_doesNotAllocate(t *testing.T) {
	all := call(t, 2)
	alice, bob := all[0], all[1]
	bob.bind(start, alice, sframe.Camera)
	s, err := alice.Sender(sframe.Camera)
	if err != nil {
		t.Fatal(err)
	}
	frame, sealed, dst := make([]byte, 1000), make([]byte, 0, 1100), make([]byte, 0, 1100)
	rtp := uint32(0)
	if n := testing.AllocsPerRun(200, func() {
		b, _ := s.Protect(sealed, sframe.VP8, false, frame)
		rtp += 3000
		if _, err := bob.Room.Open(start, "0", sframe.VP8, rtp, b, dst, &bob.out); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
}

func FuzzEnvelope(f *testing.F) {
	alice := newMember(f, link.Secret{1}, 0, 1)
	alice.Welcome(start, 0, nil, &alice.out)
	f.Add(append(make([]byte, 8), alice.out.Send[0]...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		bob := newMember(t, link.Secret{1}, 1, 2)
		bob.Welcome(start, 1, []Peer{alice.Peer}, &bob.out)
		bob.Envelope(start, data, &bob.out)
	})
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"conn_id":"AAAAAAAAAAAAAAAAAAAAAA","leaf":3,"random":"AAAAAAAAAAAAAAAAAAAAAA"}   `))
	f.Add([]byte(`{"ctr":{"0":1,"1":4294967296,"9":-1}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		decodeAnnouncement(body)
		decodeHeartbeat(body, func(c sframe.Context, next uint64) {
			if c > sframe.Data || next > sframe.MaxCTR {
				t.Fatal(hex.EncodeToString(body))
			}
		})
	})
}
