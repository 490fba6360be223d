package group

import (
	"bytes"
	"slices"
	"time"

	"sotto/e2ee/link"
	"sotto/e2ee/mls"
)

// pending is an own commit of which the outcome is not known yet.
type pending struct {
	slot      uint64
	epoch     uint64 // it is made in
	committed *mls.Committed
	changes   []mls.Change
	admits    []link.ConnID
	envelopes [][]byte // as sent
	sentAt    time.Time
}

const (
	// repostAfter is when a commit without any answer is posted again, as the same
	// commit in a new envelope.
	repostAfter = 5 * time.Second
	maxReposts  = 4
)

// commit starts a commit of all that is due and pending.
func (g *Group) commit(now time.Time, out *Actions) {
	e := g.cur
	changes, admits := g.collect(now)
	if g.doubt.kind != trusted {
		g.doubt.called = true
		changes, admits = nil, nil // it may be in vain: nobody is to be drawn in
	}
	options := mls.CommitOptions{Proposals: changes, Path: now.Sub(g.lastPath) >= pathEvery}
	signing, err := e.group.Commit(options)
	if err != nil {
		// One of the newcomers does not fit: find out which.
		g.sift(e)
		if changes, admits = g.collect(now); len(changes) == 0 {
			return
		}
		options.Proposals = changes
		if signing, err = e.group.Commit(options); err != nil {
			g.commits.refuse(now)
			return
		}
	}
	slot := g.at.Slot
	// The task is dropped when another commit comes: the epoch is the same here.
	sign(g, taskCommit, signing, out, func(now time.Time, c *mls.Committed, out *Actions) {
		p := &pending{slot: slot, epoch: e.number, committed: c, admits: admits}
		for _, proposal := range changes {
			p.changes = append(p.changes, mls.Change{Proposal: proposal, Sender: e.group.Own()})
		}
		own := proposed{committer: e.group.Own(), conn: g.cfg.Conn, changes: p.changes}
		if acceptable(e.group, g.presence(slot), own) != nil {
			g.commits.refuse(now) // somebody came back meanwhile
			return
		}
		g.pending = p
		g.post(now, out)
	})
}

// post sends the pending commit.
func (g *Group) post(now time.Time, out *Actions) {
	p := g.pending
	if now.Sub(g.commits.askedAt) >= repostAfter {
		g.commits.unanswered = 0 // those answers are lost
	}
	p.sentAt, g.commits.askedAt = now, now
	h := link.Header{Type: link.TypeCommit, Gen: g.gen, Group: g.at.Group, Slot: p.slot, Epoch: p.epoch}
	envelope, err := g.sealer.Seal(h, p.committed.Message)
	if err != nil {
		g.dropPending()
		return
	}
	message := envelope
	if len(p.admits) > 0 {
		h.Type, h.Epoch = link.TypeWelcome, p.epoch+1
		welcome, err := g.sealer.Seal(h, p.committed.Welcome)
		if err == nil {
			message, err = link.Bundle{Admits: p.admits, Commit: envelope, Welcome: welcome}.Append(nil)
		}
		if err != nil {
			g.dropPending()
			g.commits.refuse(now)
			return
		}
	}
	p.envelopes = append(p.envelopes, envelope)
	g.commits.unanswered++
	out.Send = append(out.Send, message)
}

// dropPending gives up the pending commit, and the keys to which it would have
// led.
func (g *Group) dropPending() {
	if g.pending != nil {
		g.pending.committed.Group.Erase()
		g.pending = nil
	}
}

// repost sends the pending commit again. The envelope is a new one, since the
// counter of envelopes only rises; the service takes the first that fits.
func (g *Group) repost(now time.Time, out *Actions) {
	if len(g.pending.envelopes) > maxReposts {
		g.dropPending()
		g.distrust(now, behind, out)
		return
	}
	g.post(now, out)
}

// committed takes a commit that the service has accepted. At its slot it is
// followed, or refused by everybody alike; either way the slot is used up.
func (g *Group) committed(now time.Time, h link.Header, data []byte, out *Actions) error {
	if !g.grouped || h.Group != g.at.Group || h.To != (link.ConnID{}) {
		return ErrEnvelope
	}
	if h.From == g.cfg.Conn {
		return g.echo(now, h, data, out)
	}
	if g.cur == nil {
		if h.Slot >= g.at.Slot {
			g.at.Slot = h.Slot + 1
		}
		return nil
	}
	message, err := g.open(h, data)
	if err != nil && (h.Slot != g.at.Slot || err == link.ErrEnvelopeReplay) {
		return err
	}
	misplaced := h.Slot != g.at.Slot
	g.at.Slot = h.Slot + 1
	if p := g.pending; p != nil && (p.slot <= h.Slot || misplaced) {
		g.stats.CommitsLost++
		g.dropPending()
	}
	g.dropTask(taskCommit)
	if misplaced {
		g.distrust(now, behind, out)
	}
	if err != nil {
		g.refuseCommit(h.From, out)
		return err
	}
	if hash(message) == g.lastCommit {
		return nil // posted again after a restart of the service, for those who missed it
	}
	if h.Epoch != g.cur.number {
		return g.alien(now, h, out)
	}
	return g.process(now, h, message, out)
}

// process checks a commit in the current epoch and follows it.
func (g *Group) process(now time.Time, h link.Header, message []byte, out *Actions) error {
	received, err := g.cur.group.Process(message)
	if err != nil {
		if g.doubt.kind > suspect {
			g.lose(now, out)
			return err
		}
		g.refuseCommit(h.From, out)
		if onlyHere(err) {
			g.suspect(now, h.From, out)
		}
		return err
	}
	if received.Kind != mls.KindCommit {
		g.refuseCommit(h.From, out)
		return errProposal
	}
	c := received.Commit
	err = acceptable(g.cur.group, g.presence(h.Slot), proposed{committer: received.Sender, conn: h.From, byRef: c.ByRef, changes: c.Changes})
	if err != nil {
		if received.Group != nil {
			received.Group.Erase()
		}
		g.refuseCommit(h.From, out)
		return err
	}
	g.dropNewcomer(h.From)
	if received.Group == nil {
		g.removed(now, received.Sender, c.Changes, out)
		return nil
	}
	if err := g.follow(now, received.Group, c.Changes, message, out); err != nil {
		return err
	}
	if k := g.doubt.kind; k == suspect || k == behind {
		g.trust(out)
	}
	return nil
}

// suspect notes that a member's commit may be that of a later epoch.
func (g *Group) suspect(now time.Time, by link.ConnID, out *Actions) {
	if g.doubt.kind == trusted {
		g.distrust(now, suspect, out)
		g.doubt.by = by
	}
}

// alien is a commit in another epoch than this client's. One from an earlier
// epoch comes from a member that was left behind, unless it is this client that
// is suspected to be; one from a later epoch is ground for suspicion.
func (g *Group) alien(now time.Time, h link.Header, out *Actions) error {
	switch {
	case g.doubt.kind > suspect:
		g.lose(now, out)
	case h.Epoch > g.cur.number:
		g.suspect(now, h.From, out)
	default:
		g.stats.CommitsRefused++
	}
	return ErrEnvelope
}

func (g *Group) refuseCommit(from link.ConnID, out *Actions) {
	g.stats.CommitsRefused++
	n := Notice{Code: NoticeInvalidCommit, Conn: from}
	if p := g.cur.byConn(from); p != nil {
		n.Name = p.Name
	}
	out.Notices = append(out.Notices, n)
}

// echo is an own commit that came back: the service has accepted it.
func (g *Group) echo(now time.Time, h link.Header, data []byte, out *Actions) error {
	g.commits.answered()
	p := g.pending
	if p == nil || h.Slot != p.slot || h.Slot != g.at.Slot || g.cur == nil || g.cur.number != p.epoch ||
		!slices.ContainsFunc(p.envelopes, func(e []byte) bool { return bytes.Equal(e, data) }) {
		if g.cur != nil && h.Slot >= g.at.Slot {
			g.at.Slot = h.Slot + 1
			g.distrust(now, behind, out) // given up, but accepted all the same
		}
		return ErrEnvelope
	}
	g.pending = nil
	g.at.Slot = h.Slot + 1
	own := proposed{committer: g.cur.group.Own(), conn: g.cfg.Conn, changes: p.changes}
	if acceptable(g.cur.group, g.presence(h.Slot), own) != nil {
		g.stats.CommitsRefused++ // by everybody else as well: somebody came back before it
		p.committed.Group.Erase()
		return ErrEnvelope
	}
	g.stats.CommitsMade++
	g.wishes.done(p.changes, g.cur)
	if len(sortChanges(p.changes).added) == 0 || now.Sub(g.lastPath) >= pathEvery {
		g.lastPath = now
	}
	return g.follow(now, p.committed.Group, p.changes, p.committed.Message, out)
}

// removed is a commit that takes this client out of the group.
func (g *Group) removed(now time.Time, by mls.LeafIndex, changes []mls.Change, out *Actions) {
	s := sortChanges(changes)
	for _, kp := range s.added {
		if !bytes.Equal(kp.Leaf.SignatureKey, g.cfg.Identity) {
			continue
		}
		c, err := leafCredential(kp.Leaf)
		switch {
		case err == nil && c.Conn == g.cfg.Conn:
			g.lose(now, out) // added again: the Welcome comes next
			return
		case err == nil && g.roster[c.Conn] && !g.earlier[c.Conn]:
			out.Notices = append(out.Notices, Notice{Code: NoticeDuplicateIdentity, Conn: g.cfg.Conn, Name: g.cfg.Name})
			g.end(out)
			return
		}
		// Nobody has come under the own key since: a member has added a key package
		// of the participation before. That is no reason to leave.
	}
	if len(s.contexts) == 1 && isHost(g.cur.group.ID(), g.cur.group.Leaf(by).SignatureKey) {
		if rules, err := policyOf(s.contexts[0]); err == nil && rules.gen != g.cur.policy.gen {
			out.Notices = append(out.Notices, Notice{Code: NoticeRemoved, Conn: g.cfg.Conn, Name: g.cfg.Name})
			g.end(out) // thrown out: the link is another one now
			return
		}
	}
	// The service says that this client is gone, and it is not; or the committer
	// lies, and the others refuse. They add it again in either case.
	g.distrust(now, behind, out)
}

// presence tells who is in the room at the place of the commit for a slot. It is
// not certain of this client, which only the others see; of commits that were
// missed and are replayed, since the roster is of now; and of who has left after
// the commit before, as those may do whom a committer has just added: others who
// enter with them are not to suffer for it.
func (g *Group) presence(slot uint64) func(link.ConnID) presence {
	return func(conn link.ConnID) presence {
		switch {
		case g.roster[conn]:
			return present
		case conn == g.cfg.Conn, slot < g.missed, g.leftAt == slot && g.left[conn]:
			return uncertain
		}
		return absent
	}
}
