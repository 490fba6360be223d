package client_test

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"sort"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sotto/signal/client"
	"sotto/signal/protocol"
)

// witness writes down every frame that one participant received since the start, by track.
type witness struct {
	start time.Time

	mu     sync.Mutex
	tracks map[trackName]*record
}

type trackName struct {
	from   protocol.ConnID
	source protocol.Source
}

type record struct {
	frames                 hash.Hash // of (layer, index, decoded)
	times                  []time.Duration
	count, decoded, broken int
}

func (w *witness) ReceivedFrame(e client.FrameEvent) {
	if e.At.Before(w.start) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	name := trackName{e.From, e.Source}
	r := w.tracks[name]
	if r == nil {
		r = &record{frames: sha256.New()}
		w.tracks[name] = r
	}
	r.count++
	if e.Decoded {
		r.decoded++
	} else {
		r.broken++
	}
	fmt.Fprintln(r.frames, e.Layer, e.Index, e.Decoded)
	r.times = append(r.times, e.At.Sub(w.start))
}

// meeting runs a room of n for some virtual seconds and returns what everybody received, by track, and the sums.
func meeting(t *testing.T, n int, loss float64) (lines []trackLine, decoded, broken, switches uint64) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, loss)
		defer c.close()
		// Keys are drawn, and they say who lets whom into the group and when. Media starts when everybody is in one epoch, and
		// is looked at when everybody has told what the round trips are: from there on all is determined.
		const settling = 3 * time.Second
		start := time.Now().Add(time.Duration(n)*29_000_023 + 4*time.Second + settling)
		people := make([]*client.Participant, n)
		witnesses := make([]*witness, n)
		var joining sync.WaitGroup
		for i := range n {
			cfg := c.config(i+1, client.Slots(n-1))
			witnesses[i] = &witness{start: start, tracks: map[trackName]*record{}}
			cfg.Observer = witnesses[i]
			cfg.Phase += time.Until(start) - settling
			joining.Go(func() {
				p, err := client.Join(t.Context(), cfg)
				if err != nil {
					t.Errorf("participant %d: %v", i, err)
				}
				people[i] = p
			})
			advance(29_000_023 * time.Nanosecond) // one after the other: their order is part of the scenario
		}
		joining.Wait()
		if t.Failed() {
			return // the bubble ends with what is left over; there is nothing to measure
		}
		for _, p := range people {
			<-p.Admitted()
		}
		advance(time.Until(start))
		for i, p := range people {
			if m, first := p.Membership(), people[0].Membership(); m.Epoch != first.Epoch || len(m.Members) != n {
				t.Fatalf("participant %d is in epoch %d with %d members, the first in %d", i, m.Epoch, len(m.Members), first.Epoch)
			}
		}
		for step := range 3 {
			for i, p := range people {
				var wishes []protocol.Wish
				for k, q := range people {
					if q != p {
						wishes = append(wishes, protocol.Wish{
							ConnID: q.ConnID(), Source: protocol.SourceCamera, Height: []int{180, 360, 180, 720}[(i+k+step)%4],
						})
					}
				}
				if err := p.Want(t.Context(), wishes); err != nil {
					t.Fatal(err)
				}
				advance(3_100_007 * time.Nanosecond)
			}
			advance(900 * time.Millisecond)
		}
		for i, p := range people {
			if err := p.Err(); err != nil {
				t.Errorf("participant %d dropped out: %v", i, err)
			}
			s := p.Stats()
			for k, q := range people {
				for _, source := range []protocol.Source{protocol.SourceMic, protocol.SourceCamera} {
					if q == p {
						continue
					}
					got := track(p, q, source)
					if got.Decoded == 0 {
						t.Errorf("participant %d got nothing of %d's %s", i, k, source)
						continue
					}
					var steps []string
					for _, sw := range got.Switches {
						if sw.At.Before(start) {
							continue
						}
						steps = append(steps, fmt.Sprintf("%v %d>%d", sw.At.Sub(start), sw.From, sw.To))
					}
					switches += uint64(len(steps))
					r := witnesses[i].tracks[trackName{q.ConnID(), source}]
					decoded += uint64(r.decoded)
					broken += uint64(r.broken)
					lines = append(lines, trackLine{fmt.Sprintf("%02d<%02d %-6s %d frames %x, decoded %d, %s",
						i, k, source, r.count, r.frames.Sum(nil)[:8], r.decoded, strings.Join(steps, ", ")), r.times})
				}
			}
			if s.Keys.Dropped != ([len(s.Keys.Dropped)]uint64{}) && loss == 0 {
				t.Logf("participant %d: frames not opened %v", i, s.Keys.Dropped)
			}
		}
		var all sync.WaitGroup
		for _, p := range people {
			all.Go(func() { _ = p.Close() })
		}
		all.Wait()
	})
	sort.Slice(lines, func(i, k int) bool { return lines[i].text < lines[k].text })
	return lines, decoded, broken, switches
}

// TestRoom_ofTwentyIsTheSameInEveryRun: 20 native participants, encrypted, three video layers and audio each, over the real
// signaling service and media node. Every run gives every receiver the same frames at the same times, and the same switches.
func TestRoom_ofTwentyIsTheSameInEveryRun(t *testing.T) {
	runs, n := 4, 20
	if testing.Short() {
		runs = 2
	}
	if raceEnabled { // a few people have all the goroutines that meet each other
		runs, n = 2, 6
	}
	var first []trackLine
	for run := range runs {
		began := time.Now()
		lines, decoded, broken, switches := meeting(t, n, 0)
		t.Logf("run %d: %d frames decoded, %d broken, %d switches, in %v", run, decoded, broken, switches, time.Since(began).Round(time.Millisecond))
		if broken > 0 {
			t.Errorf("run %d: %d frames could not be decoded", run, broken)
		}
		if run == 0 {
			first = lines
			continue
		}
		compare(t, run, first, lines)
	}
}

// TestRoom_withLossIsTheSameInEveryRun has every flow lose packets, drawn from its own numbers.
func TestRoom_withLossIsTheSameInEveryRun(t *testing.T) {
	var first []trackLine
	for run := range 3 {
		lines, decoded, broken, switches := meeting(t, 3, 0.01)
		t.Logf("run %d: %d frames decoded, %d broken, %d switches", run, decoded, broken, switches)
		if run == 0 {
			first = lines
			continue
		}
		compare(t, run, first, lines)
	}
}

// trackLine is what somebody received of a track.
type trackLine struct {
	text  string
	times []time.Duration // of the frames
}

// rounding is by how much the time of a frame may differ that was sent again: when it is asked for follows from round trips,
// which RTCP measures in steps of 15 us, from clocks that begin anywhere.
const rounding = 50 * time.Microsecond

func compare(t *testing.T, run int, want, got []trackLine) {
	t.Helper()
	differ := 0
	for i := range want {
		if i < len(got) && got[i].text == want[i].text && sameTimes(got[i].times, want[i].times) {
			continue
		}
		if differ++; differ <= 5 && i < len(got) {
			t.Errorf("run %d differs:\n%s\n%s", run, want[i].text, got[i].text)
		}
	}
	if differ > 0 || len(want) != len(got) {
		t.Errorf("run %d: %d of %d tracks differ", run, differ, len(want))
	}
}

func sameTimes(a, b []time.Duration) bool {
	for i := range a {
		if (a[i] - b[i]).Abs() > rounding {
			return false
		}
	}
	return len(a) == len(b)
}
