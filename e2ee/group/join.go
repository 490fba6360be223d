package group

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"sotto/e2ee/link"
	"sotto/e2ee/mls"
)

const (
	// inviteEvery is after what time a key package without an answer is followed
	// by a fresh one, the first times; later ones leave the others in peace.
	inviteEvery = 3 * time.Second
	inviteRare  = 10 * time.Second
	inviteTimes = 4
	// inviteMin keeps within the one per second that the service allows.
	inviteMin = 1200 * time.Millisecond
	// maxInvites bounds the key packages that an answer may still come to.
	maxInvites = 4
	// crossing is for how long after its admission a member's key package is
	// taken for one that crossed the Welcome on its way, and inviteLife how long
	// a new member keeps the keys of such a one, in case others do not.
	crossing   = time.Second
	inviteLife = 10 * time.Second
	// clockSkew is how wrong the clocks of two members may be.
	clockSkew = 24 * 3600
)

var (
	errKeyPackage = errors.New("group: unacceptable key package")
	errReused     = errors.New("group: key package was used before")
	errWelcome    = errors.New("group: unacceptable welcome")
)

// founding is a group that this client offers to the room.
type founding struct {
	gi    [16]byte
	group *mls.Group
	sent  bool
}

// newcomer is somebody who asks to be added.
type newcomer struct {
	conn     link.ConnID
	name     string
	key      [32]byte
	kp       *mls.KeyPackage
	ref      []byte
	since    time.Time
	admitted bool // by this person's hand
}

// found starts the foundation of a group.
func (g *Group) found(now time.Time, out *Actions) {
	gi := [16]byte(link.NewConnID()) // 16 random bytes like any other
	id := newGroupID(g.keys.Room(), gi, g.cfg.Identity)
	rules := policy{Policy: g.cfg.Policy, gen: g.gen}
	signing, err := mls.NewGroup(g.config(), g.member(now, RoleHost, 0), id, rules.extension())
	if err != nil {
		return
	}
	sign(g, taskFound, signing, out, func(now time.Time, group *mls.Group, out *Actions) {
		g.founding = &founding{gi: gi, group: group}
		g.offer(out)
	})
}

// offer sends the create of the own foundation.
func (g *Group) offer(out *Actions) {
	h := link.Header{Type: link.TypeCreate, Gen: g.gen, Group: g.founding.gi, To: g.cfg.HostTag}
	if envelope, err := g.sealer.Seal(h, nil); err == nil {
		out.Send = append(out.Send, envelope)
		g.founding.sent = true
	}
}

// created takes a create that the service let through: the room has a group.
func (g *Group) created(now time.Time, h link.Header, data []byte, out *Actions) error {
	if h.Slot != 0 || h.Epoch != 0 || g.cur != nil && g.grouped {
		return ErrEnvelope
	}
	if h.From == g.cfg.Conn {
		if g.founding == nil || g.founding.gi != h.Group {
			return ErrEnvelope
		}
		return g.founded(now, out)
	}
	if _, err := g.open(h, data); err != nil {
		return err
	}
	g.founding = nil
	g.dropTask(taskFound)
	g.unsettled = false
	if !g.grouped || g.at.Group != h.Group {
		g.leaveGroup(now, out)
	}
	g.grouped, g.at = true, Position{Group: h.Group}
	g.inviteSoon(now)
	return nil
}

// founded enters the group that this client has founded.
func (g *Group) founded(now time.Time, out *Actions) error {
	f := g.founding
	e, err := newEpoch(now, f.group)
	if err != nil {
		return err
	}
	g.founding, g.grouped, g.at, g.unsettled = nil, true, Position{Group: f.gi}, false
	out.Notices = append(out.Notices, Notice{Code: NoticeCreated})
	return g.admitted(now, e, out)
}

// inviteSoon asks to be added as soon as the service allows.
func (g *Group) inviteSoon(now time.Time) {
	soon := now
	if earliest := g.invitedAt.Add(inviteMin); !g.invitedAt.IsZero() && earliest.After(now) {
		soon = earliest
	}
	if g.inviteAt.IsZero() || soon.Before(g.inviteAt) {
		g.inviteAt = soon
	}
}

// asks reports whether this client wants to be added.
func (g *Group) asks() bool {
	return g.grouped && !g.unsettled && (g.cur == nil || g.doubt.kind != trusted)
}

// invite makes and posts a key package.
func (g *Group) invite(now time.Time, out *Actions) {
	if g.doubt.kind == suspect {
		g.doubt.kind = behind // nobody has called
	}
	g.inviteNum++
	g.invitedAt, g.inviteAt = now, now.Add(inviteEvery)
	if g.inviteNum > inviteTimes {
		g.inviteAt = now.Add(inviteRare)
	}
	g.serial++
	signing, err := mls.NewInvitation(g.member(now, RoleMember, g.serial))
	if err != nil {
		return
	}
	sign(g, taskInvite, signing, out, func(now time.Time, inv *mls.Invitation, out *Actions) {
		if !g.asks() {
			inv.Erase()
			return
		}
		h := link.Header{Type: link.TypeKeyPackage, Gen: g.gen, Group: g.at.Group}
		envelope, err := g.sealer.Seal(h, inv.KeyPackage.Message())
		if err != nil {
			return
		}
		if len(g.invites) >= maxInvites {
			g.invites[0].Erase()
			g.invites = g.invites[1:]
		}
		g.invites = append(g.invites, inv)
		out.Send = append(out.Send, envelope)
	})
}

func (g *Group) dropInvites() {
	for _, inv := range g.invites {
		inv.Erase()
	}
	g.invites = nil
}

// keyPackage takes somebody's wish to be added. Those who are not members keep
// it too: whoever is added knows who is still waiting.
func (g *Group) keyPackage(now time.Time, h link.Header, data []byte) error {
	if h.Slot != 0 || h.Epoch != 0 || !g.grouped || h.Group != g.at.Group || !g.roster[h.From] {
		return ErrEnvelope
	}
	message, err := g.open(h, data)
	if err != nil {
		return err
	}
	kp, err := mls.ParseKeyPackage(message, suite)
	if err != nil {
		return err
	}
	n, err := g.judge(now, h.From, kp)
	if err != nil {
		return err
	}
	for _, o := range g.newcomers {
		if o.conn == n.conn {
			if o.key != n.key || o.name != n.name {
				return errKeyPackage // a person may be about to say yes to what it was
			}
			n.since, n.admitted = o.since, o.admitted
			*o = *n
			return nil
		}
	}
	if len(g.newcomers) >= maxNewcomers {
		return ErrFull
	}
	g.newcomers = append(g.newcomers, n)
	return nil
}

// judge decides whether a key package may be committed. Beyond what every
// member demands of a commit it looks at the clock and at what was used before.
func (g *Group) judge(now time.Time, from link.ConnID, kp *mls.KeyPackage) (*newcomer, error) {
	var groupID []byte
	if g.cur != nil {
		groupID = g.cur.group.ID()
	}
	if err := (leafRules{}).ValidateLeaf(groupID, 0, kp.Leaf, nil); err != nil {
		return nil, err
	}
	c, err := leafCredential(kp.Leaf)
	if err != nil {
		return nil, err
	}
	if c.Conn != from || !onlyGrease(kp.Extensions) || !supportsPolicy(kp.Leaf) || g.refused[from] {
		return nil, errKeyPackage
	}
	if at := uint64(max(now.Unix(), 0)); at > clockSkew && (kp.Leaf.Lifetime.NotAfter < at-clockSkew || kp.Leaf.Lifetime.NotBefore > at+clockSkew) {
		return nil, errLifetime
	}
	ref := kp.Ref()
	if g.used.contains(ref) {
		return nil, errReused
	}
	if g.cur != nil {
		if p := g.cur.byConn(from); p != nil {
			if !bytes.Equal(p.Key[:], kp.Leaf.SignatureKey) {
				return nil, errSame
			}
			if c.Serial <= p.serial {
				return nil, errOlder
			}
			if at, ok := g.arrived[from]; ok && now.Sub(at) < crossing {
				return nil, errSame
			}
		}
	}
	return &newcomer{conn: from, name: c.Name, key: [32]byte(kp.Leaf.SignatureKey), kp: kp, ref: ref, since: now}, nil
}

func supportsPolicy(leaf *mls.LeafNode) bool {
	return slices.Contains(leaf.Capabilities.Extensions, extensionPolicy)
}

// dropNewcomer forgets what a connection asked for, and reports whether it did.
func (g *Group) dropNewcomer(conn link.ConnID) bool {
	before := len(g.newcomers)
	g.newcomers = slices.DeleteFunc(g.newcomers, func(n *newcomer) bool { return n.conn == conn })
	return len(g.newcomers) != before
}

// welcomed enters the group by a Welcome. The service sends it to those whom it
// admits and counts them as members from then on, so that who cannot use it is
// out of sync.
func (g *Group) welcomed(now time.Time, h link.Header, data []byte, out *Actions) error {
	err := g.enter(now, h, data, out)
	if err != nil && g.cur == nil && !g.wasMember {
		g.wasMember, g.lostAt = true, now
		out.Changed = true
	}
	return err
}

func (g *Group) enter(now time.Time, h link.Header, data []byte, out *Actions) error {
	if !g.grouped || h.Group != g.at.Group || g.cur != nil && g.doubt.kind == trusted || len(g.invites) == 0 || h.From == g.cfg.Conn {
		return ErrEnvelope
	}
	message, err := g.open(h, data)
	if err != nil {
		return err
	}
	var joined *mls.Joined
	used := len(g.invites)
	for used > 0 && joined == nil {
		used--
		joined, err = mls.Join(g.config(), g.invites[used], message, nil)
	}
	if err != nil {
		return err
	}
	e, err := g.checkJoined(now, h, joined)
	if err != nil {
		joined.Group.Erase()
		return err
	}
	// Another one may still be answered, if it crossed this Welcome on its way.
	g.invites[used].Erase()
	g.invites = slices.Delete(g.invites, used, used+1)
	g.renumber(e.policy.gen) // a fresh link does not say its generation
	with := len(g.newcomers)
	if err := g.admitted(now, e, out); err != nil {
		return err
	}
	g.commits.addedAt, g.commits.added = now, with-len(g.newcomers)+1
	return nil
}

// maxEpoch is the last number that JSON and JavaScript hold exactly. No honest
// group comes near it.
const maxEpoch = 1<<53 - 2

// checkJoined looks at a group before it is entered: the one PSK is that of the
// own link, and whoever sent the Welcome made the commit. That every leaf is
// acceptable, MLS has asked leafRules.
func (g *Group) checkJoined(now time.Time, h link.Header, joined *mls.Joined) (*epoch, error) {
	group := joined.Group
	gi, ok := giOf(group.ID())
	if !ok || gi != h.Group || group.Epoch() != h.Epoch || h.Epoch > maxEpoch {
		return nil, errWelcome
	}
	e, err := newEpoch(now, group)
	if err != nil {
		return nil, err
	}
	if len(joined.PSKs) != 1 || !bytes.Equal(joined.PSKs[0].ID, g.keys.PSKID(e.policy.gen)) {
		return nil, errPSK
	}
	if by := e.byLeaf(joined.Committer); by == nil || by.Conn != h.From || by.Conn == g.cfg.Conn {
		return nil, errCommitter
	}
	if p := e.byConn(g.cfg.Conn); p == nil || p.Leaf != e.own {
		return nil, errWelcome
	}
	return e, nil
}

// admitted begins the life as a member, in a group that was created or joined.
func (g *Group) admitted(now time.Time, e *epoch, out *Actions) error {
	if g.cur != nil { // in doubt, and added again
		g.retire(now, g.cur, oldAfterAdd, out)
	}
	g.dropTask(taskInvite, taskCommit)
	g.unseal()
	g.inviteAt, g.inviteNum = time.Time{}, 0
	g.admittedAt, g.lastPath = now, now
	g.dropPending()
	g.doubt = doubt{}
	g.switches = nil
	g.stopped, g.stuck = false, false
	clear(g.absent)
	clear(g.beats)
	if err := g.install(now, e, out); err != nil {
		return err
	}
	for _, o := range g.old { // who left meanwhile is heard no more
		for _, p := range o.people {
			if same := e.byConn(p.Conn); same == nil || same.Leaf != p.Leaf {
				out.Dropped = append(out.Dropped, LeafEpoch{p.Leaf, o.number})
			}
		}
	}
	for _, p := range e.people {
		g.dropNewcomer(p.Conn)
		g.arrived[p.Conn] = now // maybe: together with this client
	}
	if g.wasMember {
		out.Notices = append(out.Notices, Notice{Code: NoticeRejoined})
	}
	g.wasMember = false
	out.SendEpoch = append(out.SendEpoch, e.number)
	return nil
}
