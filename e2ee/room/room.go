package room

import (
	"encoding/binary"
	"errors"
	"strconv"
	"time"

	"sotto/e2ee/link"
	"sotto/e2ee/sframe"
)

const (
	// maxPeers: a leaf is one byte, so nobody else fits.
	maxPeers = 255
	// maxLeft bounds the memory of connections that are gone, 16 bytes each.
	// When it is full newcomers are refused: forgetting one would let a server
	// play its recorded frames again as live.
	maxLeft = 1 << 16
	// heartbeatMin is the shortest heartbeat interval; large rooms beat slower
	// so that a room's heartbeats stay below ten a second.
	heartbeatMin = 5 * time.Second
	// mismatchAfter is how many frames in a row must fail before a peer is shown
	// as mismatched; fewer could be one damaged frame and its remains.
	mismatchAfter = 8
)

// Errors of events that contradict the protocol. Nothing changes then.
var (
	ErrNotAdmitted = errors.New("room: no welcome yet")
	ErrAdmitted    = errors.New("room: second welcome")
	ErrRoster      = errors.New("room: the roster contradicts itself")
	ErrSlots       = errors.New("room: unacceptable slot list")
	ErrEnvelope    = errors.New("room: unacceptable envelope")
)

// Peer is somebody else in the room, as signaling says.
type Peer struct {
	Conn link.ConnID
	Leaf uint8
}

// State is how a peer's frames stand.
type State uint8

// The states of a peer.
const (
	// Waiting: no key yet.
	Waiting State = iota
	// Encrypted: the key is known and frames open with it.
	Encrypted
	// Mismatch: frames do not open with the announced key, or the announcement
	// contradicts what signaling says.
	Mismatch
)

func (s State) String() string {
	switch s {
	case Encrypted:
		return "encrypted"
	case Mismatch:
		return "mismatch"
	}
	return "waiting"
}

// PeerState is a change of a peer's state.
type PeerState struct {
	Conn  link.ConnID
	State State
}

// Name is what a peer wants to be called. Nobody vouches for it.
type Name struct {
	Conn link.ConnID
	Name string
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
	Names     []Name      // to show; the latest of a peer counts
	Frames    []Frame     // frames that had been held, in order, before the one just opened
	KeyFrames []string    // m-lines for which to ask for a key frame
}

// Reset empties a, keeping its memory.
func (a *Actions) Reset() {
	clear(a.Frames)
	a.Send, a.States, a.Names, a.Frames, a.KeyFrames = a.Send[:0], a.States[:0], a.Names[:0], a.Frames[:0], a.KeyFrames[:0]
}

// Stats are sums since the room began.
type Stats struct {
	Opened             uint64
	Dropped            [sframe.NumDrops]uint64 // by sframe.Drop
	EnvelopesRefused   uint64                  // unknown sender, malformed, replayed or false
	KeyFramesRequested uint64
}

// Config of a Room. Conn and Random are fresh for every Room.
type Config struct {
	Keys   *link.Keys
	Conn   link.ConnID
	Random [16]byte
}

// Room is one client's state. See the package documentation.
type Room struct {
	keys   *link.Keys
	conn   link.ConnID
	group  Group
	link   *linkGroup // the same group, as long as keys come from the link
	sealer *link.Sealer

	peers   map[link.ConnID]*peer
	leaves  [256]*peer
	left    map[link.ConnID]struct{}
	slots   map[string]*slot
	order   []*slot // the same, in the order of appearance
	senders [sframe.Data + 1]*sframe.Sender
	beatAt  time.Time
	stats   Stats
}

type peer struct {
	conn      link.ConnID
	leaf      uint8
	state     State
	opener    *link.Opener
	receivers []*sframe.Receiver
	failures  int // frames in a row that did not open
}

// New returns the room of a client that is not admitted yet.
func New(cfg Config) (*Room, error) {
	group, err := newLinkGroup(cfg.Keys, cfg.Conn, cfg.Random)
	if err != nil {
		return nil, err
	}
	sealer, err := cfg.Keys.Sealer(cfg.Conn)
	if err != nil {
		return nil, err
	}
	return &Room{
		keys: cfg.Keys, conn: cfg.Conn, group: group, link: group, sealer: sealer,
		peers: make(map[link.ConnID]*peer),
		left:  make(map[link.ConnID]struct{}),
		slots: make(map[string]*slot),
	}, nil
}

// Stats returns a copy of the counters.
func (r *Room) Stats() Stats { return r.stats }

// Welcome is the admission: own leaf and who is there. It announces the own key
// to all.
func (r *Room) Welcome(now time.Time, leaf uint8, peers []Peer, out *Actions) error {
	if _, ok := r.group.OwnLeaf(); ok {
		return ErrAdmitted
	}
	r.link.admit(leaf)
	r.beatAt = now.Add(r.heartbeatEvery())
	var err error
	for _, p := range peers {
		err = errors.Join(err, r.add(p, out))
	}
	return errors.Join(err, r.send(link.ConnID{}, messageSender, r.link.announcement(), out))
}

// PeerJoined adds a peer and announces the own key to it.
func (r *Room) PeerJoined(_ time.Time, p Peer, out *Actions) error {
	if _, ok := r.group.OwnLeaf(); !ok {
		return ErrNotAdmitted
	}
	if err := r.add(p, out); err != nil {
		return err
	}
	return r.send(p.Conn, messageSender, r.link.announcement(), out)
}

func (r *Room) add(p Peer, out *Actions) error {
	own, _ := r.group.OwnLeaf()
	_, gone := r.left[p.Conn]
	if gone || r.peers[p.Conn] != nil || p.Conn == r.conn || p.Conn == (link.ConnID{}) ||
		len(r.peers) >= maxPeers || len(r.left)+len(r.peers) >= maxLeft {
		return ErrRoster
	}
	if p.Leaf == own || r.leaves[p.Leaf] != nil {
		// Two senders of one leaf could not be told apart by KID. The one that
		// was there first stays.
		out.States = append(out.States, PeerState{p.Conn, Mismatch})
		return ErrRoster
	}
	opener, err := r.keys.Opener(p.Conn)
	if err != nil {
		return err
	}
	q := &peer{conn: p.Conn, leaf: p.Leaf, opener: opener}
	r.peers[p.Conn], r.leaves[p.Leaf] = q, q
	out.States = append(out.States, PeerState{p.Conn, Waiting})
	return nil
}

// PeerLeft forgets a peer and its keys, for good.
func (r *Room) PeerLeft(_ time.Time, conn link.ConnID, _ *Actions) {
	p := r.peers[conn]
	if p == nil {
		return
	}
	delete(r.peers, conn)
	r.leaves[p.leaf] = nil
	r.left[conn] = struct{}{}
	r.link.remove(conn)
}

// Envelope takes a binary signaling message: u64 seq || envelope. Errors are
// for logs; the room goes on.
func (r *Room) Envelope(now time.Time, data []byte, out *Actions) error {
	err := r.envelope(now, data, out)
	if err != nil {
		r.stats.EnvelopesRefused++
	}
	return err
}

func (r *Room) envelope(now time.Time, data []byte, out *Actions) error {
	if len(data) < 8 {
		return ErrEnvelope
	}
	h, _, err := link.ParseEnvelope(data[8:])
	if err != nil {
		return err
	}
	p := r.peers[h.From]
	if p == nil || h.Type != link.TypeApp || h.Gen != 0 || h.Slot != 0 || h.Group != [16]byte{} || (h.To != link.ConnID{} && h.To != r.conn) || h.Epoch != r.group.Epoch() {
		return ErrEnvelope
	}
	_, message, err := p.opener.Open(data[8:])
	if err != nil {
		return err
	}
	if len(message) == 0 {
		return ErrEnvelope
	}
	switch message[0] {
	case messageSender:
		return r.announced(now, p, message[1:], out)
	case messageHeartbeat:
		return decodeHeartbeat(message[1:], func(c sframe.Context, next uint64) {
			if v := r.receiver(p, sframe.MakeKID(c, p.leaf, uint8(r.group.Epoch()))); v != nil {
				v.Heartbeat(next)
			}
		})
	case messageProfile:
		name, err := decodeProfile(message[1:])
		if err != nil {
			return err
		}
		out.Names = append(out.Names, Name{p.conn, name})
	}
	return nil // also for a type of a later version
}

func (r *Room) announced(now time.Time, p *peer, body []byte, out *Actions) error {
	conn, leaf, random, err := decodeAnnouncement(body)
	if err != nil {
		return err
	}
	if conn != p.conn || leaf != p.leaf {
		if p.state == Waiting {
			r.setState(p, Mismatch, out)
		}
		return ErrEnvelope
	}
	fresh, ok := r.link.announce(conn, leaf, random)
	if !ok {
		return ErrEnvelope
	}
	if fresh {
		r.setState(p, Encrypted, out)
		r.releaseAll(now, out)
	}
	return nil
}

// Tick sends heartbeats, drops frames held too long and asks again for key
// frames. It returns when to call it next, at the latest.
func (r *Room) Tick(now time.Time, out *Actions) (next time.Time, err error) {
	next = now.Add(heartbeatMin)
	if _, ok := r.group.OwnLeaf(); ok {
		if !now.Before(r.beatAt) {
			r.beatAt = now.Add(r.heartbeatEvery())
			err = r.beat(out)
		}
		next = r.beatAt
	}
	for _, s := range r.order {
		if at := r.tickSlot(now, s, out); !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return next, err
}

func (r *Room) heartbeatEvery() time.Duration {
	return max(heartbeatMin, time.Duration(len(r.peers)+1)*time.Second/10)
}

func (r *Room) beat(out *Actions) error {
	h := heartbeat{CTR: make(map[string]uint64)}
	for c, s := range r.senders {
		if s != nil {
			h.CTR[strconv.Itoa(c)] = s.Next()
		}
	}
	if len(h.CTR) == 0 {
		return nil // who sends no media has nothing to bound; an audience of hundreds stays silent
	}
	return r.send(link.ConnID{}, messageHeartbeat, h, out)
}

func (r *Room) send(to link.ConnID, kind byte, body any, out *Actions) error {
	message, err := encode(kind, body)
	if err != nil {
		return err
	}
	envelope, err := r.sealer.Seal(link.Header{Type: link.TypeApp, Epoch: r.group.Epoch(), To: to}, message)
	if err != nil {
		return err
	}
	out.Send = append(out.Send, envelope)
	return nil
}

// Sender returns the sender of a source: always the same one for one key, so
// that counters never repeat. The error is [ErrNotAdmitted] before Welcome.
func (r *Room) Sender(c sframe.Context) (*sframe.Sender, error) {
	leaf, ok := r.group.OwnLeaf()
	base, okBase := r.group.SenderBase()
	if !ok || !okBase || int(c) >= len(r.senders) {
		return nil, ErrNotAdmitted
	}
	kid := sframe.MakeKID(c, leaf, uint8(r.group.Epoch()))
	if s := r.senders[c]; s != nil && s.KID() == kid {
		return s, nil
	}
	key, err := sframe.DeriveKey(base, kid)
	if err != nil {
		return nil, err
	}
	r.senders[c] = sframe.NewSender(key)
	return r.senders[c], nil
}

// receiver returns the receiver of a peer's KID, nil if its key is not known.
func (r *Room) receiver(p *peer, kid sframe.KID) *sframe.Receiver {
	for _, v := range p.receivers {
		if v.KID() == kid {
			return v
		}
	}
	_, leaf, epoch, ok := kid.Split()
	if !ok {
		return nil
	}
	base, ok := r.group.ReceiverBase(p.conn, leaf, epoch)
	if !ok {
		return nil
	}
	key, err := sframe.DeriveKey(base, kid)
	if err != nil {
		return nil
	}
	v := sframe.NewReceiver(key)
	p.receivers = append(p.receivers, v)
	return v
}

func (r *Room) setState(p *peer, s State, out *Actions) {
	if p.state != s {
		p.state = s
		out.States = append(out.States, PeerState{p.conn, s})
	}
}

// Sequence reads the service's number of a binary message.
func Sequence(data []byte) (seq uint64, ok bool) {
	if len(data) < 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(data), true
}
