package mls

import (
	"bytes"
	"math"
	"slices"
)

// Change is a proposal of a commit, with the member that proposed it: the
// committer, unless it was sent ahead and the commit refers to it.
type Change struct {
	Proposal Proposal
	Sender   LeafIndex
}

// staged is what a list of proposals makes of a group (RFC 9420 12.3), before
// the path.
type staged struct {
	tree       *Tree
	extensions Extensions
	added      []LeafIndex
	packages   []*KeyPackage // of added, in the same order
	removed    []LeafIndex
	psks       []PSKID
	needsPath  bool
}

// context is the provisional GroupContext: the epoch after g with the
// transcript hash of g (RFC 9420 12.4.1). It uses the tree as it is now.
func (st *staged) context(g *Group) GroupContext {
	c := g.context
	c.Epoch++
	c.TreeHash = st.tree.rootHash()
	c.Extensions = st.extensions
	return c
}

// stage checks the proposals of a commit and applies them to a copy of the
// tree, in the order of RFC 9420 12.3.
func (g *Group) stage(committer LeafIndex, changes []Change) (*staged, error) {
	if g.context.Epoch == math.MaxUint64 {
		return nil, refuse(ErrLimit, "last epoch")
	}
	if len(changes) > maxProposals {
		return nil, refuse(ErrLimit, "%d proposals", uint64(len(changes)))
	}
	if err := g.checkChanges(committer, changes); err != nil {
		return nil, err
	}
	st := &staged{tree: g.tree.clone(), extensions: g.context.Extensions, needsPath: len(changes) == 0}
	for _, c := range changes {
		if c.Proposal.Type().needsPath() {
			st.needsPath = true
		}
		switch p := c.Proposal.(type) {
		case *GroupContextExtensions:
			st.extensions = p.Extensions
		case *PreSharedKey:
			st.psks = append(st.psks, p.ID)
		case *Update:
			if err := g.validate(c.Sender, p.Leaf, g.tree.Leaf(c.Sender)); err != nil {
				return nil, err
			}
			st.tree.update(c.Sender, p.Leaf)
		case *Remove:
			st.removed = append(st.removed, p.Leaf)
		}
	}
	for _, l := range st.removed {
		st.tree.remove(l)
	}
	for _, c := range changes {
		if p, ok := c.Proposal.(*Add); ok {
			if err := st.add(g, p.KeyPackage); err != nil {
				return nil, err
			}
		}
	}
	return st, nil
}

func (st *staged) add(g *Group, kp *KeyPackage) error {
	l, err := st.tree.add(kp.Leaf)
	if err != nil {
		return err
	}
	st.added = append(st.added, l)
	st.packages = append(st.packages, kp)
	return g.validate(l, kp.Leaf, nil)
}

// validate asks the application.
func (g *Group) validate(l LeafIndex, leaf, old *LeafNode) error {
	return g.config.validate(g.context.GroupID, l, leaf, old)
}

func (c Config) validate(groupID []byte, l LeafIndex, leaf, old *LeafNode) error {
	if c.Validator == nil {
		return nil
	}
	if err := c.Validator.ValidateLeaf(groupID, l, leaf, old); err != nil {
		return &refusal{reason: ErrLeaf, cause: err, text: "leaf %d", numbers: []uint64{uint64(l)}}
	}
	return nil
}

// checkChanges makes the checks of RFC 9420 12.1 and 12.2 on a list of
// proposals. Those that need the resulting tree are in Tree.checkMembers.
func (g *Group) checkChanges(committer LeafIndex, changes []Change) error {
	touched := make(map[LeafIndex]bool) // by Update or Remove
	psks := make(map[string]bool)
	extensions := false
	for _, c := range changes {
		switch p := c.Proposal.(type) {
		case *Add:
			if err := p.KeyPackage.check(g.context.Suite); err != nil {
				return err
			}
		case *Update:
			if err := g.checkUpdate(committer, c.Sender, p.Leaf); err != nil {
				return err
			}
			if touched[c.Sender] {
				return refuse(ErrProposal, "two changes of leaf %d", uint64(c.Sender))
			}
			touched[c.Sender] = true
		case *Remove:
			switch {
			case p.Leaf == committer:
				return refuse(ErrProposal, "the committer removes itself")
			case g.tree.Leaf(p.Leaf) == nil:
				return refuse(ErrProposal, "leaf %d is not a member", uint64(p.Leaf))
			case touched[p.Leaf]:
				return refuse(ErrProposal, "two changes of leaf %d", uint64(p.Leaf))
			}
			touched[p.Leaf] = true
		case *PreSharedKey:
			id := string(marshal(&p.ID))
			if psks[id] {
				return refuse(ErrProposal, "the same PSK twice")
			}
			psks[id] = true
			if err := p.ID.checkProposed(); err != nil {
				return err
			}
		case *GroupContextExtensions:
			if extensions {
				return refuse(ErrProposal, "group context extensions twice")
			}
			extensions = true
		default:
			return refuse(ErrUnsupported, "proposal of type %d", uint64(p.Type()))
		}
	}
	return nil
}

func (g *Group) checkUpdate(committer, from LeafIndex, leaf *LeafNode) error {
	old := g.tree.Leaf(from)
	switch {
	case from == committer:
		return refuse(ErrProposal, "the committer updates itself by proposal")
	case old == nil:
		return refuse(ErrProposal, "leaf %d is not a member", uint64(from))
	case leaf.Source != LeafUpdate:
		return refuse(ErrProposal, "leaf node source %d", uint64(leaf.Source))
	case bytes.Equal(leaf.EncryptionKey, old.EncryptionKey):
		return refuse(ErrProposal, "update without a new encryption key")
	}
	return leaf.check(g.context.Suite, g.context.GroupID, from)
}

// checkProposed makes the checks of RFC 9420 12.1.4.
func (p *PSKID) checkProposed() error {
	if p.Type == PSKResumption && p.Usage != PSKApplication {
		return refuse(ErrProposal, "resumption PSK of usage %d", uint64(p.Usage))
	}
	if p.Type != PSKExternal && p.Type != PSKResumption {
		return refuse(ErrProposal, "PSK of type %d", uint64(p.Type))
	}
	if len(p.Nonce) != hashSize {
		return refuse(ErrProposal, "PSK nonce of %d bytes", uint64(len(p.Nonce)))
	}
	return nil
}

// removes reports whether the commit removes member l.
func (st *staged) removes(l LeafIndex) bool { return slices.Contains(st.removed, l) }
