package layer

import (
	"testing"
	"time"

	"sotto/sfu/packet"
)

// A receiver is told how much it gets from the first picture that something is left out of until the next key frame.
func TestSwitch_saysWhatItLeavesOut(t *testing.T) {
	const whole = AllLayers
	type said struct {
		limited  bool
		sid, tid uint8
	}
	for _, test := range []struct {
		name  string
		steps []func(s *Switch) // before a picture each; nil: nothing changes
		keys  []bool
		want  []said
	}{
		{
			"everything", []func(*Switch){nil, nil, nil}, []bool{true, false, true},
			[]said{{false, whole, whole}, {false, whole, whole}, {false, whole, whole}},
		},
		{
			"fewer temporal layers, and all again",
			[]func(*Switch){nil, func(s *Switch) { s.SetMaxTID(0) }, func(s *Switch) { s.SetMaxTID(whole) }, nil, nil, nil},
			[]bool{true, false, false, false, true, false},
			[]said{{false, whole, whole}, {true, whole, 0}, {true, whole, 2}, {true, whole, 2}, {false, whole, whole}, {false, whole, whole}},
		},
		{
			"a spatial layer from a key picture on",
			[]func(*Switch){func(s *Switch) { s.SetMaxSID(1) }, nil, func(s *Switch) { s.SetMaxSID(2) }, nil},
			[]bool{true, false, false, true},
			[]said{{true, 1, whole}, {true, 1, whole}, {true, 1, whole}, {true, 2, whole}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := NewSwitch(100, 0)
			s.SetTarget(0)
			for i, change := range test.steps {
				if change != nil {
					change(&s)
				}
				p := video(0, i)
				p.Codec, p.Key, p.SwitchTID, p.DD = packet.AV1, test.keys[i], 2, packet.Span{At: 20, Len: 3}
				o, ok := s.Next(p)
				if got := (said{o.Limited, o.SID, o.TID}); !ok || got != test.want[i] {
					t.Errorf("picture %d: %+v, want %+v", i, got, test.want[i])
				}
			}
			for i, want := range test.want {
				if _, _, o, ok := s.Repair(uint16(100 + i)); !ok || (said{o.Limited, o.SID, o.TID}) != want {
					t.Errorf("picture %d again: %+v, want %+v", i, o, want)
				}
			}
		})
	}
}

// A packet that comes late belongs to its own picture: what was said then is said with it.
func TestSwitch_saysWhatItLeftOutThen(t *testing.T) {
	s := NewSwitch(100, 0)
	s.SetTarget(0)
	s.SetMaxTID(1)
	next := func(n, part int) Out {
		t.Helper()
		p := video(0, n)
		p.ExtSeq = 1<<32 + uint64(2*n+part)
		p.Start, p.End, p.Key, p.SwitchTID = part == 0, part == 1, n == 0, 2
		p.Arrival = start.Add(time.Duration(n) * time.Second / 30)
		o, ok := s.Next(p)
		if !ok {
			t.Fatalf("packet %d of picture %d was left out", part, n)
		}
		return o
	}
	next(0, 0)
	next(0, 1)
	next(1, 0)
	s.SetMaxTID(0)
	if o := next(2, 0); !o.Limited || o.TID != 0 {
		t.Errorf("%+v, want layer 0", o)
	}
	if o := next(1, 1); !o.Limited || o.TID != 1 {
		t.Errorf("%+v of the picture before, want layer 1", o)
	}
}
