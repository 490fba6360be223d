package mls

import (
	"errors"
	"slices"
	"testing"
)

// oldWorld has a tree with everything in it: paths of several members, blank
// nodes (in parentheses) where others have left or sent none, and an unmerged
// leaf at node 6.
//
//	            7
//	     3             11
//	  1    (5)      9      (13)
//	0   2 4   6   8   10  12  (14)
func oldWorld(t testing.TB) *world {
	w := newWorldWith(t, 7)
	w.deliver(w.members[0], w.commit(w.members[0], CommitOptions{}))
	w.deliver(w.members[2], w.commit(w.members[2], CommitOptions{}))
	w.deliver(w.members[5], w.commit(w.members[5], CommitOptions{Proposals: []Proposal{&Remove{Leaf: 3}}}))
	w.deliver(w.members[3], w.commit(w.members[3], CommitOptions{})) // leaf 4
	w.deliver(w.members[0], w.commit(w.members[0], CommitOptions{}))
	w.join(w.members[0], 1, NewExternalPSK([]byte(linkPSK))) // at leaf 3
	return w
}

func TestTree_checkFindsFaults(t *testing.T) {
	w := oldWorld(t)
	w.agree()
	g := w.members[0].group
	parent := func(tree *Tree, x nodeIndex, change func(p *parentNode)) {
		p := *tree.nodes[x].parent
		p.unmerged = slices.Clone(p.unmerged)
		change(&p)
		tree.set(x, node{parent: &p})
	}
	leaf := func(tree *Tree, l LeafIndex, change func(n *LeafNode)) {
		n := *tree.Leaf(l)
		change(&n)
		tree.set(l.node(), node{leaf: &n})
	}
	if u := g.tree.nodes[7].parent.unmerged; !slices.Equal(u, []LeafIndex{3}) {
		t.Fatalf("unmerged at the root: %v", u)
	}
	for name, test := range map[string]struct {
		change func(tree *Tree)
		want   error
	}{
		"nothing": {func(*Tree) {}, nil},
		"parent key": {func(tree *Tree) {
			parent(tree, 7, func(p *parentNode) { p.encryptionKey = g.tree.nodes[0].leaf.EncryptionKey })
		}, ErrTree},
		"short parent key": {func(tree *Tree) { parent(tree, 7, func(p *parentNode) { p.encryptionKey = []byte{1} }) }, ErrTree},
		"parent hash":      {func(tree *Tree) { parent(tree, 11, func(p *parentNode) { p.parentHash = nil }) }, ErrTree},
		"unmerged forgotten at the root": {func(tree *Tree) {
			parent(tree, 7, func(p *parentNode) { p.unmerged = nil })
		}, ErrTree},
		"unmerged forgotten between": {func(tree *Tree) {
			parent(tree, 3, func(p *parentNode) { p.unmerged = nil })
		}, ErrTree},
		"unmerged outside":     {func(tree *Tree) { parent(tree, 3, func(p *parentNode) { p.unmerged = []LeafIndex{3, 4} }) }, ErrTree},
		"unmerged nobody":      {func(tree *Tree) { parent(tree, 7, func(p *parentNode) { p.unmerged = []LeafIndex{3, 7} }) }, ErrTree},
		"unmerged far outside": {func(tree *Tree) { parent(tree, 7, func(p *parentNode) { p.unmerged = []LeafIndex{3, 1 << 30} }) }, ErrTree},
		"unmerged, but merged": {func(tree *Tree) { parent(tree, 7, func(p *parentNode) { p.unmerged = []LeafIndex{2, 3} }) }, ErrTree},
		"leaf gone":            {func(tree *Tree) { tree.set(8, node{}) }, ErrTree},
		"leaf signature":       {func(tree *Tree) { leaf(tree, 1, func(n *LeafNode) { n.Signature = make([]byte, 64) }) }, ErrLeaf},
		"leaf name":            {func(tree *Tree) { leaf(tree, 1, func(n *LeafNode) { n.Credential.Identity = []byte("x") }) }, ErrLeaf},
		"leaf moved":           {func(tree *Tree) { tree.set(2, tree.nodes[8]) }, ErrLeaf},
		"leaf of suite 2":      {func(tree *Tree) { leaf(tree, 1, func(n *LeafNode) { n.Capabilities.Suites = nil }) }, ErrLeaf},
		"leaf extension":       {func(tree *Tree) { leaf(tree, 1, func(n *LeafNode) { n.Extensions = Extensions{{Type: 0x7777}} }) }, ErrLeaf},
		"leaf credential":      {func(tree *Tree) { leaf(tree, 1, func(n *LeafNode) { n.Capabilities.Credentials = nil }) }, ErrLeaf},
		"leaf lifetime": {func(tree *Tree) {
			leaf(tree, 1, func(n *LeafNode) { n.Lifetime = Lifetime{NotBefore: 2, NotAfter: 1} })
		}, ErrLeaf},
		"leaf key": {func(tree *Tree) { leaf(tree, 1, func(n *LeafNode) { n.EncryptionKey = make([]byte, 32) }) }, ErrLeaf},
	} {
		tree := g.tree.clone()
		test.change(tree)
		if err := tree.check(w.suite, g.ID()); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Faults between members.
	for name, change := range map[string]func(tree *Tree){
		"signature key twice": func(tree *Tree) { leaf(tree, 1, func(n *LeafNode) { n.SignatureKey = tree.Leaf(0).SignatureKey }) },
		"encryption key twice": func(tree *Tree) {
			leaf(tree, 1, func(n *LeafNode) { n.EncryptionKey = tree.Leaf(0).EncryptionKey })
		},
		"leaf key in a parent": func(tree *Tree) {
			parent(tree, 7, func(p *parentNode) { p.encryptionKey = tree.Leaf(0).EncryptionKey })
		},
		"credential type of another": func(tree *Tree) { leaf(tree, 1, func(n *LeafNode) { n.Credential.Type = CredentialX509 }) },
	} {
		tree := g.tree.clone()
		change(tree)
		if err := tree.checkMembers(nil); !errors.Is(err, ErrLeaf) && !errors.Is(err, ErrTree) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, required := range []RequiredCapabilities{
		{Extensions: []ExtensionType{0x7777}}, {Proposals: []ProposalType{0x7777}}, {Credentials: []CredentialType{CredentialX509}},
	} {
		if err := g.tree.checkMembers(Extensions{required.Extension()}); !errors.Is(err, ErrLeaf) {
			t.Errorf("%+v: %v", required, err)
		}
	}
	met := RequiredCapabilities{Extensions: []ExtensionType{privateExtension, 1}, Proposals: []ProposalType{ProposalAdd}, Credentials: []CredentialType{CredentialBasic}}
	if err := g.tree.checkMembers(Extensions{met.Extension()}); err != nil {
		t.Error(err)
	}
}

func TestTree_truncatesAndGrows(t *testing.T) {
	w := newWorldWith(t, 9)
	if size := w.members[0].group.tree.size(); size != 16 {
		t.Fatalf("size %d", size)
	}
	var leave []Proposal
	for l := LeafIndex(3); l < 9; l++ {
		leave = append(leave, &Remove{Leaf: l})
	}
	w.deliver(w.members[0], w.commit(w.members[0], CommitOptions{Proposals: leave}))
	w.agree()
	if size := w.members[0].group.tree.size(); size != 4 {
		t.Fatalf("size %d after most have left", size)
	}
	w.join(w.members[1], 4)
	w.agree()
	if size := w.members[0].group.tree.size(); size != 8 {
		t.Fatalf("size %d after some have come", size)
	}
	for _, p := range w.members {
		w.deliver(p, w.commit(p, CommitOptions{}))
	}
	w.agree()
}

func TestTree_treatsPathFaultsAsInvalid(t *testing.T) {
	w := oldWorld(t)
	by, other := w.members[0], w.members[2]
	var m message
	if err := unmarshal(w.commit(by, CommitOptions{}).Message, &m); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(p *updatePath){
		"nothing":          func(*updatePath) {},
		"a node more":      func(p *updatePath) { p.nodes = append(p.nodes, p.nodes[0]) },
		"a node less":      func(p *updatePath) { p.nodes = p.nodes[1:] },
		"ciphertext more":  func(p *updatePath) { p.nodes[0].secrets = append(p.nodes[0].secrets, p.nodes[0].secrets[0]) },
		"ciphertext less":  func(p *updatePath) { p.nodes[2].secrets = p.nodes[2].secrets[1:] },
		"key twice":        func(p *updatePath) { p.nodes[1].encryptionKey = p.nodes[0].encryptionKey },
		"key of the tree":  func(p *updatePath) { p.nodes[1].encryptionKey = by.group.tree.nodes[7].parent.encryptionKey },
		"key of low order": func(p *updatePath) { p.nodes[1].encryptionKey = make([]byte, 32) },
		"old leaf key":     func(p *updatePath) { p.leaf.EncryptionKey = by.group.Leaf(0).EncryptionKey },
		"leaf source":      func(p *updatePath) { p.leaf.Source = LeafUpdate },
		"leaf parent hash": func(p *updatePath) { p.leaf.ParentHash = nil },
	} {
		path := new(updatePath)
		if err := unmarshal(marshal(m.public.content.commit.path), path); err != nil {
			t.Fatal(err)
		}
		change(path)
		// Whoever sends this makes the rest fit: the parent hash and the
		// signature of the leaf.
		var keys [][]byte
		for _, n := range path.nodes {
			keys = append(keys, n.encryptionKey)
		}
		if filtered := by.group.tree.filteredPath(0); len(keys) == len(filtered) && path.leaf.ParentHash != nil {
			path.leaf.ParentHash = by.group.tree.clone().setPath(0, filtered, keys)
		}
		path.leaf.Signature = must(w.suite.sign(by.key, signContent("LeafNodeTBS", path.leaf.toBeSigned(by.group.ID(), 0))))(t)
		if _, err := other.group.tree.clone().mergePath(w.suite, by.group.ID(), 0, path, nil); !errors.Is(err, ErrPath) && name != "nothing" {
			t.Errorf("%s: %v", name, err)
		} else if name == "nothing" && err != nil {
			t.Error(err)
		}
	}
}
