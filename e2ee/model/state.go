package model

// Rules are what the protocol does against each fault. All true is the
// protocol.
type Rules struct {
	// Slots: the service accepts a commit only for the next slot of its log.
	Slots bool
	// Echo: a committer goes on with its commit when the log has it.
	Echo bool
	// Path: a commit that removes somebody carries new path secrets.
	Path bool
	// PSK: a commit that adds somebody mixes in the key from the link.
	PSK bool
	// Welcome: a Welcome tells nothing of the epoch before.
	Welcome bool
	// Once: a commit that was processed is not processed again.
	Once bool
	// Fresh: who starts again joins again, with no key from before.
	Fresh bool
	// Resume: who missed something asks for the log from where it is.
	Resume bool
	// Claims: who is ahead of a restarted service joins again.
	Claims bool
	// Newer: a commit that adds an older key package of a member is refused.
	Newer bool
}

// Protocol has all rules.
func Protocol() Rules {
	return Rules{Slots: true, Echo: true, Path: true, PSK: true, Welcome: true, Once: true, Fresh: true, Resume: true, Claims: true, Newer: true}
}

const (
	clients = 4
	ghost   = clients // an outsider whose key package the service slips in

	// maxEpochs is the room for epochs in a state: those that the search makes
	// and the few that settling down takes.
	maxEpochs = 16
)

// set is a set of clients, and the ghost.
type set uint8

const everybody set = 1<<clients - 1

func one(c int) set             { return 1 << c }
func (s set) has(c int) bool    { return s&one(c) != 0 }
func (s set) without(o set) set { return s &^ o }

// none stands for no epoch.
const none int8 = -1

// epoch is what a commit leads to; every commit leads to one of its own.
type epoch struct {
	parent  int8
	group   uint8 // counts the groups of the room
	number  uint8
	members set // may include the ghost
	adds    set
	kps     [clients]uint8 // which key package of those added
	path    bool
	psk     bool
	older   bool // adds an older key package of a member in its place
	knows   set  // who can derive the secret
	used    set  // who has used its key with counter 0
}

// phase is what a client is doing.
type phase uint8

const (
	absent  phase = iota
	waiting       // has sent a key package
	member
	crashed
)

// client is one client; what it holds in memory is gone after a crash.
type client struct {
	phase  phase
	epoch  int8
	pos    uint8 // log entries processed
	cursor uint8 // log entries delivered
	own    int8  // the epoch of its own commit that waits for the log
	kp     uint8 // its last key package; a Welcome for an earlier one does not open
	sent   bool  // has used counter 0 in this epoch
}

// state is a state of the room.
type state struct {
	n       int8
	epochs  [maxEpochs]epoch
	clients [clients]client

	// The service. A service that equivocates has a second log, for a side.
	log    [2][maxEpochs]int8
	length [2]uint8
	side   set
	forked bool
	asking set // key packages that wait
	gone   set // clients whose connection is gone, or who left
	groups uint8

	reused    bool // somebody used a key twice with one counter
	displaced bool // a member was thrown out by another
}

// initial is a room with the given number of members, of whom the first made it
// and let the others in at once.
func initial(members int) state {
	r, s := Protocol(), state{}
	for i := range s.clients {
		s.clients[i] = client{epoch: none, own: none}
	}
	s.create(0)
	for c := 1; c < members; c++ {
		s.ask(c)
	}
	if members > 1 {
		r.commit(&s, 0, true)
		r.accept(&s, 0)
		for c := range members {
			r.deliver(&s, c)
		}
	}
	return s
}

// view is the log that the service shows to c.
func (s *state) view(c int) int {
	if s.side.has(c) {
		return 1
	}
	return 0
}

// in is the set of clients that are members by their own lights.
func (s *state) in() (out set) {
	for i, c := range s.clients {
		if c.phase == member {
			out |= one(i)
		}
	}
	return out
}

// hash names a state in 64 bits; two states with one name are taken for one,
// which in a search of a million states happens with probability 3 in 10^8.
func (s *state) hash() uint64 {
	h := uint64(14695981039346656037)
	mix := func(v uint64) { // one step of FNV-1a, with the bits spread (splitmix64)
		h = (h ^ v) * 1099511628211
		h ^= h >> 29
		h *= 0xbf58476d1ce4e5b9
		h ^= h >> 32
	}
	flag := func(b bool) uint64 {
		if b {
			return 1
		}
		return 0
	}
	for _, e := range s.epochs[:s.n] {
		mix(uint64(uint8(e.parent)) | uint64(e.group)<<8 | uint64(e.number)<<16 | uint64(e.members)<<24 |
			uint64(e.adds)<<32 | uint64(e.knows)<<40 | uint64(e.used)<<48 | flag(e.path)<<56 | flag(e.psk)<<57 | flag(e.older)<<58)
	}
	for _, e := range s.epochs[:s.n] {
		mix(uint64(e.kps[0]) | uint64(e.kps[1])<<8 | uint64(e.kps[2])<<16 | uint64(e.kps[3])<<24)
	}
	for _, c := range s.clients {
		mix(uint64(c.phase) | uint64(uint8(c.epoch))<<8 | uint64(c.pos)<<16 | uint64(c.cursor)<<24 | uint64(uint8(c.own))<<32 | flag(c.sent)<<40 | uint64(c.kp)<<48)
	}
	for side, n := range s.length {
		mix(uint64(n))
		for _, e := range s.log[side][:n] {
			mix(uint64(uint8(e)))
		}
	}
	mix(uint64(s.side) | uint64(s.asking)<<8 | uint64(s.gone)<<16 | uint64(s.groups)<<24 | flag(s.forked)<<32 | flag(s.reused)<<33 | flag(s.displaced)<<34 | uint64(uint8(s.n))<<40)
	return h
}
