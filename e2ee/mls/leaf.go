package mls

import (
	"bytes"
	"slices"
)

// ProtocolVersion is the version of MLS (RFC 9420 6).
type ProtocolVersion uint16

// Version10 is MLS 1.0, the only version there is.
const Version10 ProtocolVersion = 1

// Capabilities lists what a client supports, beyond what RFC 9420 demands of
// all (RFC 9420 7.2). Unknown values, such as GREASE, are allowed everywhere.
type Capabilities struct {
	Versions    []ProtocolVersion
	Suites      []CipherSuite
	Extensions  []ExtensionType
	Proposals   []ProposalType
	Credentials []CredentialType
}

// DefaultCapabilities are those of a client with one suite, basic credentials
// and the given private extensions.
func DefaultCapabilities(suite CipherSuite, extensions ...ExtensionType) Capabilities {
	return Capabilities{
		Versions:    []ProtocolVersion{Version10},
		Suites:      []CipherSuite{suite},
		Extensions:  slices.Clone(extensions),
		Credentials: []CredentialType{CredentialBasic},
	}
}

func (c *Capabilities) encode(w *writer) {
	writeTypes(w, c.Versions)
	writeTypes(w, c.Suites)
	writeTypes(w, c.Extensions)
	writeTypes(w, c.Proposals)
	writeTypes(w, c.Credentials)
}

func (c *Capabilities) decode(r *reader) {
	c.Versions = readTypes[ProtocolVersion](r)
	c.Suites = readTypes[CipherSuite](r)
	c.Extensions = readTypes[ExtensionType](r)
	c.Proposals = readTypes[ProposalType](r)
	c.Credentials = readTypes[CredentialType](r)
}

func (c *Capabilities) hasExtension(t ExtensionType) bool {
	return t.isDefault() || slices.Contains(c.Extensions, t)
}

func (c *Capabilities) hasProposal(t ProposalType) bool {
	return t.isDefault() || slices.Contains(c.Proposals, t)
}

// Lifetime bounds the use of a key package, in seconds since 1970. This
// package has no clock; a Validator may look.
type Lifetime struct {
	NotBefore, NotAfter uint64
}

// LeafSource says for what a leaf node was made (RFC 9420 7.2).
type LeafSource uint8

// The sources of leaf nodes.
const (
	LeafKeyPackage LeafSource = 1
	LeafUpdate     LeafSource = 2
	LeafCommit     LeafSource = 3
)

// LeafNode is a member in the tree (RFC 9420 7.2). Leaf nodes are shared
// between the states of a group: treat them as read-only.
type LeafNode struct {
	EncryptionKey []byte
	SignatureKey  []byte
	Credential    Credential
	Capabilities  Capabilities
	Source        LeafSource
	Lifetime      Lifetime // of Source LeafKeyPackage
	ParentHash    []byte   // of Source LeafCommit
	Extensions    Extensions
	Signature     []byte
}

func (l *LeafNode) encodeUnsigned(w *writer) {
	w.opaque(l.EncryptionKey)
	w.opaque(l.SignatureKey)
	l.Credential.encode(w)
	l.Capabilities.encode(w)
	w.u8(uint8(l.Source))
	switch l.Source {
	case LeafKeyPackage:
		w.u64(l.Lifetime.NotBefore)
		w.u64(l.Lifetime.NotAfter)
	case LeafCommit:
		w.opaque(l.ParentHash)
	}
	l.Extensions.encode(w)
}

func (l *LeafNode) encode(w *writer) {
	l.encodeUnsigned(w)
	w.opaque(l.Signature)
}

func (l *LeafNode) decode(r *reader) {
	l.EncryptionKey = r.opaque()
	l.SignatureKey = r.opaque()
	l.Credential.decode(r)
	l.Capabilities.decode(r)
	l.Source = LeafSource(r.u8())
	switch l.Source {
	case LeafKeyPackage:
		l.Lifetime.NotBefore = r.u64()
		l.Lifetime.NotAfter = r.u64()
	case LeafUpdate:
	case LeafCommit:
		l.ParentHash = r.opaque()
	default:
		r.fail("leaf node source %d", uint64(l.Source))
	}
	l.Extensions = readExtensions(r)
	l.Signature = r.opaque()
}

// toBeSigned is LeafNodeTBS: a leaf that is not from a key package is bound to
// its place in the group (RFC 9420 7.2).
func (l *LeafNode) toBeSigned(groupID []byte, index LeafIndex) []byte {
	var w writer
	l.encodeUnsigned(&w)
	if l.Source != LeafKeyPackage {
		w.opaque(groupID)
		w.u32(uint32(index))
	}
	return w.b
}

func (l *LeafNode) equal(other *LeafNode) bool {
	return bytes.Equal(marshal(l), marshal(other))
}

// check makes those checks of RFC 9420 7.3 that concern the leaf alone: the
// signature, the keys, and that the leaf lists what it uses. Those against the
// other members are in Tree.checkMembers.
func (l *LeafNode) check(suite CipherSuite, groupID []byte, index LeafIndex) error {
	if !slices.Contains(l.Capabilities.Versions, Version10) || !slices.Contains(l.Capabilities.Suites, suite) {
		return refuse(ErrLeaf, "leaf %d does not support the version or suite of the group", uint64(index))
	}
	if !slices.Contains(l.Capabilities.Credentials, l.Credential.Type) {
		return refuse(ErrLeaf, "leaf %d does not list its own credential type", uint64(index))
	}
	for _, x := range l.Extensions {
		if !l.Capabilities.hasExtension(x.Type) {
			return refuse(ErrLeaf, "leaf %d does not list its extension %d", uint64(index), uint64(x.Type))
		}
	}
	if l.Source == LeafKeyPackage && l.Lifetime.NotBefore > l.Lifetime.NotAfter {
		return refuse(ErrLeaf, "leaf %d ends before it begins", uint64(index))
	}
	if _, err := suite.publicKey(l.EncryptionKey); err != nil {
		return refuse(ErrLeaf, "leaf %d: encryption key", uint64(index))
	}
	if !suite.verifyWithLabel(l.SignatureKey, "LeafNodeTBS", l.toBeSigned(groupID, index), l.Signature) {
		return refuse(ErrLeaf, "leaf %d: signature", uint64(index))
	}
	return nil
}
