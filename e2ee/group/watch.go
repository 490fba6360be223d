package group

import (
	"time"

	"sotto/e2ee/link"
)

// doubt is the suspicion that the group has gone on without this client. It
// asks to be added again, and until it is certain goes on in its epoch.
type doubt struct {
	on     bool
	silent bool // no longer heard by others: media stops until that is cleared
	ahead  bool // somebody has been heard from a later epoch
	since  time.Time
}

// beat is the last heartbeat of a member.
type beat struct {
	epoch uint64
	at    time.Time
}

const (
	// beatMin is the shortest heartbeat interval; large rooms beat slower.
	beatMin = 5 * time.Second
	// silenceBeats is how many intervals half of the others must be silent.
	silenceBeats = 3
)

// distrust begins a doubt, or makes it one that stops media.
func (g *Group) distrust(now time.Time, silent bool, out *Actions) {
	if g.cur == nil || g.doubt.on && (g.doubt.silent || !silent) {
		return
	}
	if !g.doubt.on {
		g.doubt = doubt{on: true, since: now}
		out.Notices = append(out.Notices, Notice{Code: NoticeOutOfSync})
		out.Changed = true
		g.inviteNum = 0
		g.inviteSoon(now)
	}
	if silent {
		g.doubt.silent = true
		g.stop(out)
	}
}

// trust ends a doubt.
func (g *Group) trust(out *Actions) {
	g.doubt = doubt{}
	g.dropTask(taskInvite)
	g.inviteAt = time.Time{}
	out.Notices = append(out.Notices, Notice{Code: NoticeRejoined})
	out.Changed = true
	if g.stopped && len(g.switches) == 0 {
		g.stopped = false
		out.SendEpoch = append(out.SendEpoch, g.cur.number)
	}
}

// heard notes a valid message of a member in the current epoch: neither side
// has to be added again.
func (g *Group) heard(now time.Time, conn link.ConnID, kind uint8, out *Actions) {
	g.dropNewcomer(conn)
	if kind != kindHeartbeat {
		return
	}
	g.beats[conn] = beat{g.cur.number, now}
	g.watch(now, out)
}

// silence reports whether half or more of the members who used to send
// heartbeats have sent none in the current epoch for some intervals, so that
// they may have gone on to another one: a service that withholds a commit can do
// no more than that, for so long.
func (g *Group) silence(now time.Time) bool {
	wait := g.silenceAfter()
	if now.Sub(g.cur.began) < wait && !g.doubt.silent {
		return false // they had no time yet; but a new epoch by itself ends no suspicion
	}
	beating, silent := 0, 0
	for conn, b := range g.beats {
		if !g.roster[conn] {
			continue
		}
		beating++
		if b.epoch != g.cur.number || now.Sub(b.at) >= wait {
			silent++
		}
	}
	return silent > 0 && 2*silent >= beating
}

func (g *Group) silenceAfter() time.Duration {
	return silenceBeats * max(beatMin, time.Duration(len(g.cur.people))*time.Second/10)
}

// watch looks for silence.
func (g *Group) watch(now time.Time, out *Actions) {
	if g.cur == nil {
		return
	}
	switch silent := g.silence(now); {
	case silent:
		g.distrust(now, true, out)
	case g.doubt.silent:
		g.trust(out)
	}
}

// noteAbsent notes who is in the tree and not in the room. A connection that
// was never seen may still come, after a restart of the service.
func (g *Group) noteAbsent(now time.Time) {
	for conn := range g.absent {
		if g.cur.byConn(conn) == nil {
			delete(g.absent, conn)
		}
	}
	for k := range g.openers {
		if !g.roster[k.conn] && g.cur.byConn(k.conn) == nil {
			delete(g.openers, k)
		}
	}
	for _, p := range g.cur.people {
		if p.Conn == g.cfg.Conn || g.roster[p.Conn] || g.awaited[p.Conn] {
			continue
		}
		if _, known := g.absent[p.Conn]; known {
			continue
		}
		since := now
		if !g.departed.contains(p.Conn[:]) {
			if patient := g.admittedAt.Add(neverSeen); patient.After(now) {
				since = patient
			}
		}
		g.absent[p.Conn] = since
	}
}
