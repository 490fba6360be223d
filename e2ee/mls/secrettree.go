package mls

import (
	"maps"
	"math"
)

// maxSkipped bounds how far a message may be ahead of the last one of its
// sender, and how far behind: 1000 keys of 28 bytes a ratchet. Further back
// the keys are gone.
const maxSkipped = 1000

// ratchetKind tells the two ratchets of a leaf apart (RFC 9420 9).
type ratchetKind uint8

const (
	ratchetHandshake ratchetKind = iota
	ratchetApplication
)

func (k ratchetKind) label() string {
	if k == ratchetHandshake {
		return "handshake"
	}
	return "application"
}

// messageKey encrypts one message.
type messageKey struct{ key, nonce []byte }

func (k messageKey) erase() {
	clear(k.key)
	clear(k.nonce)
}

// secretTree derives the message keys of an epoch (RFC 9420 9). A secret is
// overwritten as soon as what follows from it is derived, and a key as soon as
// it is used, so that what was received cannot be opened again later
// (RFC 9420 9.2).
type secretTree struct {
	size   uint32
	nodes  map[nodeIndex][]byte // secrets not yet split into those below
	leaves map[LeafIndex]*[2]ratchet
}

// ratchet is a symmetric ratchet: the secret of the next generation, and the
// keys of earlier ones that were skipped and may still come.
type ratchet struct {
	secret  []byte
	next    uint64 // beyond math.MaxUint32 the ratchet is at its end
	skipped map[uint32]messageKey
}

func newSecretTree(size uint32, encryptionSecret []byte) *secretTree {
	return &secretTree{
		size:   size,
		nodes:  map[nodeIndex][]byte{rootOf(size): append([]byte(nil), encryptionSecret...)},
		leaves: make(map[LeafIndex]*[2]ratchet),
	}
}

// ratchet returns the ratchet of a leaf, splitting the secrets on the way to
// it when it is asked for the first time.
func (t *secretTree) ratchet(l LeafIndex, kind ratchetKind) (*ratchet, error) {
	if uint32(l) >= t.size {
		return nil, refuse(ErrSender, "leaf %d is not in the tree", uint64(l))
	}
	if pair := t.leaves[l]; pair != nil {
		return &pair[kind], nil
	}
	x := l.node()
	for t.nodes[x] == nil {
		if x == rootOf(t.size) {
			return nil, refuse(ErrState, "secrets are erased")
		}
		x = x.parent()
	}
	for x != l.node() {
		secret := t.nodes[x]
		t.nodes[x.left()] = expandWithLabel(secret, "tree", []byte("left"), hashSize)
		t.nodes[x.right()] = expandWithLabel(secret, "tree", []byte("right"), hashSize)
		clear(secret)
		delete(t.nodes, x)
		if x.left().covers(l) {
			x = x.left()
		} else {
			x = x.right()
		}
	}
	secret := t.nodes[x]
	pair := new([2]ratchet)
	for k := range pair {
		pair[k].secret = expandWithLabel(secret, ratchetKind(k).label(), nil, hashSize)
	}
	clear(secret)
	delete(t.nodes, x)
	t.leaves[l] = pair
	return &pair[kind], nil
}

// derive returns the message key of a generation and the secret of the next.
func derive(secret []byte, generation uint32) (key messageKey, next []byte) {
	key.key = deriveTreeSecret(secret, "key", generation, keySize)
	key.nonce = deriveTreeSecret(secret, "nonce", generation, nonceSize)
	return key, deriveTreeSecret(secret, "secret", generation, hashSize)
}

// next takes the next key of the own ratchet for sending.
func (t *secretTree) next(own LeafIndex, kind ratchetKind) (uint32, messageKey, error) {
	r, err := t.ratchet(own, kind)
	if err != nil {
		return 0, messageKey{}, err
	}
	if r.next > math.MaxUint32 {
		return 0, messageKey{}, refuse(ErrGeneration, "ratchet is at its end")
	}
	generation := uint32(r.next)
	key, secret := derive(r.secret, generation)
	clear(r.secret)
	r.secret, r.next = secret, r.next+1
	return generation, key, nil
}

// keyUse is a message key that was found but not yet used up.
type keyUse struct {
	key        messageKey
	ratchet    *ratchet
	generation uint32

	// The ratchet after the message, if it is ahead of the ratchet now.
	secret  []byte
	skipped map[uint32]messageKey
}

// find looks up the key for a received message without changing the ratchet.
// The caller ends with consume or release.
func (t *secretTree) find(l LeafIndex, kind ratchetKind, generation uint32) (*keyUse, error) {
	r, err := t.ratchet(l, kind)
	if err != nil {
		return nil, err
	}
	use := &keyUse{ratchet: r, generation: generation}
	if uint64(generation) < r.next {
		key, ok := r.skipped[generation]
		if !ok {
			return nil, refuse(ErrGeneration, "generation %d was used or dropped", uint64(generation))
		}
		use.key = key
		return use, nil
	}
	if uint64(generation)-r.next > maxSkipped {
		return nil, refuse(ErrGeneration, "generation %d is too far ahead", uint64(generation))
	}
	use.secret = r.secret
	for g := r.next; g <= uint64(generation); g++ {
		key, secret := derive(use.secret, uint32(g))
		if g > r.next {
			clear(use.secret) // an intermediate one; the ratchet's own stays until consume
		}
		use.secret = secret
		if g == uint64(generation) {
			use.key = key
		} else {
			if use.skipped == nil {
				use.skipped = make(map[uint32]messageKey)
			}
			use.skipped[uint32(g)] = key
		}
	}
	return use, nil
}

// consume uses the key up: it and all secrets it follows from are overwritten.
// Two uses that were found on one ratchet must not both be consumed.
func (u *keyUse) consume() {
	r := u.ratchet
	if u.secret != nil {
		clear(r.secret)
		r.secret, r.next = u.secret, uint64(u.generation)+1
		if r.skipped == nil {
			r.skipped = u.skipped
		} else {
			maps.Copy(r.skipped, u.skipped)
		}
		r.dropOld()
	} else {
		delete(r.skipped, u.generation)
	}
	u.key.erase()
}

// release overwrites what find derived, when the key was not used up: a message
// that is refused must not leave secrets of later ones behind.
func (u *keyUse) release() {
	if u.secret == nil {
		return // the key belongs to the ratchet
	}
	clear(u.secret)
	u.key.erase()
	for _, key := range u.skipped {
		key.erase()
	}
}

// dropOld forgets the keys of messages that are too late.
func (r *ratchet) dropOld() {
	for g, key := range r.skipped {
		if uint64(g)+maxSkipped+1 < r.next {
			key.erase()
			delete(r.skipped, g)
		}
	}
}

// erase overwrites everything; the tree is of no use afterwards.
func (t *secretTree) erase() {
	for _, secret := range t.nodes {
		clear(secret)
	}
	for _, pair := range t.leaves {
		for _, r := range pair {
			clear(r.secret)
			for _, key := range r.skipped {
				key.erase()
			}
		}
	}
	clear(t.nodes)
	clear(t.leaves)
}
