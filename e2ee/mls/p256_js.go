package mls

import (
	"crypto"
	"crypto/ecdh"
)

// hasP256 says that the build does not have suite 2: in browsers nobody uses
// it, and the curve would add a fifth to the size.
const hasP256 = false

func curveP256() ecdh.Curve { return nil }

func verifyP256(public, message, signature []byte) bool { return false }

func publicP256(crypto.PublicKey) ([]byte, error) {
	return nil, refuse(ErrUnsupported, "suite 2")
}
