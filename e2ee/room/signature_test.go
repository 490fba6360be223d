package room

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sotto/e2ee/sframe"
)

// signedCall is a call of n whose members sign what they send.
func signedCall(t testing.TB, n int) (*service, []*member) {
	t.Helper()
	s := newService(t)
	s.sign = true
	for i := range n {
		s.join(byte(i + 1))
	}
	s.run(3 * time.Second)
	return s, slices.Clone(s.all)
}

// stream is what alice's camera sends, one frame every 33 ms of the service's time.
type stream struct {
	s    *service
	from *member
	rtp  uint32
}

func (v *stream) next() []byte {
	v.s.run(33 * time.Millisecond)
	v.rtp += 3000
	return v.from.protect(sframe.Camera, sframe.VP9, fmt.Sprint("picture ", v.rtp))
}

// show opens a frame at its place in time.
func (m *member) show(s *service, rtp uint32, frame []byte) error {
	_, err := m.Room.Open(s.now, "0", sframe.VP9, rtp, frame, nil, &m.out)
	m.next = s.now
	s.settle()
	return err
}

// forge makes a frame of a victim, as every member can: with the group's keys.
func (m *member) forge(victim *member, ctr uint64, frame string) []byte {
	m.t.Helper()
	e := m.epochs[len(m.epochs)-1]
	leaf, ok := victim.Group().Own()
	if !ok {
		m.t.Fatal("the victim is no member")
	}
	key, err := sframe.DeriveKey(e.base[:], sframe.MakeKID(sframe.Camera, leaf, uint8(e.number)))
	if err != nil {
		m.t.Fatal(err)
	}
	sender := sframe.NewSender(key)
	for sender.Next() < ctr {
		_, _ = sender.Protect(nil, sframe.VP9, false, []byte("x"))
	}
	b, err := sender.Protect(nil, sframe.VP9, false, []byte(frame))
	if err != nil {
		m.t.Fatal(err)
	}
	return b
}

// Attack 23: a member makes a frame under another's name and the service lets it
// in. It opens, and is noticed by the next list, whichever way it comes.
func TestAttack23_forgedFramesAreNoticed(t *testing.T) {
	for name, inject := range map[string]func(t *testing.T, s *service, v *stream, bob, carol *member){
		"before the frame that has the counter": func(t *testing.T, s *service, v *stream, bob, carol *member) {
			forged := carol.forge(v.from, v.from.Sender(sframe.Camera).current.Load().Next(), "lie")
			if err := bob.show(s, v.rtp+3000, forged); err != nil {
				t.Fatalf("the forged frame: %v", err)
			}
			if err := bob.show(s, v.rtp, v.next()); err != sframe.DropReplay {
				t.Fatalf("the true frame: %v", err)
			}
		},
		"in place of a frame that the service kept back": func(t *testing.T, s *service, v *stream, bob, carol *member) {
			ctr := v.from.Sender(sframe.Camera).current.Load().Next()
			v.next()
			s.run(1500 * time.Millisecond) // its list has come already
			if err := bob.show(s, v.rtp, carol.forge(v.from, ctr, "lie")); err != nil {
				t.Fatal(err)
			}
		},
		"ahead of time": func(t *testing.T, s *service, v *stream, bob, carol *member) {
			ctr := v.from.Sender(sframe.Camera).current.Load().Next()
			if err := bob.show(s, v.rtp+30_000, carol.forge(v.from, ctr+9, "lie")); err != nil {
				t.Fatal(err)
			}
			for range 12 {
				v.next()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, all := signedCall(t, 3)
			alice, bob, carol := all[0], all[1], all[2]
			bob.bind(s.now, alice, sframe.Camera)
			v := &stream{s: s, from: alice}
			for range 90 {
				if err := bob.show(s, v.rtp, v.next()); err != nil {
					t.Fatal(err)
				}
			}
			if got := bob.state(alice); got != Encrypted || bob.Stats().FramesVerified == 0 {
				t.Fatalf("%v before, %+v", got, bob.Stats())
			}
			inject(t, s, v, bob, carol)
			s.run(2 * time.Second)
			if got := bob.state(alice); got != Forged || bob.Stats().FramesForged != 1 {
				t.Fatalf("%v, %+v", got, bob.Stats())
			}
			for range 300 { // ten honest seconds do not excuse it
				if err := bob.show(s, v.rtp, v.next()); err != sframe.DropForged {
					t.Fatal(err)
				}
			}
			if bob.state(alice) != Forged {
				t.Error("forgotten")
			}
			if carol.state(alice) != Encrypted {
				t.Errorf("she who was shown nothing sees %v", carol.state(alice))
			}
		})
	}
}

// Honest streams are never suspected: with loss, reordering, replays, layers of
// which only one is forwarded, and epochs that change under way.
func TestSignatures_honestStreams(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s, all := signedCall(t, 2)
			alice, bob := all[0], all[1]
			bob.bind(s.now, alice, sframe.Camera)
			random := rand.New(rand.NewPCG(seed, 1))
			type frame struct {
				rtp  uint32
				data []byte
			}
			var late []frame
			layer, opened := 0, 0
			for i := range 900 { // 30 s
				switch i {
				case 200:
					s.join(3)
				case 400:
					s.leave(s.all[len(s.all)-1])
				case 600:
					layer = 2
				}
				s.run(33 * time.Millisecond)
				for l := range 3 {
					b := alice.protect(sframe.Camera, sframe.VP9, fmt.Sprint(i, l))
					if l == layer && random.IntN(10) > 0 { // 10 % loss
						late = append(late, frame{uint32(i) * 3000, b})
					}
				}
				for len(late) > 0 && random.IntN(3) > 0 {
					f := late[random.IntN(min(2, len(late)))]
					if bob.show(s, f.rtp, f.data) == nil {
						opened++
					}
					if random.IntN(5) > 0 { // else it comes again
						late = slices.DeleteFunc(late, func(o frame) bool { return &o.data[0] == &f.data[0] })
					}
				}
			}
			s.run(6 * time.Second)
			for _, p := range bob.states {
				if p.State == Forged || p.State == Unverified {
					t.Errorf("%v", p.State)
				}
			}
			if st := bob.Stats(); opened < 500 || st.FramesVerified < uint64(opened)-60 || st.FramesForged+st.FramesUnverified > 0 {
				t.Errorf("%d opened, %+v", opened, st)
			}
		})
	}
}

// A list that is lost is no attack. It shows while there are frames that nothing
// was heard of.
func TestSignatures_lostList(t *testing.T) {
	s, all := signedCall(t, 2)
	alice, bob := all[0], all[1]
	bob.bind(s.now, alice, sframe.Camera)
	v := &stream{s: s, from: alice}
	second := func() {
		for range 30 {
			if err := bob.show(s, v.rtp, v.next()); err != nil {
				t.Fatal(err)
			}
		}
	}
	second()
	second()
	s.lose = true
	second()
	s.lose = false
	for range 3 {
		second()
	}
	if got := bob.state(alice); got != Encrypted {
		t.Fatalf("%v before it is overdue", got)
	}
	for range 3 {
		second()
	}
	if got := bob.state(alice); got != Unverified {
		t.Errorf("%v, want unverified", got)
	}
	for range 6 {
		second()
	}
	if got := bob.state(alice); got != Encrypted || bob.Stats().FramesForged != 0 {
		t.Errorf("%v later, %+v", got, bob.Stats())
	}
	if slices.ContainsFunc(bob.states, func(p PeerState) bool { return p.State == Forged }) {
		t.Error("forged")
	}
}

// The option is each sender's own, and costs those nothing who do not use it.
func TestSignatures_off(t *testing.T) {
	s, all := call(t, 2)
	alice, bob := all[0], all[1]
	bob.bind(s.now, alice, sframe.Camera)
	v := &stream{s: s, from: alice}
	sent := len(s.log)
	for range 200 {
		if err := bob.show(s, v.rtp, v.next()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.log) - sent; n > 4 { // heartbeats
		t.Errorf("%d messages", n)
	}
	leaf, _ := alice.Group().Own()
	kid := sframe.MakeKID(sframe.Camera, leaf, uint8(alice.Group().Epoch()))
	if st := bob.Stats(); st.FramesVerified != 0 || bob.epochs[len(bob.epochs)-1].receivers[kid].ledger != nil {
		t.Errorf("frames were compared: %+v", st)
	}
}

// With the seventeenth member lists end, and nobody misses them.
func TestSignatures_endInLargeGroups(t *testing.T) {
	s, all := signedCall(t, maxSigned)
	alice, bob := all[0], all[1]
	bob.bind(s.now, alice, sframe.Camera)
	v := &stream{s: s, from: alice}
	show := func(frames int) {
		for range frames {
			if err := bob.show(s, v.rtp, v.next()); err != nil {
				t.Fatal(err)
			}
		}
	}
	show(90)
	verified := bob.Stats().FramesVerified
	if verified == 0 {
		t.Fatal("nothing was signed")
	}
	last := s.join(99)
	show(60)
	verified = bob.Stats().FramesVerified
	show(300)
	if st := bob.Stats(); st.FramesVerified != verified || bob.state(alice) != Encrypted {
		t.Errorf("%v, %+v", bob.state(alice), st)
	}
	s.leave(last)
	show(180)
	if st := bob.Stats(); st.FramesVerified == verified || st.FramesForged+st.FramesUnverified > 0 {
		t.Errorf("after one has left: %+v", st)
	}
}

func TestSignatures_doNotAllocatePerFrame(t *testing.T) {
	s, all := signedCall(t, 2)
	alice, bob := all[0], all[1]
	bob.bind(s.now, alice, sframe.Camera)
	v := &stream{s: s, from: alice}
	for range 90 {
		_ = bob.show(s, v.rtp, v.next())
	}
	if p := bob.peers[alice.Conn]; !p.signs {
		t.Fatal("nothing is signed")
	}
	frame, sealed, dst := make([]byte, 1000), make([]byte, 0, 1100), make([]byte, 0, 1100)
	if n := testing.AllocsPerRun(200, func() {
		b, _ := alice.Sender(sframe.Camera).Protect(sealed, sframe.VP9, false, frame)
		v.rtp += 3000
		if _, err := bob.Room.Open(s.now, "0", sframe.VP9, v.rtp, b, dst, &bob.out); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
}

// Lists fit into messages, however many frames with whatever gaps they tell of,
// and tell of all.
func TestLists_fit(t *testing.T) {
	_, all := signedCall(t, 2)
	r := all[0].Room
	e := r.epochs[len(r.epochs)-1]
	for name, step := range map[string]uint64{"one after another": 1, "with gaps": 2} {
		var frames []sentFrame
		for _, c := range []sframe.Context{sframe.Microphone, sframe.Camera} {
			for i := range uint64(maxJournal / 2) {
				kid := sframe.MakeKID(c, e.own, uint8(e.number))
				frames = append(frames, sentFrame{kid, 1<<31 + i*step, sframe.Digest{byte(i), byte(i >> 8), byte(c)}})
			}
		}
		told := map[string]bool{}
		for _, l := range r.lists(frames) {
			body, err := json.Marshal(l)
			if err != nil || len(body) > 30<<10 {
				t.Fatalf("%s: %d bytes, %v", name, len(body), err)
			}
			_, runs, err := decodeSignatures(body)
			if err != nil {
				t.Fatal(err)
			}
			for c, list := range runs {
				for _, run := range list {
					for i := 0; i < len(run.sums); i += 8 {
						told[fmt.Sprint(c, run.from+uint64(i/8), run.sums[i:i+8])] = true
					}
				}
			}
		}
		for _, f := range frames {
			c, _, _, _ := f.kid.Split()
			if !told[fmt.Sprint(c, f.ctr, f.digest[:])] {
				t.Fatalf("%s: nothing is told of frame %d", name, f.ctr)
			}
		}
	}
}

func TestLedger(t *testing.T) {
	kid := sframe.MakeKID(sframe.Camera, 1, 1)
	a, b := sframe.Digest{1}, sframe.Digest{2}
	for name, f := range map[string]func(l *ledger) (got, want verdict){
		"opened, then told": func(l *ledger) (verdict, verdict) { l.open(start, 5, a); return l.tell(5, a), genuine },
		"told, then opened": func(l *ledger) (verdict, verdict) { l.tell(5, a); return l.open(start, 5, a), genuine },
		"another was told":  func(l *ledger) (verdict, verdict) { l.open(start, 5, a); return l.tell(5, b), contradicted },
		"another is opened": func(l *ledger) (verdict, verdict) { l.tell(5, a); return l.open(start, 5, b), contradicted },
		"told twice":        func(l *ledger) (verdict, verdict) { l.tell(5, a); l.tell(5, b); return l.open(start, 5, a), genuine },
		"told again":        func(l *ledger) (verdict, verdict) { l.open(start, 5, a); l.tell(5, a); return l.tell(5, b), undecided },
		"never told":        func(l *ledger) (verdict, verdict) { l.open(start, 5, a); return l.tell(5+1024, b), unchecked },
		"pushed out":        func(l *ledger) (verdict, verdict) { l.open(start, 5, a); return l.open(start, 5+1024, b), unchecked },
		"list forgotten":    func(l *ledger) (verdict, verdict) { l.tell(5+1024, a); return l.open(start, 5, a), unchecked },
		"told of before": func(l *ledger) (verdict, verdict) {
			l.open(start, 5, a)
			l.tell(5, a)
			return l.open(start, 5+1024, b), undecided
		},
		"before the first": func(l *ledger) (verdict, verdict) { l.from = 6; return l.open(start, 5, a), undecided },
	} {
		if got, want := f(newLedger(kid, 0)); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
	l := newLedger(kid, 0)
	l.open(start, 5, a)
	for i, want := range []int{0, 1, 0} {
		if got := l.overdue(start.Add(overdueAfter + time.Duration(i))); got != want {
			t.Errorf("%d overdue, want %d", got, want)
		}
	}
	if got := l.tell(5, b); got != contradicted {
		t.Errorf("told late: %d", got)
	}
}

func FuzzSignatures(f *testing.F) {
	f.Add([]byte(`{"epoch":3,"frames":{"1":[{"from":7,"sums":"AAECAwQFBgc"}]}}`))
	f.Add([]byte(`{"epoch":3,"frames":{"0":[{"from":4294967295,"sums":"AAECAwQFBgcAAQIDBAUGBw"}]},"last":true}`))
	f.Add([]byte(`{"epoch":-1,"frames":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, told, err := decodeSignatures(body)
		if err != nil {
			return
		}
		for c, list := range told {
			for _, run := range list {
				if n := len(run.sums); c > sframe.Data || s.Epoch > maxEpochNumber || n == 0 || n%8 != 0 || run.from+uint64(n/8) > sframe.MaxCTR {
					t.Fatalf("%d %d %d", c, run.from, n)
				}
			}
		}
	})
}
