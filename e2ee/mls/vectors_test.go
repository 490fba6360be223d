package mls

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/hex"
	"encoding/json"
	"testing"
)

// The official vectors of the MLS working group (mlswg/mls-implementations,
// test-vectors), reduced to suites 1 to 3. They are embedded so that they run
// as WebAssembly too; see the package documentation.
//
//go:embed testdata/*.json.gz
var vectorFiles embed.FS

// octets is a byte string in hexadecimal.
type octets []byte

func (o *octets) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil || s == nil {
		return err
	}
	var err error
	*o, err = hex.DecodeString(*s)
	return err
}

// vectors loads one file.
func vectors[T any](t testing.TB, name string) []T {
	t.Helper()
	f, err := vectorFiles.Open("testdata/" + name + ".json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out []T
	if err := json.NewDecoder(unzipped).Decode(&out); err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatal("no vectors")
	}
	return out
}

// each runs the vectors of the suites that are implemented, and fails when
// there is none for suite 1.
func each[T any](t *testing.T, name string, suite func(T) CipherSuite, run func(t *testing.T, v T)) {
	t.Helper()
	ran := map[CipherSuite]int{}
	for _, v := range vectors[T](t, name) {
		s := suite(v)
		if s.check() != nil {
			continue
		}
		ran[s]++
		run(t, v)
		if t.Failed() {
			t.Fatalf("vector %d of suite %d", ran[s], s)
		}
	}
	if ran[X25519AES128SHA256Ed25519] == 0 {
		t.Fatal("no vector of suite 1")
	}
	t.Logf("vectors by suite: %v", ran)
}

func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got %x, want %x", what, got, want)
	}
}

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestVectors_treeMath(t *testing.T) {
	type vector struct {
		Leaves  uint32    `json:"n_leaves"`
		Nodes   int       `json:"n_nodes"`
		Root    nodeIndex `json:"root"`
		Left    []*nodeIndex
		Right   []*nodeIndex
		Parent  []*nodeIndex
		Sibling []*nodeIndex
	}
	for _, v := range vectors[vector](t, "tree-math") {
		if rootOf(v.Leaves) != v.Root || int(2*v.Leaves-1) != v.Nodes {
			t.Fatalf("%d leaves: root %d", v.Leaves, rootOf(v.Leaves))
		}
		for x := nodeIndex(0); int(x) < v.Nodes; x++ {
			check := func(what string, want *nodeIndex, defined bool, f func(nodeIndex) nodeIndex) {
				if (want != nil) != defined || defined && f(x) != *want {
					t.Fatalf("%d leaves: %s of %d", v.Leaves, what, x)
				}
			}
			check("left", v.Left[x], !x.isLeaf(), nodeIndex.left)
			check("right", v.Right[x], !x.isLeaf(), nodeIndex.right)
			check("parent", v.Parent[x], x != v.Root, nodeIndex.parent)
			check("sibling", v.Sibling[x], x != v.Root, nodeIndex.sibling)
		}
	}
}

func TestVectors_deserialization(t *testing.T) {
	type vector struct {
		Header octets `json:"vlbytes_header"`
		Length int
	}
	for _, v := range vectors[vector](t, "deserialization") {
		r := reader{b: v.Header}
		if n := r.length(); n != v.Length || r.end() != nil {
			t.Errorf("%x: got %d (%v), want %d", v.Header, n, r.err, v.Length)
		}
		var w writer
		w.length(v.Length)
		same(t, "length", w.b, v.Header)
	}
}

func TestVectors_cryptoBasics(t *testing.T) {
	type vector struct {
		Suite   CipherSuite `json:"cipher_suite"`
		RefHash struct {
			Label      string
			Value, Out octets
		} `json:"ref_hash"`
		Expand struct {
			Label                string
			Secret, Context, Out octets
			Length               int
		} `json:"expand_with_label"`
		Derive struct {
			Label       string
			Secret, Out octets
		} `json:"derive_secret"`
		DeriveTree struct {
			Label       string
			Secret, Out octets
			Generation  uint32
			Length      int
		} `json:"derive_tree_secret"`
		Sign struct {
			Label                         string
			Priv, Pub, Content, Signature octets
		} `json:"sign_with_label"`
		Encrypt struct {
			Label              string
			Priv, Pub          octets
			Context, Plaintext octets
			KEMOutput          octets `json:"kem_output"`
			Ciphertext         octets
		} `json:"encrypt_with_label"`
	}
	each(t, "crypto-basics", func(v vector) CipherSuite { return v.Suite }, func(t *testing.T, v vector) {
		same(t, "ref hash", refHash(v.RefHash.Label, v.RefHash.Value), v.RefHash.Out)
		e := v.Expand
		same(t, "expand", expandWithLabel(e.Secret, e.Label, e.Context, e.Length), e.Out)
		same(t, "derive", deriveSecret(v.Derive.Secret, v.Derive.Label), v.Derive.Out)
		d := v.DeriveTree
		same(t, "derive tree", deriveTreeSecret(d.Secret, d.Label, d.Generation, d.Length), d.Out)

		s := v.Sign
		if !v.Suite.verifyWithLabel(s.Pub, s.Label, s.Content, s.Signature) {
			t.Error("signature of the vector")
		}
		key := signer(t, v.Suite, s.Priv)
		same(t, "signature key", must(v.Suite.signaturePublic(key.Public()))(t), s.Pub)
		signature := must(v.Suite.sign(key, signContent(s.Label, s.Content)))(t)
		if !v.Suite.verifyWithLabel(s.Pub, s.Label, s.Content, signature) {
			t.Error("own signature")
		}

		c := v.Encrypt
		private := must(v.Suite.newPrivateKey(c.Priv))(t)
		same(t, "public key", private.public, c.Pub)
		plain := must(private.decryptWithLabel(c.Label, c.Context, hpkeCiphertext{c.KEMOutput, c.Ciphertext}))(t)
		same(t, "plaintext", plain, c.Plaintext)
		sealed := must(v.Suite.encryptWithLabel(c.Pub, c.Label, c.Context, c.Plaintext))(t)
		same(t, "own plaintext", must(private.decryptWithLabel(c.Label, c.Context, sealed))(t), c.Plaintext)
	})
}

func TestVectors_keySchedule(t *testing.T) {
	type epoch struct {
		TreeHash                octets `json:"tree_hash"`
		CommitSecret            octets `json:"commit_secret"`
		PSKSecret               octets `json:"psk_secret"`
		ConfirmedTranscriptHash octets `json:"confirmed_transcript_hash"`
		GroupContext            octets `json:"group_context"`
		JoinerSecret            octets `json:"joiner_secret"`
		WelcomeSecret           octets `json:"welcome_secret"`
		InitSecret              octets `json:"init_secret"`
		SenderDataSecret        octets `json:"sender_data_secret"`
		EncryptionSecret        octets `json:"encryption_secret"`
		ExporterSecret          octets `json:"exporter_secret"`
		EpochAuthenticator      octets `json:"epoch_authenticator"`
		ExternalSecret          octets `json:"external_secret"`
		ConfirmationKey         octets `json:"confirmation_key"`
		MembershipKey           octets `json:"membership_key"`
		ResumptionPSK           octets `json:"resumption_psk"`
		ExternalPub             octets `json:"external_pub"`
		Exporter                struct {
			Label           string
			Context, Secret octets
			Length          int
		}
	}
	type vector struct {
		Suite      CipherSuite `json:"cipher_suite"`
		GroupID    octets      `json:"group_id"`
		InitSecret octets      `json:"initial_init_secret"`
		Epochs     []epoch
	}
	each(t, "key-schedule", func(v vector) CipherSuite { return v.Suite }, func(t *testing.T, v vector) {
		init := []byte(v.InitSecret)
		for i, e := range v.Epochs {
			context := marshal(&GroupContext{
				Version: Version10, Suite: v.Suite, GroupID: v.GroupID, Epoch: uint64(i),
				TreeHash: e.TreeHash, ConfirmedTranscriptHash: e.ConfirmedTranscriptHash,
			})
			same(t, "group context", context, e.GroupContext)
			joiner := joinerSecret(init, e.CommitSecret, context)
			same(t, "joiner", joiner, e.JoinerSecret)
			member := memberSecret(joiner, e.PSKSecret)
			same(t, "welcome", welcomeSecret(member), e.WelcomeSecret)
			s := deriveEpoch(member, context)
			same(t, "init", s.init, e.InitSecret)
			same(t, "sender data", s.senderData, e.SenderDataSecret)
			same(t, "encryption", s.encryption, e.EncryptionSecret)
			same(t, "exporter", s.exporter, e.ExporterSecret)
			same(t, "authenticator", s.authenticator, e.EpochAuthenticator)
			same(t, "external", s.external, e.ExternalSecret)
			same(t, "confirmation", s.confirmation, e.ConfirmationKey)
			same(t, "membership", s.membership, e.MembershipKey)
			same(t, "resumption", s.resumption, e.ResumptionPSK)
			same(t, "external key", must(s.externalKey(v.Suite))(t).public, e.ExternalPub)
			x := e.Exporter
			same(t, "exported", must(export(s.exporter, x.Label, x.Context, x.Length))(t), x.Secret)
			init = s.init
		}
	})
}

func TestVectors_pskSecret(t *testing.T) {
	type vector struct {
		Suite CipherSuite `json:"cipher_suite"`
		PSKs  []struct {
			ID    octets `json:"psk_id"`
			PSK   octets
			Nonce octets `json:"psk_nonce"`
		}
		Secret octets `json:"psk_secret"`
	}
	each(t, "psk_secret", func(v vector) CipherSuite { return v.Suite }, func(t *testing.T, v vector) {
		var ids []PSKID
		var secrets [][]byte
		for _, p := range v.PSKs {
			ids = append(ids, PSKID{Type: PSKExternal, ID: p.ID, Nonce: p.Nonce})
			secrets = append(secrets, p.PSK)
		}
		same(t, "psk secret", pskSecret(ids, secrets), v.Secret)
	})
}

func TestVectors_secretTree(t *testing.T) {
	type vector struct {
		Suite      CipherSuite `json:"cipher_suite"`
		Encryption octets      `json:"encryption_secret"`
		SenderData struct {
			Secret     octets `json:"sender_data_secret"`
			Ciphertext octets
			Key, Nonce octets
		} `json:"sender_data"`
		Leaves [][]struct {
			Generation       uint32
			ApplicationKey   octets `json:"application_key"`
			ApplicationNonce octets `json:"application_nonce"`
			HandshakeKey     octets `json:"handshake_key"`
			HandshakeNonce   octets `json:"handshake_nonce"`
		}
	}
	each(t, "secret-tree", func(v vector) CipherSuite { return v.Suite }, func(t *testing.T, v vector) {
		key, nonce := senderKey(v.SenderData.Secret, v.SenderData.Ciphertext)
		same(t, "sender data key", key, v.SenderData.Key)
		same(t, "sender data nonce", nonce, v.SenderData.Nonce)
		tree := newSecretTree(uint32(len(v.Leaves)), v.Encryption)
		for l, generations := range v.Leaves {
			for _, g := range generations {
				use := must(tree.find(LeafIndex(l), ratchetApplication, g.Generation))(t)
				same(t, "application key", use.key.key, g.ApplicationKey)
				same(t, "application nonce", use.key.nonce, g.ApplicationNonce)
				use.consume()
				use = must(tree.find(LeafIndex(l), ratchetHandshake, g.Generation))(t)
				same(t, "handshake key", use.key.key, g.HandshakeKey)
				same(t, "handshake nonce", use.key.nonce, g.HandshakeNonce)
				use.consume()
			}
		}
	})
}

func TestVectors_transcriptHashes(t *testing.T) {
	type vector struct {
		Suite           CipherSuite `json:"cipher_suite"`
		ConfirmationKey octets      `json:"confirmation_key"`
		Content         octets      `json:"authenticated_content"`
		InterimBefore   octets      `json:"interim_transcript_hash_before"`
		Confirmed       octets      `json:"confirmed_transcript_hash_after"`
		InterimAfter    octets      `json:"interim_transcript_hash_after"`
	}
	each(t, "transcript-hashes", func(v vector) CipherSuite { return v.Suite }, func(t *testing.T, v vector) {
		var a authenticatedContent
		if err := unmarshal(v.Content, &a); err != nil {
			t.Fatal(err)
		}
		same(t, "content", marshal(&a), v.Content)
		confirmed := confirmedHash(v.InterimBefore, &a)
		same(t, "confirmed", confirmed, v.Confirmed)
		same(t, "tag", mac(v.ConfirmationKey, confirmed), a.confirmationTag)
		same(t, "interim", interimHash(confirmed, a.confirmationTag), v.InterimAfter)
	})
}
