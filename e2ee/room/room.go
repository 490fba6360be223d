package room

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"sotto/e2ee/group"
	"sotto/e2ee/link"
	"sotto/e2ee/sframe"
)

// mismatchAfter is how many frames in a row must fail before a peer is shown
// as mismatched; fewer could be one damaged frame and its remains.
const mismatchAfter = 8

// maxPeers: a leaf is one byte, so nobody else fits.
const maxPeers = 255

// State is how a peer's frames stand.
type State uint8

// The states of a peer.
const (
	// Waiting: not a member of the group yet, so there is no key.
	Waiting State = iota
	// Encrypted: a member; its frames open.
	Encrypted
	// Mismatch: its frames do not open.
	Mismatch
	// Unverified: it signs its media, and of frames that were shown its word is
	// missing. The service may hold it back, or have lost it.
	Unverified
	// Forged: a frame was shown under its name that it did not send. That stays,
	// and nothing of it opens any more.
	Forged
)

func (s State) String() string {
	switch s {
	case Encrypted:
		return "encrypted"
	case Mismatch:
		return "mismatch"
	case Unverified:
		return "unverified"
	case Forged:
		return "forged"
	}
	return "waiting"
}

// PeerState is a change of a peer's state.
type PeerState struct {
	Conn  link.ConnID
	State State
}

// Frame is an opened frame of a bound m-line. Data belongs to the receiver.
type Frame struct {
	MID    string
	Conn   link.ConnID
	Source sframe.Context
	Codec  sframe.Codec
	RTP    uint32
	Data   []byte
}

// Actions is what a client has to do. It is reused: Reset before each event.
type Actions struct {
	Send      [][]byte    // binary signaling messages, in order
	States    []PeerState // to show
	Frames    []Frame     // frames that had been held, in order, before the one just opened
	KeyFrames []string    // m-lines for which to ask for a key frame

	// The membership's, as in [group.Actions].
	Messages      []group.Message // without heartbeats and lists of frames
	Changed       bool
	KnocksChanged bool
	Knocks        []group.Knock
	Notices       []group.Notice
	Link          *group.NewLink
}

// Reset empties a, keeping its memory.
func (a *Actions) Reset() {
	clear(a.Frames)
	*a = Actions{
		Send: a.Send[:0], States: a.States[:0], Frames: a.Frames[:0], KeyFrames: a.KeyFrames[:0],
		Messages: a.Messages[:0], Notices: a.Notices[:0],
	}
}

// Stats are sums since the room began.
type Stats struct {
	Opened             uint64
	Dropped            [sframe.NumDrops]uint64 // by sframe.Drop
	EnvelopesRefused   uint64                  // unknown sender, malformed, replayed, false or against the rules
	KeyFramesRequested uint64
	// Of the opened frames of those who sign their media: told of, contradicted,
	// and not told of in time.
	FramesVerified, FramesForged, FramesUnverified uint64
}

// Config of a Room. Conn is fresh for every Room.
type Config struct {
	Link     *link.Keys
	Gen      uint16
	Conn     link.ConnID
	Identity crypto.Signer // Ed25519; signs at once
	Name     string        // "" or one that group.AcceptName accepts
	HostTag  [16]byte      // of a group that this client founds
	Policy   group.Policy  // of a group that this client founds
	// SignMedia tells the others every second which frames were sent, in groups of
	// at most 16, so that they notice if a member forges some.
	SignMedia bool
}

// Room is one client's state. See the package documentation.
type Room struct {
	conn     link.ConnID
	identity crypto.Signer
	group    *group.Group
	acts     group.Actions // of the event at hand

	peers   map[link.ConnID]*peer // as signaling says
	epochs  []*epoch              // oldest first
	sending uint64                // epoch of the senders
	senders [sframe.Data + 1]Sender

	slots  map[string]*slot
	order  []*slot // the same, in the order of appearance
	beatAt time.Time
	stats  Stats

	journal   *journal // nil: media is not signed
	isSigning bool     // the others were told to expect lists
	signAt    time.Time
	digester  *sframe.Digester
	checkAt   time.Time // zero: nobody signs
}

type peer struct {
	conn     link.ConnID
	state    State // as shown
	fares    State // how its frames open: Waiting, Encrypted or Mismatch
	failures int   // frames in a row that did not open

	signs   bool      // it tells which frames it sent
	doubted time.Time // until then it is Unverified
	forged  bool
}

// New returns the room of a client that is not connected yet.
func New(cfg Config) (*Room, error) {
	public, ok := cfg.Identity.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: the identity is no Ed25519 key", group.ErrConfig)
	}
	g, err := group.New(group.Config{
		Link: cfg.Link, Gen: cfg.Gen, Conn: cfg.Conn, Identity: public,
		Name: cfg.Name, HostTag: cfg.HostTag, Policy: cfg.Policy,
	})
	if err != nil {
		return nil, err
	}
	r := &Room{
		conn: cfg.Conn, identity: cfg.Identity, group: g,
		peers: make(map[link.ConnID]*peer), slots: make(map[string]*slot),
		digester: sframe.NewDigester(),
	}
	if cfg.SignMedia {
		r.journal = newJournal()
	}
	return r, nil
}

// Group is the membership, to read. Its events come through the Room.
func (r *Room) Group() *group.Group { return r.group }

// Stats returns a copy of the counters.
func (r *Room) Stats() Stats { return r.stats }

// PeerState is how the frames of a connection stand.
func (r *Room) PeerState(conn link.ConnID) State {
	if p := r.peers[conn]; p != nil {
		return p.state
	}
	return Waiting
}

// Welcome is the admission by the service: who is there, and where the group
// stands.
func (r *Room) Welcome(now time.Time, peers []link.ConnID, at *group.Position, out *Actions) error {
	err := r.group.Welcome(now, peers, at, &r.acts)
	if err == nil {
		r.beatAt = now.Add(heartbeatMin)
		r.roster(peers, out)
	}
	return errors.Join(err, r.settle(now, out))
}

// Resumed is the welcome of the service after a resumption.
func (r *Room) Resumed(now time.Time, peers []link.ConnID, at *group.Position, lost bool, out *Actions) error {
	err := r.group.Resumed(now, peers, at, lost, &r.acts)
	if err == nil {
		if lost {
			for _, c := range peers {
				r.add(c, out)
			}
		} else {
			r.roster(peers, out)
		}
	}
	return errors.Join(err, r.settle(now, out))
}

// PeerJoined adds a connection.
func (r *Room) PeerJoined(now time.Time, conn link.ConnID, out *Actions) error {
	err := r.group.PeerJoined(now, conn, &r.acts)
	if err == nil {
		r.add(conn, out)
	}
	return errors.Join(err, r.settle(now, out))
}

// PeerLeft takes a connection out.
func (r *Room) PeerLeft(now time.Time, conn link.ConnID, out *Actions) error {
	delete(r.peers, conn)
	r.group.PeerLeft(now, conn, &r.acts)
	return r.settle(now, out)
}

// Peers is the whole list of the other connections, after a restart of the
// service.
func (r *Room) Peers(now time.Time, all []link.ConnID, out *Actions) error {
	r.roster(all, out)
	r.group.Peers(now, all, &r.acts)
	return r.settle(now, out)
}

// Position is the service's message "group"; nil: there is none.
func (r *Room) Position(now time.Time, at *group.Position, out *Actions) error {
	r.group.Position(now, at, &r.acts)
	return r.settle(now, out)
}

// Stale is the service's message "stale".
func (r *Room) Stale(now time.Time, at *group.Position, out *Actions) error {
	r.group.Stale(now, at, &r.acts)
	return r.settle(now, out)
}

// Envelope takes a binary signaling message: u64 seq || envelope. Errors are
// for logs; the room goes on.
func (r *Room) Envelope(now time.Time, data []byte, out *Actions) error {
	err := r.group.Envelope(now, data, &r.acts)
	if err != nil {
		r.stats.EnvelopesRefused++
	}
	return errors.Join(err, r.settle(now, out))
}

// Do lets a person act on the membership: f calls one of the group's methods
// that take Actions, with the ones it is given.
func (r *Room) Do(now time.Time, f func(g *group.Group, acts *group.Actions) error, out *Actions) error {
	err := f(r.group, &r.acts)
	return errors.Join(err, r.settle(now, out))
}

// Tick does what is due: timers of the membership, heartbeats, frames held too
// long, key frames to be asked for again. It returns when to call it next, at
// the latest.
func (r *Room) Tick(now time.Time, out *Actions) (next time.Time, err error) {
	next = r.group.Tick(now, &r.acts)
	if r.group.State() == group.StateMember {
		if !now.Before(r.beatAt) {
			r.beatAt = now.Add(r.heartbeatEvery())
			if body := r.beat(); body != nil {
				err = r.group.Send(now, MessageHeartbeat, body, &r.acts)
			}
		}
		next = earlier(next, r.beatAt)
		if r.journal != nil {
			if !now.Before(r.signAt) {
				r.signAt = now.Add(signEvery)
				err = errors.Join(err, r.sign(now))
			}
			next = earlier(next, r.signAt)
		}
	}
	err = errors.Join(err, r.settle(now, out))
	if at := r.check(now, out); !at.IsZero() {
		next = earlier(next, at)
	}
	for _, s := range r.order {
		if at := r.tickSlot(now, s, out); !at.IsZero() {
			next = earlier(next, at)
		}
	}
	return next, err
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// settle signs what is to be signed and carries out what concerns keys; the
// rest goes on to out.
func (r *Room) settle(now time.Time, out *Actions) error {
	var errs error
	for len(r.acts.Sign) > 0 {
		s := r.acts.Sign[0]
		r.acts.Sign = r.acts.Sign[1:]
		signature, err := r.identity.Sign(nil, s.Message, crypto.Hash(0))
		if err == nil {
			err = r.group.Signed(now, s.ID, signature, &r.acts)
		}
		errs = errors.Join(errs, err)
	}
	errs = errors.Join(errs, r.rekey(out))
	for _, m := range r.acts.Messages {
		var err error
		switch m.Kind {
		case MessageHeartbeat:
			err = r.heard(m.Leaf, m.Body)
		case MessageSignatures:
			err = r.signed(now, m, out)
		default:
			out.Messages = append(out.Messages, m)
		}
		if err != nil {
			r.stats.EnvelopesRefused++
		}
	}
	out.Send = append(out.Send, r.acts.Send...)
	out.Changed = out.Changed || r.acts.Changed
	if r.acts.KnocksChanged {
		out.KnocksChanged, out.Knocks = true, r.acts.Knocks
	}
	out.Notices = append(out.Notices, r.acts.Notices...)
	if r.acts.Link != nil {
		out.Link = r.acts.Link
	}
	news := len(r.acts.Keys) > 0
	r.acts.Reset()
	if news {
		r.releaseAll(now, out)
	}
	return errs
}

// rekey carries out what the membership says about media keys.
func (r *Room) rekey(out *Actions) error {
	if r.acts.Stop {
		r.stopSending()
	}
	for _, k := range r.acts.Keys {
		e := &epoch{number: k.Epoch, base: k.Base, own: k.Leaf, receivers: make(map[sframe.KID]*receiver)}
		for _, m := range k.Members {
			e.members[m.Leaf] = m.Conn
			if p := r.peers[m.Conn]; p != nil && p.fares == Waiting {
				r.setState(p, Encrypted, out)
			}
		}
		r.install(e)
	}
	var errs error
	for _, number := range r.acts.SendEpoch {
		errs = errors.Join(errs, r.sendWith(number))
	}
	for _, d := range r.acts.Dropped {
		for _, e := range r.epochs {
			if e.number <= d.Epoch {
				e.removed[d.Leaf] = true
			}
		}
	}
	for _, number := range r.acts.Forget {
		// An epoch of a line of the group that ended may have had the number of a new one.
		if !slices.ContainsFunc(r.acts.Keys, func(k group.Keys) bool { return k.Epoch == number }) {
			r.forget(number)
		}
	}
	return errs
}

// roster replaces the list of connections.
func (r *Room) roster(all []link.ConnID, out *Actions) {
	there := make(map[link.ConnID]bool, len(all))
	for _, c := range all {
		there[c] = true
		r.add(c, out)
	}
	for c := range r.peers {
		if !there[c] {
			delete(r.peers, c)
		}
	}
}

func (r *Room) add(conn link.ConnID, out *Actions) {
	if r.peers[conn] != nil || conn == r.conn || len(r.peers) >= maxPeers {
		return
	}
	p := &peer{conn: conn}
	r.peers[conn] = p
	out.States = append(out.States, PeerState{conn, Waiting})
	if n := len(r.epochs); n > 0 && r.epochs[n-1].has(conn) {
		r.setState(p, Encrypted, out)
	}
}

// size is the number of connections in the room, the own one included.
func (r *Room) size() int { return len(r.peers) + 1 }

// setState notes how a peer's frames open.
func (r *Room) setState(p *peer, s State, out *Actions) {
	p.fares = s
	r.show(p, out)
}

// show tells a peer's state if it has changed.
func (r *Room) show(p *peer, out *Actions) {
	s := p.fares
	switch {
	case s == Waiting:
	case p.forged:
		s = Forged
	case s == Encrypted && !p.doubted.IsZero():
		s = Unverified
	}
	if p.state != s {
		p.state = s
		out.States = append(out.States, PeerState{p.conn, s})
	}
}
