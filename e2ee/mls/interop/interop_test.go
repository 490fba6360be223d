// Package interop lets package mls share groups with ts-mls 1.6.4, an
// implementation that knows nothing of it. The test drives a Node process
// (peer.mjs); its npm packages are pinned here and used nowhere else.
//
// What ts-mls cannot do is left out of the schedules:
//   - It refuses to join trees whose unmerged leaves differ from node to node
//     (see refusesTree). Such a commit is dropped, everybody who is unmerged
//     commits, and the joiner is added again, alone. Members of package mls join
//     any tree.
//   - It does not look for pre-shared keys when a commit comes in a
//     PrivateMessage: commits with a PSK are PublicMessages.
//   - It derives the commit secret from a path secret of the root even when the
//     root is not in the filtered direct path of the committer, against RFC 9420
//     12.4.1: the left half of the tree is never emptied.
//   - It does not see that it was removed when a member that is added in the same
//     commit gets its leaf: then it is not shown the commit.
//   - It sends a commit with nothing but GroupContextExtensions without an update
//     path, against RFC 9420 17.4: members of package mls change extensions.
package interop

import (
	"bytes"
	"flag"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"sotto/e2ee/mls"
)

var (
	seed       = flag.Uint64("seed", 9420, "of the random schedules")
	operations = flag.Int("operations", 200, "operations in each random schedule")
)

// mostMembers bounds the group: every member of the other implementation takes
// some 10 ms a commit.
const mostMembers = 9

// world is a group with members of both implementations, all up to date.
type world struct {
	t        *testing.T
	rng      *rand.Rand
	peer     *peer
	psks     secrets
	members  []member
	unmerged map[string]bool // added, and no path of their own since
	late     []late
	names    int
	counts   map[string]int
}

// late is a message that was sent in an epoch and is delivered in the next.
type late struct {
	from    string
	to      []string
	message []byte
	data    []byte
}

func newWorld(t *testing.T, p *peer, seed uint64) *world {
	return &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), peer: p,
		psks: secrets{}, unmerged: map[string]bool{}, counts: map[string]int{},
	}
}

func (w *world) random(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(w.rng.Uint32())
	}
	return b
}

func (w *world) chance(percent int) bool { return w.rng.IntN(100) < percent }

func (w *world) newMember(theirSide bool) member {
	w.names++
	if theirSide {
		return &theirs{title: fmt.Sprintf("ts-%d", w.names), peer: w.peer}
	}
	return newOurs(w.t, fmt.Sprintf("go-%d", w.names), w.psks)
}

// newPSK makes a pre-shared key that everybody knows.
func (w *world) newPSK() []byte {
	id, secret := w.random(1+w.rng.IntN(40)), w.random(32)
	w.psks[string(id)] = secret
	w.peer.do(request{Op: "psk", ID: id, Secret: secret})
	return id
}

// any picks a member.
func (w *world) any() member { return w.members[w.rng.IntN(len(w.members))] }

// kind picks a member of one implementation; nil if there is none.
func kind[M member](w *world) (m M, ok bool) {
	var all []M
	for _, x := range w.members {
		if x, ok := x.(M); ok {
			all = append(all, x)
		}
	}
	if len(all) == 0 {
		return m, false
	}
	return all[w.rng.IntN(len(all))], true
}

// leaf finds a member in the tree.
func (w *world) leaf(m member) uint32 {
	w.t.Helper()
	observer, _ := kind[*ours](w)
	for l, leaf := range observer.group.Tree().Leaves() {
		if string(leaf.Credential.Identity) == m.name() {
			return uint32(l)
		}
	}
	w.t.Fatalf("%s is not in the tree", m.name())
	return 0
}

// victims picks members other than from, but leaves one of ours, and one in
// the left half of the tree.
func (w *world) victims(from member, n int) (out []member) {
	left := 0
	for _, m := range w.members {
		if _, ok := m.(*ours); ok {
			left++
		}
	}
	for _, i := range w.rng.Perm(len(w.members)) {
		m := w.members[i]
		_, our := m.(*ours)
		if len(out) == n || m == from || (our && left == 1) || w.leftIsEmpty(append(out, m)) {
			continue
		}
		if our {
			left--
		}
		out = append(out, m)
	}
	return out
}

// leftIsEmpty reports whether nobody is left in the left half of the tree
// without the given members.
func (w *world) leftIsEmpty(without []member) bool {
	var leaves []uint32
	for _, m := range w.members {
		if !slices.Contains(without, m) {
			leaves = append(leaves, w.leaf(m))
		}
	}
	last := slices.Max(leaves)
	return last > 0 && slices.Min(leaves) >= 1<<(bits.Len32(last)-1)
}

// try lets a member commit and the others follow. It reports false, and
// nothing has happened, when ts-mls refuses the tree.
func (w *world) try(from member, p plan, joiners, removed []member) bool {
	w.t.Helper()
	c := from.commit(p)
	for _, j := range slices.SortedFunc(slices.Values(joiners), theirsFirst) {
		err := j.join(c.welcome)
		if refusesTree(err) {
			w.counts["refused trees"]++
			return false
		}
		if err != nil {
			w.t.Fatalf("%s joins by a commit of %s: %v", j.name(), from.name(), err)
		}
	}
	for _, m := range w.members {
		if m == from {
			m.accept()
			continue
		}
		if _, ok := m.(*theirs); ok && slices.Contains(removed, m) && len(joiners) > 0 {
			continue // ts-mls looks whether its leaf is blank, but a joiner may have it
		}
		if got := m.process(c.message); got.removed != slices.Contains(removed, m) {
			w.t.Fatalf("%s follows %s: removed %v", m.name(), from.name(), got.removed)
		}
	}
	w.members = slices.DeleteFunc(w.members, func(m member) bool { return slices.Contains(removed, m) })
	w.members = append(w.members, joiners...)
	if path := len(p.removes) > 0 || p.policy != nil || p.path || (len(p.adds) == 0 && p.psk == nil); path {
		delete(w.unmerged, from.name())
	}
	for _, m := range removed {
		delete(w.unmerged, m.name())
	}
	for _, j := range joiners {
		w.unmerged[j.name()] = true
	}
	w.counts["commits"]++
	w.compare()
	w.deliverLate()
	return true
}

func theirsFirst(a, b member) int {
	rank := func(m member) int {
		if _, ok := m.(*theirs); ok {
			return 0
		}
		return 1
	}
	return rank(a) - rank(b)
}

// commit is try, with a way around the trees that ts-mls refuses.
func (w *world) commit(from member, p plan, joiners, removed []member) {
	w.t.Helper()
	if w.try(from, p, joiners, removed) {
		return
	}
	if len(removed) > 0 || p.policy != nil {
		rest := p
		rest.adds, rest.psk = nil, nil
		if !w.try(from, rest, nil, removed) {
			w.t.Fatal("a commit without joiners was refused")
		}
	}
	for i, j := range joiners {
		for _, m := range slices.Clone(w.members) {
			if w.unmerged[m.name()] && !w.try(m, plan{}, nil, nil) {
				w.t.Fatal("a commit without joiners was refused")
			}
		}
		if !w.try(from, plan{adds: p.adds[i : i+1], psk: p.psk}, []member{j}, nil) {
			w.t.Fatal("ts-mls refuses a tree without other unmerged leaves")
		}
	}
}

// compare checks that all members are in one epoch with the same secrets.
func (w *world) compare() {
	w.t.Helper()
	label, context, length := fmt.Sprintf("label %d", w.rng.IntN(1000)), w.random(w.rng.IntN(80)), 1+w.rng.IntN(100)
	first := w.members[0].epoch(label, context, length)
	if len(first.Exported) != length || len(first.Authenticator) != 32 {
		w.t.Fatalf("%s: %+v", w.members[0].name(), first)
	}
	for _, m := range w.members[1:] {
		if got := m.epoch(label, context, length); !reflect.DeepEqual(got, first) {
			w.t.Fatalf("%s and %s differ:\n%+v\n%+v", w.members[0].name(), m.name(), first, got)
		}
	}
}

// speak sends messages, which reach each member in an order of its own.
func (w *world) speak() {
	w.t.Helper()
	from := w.any()
	texts, messages := make([][]byte, 1+w.rng.IntN(4)), [][]byte{}
	for i := range texts {
		texts[i] = w.random(1 + w.rng.IntN(300))
		messages = append(messages, from.seal(texts[i]))
	}
	for _, m := range w.members {
		if m == from {
			continue
		}
		for _, i := range w.rng.Perm(len(texts)) {
			if got := m.process(messages[i]).data; !bytes.Equal(got, texts[i]) {
				w.t.Fatalf("%s reads %x, %s wrote %x", m.name(), got, from.name(), texts[i])
			}
			w.counts["messages"]++
		}
	}
}

// speakLate sends a message that is delivered after the next commit.
func (w *world) speakLate() {
	from := w.any()
	l := late{from: from.name(), data: w.random(50)}
	l.message = from.seal(l.data)
	for _, m := range w.members {
		if m != from {
			l.to = append(l.to, m.name())
		}
	}
	w.late = append(w.late, l)
}

func (w *world) deliverLate() {
	w.t.Helper()
	for _, l := range w.late {
		for _, m := range w.members {
			if !slices.Contains(l.to, m.name()) {
				continue
			}
			if got := m.process(l.message).data; !bytes.Equal(got, l.data) {
				w.t.Fatalf("%s reads late %x, %s wrote %x", m.name(), got, l.from, l.data)
			}
			w.counts["late messages"]++
		}
	}
	w.late = nil
}

// step makes one random operation.
func (w *world) step() {
	w.t.Helper()
	from := w.any()
	_, our := from.(*ours)
	switch n := w.rng.IntN(100); {
	case n < 30 || len(w.members) < 3:
		w.add(from, nil)
	case n < 45:
		w.remove(from)
	case n < 55:
		w.add(from, w.victims(from, 1))
	case n < 70:
		w.commit(from, plan{private: w.chance(50)}, nil, nil)
	case n < 75 && our:
		w.commit(from, plan{policy: w.random(4), private: w.chance(50)}, nil, nil)
	case n < 80:
		w.propose(from)
	case n < 85: // two commits at once: the slower one is dropped
		if loser := w.any(); loser != from {
			loser.commit(plan{})
		}
		w.commit(from, plan{}, nil, nil)
	case n < 90:
		w.speakLate()
	default:
		w.speak()
	}
}

// add adds one or two members with a pre-shared key, and removes others in the
// same commit.
func (w *world) add(from member, removed []member) {
	if len(w.members) >= mostMembers {
		w.remove(from)
		return
	}
	_, our := from.(*ours)
	p := plan{psk: w.newPSK(), path: our && w.chance(30)}
	var joiners []member
	for range 1 + w.rng.IntN(2) {
		j := w.newMember(w.chance(50))
		joiners = append(joiners, j)
		p.adds = append(p.adds, j.invite())
	}
	for _, m := range removed {
		p.removes = append(p.removes, w.leaf(m))
	}
	w.commit(from, p, joiners, removed)
}

func (w *world) remove(from member) {
	removed := w.victims(from, 1+w.rng.IntN(2))
	if len(removed) == 0 {
		return
	}
	p := plan{private: w.chance(50)}
	for _, m := range removed {
		p.removes = append(p.removes, w.leaf(m))
	}
	w.commit(from, p, nil, removed)
}

// propose lets a member of the other implementation send a Remove ahead, which
// somebody else commits by reference.
func (w *world) propose(by member) {
	proposer, ok := kind[*theirs](w)
	if !ok || member(proposer) == by {
		return
	}
	removed := w.victims(by, 1)
	if len(removed) == 0 || removed[0] == member(proposer) {
		return
	}
	p := plan{removes: []uint32{w.leaf(removed[0])}, private: w.chance(50)}
	message := proposer.propose(p)
	for _, m := range w.members {
		if m != member(proposer) {
			m.process(message)
		}
	}
	// The plan of the commit is empty: the proposal is pending everywhere.
	w.commit(by, plan{private: w.chance(50)}, nil, removed)
	w.counts["by reference"]++
}

// TestRandomSchedules makes groups on either side and lets members of both
// sides come, go, speak and renew their keys in random order.
func TestRandomSchedules(t *testing.T) {
	for i, theirSide := range []bool{false, true} {
		t.Run(fmt.Sprintf("theirs=%v", theirSide), func(t *testing.T) {
			t.Parallel()
			p := start(t)
			t.Logf("-seed %d -operations %d", *seed, *operations)
			w := newWorld(t, p, *seed+uint64(i))
			founder, other := w.newMember(theirSide), w.newMember(!theirSide)
			founder.invite()
			founder.create(w.random(48), w.random(4))
			w.members = []member{founder}
			if !w.try(founder, plan{adds: [][]byte{other.invite()}, psk: w.newPSK()}, []member{other}, nil) {
				t.Fatal("a tree of two was refused")
			}
			for range *operations {
				w.step()
			}
			t.Logf("founded by %s: %v, %d members at the end", founder.name(), w.counts, len(w.members))
		})
	}
}

// Who is not told cannot follow: a wrong pre-shared key, a message of another
// epoch, a message twice. The other implementation refuses what this one makes,
// and the other way round.
func TestRefusals(t *testing.T) {
	p := start(t)
	w := newWorld(t, p, *seed)
	a, b := newOurs(t, "go", w.psks), &theirs{title: "ts", peer: p}
	a.invite()
	a.create([]byte("group"), nil)
	w.members = []member{a}
	if !w.try(a, plan{adds: [][]byte{b.invite()}, psk: w.newPSK()}, []member{b}, nil) {
		t.Fatal("a tree of two was refused")
	}

	message := a.seal([]byte("once"))
	b.process(message)
	if _, err := p.try(request{Op: "process", Name: "ts", Message: message}); err == nil {
		t.Error("ts-mls took a message twice")
	}
	message = b.seal([]byte("once"))
	a.process(message)
	if _, err := a.group.Process(message); err == nil {
		t.Error("a message was taken twice")
	}

	id := w.newPSK()
	w.psks[string(id)] = []byte("something else")
	c := a.commit(plan{psk: id})
	if _, err := p.try(request{Op: "process", Name: "ts", Message: c.message}); err == nil {
		t.Error("ts-mls followed a commit with another secret")
	}
	c = b.commit(plan{psk: id})
	if _, err := a.group.Process(c.message); err == nil {
		t.Error("followed a commit with another secret")
	}

	old := b.commit(plan{})
	w.commit(a, plan{}, nil, nil)
	if _, err := a.group.Process(old.message); err == nil {
		t.Error("followed a commit of the epoch before")
	}
	stale := a.before
	if _, err := stale.Commit(mls.CommitOptions{}); err == nil {
		t.Error("a retired epoch commits")
	}
	w.compare()
}
