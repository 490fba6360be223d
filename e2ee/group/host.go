package group

import (
	"slices"
	"time"

	"sotto/e2ee/link"
)

// wishes is what the host wants and no commit has done yet.
type wishes struct {
	kicks  [][32]byte // keys: who comes back under another connection is meant as well
	policy *Policy
	rotate bool
}

func (w *wishes) any() bool { return len(w.kicks) > 0 || w.policy != nil || w.rotate }

// maxKicks bounds the removals that wait for a commit.
const maxKicks = 32

// Admit answers a knock with yes: this client adds the newcomer at once. The
// error is [ErrNotMember], [ErrUnknown], or [ErrNotHost] in a locked room.
func (g *Group) Admit(now time.Time, conn link.ConnID, out *Actions) error {
	if g.State() != StateMember {
		return ErrNotMember
	}
	if g.cur.policy.Locked && !g.IsHost() {
		return ErrNotHost
	}
	for _, n := range g.newcomers {
		if n.conn == conn {
			n.admitted = true
			g.run(now, out)
			return nil
		}
	}
	return ErrUnknown
}

// Refuse answers a knock with no: this client shows it no more. The error is
// [ErrUnknown].
func (g *Group) Refuse(now time.Time, conn link.ConnID, out *Actions) error {
	if !g.roster[conn] || len(g.refused) >= maxRoster {
		return ErrUnknown
	}
	g.refused[conn] = true
	g.dropNewcomer(conn)
	g.run(now, out)
	return nil
}

// Kick removes a member and replaces the link, so that it cannot come back. The
// error is [ErrNotHost], [ErrUnknown] or [ErrFull].
func (g *Group) Kick(now time.Time, conn link.ConnID, out *Actions) error {
	if err := g.hostOnly(); err != nil {
		return err
	}
	p := g.cur.byConn(conn)
	if p == nil || conn == g.cfg.Conn {
		return ErrUnknown
	}
	if slices.Contains(g.wishes.kicks, p.Key) {
		return nil
	}
	if len(g.wishes.kicks) >= maxKicks {
		return ErrFull
	}
	g.wishes.kicks = append(g.wishes.kicks, p.Key)
	g.run(now, out)
	return nil
}

// SetPolicy changes the policy. The error is [ErrNotMember] or [ErrNotHost].
func (g *Group) SetPolicy(now time.Time, p Policy, out *Actions) error {
	if err := g.hostOnly(); err != nil {
		return err
	}
	g.wishes.policy = &p
	if p == g.cur.policy.Policy {
		g.wishes.policy = nil
	}
	g.run(now, out)
	return nil
}

// RotateLink replaces the link. The error is [ErrNotMember] or [ErrNotHost].
func (g *Group) RotateLink(now time.Time, out *Actions) error {
	if err := g.hostOnly(); err != nil {
		return err
	}
	g.wishes.rotate = true
	g.run(now, out)
	return nil
}

func (g *Group) hostOnly() error {
	if g.State() != StateMember {
		return ErrNotMember
	}
	if !g.IsHost() {
		return ErrNotHost
	}
	return nil
}

// hand reports whether a newcomer must be let in by a person's hand: everybody
// but those who are members already and come back.
func (g *Group) hand(n *newcomer) bool {
	return (g.cur.policy.Locked || g.cur.policy.Knock) && g.cur.byKey(n.key[:]) == nil
}

// tellKnocks shows who waits for this person's hand.
func (g *Group) tellKnocks(out *Actions) {
	var list []Knock
	if g.State() == StateMember && (!g.cur.policy.Locked || g.IsHost()) {
		for _, n := range g.newcomers {
			if g.hand(n) && !n.admitted && len(list) < maxKnocks {
				list = append(list, Knock{Conn: n.conn, Name: n.name, Key: n.key})
			}
		}
	}
	if !slices.Equal(list, g.knocks) {
		g.knocks = list
		out.Knocks, out.KnocksChanged = slices.Clone(list), true
	}
}
