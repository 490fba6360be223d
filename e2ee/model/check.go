package model

import (
	"math/rand/v2"
	"slices"
	"strconv"
)

// The names of what can be wrong.
const (
	Forked    = "two members in one epoch with different secrets"
	Removed   = "a removed member knows a later epoch"
	Earlier   = "a member knows an epoch before it joined"
	Outsider  = "somebody without the link knows an epoch"
	Reused    = "a key is used twice with one counter"
	Displaced = "a member throws another out"
	Unsettled = "faults stop, and not everybody is together"
)

// violated names an invariant that does not hold in s, or is empty. Unless only
// is empty, no other invariant is looked at.
func (r Rules) violated(s state, only string) string {
	for _, check := range []func(s *state) string{keepsCounters, keepsMembers, keepsSecrets, agrees, r.settled} {
		if v := check(&s); v != "" && (only == "" || v == only) {
			return v
		}
	}
	return ""
}

func keepsCounters(s *state) string {
	if s.reused {
		return Reused
	}
	return ""
}

func keepsMembers(s *state) string {
	if s.displaced {
		return Displaced
	}
	return ""
}

func keepsSecrets(s *state) string {
	for i := range s.epochs[:s.n] {
		e := &s.epochs[i]
		if e.knows.has(ghost) {
			return Outsider
		}
		extra := e.knows.without(e.members)
		if extra == 0 {
			continue
		}
		for p := e.parent; p != none; p = s.epochs[p].parent {
			if s.epochs[p].members&extra != 0 {
				return Removed
			}
		}
		return Earlier
	}
	return ""
}

// agrees compares members with each other. Under a service that forks the log
// they are apart, and see it in different codes.
func agrees(s *state) string {
	if s.forked {
		return ""
	}
	for i, a := range s.clients {
		for _, b := range s.clients[:i] {
			if a.phase != member || b.phase != member || a.epoch == b.epoch {
				continue
			}
			if x, y := &s.epochs[a.epoch], &s.epochs[b.epoch]; x.group == y.group && x.number == y.number {
				return Forked
			}
		}
	}
	return ""
}

func (r Rules) settled(s *state) string {
	if s.forked || r.settles(*s) {
		return ""
	}
	return Unsettled
}

// settles lets everything happen that happens without faults, in one order, and
// reports whether all clients that want to be in end in one epoch.
func (r Rules) settles(s state) bool {
	for range 12 {
		for c := range clients {
			if s.clients[c].phase == crashed {
				r.restart(&s, c)
			}
			if s.clients[c].phase == member && s.clients[c].own != none {
				r.accept(&s, c)
			}
		}
		for c := range clients {
			for range 3 * maxEpochs {
				me := s.clients[c]
				if me.phase != waiting && me.phase != member {
					break
				}
				if me.cursor >= s.length[s.view(c)] && (me.phase == waiting || me.cursor == me.pos) {
					break
				}
				r.deliver(&s, c)
			}
			if s.clients[c].phase == waiting && !s.asking.has(c) {
				s.ask(c)
			}
		}
		if s.together() {
			return true
		}
		if s.n == maxEpochs {
			return false
		}
		s.act(r)
	}
	return false
}

// act lets the client that is first in rank do what is due.
func (s *state) act(r Rules) {
	for c := range clients {
		if s.clients[c].phase == member && s.clients[c].own == none {
			r.commit(s, c, true)
			return
		}
	}
	for c := range clients {
		if s.clients[c].phase == waiting && s.in() == 0 {
			s.create(c)
			return
		}
	}
}

// together reports whether all who are not absent are members of one epoch, and
// only they.
func (s *state) together() bool {
	wanted, at := set(0), none
	for i, c := range s.clients {
		if c.phase == absent {
			continue
		}
		wanted |= one(i)
		if c.phase != member || (at != none && c.epoch != at) {
			return false
		}
		at = c.epoch
	}
	return at == none || s.epochs[at].members.without(one(ghost)) == wanted
}

// Result is what a search has found.
type Result struct {
	States   int
	Complete bool     // there are no more states within the limits
	Depth    int      // steps to the last state
	Violated string   // or empty
	Trace    []string // how the violation came about
}

// Search visits states in order of distance from the start until budget
// states are seen or one violates an invariant: the one called only, unless
// that is empty. It starts with a room of some members; epochs bounds the
// commits, that which let them in included.
func (r Rules) Search(budget, members, epochs int, only string) Result {
	type node struct {
		state    state
		previous int
		depth    int
		what     string
		who      int
	}
	start := initial(members)
	nodes := []node{{state: start, previous: -1}}
	seen := map[uint64]bool{start.hash(): true}
	trace := func(at int) (out []string) {
		for ; at > 0; at = nodes[at].previous {
			out = append(out, "client "+strconv.Itoa(nodes[at].who)+" "+nodes[at].what)
		}
		slices.Reverse(out)
		return out
	}
	for at := 0; at < len(nodes); at++ {
		if v := r.violated(nodes[at].state, only); v != "" {
			return Result{States: at + 1, Depth: nodes[at].depth, Violated: v, Trace: trace(at)}
		}
		r.steps(nodes[at].state, limits{epochs: int8(epochs), faults: true}, func(next state, what string, who int) {
			h := next.hash()
			if len(nodes) >= budget || seen[h] {
				return
			}
			seen[h] = true
			nodes = append(nodes, node{next, at, nodes[at].depth + 1, what, who})
		})
	}
	return Result{States: len(nodes), Depth: nodes[len(nodes)-1].depth, Complete: len(nodes) < budget}
}

// Walk takes random steps, far beyond where a search in breadth comes.
func (r Rules) Walk(rng *rand.Rand, steps, members, epochs int) Result {
	at, trace := initial(members), []string(nil)
	for n := range steps {
		if v := r.violated(at, ""); v != "" {
			return Result{Depth: n, Violated: v, Trace: trace}
		}
		var all []state
		var names []string
		r.steps(at, limits{epochs: int8(epochs), faults: true}, func(next state, what string, who int) {
			all, names = append(all, next), append(names, "client "+strconv.Itoa(who)+" "+what)
		})
		i := rng.IntN(len(all))
		at, trace = all[i], append(trace, names[i])
	}
	return Result{States: steps, Depth: steps}
}
