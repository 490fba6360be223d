package mls

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"
)

func TestGroup_randomSchedules(t *testing.T) {
	seeds := uint64(8)
	if runtime.GOARCH == "wasm" {
		seeds = 1 // twenty times slower there
	}
	for seed := range seeds {
		schedule(t, X25519AES128SHA256Ed25519, seed, 40)
	}
	if hasP256 {
		schedule(t, P256AES128SHA256P256, 99, 20)
	}
}

// schedule runs random commits with 2 to 16 members. After each, all agree;
// nobody removed can follow the next one.
func schedule(t *testing.T, suite CipherSuite, seed uint64, steps int) {
	rng := rand.New(rand.NewPCG(seed, 9420))
	w := newWorldOf(t, suite)
	w.join(w.members[0], 1)
	for range steps {
		by := w.members[rng.IntN(len(w.members))]
		before := by.group.Epoch()
		psk := NewExternalPSK([]byte(linkPSK))
		options := CommitOptions{Private: rng.IntN(2) == 0, Path: rng.IntN(2) == 0}
		var gone []*person
		switch op := rng.IntN(5); {
		case op <= 1 && len(w.members) < 16:
			options.Proposals = []Proposal{psk}
			w.joinWith(by, min(1+rng.IntN(3), 16-len(w.members)), options)
		case op == 2 && len(w.members) > 2:
			for _, p := range w.members {
				if p != by && len(w.members)-len(options.Proposals) > 2 && rng.IntN(3) == 0 {
					options.Proposals = append(options.Proposals, &Remove{Leaf: p.group.Own()})
				}
			}
			gone = w.deliver(by, w.commit(by, options))
			if len(gone) != len(options.Proposals) {
				t.Fatalf("%d removed, want %d", len(gone), len(options.Proposals))
			}
		case op == 3:
			options.Proposals = []Proposal{psk, &GroupContextExtensions{Extensions{{Type: privateExtension, Data: []byte{byte(rng.Int())}}}}}
			w.deliver(by, w.commit(by, options))
		default:
			w.deliver(by, w.commit(by, options)) // renews the keys of by
		}
		w.agree()
		if by.group.Epoch() != before+1 {
			t.Fatalf("epoch %d after %d", by.group.Epoch(), before)
		}
		next := w.commit(w.members[0], CommitOptions{})
		for _, p := range gone {
			if _, err := p.group.Process(next.Message); !errors.Is(err, ErrEpoch) {
				t.Fatalf("removed member follows: %v", err)
			}
		}
	}
}

func TestGroup_removedMemberDerivesNothing(t *testing.T) {
	for n := 2; n <= 4; n++ {
		w := newWorldWith(t, n)
		for _, p := range w.members { // so that the victim holds keys of every node above it
			w.deliver(p, w.commit(p, CommitOptions{}))
		}
		by, victim := w.members[0], w.members[n-1]
		before := victim.group
		c := w.commit(by, CommitOptions{Proposals: []Proposal{&Remove{Leaf: before.Own()}}})
		w.deliver(by, c)

		var m message
		if err := unmarshal(c.Message, &m); err != nil {
			t.Fatal(err)
		}
		path := m.public.content.commit.path
		if path == nil {
			t.Fatal("a Remove without an update path")
		}
		// The victim knows all old secrets and tries all its keys on all
		// ciphertexts, in the context of the new epoch.
		for _, n := range path.nodes {
			for _, sealed := range n.secrets {
				for _, key := range before.keys {
					provisional := by.group.context
					provisional.ConfirmedTranscriptHash = before.context.ConfirmedTranscriptHash
					if _, err := key.decryptWithLabel("UpdatePathNode", marshal(&provisional), sealed); err == nil {
						t.Fatal("the removed member opens a path secret")
					}
				}
			}
		}
		// Nor is the next epoch a function of the old init secret, as it is
		// when the commit has no path.
		a := m.public.authenticatedContent
		st := &staged{tree: by.group.tree, extensions: by.group.context.Extensions}
		guess, _, _, err := before.enter(&a, st, make([]byte, hashSize))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(guess.context.ConfirmedTranscriptHash, by.group.context.ConfirmedTranscriptHash) {
			t.Fatal("the test does not follow the transcript")
		}
		if bytes.Equal(exporter(t, guess), exporter(t, by.group)) {
			t.Fatal("the removed member derives the next exporter")
		}
	}
}

func TestGroup_pathIsDemanded(t *testing.T) {
	w := newWorldWith(t, 3)
	by, other, third := w.members[0], w.members[1], w.members[2]
	demanding := map[string][]Proposal{
		"empty":      nil,
		"remove":     {&Remove{Leaf: third.group.Own()}},
		"extensions": {&GroupContextExtensions{}},
		"psk+remove": {NewExternalPSK([]byte(linkPSK)), &Remove{Leaf: third.group.Own()}},
	}
	for name, proposals := range demanding {
		// Made here, such a commit has a path although none was asked for.
		r := must(other.group.Process(w.commit(by, CommitOptions{Proposals: proposals}).Message))(t)
		if !r.Commit.Path {
			t.Errorf("%s: no path", name)
		}
		// Made by somebody who leaves it out, it is refused.
		if _, err := other.group.Process(forgeCommit(t, by, proposals).Message); !errors.Is(err, ErrPath) {
			t.Errorf("%s: commit without a path: %v", name, err)
		}
		if _, err := third.group.Process(forgeCommit(t, by, proposals).Message); !errors.Is(err, ErrPath) {
			t.Errorf("%s: commit without a path at the removed member: %v", name, err)
		}
	}
	r := must(other.group.Process(w.commit(by, CommitOptions{Proposals: []Proposal{NewExternalPSK([]byte(linkPSK))}}).Message))(t)
	if r.Commit.Path {
		t.Error("a path where none is needed")
	}
}

// forgeCommit makes a properly signed and tagged commit without a path and
// without any check of its proposals, as an insider could.
func forgeCommit(t testing.TB, by *person, proposals []Proposal) *Committed {
	t.Helper()
	g := by.group
	st := &staged{tree: g.tree.clone(), extensions: g.context.Extensions}
	c := &committing{g: g, st: st, result: new(Committed)}
	for _, p := range proposals {
		c.refs = append(c.refs, proposalOrRef{proposal: p})
		switch p := p.(type) {
		case *Add:
			l, err := st.tree.add(p.KeyPackage.Leaf)
			if err != nil {
				t.Fatal(err)
			}
			st.added, st.packages = append(st.added, l), append(st.packages, p.KeyPackage)
		case *Remove:
			if p.Leaf != g.own && g.tree.Leaf(p.Leaf) != nil {
				st.tree.remove(p.Leaf)
			}
		case *PreSharedKey:
			st.psks = append(st.psks, p.ID)
		case *GroupContextExtensions:
			st.extensions = p.Extensions
		}
	}
	c.content = &authenticatedContent{wireFormat: wirePublic, content: framedContent{
		groupID: g.context.GroupID, epoch: g.context.Epoch, sender: sender{kind: senderMember, index: uint32(g.own)},
		contentType: contentCommit, commit: &commitBody{proposals: c.refs},
	}}
	input, next := signContent(labelContent, c.content.toBeSigned(g.encoded)), step(c.contentSigned)
	for next != nil {
		var err error
		signature := must(g.Suite().sign(by.key, input))(t)
		if input, next, err = next(signature); err != nil {
			t.Fatal(err)
		}
	}
	return c.result
}

func TestGroup_refusesInvalidProposals(t *testing.T) {
	w := newWorldWith(t, 3)
	by, other := w.members[0], w.members[1]
	stranger := w.person()
	fresh := func() *Add { return w.add(w.invitation(stranger)) }
	psk := NewExternalPSK([]byte(linkPSK))
	shortNonce := NewExternalPSK([]byte(linkPSK))
	shortNonce.ID.Nonce = shortNonce.ID.Nonce[:16]
	damaged := fresh()
	damaged.KeyPackage.Signature[0] ^= 1
	badLeaf := fresh()
	badLeaf.KeyPackage.Leaf.Signature[0] ^= 1
	reused := fresh()
	reused.KeyPackage.InitKey = reused.KeyPackage.Leaf.EncryptionKey
	wrongSuite := fresh()
	wrongSuite.KeyPackage.Suite = P256AES128SHA256P256
	once := fresh()
	for name, test := range map[string]struct {
		proposals []Proposal
		want      error
	}{
		"key package signature":     {[]Proposal{damaged}, ErrKeyPackage},
		"key package leaf":          {[]Proposal{badLeaf}, ErrLeaf},
		"init key reused":           {[]Proposal{reused}, ErrKeyPackage},
		"wrong suite":               {[]Proposal{wrongSuite}, ErrKeyPackage},
		"same client twice":         {[]Proposal{fresh(), fresh()}, ErrLeaf},
		"same key package twice":    {[]Proposal{once, once}, ErrLeaf},
		"member again":              {[]Proposal{w.add(w.invitation(other))}, ErrLeaf},
		"remove itself":             {[]Proposal{&Remove{Leaf: by.group.Own()}}, ErrProposal},
		"remove nobody":             {[]Proposal{&Remove{Leaf: 3}}, ErrProposal},
		"remove far outside":        {[]Proposal{&Remove{Leaf: 1 << 31}}, ErrProposal},
		"remove twice":              {[]Proposal{&Remove{Leaf: 1}, &Remove{Leaf: 1}}, ErrProposal},
		"update itself":             {[]Proposal{&Update{Leaf: by.group.Leaf(0)}}, ErrProposal},
		"same psk twice":            {[]Proposal{psk, psk}, ErrProposal},
		"psk nonce":                 {[]Proposal{shortNonce}, ErrProposal},
		"branch psk":                {[]Proposal{&PreSharedKey{PSKID{Type: PSKResumption, Usage: PSKBranch, Nonce: make([]byte, hashSize)}}}, ErrProposal},
		"extensions twice":          {[]Proposal{&GroupContextExtensions{}, &GroupContextExtensions{}}, ErrProposal},
		"external init":             {[]Proposal{&ExternalInit{}}, ErrUnsupported},
		"reinit":                    {[]Proposal{&ReInit{Version: Version10, Suite: w.suite}}, ErrUnsupported},
		"unknown psk":               {[]Proposal{NewExternalPSK([]byte("other"))}, ErrPSK},
		"unsupported extension":     {[]Proposal{&GroupContextExtensions{Extensions{{Type: 0xF0F0}}}}, ErrLeaf},
		"unmet required extensions": {[]Proposal{&GroupContextExtensions{Extensions{RequiredCapabilities{Extensions: []ExtensionType{0xF0F0}}.Extension()}}}, ErrLeaf},
	} {
		build, err := by.group.Commit(CommitOptions{Proposals: test.proposals})
		if err == nil {
			_, err = build.Sign(by.key)
		}
		if !errors.Is(err, test.want) {
			t.Errorf("%s: made: %v", name, err)
		}
		if name == "unknown psk" {
			continue // cannot be forged without the secret
		}
		_, err = other.group.Process(forgeCommit(t, by, test.proposals).Message)
		// Whether a path is missing is looked at before the tree, where these
		// are caught otherwise.
		if !errors.Is(err, test.want) && !(test.want == ErrLeaf && errors.Is(err, ErrPath)) {
			t.Errorf("%s: processed: %v", name, err)
		}
	}
	w.agree()
}

func TestGroup_replacesLeafWithSameKey(t *testing.T) {
	w := newWorldWith(t, 4)
	by, again := w.members[0], w.members[2]
	inv := w.invitation(again)
	c := w.commit(by, CommitOptions{Proposals: []Proposal{
		w.add(inv), &Remove{Leaf: again.group.Own()}, NewExternalPSK([]byte(linkPSK)),
	}})
	w.deliver(by, c)
	joined := must(Join(w.config(), inv, c.Welcome, nil))(t)
	if len(joined.PSKs) != 1 || string(joined.PSKs[0].ID) != linkPSK {
		t.Errorf("PSKs %v", joined.PSKs)
	}
	w.members = append(w.members, &person{name: again.name, key: again.key, group: joined.Group})
	w.agree()
}

func TestGroup_describesCommitBeforeItCounts(t *testing.T) {
	w := newWorldWith(t, 3)
	by, other, third := w.members[0], w.members[1], w.members[2]
	before := other.group
	proposals := []Proposal{NewExternalPSK([]byte(linkPSK)), w.add(w.invitation(w.person())), &Remove{Leaf: third.group.Own()}}
	c := w.commit(by, CommitOptions{Proposals: proposals, AuthenticatedData: []byte("aad")})
	for range 2 { // looked at, refused by the application, and looked at again
		r := must(before.Process(c.Message))(t)
		d := r.Commit
		if r.Kind != KindCommit || r.Sender != by.group.Own() || string(r.AuthenticatedData) != "aad" {
			t.Errorf("%+v", r)
		}
		if len(d.Changes) != 3 || !d.Path || d.ByRef || len(d.Added) != 1 || len(d.Removed) != 1 || len(d.PSKs) != 1 {
			t.Errorf("%+v", d)
		}
		if d.Changes[2].Proposal.(*Remove).Leaf != third.group.Own() || d.Changes[2].Sender != by.group.Own() {
			t.Errorf("%+v", d.Changes[2])
		}
		if r.Group.Leaf(d.Added[0]) == nil || r.Group.Epoch() != before.Epoch()+1 || before.Epoch() != 1 {
			t.Error("state after the commit")
		}
	}
	// The old state is whole: another commit can be followed instead.
	other.group = must(before.Process(w.commit(by, CommitOptions{}).Message))(t).Group
}

var errRefused = errors.New("refused name")

// strict refuses one name, and any change of name.
type strict struct{ refused string }

func (s strict) ValidateLeaf(_ []byte, _ LeafIndex, leaf, old *LeafNode) error {
	if string(leaf.Credential.Identity) == s.refused {
		return errRefused
	}
	if old != nil && !old.Credential.Equal(leaf.Credential) {
		return errors.New("change of name")
	}
	return nil
}

func TestGroup_validatorDecides(t *testing.T) {
	w := newWorldWith(t, 2)
	by, other := w.members[0], w.members[1]
	stranger := w.person()
	inv := w.invitation(stranger)
	c := w.commit(by, CommitOptions{Proposals: []Proposal{w.add(inv)}})
	wary := *other.group
	wary.config.Validator = strict{refused: stranger.name}
	if _, err := wary.Process(c.Message); !errors.Is(err, ErrLeaf) || !errors.Is(err, errRefused) ||
		err.Error() != "mls: invalid leaf node: leaf 2: refused name" {
		t.Errorf("commit: %v", err)
	}
	if _, err := Join(Config{Validator: strict{refused: by.name}}, inv, c.Welcome, nil); !errors.Is(err, ErrLeaf) {
		t.Errorf("join: %v", err)
	}
	// A committer cannot rename itself in its path.
	renamed := *by.group
	renamed.tree = renamed.tree.clone()
	leaf := *renamed.Leaf(0)
	leaf.Credential = BasicCredential([]byte("somebody else"))
	renamed.tree.nodes[0] = node{leaf: &leaf} // the hash stays that of the old tree, as others have it
	path := w.commit(&person{key: by.key, group: &renamed}, CommitOptions{})
	if _, err := wary.Process(path.Message); !errors.Is(err, ErrLeaf) {
		t.Errorf("renamed: %v", err)
	}
	if _, err := other.group.Process(path.Message); err != nil {
		t.Errorf("renamed without a validator: %v", err)
	}
}

// propose makes a proposal that p sends ahead of a commit.
func (w *world) propose(p *person, proposal Proposal, format wireFormat) []byte {
	w.t.Helper()
	g := p.group
	a := &authenticatedContent{wireFormat: format, content: framedContent{groupID: g.ID(), epoch: g.Epoch(),
		sender: sender{kind: senderMember, index: uint32(g.Own())}, contentType: contentProposal, proposal: proposal}}
	a.signature = must(w.suite.sign(p.key, signContent(labelContent, a.toBeSigned(g.encoded))))(w.t)
	return must(g.protect(a, 0))(w.t)
}

func TestGroup_followsProposalsSentAhead(t *testing.T) {
	w := newWorldWith(t, 5)
	proposer, by, other := w.members[4], w.members[1], w.members[2]
	inv := w.invitation(w.person())
	before := other.group
	for i, p := range []Proposal{w.add(inv), &Remove{Leaf: 3}, NewExternalPSK([]byte(linkPSK))} {
		sent := w.propose(proposer, p, []wireFormat{wirePublic, wirePrivate}[i%2])
		for _, q := range w.members {
			if q == proposer {
				continue
			}
			r := must(q.group.Process(sent))(t)
			if r.Kind != KindProposal || r.Sender != 4 || r.Proposal.Type() != p.Type() {
				t.Errorf("%+v", r)
			}
			q.group = r.Group
		}
	}
	c := w.commit(by, CommitOptions{Pending: true})
	r := must(other.group.Process(c.Message))(t)
	if !r.Commit.ByRef || len(r.Commit.Changes) != 3 || r.Commit.Changes[0].Sender != 4 || len(r.Commit.Removed) != 1 {
		t.Errorf("%+v", r.Commit)
	}
	if _, err := before.Process(c.Message); !errors.Is(err, ErrProposal) {
		t.Errorf("unknown reference: %v", err)
	}
	if joined := must(Join(w.config(), inv, c.Welcome, nil))(t); !bytes.Equal(joined.Group.EpochAuthenticator(), c.Group.EpochAuthenticator()) {
		t.Error("joined another state")
	}
	if len(r.Group.pending) != 0 {
		t.Error("proposals outlive their epoch")
	}
}

func TestGroup_boundsWaitingProposals(t *testing.T) {
	w := newWorldWith(t, 2)
	by, g := w.members[0], w.members[1].group
	big := &GroupContextExtensions{Extensions{{Type: privateExtension, Data: make([]byte, maxPendingSize)}}}
	if _, err := g.Process(w.propose(by, big, wirePublic)); !errors.Is(err, ErrLimit) {
		t.Errorf("big proposal: %v", err)
	}
	for i := range maxPending {
		r := must(g.Process(w.propose(by, &Remove{Leaf: LeafIndex(i)}, wirePublic)))(t)
		g = r.Group
	}
	if _, err := g.Process(w.propose(by, &Remove{Leaf: maxPending}, wirePublic)); !errors.Is(err, ErrLimit) {
		t.Errorf("one proposal too many: %v", err)
	}
}

func TestGroup_followsAndRefusesUpdates(t *testing.T) {
	w := newWorldWith(t, 4)
	proposer, by, other := w.members[3], w.members[1], w.members[2]
	key := must(w.suite.generateKey())(t)
	update := func(change func(l *LeafNode)) *Update {
		leaf := *proposer.group.Leaf(3)
		leaf.Source, leaf.EncryptionKey = LeafUpdate, key.public
		change(&leaf)
		leaf.Signature = must(w.suite.sign(proposer.key, signContent("LeafNodeTBS", leaf.toBeSigned(by.group.ID(), 3))))(t)
		return &Update{&leaf}
	}
	for name, test := range map[string]struct {
		change func(l *LeafNode)
		want   error
	}{
		"new key":     {func(*LeafNode) {}, nil},
		"old key":     {func(l *LeafNode) { l.EncryptionKey = proposer.group.Leaf(3).EncryptionKey }, ErrProposal},
		"source":      {func(l *LeafNode) { l.Source = LeafCommit }, ErrProposal},
		"other's key": {func(l *LeafNode) { l.EncryptionKey = by.group.Leaf(0).EncryptionKey }, ErrTree},
		"suite":       {func(l *LeafNode) { l.Capabilities.Suites = nil }, ErrLeaf},
	} {
		sent := w.propose(proposer, update(test.change), wirePublic)
		maker := &person{key: by.key, group: must(by.group.Process(sent))(t).Group}
		receiver := must(other.group.Process(sent))(t).Group
		build, err := maker.group.Commit(CommitOptions{Pending: true})
		var c *Committed
		if err == nil {
			c, err = build.Sign(maker.key)
		}
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if test.want != nil {
			continue
		}
		r := must(receiver.Process(c.Message))(t)
		same(t, "exporter", exporter(t, r.Group), exporter(t, c.Group))
		same(t, "key", r.Group.Leaf(3).EncryptionKey, key.public)
	}
}
