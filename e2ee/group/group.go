package group

import (
	"bytes"
	"slices"
	"time"

	"sotto/e2ee/link"
	"sotto/e2ee/mls"
)

const (
	// maxRoster bounds the connections in a room; the service allows 256.
	maxRoster = 1024
	// maxNewcomers bounds the key packages that wait, maxKnocks how many of
	// them are shown.
	maxNewcomers = 256
	maxKnocks    = 64
	// maxUsed bounds the memory of used key packages and of connections that
	// left, 32 and 16 bytes each.
	maxUsed = 4096
	// maxOldEpochs bounds the epochs whose late messages still open.
	maxOldEpochs = 32
	// maxQueue bounds the application messages that wait for a commit or a
	// signature.
	maxQueue = 64
)

// Group is the membership of one client. See the package documentation. It is
// not safe for concurrent use.
type Group struct {
	cfg  Config
	keys *link.Keys // of the newest generation
	gen  uint16
	// former are the keys before the last rotation, for late messages.
	former      *link.Keys
	formerUntil time.Time
	sealer      *link.Sealer
	openers     map[openerKey]*link.Opener

	connected   bool
	ended       bool      // removed for good
	wasMember   bool      // has been in the group and fell out
	lostAt      time.Time // when it fell out
	stuck       bool      // NoticeStuck was given
	unsettled   bool      // the service has been restarted and does not know its groups yet
	unsettledAt time.Time
	roster      map[link.ConnID]bool // others who are in the room
	earlier     map[link.ConnID]bool // of them, who were before this client
	awaited     map[link.ConnID]bool // not back yet since the service was restarted
	departed    recent               // connections seen to leave
	left        map[link.ConnID]bool // of them, those since the commit for slot leftAt-1
	leftAt      uint64
	missed      uint64 // commits for slots before it are of a time of which the roster is not known

	grouped bool     // the room has a group
	at      Position // of the room, if grouped; Slot counts what was received

	cur        *epoch // newest, nil if not a member
	old        []*epoch
	switches   []switching
	stopped    bool // Stop is in force
	admittedAt time.Time
	lastPath   time.Time // own update path
	lastCommit [32]byte  // hash of the last commit that was followed

	founding  *founding
	invites   []*mls.Invitation // own, newest last
	invitedAt time.Time         // when the last one was posted
	inviteAt  time.Time         // when to post the next one
	inviteNum int
	serial    uint32 // of the last one

	newcomers []*newcomer // by arrival
	refused   map[link.ConnID]bool
	used      recent // references of key packages
	absent    map[link.ConnID]time.Time
	arrived   map[link.ConnID]time.Time // members added a moment ago
	knocks    []Knock                   // as last told

	pending  *pending
	commits  pace
	doubt    doubt
	beats    map[link.ConnID]beat
	wishes   wishes
	task     *task
	lastSign uint32
	queue    []queued
	sealing  *queued // waits for a signature
	stats    Stats
}

type openerKey struct {
	conn link.ConnID
	gen  uint16
}

// Stats are sums since the start.
type Stats struct {
	EnvelopesRefused uint64 // malformed, replayed, of nobody, or not to be opened
	CommitsRefused   uint64 // accepted by the service but not by this client
	CommitsLost      uint64 // own, that lost the race for their slot
	CommitsMade      uint64 // own, that were accepted
}

// New returns the state of a client that is not connected yet.
func New(cfg Config) (*Group, error) {
	if cfg.Link == nil || len(cfg.Identity) != 32 || cfg.Conn == (link.ConnID{}) || cfg.Name != "" && !AcceptName(cfg.Name) {
		return nil, ErrConfig
	}
	cfg.Identity = bytes.Clone(cfg.Identity)
	sealer, err := cfg.Link.Sealer(cfg.Conn)
	if err != nil {
		return nil, err
	}
	return &Group{
		cfg: cfg, keys: cfg.Link, gen: cfg.Gen, sealer: sealer,
		openers:  make(map[openerKey]*link.Opener),
		roster:   make(map[link.ConnID]bool),
		awaited:  make(map[link.ConnID]bool),
		left:     make(map[link.ConnID]bool),
		departed: newRecent(maxUsed),
		refused:  make(map[link.ConnID]bool),
		used:     newRecent(maxUsed),
		absent:   make(map[link.ConnID]time.Time),
		arrived:  make(map[link.ConnID]time.Time),
		beats:    make(map[link.ConnID]beat),
	}, nil
}

// State is where this client stands.
func (g *Group) State() State {
	switch {
	case g.ended:
		return StateRemoved
	case g.cur != nil && g.doubt.kind == trusted:
		return StateMember
	case g.cur != nil || g.wasMember:
		return StateOutOfSync
	case g.connected:
		return StateWaiting
	}
	return StateConnecting
}

// Epoch is the newest epoch; 0 if not a member.
func (g *Group) Epoch() uint64 {
	if g.cur == nil {
		return 0
	}
	return g.cur.number
}

// Own is the own leaf.
func (g *Group) Own() (leaf uint8, ok bool) {
	if g.cur == nil {
		return 0, false
	}
	return g.cur.own, true
}

// Members are all members by leaf, the own included; nil if not a member.
func (g *Group) Members() []Person {
	if g.cur == nil {
		return nil
	}
	return slices.Clone(g.cur.people)
}

// Policy of the group; what was configured for a new one if not a member.
func (g *Group) Policy() Policy {
	if g.cur == nil {
		return g.cfg.Policy
	}
	return g.cur.policy.Policy
}

// IsHost reports whether this client holds the creator's key.
func (g *Group) IsHost() bool { return g.cur != nil && isHost(g.cur.group.ID(), g.cfg.Identity) }

// Authenticator is equal for all members of an epoch, and for nobody else; nil
// if not a member.
func (g *Group) Authenticator() []byte {
	if g.cur == nil {
		return nil
	}
	return g.cur.group.EpochAuthenticator()
}

// ID is the MLS group id, nil if not a member.
func (g *Group) ID() []byte {
	if g.cur == nil {
		return nil
	}
	return bytes.Clone(g.cur.group.ID())
}

// Keys are the link keys of the newest generation, and which that is.
func (g *Group) Keys() (*link.Keys, uint16) { return g.keys, g.gen }

// Stats returns a copy of the counters.
func (g *Group) Stats() Stats { return g.stats }

// config is what MLS asks back: leaves are judged by leafRules, and the one
// pre-shared key is the link's. Which generation an id names is checked against
// the policy of the group, by acceptable and by checkJoined.
func (g *Group) config() mls.Config { return mls.Config{Validator: leafRules{}, PSKs: linkPSK{g}} }

type linkPSK struct{ g *Group }

// PSK implements [mls.PSKSource].
func (s linkPSK) PSK(id mls.PSKID) (secret []byte, ok bool) {
	own := s.g.keys.PSKID(0)
	n := len(own) - 2 // the generation
	if id.Type != mls.PSKExternal || len(id.ID) != len(own) || !bytes.Equal(id.ID[:n], own[:n]) {
		return nil, false
	}
	secret, err := s.g.keys.PSK()
	return secret, err == nil
}

// member is what this client says of itself, in the key package of that number
// or, with 0, as a founder.
func (g *Group) member(now time.Time, role Role, serial uint32) mls.Member {
	// The clocks of members may differ by days, and nobody refuses a key package
	// for its time alone: the service relays it once, in a room's lifetime.
	const day = 24 * 3600
	at := uint64(max(now.Unix(), day))
	return mls.Member{
		Suite:        suite,
		SignatureKey: g.cfg.Identity,
		Credential:   mls.BasicCredential(Credential{Name: g.cfg.Name, Role: role, Conn: g.cfg.Conn, Serial: serial}.Append(nil)),
		Capabilities: mls.DefaultCapabilities(suite, extensionPolicy),
		Lifetime:     mls.Lifetime{NotBefore: at - day, NotAfter: at + 3*day},
	}
}

// recent is a set that forgets the oldest when it is full.
type recent struct {
	max   int
	has   map[string]bool
	order []string
}

func newRecent(n int) recent { return recent{max: n, has: make(map[string]bool)} }

func (r *recent) add(key []byte) {
	if r.has[string(key)] {
		return
	}
	if len(r.order) >= r.max {
		delete(r.has, r.order[0])
		r.order = r.order[1:]
	}
	r.has[string(key)] = true
	r.order = append(r.order, string(key))
}

func (r *recent) contains(key []byte) bool { return r.has[string(key)] }
