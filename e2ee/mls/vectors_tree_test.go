package mls

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"slices"
	"testing"
)

// signer makes a signature key from its raw private form.
func signer(t testing.TB, suite CipherSuite, private []byte) crypto.Signer {
	t.Helper()
	if suite == P256AES128SHA256P256 {
		return must(ecdsa.ParseRawPrivateKey(elliptic.P256(), private))(t)
	}
	return ed25519.NewKeyFromSeed(private)
}

func decodeTree(t testing.TB, b []byte) *Tree {
	t.Helper()
	tree := new(Tree)
	if err := unmarshal(b, tree); err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestVectors_treeValidation(t *testing.T) {
	type vector struct {
		Suite       CipherSuite `json:"cipher_suite"`
		Tree        octets
		GroupID     octets   `json:"group_id"`
		Hashes      []octets `json:"tree_hashes"`
		Resolutions [][]nodeIndex
	}
	each(t, "tree-validation", func(v vector) CipherSuite { return v.Suite }, func(t *testing.T, v vector) {
		tree := decodeTree(t, v.Tree)
		same(t, "tree", marshal(tree), v.Tree)
		if len(v.Hashes) != len(tree.nodes) {
			t.Fatalf("%d nodes, want %d", len(tree.nodes), len(v.Hashes))
		}
		for x := range tree.nodes {
			same(t, "tree hash", tree.hashOf(nodeIndex(x)), v.Hashes[x])
			if got := tree.resolution(nodeIndex(x)); !slices.Equal(got, v.Resolutions[x]) {
				t.Errorf("resolution of %d: got %v, want %v", x, got, v.Resolutions[x])
			}
		}
		if err := tree.check(v.Suite, v.GroupID); err != nil {
			t.Error(err)
		}
		if err := tree.checkMembers(nil); err != nil {
			t.Error(err)
		}
	})
}

func TestVectors_treeOperations(t *testing.T) {
	type vector struct {
		Suite      CipherSuite `json:"cipher_suite"`
		Before     octets      `json:"tree_before"`
		Proposal   octets
		Sender     LeafIndex `json:"proposal_sender"`
		HashBefore octets    `json:"tree_hash_before"`
		After      octets    `json:"tree_after"`
		HashAfter  octets    `json:"tree_hash_after"`
	}
	each(t, "tree-operations", func(v vector) CipherSuite { return v.Suite }, func(t *testing.T, v vector) {
		tree := decodeTree(t, v.Before)
		same(t, "hash before", tree.rootHash(), v.HashBefore)
		r := reader{b: v.Proposal}
		p := readProposal(&r)
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		switch p := p.(type) {
		case *Add:
			must(tree.add(p.KeyPackage.Leaf))(t)
		case *Update:
			tree.update(v.Sender, p.Leaf)
		case *Remove:
			tree.remove(p.Leaf)
		}
		same(t, "tree after", marshal(tree), v.After)
		same(t, "hash after", tree.rootHash(), v.HashAfter)
	})
}

func TestVectors_treeKEM(t *testing.T) {
	type vector struct {
		Suite     CipherSuite `json:"cipher_suite"`
		GroupID   octets      `json:"group_id"`
		Epoch     uint64
		Confirmed octets `json:"confirmed_transcript_hash"`
		Tree      octets `json:"ratchet_tree"`
		Leaves    []struct {
			Index         LeafIndex
			EncryptionKey octets `json:"encryption_priv"`
			SignatureKey  octets `json:"signature_priv"`
			PathSecrets   []struct {
				Node       nodeIndex
				PathSecret octets `json:"path_secret"`
			} `json:"path_secrets"`
		} `json:"leaves_private"`
		Paths []struct {
			Sender       LeafIndex
			Path         octets   `json:"update_path"`
			PathSecrets  []octets `json:"path_secrets"`
			CommitSecret octets   `json:"commit_secret"`
			HashAfter    octets   `json:"tree_hash_after"`
		} `json:"update_paths"`
	}
	each(t, "treekem", func(v vector) CipherSuite { return v.Suite }, func(t *testing.T, v vector) {
		before := decodeTree(t, v.Tree)
		private := map[LeafIndex]privateKeys{}
		signers := map[LeafIndex]crypto.Signer{}
		for _, l := range v.Leaves {
			keys := privateKeys{l.Index.node(): must(v.Suite.newPrivateKey(l.EncryptionKey))(t)}
			for _, p := range l.PathSecrets {
				keys[p.Node] = must(v.Suite.nodeKey(p.PathSecret))(t)
			}
			n := len(keys)
			if err := keys.prune(before, l.Index); err != nil || len(keys) != n {
				t.Fatalf("leaf %d: private keys do not match the tree (%v)", l.Index, err)
			}
			private[l.Index], signers[l.Index] = keys, signer(t, v.Suite, l.SignatureKey)
		}
		contextOf := func(tree *Tree) []byte {
			return marshal(&GroupContext{Version: Version10, Suite: v.Suite, GroupID: v.GroupID, Epoch: v.Epoch,
				TreeHash: tree.rootHash(), ConfirmedTranscriptHash: v.Confirmed})
		}
		// follow applies a path as every other member and returns the commit
		// secret on which they agree.
		follow := func(sender LeafIndex, path *updatePath, pathSecrets []octets) (hash, commitSecret []byte) {
			for _, l := range v.Leaves {
				if l.Index == sender {
					continue
				}
				tree := before.clone()
				filtered := must(tree.mergePath(v.Suite, v.GroupID, sender, path, nil))(t)
				keys := private[l.Index].clone()
				if err := keys.prune(tree, l.Index); err != nil {
					t.Fatal(err)
				}
				got := must(tree.decryptPath(v.Suite, keys, l.Index, sender, path, filtered, nil, contextOf(tree)))(t)
				if commitSecret != nil {
					same(t, "commit secret between members", got, commitSecret)
				}
				hash, commitSecret = tree.rootHash(), got
				if pathSecrets == nil {
					continue
				}
				want := must(v.Suite.nodeKey(pathSecrets[l.Index]))(t)
				common := commonAncestor(sender, l.Index)
				same(t, "path secret", keys[common].public, want.public)
			}
			return hash, commitSecret
		}
		for _, p := range v.Paths {
			path := new(updatePath)
			if err := unmarshal(p.Path, path); err != nil {
				t.Fatal(err)
			}
			same(t, "path", marshal(path), p.Path)
			hash, secret := follow(p.Sender, path, p.PathSecrets)
			same(t, "tree hash", hash, p.HashAfter)
			same(t, "commit secret", secret, p.CommitSecret)

			// A path of our own is followed by everybody too.
			tree := before.clone()
			made := must(preparePath(v.Suite, tree, p.Sender, nil))(t)
			tbs := signContent("LeafNodeTBS", made.leaf.toBeSigned(v.GroupID, p.Sender))
			made.finish(must(v.Suite.sign(signers[p.Sender], tbs))(t))
			own := must(made.encrypt(v.Suite, contextOf(tree)))(t)
			hash, secret = follow(p.Sender, own, nil)
			same(t, "own tree hash", hash, tree.rootHash())
			same(t, "own commit secret", secret, made.commitSecret)
			if err := tree.check(v.Suite, v.GroupID); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestVectors_messages(t *testing.T) {
	type vector map[string]octets
	again := func(t *testing.T, name string, b []byte, v codable) {
		t.Helper()
		if err := unmarshal(b, v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(marshal(v), b) {
			t.Fatalf("%s: encoded differently", name)
		}
	}
	proposals := map[string]func() Proposal{
		"add_proposal":                      func() Proposal { return new(Add) },
		"update_proposal":                   func() Proposal { return new(Update) },
		"remove_proposal":                   func() Proposal { return new(Remove) },
		"pre_shared_key_proposal":           func() Proposal { return new(PreSharedKey) },
		"re_init_proposal":                  func() Proposal { return new(ReInit) },
		"external_init_proposal":            func() Proposal { return new(ExternalInit) },
		"group_context_extensions_proposal": func() Proposal { return new(GroupContextExtensions) },
	}
	for _, v := range vectors[vector](t, "messages") {
		if len(v) != 17 {
			t.Fatalf("%d fields", len(v))
		}
		for name, b := range v {
			switch name {
			case "ratchet_tree":
				again(t, name, b, new(Tree))
			case "group_secrets":
				again(t, name, b, new(groupSecrets))
			case "commit":
				again(t, name, b, new(commitBody))
			default:
				if p := proposals[name]; p != nil {
					again(t, name, b, p())
				} else {
					again(t, name, b, new(message))
				}
			}
		}
	}
}
