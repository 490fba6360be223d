package mls

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// reasons are all errors with which input may be refused.
var reasons = []error{ErrEncoding, ErrUnsupported, ErrLimit, ErrGroup, ErrEpoch, ErrSignature, ErrTag, ErrDecrypt,
	ErrGeneration, ErrSender, ErrOwnMessage, ErrLeaf, ErrKeyPackage, ErrTree, ErrProposal, ErrPath, ErrPSK, ErrWelcome, ErrState}

// reasoned fails unless err wraps one of them.
func reasoned(t testing.TB, err error) {
	t.Helper()
	for _, reason := range reasons {
		if errors.Is(err, reason) {
			return
		}
	}
	t.Fatalf("no reason: %v", err)
}

// tamper calls refuses with b changed at each offset, and cut there.
func tamper(b []byte, refuses func(changed []byte, what string, at int)) {
	for at := range b {
		for _, mask := range []byte{0x01, 0x80} {
			changed := bytes.Clone(b)
			changed[at] ^= mask
			refuses(changed, "bit flipped", at)
		}
		refuses(b[:at], "cut", at)
	}
	refuses(append(bytes.Clone(b), 0), "byte added", len(b))
}

func TestTamper_everyByteOfCommit(t *testing.T) {
	for _, private := range []bool{false, true} {
		w := newWorldWith(t, 4)
		by, other := w.members[0], w.members[1]
		c := w.commit(by, CommitOptions{Private: private, AuthenticatedData: []byte("aad"), Proposals: []Proposal{
			NewExternalPSK([]byte(linkPSK)), w.add(w.invitation(w.person())), &Remove{Leaf: w.members[3].group.Own()},
		}})
		tamper(c.Message, func(changed []byte, what string, at int) {
			r, err := other.group.Process(changed)
			if err == nil {
				t.Fatalf("private %v: %s at %d of %d: accepted as %+v", private, what, at, len(c.Message), r)
			}
			reasoned(t, err)
		})
		if !private {
			// An insider knows the membership key, and can make that tag fit.
			tamperInside(t, by.group, other.group, c.Message)
		}
		w.deliver(by, c) // after all that, the honest one is followed
		for _, p := range w.members {
			same(t, "exporter", exporter(t, p.group), exporter(t, by.group))
		}
	}
}

// tamperInside flips bits in a PublicMessage and computes its membership tag
// anew, so that only the signature and what follows stand in the way.
func tamperInside(t *testing.T, from, to *Group, honest []byte) {
	t.Helper()
	for at := range len(honest) - hashSize - 1 {
		changed := bytes.Clone(honest)
		changed[at] ^= 1
		var m message
		if unmarshal(changed, &m) != nil || m.public == nil {
			continue
		}
		m.public.membershipTag = m.public.membershipMAC(from.secrets.membership, from.encoded)
		_, err := to.Process(marshal(&m))
		if err == nil {
			t.Fatalf("insider's change at %d is accepted", at)
		}
		reasoned(t, err)
	}
}

func TestTamper_everyByteOfWelcomeAndKeyPackage(t *testing.T) {
	w := newWorldWith(t, 2)
	inv := w.invitation(w.person())
	c := w.commit(w.members[0], CommitOptions{Path: true, Proposals: []Proposal{w.add(inv), NewExternalPSK([]byte(linkPSK))}})
	tamper(c.Welcome, func(changed []byte, what string, at int) {
		if _, err := Join(w.config(), inv, changed, nil); err == nil {
			t.Fatalf("%s at %d of %d: joined", what, at, len(c.Welcome))
		} else {
			reasoned(t, err)
		}
	})
	tamper(inv.KeyPackage.Message(), func(changed []byte, what string, at int) {
		if _, err := ParseKeyPackage(changed, w.suite); err == nil {
			t.Fatalf("key package: %s at %d: accepted", what, at)
		} else {
			reasoned(t, err)
		}
	})
	must(Join(w.config(), inv, c.Welcome, nil))(t)
}

func TestTamper_everyByteOfApplicationMessage(t *testing.T) {
	w := newWorldWith(t, 2)
	by, other := w.members[0], w.members[1]
	sealed := sealText(t, by, "hello")
	tamper(sealed, func(changed []byte, what string, at int) {
		if _, err := other.group.Process(changed); err == nil {
			t.Fatalf("%s at %d: accepted", what, at)
		} else {
			reasoned(t, err)
		}
	})
	if got := must(other.group.Process(sealed))(t).Data; string(got) != "hello" {
		t.Fatalf("got %q", got)
	}
}

// sealText seals one application message.
func sealText(t testing.TB, p *person, text string) []byte {
	t.Helper()
	return must(must(p.group.Seal([]byte(text), []byte("aad"), 16))(t).Sign(p.key))(t).Message
}

func TestTamper_welcomeIsOnlyForItsKeyPackage(t *testing.T) {
	w := newWorldWith(t, 2)
	inv, other := w.invitation(w.person()), w.invitation(w.person())
	c := w.commit(w.members[0], CommitOptions{Proposals: []Proposal{w.add(inv), NewExternalPSK([]byte(linkPSK))}})
	if _, err := Join(w.config(), other, c.Welcome, nil); !errors.Is(err, ErrWelcome) {
		t.Errorf("other key package: %v", err)
	}
	if _, err := Join(Config{}, inv, c.Welcome, nil); !errors.Is(err, ErrPSK) {
		t.Errorf("without the PSK: %v", err)
	}
	wrong := Config{PSKs: fixedPSKs{linkPSK: []byte("wrong")}}
	if _, err := Join(wrong, inv, c.Welcome, nil); !errors.Is(err, ErrDecrypt) {
		t.Errorf("with a wrong PSK: %v", err)
	}
	if _, err := Join(w.config(), inv, c.Message, nil); !errors.Is(err, ErrWelcome) {
		t.Errorf("a commit is no welcome: %v", err)
	}
}

func TestTamper_refusesWhatIsNotForTheGroup(t *testing.T) {
	w := newWorldWith(t, 2)
	by, other := w.members[0], w.members[1]
	c := w.commit(by, CommitOptions{})
	if _, err := by.group.Process(c.Message); !errors.Is(err, ErrOwnMessage) {
		t.Errorf("own commit: %v", err)
	}
	if _, err := by.group.Process(sealText(t, by, "x")); !errors.Is(err, ErrOwnMessage) {
		t.Errorf("own message: %v", err)
	}
	if _, err := newWorldWith(t, 2).members[1].group.Process(c.Message); !errors.Is(err, ErrTag) {
		t.Errorf("another group of that id: %v", err)
	}
	for _, format := range []wireFormat{wireWelcome, wireKeyPackage} {
		m := message{wireFormat: format, welcome: &welcome{suite: 1}, keyPackage: w.invitation(by).KeyPackage}
		if _, err := other.group.Process(marshal(&m)); !errors.Is(err, ErrSender) {
			t.Errorf("wire format %d: %v", format, err)
		}
	}
	// Another member, which has the membership key, forges a commit of by. By
	// itself must not take it for the echo of its own.
	forged := &authenticatedContent{wireFormat: wirePublic, content: framedContent{groupID: by.group.ID(), epoch: by.group.Epoch(),
		sender: sender{kind: senderMember, index: uint32(by.group.Own())}, contentType: contentCommit, commit: &commitBody{}}}
	forged.signature = must(w.suite.sign(other.key, signContent(labelContent, forged.toBeSigned(by.group.encoded))))(t)
	forgery := marshal(&message{wireFormat: wirePublic, public: protectPublic(forged, other.group.secrets.membership, other.group.encoded)})
	for _, p := range w.members {
		if _, err := p.group.Process(forgery); !errors.Is(err, ErrSignature) {
			t.Errorf("commit in the name of another member, at %s: %v", p.name, err)
		}
	}
	clear := func(kind senderType, content contentType) error {
		a := &authenticatedContent{wireFormat: wirePublic, content: framedContent{groupID: by.group.ID(), epoch: by.group.Epoch(),
			sender: sender{kind: kind}, contentType: content, proposal: &Remove{}, commit: &commitBody{}}}
		a.signature = must(w.suite.sign(by.key, signContent(labelContent, a.toBeSigned(by.group.encoded))))(t)
		m := protectPublic(a, by.group.secrets.membership, by.group.encoded)
		_, err := other.group.Process(marshal(&message{wireFormat: wirePublic, public: m}))
		return err
	}
	for name, err := range map[string]error{
		"application in the clear": clear(senderMember, contentApplication),
		"external sender":          clear(senderExternal, contentProposal),
		"external commit":          clear(senderNewCommit, contentCommit),
		"new member's proposal":    clear(senderNewProposal, contentProposal),
	} {
		if !errors.Is(err, ErrSender) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.deliver(by, c)
	if _, err := other.group.Process(c.Message); !errors.Is(err, ErrEpoch) {
		t.Errorf("replayed commit: %v", err)
	}
}

// TestTamper_pathSecretOfOneMember has a committer that sends one member
// nothing, or another secret than the rest. Everybody else follows, and the
// error tells the victim that it is alone.
func TestTamper_pathSecretOfOneMember(t *testing.T) {
	w := newWorldWith(t, 4)
	by, other, victim := w.members[0], w.members[1], w.members[3]
	for name, secret := range map[string][]byte{
		"garbage": nil, "another secret": randomBytes(hashSize), "a short secret": randomBytes(hashSize - 1),
	} {
		g := by.group
		st := must(g.stage(g.own, nil))(t)
		path := must(preparePath(w.suite, st.tree, g.own, nil))(t)
		path.finish(must(w.suite.sign(by.key, signContent("LeafNodeTBS", path.leaf.toBeSigned(g.ID(), g.own))))(t))
		context := st.context(g)
		message := must(path.encrypt(w.suite, marshal(&context)))(t)
		top := &message.nodes[len(message.nodes)-1]
		sealed := &top.secrets[len(top.secrets)-1] // the last leaf's, in a tree without parents on that side
		if secret == nil {
			sealed.ciphertext[0] ^= 1
		} else {
			*sealed = must(w.suite.encryptWithLabel(victim.group.Leaf(victim.group.Own()).EncryptionKey, "UpdatePathNode", marshal(&context), secret))(t)
		}
		c := &committing{g: g, st: st, path: path, result: new(Committed)}
		input := must(c.frame(message))(t)
		if _, _, err := c.contentSigned(must(w.suite.sign(by.key, input))(t)); err != nil {
			t.Fatal(err)
		}
		if _, err := other.group.Process(c.result.Message); err != nil {
			t.Errorf("%s: a member that is not concerned: %v", name, err)
		}
		if _, err := victim.group.Process(c.result.Message); !errors.Is(err, ErrDecrypt) {
			t.Errorf("%s: the victim: %v", name, err)
		}
	}
}

func TestLimits_hostileEncodings(t *testing.T) {
	w := newWorldWith(t, 2)
	g := w.members[1].group
	// Every length that a vector can claim, at every place where one may be.
	var lengths [][]byte
	for _, n := range []uint32{1 << 6, 1 << 13, 1<<30 - 1} {
		x := writer{}
		x.length(int(n))
		lengths = append(lengths, x.b)
	}
	honest := w.commit(w.members[0], CommitOptions{}).Message
	allocated := testing.AllocsPerRun(1, func() {
		for at := range honest {
			for _, length := range lengths {
				hostile := append(append(bytes.Clone(honest[:at]), length...), honest[at:]...)
				if _, err := g.Process(hostile); err == nil {
					t.Fatal("accepted")
				}
			}
		}
	})
	if perMessage := allocated / float64(3*len(honest)); perMessage > 200 {
		t.Errorf("%.0f allocations for a hostile message", perMessage)
	}
	if _, err := g.Process(make([]byte, maxEncoding+1)); !errors.Is(err, ErrLimit) {
		t.Errorf("oversized: %v", err)
	}
}

func TestLimits_treeOfTenThousandLeaves(t *testing.T) {
	leaf := marshal(leafEntry{newWorld(t).members[0].group.Leaf(0)})
	for name, item := range map[string]struct{ even, odd []byte }{
		"blank":   {[]byte{0}, []byte{0}},
		"members": {leaf, []byte{0}},
	} {
		var body writer
		body.vector(func(w *writer) {
			for i := range 10_000 {
				w.raw(item.even)
				if i < 9_999 {
					w.raw(item.odd)
				}
			}
		})
		tree := new(Tree)
		if err := unmarshal(body.b, tree); !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
		if cap(tree.nodes) > 4*MaxLeaves {
			t.Errorf("%s: room for %d nodes", name, cap(tree.nodes))
		}
	}
}

// leafEntry encodes a leaf as an optional node of the tree.
type leafEntry struct{ leaf *LeafNode }

func (n leafEntry) encode(w *writer) {
	w.optional(true)
	w.u8(1)
	n.leaf.encode(w)
}

func TestLimits_tooManyMembersAndProposals(t *testing.T) {
	w := newWorld(t)
	leaf := w.members[0].group.Leaf(0)
	tree := newTree(leaf)
	for range MaxLeaves - 1 {
		if _, err := tree.add(leaf); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tree.add(leaf); !errors.Is(err, ErrLimit) {
		t.Errorf("one leaf too many: %v", err)
	}
	var c commitBody
	for range maxProposals + 1 {
		c.proposals = append(c.proposals, proposalOrRef{proposal: &Remove{}})
	}
	if err := unmarshal(marshal(&c), new(commitBody)); !errors.Is(err, ErrLimit) {
		t.Errorf("one proposal too many: %v", err)
	}
	deep := binary.BigEndian.AppendUint32(nil, 1<<31-1)
	if err := unmarshal(deep, new(Tree)); !errors.Is(err, ErrEncoding) {
		t.Errorf("tree of a lying length: %v", err)
	}
}
