package delivery

import (
	"crypto/subtle"
	"errors"
	"time"

	"sotto/signal/protocol"
	"sotto/signal/rate"
)

// What one connection may send. A committer answers everybody who joins within
// 400 ms with one commit, so two a second are more than it needs.
const (
	keyPackageRate, keyPackageBurst = 1, 4
	commitRate, commitBurst         = 2, 4
)

// Refusal says why a message was not accepted. The empty one: it was.
type Refusal string

// The refusals.
const (
	Accepted    Refusal = ""
	NotSettled  Refusal = "not_settled"  // after a restart: nobody knows yet where the group stands
	NoGroup     Refusal = "no_group"     // the room has none
	GroupExists Refusal = "group_exists" // a create, and the room has one
	OtherGroup  Refusal = "other_group"  // of another group than the room's
	StaleSlot   Refusal = "stale_slot"   // a commit for another slot than the next
	NotMember   Refusal = "not_member"   // a commit or an application message by a connection that is no member connection
	CommitRate  Refusal = "commit_rate"  // too many commits
	KeyRate     Refusal = "key_rate"     // too many key packages; the sender is not told
	LogFailed   Refusal = "log_failed"   // the log took nothing
)

// Refusals lists them.
func Refusals() []Refusal {
	return []Refusal{NotSettled, NoGroup, GroupExists, OtherGroup, StaleSlot, NotMember, CommitRate, KeyRate, LogFailed}
}

// Group is a room's group as the delivery service sees it. It is owned by the
// room: not safe for concurrent use.
type Group struct {
	room    protocol.RoomID
	key     []byte
	log     Log
	conns   map[protocol.ConnID]*conn
	members int                        // member connections
	lost    int                        // of them
	hostTag [protocol.HostTagSize]byte // of the group that is there
	claims  *claims                    // nil: it is known where the group stands
}

// conn is a connection in the room.
type conn struct {
	member bool
	// lost: a member connection that has asked to be added (again) since its
	// last commit or welcome. It may be out of step with the others.
	lost        bool
	keyPackages rate.Bucket
	commits     rate.Bucket
}

// New returns the group of a room without connections. key seals tickets; it is
// at least 32 bytes and the same after a restart.
func New(room protocol.RoomID, key []byte, log Log) *Group {
	return &Group{room: room, key: key, log: log, conns: make(map[protocol.ConnID]*conn)}
}

// Position is where the group stands, nil without one or while nobody knows.
func (g *Group) Position() *Position {
	if g.claims != nil {
		return nil
	}
	return g.log.Position()
}

// IsMember reports whether a connection may commit.
func (g *Group) IsMember(id protocol.ConnID) bool {
	c := g.conns[id]
	return c != nil && c.member
}

// IsHost reports whether a token is that of the group's creator.
func (g *Group) IsHost(token []byte) bool {
	if g.Position() == nil || len(token) != protocol.HostTokenSize {
		return false
	}
	tag := protocol.HostTag(token)
	return subtle.ConstantTimeCompare(tag[:], g.hostTag[:]) == 1
}

// Advance is the log's.
func (g *Group) Advance(seen, most uint64) { g.log.Advance(seen, most) }

// Join notes a connection that came into the room.
func (g *Group) Join(id protocol.ConnID) {
	g.conns[id] = &conn{
		keyPackages: rate.New(keyPackageRate, keyPackageBurst),
		commits:     rate.New(commitRate, commitBurst),
	}
}

// Leave notes that a connection has left the room. It reports true when the
// group went with it: no member connection is left that could commit.
func (g *Group) Leave(id protocol.ConnID) (forgotten bool) {
	c := g.conns[id]
	if c == nil {
		return false
	}
	g.dismiss(c)
	delete(g.conns, id)
	return g.forgetDead()
}

// forgetDead forgets a group of which no member connection is left, or only
// lost ones: nobody would ever add them again.
func (g *Group) forgetDead() bool {
	at := g.Position()
	if at == nil || g.lost < g.members {
		return false
	}
	if _, err := g.log.Move(at, nil); err != nil {
		return false
	}
	for _, c := range g.conns {
		g.dismiss(c)
	}
	return true
}

// Create makes the room's group, if there is none, with the sender as its first
// member connection.
func (g *Group) Create(h protocol.EnvelopeHeader, envelope []byte) (seq uint64, _ Refusal) {
	sender := g.conns[h.From]
	switch {
	case sender == nil:
		return 0, NotMember
	case g.claims != nil:
		return 0, NotSettled
	case g.log.Position() != nil:
		return 0, GroupExists
	}
	seq, err := g.log.Move(nil, &Position{Group: h.GroupInstance}, envelope)
	if err != nil {
		return 0, refusalOf(err, GroupExists)
	}
	g.admit(sender)
	g.hostTag = h.To
	return seq, Accepted
}

// KeyPackage lets a key package for the room's group through. A member
// connection that sends one has lost the group; with the last one that the
// others have not lost it is forgotten.
func (g *Group) KeyPackage(now time.Time, h protocol.EnvelopeHeader, envelope []byte) (seq uint64, _ Refusal) {
	sender := g.conns[h.From]
	switch at := g.log.Position(); {
	case sender == nil:
		return 0, NotMember
	case !sender.keyPackages.Take(now, 1):
		return 0, KeyRate
	case g.claims != nil:
		return 0, NotSettled
	case at == nil:
		return 0, NoGroup
	case at.Group != h.GroupInstance:
		return 0, OtherGroup
	}
	seq, err := g.log.Append(envelope)
	if err != nil {
		return 0, LogFailed
	}
	if sender.member && !sender.lost {
		sender.lost = true
		g.lost++
		g.forgetDead()
	}
	return seq, Accepted
}

// Commit accepts a commit for the next slot by a member connection. With a
// welcome, those of admits that are in the room become member connections; the
// welcome's number is the one after the commit's.
func (g *Group) Commit(now time.Time, h protocol.EnvelopeHeader, commit, welcome []byte, admits []protocol.ConnID) (seq uint64, _ Refusal) {
	sender := g.conns[h.From]
	switch at := g.log.Position(); {
	case sender == nil:
		return 0, NotMember
	case !sender.commits.Take(now, 1):
		return 0, CommitRate
	case g.claims != nil:
		return 0, NotSettled
	case at == nil:
		return 0, NoGroup
	case at.Group != h.GroupInstance:
		return 0, OtherGroup
	case !sender.member:
		return 0, NotMember
	}
	envelopes := [][]byte{commit, welcome}
	if welcome == nil {
		envelopes = envelopes[:1]
	}
	from := Position{Group: h.GroupInstance, Slot: h.Slot}
	to := Position{Group: h.GroupInstance, Slot: h.Slot + 1}
	seq, err := g.log.Move(&from, &to, envelopes...)
	if err != nil {
		return 0, refusalOf(err, StaleSlot)
	}
	g.admit(sender)
	for _, id := range admits {
		if c := g.conns[id]; c != nil {
			g.admit(c)
		}
	}
	return seq, Accepted
}

// App gives an application message of a member connection its number. While
// nobody knows who is one, after a restart, everybody's passes: members go on
// talking, and what others say opens nowhere.
func (g *Group) App(h protocol.EnvelopeHeader, envelope []byte) (seq uint64, _ Refusal) {
	sender := g.conns[h.From]
	if sender == nil || !sender.member && g.claims == nil {
		return 0, NotMember
	}
	seq, err := g.log.Append(envelope)
	if err != nil {
		return 0, LogFailed
	}
	return seq, Accepted
}

// admit makes a member connection that has not lost the group.
func (g *Group) admit(c *conn) {
	g.dismiss(c)
	c.member = true
	g.members++
}

// dismiss undoes admit.
func (g *Group) dismiss(c *conn) {
	if c.member {
		g.members--
	}
	if c.lost {
		g.lost--
	}
	c.member, c.lost = false, false
}

// refusalOf tells a lost race from a log that failed.
func refusalOf(err error, moved Refusal) Refusal {
	if errors.Is(err, ErrMoved) {
		return moved
	}
	return LogFailed
}
