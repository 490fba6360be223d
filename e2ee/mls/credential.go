package mls

import (
	"bytes"
	"slices"
)

// CredentialType says how a credential proves an identity (RFC 9420 5.3).
type CredentialType uint16

// The credential types of RFC 9420.
const (
	CredentialBasic CredentialType = 1
	CredentialX509  CredentialType = 2
)

// maxCertificates bounds a certificate chain.
const maxCertificates = 16

// Credential binds a member to an identity. What it means, and whether it is
// true, is for the application's Validator.
type Credential struct {
	Type CredentialType
	// Identity of a basic credential.
	Identity []byte
	// Certificates of an X.509 credential, the member's first.
	Certificates [][]byte
}

// BasicCredential returns a credential that is a bare identity.
func BasicCredential(identity []byte) Credential {
	return Credential{Type: CredentialBasic, Identity: slices.Clone(identity)}
}

func (c *Credential) encode(w *writer) {
	w.u16(uint16(c.Type))
	if c.Type == CredentialX509 {
		w.vector(func(w *writer) {
			for _, cert := range c.Certificates {
				w.opaque(cert)
			}
		})
		return
	}
	w.opaque(c.Identity)
}

// decode refuses types that it does not know, because their length is not
// known either.
func (c *Credential) decode(r *reader) {
	c.Type = CredentialType(r.u16())
	switch c.Type {
	case CredentialBasic:
		c.Identity = r.opaque()
	case CredentialX509:
		r.vector(maxCertificates, func(r *reader) { c.Certificates = append(c.Certificates, r.opaque()) })
	default:
		r.fail("credential type %d", uint64(c.Type))
	}
}

// Equal reports whether two credentials are the same, byte by byte.
func (c Credential) Equal(other Credential) bool {
	return bytes.Equal(marshal(&c), marshal(&other))
}

// Validator is the application's authentication service (RFC 9420 5.3.1): it
// decides which credentials and leaf contents are acceptable in a group. A nil
// Validator accepts all that RFC 9420 itself accepts.
type Validator interface {
	// ValidateLeaf is called for every leaf that is new to this member: each
	// leaf of a tree it joins, and each leaf that a commit adds (old is nil) or
	// changes (old is the leaf before). The leaf's signature and whatever else
	// concerns the leaf alone (RFC 9420 7.3) has been checked, save for the
	// lifetime: this package has no clock. Both leaves are read-only. An error
	// refuses the whole message and is wrapped in the error of the call.
	ValidateLeaf(groupID []byte, index LeafIndex, leaf, old *LeafNode) error
}
