package mls

import (
	"bytes"
	"slices"
	"testing"
)

// fuzzDecoder checks that a decoder neither panics nor accepts two encodings
// of the same value.
func fuzzDecoder(f *testing.F, decode func() codable, seeds ...[]byte) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v := decode()
		if err := unmarshal(b, v); err != nil {
			reasoned(t, err)
			return
		}
		if !bytes.Equal(marshal(v), b) {
			t.Fatalf("%x is encoded as %x", b, marshal(v))
		}
	})
}

// seeds are some vectors of messages.json.
func seeds(f *testing.F, fields ...string) (out [][]byte) {
	for i, v := range vectors[map[string]octets](f, "messages") {
		if i == 8 {
			break
		}
		for _, name := range fields {
			out = append(out, v[name])
		}
	}
	return out
}

func FuzzMessage(f *testing.F) {
	fuzzDecoder(f, func() codable { return new(message) }, seeds(f, "mls_welcome", "mls_group_info", "mls_key_package",
		"public_message_application", "public_message_proposal", "public_message_commit", "private_message")...)
}

func FuzzCommit(f *testing.F) {
	fuzzDecoder(f, func() codable { return new(commitBody) }, seeds(f, "commit")...)
}

func FuzzGroupSecrets(f *testing.F) {
	fuzzDecoder(f, func() codable { return new(groupSecrets) }, seeds(f, "group_secrets")...)
}

func FuzzRequiredCapabilities(f *testing.F) {
	seed := RequiredCapabilities{Extensions: []ExtensionType{1}, Proposals: []ProposalType{1}, Credentials: []CredentialType{1}}
	fuzzDecoder(f, func() codable { return new(RequiredCapabilities) }, seed.Extension().Data)
}

func FuzzSenderData(f *testing.F) {
	fuzzDecoder(f, func() codable { return new(senderData) }, marshal(&senderData{leaf: 1, generation: 2}))
}

// wireProposal makes a codable of a proposal with its type.
type wireProposal struct{ Proposal }

func (p *wireProposal) encode(w *writer) { writeProposal(w, p.Proposal) }
func (p *wireProposal) decode(r *reader) { p.Proposal = readProposal(r) }

func FuzzProposal(f *testing.F) {
	var all [][]byte
	for _, p := range []Proposal{&Remove{Leaf: 1}, NewExternalPSK([]byte("id")), &ExternalInit{}, &GroupContextExtensions{Extensions{{Type: 1}}},
		&ReInit{Version: Version10, Suite: 1}, &PreSharedKey{PSKID{Type: PSKResumption, Usage: PSKApplication, GroupID: []byte("g")}}} {
		all = append(all, marshal(&wireProposal{p}))
	}
	fuzzDecoder(f, func() codable { return new(wireProposal) }, all...)
}

// FuzzTree checks in addition that validation and all tree operations survive
// any tree that can be decoded.
func FuzzTree(f *testing.F) {
	for _, seed := range seeds(f, "ratchet_tree") {
		f.Add(seed)
	}
	w := newWorldWith(f, 5)
	w.deliver(w.members[1], w.commit(w.members[1], CommitOptions{}))
	f.Add(marshal(w.members[0].group.tree))
	f.Fuzz(func(t *testing.T, b []byte) {
		tree := new(Tree)
		if err := unmarshal(b, tree); err != nil {
			reasoned(t, err)
			return
		}
		if again := marshal(tree); !bytes.Equal(again, b) {
			t.Fatalf("%x is encoded as %x", b, again)
		}
		tree.rootHash()
		if err := tree.check(1, nil); err != nil {
			reasoned(t, err)
			return
		}
		if err := tree.checkMembers(nil); err != nil {
			reasoned(t, err)
		}
		for l := range tree.clone().Leaves() {
			tree.filteredPath(l)
			tree.remove(l)
		}
		if tree.Members() != 0 || tree.size() != 1 {
			t.Fatal("members are left")
		}
	})
}

// splice writes patch over b at an offset, and cuts as many bytes there. Fuzz
// inputs are changes rather than messages, because every process of the fuzzer
// has a group with other keys.
func splice(b []byte, at uint16, cut uint8, patch []byte) []byte {
	from := min(int(at), len(b))
	to := min(from+int(cut), len(b))
	return slices.Concat(b[:from], patch, b[to:])
}

// FuzzProcess feeds a group what an insider could send: a changed message that
// is signed, tagged and encrypted properly, with a properly signed leaf.
func FuzzProcess(f *testing.F) {
	w := newWorldWith(f, 4)
	by, other := w.members[1], w.members[2]
	bodies := []struct {
		kind contentType
		body []byte
	}{
		{contentProposal, marshal(&wireProposal{&Remove{Leaf: 2}})},
		{contentApplication, []byte("\x05hello")},
	}
	for _, proposals := range [][]Proposal{
		nil,
		{&Remove{Leaf: other.group.Own()}},
		{w.add(w.invitation(w.person())), NewExternalPSK([]byte(linkPSK))},
		{&GroupContextExtensions{Extensions{{Type: privateExtension}}}, &Remove{Leaf: 3}},
	} {
		var m message
		if err := unmarshal(w.commit(by, CommitOptions{Proposals: proposals}).Message, &m); err != nil {
			f.Fatal(err)
		}
		bodies = append(bodies, struct {
			kind contentType
			body []byte
		}{contentCommit, marshal(m.public.content.commit)})
	}
	for i := range bodies {
		f.Add(uint8(i), i%2 == 0, uint16(0), uint8(0), []byte{})
		f.Add(uint8(i), i%2 == 1, uint16(8), uint8(1), []byte{7})
	}
	root := bytes.Clone(by.group.messages.nodes[rootOf(4)])
	f.Fuzz(func(t *testing.T, choice uint8, private bool, at uint16, cut uint8, patch []byte) {
		chosen := bodies[int(choice)%len(bodies)]
		a := &authenticatedContent{wireFormat: wirePublic, confirmationTag: make([]byte, hashSize)}
		if private {
			a.wireFormat = wirePrivate
		}
		a.content = framedContent{groupID: by.group.ID(), epoch: by.group.Epoch(), contentType: chosen.kind,
			sender: sender{kind: senderMember, index: uint32(by.group.Own())}}
		r := reader{b: splice(chosen.body, at, cut, patch)}
		if a.content.decodeBody(&r); r.end() != nil {
			return
		}
		if chosen.kind == contentCommit && a.content.commit.path != nil {
			leaf := a.content.commit.path.leaf
			leaf.Signature = must(w.suite.sign(by.key, signContent("LeafNodeTBS", leaf.toBeSigned(by.group.ID(), by.group.Own()))))(t)
		}
		a.signature = must(w.suite.sign(by.key, signContent(labelContent, a.toBeSigned(by.group.encoded))))(t)
		by.group.messages, other.group.messages = newSecretTree(4, root), newSecretTree(4, root)
		encoded := must(by.group.protect(a, 0))(t)
		before := marshal(other.group.tree)
		r1, err := other.group.Process(encoded)
		if err != nil {
			reasoned(t, err)
		} else if r1.Kind == KindCommit && r1.Group != nil {
			t.Fatal("a commit with a forged confirmation tag is accepted")
		}
		if other.group.Epoch() != 1 || !bytes.Equal(marshal(other.group.tree), before) {
			t.Fatal("the state before has changed")
		}
	})
}

// FuzzJoin feeds a new member a Welcome whose secrets open, with a changed
// GroupInfo that a member has signed, and whose tree hash fits.
func FuzzJoin(f *testing.F) {
	w := newWorldWith(f, 3)
	o := openWelcome(w)
	f.Add(true, uint16(0), uint8(0), []byte{})
	f.Add(false, uint16(200), uint8(1), []byte{1})
	f.Fuzz(func(t *testing.T, path bool, at uint16, cut uint8, patch []byte) {
		w.t = t
		encoded := splice(o.info, at, cut, patch)
		var info groupInfo
		if unmarshal(encoded, &info) == nil {
			tree := new(Tree)
			data, _ := info.extensions.Get(ExtensionRatchetTree)
			if unmarshal(data, tree) == nil {
				info.context.TreeHash = tree.rootHash()
			}
			encoded = o.sign(&info)
		}
		secrets := o.secrets
		secrets.joiner, secrets.hasPath = bytes.Clone(secrets.joiner), path
		joined, err := o.join(secrets, encoded)
		if err != nil {
			reasoned(t, err)
		} else if !bytes.Equal(marshal(&joined.Group.context), joined.Group.encoded) {
			t.Fatal("a context that is not encoded as it is")
		}
	})
}
