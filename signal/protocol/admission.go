package protocol

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
)

// connectDomain separates admission signatures from any other use of the link
// key.
const connectDomain = "sotto-connect/1"

// aliasDomain separates the signatures of new names for a room.
const aliasDomain = "sotto-alias/1"

// RoomOf derives the room id from a link's public key.
func RoomOf(linkPub ed25519.PublicKey) RoomID {
	sum := sha256.Sum256(linkPub)
	return RoomID(sum[:16])
}

// ConnectSigned is what the link key signs for admission: domain, host as in
// the client's Host header, the service's nonce, the connection id.
//
// The host has no length before it. That is unambiguous because the service
// knows its own nonce and checks the host that it was asked for.
func ConnectSigned(host string, nonce []byte, conn ConnID) []byte {
	b := make([]byte, 0, len(connectDomain)+len(host)+len(nonce)+len(conn))
	b = append(b, connectDomain...)
	b = append(b, host...)
	b = append(b, nonce...)
	return append(b, conn[:]...)
}

// VerifyConnect checks that a connect holds the secret of the room it names:
// the link key hashes to the room id and signed this connection. Errors are
// *[DecodeError] with code not_admitted or bad_signature.
func VerifyConnect(c *Connect, host string, nonce []byte) error {
	if len(c.LinkPub) != ed25519.PublicKeySize || RoomOf(ed25519.PublicKey(c.LinkPub)) != c.Room {
		return refuse(CodeNotAdmitted, fmt.Errorf("link_pub: is not the key of this room"))
	}
	if !ed25519.Verify(ed25519.PublicKey(c.LinkPub), ConnectSigned(host, nonce, c.ConnID), c.LinkSig) {
		return refuse(CodeBadSignature, fmt.Errorf("link_sig: does not verify"))
	}
	return nil
}

// AliasSigned is what a new link's key signs to become a name of a room: domain,
// then host, nonce and connection as in [ConnectSigned].
func AliasSigned(host string, nonce []byte, conn ConnID) []byte {
	b := make([]byte, 0, len(aliasDomain)+len(host)+len(nonce)+len(conn))
	b = append(b, aliasDomain...)
	b = append(b, host...)
	b = append(b, nonce...)
	return append(b, conn[:]...)
}

// VerifyAlias checks that the sender of an alias holds the secret of the link
// that it names. The error is a *[DecodeError] with code alias_refused.
func VerifyAlias(a *Alias, host string, nonce []byte, conn ConnID) error {
	switch {
	case len(a.LinkPub) != ed25519.PublicKeySize || RoomOf(ed25519.PublicKey(a.LinkPub)) != a.Room:
		return refuse(CodeAliasRefused, fmt.Errorf("link_pub: is not the key of this room"))
	case !ed25519.Verify(ed25519.PublicKey(a.LinkPub), AliasSigned(host, nonce, conn), a.LinkSig):
		return refuse(CodeAliasRefused, fmt.Errorf("link_sig: does not verify"))
	}
	return nil
}

// HostTag is the hash of a host's token that the header of the create carries.
func HostTag(token []byte) [HostTagSize]byte {
	sum := sha256.Sum256(token)
	return [HostTagSize]byte(sum[:HostTagSize])
}
