package link

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
)

// HostToken proves to the service that its owner founded the room's group, so
// that the service ends the connections which the owner throws out. It shows
// the service nothing else, and is no part of the encryption.
type HostToken [32]byte

// NewHostToken draws a token.
func NewHostToken() (t HostToken) {
	rand.Read(t[:]) // never fails
	return t
}

// Tag is what the service learns of the token in advance: it is in the header
// of a create envelope, as To.
func (t HostToken) Tag() [16]byte {
	hash := sha256.Sum256(t[:])
	return [16]byte(hash[:16])
}

// String hides the token from %v, %s and %q.
func (HostToken) String() string { return "[host token]" }

// GoString hides the token from %#v.
func (HostToken) GoString() string { return "[host token]" }

// AliasSignature proves to the service, by the key of a new link, that this
// connection may register the new link's room as another name of its room.
func (k *Keys) AliasSignature(host string, nonce []byte, conn ConnID) []byte {
	return ed25519.Sign(k.sig, signedBy("sotto-alias/1", host, nonce, conn))
}

// VerifyAlias checks an alias signature, as the service does.
func VerifyAlias(public ed25519.PublicKey, host string, nonce []byte, conn ConnID, signature []byte) bool {
	return len(public) == ed25519.PublicKeySize &&
		ed25519.Verify(public, signedBy("sotto-alias/1", host, nonce, conn), signature)
}
