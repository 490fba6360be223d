package mls

import (
	"bytes"
	"maps"
)

// Config is what a group asks of its application.
type Config struct {
	Validator Validator // may be nil
	PSKs      PSKSource // may be nil: then no pre-shared key is known
}

// Group is the state of one member in one epoch of a group. It is a value:
// commits and proposals that are processed or made leave it as it is and give
// a new state. Only the keys of private messages are used up in place, because
// a copy of them that stays behind would undo their deletion.
//
// A Group is not safe for concurrent use.
type Group struct {
	config   Config
	context  GroupContext
	encoded  []byte // context
	tree     *Tree
	interim  []byte // interim transcript hash
	tag      []byte // confirmation tag of the epoch
	own      LeafIndex
	keys     privateKeys
	secrets  *epochSecrets
	messages *secretTree
	pending  map[string]Change // proposals that wait for a commit, by reference
}

// NewGroup creates a group with one member, at epoch 0 (RFC 9420 11). The
// group id must be unique; extensions are those of the GroupContext. It takes
// one signature, over the leaf node.
func NewGroup(config Config, m Member, groupID []byte, extensions ...Extension) (*Signing[Group], error) {
	leaf, key, err := m.leaf()
	if err != nil {
		return nil, err
	}
	g := &Group{
		config: config,
		context: GroupContext{
			Version:    Version10,
			Suite:      m.Suite,
			GroupID:    bytes.Clone(groupID),
			Extensions: Extensions(extensions).clone(),
		},
		keys: privateKeys{0: key},
	}
	leafSigned := func(signature []byte) ([]byte, step, error) {
		leaf.Signature = bytes.Clone(signature)
		g.tree = newTree(leaf)
		if err := leaf.check(m.Suite, groupID, 0); err != nil {
			return nil, nil, err
		}
		if err := g.tree.checkMembers(g.context.Extensions); err != nil {
			return nil, nil, err
		}
		g.context.TreeHash = g.tree.rootHash()
		g.encoded = marshal(&g.context)
		g.begin(expandEpoch(randomBytes(hashSize)))
		return nil, nil, nil
	}
	input := signContent("LeafNodeTBS", leaf.toBeSigned(groupID, 0))
	return newSigning(m.Suite, leaf.SignatureKey, input, leafSigned, g), nil
}

// begin sets the secrets of the epoch, and what follows from them: the message
// keys, the confirmation tag and the interim transcript hash (RFC 9420 6.1,
// 8.2, 9).
func (g *Group) begin(secrets *epochSecrets) {
	g.secrets = secrets
	g.messages = newSecretTree(g.tree.size(), secrets.encryption)
	clear(secrets.encryption) // the secret tree owns it from here on (RFC 9420 9.2)
	g.tag = mac(secrets.confirmation, g.context.ConfirmedTranscriptHash)
	g.interim = interimHash(g.context.ConfirmedTranscriptHash, g.tag)
}

// enter derives the epoch that follows g, which is the state before: the
// commit is the signed content, st what it changes, and commitSecret comes
// from its path (all zero without one). The new state has no private keys yet.
func (g *Group) enter(commit *authenticatedContent, st *staged, commitSecret []byte) (next *Group, joiner, welcome []byte, err error) {
	psk, err := gatherPSKs(g.config.PSKs, st.psks)
	if err != nil {
		return nil, nil, nil, err
	}
	next = &Group{config: g.config, tree: st.tree, own: g.own, context: st.context(g)}
	next.context.ConfirmedTranscriptHash = confirmedHash(g.interim, commit)
	next.encoded = marshal(&next.context)
	joiner = joinerSecret(g.secrets.init, commitSecret, next.encoded)
	member := memberSecret(joiner, psk)
	next.begin(deriveEpoch(member, next.encoded))
	welcome = welcomeSecret(member)
	clear(member)
	clear(psk)
	return next, joiner, welcome, nil
}

// withPending returns a state of the same epoch that knows one more proposal.
func (g *Group) withPending(ref []byte, c Change) *Group {
	next := *g
	next.pending = maps.Clone(g.pending)
	if next.pending == nil {
		next.pending = make(map[string]Change)
	}
	next.pending[string(ref)] = c
	return &next
}

// ID returns the group id. Do not change it.
func (g *Group) ID() []byte { return g.context.GroupID }

// Epoch is the number of the epoch.
func (g *Group) Epoch() uint64 { return g.context.Epoch }

// Suite is the cipher suite of the group.
func (g *Group) Suite() CipherSuite { return g.context.Suite }

// Context returns the GroupContext. Its slices belong to the group.
func (g *Group) Context() GroupContext { return g.context }

// Extensions returns the extensions of the GroupContext, read-only.
func (g *Group) Extensions() Extensions { return g.context.Extensions }

// Tree returns the ratchet tree, read-only.
func (g *Group) Tree() *Tree { return g.tree }

// Own is the leaf of this member.
func (g *Group) Own() LeafIndex { return g.own }

// Leaf returns the leaf of a member; nil if there is none.
func (g *Group) Leaf(l LeafIndex) *LeafNode { return g.tree.Leaf(l) }

// EpochAuthenticator is a value by which members can compare, out of band,
// whether they are in the same epoch of the same group (RFC 9420 8.7); nil when
// the epoch is retired.
func (g *Group) EpochAuthenticator() []byte {
	if g.live() != nil {
		return nil
	}
	return bytes.Clone(g.secrets.authenticator)
}

// ResumptionPSK is the secret that proves membership in this epoch later on
// (RFC 9420 8.6); nil when the epoch is retired.
func (g *Group) ResumptionPSK() []byte {
	if g.live() != nil {
		return nil
	}
	return bytes.Clone(g.secrets.resumption)
}

// Export derives a secret of length bytes for the application (RFC 9420 8.5).
func (g *Group) Export(label string, context []byte, length int) ([]byte, error) {
	if err := g.live(); err != nil {
		return nil, err
	}
	return export(g.secrets.exporter, label, context, length)
}

// Retire overwrites what leads to other epochs and to exported secrets, once
// the group has moved on (RFC 9420 9.2). What is left opens late application
// messages, until Erase. States of one epoch share their secrets: all of them
// are retired, but not those that follow, which have keys of their own.
func (g *Group) Retire() {
	g.secrets.retire()
	g.keys.erase()
}

// Erase overwrites all secrets of the epoch. No state of the epoch is of use
// afterwards.
func (g *Group) Erase() {
	g.Retire()
	g.secrets.erase()
	g.messages.erase()
}

// live returns an error when the epoch is retired.
func (g *Group) live() error {
	if g.secrets.retired {
		return refuse(ErrState, "epoch %d is retired", g.context.Epoch)
	}
	return nil
}
