package mls

import (
	"bytes"
	"crypto"
)

// Member describes the client that makes a key package or creates a group.
type Member struct {
	Suite        CipherSuite
	SignatureKey []byte // wire form; see SignatureKeyOf
	Credential   Credential
	Capabilities Capabilities
	Extensions   Extensions // of the leaf node
	Lifetime     Lifetime
}

// SignatureKeyOf returns the wire form of a public key for Member.
func SignatureKeyOf(suite CipherSuite, key crypto.PublicKey) ([]byte, error) {
	if err := suite.check(); err != nil {
		return nil, err
	}
	return suite.signaturePublic(key)
}

// leaf returns an unsigned leaf node for m with a fresh encryption key.
func (m Member) leaf() (*LeafNode, *privateKey, error) {
	if err := m.Suite.check(); err != nil {
		return nil, nil, err
	}
	key, err := m.Suite.generateKey()
	if err != nil {
		return nil, nil, err
	}
	return &LeafNode{
		EncryptionKey: key.public,
		SignatureKey:  bytes.Clone(m.SignatureKey),
		Credential:    m.Credential,
		Capabilities:  m.Capabilities,
		Source:        LeafKeyPackage,
		Lifetime:      m.Lifetime,
		Extensions:    m.Extensions.clone(),
	}, key, nil
}

// KeyPackage is an invitation to be added to groups (RFC 9420 10).
type KeyPackage struct {
	Version    ProtocolVersion
	Suite      CipherSuite
	InitKey    []byte
	Leaf       *LeafNode
	Extensions Extensions
	Signature  []byte
}

func (k *KeyPackage) encodeUnsigned(w *writer) {
	w.u16(uint16(k.Version))
	w.u16(uint16(k.Suite))
	w.opaque(k.InitKey)
	k.Leaf.encode(w)
	k.Extensions.encode(w)
}

func (k *KeyPackage) encode(w *writer) {
	k.encodeUnsigned(w)
	w.opaque(k.Signature)
}

func (k *KeyPackage) decode(r *reader) {
	k.Version = ProtocolVersion(r.u16())
	k.Suite = CipherSuite(r.u16())
	k.InitKey = r.opaque()
	k.Leaf = new(LeafNode)
	k.Leaf.decode(r)
	k.Extensions = readExtensions(r)
	k.Signature = r.opaque()
}

// Ref is KeyPackageRef, the hash that names a key package (RFC 9420 5.2).
func (k *KeyPackage) Ref() []byte {
	return refHash("MLS 1.0 KeyPackage Reference", marshal(k))
}

// Message returns the key package as an MLSMessage.
func (k *KeyPackage) Message() []byte {
	return marshal(&message{wireFormat: wireKeyPackage, keyPackage: k})
}

// ParseKeyPackage decodes an MLSMessage with a key package and checks it as
// RFC 9420 10.1 demands, for a group with the given suite.
func ParseKeyPackage(b []byte, suite CipherSuite) (*KeyPackage, error) {
	var m message
	if err := unmarshal(b, &m); err != nil {
		return nil, err
	}
	if m.keyPackage == nil {
		return nil, refuse(ErrKeyPackage, "message is not a key package")
	}
	if err := m.keyPackage.check(suite); err != nil {
		return nil, err
	}
	return m.keyPackage, nil
}

// check is the validation of RFC 9420 10.1.
func (k *KeyPackage) check(suite CipherSuite) error {
	if k.Version != Version10 || k.Suite != suite {
		return refuse(ErrKeyPackage, "version %d, suite %d", uint64(k.Version), uint64(k.Suite))
	}
	if k.Leaf.Source != LeafKeyPackage {
		return refuse(ErrKeyPackage, "leaf node source %d", uint64(k.Leaf.Source))
	}
	if err := k.Leaf.check(suite, nil, 0); err != nil {
		return err
	}
	if _, err := suite.publicKey(k.InitKey); err != nil {
		return refuse(ErrKeyPackage, "init key")
	}
	if bytes.Equal(k.InitKey, k.Leaf.EncryptionKey) {
		return refuse(ErrKeyPackage, "init key is the encryption key")
	}
	var tbs writer
	k.encodeUnsigned(&tbs)
	if !suite.verifyWithLabel(k.Leaf.SignatureKey, "KeyPackageTBS", tbs.b, k.Signature) {
		return refuse(ErrKeyPackage, "signature")
	}
	return nil
}

// Invitation is a key package with its private keys, until a Welcome answers
// it. It is for one use: erase it after Join, since its keys open the Welcome
// again.
type Invitation struct {
	KeyPackage *KeyPackage
	initKey    *privateKey
	leafKey    *privateKey
}

// Erase overwrites the private keys (RFC 9420 9.2, 16.8). Groups that were
// joined keep working; the invitation admits to none any more.
func (inv *Invitation) Erase() {
	inv.initKey.erase()
	inv.leafKey.erase()
}

// NewInvitation makes a key package for m. It takes two signatures: over the
// leaf node and over the key package.
func NewInvitation(m Member, extensions ...Extension) (*Signing[Invitation], error) {
	leaf, leafKey, err := m.leaf()
	if err != nil {
		return nil, err
	}
	initKey, err := m.Suite.generateKey()
	if err != nil {
		return nil, err
	}
	kp := &KeyPackage{
		Version:    Version10,
		Suite:      m.Suite,
		InitKey:    initKey.public,
		Leaf:       leaf,
		Extensions: Extensions(extensions).clone(),
	}
	inv := &Invitation{KeyPackage: kp, initKey: initKey, leafKey: leafKey}

	packageSigned := func(signature []byte) ([]byte, step, error) {
		kp.Signature = bytes.Clone(signature)
		return nil, nil, kp.check(m.Suite)
	}
	leafSigned := func(signature []byte) ([]byte, step, error) {
		leaf.Signature = bytes.Clone(signature)
		var tbs writer
		kp.encodeUnsigned(&tbs)
		return signContent("KeyPackageTBS", tbs.b), packageSigned, nil
	}
	input := signContent("LeafNodeTBS", leaf.toBeSigned(nil, 0))
	return newSigning(m.Suite, leaf.SignatureKey, input, leafSigned, inv), nil
}
