package mls_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log"

	"sotto/e2ee/mls"
)

const suite = mls.X25519AES128SHA256Ed25519

// member makes a signature key and what its owner says of itself.
func member(name string) (ed25519.PrivateKey, mls.Member) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	return key, mls.Member{
		Suite:        suite,
		SignatureKey: public,
		Credential:   mls.BasicCredential([]byte(name)),
		Capabilities: mls.DefaultCapabilities(suite),
		Lifetime:     mls.Lifetime{NotAfter: 1 << 40},
	}
}

func try[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// Alice creates a group and adds Bob; both export the same secret.
func Example() {
	aliceKey, alice := member("Alice")
	bobKey, bob := member("Bob")
	config := mls.Config{}

	// Bob sends a key package.
	invitation := try(try(mls.NewInvitation(bob)).Sign(bobKey))
	sent := invitation.KeyPackage.Message()

	// Alice adds him.
	group := try(try(mls.NewGroup(config, alice, []byte("room"))).Sign(aliceKey))
	add := &mls.Add{KeyPackage: try(mls.ParseKeyPackage(sent, suite))}
	committed := try(try(group.Commit(mls.CommitOptions{Proposals: []mls.Proposal{add}})).Sign(aliceKey))
	group = committed.Group // once the delivery service has accepted committed.Message

	// Bob joins.
	joined := try(mls.Join(config, invitation, committed.Welcome, nil))
	for _, leaf := range joined.Group.Tree().Leaves() {
		fmt.Println(string(leaf.Credential.Identity))
	}
	a := try(group.Export("example", nil, 16))
	b := try(joined.Group.Export("example", nil, 16))
	fmt.Println(bytes.Equal(a, b))
	// Output:
	// Alice
	// Bob
	// true
}
