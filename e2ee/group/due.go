package group

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"sotto/e2ee/link"
	"sotto/e2ee/mls"
)

const (
	// The member of rank r commits rankFirst + r*rankStep after it has seen what
	// there is to commit, unless another has done it by then.
	rankFirst = 10 * time.Millisecond
	rankStep  = 300 * time.Millisecond
	// Commits that only add follow each other not before addSpacing; in a rush,
	// when the last one added several, not before rushSpacing: what comes within
	// two seconds takes five commits. Who has waited patience is not held up.
	addSpacing  = 400 * time.Millisecond
	rushSpacing = 540 * time.Millisecond
	rush        = 3
	spacingStep = 150 * time.Millisecond
	patience    = 1500 * time.Millisecond
	// refusedFor is how long to wait after the service has refused a commit that
	// no other has overtaken.
	refusedFor = 500 * time.Millisecond
	// refusals in a row are a sign that the service does not know this member.
	refusals = 4
	// neverSeen is how long after the own admission a member who is not in the
	// room is waited for, if it was not seen to leave: after a restart of the
	// service it has 20 s to come back.
	neverSeen = 25 * time.Second
	// epochEvery is the longest life of an epoch; pathEvery is how often each
	// member renews its keys.
	epochEvery = 10 * time.Minute
	pathEvery  = time.Hour
)

// pace keeps own commits apart.
type pace struct {
	addedAt   time.Time // the last commit that only added
	added     int       // by it
	notBefore time.Time
	stuck     int // refusals in a row
	// unanswered counts the commits sent that were neither echoed nor refused
	// yet: while there is one, an answer to a second could not be told from one to
	// the first.
	unanswered int
	askedAt    time.Time
}

func (p *pace) answered() { p.unanswered = max(0, p.unanswered-1) }

// followed notes a commit of anybody.
func (p *pace) followed(now time.Time, s *sorted) {
	if len(s.added) > 0 && len(s.removes) == 0 {
		p.addedAt, p.added = now, len(s.added)
	}
	p.stuck = 0
}

func (p *pace) refuse(now time.Time) {
	p.stuck++
	p.notBefore = now.Add(refusedFor)
}

// spaced is when newcomers who are seen since may be added by rank r.
func (p *pace) spaced(since time.Time, rank int) time.Time {
	at := since.Add(rankFirst + time.Duration(rank)*rankStep)
	if p.addedAt.IsZero() {
		return at
	}
	spacing := addSpacing
	if p.added >= rush {
		spacing = rushSpacing
	}
	apart := p.addedAt.Add(spacing + time.Duration(rank)*spacingStep)
	if patient := since.Add(patience + time.Duration(rank)*rankStep); apart.After(patient) {
		apart = patient
	}
	if apart.After(at) {
		return apart
	}
	return at
}

// commitDue is when this client has to commit; never if ok is false.
func (g *Group) commitDue(now time.Time) (at time.Time, ok bool) {
	if g.cur == nil || g.pending != nil || g.unsettled {
		return at, false
	}
	earliest := func(t time.Time) {
		if !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	switch {
	case g.doubt.kind == trusted:
		g.regular(now, earliest)
	case g.doubt.kind == suspect && !g.doubt.called:
		earliest(g.doubt.since.Add(callAfter + time.Duration(g.rank(g.epochItem()))*rankStep))
	}
	if ok && at.Before(g.commits.notBefore) {
		at = g.commits.notBefore
	}
	if late := g.commits.askedAt.Add(repostAfter); ok && g.commits.unanswered > 0 && at.Before(late) {
		at = late // the answer is not coming any more
	}
	return at, ok
}

// regular reports the times of everything there is to commit.
func (g *Group) regular(now time.Time, earliest func(time.Time)) {
	if g.wishes.any() {
		earliest(time.Time{})
	}
	adds, absent := g.eligible(), g.absentLeaves()
	if len(adds) > 0 || len(absent) > 0 {
		rank := g.rank(g.oldest(adds, absent))
		for _, n := range adds {
			if n.admitted {
				earliest(time.Time{})
			} else {
				earliest(g.commits.spaced(n.since, rank))
			}
		}
		for _, p := range absent {
			earliest(g.absent[p.Conn].Add(rankFirst + time.Duration(rank)*rankStep))
		}
	}
	if aged := g.cur.began.Add(epochEvery); now.Before(aged) {
		earliest(aged)
	} else {
		earliest(aged.Add(time.Duration(g.rank(g.epochItem())) * rankStep))
	}
	if len(g.cur.people) > 1 {
		earliest(g.lastPath.Add(pathEvery + time.Duration(g.cfg.Conn[0])*time.Second))
	}
}

// collect lists the proposals of the next commit, and whom it admits.
func (g *Group) collect(now time.Time) (proposals []mls.Proposal, admits []link.ConnID) {
	removed := make(map[uint8]bool)
	remove := func(p *Person) {
		if p != nil && !removed[p.Leaf] && p.Leaf != g.cur.own {
			removed[p.Leaf] = true
			proposals = append(proposals, &mls.Remove{Leaf: mls.LeafIndex(p.Leaf)})
		}
	}
	for _, p := range g.absentLeaves() {
		if !now.Before(g.absent[p.Conn]) {
			remove(p)
		}
	}
	if g.wishes.any() && g.IsHost() {
		for _, key := range g.wishes.kicks {
			remove(g.cur.byKey(key[:]))
		}
		return append(proposals, g.wishes.context(g.cur.policy)), nil
	}
	for _, n := range g.eligible() {
		if len(admits) == maxAdds {
			break
		}
		replaced := g.cur.byKey(n.key[:])
		if replaced == nil && len(g.cur.people)-len(removed)+len(admits) >= maxMembers {
			continue
		}
		remove(replaced)
		remove(g.cur.byConn(n.conn))
		proposals = append(proposals, &mls.Add{KeyPackage: n.kp})
		admits = append(admits, n.conn)
	}
	if len(admits) > 0 {
		proposals = append(proposals, mls.NewExternalPSK(g.keys.PSKID(g.gen)))
	}
	return proposals, admits
}

// context is the proposal that does what the host wishes. Whoever is thrown out
// knows the link, so that it goes as well.
func (w *wishes) context(rules policy) mls.Proposal {
	if w.policy != nil {
		rules.Policy = *w.policy
	}
	if w.rotate || len(w.kicks) > 0 {
		rules.gen++
	}
	return &mls.GroupContextExtensions{Extensions: mls.Extensions{rules.extension()}}
}

// done strikes out what a commit in epoch e has fulfilled.
func (w *wishes) done(changes []mls.Change, e *epoch) {
	s := sortChanges(changes)
	if len(s.contexts) == 0 {
		return
	}
	rules, err := policyOf(s.contexts[0])
	if err != nil {
		return
	}
	if rules.gen != e.policy.gen {
		w.rotate = false
	}
	if w.policy != nil && rules.Policy == *w.policy {
		w.policy = nil
	}
	w.kicks = slices.DeleteFunc(w.kicks, func(key [32]byte) bool {
		p := e.byKey(key[:])
		return p == nil || slices.Contains(s.removes, mls.LeafIndex(p.Leaf))
	})
}

// eligible are the newcomers that this client may add now, each key once.
func (g *Group) eligible() []*newcomer {
	var out []*newcomer
	keys := make(map[[32]byte]bool)
	for i := len(g.newcomers) - 1; i >= 0; i-- { // of two with one key, the later
		n := g.newcomers[i]
		if keys[n.key] || bytes.Equal(n.key[:], g.cfg.Identity) || g.hand(n) && !n.admitted {
			continue
		}
		keys[n.key] = true
		out = append(out, n)
	}
	slices.Reverse(out)
	return out
}

// sift drops the newcomers that MLS refuses to add.
func (g *Group) sift(e *epoch) {
	g.newcomers = slices.DeleteFunc(g.newcomers, func(n *newcomer) bool {
		var proposals []mls.Proposal
		for _, p := range []*Person{e.byKey(n.key[:]), e.byConn(n.conn)} {
			if p != nil && p.Leaf != e.own && (len(proposals) == 0 || p.Key != n.key) {
				proposals = append(proposals, &mls.Remove{Leaf: mls.LeafIndex(p.Leaf)})
			}
		}
		proposals = append(proposals, &mls.Add{KeyPackage: n.kp}, mls.NewExternalPSK(g.keys.PSKID(g.gen)))
		_, err := e.group.Commit(mls.CommitOptions{Proposals: proposals})
		return err != nil
	})
}

// absentLeaves are the members who are not in the room, by leaf.
func (g *Group) absentLeaves() []*Person {
	var out []*Person
	for i := range g.cur.people {
		if _, ok := g.absent[g.cur.people[i].Conn]; ok {
			out = append(out, &g.cur.people[i])
		}
	}
	return out
}

// oldest names the item that has waited longest, by what all members know of
// it: the reference of a key package, or a connection.
func (g *Group) oldest(adds []*newcomer, absent []*Person) []byte {
	var id []byte
	var since time.Time
	for _, p := range absent {
		if at := g.absent[p.Conn]; id == nil || at.Before(since) {
			id, since = p.Conn[:], at
		}
	}
	for _, n := range adds {
		if id == nil || n.since.Before(since) {
			id, since = n.ref, n.since
		}
	}
	return id
}

// epochItem names the epoch as something to commit.
func (g *Group) epochItem() []byte {
	return binary.BigEndian.AppendUint64(slices.Clone(g.at.Group[:]), g.cur.number)
}

// rank is the own place in the order of SHA-256(item || u32 leaf) of all members
// who can commit it. It differs from item to item, so that no member is always
// the one that others depend on.
func (g *Group) rank(item []byte) int {
	own := rankHash(item, g.cur.own)
	rank := 0
	for i := range g.cur.people {
		p := &g.cur.people[i]
		if p.Leaf == g.cur.own || !g.roster[p.Conn] || g.leaving(p) {
			continue // it cannot commit, or not that it is replaced
		}
		if h := rankHash(item, p.Leaf); bytes.Compare(h[:], own[:]) < 0 {
			rank++
		}
	}
	return rank
}

// leaving reports whether a member waits to be replaced: it cannot commit that.
func (g *Group) leaving(p *Person) bool {
	return slices.ContainsFunc(g.newcomers, func(n *newcomer) bool { return n.key == p.Key })
}

func rankHash(item []byte, leaf uint8) [32]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint32(slices.Clone(item), uint32(leaf)))
}

func hash(message []byte) [32]byte { return sha256.Sum256(message) }
