package mls

import "bytes"

// Joined is the outcome of Join. What is here and in the Group is for the
// application to look at before it uses the Group.
type Joined struct {
	Group *Group
	// Committer is the member that added this one.
	Committer LeafIndex
	// PSKs are the pre-shared keys of the commit, all of which were known.
	PSKs []PSKID
	// Extensions of the GroupInfo, with the ratchet tree.
	Extensions Extensions
}

// Join enters a group by a Welcome (an MLSMessage) that answers the invitation
// (RFC 9420 12.4.3.1). tree is the encoded ratchet tree, for groups that do
// not send it in the Welcome; else nil.
func Join(config Config, inv *Invitation, welcomeMessage, tree []byte) (*Joined, error) {
	var m message
	if err := unmarshal(welcomeMessage, &m); err != nil {
		return nil, err
	}
	if m.welcome == nil {
		return nil, refuse(ErrWelcome, "message is not a welcome")
	}
	secrets, err := inv.open(m.welcome)
	if err != nil {
		return nil, err
	}
	defer secrets.erase()
	if err := checkJoinPSKs(secrets.psks); err != nil {
		return nil, err
	}
	psk, err := gatherPSKs(config.PSKs, secrets.psks)
	if err != nil {
		return nil, err
	}
	member := memberSecret(secrets.joiner, psk)
	defer clear(member)
	clear(psk)
	key, nonce := welcomeKey(welcomeSecret(member))
	encoded, err := open(key, nonce, nil, m.welcome.groupInfo)
	if err != nil {
		return nil, err
	}
	var info groupInfo
	if err := unmarshal(encoded, &info); err != nil {
		return nil, err
	}
	if embedded, ok := info.extensions.Get(ExtensionRatchetTree); ok {
		tree = embedded
	}
	g, err := inv.enter(config, &info, tree)
	if err != nil {
		return nil, err
	}
	if err := g.receiveSecrets(inv, secrets, info.signer); err != nil {
		g.keys.erase()
		return nil, err
	}
	g.begin(deriveEpoch(member, g.encoded))
	if err := g.checkJoined(&info); err != nil {
		g.Erase()
		return nil, err
	}
	return &Joined{Group: g, Committer: info.signer, PSKs: secrets.psks, Extensions: info.extensions}, nil
}

// checkJoined compares the confirmation tag and asks the application about
// every other member.
func (g *Group) checkJoined(info *groupInfo) error {
	if !macEqual(g.tag, info.confirmationTag) {
		return refuse(ErrTag, "confirmation")
	}
	for l, leaf := range g.tree.Leaves() {
		if l == g.own {
			continue
		}
		if err := g.validate(l, leaf, nil); err != nil {
			return err
		}
	}
	return nil
}

// open decrypts the secrets that are for this key package.
func (inv *Invitation) open(m *welcome) (*groupSecrets, error) {
	if m.suite != inv.KeyPackage.Suite {
		return nil, refuse(ErrWelcome, "cipher suite %d", uint64(m.suite))
	}
	ref := inv.KeyPackage.Ref()
	for i := range m.secrets {
		if !bytes.Equal(m.secrets[i].newMember, ref) {
			continue
		}
		plain, err := inv.initKey.decryptWithLabel("Welcome", m.groupInfo, m.secrets[i].secrets)
		if err != nil {
			return nil, err
		}
		defer clear(plain)
		var secrets groupSecrets
		if err := unmarshal(plain, &secrets); err != nil {
			return nil, err
		}
		if len(secrets.joiner) != hashSize {
			secrets.erase()
			return nil, refuse(ErrWelcome, "joiner secret of %d bytes", uint64(len(secrets.joiner)))
		}
		return &secrets, nil
	}
	return nil, refuse(ErrWelcome, "not for this key package")
}

// checkJoinPSKs refuses pre-shared keys that no commit may have. ReInit and
// branching, whose first Welcome has a PSK of such usage, are not supported.
func checkJoinPSKs(ids []PSKID) error {
	seen := make(map[string]bool)
	for i := range ids {
		if err := ids[i].checkProposed(); err != nil {
			return err
		}
		id := string(marshal(&ids[i]))
		if seen[id] {
			return refuse(ErrWelcome, "the same PSK twice")
		}
		seen[id] = true
	}
	return nil
}

// enter validates a GroupInfo and its tree, and returns the group without
// secrets.
func (inv *Invitation) enter(config Config, info *groupInfo, encodedTree []byte) (*Group, error) {
	context, kp := info.context, inv.KeyPackage
	if context.Version != kp.Version || context.Suite != kp.Suite {
		return nil, refuse(ErrWelcome, "version or suite is not that of the key package")
	}
	if encodedTree == nil {
		return nil, refuse(ErrWelcome, "no ratchet tree")
	}
	tree := new(Tree)
	if err := unmarshal(encodedTree, tree); err != nil {
		return nil, err
	}
	signer := tree.Leaf(info.signer)
	if signer == nil {
		return nil, refuse(ErrWelcome, "signer is not a member")
	}
	if err := info.verify(context.Suite, signer.SignatureKey); err != nil {
		return nil, err
	}
	if !bytes.Equal(tree.rootHash(), context.TreeHash) {
		return nil, refuse(ErrTree, "tree hash")
	}
	if err := tree.check(context.Suite, context.GroupID); err != nil {
		return nil, err
	}
	if err := tree.checkMembers(context.Extensions); err != nil {
		return nil, err
	}
	for l, leaf := range tree.Leaves() {
		if !leaf.equal(kp.Leaf) {
			continue
		}
		if l == info.signer {
			return nil, refuse(ErrWelcome, "signed by the new member")
		}
		return &Group{config: config, context: context, encoded: marshal(&context), tree: tree, own: l}, nil
	}
	return nil, refuse(ErrWelcome, "the tree has no leaf of this key package")
}

// receiveSecrets sets the private keys of a new member: its leaf's, and with a
// path secret those from the common node with the committer up.
func (g *Group) receiveSecrets(inv *Invitation, secrets *groupSecrets, signer LeafIndex) error {
	g.keys = privateKeys{g.own.node(): inv.leafKey.clone()}
	if !secrets.hasPath {
		return nil
	}
	common := commonAncestor(g.own, signer)
	path := g.tree.filteredPath(signer)
	for i, x := range path {
		if x == common {
			commitSecret, err := g.tree.addSecrets(g.context.Suite, g.keys, path[i:], secrets.pathSecret)
			clear(commitSecret)
			return err
		}
	}
	return refuse(ErrWelcome, "no common node with the committer")
}
