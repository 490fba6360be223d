package mls

import (
	"bytes"
	"errors"
	"testing"
)

// welcomed is a Welcome as its author sees it: open.
type welcomed struct {
	w       *world
	inv     *Invitation
	secrets groupSecrets
	info    []byte
}

// openWelcome lets the first member add somebody and opens the Welcome.
func openWelcome(w *world) *welcomed {
	o := &welcomed{w: w, inv: w.invitation(w.person())}
	c := w.commit(w.members[0], CommitOptions{Proposals: []Proposal{w.add(o.inv)}, Path: true})
	var m message
	if err := unmarshal(c.Welcome, &m); err != nil {
		w.t.Fatal(err)
	}
	o.secrets = *must(o.inv.open(m.welcome))(w.t)
	key, nonce := o.key(&o.secrets)
	o.info = must(open(key, nonce, nil, m.welcome.groupInfo))(w.t)
	return o
}

func (o *welcomed) key(secrets *groupSecrets) (key, nonce []byte) {
	psk := make([]byte, hashSize)
	if combined, err := gatherPSKs(o.w.psks, secrets.psks); err == nil {
		psk = combined
	}
	return welcomeKey(welcomeSecret(memberSecret(secrets.joiner, psk)))
}

// sign signs a GroupInfo as the first member and returns its encoding.
func (o *welcomed) sign(info *groupInfo) []byte {
	info.signature = must(o.w.suite.sign(o.w.members[0].key, signContent(labelGroupInfo, info.toBeSigned())))(o.w.t)
	return marshal(info)
}

// join seals the secrets and the GroupInfo and joins with them.
func (o *welcomed) join(secrets groupSecrets, info []byte) (*Joined, error) {
	key, nonce := o.key(&secrets)
	m := &welcome{suite: o.w.suite, groupInfo: seal(key, nonce, nil, info)}
	sealed := must(o.w.suite.encryptWithLabel(o.inv.KeyPackage.InitKey, "Welcome", m.groupInfo, marshal(&secrets)))(o.w.t)
	m.secrets = []welcomeSecrets{{newMember: o.inv.KeyPackage.Ref(), secrets: sealed}}
	return Join(o.w.config(), o.inv, marshal(&message{wireFormat: wireWelcome, welcome: m}), nil)
}

// TestJoin_refusesForgedWelcomes has a member that sends newcomers what is
// properly sealed and signed, but false.
func TestJoin_refusesForgedWelcomes(t *testing.T) {
	w := newWorldWith(t, 3)
	o := openWelcome(w)
	for name, test := range map[string]struct {
		change func(info *groupInfo, secrets *groupSecrets)
		want   error
	}{
		"nothing":          {func(*groupInfo, *groupSecrets) {}, nil},
		"grease":           {func(i *groupInfo, _ *groupSecrets) { i.extensions = append(i.extensions, Extension{Type: grease}) }, nil},
		"confirmation tag": {func(i *groupInfo, _ *groupSecrets) { i.confirmationTag = randomBytes(hashSize) }, ErrTag},
		"transcript":       {func(i *groupInfo, _ *groupSecrets) { i.context.ConfirmedTranscriptHash = randomBytes(hashSize) }, ErrTag},
		"epoch":            {func(i *groupInfo, _ *groupSecrets) { i.context.Epoch++ }, ErrTag},
		"tree hash":        {func(i *groupInfo, _ *groupSecrets) { i.context.TreeHash = randomBytes(hashSize) }, ErrTree},
		"group id":         {func(i *groupInfo, _ *groupSecrets) { i.context.GroupID = []byte("other") }, ErrLeaf},
		"version":          {func(i *groupInfo, _ *groupSecrets) { i.context.Version = grease }, ErrWelcome},
		"suite":            {func(i *groupInfo, _ *groupSecrets) { i.context.Suite = P256AES128SHA256P256 }, ErrWelcome},
		"extension":        {func(i *groupInfo, _ *groupSecrets) { i.context.Extensions = Extensions{{Type: 0x7777}} }, ErrLeaf},
		"no tree":          {func(i *groupInfo, _ *groupSecrets) { i.extensions = nil }, ErrWelcome},
		"other signer":     {func(i *groupInfo, _ *groupSecrets) { i.signer = 1 }, ErrSignature},
		"signer nobody":    {func(i *groupInfo, _ *groupSecrets) { i.signer = 77 }, ErrWelcome},
		"other tree": {func(i *groupInfo, _ *groupSecrets) {
			tree := w.members[0].group.tree // without the newcomer
			i.extensions, i.context.TreeHash = Extensions{{ExtensionRatchetTree, marshal(tree)}}, tree.rootHash()
		}, ErrWelcome},
		"path secret":         {func(_ *groupInfo, s *groupSecrets) { s.pathSecret = randomBytes(hashSize) }, ErrPath},
		"short path secret":   {func(_ *groupInfo, s *groupSecrets) { s.pathSecret = s.pathSecret[1:] }, ErrPath},
		"empty path secret":   {func(_ *groupInfo, s *groupSecrets) { s.pathSecret = nil }, ErrPath},
		"long joiner secret":  {func(_ *groupInfo, s *groupSecrets) { s.joiner = append(s.joiner, 0) }, ErrWelcome},
		"empty joiner secret": {func(_ *groupInfo, s *groupSecrets) { s.joiner = nil }, ErrWelcome},
		"no path secret":      {func(_ *groupInfo, s *groupSecrets) { s.hasPath = false }, nil}, // RFC 9420 cannot tell
		"joiner secret":       {func(_ *groupInfo, s *groupSecrets) { s.joiner = randomBytes(hashSize) }, ErrTag},
		"psk nonce":           {func(_ *groupInfo, s *groupSecrets) { s.psks = []PSKID{{Type: PSKExternal, ID: []byte(linkPSK)}} }, ErrProposal},
		"psk too much":        {func(_ *groupInfo, s *groupSecrets) { s.psks = []PSKID{NewExternalPSK([]byte(linkPSK)).ID} }, ErrTag},
		"psk twice": {func(_ *groupInfo, s *groupSecrets) {
			id := NewExternalPSK([]byte(linkPSK)).ID
			s.psks = []PSKID{id, id}
		}, ErrWelcome},
		"psk of a branch": {func(_ *groupInfo, s *groupSecrets) {
			s.psks = []PSKID{{Type: PSKResumption, Usage: PSKBranch, Nonce: make([]byte, hashSize)}}
		}, ErrProposal},
	} {
		var info groupInfo
		if err := unmarshal(o.info, &info); err != nil {
			t.Fatal(err)
		}
		secrets := o.secrets
		secrets.joiner, secrets.pathSecret = bytes.Clone(secrets.joiner), bytes.Clone(secrets.pathSecret)
		test.change(&info, &secrets)
		if _, err := o.join(secrets, o.sign(&info)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var info groupInfo
	if err := unmarshal(o.info, &info); err != nil {
		t.Fatal(err)
	}
	info.signature[0] ^= 1
	if _, err := o.join(o.secrets, marshal(&info)); !errors.Is(err, ErrSignature) {
		t.Errorf("signature: %v", err)
	}
}

func TestJoin_notSignedByItself(t *testing.T) {
	w := newWorldWith(t, 2)
	o := openWelcome(w)
	var info groupInfo
	if err := unmarshal(o.info, &info); err != nil {
		t.Fatal(err)
	}
	newcomer := w.person() // with the key of the first member, so that sign fits
	newcomer.key = w.members[0].key
	o.inv = w.invitation(newcomer)
	info.signer = 0
	tree := newTree(o.inv.KeyPackage.Leaf)
	info.context.TreeHash = tree.rootHash()
	info.extensions = Extensions{{ExtensionRatchetTree, marshal(tree)}}
	secrets := o.secrets
	secrets.hasPath = false
	if _, err := o.join(secrets, o.sign(&info)); !errors.Is(err, ErrWelcome) {
		t.Error(err)
	}
}

func TestKeyPackage_refusesWhatIsSignedButWrong(t *testing.T) {
	w := newWorld(t)
	for name, test := range map[string]struct {
		change func(k *KeyPackage)
		want   error
	}{
		"nothing":         {func(*KeyPackage) {}, nil},
		"init key reused": {func(k *KeyPackage) { k.InitKey = k.Leaf.EncryptionKey }, ErrKeyPackage},
		"init key":        {func(k *KeyPackage) { k.InitKey = make([]byte, 32) }, ErrKeyPackage},
		"leaf of update":  {func(k *KeyPackage) { k.Leaf.Source = LeafUpdate }, ErrKeyPackage},
		"leaf of commit":  {func(k *KeyPackage) { k.Leaf.Source = LeafCommit }, ErrKeyPackage},
		"version":         {func(k *KeyPackage) { k.Version = 2 }, ErrKeyPackage},
		"suite":           {func(k *KeyPackage) { k.Suite = P256AES128SHA256P256 }, ErrKeyPackage},
		"lifetime":        {func(k *KeyPackage) { k.Leaf.Lifetime.NotAfter = 0 }, ErrLeaf},
		"encryption key":  {func(k *KeyPackage) { k.Leaf.EncryptionKey = []byte{1} }, ErrLeaf},
		"signature key":   {func(k *KeyPackage) { k.Leaf.SignatureKey = k.Leaf.SignatureKey[:31] }, ErrLeaf},
	} {
		p := w.person()
		k := w.invitation(p).KeyPackage
		test.change(k)
		k.Leaf.Signature = must(w.suite.sign(p.key, signContent("LeafNodeTBS", k.Leaf.toBeSigned(nil, 0))))(t)
		var tbs writer
		k.encodeUnsigned(&tbs)
		k.Signature = must(w.suite.sign(p.key, signContent("KeyPackageTBS", tbs.b)))(t)
		if _, err := ParseKeyPackage(k.Message(), w.suite); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseKeyPackage(marshal(&message{wireFormat: wireWelcome, welcome: new(welcome)}), w.suite); !errors.Is(err, ErrKeyPackage) {
		t.Error(err)
	}
}
