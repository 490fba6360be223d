package mls

import (
	"bytes"
	"slices"
)

// check validates a tree that came from outside, as a new member does
// (RFC 9420 12.4.3.1): every leaf for itself, the shape of the unmerged
// leaves, and the parent hashes. The leaves against each other are for
// checkMembers, and the tree hash is compared by the caller.
func (t *Tree) check(suite CipherSuite, groupID []byte) error {
	for l, leaf := range t.Leaves() {
		if err := leaf.check(suite, groupID, l); err != nil {
			return err
		}
	}
	for x := nodeIndex(1); int(x) < len(t.nodes); x += 2 {
		p := t.nodes[x].parent
		if p == nil {
			continue
		}
		if _, err := suite.publicKey(p.encryptionKey); err != nil {
			return refuse(ErrTree, "node %d: encryption key", uint64(x))
		}
		if err := t.checkUnmerged(x, p.unmerged); err != nil {
			return err
		}
	}
	return t.checkParentHashes()
}

// checkUnmerged verifies that the unmerged leaves of x are members below it
// and that every node between knows of them too.
func (t *Tree) checkUnmerged(x nodeIndex, unmerged []LeafIndex) error {
	for _, l := range unmerged {
		if !x.covers(l) || t.nodes[l.node()].leaf == nil {
			return refuse(ErrTree, "node %d: unmerged leaf %d is not a member below it", uint64(x), uint64(l))
		}
		for y := l.node().parent(); y != x; y = y.parent() {
			p := t.nodes[y].parent
			if p == nil {
				continue
			}
			if _, found := slices.BinarySearch(p.unmerged, l); !found {
				return refuse(ErrTree, "node %d does not list unmerged leaf %d of node %d", uint64(y), uint64(l), uint64(x))
			}
		}
	}
	return nil
}

// checkParentHashes verifies that every parent node is tied to a node below it
// that was set by the same commit, down to a leaf whose signature covers the
// chain (RFC 9420 7.9.2).
func (t *Tree) checkParentHashes() error {
	for x := nodeIndex(1); int(x) < len(t.nodes); x += 2 {
		p := t.nodes[x].parent
		if p != nil && !t.tied(p, x.left(), x.right()) && !t.tied(p, x.right(), x.left()) {
			return refuse(ErrTree, "node %d: parent hash", uint64(x))
		}
	}
	return nil
}

// tied reports whether p has a valid parent-hash link into the child: some
// node d in the child's resolution carries the hash of p with the given
// sibling, and the rest of that resolution are exactly p's unmerged leaves
// there.
func (t *Tree) tied(p *parentNode, child, sibling nodeIndex) bool {
	first, end := child.leaves()
	from, _ := slices.BinarySearch(p.unmerged, first)
	to, _ := slices.BinarySearch(p.unmerged, end)
	unmerged := p.unmerged[from:to]

	resolution := t.resolution(child)
	if len(resolution) != len(unmerged)+1 {
		return false
	}
	var rest []nodeIndex // of the resolution, without p's unmerged leaves
	for _, y := range resolution {
		if _, found := slices.BinarySearch(unmerged, y.leaf()); !found || !y.isLeaf() {
			rest = append(rest, y)
		}
	}
	if len(rest) != 1 {
		return false
	}
	want := parentHash(p, t.hashWithout(sibling, p.unmerged))
	return bytes.Equal(t.parentHashOf(rest[0]), want)
}

// parentHashOf is the parent hash that node x carries; nil if none.
func (t *Tree) parentHashOf(x nodeIndex) []byte {
	n := t.nodes[x]
	switch {
	case n.parent != nil:
		return n.parent.parentHash
	case n.leaf != nil && n.leaf.Source == LeafCommit:
		return n.leaf.ParentHash
	}
	return nil
}

// checkMembers makes the checks of RFC 9420 7.3 and 12.2 that concern all
// members together: keys are unique, everybody supports the credential types
// in use, the extensions of the group, and what the group requires.
func (t *Tree) checkMembers(group Extensions) error {
	required, err := group.required()
	if err != nil {
		return err
	}
	credentials := slices.Clone(required.Credentials)
	for _, leaf := range t.Leaves() {
		if !slices.Contains(credentials, leaf.Credential.Type) {
			credentials = append(credentials, leaf.Credential.Type)
		}
	}
	signatureKeys := make(map[string]bool)
	for l, leaf := range t.Leaves() {
		if signatureKeys[string(leaf.SignatureKey)] {
			return refuse(ErrLeaf, "leaf %d: signature key of another member", uint64(l))
		}
		signatureKeys[string(leaf.SignatureKey)] = true
		if err := leaf.supports(l, group, required, credentials); err != nil {
			return err
		}
	}
	encryptionKeys := make(map[string]bool)
	for x, n := range t.nodes {
		if n.blank() {
			continue
		}
		if encryptionKeys[string(n.encryptionKey())] {
			return refuse(ErrTree, "node %d: encryption key of another node", uint64(x))
		}
		encryptionKeys[string(n.encryptionKey())] = true
	}
	return nil
}

// supports checks the capabilities of one leaf against the group's demands.
func (l *LeafNode) supports(index LeafIndex, group Extensions, required RequiredCapabilities, credentials []CredentialType) error {
	for _, x := range group {
		if !l.Capabilities.hasExtension(x.Type) {
			return refuse(ErrLeaf, "leaf %d does not support extension %d of the group", uint64(index), uint64(x.Type))
		}
	}
	for _, t := range required.Extensions {
		if !l.Capabilities.hasExtension(t) {
			return refuse(ErrLeaf, "leaf %d does not support required extension %d", uint64(index), uint64(t))
		}
	}
	for _, t := range required.Proposals {
		if !l.Capabilities.hasProposal(t) {
			return refuse(ErrLeaf, "leaf %d does not support required proposal %d", uint64(index), uint64(t))
		}
	}
	for _, t := range credentials {
		if !slices.Contains(l.Capabilities.Credentials, t) {
			return refuse(ErrLeaf, "leaf %d does not support credential type %d", uint64(index), uint64(t))
		}
	}
	return nil
}
