package mls

import (
	"fmt"
	"testing"
)

// sizes are a large meeting, and the most that a room takes.
var sizes = []int{50, 256}

// benchWorld has a group of n members, some of whom have sent a path, as in a
// group that has been up for a while. Only the first ten have a state.
func benchWorld(b *testing.B, n int) *world {
	w := newWorld(b)
	founder := w.members[0]
	var options CommitOptions
	var invitations []*Invitation
	for range n - 1 {
		p := w.person()
		inv := w.invitation(p)
		options.Proposals = append(options.Proposals, w.add(inv))
		if len(w.members) < 10 {
			w.members, invitations = append(w.members, p), append(invitations, inv)
		}
	}
	c := w.commit(founder, options)
	founder.group = c.Group
	for i, inv := range invitations {
		w.members[i+1].group = must(Join(w.config(), inv, c.Welcome, nil))(b).Group
	}
	for _, p := range w.members {
		w.deliver(p, w.commit(p, CommitOptions{}))
	}
	return w
}

func BenchmarkCommit(b *testing.B) {
	for _, n := range sizes {
		w := benchWorld(b, n)
		inv := w.invitation(w.person())
		for name, options := range map[string]CommitOptions{
			"update":   {},
			"add":      {Proposals: []Proposal{w.add(inv), NewExternalPSK([]byte(linkPSK))}},
			"add+path": {Proposals: []Proposal{w.add(inv), NewExternalPSK([]byte(linkPSK))}, Path: true},
			"remove":   {Proposals: []Proposal{&Remove{Leaf: 20}}},
		} {
			b.Run(fmt.Sprintf("%s/members=%d", name, n), func(b *testing.B) {
				c := w.commit(w.members[7], options)
				b.ReportAllocs()
				for b.Loop() {
					w.commit(w.members[7], options)
				}
				b.ReportMetric(float64(len(c.Message)), "commit-bytes")
				b.ReportMetric(float64(len(c.Welcome)), "welcome-bytes")
			})
		}
	}
}

func BenchmarkJoin(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) {
			w := benchWorld(b, n)
			inv := w.invitation(w.person())
			c := w.commit(w.members[7], CommitOptions{Path: true, Proposals: []Proposal{w.add(inv)}})
			b.ReportAllocs()
			for b.Loop() {
				must(Join(w.config(), inv, c.Welcome, nil))(b)
			}
		})
	}
}

func BenchmarkProcess(b *testing.B) {
	for _, n := range sizes {
		w := benchWorld(b, n)
		inv := w.invitation(w.person())
		for name, options := range map[string]CommitOptions{
			"add":    {Proposals: []Proposal{w.add(inv)}},
			"remove": {Proposals: []Proposal{&Remove{Leaf: 20}}},
		} {
			c := w.commit(w.members[7], options)
			b.Run(fmt.Sprintf("%s/members=%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					must(w.members[8].group.Process(c.Message))(b)
				}
			})
		}
	}
}

func BenchmarkApplication(b *testing.B) {
	w := newWorldWith(b, 2)
	b.ReportAllocs()
	for b.Loop() {
		must(w.members[1].group.Process(sealText(b, w.members[0], "hello")))(b)
	}
}
