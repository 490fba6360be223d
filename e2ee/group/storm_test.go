package group

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sotto/e2ee/link"
)

// TestAttack37_manyJoins: 50 members that join within two seconds take at most
// six commits, and 60 at most five; three seconds after the first they are in
// one epoch and can send.
func TestAttack37_manyJoins(t *testing.T) {
	for _, c := range []struct {
		members, commits int
		seeds            uint64
	}{{50, 6, 2}, {60, 5, 1}} {
		if fewer > 1 && c.members > 50 {
			continue
		}
		for seed := range max(1, c.seeds/fewer) {
			t.Run(fmt.Sprint(c.members, " seed ", seed), func(t *testing.T) {
				w := newWorld(t, seed)
				var all []*client
				for i := range c.members {
					m := w.add(fmt.Sprint("P", i), nil)
					m.delay = time.Duration(5+w.rng.IntN(45)) * time.Millisecond
					m.signing = time.Duration(1+w.rng.IntN(4)) * time.Millisecond
					all = append(all, m)
					w.at(time.Duration(i)*2*time.Second/time.Duration(c.members), m.connect)
				}
				w.run(2 * time.Second)
				took := 2*time.Second + w.until(time.Second, "one epoch", func() bool { return agree(all...) })
				w.run(2 * time.Second)
				t.Logf("one epoch after %v, %d commits, %d refused, longest commit %d, welcome %d bytes",
					took, w.service.commits, w.service.refused, w.sizes[link.TypeCommit], w.sizes[link.TypeWelcome])
				if w.service.commits > c.commits {
					t.Errorf("%d commits", w.service.commits)
				}
				w.settle(0, all...)
			})
		}
	}
}

// TestAttack25_commitsAtOnce: several members commit in the same moment; one
// wins, and all converge.
func TestAttack25_commitsAtOnce(t *testing.T) {
	for _, n := range []int{2, 20} {
		w := newWorld(t, uint64(n))
		var all []*client
		for i := range n {
			all = append(all, w.join(fmt.Sprint("P", i)))
		}
		w.settle(5*time.Second, all...)
		w.run(2 * time.Second)
		refused, epoch := w.service.refused, all[0].g.Epoch()
		for _, c := range all {
			c.do(func(out *Actions) { c.g.commit(w.now, out) }) // an empty commit, asked for by nobody
		}
		w.run(time.Second)
		w.settle(5*time.Second, all...)
		lost := w.service.refused - refused
		if all[0].g.Epoch() == epoch || lost != n-1 {
			t.Errorf("%d at once: %d epochs, %d refused", n, all[0].g.Epoch()-epoch, lost)
		}
	}
}

// TestAttack26_committerDies: whoever is first in rank dies before or after it
// has sent; the next rank acts within the steps of 300 ms.
func TestAttack26_committerDies(t *testing.T) {
	for seed := range uint64(6) {
		for _, after := range []bool{false, true} {
			w := newWorld(t, seed)
			all := w.room(5)
			w.run(time.Second)
			var dead *client
			for _, c := range all {
				c.mute = func(h link.Header) bool {
					if h.Type != link.TypeCommit || dead != nil {
						return false
					}
					dead = c
					w.at(0, c.crash)
					if after { // sent, and then dead
						w.at(0, func() {})
						return false
					}
					return true
				}
			}
			if after { // let it arrive, and die before the echo
				for _, c := range all {
					c.mute = nil
				}
				w.service.accepts = func(h link.Header) {
					if dead == nil {
						i := slices.IndexFunc(all, func(c *client) bool { return c.conn == h.From })
						dead = all[i]
						w.at(0, dead.crash)
					}
				}
			}
			joiner := w.join("joiner")
			took := w.until(2*time.Second, "admission", func() bool { return joiner.g.State() == StateMember })
			if dead == nil || took > 1100*time.Millisecond {
				t.Errorf("seed %d: admitted after %v", seed, took)
			}
			all = append(slices.DeleteFunc(all, func(c *client) bool { return c == dead }), joiner)
			w.settle(25*time.Second, all...)
		}
	}
}

// TestAttack18_restartInStorm: the service is killed in the middle of a storm of
// joins and leaves. Five seconds after it is up again all who are there are in
// one epoch. That no nonce and no key of a leaf is used twice, the world checks.
func TestAttack18_restartInStorm(t *testing.T) {
	for seed := range uint64(16 / fewer) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w := newWorld(t, seed)
			all := w.room(3)
			for _, c := range all {
				c.beat()
			}
			for i := range 12 {
				m := w.add(fmt.Sprint("S", i), nil)
				m.delay = time.Duration(5+w.rng.IntN(60)) * time.Millisecond
				m.signing = time.Duration(w.rng.IntN(5)) * time.Millisecond
				all = append(all, m)
				w.at(time.Duration(w.rng.IntN(1500))*time.Millisecond, func() {
					m.connect()
				})
			}
			w.at(time.Duration(w.rng.IntN(800))*time.Millisecond, all[1].leave)
			w.run(time.Duration(300+w.rng.IntN(1200)) * time.Millisecond)
			w.service.restart()
			up := 200 * time.Millisecond // the first may connect again
			took := w.until(up+5*time.Second, "one epoch", func() bool { return settledBut(w.live()) }) - up
			t.Logf("after %v", took)
			w.run(60 * time.Second)
			w.settle(time.Second, w.live()...)
		})
	}
}

// settledBut allows members who have left and are not removed yet.
func settledBut(live []*client) bool {
	for _, c := range live {
		if c.g.State() != StateMember || string(c.g.Authenticator()) != string(live[0].g.Authenticator()) || !c.sends || c.sendWith != c.g.Epoch() {
			return false
		}
	}
	return true
}
