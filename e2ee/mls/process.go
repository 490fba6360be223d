package mls

import "bytes"

// Kind says what a received message was.
type Kind uint8

// The kinds of messages.
const (
	KindApplication Kind = iota + 1
	KindProposal
	KindCommit
)

// Received is a message that passed all checks of RFC 9420.
type Received struct {
	Kind              Kind
	Sender            LeafIndex // in the tree of the epoch the message was sent in
	AuthenticatedData []byte

	// Data of an application message.
	Data []byte
	// Proposal that now waits for a commit.
	Proposal Proposal
	// Commit describes a commit.
	Commit *Commit

	// Group is the state after the message: the state before in case of an
	// application message, nil when a commit removed this member. Whoever
	// refuses a commit that is valid for RFC 9420 but not for the application
	// stays with the state before; nothing there has changed.
	Group *Group
}

// Commit is what an application may want to know of a commit before it goes on
// with the new state.
type Commit struct {
	Changes []Change    // in the order of the commit
	ByRef   bool        // some proposals were sent ahead and referred to
	Path    bool        // the committer has new keys
	Added   []LeafIndex // in the new tree
	Removed []LeafIndex // in the old tree
	PSKs    []PSKID
}

// Process checks a PublicMessage or PrivateMessage (as MLSMessage) from
// another member of this epoch. On error nothing has changed. Each call with
// one commit gives another state of the next epoch, with message keys of its
// own: go on with one of them only, lest two messages share a key.
func (g *Group) Process(encoded []byte) (*Received, error) {
	var m message
	if err := unmarshal(encoded, &m); err != nil {
		return nil, err
	}
	switch m.wireFormat {
	case wirePublic:
		return g.processPublic(m.public)
	case wirePrivate:
		return g.processPrivate(m.private)
	}
	return nil, refuse(ErrSender, "wire format %d does not go to a group", uint64(m.wireFormat))
}

// current checks that a message is for this group and epoch.
func (g *Group) current(groupID []byte, epoch uint64) error {
	if !bytes.Equal(groupID, g.context.GroupID) {
		return refuse(ErrGroup, "id of %d bytes", uint64(len(groupID)))
	}
	if epoch != g.context.Epoch {
		return refuse(ErrEpoch, "%d, not %d", epoch, g.context.Epoch)
	}
	return nil
}

func (g *Group) processPublic(m *publicMessage) (*Received, error) {
	if err := g.live(); err != nil {
		return nil, err
	}
	if err := g.current(m.content.groupID, m.content.epoch); err != nil {
		return nil, err
	}
	if m.content.sender.kind != senderMember {
		return nil, refuse(ErrSender, "sender type %d", uint64(m.content.sender.kind))
	}
	if m.content.contentType == contentApplication {
		return nil, refuse(ErrSender, "application data in the clear") // RFC 9420 6.2
	}
	if err := m.checkMembership(g.secrets.membership, g.encoded); err != nil {
		return nil, err
	}
	if err := g.checkSender(&m.authenticatedContent); err != nil {
		return nil, err
	}
	return g.accept(&m.authenticatedContent)
}

func (g *Group) processPrivate(m *privateMessage) (*Received, error) {
	if err := g.current(m.groupID, m.epoch); err != nil {
		return nil, err
	}
	if m.contentType != contentApplication {
		if err := g.live(); err != nil {
			return nil, err
		}
	}
	a, use, err := openPrivate(m, g.messages, g.secrets.senderData, g.own)
	if err != nil {
		return nil, err
	}
	if err := g.checkSender(a); err != nil {
		use.release()
		return nil, err
	}
	received, err := g.accept(a)
	if err != nil {
		use.release()
		return nil, err
	}
	// The key of a commit goes with its epoch: used up here, the commit could
	// not be looked at again by an application that has refused it.
	if received.Kind == KindCommit {
		use.release()
	} else {
		use.consume()
	}
	return received, nil
}

// checkSender verifies that the message is signed by another member.
func (g *Group) checkSender(a *authenticatedContent) error {
	from := LeafIndex(a.content.sender.index)
	leaf := g.tree.Leaf(from)
	if leaf == nil {
		return refuse(ErrSender, "leaf %d is not a member", uint64(from))
	}
	if err := a.verify(g.context.Suite, leaf.SignatureKey, g.encoded); err != nil {
		return err
	}
	if from == g.own {
		return refuse(ErrOwnMessage, "leaf %d", uint64(from))
	}
	return nil
}

// accept handles authentic content.
func (g *Group) accept(a *authenticatedContent) (*Received, error) {
	received := &Received{
		Sender:            LeafIndex(a.content.sender.index),
		AuthenticatedData: a.content.aad,
		Group:             g,
	}
	var err error
	switch a.content.contentType {
	case contentApplication:
		received.Kind, received.Data = KindApplication, a.content.application
	case contentProposal:
		received.Kind, received.Proposal = KindProposal, a.content.proposal
		received.Group, err = g.queue(a)
	case contentCommit:
		received.Kind = KindCommit
		received.Commit, received.Group, err = g.follow(a)
	}
	if err != nil {
		return nil, err
	}
	return received, nil
}

// Proposals that wait for a commit are bounded in number and, each, in bytes.
const (
	maxPending     = 256
	maxPendingSize = 64 << 10
)

// queue keeps a proposal for a later commit. Only the checks on the proposal
// alone are made; the others depend on the commit.
func (g *Group) queue(a *authenticatedContent) (*Group, error) {
	if len(g.pending) >= maxPending {
		return nil, refuse(ErrLimit, "%d proposals wait", uint64(len(g.pending)))
	}
	if size := len(marshal(a)); size > maxPendingSize {
		return nil, refuse(ErrLimit, "proposal of %d bytes", uint64(size))
	}
	change := Change{Proposal: a.content.proposal, Sender: LeafIndex(a.content.sender.index)}
	return g.withPending(a.proposalRef(), change), nil
}

// resolve replaces references by the proposals they mean.
func (g *Group) resolve(c *commitBody, committer LeafIndex) (changes []Change, byRef bool, err error) {
	for _, p := range c.proposals {
		change := Change{Proposal: p.proposal, Sender: committer}
		if p.proposal == nil {
			var known bool
			if change, known = g.pending[string(p.ref)]; !known {
				return nil, false, refuse(ErrProposal, "reference to an unknown proposal")
			}
			byRef = true
		}
		changes = append(changes, change)
	}
	return changes, byRef, nil
}

// follow processes a commit of another member (RFC 9420 12.4.2).
func (g *Group) follow(a *authenticatedContent) (*Commit, *Group, error) {
	committer, c := LeafIndex(a.content.sender.index), a.content.commit
	changes, byRef, err := g.resolve(c, committer)
	if err != nil {
		return nil, nil, err
	}
	st, err := g.stage(committer, changes)
	if err != nil {
		return nil, nil, err
	}
	if st.needsPath && c.path == nil {
		return nil, nil, refuse(ErrPath, "missing where proposals demand it")
	}
	old := g.tree.Leaf(committer)
	var filtered []nodeIndex
	if c.path != nil {
		filtered, err = st.tree.mergePath(g.context.Suite, g.context.GroupID, committer, c.path, st.added)
		if err != nil {
			return nil, nil, err
		}
		if err := g.validate(committer, c.path.leaf, old); err != nil {
			return nil, nil, err
		}
	}
	if err := st.tree.checkMembers(st.extensions); err != nil {
		return nil, nil, err
	}
	described := &Commit{Changes: changes, ByRef: byRef, Path: c.path != nil, Added: st.added, Removed: st.removed, PSKs: st.psks}
	if st.removes(g.own) {
		return described, nil, nil
	}
	next, err := g.follower(a, st, filtered)
	return described, next, err
}

// follower derives the state after a commit whose public part is valid.
func (g *Group) follower(a *authenticatedContent, st *staged, filtered []nodeIndex) (_ *Group, err error) {
	committer, path := LeafIndex(a.content.sender.index), a.content.commit.path
	keys := g.keys.clone()
	defer func() {
		if err != nil {
			keys.erase()
		}
	}()
	if err := keys.prune(st.tree, g.own); err != nil {
		return nil, err
	}
	commitSecret := make([]byte, hashSize)
	if path != nil {
		context := st.context(g)
		commitSecret, err = st.tree.decryptPath(g.context.Suite, keys, g.own, committer, path, filtered, st.added, marshal(&context))
		if err != nil {
			return nil, err
		}
	}
	next, joiner, welcome, err := g.enter(a, st, commitSecret)
	clear(commitSecret)
	if err != nil {
		return nil, err
	}
	clear(joiner)
	clear(welcome)
	next.keys = keys
	if !macEqual(next.tag, a.confirmationTag) {
		next.Erase()
		return nil, refuse(ErrTag, "confirmation")
	}
	return next, nil
}
