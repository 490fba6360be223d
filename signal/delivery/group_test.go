package delivery

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sotto/signal/protocol"
)

var (
	testRoom = protocol.RoomID{1}
	testKey  = bytes.Repeat([]byte{7}, 32)
	start    = time.Unix(1_790_000_000, 0)
)

func connOf(n byte) protocol.ConnID         { return protocol.ConnID{0xc0, n} }
func groupOf(n byte) protocol.GroupInstance { return protocol.GroupInstance{0x90, n} }

func create(from protocol.ConnID, gi protocol.GroupInstance, tag protocol.ConnID) protocol.EnvelopeHeader {
	return protocol.EnvelopeHeader{Type: protocol.EnvelopeCreate, GroupInstance: gi, From: from, To: tag}
}

func commit(from protocol.ConnID, gi protocol.GroupInstance, slot uint64) protocol.EnvelopeHeader {
	return protocol.EnvelopeHeader{Type: protocol.EnvelopeCommit, GroupInstance: gi, From: from, Slot: slot}
}

// groupWith is a room with n connections of which the first has made a group.
func groupWith(t *testing.T, n byte) *Group {
	t.Helper()
	g := New(testRoom, testKey, NewMemory(100))
	for i := range n {
		g.Join(connOf(i))
	}
	token := bytes.Repeat([]byte{9}, protocol.HostTokenSize)
	if _, refused := g.Create(create(connOf(0), groupOf(1), protocol.HostTag(token)), nil); refused != Accepted {
		t.Fatal(refused)
	}
	if !g.IsHost(token) {
		t.Fatal("the creator is not the host")
	}
	return g
}

func TestCreate_firstOneWins(t *testing.T) {
	g := New(testRoom, testKey, NewMemory(100))
	if at := g.Position(); at != nil {
		t.Fatalf("a new room stands at %+v", at)
	}
	if _, refused := g.Create(create(connOf(0), groupOf(1), protocol.ConnID{5}), nil); refused != NotMember {
		t.Errorf("a connection that is not there: %q", refused)
	}
	g.Join(connOf(0))
	g.Join(connOf(1))
	seq, refused := g.Create(create(connOf(1), groupOf(1), protocol.ConnID{5}), nil)
	if seq != 101 || refused != Accepted || *g.Position() != (Position{Group: groupOf(1)}) {
		t.Errorf("seq %d, %q, at %+v", seq, refused, g.Position())
	}
	for _, c := range []byte{0, 1} {
		if _, refused := g.Create(create(connOf(c), groupOf(2), protocol.ConnID{6}), nil); refused != GroupExists {
			t.Errorf("a second create: %q", refused)
		}
	}
	if g.IsMember(connOf(0)) || !g.IsMember(connOf(1)) {
		t.Error("the wrong member connection")
	}
}

func TestCommit_refuses(t *testing.T) {
	for name, c := range map[string]struct {
		header protocol.EnvelopeHeader
		want   Refusal
	}{
		"good":             {commit(connOf(0), groupOf(1), 0), Accepted},
		"slot before":      {commit(connOf(0), groupOf(1), 1<<64-1), StaleSlot},
		"slot after":       {commit(connOf(0), groupOf(1), 1), StaleSlot},
		"slot 2^63":        {commit(connOf(0), groupOf(1), 1<<63), StaleSlot},
		"another group":    {commit(connOf(0), groupOf(2), 0), OtherGroup},
		"no member":        {commit(connOf(1), groupOf(1), 0), NotMember},
		"not in the room":  {commit(connOf(9), groupOf(1), 0), NotMember},
		"no member, stale": {commit(connOf(1), groupOf(1), 7), NotMember},
	} {
		g := groupWith(t, 2)
		before := *g.Position()
		_, refused := g.Commit(start, c.header, []byte("commit"), nil, nil)
		if refused != c.want {
			t.Errorf("%s: %q, want %q", name, refused, c.want)
		}
		if moved := *g.Position() != before; moved != (c.want == Accepted) {
			t.Errorf("%s: stands at %+v", name, g.Position())
		}
	}
	g := New(testRoom, testKey, NewMemory(0))
	g.Join(connOf(0))
	if _, refused := g.Commit(start, commit(connOf(0), groupOf(1), 0), nil, nil, nil); refused != NoGroup {
		t.Errorf("without a group: %q", refused)
	}
}

// TestCommit_bundleAdmits: those of the list that are there become member
// connections, with the commit and not without it.
func TestCommit_bundleAdmits(t *testing.T) {
	g := groupWith(t, 4)
	list := []protocol.ConnID{connOf(1), connOf(2), connOf(77)}
	if _, refused := g.Commit(start, commit(connOf(0), groupOf(1), 5), []byte("c"), []byte("w"), list); refused != StaleSlot {
		t.Fatal(refused)
	}
	if g.IsMember(connOf(1)) || g.members != 1 {
		t.Error("a refused commit admitted somebody")
	}
	seq, refused := g.Commit(start, commit(connOf(0), groupOf(1), 0), []byte("c"), []byte("w"), list)
	if seq != 102 || refused != Accepted || g.members != 3 {
		t.Errorf("seq %d, %q, %d members", seq, refused, g.members)
	}
	if g.IsMember(connOf(3)) || g.IsMember(connOf(77)) {
		t.Error("a member connection that was not on the list, or is not there")
	}
	if seq, _ := g.App(app(connOf(0)), nil); seq != 104 {
		t.Errorf("next number %d: the welcome has the one between", seq)
	}
	g.Join(connOf(77)) // comes later: the welcome has gone
	if g.IsMember(connOf(77)) {
		t.Error("a connection that came after its welcome")
	}
	if _, refused := g.Commit(start, commit(connOf(2), groupOf(1), 1), nil, nil, nil); refused != Accepted {
		t.Errorf("who was admitted commits: %q", refused)
	}
}

func TestLeave_lastMemberTakesTheGroup(t *testing.T) {
	g := groupWith(t, 3)
	g.Commit(start, commit(connOf(0), groupOf(1), 0), nil, []byte("w"), []protocol.ConnID{connOf(1)})
	if g.Leave(connOf(0)) || g.Leave(connOf(2)) || g.Leave(connOf(2)) || g.Position() == nil {
		t.Fatal("forgotten too early")
	}
	if !g.Leave(connOf(1)) || g.Position() != nil {
		t.Error("not forgotten")
	}
	if g.IsHost(bytes.Repeat([]byte{9}, protocol.HostTokenSize)) {
		t.Error("the host of a group that is no more")
	}
	g.Join(connOf(5))
	if _, refused := g.Create(create(connOf(5), groupOf(2), protocol.ConnID{1}), nil); refused != Accepted {
		t.Errorf("a new group: %q", refused)
	}
}

// TestKeyPackage_ofEveryMember: when nobody is left that could add the others,
// the group is forgotten, so that somebody makes a new one.
func TestKeyPackage_ofEveryMember(t *testing.T) {
	lose := func(g *Group, n byte) {
		t.Helper()
		h := protocol.EnvelopeHeader{Type: protocol.EnvelopeKP, GroupInstance: groupOf(1), From: connOf(n)}
		if _, refused := g.KeyPackage(start, h, nil); refused != Accepted {
			t.Fatal(refused)
		}
	}
	three := func() *Group {
		g := groupWith(t, 4)
		g.Commit(start, commit(connOf(0), groupOf(1), 0), nil, []byte("w"), []protocol.ConnID{connOf(1), connOf(2)})
		return g
	}
	g := three()
	lose(g, 3) // no member connection
	lose(g, 0)
	lose(g, 0)
	lose(g, 1)
	if g.Position() == nil {
		t.Fatal("forgotten while one is left")
	}
	lose(g, 2)
	if g.Position() != nil || g.members != 0 || g.lost != 0 || g.IsMember(connOf(0)) {
		t.Errorf("stands at %+v with %d member connections", g.Position(), g.members)
	}
	if _, refused := g.Create(create(connOf(3), groupOf(2), protocol.ConnID{1}), nil); refused != Accepted {
		t.Errorf("a new group: %q", refused)
	}

	// Who commits, or is added again, has the group.
	g = three()
	lose(g, 0)
	lose(g, 1)
	g.Commit(start, commit(connOf(1), groupOf(1), 1), nil, []byte("w"), []protocol.ConnID{connOf(0)})
	lose(g, 2)
	if g.lost != 1 || g.members != 3 || g.Position() == nil {
		t.Errorf("%d of %d have lost it", g.lost, g.members)
	}

	// The one that has not lost it leaves.
	g = three()
	lose(g, 0)
	lose(g, 1)
	if !g.Leave(connOf(2)) || g.Position() != nil {
		t.Error("kept for those who have lost it")
	}
	if g.Leave(connOf(0)) {
		t.Error("forgotten twice")
	}
}

func TestKeyPackage_rate(t *testing.T) {
	g := groupWith(t, 2)
	h := protocol.EnvelopeHeader{Type: protocol.EnvelopeKP, GroupInstance: groupOf(1), From: connOf(1)}
	count := func(now time.Time, want Refusal) (n int) {
		for range 10 {
			if _, refused := g.KeyPackage(now, h, nil); refused == Accepted {
				n++
			} else if refused != want {
				t.Errorf("refused as %q", refused)
			}
		}
		return n
	}
	if n := count(start, KeyRate); n != keyPackageBurst {
		t.Errorf("%d at once", n)
	}
	if n := count(start.Add(2*time.Second), KeyRate); n != 2 {
		t.Errorf("%d after two seconds", n)
	}
	h.GroupInstance = groupOf(3)
	if _, refused := g.KeyPackage(start.Add(time.Minute), h, nil); refused != OtherGroup {
		t.Errorf("another group: %q", refused)
	}
}

func TestCommit_rate(t *testing.T) {
	g := groupWith(t, 1)
	accepted := 0
	for i := range 100 {
		now := start.Add(time.Duration(i) * 100 * time.Millisecond) // ten seconds
		if _, refused := g.Commit(now, commit(connOf(0), groupOf(1), uint64(accepted)), nil, nil, nil); refused == Accepted {
			accepted++
		} else if refused != CommitRate {
			t.Fatalf("refused as %q", refused)
		}
	}
	if want := commitBurst + 10*commitRate - 1; accepted != want {
		t.Errorf("%d commits in ten seconds, want %d", accepted, want)
	}
}

// TestGroup_anyInterleaving lets clients with stale views send at random, and
// checks what everybody sees: at most one commit for a slot, slots without gaps,
// numbers that rise, commits by member connections alone, one group at a time.
func TestGroup_anyInterleaving(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		const people = 6
		g := New(testRoom, testKey, NewMemory(0))
		var there, member, lost [people]bool
		var seen [people]Position // what each believes
		type accepted struct {
			group protocol.GroupInstance
			slot  uint64
		}
		slots := map[accepted]bool{}
		groups := map[protocol.GroupInstance]bool{}
		var last uint64
		now := start
		count := func(seq uint64, n int) {
			if seq <= last {
				t.Fatalf("seed %d: number %d after %d", seed, seq, last)
			}
			last = seq + uint64(n) - 1
		}
		for range 300 {
			now = now.Add(time.Duration(random.IntN(700)) * time.Millisecond)
			i := random.IntN(people)
			id := connOf(byte(i))
			if at := g.Position(); at != nil && random.IntN(3) > 0 {
				seen[i] = *at // the others' views are old
			}
			switch random.IntN(8) {
			case 0:
				if !there[i] {
					g.Join(id)
					there[i], seen[i] = true, Position{}
				}
			case 1:
				if there[i] && random.IntN(4) == 0 {
					was := member[i]
					there[i], member[i], lost[i] = false, false, false
					dead := was && member == lost
					if forgotten := g.Leave(id); dead != forgotten || forgotten != (was && g.Position() == nil) {
						t.Fatalf("seed %d: forgotten %v with members %v, lost %v", seed, forgotten, member, lost)
					}
					if dead {
						member, lost = [people]bool{}, [people]bool{}
					}
				}
			case 2:
				h := create(id, groupOf(byte(random.IntN(250)+1)), protocol.ConnID{1})
				h.GroupInstance[8] = byte(random.IntN(256)) // fresh
				h.GroupInstance[9] = byte(random.IntN(256))
				free := g.Position() == nil
				seq, refused := g.Create(h, nil)
				if (refused == Accepted) != (free && there[i]) {
					t.Fatalf("seed %d: create %q", seed, refused)
				}
				if refused == Accepted {
					if groups[h.GroupInstance] {
						continue // drawn twice: no group of the run can be told from it
					}
					groups[h.GroupInstance], member[i] = true, true
					count(seq, 1)
				}
			case 3:
				at := g.Position()
				seq, refused := g.KeyPackage(now, protocol.EnvelopeHeader{GroupInstance: seen[i].Group, From: id}, nil)
				if refused != Accepted {
					continue
				}
				if at == nil || at.Group != seen[i].Group || !there[i] {
					t.Fatalf("seed %d: key package for %+v at %+v", seed, seen[i], at)
				}
				count(seq, 1)
				if lost[i] = member[i]; member == lost {
					member, lost = [people]bool{}, [people]bool{}
				}
				if (g.Position() == nil) != (member == [people]bool{}) {
					t.Fatalf("seed %d: stands at %+v with members %v", seed, g.Position(), member)
				}
			default:
				var list []protocol.ConnID
				var welcome []byte
				for j := range people {
					if j != i && random.IntN(3) == 0 {
						list = append(list, connOf(byte(j)))
						welcome = []byte("w")
					}
				}
				at := g.Position()
				seq, refused := g.Commit(now, commit(id, seen[i].Group, seen[i].Slot), []byte("c"), welcome, list)
				if refused != Accepted {
					if got := g.Position(); !samePosition(got, at) {
						t.Fatalf("seed %d: a refused commit moved %+v to %+v", seed, at, got)
					}
					continue
				}
				key := accepted{seen[i].Group, seen[i].Slot}
				if slots[key] || *at != seen[i] || !member[i] || !there[i] {
					t.Fatalf("seed %d: commit for %+v accepted at %+v, member %v", seed, seen[i], at, member[i])
				}
				slots[key] = true
				if got := *g.Position(); got.Group != at.Group || got.Slot != at.Slot+1 {
					t.Fatalf("seed %d: from %+v to %+v", seed, at, got)
				}
				n := 1
				if welcome != nil {
					n = 2
				}
				count(seq, n)
				lost[i] = false
				for j := range people {
					if slices.Contains(list, connOf(byte(j))) && there[j] {
						member[j], lost[j] = true, false
					}
				}
			}
			for j := range people {
				if g.IsMember(connOf(byte(j))) != member[j] {
					t.Fatalf("seed %d: %d is a member connection: %v, want %v", seed, j, !member[j], member[j])
				}
			}
		}
	}
}

// failing is a log that takes nothing, like one whose disk is away.
type failing struct{ Memory }

func app(from protocol.ConnID) protocol.EnvelopeHeader {
	return protocol.EnvelopeHeader{Type: protocol.EnvelopeApp, From: from}
}

// Only member connections say something, and after a restart everybody until it
// is known who they are.
func TestApp_byMemberConnections(t *testing.T) {
	says := func(g *Group, n byte, want Refusal) {
		t.Helper()
		if _, refused := g.App(app(connOf(n)), nil); refused != want {
			t.Errorf("%d: %q, want %q", n, refused, want)
		}
	}
	g := groupWith(t, 3)
	says(g, 0, Accepted)
	says(g, 1, NotMember)
	says(g, 77, NotMember) // not in the room
	g.Commit(start, commit(connOf(0), groupOf(1), 0), []byte("c"), []byte("w"), []protocol.ConnID{connOf(1)})
	says(g, 1, Accepted)
	says(g, 2, NotMember)
	ticket, _ := g.Ticket(connOf(1))
	g.Leave(connOf(1))
	says(g, 1, NotMember)

	restarted := New(testRoom, testKey, NewMemory(100))
	restarted.Join(connOf(1))
	restarted.Join(connOf(2))
	says(restarted, 1, NotMember) // a room without a group
	restarted.Recover()
	if !restarted.Claim(connOf(1), ticket) {
		t.Fatal("the ticket is refused")
	}
	says(restarted, 1, Accepted)
	says(restarted, 2, Accepted)
	restarted.Settle()
	says(restarted, 1, Accepted)
	says(restarted, 2, NotMember)
}

var errAway = errors.New("away")

func (*failing) Append([]byte) (uint64, error) { return 0, errAway }

func (*failing) Move(_, _ *Position, _ ...[]byte) (uint64, error) { return 0, errAway }

func TestGroup_logFails(t *testing.T) {
	g := New(testRoom, testKey, &failing{Memory{at: &Position{Group: groupOf(1)}}})
	g.Join(connOf(0))
	g.admit(g.conns[connOf(0)])
	h := commit(connOf(0), groupOf(1), 0)
	if _, refused := g.Commit(start, h, nil, nil, nil); refused != LogFailed {
		t.Errorf("commit: %q", refused)
	}
	if _, refused := g.KeyPackage(start, h, nil); refused != LogFailed {
		t.Errorf("key package: %q", refused)
	}
	if _, refused := g.App(app(connOf(0)), nil); refused != LogFailed {
		t.Errorf("app: %q", refused)
	}
}
