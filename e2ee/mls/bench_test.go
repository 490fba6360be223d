package mls

import (
	"fmt"
	"testing"
)

// benchWorld has n members, half of whom have sent a path, as in a group that
// has been up for a while.
func benchWorld(b *testing.B, n int) *world {
	w := newWorldWith(b, n)
	for i := 0; i < n; i += 2 {
		w.deliver(w.members[i], w.commit(w.members[i], CommitOptions{}))
	}
	return w
}

func BenchmarkCommitAdd50(b *testing.B) {
	w := benchWorld(b, 50)
	for _, path := range []bool{false, true} {
		b.Run(fmt.Sprintf("path=%v", path), func(b *testing.B) {
			b.ReportAllocs()
			inv := w.invitation(w.person())
			for b.Loop() {
				w.commit(w.members[7], CommitOptions{Path: path, Proposals: []Proposal{&Add{inv.KeyPackage}, NewExternalPSK([]byte(linkPSK))}})
			}
		})
	}
}

func BenchmarkJoin50(b *testing.B) {
	w := benchWorld(b, 50)
	inv := w.invitation(w.person())
	c := w.commit(w.members[7], CommitOptions{Path: true, Proposals: []Proposal{w.add(inv)}})
	b.ReportMetric(float64(len(c.Welcome)), "welcome-bytes")
	b.ReportAllocs()
	for b.Loop() {
		must(Join(w.config(), inv, c.Welcome, nil))(b)
	}
}

func BenchmarkProcess50(b *testing.B) {
	w := benchWorld(b, 50)
	inv := w.invitation(w.person())
	for name, c := range map[string]*Committed{
		"add":    w.commit(w.members[7], CommitOptions{Proposals: []Proposal{w.add(inv)}}),
		"remove": w.commit(w.members[7], CommitOptions{Proposals: []Proposal{&Remove{Leaf: 20}}}),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportMetric(float64(len(c.Message)), "commit-bytes")
			b.ReportAllocs()
			for b.Loop() {
				must(w.members[8].group.Process(c.Message))(b)
			}
		})
	}
}

func BenchmarkApplication(b *testing.B) {
	w := newWorldWith(b, 2)
	b.ReportAllocs()
	for b.Loop() {
		must(w.members[1].group.Process(sealText(b, w.members[0], "hello")))(b)
	}
}
