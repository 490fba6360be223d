package mls

import (
	"bytes"
	"slices"
)

// updatePath is UpdatePath (RFC 9420 7.6): a new leaf and new keys for the
// nodes above it.
type updatePath struct {
	leaf  *LeafNode
	nodes []pathNode
}

// pathNode is UpdatePathNode: the new key of a node and its path secret,
// encrypted to the resolution of the copath child.
type pathNode struct {
	encryptionKey []byte
	secrets       []hpkeCiphertext
}

func (p *updatePath) encode(w *writer) {
	p.leaf.encode(w)
	w.vector(func(w *writer) {
		for _, n := range p.nodes {
			w.opaque(n.encryptionKey)
			w.vector(func(w *writer) {
				for i := range n.secrets {
					n.secrets[i].encode(w)
				}
			})
		}
	})
}

func (p *updatePath) decode(r *reader) {
	p.leaf = new(LeafNode)
	p.leaf.decode(r)
	r.vector(maxDepth, func(r *reader) {
		n := pathNode{encryptionKey: r.opaque()}
		r.vector(MaxLeaves, func(r *reader) {
			var c hpkeCiphertext
			c.decode(r)
			n.secrets = append(n.secrets, c)
		})
		p.nodes = append(p.nodes, n)
	})
}

// privateKeys are the private keys that a member holds: that of its leaf and
// those of the nodes above that it was told. Every state of a group that begins
// an epoch has its own, so that they can be overwritten with it.
type privateKeys map[nodeIndex]*privateKey

func (k privateKeys) clone() privateKeys {
	out := make(privateKeys, len(k))
	for x, key := range k {
		out[x] = key.clone()
	}
	return out
}

// put takes over a key, in place of the one that was there.
func (k privateKeys) put(x nodeIndex, key *privateKey) {
	if old := k[x]; old != nil {
		old.erase()
	}
	k[x] = key
}

// erase overwrites all keys and forgets them.
func (k privateKeys) erase() {
	for _, key := range k {
		key.erase()
	}
	clear(k)
}

// prune drops the keys that are not those of the tree any more, and reports
// whether the own leaf's is still there.
func (k privateKeys) prune(t *Tree, own LeafIndex) error {
	for x, key := range k {
		if int(x) >= len(t.nodes) || t.nodes[x].blank() || !bytes.Equal(t.nodes[x].encryptionKey(), key.public) {
			key.erase()
			delete(k, x)
		}
	}
	if k[own.node()] == nil {
		return refuse(ErrState, "no private key for the own leaf")
	}
	return nil
}

// pathSecrets lists path secrets from one node of a filtered direct path
// upwards; after the last one comes the commit secret (RFC 9420 7.4).
type pathSecrets [][]byte

func (s pathSecrets) erase() {
	for _, secret := range s {
		clear(secret)
	}
}

// deriveSecrets derives n path secrets from the first one.
func deriveSecrets(first []byte, n int) (secrets pathSecrets, commitSecret []byte) {
	for range n {
		secrets = append(secrets, first)
		first = deriveSecret(first, "path")
	}
	return secrets, first
}

// nodeKey derives the key pair of the node that a path secret belongs to.
func (s CipherSuite) nodeKey(pathSecret []byte) (*privateKey, error) {
	seed := deriveSecret(pathSecret, "node")
	defer clear(seed)
	return s.deriveKey(seed)
}

// setPath puts new public keys on the filtered direct path of a leaf, blanks
// the rest of the path, and returns the parent hash that the new leaf has to
// carry (RFC 9420 7.5, 7.9). The leaf itself is set by the caller.
func (t *Tree) setPath(l LeafIndex, filtered []nodeIndex, keys [][]byte) []byte {
	t.blankPath(l)
	var above []byte // the parent hash for the node below, from the root down
	for i, x := range slices.Backward(filtered) {
		p := &parentNode{encryptionKey: keys[i], parentHash: above}
		t.set(x, node{parent: p})
		above = parentHash(p, t.hashOf(copathChild(x, l)))
	}
	return above
}

// newPath is an update path that its sender is making. The leaf's signature
// comes from outside, between prepare and finish.
type newPath struct {
	tree     *Tree
	sender   LeafIndex
	leaf     *LeafNode
	filtered []nodeIndex
	secrets  pathSecrets

	commitSecret []byte
	keys         privateKeys
	exclude      []LeafIndex // members added in the same commit
}

// preparePath replaces the path of the sender in t with fresh keys (RFC 9420
// 7.5). It returns the path with an unsigned leaf that has the identity of the
// old one.
func preparePath(suite CipherSuite, t *Tree, sender LeafIndex, added []LeafIndex) (*newPath, error) {
	leafKey, err := suite.generateKey()
	if err != nil {
		return nil, err
	}
	p := &newPath{tree: t, sender: sender, exclude: added, filtered: t.filteredPath(sender)}
	p.secrets, p.commitSecret = deriveSecrets(randomBytes(hashSize), len(p.filtered))
	p.keys = privateKeys{sender.node(): leafKey}
	public := make([][]byte, len(p.filtered))
	for i, x := range p.filtered {
		key, err := suite.nodeKey(p.secrets[i])
		if err != nil {
			return nil, err
		}
		p.keys[x], public[i] = key, key.public
	}
	leaf := *t.Leaf(sender)
	leaf.EncryptionKey = leafKey.public
	leaf.Source, leaf.Lifetime, leaf.Signature = LeafCommit, Lifetime{}, nil
	leaf.ParentHash = t.setPath(sender, p.filtered, public)
	p.leaf = &leaf
	return p, nil
}

// finish signs the leaf, so that the tree is complete and has its hash.
func (p *newPath) finish(signature []byte) {
	p.leaf.Signature = bytes.Clone(signature)
	p.tree.set(p.sender.node(), node{leaf: p.leaf})
}

// encrypt makes the message: each path secret for all members below the copath
// child of its node, save those that are added in the same commit and get it
// with their Welcome. context is the provisional GroupContext.
func (p *newPath) encrypt(suite CipherSuite, context []byte) (*updatePath, error) {
	path := &updatePath{leaf: p.leaf}
	for i, x := range p.filtered {
		n := pathNode{encryptionKey: p.tree.nodes[x].parent.encryptionKey}
		for _, y := range p.tree.recipients(x, p.sender, p.exclude) {
			c, err := suite.encryptWithLabel(p.tree.nodes[y].encryptionKey(), "UpdatePathNode", context, p.secrets[i])
			if err != nil {
				return nil, err
			}
			n.secrets = append(n.secrets, c)
		}
		path.nodes = append(path.nodes, n)
	}
	return path, nil
}

// secretFor is the path secret of the lowest node that covers both the sender
// and l; nil if there is no such node.
func (p *newPath) secretFor(l LeafIndex) []byte {
	if i := slices.Index(p.filtered, commonAncestor(p.sender, l)); i >= 0 {
		return p.secrets[i]
	}
	return nil
}

// erase overwrites the path secrets, the commit secret and the keys: whoever
// goes on with the path has copies.
func (p *newPath) erase() {
	p.secrets.erase()
	clear(p.commitSecret)
	p.keys.erase()
}

// recipients is the resolution of the copath child of x, without the excluded
// leaves: those that the path secret of x is encrypted to, in order.
func (t *Tree) recipients(x nodeIndex, sender LeafIndex, exclude []LeafIndex) []nodeIndex {
	return slices.DeleteFunc(t.resolution(copathChild(x, sender)), func(y nodeIndex) bool {
		return y.isLeaf() && slices.Contains(exclude, y.leaf())
	})
}

// mergePath checks a received update path against the tree and puts its public
// part there (RFC 9420 7.5, 12.4.2). It returns the filtered direct path.
func (t *Tree) mergePath(suite CipherSuite, groupID []byte, sender LeafIndex, path *updatePath, added []LeafIndex) ([]nodeIndex, error) {
	if path.leaf.Source != LeafCommit {
		return nil, refuse(ErrPath, "leaf node source %d", uint64(path.leaf.Source))
	}
	if err := path.leaf.check(suite, groupID, sender); err != nil {
		return nil, err
	}
	filtered := t.filteredPath(sender)
	if len(path.nodes) != len(filtered) {
		return nil, refuse(ErrPath, "%d nodes where %d belong", uint64(len(path.nodes)), uint64(len(filtered)))
	}
	present := make(map[string]bool)
	for _, n := range t.nodes {
		if !n.blank() {
			present[string(n.encryptionKey())] = true
		}
	}
	fresh := func(key []byte) bool {
		seen := present[string(key)]
		present[string(key)] = true
		return !seen
	}
	if !fresh(path.leaf.EncryptionKey) {
		return nil, refuse(ErrPath, "encryption key of the leaf is in use")
	}
	keys := make([][]byte, len(filtered))
	for i, n := range path.nodes {
		if _, err := suite.publicKey(n.encryptionKey); err != nil {
			return nil, refuse(ErrPath, "key %d", uint64(i))
		}
		if !fresh(n.encryptionKey) {
			return nil, refuse(ErrPath, "encryption key %d is in use", uint64(i))
		}
		if len(n.secrets) != len(t.recipients(filtered[i], sender, added)) {
			return nil, refuse(ErrPath, "wrong number of ciphertexts for key %d", uint64(i))
		}
		keys[i] = n.encryptionKey
	}
	if want := t.setPath(sender, filtered, keys); !bytes.Equal(path.leaf.ParentHash, want) {
		return nil, refuse(ErrPath, "parent hash")
	}
	t.set(sender.node(), node{leaf: path.leaf})
	return filtered, nil
}

// decryptPath finds the path secret that is meant for the member own, derives
// the keys above it, checks them against the tree (which has the path merged)
// and adds them to keys. It returns the commit secret. A secret that does not
// open or is not that of the path is ErrDecrypt: this member alone is concerned,
// and the others may go on.
func (t *Tree) decryptPath(suite CipherSuite, keys privateKeys, own, sender LeafIndex, path *updatePath, filtered []nodeIndex, added []LeafIndex, context []byte) ([]byte, error) {
	at := slices.Index(filtered, commonAncestor(own, sender))
	if at < 0 {
		return nil, refuse(ErrPath, "no common node with the sender")
	}
	for i, y := range t.recipients(filtered[at], sender, added) {
		key := keys[y]
		if key == nil {
			continue
		}
		secret, err := key.decryptWithLabel("UpdatePathNode", context, path.nodes[at].secrets[i])
		if err != nil {
			return nil, err
		}
		commitSecret, err := t.addSecrets(suite, keys, filtered[at:], secret)
		if err != nil {
			return nil, refuse(ErrDecrypt, "path secret is not that of the path")
		}
		return commitSecret, nil
	}
	return nil, refuse(ErrDecrypt, "no path secret for this member")
}

// addSecrets derives the private keys of nodes (a filtered direct path from
// some node up) from the path secret of the first, which it overwrites, checks
// that they match the tree, and returns the commit secret.
func (t *Tree) addSecrets(suite CipherSuite, keys privateKeys, nodes []nodeIndex, secret []byte) ([]byte, error) {
	if len(secret) != hashSize {
		clear(secret)
		return nil, refuse(ErrPath, "path secret of %d bytes", uint64(len(secret)))
	}
	secrets, commitSecret := deriveSecrets(secret, len(nodes))
	defer secrets.erase()
	for i, x := range nodes {
		key, err := suite.nodeKey(secrets[i])
		if err != nil {
			return nil, err
		}
		if p := t.nodes[x].parent; p == nil || !bytes.Equal(p.encryptionKey, key.public) {
			return nil, refuse(ErrPath, "secret does not match the key of node %d", uint64(x))
		}
		keys.put(x, key)
	}
	return commitSecret, nil
}
