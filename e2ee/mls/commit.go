package mls

import (
	"bytes"
	"maps"
	"slices"
)

// CommitOptions say what a commit shall do (RFC 9420 12.4).
type CommitOptions struct {
	// Proposals are carried in the commit: Add, Remove, PreSharedKey and
	// GroupContextExtensions. None is a commit that only renews the
	// committer's keys.
	Proposals []Proposal
	// Pending includes, by reference, all proposals that were received in this
	// epoch; it is for the caller to see that together they are a valid list.
	Pending bool
	// Path sends new keys also where RFC 9420 does not demand it: in a commit
	// of Adds and pre-shared keys only. Where it is demanded they are always
	// sent.
	Path bool
	// AuthenticatedData travels with the commit, readable in transit.
	AuthenticatedData []byte
	// Private sends the commit as a PrivateMessage; else it is a PublicMessage.
	Private bool
}

// Committed is a commit that its author made. The author sends Message to the
// members and Welcome to the new ones, and goes on with Group only when the
// delivery service has accepted Message (RFC 9420 14); if it has not, the
// author drops Committed and is still in the old epoch.
type Committed struct {
	Message []byte // MLSMessage
	Welcome []byte // MLSMessage; nil without Adds
	Group   *Group
	// Added are the leaves of the new members, in the order of the proposals.
	Added []LeafIndex
}

// committing is a commit on its way through up to three signatures: of the
// leaf (with a path), of the commit, and of the GroupInfo (with Adds).
type committing struct {
	g       *Group
	options CommitOptions
	refs    []proposalOrRef
	st      *staged
	path    *newPath
	content *authenticatedContent
	joiner  []byte
	welcome []byte // the welcome secret
	info    *groupInfo
	result  *Committed
}

// Commit makes a commit on top of g. It takes one to three signatures.
func (g *Group) Commit(options CommitOptions) (*Signing[Committed], error) {
	if err := g.live(); err != nil {
		return nil, err
	}
	c := &committing{g: g, options: options, result: new(Committed)}
	var changes []Change
	if options.Pending {
		for _, ref := range slices.Sorted(maps.Keys(g.pending)) {
			c.refs = append(c.refs, proposalOrRef{ref: []byte(ref)})
			changes = append(changes, g.pending[ref])
		}
	}
	for _, p := range options.Proposals {
		c.refs = append(c.refs, proposalOrRef{proposal: p})
		changes = append(changes, Change{Proposal: p, Sender: g.own})
	}
	st, err := g.stage(g.own, changes)
	if err != nil {
		return nil, err
	}
	c.st = st
	var input []byte
	next := c.contentSigned
	if options.Path || st.needsPath {
		c.path, err = preparePath(g.context.Suite, st.tree, g.own, st.added)
		if err != nil {
			return nil, err
		}
		input = signContent("LeafNodeTBS", c.path.leaf.toBeSigned(g.context.GroupID, g.own))
		next = c.leafSigned
	} else if input, err = c.frame(nil); err != nil {
		return nil, err
	}
	return newSigning(g.context.Suite, g.Leaf(g.own).SignatureKey, input, next, c.result), nil
}

// leafSigned completes the path and asks for the signature of the commit.
func (c *committing) leafSigned(signature []byte) (_ []byte, _ step, err error) {
	defer c.eraseOn(&err)
	c.path.finish(signature)
	context := c.st.context(c.g)
	path, err := c.path.encrypt(c.g.context.Suite, marshal(&context))
	if err != nil {
		return nil, nil, err
	}
	input, err := c.frame(path)
	return input, c.contentSigned, err
}

// frame makes the content to sign, with a path or nil.
func (c *committing) frame(path *updatePath) ([]byte, error) {
	if err := c.st.tree.checkMembers(c.st.extensions); err != nil {
		return nil, err
	}
	format := wirePublic
	if c.options.Private {
		format = wirePrivate
	}
	c.content = &authenticatedContent{
		wireFormat: format,
		content: framedContent{
			groupID:     c.g.context.GroupID,
			epoch:       c.g.context.Epoch,
			sender:      sender{kind: senderMember, index: uint32(c.g.own)},
			aad:         bytes.Clone(c.options.AuthenticatedData),
			contentType: contentCommit,
			commit:      &commitBody{proposals: c.refs, path: path},
		},
	}
	return signContent(labelContent, c.content.toBeSigned(c.g.encoded)), nil
}

// contentSigned derives the new epoch and frames the commit.
func (c *committing) contentSigned(signature []byte) (_ []byte, _ step, err error) {
	defer c.eraseOn(&err)
	if err := c.g.live(); err != nil { // the group has moved on while the signature was made
		return nil, nil, err
	}
	c.content.signature = bytes.Clone(signature)
	commitSecret := make([]byte, hashSize)
	keys := c.g.keys.clone()
	if c.path != nil {
		commitSecret = c.path.commitSecret
		for x, key := range c.path.keys {
			keys.put(x, key.clone())
		}
	}
	next, joiner, welcome, err := c.g.enter(c.content, c.st, commitSecret)
	if err != nil {
		keys.erase()
		return nil, nil, err
	}
	next.keys = keys
	if err := keys.prune(next.tree, next.own); err != nil {
		return nil, nil, err
	}
	c.joiner, c.welcome = joiner, welcome
	c.content.confirmationTag = next.tag
	c.result.Group, c.result.Added = next, c.st.added
	if c.result.Message, err = c.g.protect(c.content, 0); err != nil {
		return nil, nil, err
	}
	if len(c.st.added) == 0 {
		c.erase()
		return nil, nil, nil
	}
	c.info = &groupInfo{
		context:         next.context,
		extensions:      Extensions{{Type: ExtensionRatchetTree, Data: marshal(next.tree)}},
		confirmationTag: next.tag,
		signer:          next.own,
	}
	return signContent(labelGroupInfo, c.info.toBeSigned()), c.infoSigned, nil
}

// infoSigned makes the Welcome.
func (c *committing) infoSigned(signature []byte) (_ []byte, _ step, err error) {
	defer c.eraseOn(&err)
	c.info.signature = bytes.Clone(signature)
	key, nonce := welcomeKey(c.welcome)
	m := &welcome{suite: c.g.context.Suite, groupInfo: seal(key, nonce, nil, marshal(c.info))}
	for i, kp := range c.st.packages {
		secrets := groupSecrets{joiner: c.joiner, psks: c.st.psks}
		if c.path != nil {
			secrets.pathSecret = c.path.secretFor(c.st.added[i])
			secrets.hasPath = true
		}
		plain := marshal(&secrets)
		sealed, err := m.suite.encryptWithLabel(kp.InitKey, "Welcome", m.groupInfo, plain)
		clear(plain)
		if err != nil {
			return nil, nil, err
		}
		m.secrets = append(m.secrets, welcomeSecrets{newMember: kp.Ref(), secrets: sealed})
	}
	c.result.Welcome = marshal(&message{wireFormat: wireWelcome, welcome: m})
	c.erase()
	return nil, nil, nil
}

// eraseOn erases when a step has failed.
func (c *committing) eraseOn(err *error) {
	if *err != nil {
		c.erase()
	}
}

// erase overwrites the secrets that the commit was made with.
func (c *committing) erase() {
	clear(c.joiner)
	clear(c.welcome)
	if c.path != nil {
		c.path.erase()
	}
}

// protect frames signed content as its wire format says.
func (g *Group) protect(a *authenticatedContent, padding int) ([]byte, error) {
	if a.wireFormat == wirePublic {
		return marshal(&message{wireFormat: wirePublic, public: protectPublic(a, g.secrets.membership, g.encoded)}), nil
	}
	m, err := protectPrivate(a, g.messages, g.secrets.senderData, padding)
	if err != nil {
		return nil, err
	}
	return marshal(&message{wireFormat: wirePrivate, private: m}), nil
}
