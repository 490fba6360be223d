package group

import (
	"errors"
	"time"

	"sotto/e2ee/link"
	"sotto/e2ee/mls"
)

// tickMax is the longest time between two ticks.
const tickMax = 10 * time.Second

// Tick does what is due and returns when to call it next, at the latest.
func (g *Group) Tick(now time.Time, out *Actions) (next time.Time) {
	g.run(now, out)
	next = now.Add(tickMax)
	earliest := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	if len(g.switches) > 0 {
		earliest(g.switches[0].at)
	}
	for _, e := range g.old {
		earliest(e.until)
	}
	if g.former != nil {
		earliest(g.formerUntil)
	}
	if g.wasMember && g.cur == nil && !g.stuck {
		earliest(g.lostAt.Add(stuckAfter))
	}
	if g.cur != nil && !g.doubt.silent {
		for _, b := range g.beats {
			if t := b.at.Add(g.silenceAfter()); t.After(now) {
				earliest(t)
			}
		}
		if t := g.cur.began.Add(g.silenceAfter()); t.After(now) {
			earliest(t)
		}
	}
	if g.task == nil && !g.ended {
		if g.connected && !g.grouped && g.commits.notBefore.After(now) {
			earliest(g.commits.notBefore)
		}
		if g.asks() && !g.inviteAt.IsZero() {
			earliest(g.inviteAt)
		}
		if at, ok := g.commitDue(now); ok {
			earliest(at)
		}
	}
	if g.pending != nil {
		earliest(g.pending.sentAt.Add(repostAfter))
	}
	return next
}

// run does what is due. Every event ends with it.
func (g *Group) run(now time.Time, out *Actions) {
	if !g.connected || g.ended {
		return
	}
	g.expire(now, out)
	g.watch(now, out)
	if p := g.pending; p != nil && now.Sub(p.sentAt) >= repostAfter {
		g.repost(now, out)
	}
	g.start(now, out)
	if g.cur != nil || len(g.knocks) > 0 {
		g.tellKnocks(out)
	}
}

// start begins the next operation that needs the identity key.
func (g *Group) start(now time.Time, out *Actions) {
	if g.task != nil {
		return
	}
	if !g.grouped {
		switch {
		case g.unsettled:
		case g.founding == nil:
			if !now.Before(g.commits.notBefore) { // the last signature was false
				g.found(now, out)
			}
		case !g.founding.sent:
			g.offer(out)
		}
		return
	}
	if g.asks() && !now.Before(g.inviteAt) {
		g.invite(now, out)
		return
	}
	if at, ok := g.commitDue(now); ok && !now.Before(at) {
		g.commit(now, out)
		if g.task != nil {
			return
		}
	}
	if g.cur != nil && g.pending == nil && len(g.queue) > 0 {
		g.sealNext(out)
	}
}

// Envelope takes a binary signaling message: u64 seq || envelope. Errors are for
// logs; the group goes on.
func (g *Group) Envelope(now time.Time, data []byte, out *Actions) error {
	if !g.connected || g.ended {
		return ErrOrder
	}
	err := g.envelope(now, data, out)
	if err != nil {
		g.stats.EnvelopesRefused++
	}
	g.run(now, out)
	return err
}

func (g *Group) envelope(now time.Time, data []byte, out *Actions) error {
	const seqSize = 8
	if len(data) < seqSize {
		return ErrEnvelope
	}
	data = data[seqSize:]
	h, _, err := link.ParseEnvelope(data)
	if err != nil {
		return err
	}
	switch h.Type {
	case link.TypeCreate:
		return g.created(now, h, data, out)
	case link.TypeKeyPackage:
		return g.keyPackage(now, h, data)
	case link.TypeCommit:
		return g.committed(now, h, data, out)
	case link.TypeWelcome:
		return g.welcomed(now, h, data, out)
	}
	return g.message(now, h, data, out)
}

// open opens an envelope of a connection that is in the room or in the tree; a
// Welcome may come from one that is gone by now. A client that is not a member
// yet has one generation of keys, and does not know which: it opens what they
// open. So does a member for those who come.
func (g *Group) open(h link.Header, data []byte) ([]byte, error) {
	known := g.roster[h.From] || g.cur != nil && g.cur.byConn(h.From) != nil
	if h.From == g.cfg.Conn || !known && h.Type != link.TypeWelcome {
		return nil, ErrEnvelope
	}
	keys, gen := g.keys, g.gen
	if g.cur != nil && h.Type != link.TypeKeyPackage && h.Gen != g.gen {
		if g.former == nil || h.Gen != g.gen-1 {
			return nil, ErrEnvelope
		}
		keys, gen = g.former, h.Gen
	}
	key := openerKey{h.From, gen}
	opener := g.openers[key]
	if opener == nil {
		var err error
		if opener, err = keys.Opener(h.From); err != nil {
			return nil, err
		}
	}
	_, message, err := opener.Open(data)
	if err == nil && known {
		g.openers[key] = opener
	}
	return message, err
}

// renumber takes over the generation of the link that the group has told: what
// was opened before was of that one too.
func (g *Group) renumber(gen uint16) {
	if gen == g.gen {
		return
	}
	openers := make(map[openerKey]*link.Opener, len(g.openers))
	for k, opener := range g.openers {
		openers[openerKey{k.conn, gen}] = opener
	}
	g.openers, g.gen = openers, gen
}

// forgetOpeners drops what opens the envelopes of a connection that is gone for
// good.
func (g *Group) forgetOpeners(conn link.ConnID) {
	for k := range g.openers {
		if k.conn == conn {
			delete(g.openers, k)
		}
	}
}

// onlyHere reports whether a commit failed at its secret part, which is
// different for every member: the others may have followed it.
func onlyHere(err error) bool { return errors.Is(err, mls.ErrDecrypt) }
