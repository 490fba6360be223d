package group

import (
	"bytes"
	"slices"
	"time"

	"sotto/e2ee/link"
	"sotto/e2ee/mls"
)

const (
	// sendDelay is how long a sender waits before it uses a new epoch, so that
	// receivers have its keys by then. Those who do not hold the frames until
	// they have; a newcomer sees nothing before.
	sendDelay = 60 * time.Millisecond
	// oldAfterAdd and oldAfterRemove are how long an old epoch is still
	// accepted. After a removal only frames and messages under way count.
	oldAfterAdd    = 10 * time.Second
	oldAfterRemove = 2 * time.Second
	// stuckAfter is how long who fell out waits to be added again. That others
	// have to do, which takes a second where there are any: members who have all
	// fallen out must all leave, so that the service forgets their group.
	stuckAfter = 12 * time.Second
)

// epoch is one state of the group.
type epoch struct {
	group  *mls.Group
	number uint64
	own    uint8
	people []Person // by leaf
	policy policy
	began  time.Time
	until  time.Time // when an old epoch is forgotten
}

// switching is when to begin to send with an epoch.
type switching struct {
	epoch uint64
	at    time.Time
}

// newEpoch reads who is in the group.
func newEpoch(now time.Time, group *mls.Group) (*epoch, error) {
	e := &epoch{group: group, number: group.Epoch(), own: uint8(group.Own()), began: now}
	var err error
	if e.policy, err = policyOf(group.Extensions()); err != nil {
		return nil, err
	}
	for l, leaf := range group.Tree().Leaves() {
		c, err := leafCredential(leaf)
		if err != nil {
			return nil, err
		}
		if l >= maxMembers || e.byConn(c.Conn) != nil {
			return nil, errSame
		}
		e.people = append(e.people, Person{
			Conn: c.Conn, Leaf: uint8(l), Name: c.Name,
			Host: isHost(group.ID(), leaf.SignatureKey), Key: [32]byte(leaf.SignatureKey), serial: c.Serial,
		})
	}
	return e, nil
}

func (e *epoch) byConn(conn link.ConnID) *Person {
	for i := range e.people {
		if e.people[i].Conn == conn {
			return &e.people[i]
		}
	}
	return nil
}

func (e *epoch) byKey(key []byte) *Person {
	for i := range e.people {
		if bytes.Equal(e.people[i].Key[:], key) {
			return &e.people[i]
		}
	}
	return nil
}

func (e *epoch) byLeaf(l mls.LeafIndex) *Person {
	for i := range e.people {
		if mls.LeafIndex(e.people[i].Leaf) == l {
			return &e.people[i]
		}
	}
	return nil
}

// install makes e the current epoch and hands out its media keys.
func (g *Group) install(now time.Time, e *epoch, out *Actions) error {
	keys := Keys{Epoch: e.number, Leaf: e.own}
	base, err := e.group.Export("SFrame 1.0 Base Key", nil, len(keys.Base)) // RFC 9605 5.2
	if err != nil {
		return err
	}
	// Two lines of a group may have epochs of one number, after a restart of the
	// service. The new keys replace the old ones.
	g.old = slices.DeleteFunc(g.old, func(o *epoch) bool {
		if o.number == e.number {
			o.group.Erase()
		}
		return o.number == e.number
	})
	keys.Base = [16]byte(base)
	clear(base)
	for _, p := range e.people {
		keys.Members = append(keys.Members, Leaf{p.Leaf, p.Conn})
	}
	out.Keys = append(out.Keys, keys)
	g.cur = e
	g.commits.stuck = 0
	out.Changed = true
	g.noteAbsent(now)
	return nil
}

// follow goes on from the current epoch to the one that a commit made.
func (g *Group) follow(now time.Time, group *mls.Group, changes []mls.Change, message []byte, out *Actions) error {
	next, err := newEpoch(now, group)
	if err != nil {
		return err
	}
	last := g.cur
	s := sortChanges(changes)
	g.unseal()
	if err := g.install(now, next, out); err != nil {
		return err
	}
	g.lastCommit = hash(message)
	keep := oldAfterAdd
	if len(s.removes) > 0 {
		keep = oldAfterRemove
	}
	g.retire(now, last, keep, out)
	g.switches = append(g.switches, switching{next.number, now.Add(sendDelay)})
	g.tellChanges(now, last, next, &s, out)
	g.commits.followed(now, &s)
	if next.policy.gen != last.policy.gen {
		return g.rotated(now, next, out)
	}
	return nil
}

// retire keeps an epoch for what is under way.
func (g *Group) retire(now time.Time, e *epoch, keep time.Duration, out *Actions) {
	e.group.Retire()
	e.until = now.Add(keep)
	if len(g.old) >= maxOldEpochs {
		g.erase(0, out)
	}
	g.old = append(g.old, e)
	for _, o := range g.old {
		if o.until.After(e.until) {
			o.until = e.until
		}
	}
}

// erase forgets the i-th old epoch.
func (g *Group) erase(i int, out *Actions) {
	g.old[i].group.Erase()
	out.Forget = append(out.Forget, g.old[i].number)
	g.old = slices.Delete(g.old, i, i+1)
}

// eraseAll forgets all old epochs.
func (g *Group) eraseAll(out *Actions) {
	for len(g.old) > 0 {
		g.erase(0, out)
	}
}

// tellChanges reports who came and went, and does what follows from it.
func (g *Group) tellChanges(now time.Time, last, next *epoch, s *sorted, out *Actions) {
	for _, l := range s.removes {
		p := last.byLeaf(l)
		if p == nil {
			continue
		}
		out.Dropped = append(out.Dropped, LeafEpoch{p.Leaf, last.number})
		if !s.adds(p.Key[:]) {
			out.Notices = append(out.Notices, Notice{Code: NoticeLeft, Conn: p.Conn, Name: p.Name})
		}
		delete(g.beats, p.Conn)
	}
	for _, kp := range s.added {
		g.used.add(kp.Ref())
		p := next.byKey(kp.Leaf.SignatureKey)
		if p == nil {
			continue
		}
		code := NoticeJoined
		if last.byKey(kp.Leaf.SignatureKey) != nil {
			code = NoticeReplaced
		}
		out.Notices = append(out.Notices, Notice{Code: code, Conn: p.Conn, Name: p.Name})
		g.arrived[p.Conn] = now
		g.dropNewcomer(p.Conn)
	}
	if last.policy.Policy != next.policy.Policy {
		out.Notices = append(out.Notices, Notice{Code: NoticePolicyChanged})
	}
}

// rotated takes the new link from the epoch that the rotation began.
func (g *Group) rotated(now time.Time, e *epoch, out *Actions) error {
	gen := e.policy.gen
	exported, err := e.group.Export("sotto link", []byte{byte(gen >> 8), byte(gen)}, link.SecretSize)
	if err != nil {
		return err
	}
	secret := link.Secret(exported)
	clear(exported)
	keys, err := link.Derive(secret)
	if err != nil {
		return err
	}
	if err := g.sealer.Renew(keys); err != nil {
		return err
	}
	g.former, g.formerUntil = g.keys, now.Add(oldAfterAdd)
	g.keys, g.gen = keys, gen
	g.newcomers = nil // they hold the old link
	out.Link = &NewLink{Gen: gen, Secret: secret}
	out.Notices = append(out.Notices, Notice{Code: NoticeLinkRotated})
	return nil
}

// expire does what the clock asks of epochs.
func (g *Group) expire(now time.Time, out *Actions) {
	for len(g.switches) > 0 && !now.Before(g.switches[0].at) {
		e := g.switches[0].epoch
		g.switches = g.switches[1:]
		if g.cur != nil && g.doubt.kind != silent && !g.ended {
			out.SendEpoch = append(out.SendEpoch, e)
			g.stopped = false
		}
	}
	for i := 0; i < len(g.old); {
		if now.Before(g.old[i].until) {
			i++
			continue
		}
		g.erase(i, out)
	}
	if g.former != nil && !now.Before(g.formerUntil) {
		g.former = nil
		for k := range g.openers {
			if k.gen != g.gen {
				delete(g.openers, k)
			}
		}
	}
	if g.cur != nil && g.doubt.kind == trusted && len(g.invites) > 0 && now.Sub(g.admittedAt) >= inviteLife {
		g.dropInvites()
	}
	if at, ok := g.stuckAt(); ok && !now.Before(at) {
		g.stuck = true
		out.Notices = append(out.Notices, Notice{Code: NoticeStuck})
	}
	for conn, at := range g.arrived {
		if now.Sub(at) >= crossing {
			delete(g.arrived, conn)
		}
	}
}

// stuckAt is when to say that nobody adds this client again.
func (g *Group) stuckAt() (at time.Time, ok bool) {
	switch {
	case g.stuck || g.ended:
	case g.cur == nil:
		return g.lostAt.Add(stuckAfter), g.wasMember
	case g.doubt.kind == suspect || g.doubt.kind == behind:
		return g.doubt.since.Add(stuckAfter), true
	}
	return at, false
}

// stop ends the sending of media until the next SendEpoch.
func (g *Group) stop(out *Actions) {
	g.switches = nil
	g.stopped = true
	out.Stop = true
	out.SendEpoch = nil
}

// lose gives up the current epoch: others have gone on without this client,
// which asks to be added again. What they still send in it opens for a while.
func (g *Group) lose(now time.Time, out *Actions) {
	if g.cur == nil {
		return
	}
	e := g.cur
	g.cur = nil
	g.retire(now, e, oldAfterAdd, out)
	if !g.wasMember {
		g.wasMember, g.lostAt = true, now
	}
	if g.doubt.kind == trusted {
		out.Notices = append(out.Notices, Notice{Code: NoticeOutOfSync})
	}
	g.doubt = doubt{}
	g.dropPending()
	g.dropTask(taskCommit)
	g.unseal()
	g.queue = slices.DeleteFunc(g.queue, func(q queued) bool { return q.kind == kindHeartbeat })
	g.wishes = wishes{}
	clear(g.beats)
	clear(g.absent)
	g.stop(out)
	out.Changed = true
	g.inviteSoon(now)
}

// end leaves the group for good.
func (g *Group) end(out *Actions) {
	if g.cur != nil {
		g.old = append(g.old, g.cur)
		g.cur = nil
	}
	g.eraseAll(out)
	g.ended = true
	g.dropPending()
	g.founding, g.task, g.queue, g.newcomers = nil, nil, nil, nil
	g.dropInvites()
	g.stop(out)
	out.Changed = true
}
