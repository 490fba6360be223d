package room

import (
	"sotto/e2ee/link"
	"sotto/e2ee/sframe"
)

// Group is where keys come from. Base keys are [sframe.BaseKeySize] bytes and
// belong to the group: callers only read them.
type Group interface {
	// Epoch is the current epoch; its low byte is in the KIDs of own frames.
	Epoch() uint64
	// OwnLeaf is the own index in the room; ok is false before admission.
	OwnLeaf() (leaf uint8, ok bool)
	// SenderBase is the base key of own frames in the current epoch.
	SenderBase() (base []byte, ok bool)
	// ReceiverBase is the base key of a connection's frames whose KID has this
	// leaf and epoch; ok is false if there is none (yet).
	ReceiverBase(conn link.ConnID, leaf, epoch uint8) (base []byte, ok bool)
}

// linkGroup takes the keys from the room link: every sender draws 16 random
// bytes at its start and announces them. It has one epoch.
type linkGroup struct {
	keys     *link.Keys
	conn     link.ConnID
	random   [16]byte
	base     []byte
	leaf     uint8
	admitted bool
	members  map[link.ConnID]linkMember
}

type linkMember struct {
	leaf   uint8
	random [16]byte
	base   []byte
}

func newLinkGroup(keys *link.Keys, conn link.ConnID, random [16]byte) (*linkGroup, error) {
	base, err := keys.SenderBase(random, conn)
	if err != nil {
		return nil, err
	}
	return &linkGroup{keys: keys, conn: conn, random: random, base: base, members: make(map[link.ConnID]linkMember)}, nil
}

func (g *linkGroup) Epoch() uint64 { return 0 }

func (g *linkGroup) OwnLeaf() (uint8, bool) { return g.leaf, g.admitted }

func (g *linkGroup) SenderBase() ([]byte, bool) { return g.base, g.admitted }

func (g *linkGroup) ReceiverBase(conn link.ConnID, leaf, epoch uint8) ([]byte, bool) {
	m, ok := g.members[conn]
	if !ok || m.leaf != leaf || epoch != 0 {
		return nil, false
	}
	return m.base, true
}

func (g *linkGroup) admit(leaf uint8) { g.leaf, g.admitted = leaf, true }

// announce keeps the first announcement of a connection. fresh tells that this
// was the first; ok is false if it contradicts the one that was kept.
func (g *linkGroup) announce(conn link.ConnID, leaf uint8, random [16]byte) (fresh, ok bool) {
	if m, known := g.members[conn]; known {
		return false, m.random == random && m.leaf == leaf
	}
	base, err := g.keys.SenderBase(random, conn)
	if err != nil {
		return false, false
	}
	g.members[conn] = linkMember{leaf, random, base}
	return true, true
}

func (g *linkGroup) remove(conn link.ConnID) { delete(g.members, conn) }

func (g *linkGroup) announcement() announcement {
	return announcement{Conn: g.conn.String(), Leaf: int(g.leaf), Random: link.ConnID(g.random).String()}
}

// The two packages agree on the size of a base key.
var _ = [1]struct{}{}[link.BaseKeySize-sframe.BaseKeySize]
