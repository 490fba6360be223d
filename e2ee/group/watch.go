package group

import (
	"time"

	"sotto/e2ee/link"
)

// doubt is the suspicion that the group has gone on without this client, which
// until that is certain goes on in its epoch.
type doubt struct {
	kind   suspicion
	since  time.Time
	by     link.ConnID // whose commit raised it, if it is suspect
	called bool        // this client has called the others
}

// suspicion is the ground for a doubt; the later weighs more.
type suspicion uint8

const (
	trusted suspicion = iota
	// suspect: a commit of a later epoch, or one whose secret does not open. It
	// is for everybody to see and may be a lie of one member, who must not be able
	// to make all the others ask to be added: then nobody would be left to add
	// them. So the first in rank calls with an empty commit, which those who are
	// in one epoch follow.
	suspect
	// behind: the service's position is not this client's. It asks to be added
	// again.
	behind
	// silent: no longer heard by others. Media stops as well.
	silent
)

const (
	// callAfter is when the first in rank calls, and askAfter when who has not been
	// called asks to be added again.
	callAfter = 300 * time.Millisecond
	askAfter  = 1500 * time.Millisecond
)

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

// distrust begins a doubt, or adds a weightier ground to it.
func (g *Group) distrust(now time.Time, kind suspicion, out *Actions) {
	if g.cur == nil || kind <= g.doubt.kind {
		return
	}
	if g.doubt.kind == trusted {
		g.doubt.since = now
		g.inviteNum, g.inviteAt = 0, now.Add(askAfter)
		out.Notices = append(out.Notices, Notice{Code: NoticeOutOfSync})
		out.Changed = true
	}
	g.doubt.kind = kind
	if kind > suspect {
		g.inviteSoon(now)
	}
	if kind == silent {
		g.stop(out)
	}
}

// trust ends a doubt.
func (g *Group) trust(out *Actions) {
	g.doubt = doubt{}
	g.stuck = false
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
	if g.doubt.kind == suspect && conn != g.doubt.by {
		g.trust(out)
	}
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
	if now.Sub(g.cur.began) < wait && g.doubt.kind != silent {
		return false // they had no time yet; but a new epoch by itself ends no suspicion
	}
	beating, mute := 0, 0
	for conn, b := range g.beats {
		if !g.roster[conn] {
			continue
		}
		beating++
		if b.epoch != g.cur.number || now.Sub(b.at) >= wait {
			mute++
		}
	}
	return mute > 0 && 2*mute >= beating
}

func (g *Group) silenceAfter() time.Duration {
	return silenceBeats * max(beatMin, time.Duration(len(g.cur.people))*time.Second/10)
}

// watch looks for silence.
func (g *Group) watch(now time.Time, out *Actions) {
	if g.cur == nil {
		return
	}
	switch {
	case g.silence(now):
		g.distrust(now, silent, out)
	case g.doubt.kind == silent:
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
