package group

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// TestGroup_randomSchedules lets everything happen to a room in any order, and
// wants everybody who is there in one epoch once it is quiet. The world checks
// all the while that members of an epoch have one key, that nobody sends with
// the key of another connection, and that no nonce is used twice.
func TestGroup_randomSchedules(t *testing.T) {
	first, n := uint64(0), uint64(18/fewer)
	if s := os.Getenv("SEED"); s != "" {
		n = 1
		fmt.Sscan(s, &first, &n)
	}
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w := newWorld(t, seed)
			w.trace = os.Getenv("TRACE") != ""
			restarts, rotations := seed%3 == 1, seed%3 == 2
			w.join("first")
			for range 40 {
				w.step(restarts, rotations)
				w.run(time.Duration(w.rng.IntN(700)) * time.Millisecond)
			}
			for _, c := range w.live() {
				if c.broken {
					c.resume()
				}
			}
			w.run(5 * time.Second)
			// Who stands outside with an old link needs the new one.
			w.latestLink()
			for _, c := range w.live() {
				if keys, _ := c.g.Keys(); keys.RoomID() != w.keys.RoomID() && c.g.State() != StateMember {
					c.leave()
				}
			}
			w.run(45 * time.Second)
			live := w.live()
			w.settle(10*time.Second, live...)
			// Everybody hears everybody.
			for _, c := range live {
				c.messages = nil
			}
			for _, c := range live {
				c.do(func(out *Actions) { must(0, c.g.Send(w.now, 4, []byte("{}"), out)) })
			}
			w.run(time.Second)
			for _, c := range live {
				chats := slices.DeleteFunc(slices.Clone(c.messages), func(m Message) bool { return m.Kind != 4 })
				if len(chats) != len(live)-1 {
					t.Errorf("%s has %d messages of %d", c.name, len(chats), len(live)-1)
				}
			}
		})
	}
}

// step does one thing to the room.
func (w *world) step(restarts, rotations bool) {
	live := w.live()
	pick := func() *client {
		if len(live) < 2 {
			return nil
		}
		return live[w.rng.IntN(len(live))]
	}
	host := slices.IndexFunc(live, func(c *client) bool { return c.g.State() == StateMember && c.g.IsHost() })
	switch n := w.rng.IntN(20); {
	case n < 6 || len(live) == 0:
		if len(live) < 12 {
			w.latestLink()
			c := w.add(fmt.Sprint("R", len(w.clients)), nil)
			c.delay = time.Duration(w.rng.IntN(80)) * time.Millisecond
			c.signing = time.Duration(w.rng.IntN(6)) * time.Millisecond
			c.connect()
			c.beat()
		}
	case n < 8:
		if c := pick(); c != nil && !c.broken {
			c.leave()
		}
	case n < 9:
		if c := pick(); c != nil && !c.broken {
			c.crash()
		}
	case n < 11: // a page is loaded anew
		if c := pick(); c != nil && !c.broken {
			c.again()
		}
	case n < 15: // a connection breaks and comes back
		if c := pick(); c != nil && !c.broken && c.g.State() != StateConnecting {
			c.drop()
			w.at(time.Duration(w.rng.IntN(4000))*time.Millisecond, func() {
				if !c.closed && c.broken {
					c.resume()
				}
			})
		}
	case n < 16:
		if restarts {
			w.service.restart()
		}
	case n < 18 && host >= 0 && rotations:
		h := live[host]
		h.do(func(out *Actions) { h.g.RotateLink(w.now, out) })
	case n < 19 && host >= 0 && rotations:
		h, victim := live[host], pick()
		if victim != nil && victim != h && victim.g.State() == StateMember {
			h.do(func(out *Actions) { h.g.Kick(w.now, victim.conn, out) })
			w.at(time.Second, victim.leave)
		}
	}
}
