package mls

import (
	"iter"
	"slices"
)

// MaxLeaves bounds the tree: a tree beyond it is neither read nor built. It
// keeps what a hostile member can make others compute and store within reason.
const MaxLeaves = 1024

// parentNode is ParentNode (RFC 9420 7.1). Like leaf nodes, parent nodes are
// shared between trees and never changed in place.
type parentNode struct {
	encryptionKey []byte
	parentHash    []byte
	unmerged      []LeafIndex // increasing
}

func (p *parentNode) encode(w *writer) {
	w.opaque(p.encryptionKey)
	w.opaque(p.parentHash)
	w.length(4 * len(p.unmerged))
	for _, l := range p.unmerged {
		w.u32(uint32(l))
	}
}

func (p *parentNode) decode(r *reader) {
	p.encryptionKey = r.opaque()
	p.parentHash = r.opaque()
	r.vector(MaxLeaves, func(r *reader) {
		l := LeafIndex(r.u32())
		if n := len(p.unmerged); n > 0 && p.unmerged[n-1] >= l {
			r.fail("unmerged leaves are not in order")
		}
		p.unmerged = append(p.unmerged, l)
	})
}

// node is one place of the tree: at most one of the two is set, both are nil
// when it is blank.
type node struct {
	leaf   *LeafNode
	parent *parentNode
}

func (n node) blank() bool { return n.leaf == nil && n.parent == nil }

func (n node) encryptionKey() []byte {
	if n.leaf != nil {
		return n.leaf.EncryptionKey
	}
	return n.parent.encryptionKey
}

// Tree is the public ratchet tree of a group (RFC 9420 4.1, 7). Applications
// read it; it belongs to the state of the group that returned it.
type Tree struct {
	nodes  []node   // 2n-1 of them, n a power of two
	hashes [][]byte // tree hash of each node, nil where it must be computed anew
}

// newTree returns a tree with one member.
func newTree(leaf *LeafNode) *Tree {
	return &Tree{nodes: []node{{leaf: leaf}}, hashes: make([][]byte, 1)}
}

// clone returns an independent tree that shares the nodes.
func (t *Tree) clone() *Tree {
	return &Tree{nodes: slices.Clone(t.nodes), hashes: slices.Clone(t.hashes)}
}

// size is the number of places for leaves, blank or not.
func (t *Tree) size() uint32 { return uint32(len(t.nodes)+1) / 2 }

func (t *Tree) root() nodeIndex { return rootOf(t.size()) }

// Leaf returns the member at index l; nil if there is none.
func (t *Tree) Leaf(l LeafIndex) *LeafNode {
	if uint32(l) >= t.size() {
		return nil
	}
	return t.nodes[l.node()].leaf
}

// Leaves iterates over the members from left to right.
func (t *Tree) Leaves() iter.Seq2[LeafIndex, *LeafNode] {
	return func(yield func(LeafIndex, *LeafNode) bool) {
		for i := LeafIndex(0); uint32(i) < t.size(); i++ {
			if leaf := t.nodes[i.node()].leaf; leaf != nil && !yield(i, leaf) {
				return
			}
		}
	}
}

// Members is the number of members.
func (t *Tree) Members() int {
	n := 0
	for range t.Leaves() {
		n++
	}
	return n
}

// set replaces a node and forgets the hashes above it.
func (t *Tree) set(x nodeIndex, n node) {
	t.nodes[x] = n
	t.hashes[x] = nil
	for root := t.root(); x != root; {
		x = x.parent()
		t.hashes[x] = nil
	}
}

// blankPath blanks all nodes above the leaf.
func (t *Tree) blankPath(l LeafIndex) {
	for _, x := range directPath(l, t.size()) {
		t.set(x, node{})
	}
}

// add puts a leaf at the leftmost blank place, growing the tree if there is
// none, and lists it as unmerged above (RFC 9420 7.7, 12.1.1).
func (t *Tree) add(leaf *LeafNode) (LeafIndex, error) {
	l := LeafIndex(0)
	for uint32(l) < t.size() && t.nodes[l.node()].leaf != nil {
		l++
	}
	if uint32(l) == t.size() {
		if t.size()*2 > MaxLeaves {
			return 0, refuse(ErrLimit, "more than %d leaves", uint64(MaxLeaves))
		}
		grown := 2*len(t.nodes) + 1
		t.nodes = append(t.nodes, make([]node, grown-len(t.nodes))...)
		t.hashes = append(t.hashes, make([][]byte, grown-len(t.hashes))...)
	}
	t.set(l.node(), node{leaf: leaf})
	for _, x := range directPath(l, t.size()) {
		if p := t.nodes[x].parent; p != nil {
			changed := *p
			at, _ := slices.BinarySearch(p.unmerged, l)
			changed.unmerged = slices.Insert(slices.Clone(p.unmerged), at, l)
			t.set(x, node{parent: &changed})
		}
	}
	return l, nil
}

// update replaces a leaf and blanks the path above (RFC 9420 12.1.2).
func (t *Tree) update(l LeafIndex, leaf *LeafNode) {
	t.set(l.node(), node{leaf: leaf})
	t.blankPath(l)
}

// remove blanks a leaf and the path above, then halves the tree while its
// right half has no leaf (RFC 9420 7.8, 12.1.3).
func (t *Tree) remove(l LeafIndex) {
	t.set(l.node(), node{})
	t.blankPath(l)
	for t.size() > 1 {
		root := t.root()
		if !t.empty(root.right()) {
			return
		}
		t.nodes = slices.Clip(t.nodes[:root])
		t.hashes = slices.Clip(t.hashes[:root])
	}
}

// empty reports whether there is no leaf under x.
func (t *Tree) empty(x nodeIndex) bool {
	first, end := x.leaves()
	for l := first; l < end; l++ {
		if t.nodes[l.node()].leaf != nil {
			return false
		}
	}
	return true
}

// resolution lists the nodes that together cover all members under x
// (RFC 9420 4.1.1).
func (t *Tree) resolution(x nodeIndex) []nodeIndex {
	return t.appendResolution(nil, x)
}

func (t *Tree) appendResolution(out []nodeIndex, x nodeIndex) []nodeIndex {
	switch n := t.nodes[x]; {
	case n.parent != nil:
		out = append(out, x)
		for _, l := range n.parent.unmerged {
			out = append(out, l.node())
		}
	case n.leaf != nil:
		out = append(out, x)
	case !x.isLeaf():
		out = t.appendResolution(out, x.left())
		out = t.appendResolution(out, x.right())
	}
	return out
}

// filteredPath is the direct path of a leaf without the nodes whose other
// child has an empty resolution (RFC 9420 4.1.2).
func (t *Tree) filteredPath(l LeafIndex) []nodeIndex {
	return slices.DeleteFunc(directPath(l, t.size()), func(x nodeIndex) bool {
		return t.empty(copathChild(x, l))
	})
}

// encode writes the ratchet_tree extension: the nodes up to the last one that
// is not blank (RFC 9420 12.4.3.3).
func (t *Tree) encode(w *writer) {
	last := len(t.nodes)
	for last > 0 && t.nodes[last-1].blank() {
		last--
	}
	w.vector(func(w *writer) {
		for _, n := range t.nodes[:last] {
			w.optional(!n.blank())
			switch {
			case n.leaf != nil:
				w.u8(1)
				n.leaf.encode(w)
			case n.parent != nil:
				w.u8(2)
				n.parent.encode(w)
			}
		}
	})
}

// decode reads a ratchet_tree extension; see Tree.check for its validation.
func (t *Tree) decode(r *reader) {
	t.nodes = nil
	r.vector(2*MaxLeaves-1, func(r *reader) {
		t.nodes = append(t.nodes, readNode(r, nodeIndex(len(t.nodes))))
	})
	if r.err != nil {
		return
	}
	if len(t.nodes) == 0 || t.nodes[len(t.nodes)-1].blank() {
		r.fail("tree is empty or ends in a blank node")
		return
	}
	width := 1
	for width < len(t.nodes) {
		width = 2*width + 1
	}
	t.nodes = append(t.nodes, make([]node, width-len(t.nodes))...)
	t.hashes = make([][]byte, width)
}

func readNode(r *reader, x nodeIndex) (n node) {
	if !r.optional() {
		return n
	}
	switch kind := r.u8(); {
	case kind == 1 && x.isLeaf():
		n.leaf = new(LeafNode)
		n.leaf.decode(r)
	case kind == 2 && !x.isLeaf():
		n.parent = new(parentNode)
		n.parent.decode(r)
	default:
		r.fail("node %d of type %d", uint64(x), uint64(kind))
	}
	return n
}
