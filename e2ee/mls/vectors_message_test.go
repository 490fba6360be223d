package mls

import (
	"bytes"
	"errors"
	"testing"
)

func TestVectors_messageProtection(t *testing.T) {
	type vector struct {
		Suite         CipherSuite `json:"cipher_suite"`
		GroupID       octets      `json:"group_id"`
		Epoch         uint64
		TreeHash      octets `json:"tree_hash"`
		Confirmed     octets `json:"confirmed_transcript_hash"`
		SignaturePriv octets `json:"signature_priv"`
		SignaturePub  octets `json:"signature_pub"`
		Encryption    octets `json:"encryption_secret"`
		SenderData    octets `json:"sender_data_secret"`
		Membership    octets `json:"membership_key"`

		Proposal        octets
		ProposalPriv    octets `json:"proposal_priv"`
		ProposalPub     octets `json:"proposal_pub"`
		Commit          octets
		CommitPriv      octets `json:"commit_priv"`
		CommitPub       octets `json:"commit_pub"`
		Application     octets
		ApplicationPriv octets `json:"application_priv"`
	}
	const receiver = LeafIndex(0) // the sender of all messages is leaf 1 of 2
	each(t, "message-protection", func(v vector) CipherSuite { return v.Suite }, func(t *testing.T, v vector) {
		context := marshal(&GroupContext{Version: Version10, Suite: v.Suite, GroupID: v.GroupID, Epoch: v.Epoch,
			TreeHash: v.TreeHash, ConfirmedTranscriptHash: v.Confirmed})
		body := func(a *authenticatedContent) []byte {
			var w writer
			a.content.encodeBody(&w)
			if a.content.contentType == contentApplication {
				return a.content.application
			}
			return w.b
		}
		verified := func(a *authenticatedContent) []byte {
			t.Helper()
			if err := a.verify(v.Suite, v.SignaturePub, context); err != nil {
				t.Fatal(err)
			}
			return body(a)
		}
		openBoth := func(encoded []byte) []byte {
			t.Helper()
			var m message
			if err := unmarshal(encoded, &m); err != nil {
				t.Fatal(err)
			}
			same(t, "message", marshal(&m), encoded)
			if m.public != nil {
				if err := m.public.checkMembership(v.Membership, context); err != nil {
					t.Fatal(err)
				}
				return verified(&m.public.authenticatedContent)
			}
			secrets := newSecretTree(2, v.Encryption)
			a, use, err := openPrivate(m.private, secrets, v.SenderData, receiver)
			if err != nil {
				t.Fatal(err)
			}
			use.consume()
			if _, _, err := openPrivate(m.private, secrets, v.SenderData, receiver); !errors.Is(err, ErrGeneration) {
				t.Fatalf("opened twice: %v", err)
			}
			return verified(a)
		}
		same(t, "proposal", openBoth(v.ProposalPriv), v.Proposal)
		same(t, "proposal", openBoth(v.ProposalPub), v.Proposal)
		same(t, "commit", openBoth(v.CommitPriv), v.Commit)
		same(t, "commit", openBoth(v.CommitPub), v.Commit)
		same(t, "application", openBoth(v.ApplicationPriv), v.Application)

		// The same content, protected here, opens too.
		own := func(format wireFormat, kind contentType, content []byte) []byte {
			t.Helper()
			a := &authenticatedContent{wireFormat: format, content: framedContent{groupID: v.GroupID, epoch: v.Epoch,
				sender: sender{kind: senderMember, index: 1}, contentType: kind}}
			if kind == contentApplication {
				a.content.application = content
			} else {
				r := reader{b: content}
				a.content.decodeBody(&r)
				if err := r.end(); err != nil {
					t.Fatal(err)
				}
			}
			if kind == contentCommit {
				a.confirmationTag = randomBytes(hashSize)
			}
			input := signContent(labelContent, a.toBeSigned(context))
			a.signature = must(v.Suite.sign(signer(t, v.Suite, v.SignaturePriv), input))(t)
			if format == wirePublic {
				return marshal(&message{wireFormat: format, public: protectPublic(a, v.Membership, context)})
			}
			m := must(protectPrivate(a, newSecretTree(2, v.Encryption), v.SenderData, 64))(t)
			return marshal(&message{wireFormat: format, private: m})
		}
		same(t, "own proposal", openBoth(own(wirePrivate, contentProposal, v.Proposal)), v.Proposal)
		same(t, "own proposal", openBoth(own(wirePublic, contentProposal, v.Proposal)), v.Proposal)
		same(t, "own commit", openBoth(own(wirePrivate, contentCommit, v.Commit)), v.Commit)
		same(t, "own commit", openBoth(own(wirePublic, contentCommit, v.Commit)), v.Commit)
		same(t, "own application", openBoth(own(wirePrivate, contentApplication, v.Application)), v.Application)
	})
}

func TestVectors_welcome(t *testing.T) {
	type vector struct {
		Suite      CipherSuite `json:"cipher_suite"`
		InitKey    octets      `json:"init_priv"`
		SignerKey  octets      `json:"signer_pub"`
		KeyPackage octets      `json:"key_package"`
		Welcome    octets
	}
	each(t, "welcome", func(v vector) CipherSuite { return v.Suite }, func(t *testing.T, v vector) {
		var kp, w message
		if err := errors.Join(unmarshal(v.KeyPackage, &kp), unmarshal(v.Welcome, &w)); err != nil {
			t.Fatal(err)
		}
		if err := kp.keyPackage.check(v.Suite); err != nil {
			t.Error(err)
		}
		inv := &Invitation{KeyPackage: kp.keyPackage, initKey: must(v.Suite.newPrivateKey(v.InitKey))(t)}
		secrets := must(inv.open(w.welcome))(t)
		psk := must(gatherPSKs(nil, secrets.psks))(t)
		member := memberSecret(secrets.joiner, psk)
		key, nonce := welcomeKey(welcomeSecret(member))
		encoded := must(open(key, nonce, nil, w.welcome.groupInfo))(t)
		var info groupInfo
		if err := unmarshal(encoded, &info); err != nil {
			t.Fatal(err)
		}
		if err := info.verify(v.Suite, v.SignerKey); err != nil {
			t.Error(err)
		}
		epoch := deriveEpoch(member, marshal(&info.context))
		same(t, "confirmation", mac(epoch.confirmation, info.context.ConfirmedTranscriptHash), info.confirmationTag)
	})
}

// vectorPSKs are the external PSKs of a passive client and the resumption PSKs
// of the epochs that it has seen.
type vectorPSKs struct {
	external   map[string][]byte
	resumption map[uint64][]byte
}

func (s *vectorPSKs) PSK(id PSKID) ([]byte, bool) {
	if id.Type == PSKExternal {
		psk, ok := s.external[string(id.ID)]
		return psk, ok
	}
	psk, ok := s.resumption[id.Epoch]
	return psk, ok
}

func testPassiveClient(t *testing.T, name string) {
	type vector struct {
		Suite CipherSuite `json:"cipher_suite"`
		PSKs  []struct {
			ID  octets `json:"psk_id"`
			PSK octets
		} `json:"external_psks"`
		KeyPackage    octets `json:"key_package"`
		EncryptionKey octets `json:"encryption_priv"`
		InitKey       octets `json:"init_priv"`
		Welcome       octets
		Tree          octets `json:"ratchet_tree"`
		Authenticator octets `json:"initial_epoch_authenticator"`
		Epochs        []struct {
			Proposals     []octets
			Commit        octets
			Authenticator octets `json:"epoch_authenticator"`
		}
	}
	epochs := 0
	each(t, name, func(v vector) CipherSuite { return v.Suite }, func(t *testing.T, v vector) {
		psks := &vectorPSKs{external: map[string][]byte{}, resumption: map[uint64][]byte{}}
		for _, p := range v.PSKs {
			psks.external[string(p.ID)] = p.PSK
		}
		inv := &Invitation{
			KeyPackage: must(ParseKeyPackage(v.KeyPackage, v.Suite))(t),
			initKey:    must(v.Suite.newPrivateKey(v.InitKey))(t),
			leafKey:    must(v.Suite.newPrivateKey(v.EncryptionKey))(t),
		}
		g := must(Join(Config{PSKs: psks}, inv, v.Welcome, v.Tree))(t).Group
		same(t, "initial authenticator", g.EpochAuthenticator(), v.Authenticator)
		for _, e := range v.Epochs {
			psks.resumption[g.Epoch()] = g.ResumptionPSK()
			for _, p := range e.Proposals {
				g = must(g.Process(p))(t).Group
			}
			g = must(g.Process(e.Commit))(t).Group
			if !bytes.Equal(g.EpochAuthenticator(), e.Authenticator) {
				t.Fatalf("authenticator of epoch %d", g.Epoch())
			}
			epochs++
		}
	})
	t.Logf("commits followed: %d", epochs)
}

func TestVectors_passiveClientWelcome(t *testing.T) {
	testPassiveClient(t, "passive-client-welcome")
}

func TestVectors_passiveClientHandlingCommit(t *testing.T) {
	testPassiveClient(t, "passive-client-handling-commit")
}

func TestVectors_passiveClientRandom(t *testing.T) { testPassiveClient(t, "passive-client-random") }
