package mls

import "slices"

// hashOf is the tree hash of node x (RFC 9420 7.8), remembered until a node at
// or below x changes.
func (t *Tree) hashOf(x nodeIndex) []byte {
	if t.hashes[x] == nil {
		if x.isLeaf() {
			t.hashes[x] = leafHash(x.leaf(), t.nodes[x].leaf)
		} else {
			t.hashes[x] = innerHash(t.nodes[x].parent, t.hashOf(x.left()), t.hashOf(x.right()))
		}
	}
	return t.hashes[x]
}

// rootHash is the tree hash of the group.
func (t *Tree) rootHash() []byte { return t.hashOf(t.root()) }

// hashWithout is the tree hash that x would have if the given leaves (in
// increasing order) had never been added: the "original" tree hash of RFC 9420
// 7.9. Only the paths to those leaves are computed anew.
func (t *Tree) hashWithout(x nodeIndex, without []LeafIndex) []byte {
	first, end := x.leaves()
	from, _ := slices.BinarySearch(without, first)
	to, _ := slices.BinarySearch(without, end)
	without = without[from:to]
	if len(without) == 0 {
		return t.hashOf(x)
	}
	if x.isLeaf() {
		return leafHash(x.leaf(), nil)
	}
	p := t.nodes[x].parent
	if p != nil {
		original := *p
		original.unmerged = slices.DeleteFunc(slices.Clone(p.unmerged), func(l LeafIndex) bool {
			_, found := slices.BinarySearch(without, l)
			return found
		})
		p = &original
	}
	return innerHash(p, t.hashWithout(x.left(), without), t.hashWithout(x.right(), without))
}

// leafHash hashes TreeHashInput of a leaf; nil is a blank one.
func leafHash(index LeafIndex, leaf *LeafNode) []byte {
	var w writer
	w.u8(1)
	w.u32(uint32(index))
	w.optional(leaf != nil)
	if leaf != nil {
		leaf.encode(&w)
	}
	return hash(w.b)
}

// innerHash hashes TreeHashInput of a parent node; nil is a blank one.
func innerHash(p *parentNode, left, right []byte) []byte {
	var w writer
	w.u8(2)
	w.optional(p != nil)
	if p != nil {
		p.encode(&w)
	}
	w.opaque(left)
	w.opaque(right)
	return hash(w.b)
}

// parentHash is the hash that ties a node to its parent p; sibling is the
// original tree hash of p's other child (RFC 9420 7.9).
func parentHash(p *parentNode, sibling []byte) []byte {
	var w writer
	w.opaque(p.encryptionKey)
	w.opaque(p.parentHash)
	w.opaque(sibling)
	return hash(w.b)
}
