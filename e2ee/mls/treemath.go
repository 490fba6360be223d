package mls

import "math/bits"

// The array representation of complete binary trees (RFC 9420 appendix C).
// Leaves have even indices, the leaf i the index 2i. The number of leaves is
// always a power of two (RFC 9420 4.1), so that every subtree is full and all
// relations are arithmetic on indices.

// maxDepth is the length of a direct path in a tree of MaxLeaves.
const maxDepth = 10

// LeafIndex is the position of a member in the tree, counted from the left.
type LeafIndex uint32

type nodeIndex uint32

func (l LeafIndex) node() nodeIndex { return nodeIndex(l) * 2 }

func (x nodeIndex) isLeaf() bool    { return x&1 == 0 }
func (x nodeIndex) leaf() LeafIndex { return LeafIndex(x / 2) }

// level is the height of x above the leaves: its number of trailing one bits.
func (x nodeIndex) level() int { return bits.TrailingZeros32(^uint32(x)) }

// left and right are the children of a parent node.
func (x nodeIndex) left() nodeIndex  { return x ^ 1<<(x.level()-1) }
func (x nodeIndex) right() nodeIndex { return x ^ 3<<(x.level()-1) }

// parent is the node above x, which must not be the root.
func (x nodeIndex) parent() nodeIndex {
	k := x.level()
	b := x >> (k + 1) & 1
	return (x | 1<<k) ^ b<<(k+1)
}

// sibling is the other child of the parent of x, which must not be the root.
func (x nodeIndex) sibling() nodeIndex {
	p := x.parent()
	if x < p {
		return p.right()
	}
	return p.left()
}

// leaves returns the first leaf under x and the first one after it.
func (x nodeIndex) leaves() (first, end LeafIndex) {
	k := x.level()
	first = LeafIndex((x + 1 - 1<<k) / 2)
	return first, first + 1<<k
}

// covers reports whether leaf l is x or below it.
func (x nodeIndex) covers(l LeafIndex) bool {
	first, end := x.leaves()
	return l >= first && l < end
}

// rootOf is the root of a tree with size leaves, a power of two.
func rootOf(size uint32) nodeIndex { return nodeIndex(size - 1) }

// directPath lists the nodes above the leaf, up to and with the root
// (RFC 9420 4.1.1).
func directPath(l LeafIndex, size uint32) []nodeIndex {
	var path []nodeIndex
	for x, root := l.node(), rootOf(size); x != root; {
		x = x.parent()
		path = append(path, x)
	}
	return path
}

// copathChild is the child of p that does not cover the leaf.
func copathChild(p nodeIndex, l LeafIndex) nodeIndex {
	if left := p.left(); !left.covers(l) {
		return left
	}
	return p.right()
}

// commonAncestor is the lowest node that covers both leaves.
func commonAncestor(a, b LeafIndex) nodeIndex {
	k := bits.Len32(uint32(a ^ b))
	return nodeIndex(uint32(a)>>k<<(k+1) + (1<<k - 1))
}
