package group

import (
	"maps"
	"time"

	"sotto/e2ee/link"
)

// Welcome is the service's welcome: who else is in the room, and where its
// group stands; at is nil if there is none.
func (g *Group) Welcome(now time.Time, peers []link.ConnID, at *Position, out *Actions) error {
	if g.connected {
		return ErrOrder
	}
	for _, conn := range peers {
		if err := g.addPeer(conn); err != nil {
			g.roster = make(map[link.ConnID]bool)
			return err
		}
	}
	g.connected = true
	g.earlier = maps.Clone(g.roster)
	out.Changed = true
	g.settle(now, at, out)
	g.run(now, out)
	return nil
}

// Resumed is the welcome after a resumption. If not lost, everything that was
// missed follows. If lost, the service has been restarted: peers is not
// complete, and a group is known only if the room's members have settled it
// already; else a Position follows.
func (g *Group) Resumed(now time.Time, peers []link.ConnID, at *Position, lost bool, out *Actions) error {
	if !g.connected {
		return ErrOrder
	}
	g.commits.unanswered = 0
	if lost {
		if err := g.awaitPeers(peers); err != nil {
			return err
		}
		g.unsettled, g.unsettledAt = at == nil, now
		// Commits of before are posted again, and who went with the service is not seen to leave.
		g.missed = g.at.Slot + 2
		g.newcomers = nil // they ask again, if they still have to
		if g.founding != nil {
			g.founding.sent = false
		}
		if at != nil {
			g.settle(now, at, out)
		}
	} else {
		g.replaceRoster(now, peers)
		if at == nil && g.founding != nil {
			g.founding.sent = false // it was lost with the connection
		}
		if at != nil && g.grouped && at.Group == g.at.Group {
			g.missed = at.Slot + 1 // what comes until then, and what is made just then, may be of people who have left
		}
		switch {
		case at == nil && g.unsettled: // it may still be
		case at == nil || !g.grouped || at.Group != g.at.Group || at.Slot < g.at.Slot:
			g.settle(now, at, out)
		case g.unsettled && at.Slot > g.at.Slot:
			g.settle(now, at, out) // of what was lost in the restart nothing follows
		case g.pending != nil && g.pending.slot == at.Slot:
			g.repost(now, out) // it was lost with the connection
		}
		g.unsettled = g.unsettled && at == nil
		switch {
		case g.cur == nil:
			g.inviteSoon(now)
		case g.doubt.kind == silent:
			g.inviteAt = now.Add(inviteEvery) // the silence may have been the connection's
		}
	}
	g.run(now, out)
	return nil
}

// awaitPeers begins the roster anew after a restart of the service: it holds who
// has come back, as all members see it, although some have not seen others
// leave. Who was there before and may still come is not removed meanwhile.
func (g *Group) awaitPeers(peers []link.ConnID) error {
	before := g.roster
	g.roster = make(map[link.ConnID]bool, len(peers))
	for _, conn := range peers {
		if err := g.addPeer(conn); err != nil {
			g.roster = before
			return err
		}
		delete(before, conn)
	}
	for conn := range before {
		if len(g.awaited) < maxRoster {
			g.awaited[conn] = true
		}
	}
	return nil
}

// PeerJoined adds a connection to the roster.
func (g *Group) PeerJoined(now time.Time, conn link.ConnID, out *Actions) error {
	if !g.connected {
		return ErrOrder
	}
	if err := g.addPeer(conn); err != nil {
		return err
	}
	g.run(now, out)
	return nil
}

func (g *Group) addPeer(conn link.ConnID) error {
	if conn == g.cfg.Conn || conn == (link.ConnID{}) || !g.roster[conn] && len(g.roster) >= maxRoster {
		return ErrRoster
	}
	g.roster[conn] = true
	delete(g.awaited, conn)
	delete(g.absent, conn)
	return nil
}

// PeerLeft takes a connection from the roster. If it is a member, the group
// removes it.
func (g *Group) PeerLeft(now time.Time, conn link.ConnID, out *Actions) {
	if g.roster[conn] || g.awaited[conn] {
		g.removePeer(now, conn)
		g.run(now, out)
	}
}

func (g *Group) removePeer(now time.Time, conn link.ConnID) {
	delete(g.roster, conn)
	delete(g.awaited, conn)
	delete(g.earlier, conn)
	delete(g.refused, conn)
	g.departed.add(conn[:])
	if g.leftAt != g.at.Slot {
		clear(g.left)
		g.leftAt = g.at.Slot
	}
	if len(g.left) < maxRoster {
		g.left[conn] = true
	}
	g.dropNewcomer(conn)
	if g.cur != nil && g.cur.byConn(conn) != nil {
		g.absent[conn] = now
	} else {
		g.forgetOpeners(conn)
	}
}

// Peers is the whole roster, some time after a restart of the service.
func (g *Group) Peers(now time.Time, all []link.ConnID, out *Actions) {
	if !g.connected {
		return
	}
	g.replaceRoster(now, all)
	g.run(now, out)
}

func (g *Group) replaceRoster(now time.Time, all []link.ConnID) {
	there := make(map[link.ConnID]bool, len(all))
	for _, conn := range all {
		there[conn] = true
	}
	for _, known := range []map[link.ConnID]bool{g.roster, g.awaited} {
		for conn := range known {
			if !there[conn] {
				g.removePeer(now, conn)
			}
		}
	}
	for _, conn := range all {
		_ = g.addPeer(conn) // one that is impossible is not there
	}
}

// Position is the service's text message "group".
func (g *Group) Position(now time.Time, at *Position, out *Actions) {
	if !g.connected {
		return
	}
	g.settle(now, at, out)
	g.run(now, out)
}

// Stale is the service's text message "stale": what was sent last is refused,
// and this is the position. It comes in order, so that what led to the position
// has been received, unless the service lost it.
func (g *Group) Stale(now time.Time, at *Position, out *Actions) {
	if !g.connected {
		return
	}
	g.commits.answered()
	if at == nil {
		// No group, or not known yet after a restart: a Position follows.
		g.unsettled, g.unsettledAt = true, now
		if g.founding != nil {
			g.founding.sent = false
		}
		return
	}
	if g.commits.unanswered > 0 {
		return
	}
	if g.pending != nil && g.grouped && *at == g.at {
		// Refused for its rate, or because the service does not count this client
		// among the members, which only being added again can mend.
		g.dropPending()
		if g.commits.refuse(now); g.commits.stuck >= refusals {
			g.commits.stuck = 0
			g.distrust(now, behind, out)
		}
		g.run(now, out)
		return
	}
	g.settle(now, at, out)
	g.run(now, out)
}

// settle takes over what the service says of the room's group. A slot that
// differs from what was received means that the service has been restarted and
// some have seen what others have not, so that this client may have to be added
// again. Until that is certain it goes on in its epoch.
func (g *Group) settle(now time.Time, at *Position, out *Actions) {
	if g.ended {
		return
	}
	g.unsettled = false
	if at == nil {
		g.leaveGroup(now, out)
		return
	}
	if f := g.founding; f != nil && f.gi == at.Group {
		if at.Slot == 0 && g.founded(now, out) == nil {
			return // the echo is under way, or was lost in a restart
		}
	}
	g.founding = nil
	g.dropTask(taskFound)
	if !g.grouped || at.Group != g.at.Group {
		g.leaveGroup(now, out)
		g.grouped, g.at = true, *at
		g.inviteSoon(now)
		return
	}
	differs := at.Slot != g.at.Slot
	g.at = *at
	if g.cur == nil {
		g.inviteSoon(now)
		return
	}
	if g.pending != nil {
		if g.pending.slot == at.Slot {
			g.repost(now, out)
		} else {
			g.dropPending()
		}
	}
	if differs {
		g.dropTask(taskCommit)
		g.distrust(now, behind, out)
	}
}

// leaveGroup forgets the group, since the room has another one or none.
func (g *Group) leaveGroup(now time.Time, out *Actions) {
	g.lose(now, out)
	g.eraseAll(out)
	g.grouped = false
	g.missed = 0
	g.newcomers = nil
	g.inviteNum = 0
	g.dropInvites()
	g.used = newRecent(maxUsed)
}
