package client

import (
	"time"

	"sotto/e2ee/group"
	"sotto/e2ee/link"
	"sotto/e2ee/room"
	"sotto/e2ee/sframe"
	"sotto/signal/protocol"
)

// keys is the participant's end of the encrypted room, with the senders of the own sources. protect may be called by any
// goroutine; everything else under Participant.mu.
type keys struct {
	room    *room.Room
	out     room.Actions
	senders [2]*room.Sender // microphone, camera
}

func newKeys(cfg Config, conn link.ConnID) (*keys, error) {
	r, err := room.New(room.Config{
		Link: cfg.Keys, Gen: cfg.Gen, Conn: conn, Identity: cfg.Identity, Name: cfg.Person,
		HostTag: cfg.HostToken.Tag(), Policy: cfg.Policy, SignMedia: cfg.SignMedia,
	})
	if err != nil {
		return nil, err
	}
	k := &keys{room: r}
	for c := range k.senders {
		k.senders[c] = r.Sender(sframe.Context(c))
	}
	return k, nil
}

// protect appends the protected frame to dst. Before admission to the group nothing may leave.
func (k *keys) protect(dst []byte, context sframe.Context, codec sframe.Codec, key bool, frame []byte) ([]byte, error) {
	return k.senders[context].Protect(dst, codec, key, frame)
}

// takeSends moves what is to be sent to dst.
func (k *keys) takeSends(dst [][]byte) [][]byte {
	dst = append(dst, k.out.Send...)
	k.out.Send = k.out.Send[:0]
	return dst
}

// Membership is what a participant knows of the encrypted group.
type Membership struct {
	State   group.State
	Epoch   uint64
	Leaf    uint8
	Host    bool // this participant is
	Policy  group.Policy
	Members []group.Person // own included, by leaf
	// Authenticator is equal for all members of the epoch, GroupID for all of the group; safety codes come from them.
	Authenticator, GroupID []byte
	// Link is the room's newest link.
	Link *link.Keys
	Gen  uint16
	// LinkRefused: the service did not take the name of that link, so that nobody can come in by it.
	LinkRefused bool
	// Knocks are those who wait for a member's hand.
	Knocks []group.Knock
}

// Membership is the state of the group as this participant knows it.
func (p *Participant) Membership() Membership {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.keys.room.Group()
	m := Membership{
		State: g.State(), Epoch: g.Epoch(), Host: g.IsHost(), Policy: g.Policy(), Members: g.Members(),
		Authenticator: g.Authenticator(), GroupID: g.ID(), Knocks: p.knocks,
		LinkRefused: p.linkRefused,
	}
	m.Leaf, _ = g.Own()
	m.Link, m.Gen = g.Keys()
	return m
}

// PeerState is how the frames of another participant stand: whether they open and, if it signs its media, are its own.
func (p *Participant) PeerState(conn protocol.ConnID) room.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keys.room.PeerState(link.ConnID(conn))
}

// Admitted is closed when the participant has become a member of the group for the first time: it sends and sees from then on.
func (p *Participant) Admitted() <-chan struct{} { return p.admitted }

// Say sends an application message to all members. The kinds and bodies are those of the protocol document.
func (p *Participant) Say(kind uint8, body []byte) error {
	return p.act(func(now time.Time, g *group.Group, acts *group.Actions) error { return g.Send(now, kind, body, acts) })
}

// Admit lets somebody in who knocks.
func (p *Participant) Admit(conn protocol.ConnID) error {
	return p.act(func(now time.Time, g *group.Group, acts *group.Actions) error {
		return g.Admit(now, link.ConnID(conn), acts)
	})
}

// Refuse turns somebody away who knocks.
func (p *Participant) Refuse(conn protocol.ConnID) error {
	return p.act(func(now time.Time, g *group.Group, acts *group.Actions) error {
		return g.Refuse(now, link.ConnID(conn), acts)
	})
}

// Kick removes a member from the group, and its connection from the service. Only the host can.
func (p *Participant) Kick(conn protocol.ConnID) error {
	err := p.act(func(now time.Time, g *group.Group, acts *group.Actions) error {
		return g.Kick(now, link.ConnID(conn), acts)
	})
	if err != nil {
		return err
	}
	p.say(&protocol.Evict{ID: p.lastID.Add(1), ConnID: conn, Host: protocol.Bytes(p.cfg.HostToken[:])})
	return nil
}

// SetPolicy locks the room or lets newcomers knock. Only the host can.
func (p *Participant) SetPolicy(policy group.Policy) error {
	return p.act(func(now time.Time, g *group.Group, acts *group.Actions) error { return g.SetPolicy(now, policy, acts) })
}

// RotateLink replaces the room's link. Only the host can.
func (p *Participant) RotateLink() error {
	return p.act(func(now time.Time, g *group.Group, acts *group.Actions) error { return g.RotateLink(now, acts) })
}

func (p *Participant) act(f func(time.Time, *group.Group, *group.Actions) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.flush()
	now := time.Now()
	return p.keys.room.Do(now, func(g *group.Group, acts *group.Actions) error { return f(now, g, acts) }, &p.keys.out)
}
