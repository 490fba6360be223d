//go:build !js

package mls

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
)

// hasP256 says that the build has suite 2, whose signatures are ECDSA with
// P-256 and SHA-256.
const hasP256 = true

func curveP256() ecdh.Curve { return ecdh.P256() }

// verifyP256 checks a signature in ASN.1; public is an uncompressed point.
func verifyP256(public, message, signature []byte) bool {
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), public)
	if err != nil {
		return false
	}
	digest := sha256.Sum256(message)
	return ecdsa.VerifyASN1(key, digest[:], signature)
}

// publicP256 returns a public key as an uncompressed point.
func publicP256(key crypto.PublicKey) ([]byte, error) {
	if key, ok := key.(*ecdsa.PublicKey); ok && key.Curve == elliptic.P256() {
		return key.Bytes()
	}
	return nil, refuse(ErrUnsupported, "signature key is not of suite 2")
}
