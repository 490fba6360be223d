package mls

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hpke"
	"errors"
	"testing"
)

// standardKEM is the standard library's counterpart of a suite.
func standardKEM(s CipherSuite) hpke.KEM {
	if s == P256AES128SHA256P256 {
		return hpke.DHKEM(ecdh.P256())
	}
	return hpke.DHKEM(ecdh.X25519())
}

func hpkeSuites() []CipherSuite {
	if !hasP256 {
		return []CipherSuite{X25519AES128SHA256Ed25519}
	}
	return []CipherSuite{X25519AES128SHA256Ed25519, P256AES128SHA256P256}
}

// Key derivation, encryption and decryption against package crypto/hpke, in
// both directions. Its vectors are those of RFC 9180.
func TestHPKE_likeTheStandardLibrary(t *testing.T) {
	for _, suite := range hpkeSuites() {
		kem := standardKEM(suite)
		for i := range 40 {
			seed, context, text := randomBytes(32), randomBytes(i*7), randomBytes(i*5)
			own := must(suite.deriveKey(seed))(t)
			theirs := must(kem.DeriveKeyPair(seed))(t)
			same(t, "public key", own.public, theirs.PublicKey().Bytes())

			sealed := must(suite.encryptWithLabel(own.public, "label", context, text))(t)
			recipient := must(hpke.NewRecipient(sealed.kemOutput, theirs, hpke.HKDFSHA256(), hpke.AES128GCM(), labelled("label", context)))(t)
			same(t, "opened by the other", must(recipient.Open(nil, sealed.ciphertext))(t), text)

			enc, sender, err := hpke.NewSender(theirs.PublicKey(), hpke.HKDFSHA256(), hpke.AES128GCM(), labelled("label", context))
			if err != nil {
				t.Fatal(err)
			}
			sealed = hpkeCiphertext{kemOutput: enc, ciphertext: must(sender.Seal(nil, text))(t)}
			same(t, "opened here", must(own.decryptWithLabel("label", context, sealed))(t), text)
		}
	}
}

func TestHPKE_refusals(t *testing.T) {
	for _, suite := range hpkeSuites() {
		key := must(suite.generateKey())(t)
		other := must(suite.generateKey())(t)
		good := must(suite.encryptWithLabel(key.public, "label", []byte("context"), []byte("text")))(t)
		change := func(edit func(c *hpkeCiphertext)) hpkeCiphertext {
			c := hpkeCiphertext{kemOutput: bytes.Clone(good.kemOutput), ciphertext: bytes.Clone(good.ciphertext)}
			edit(&c)
			return c
		}
		for name, c := range map[string]hpkeCiphertext{
			"no encapsulated key":      change(func(c *hpkeCiphertext) { c.kemOutput = nil }),
			"short encapsulated key":   change(func(c *hpkeCiphertext) { c.kemOutput = c.kemOutput[1:] }),
			"zero encapsulated key":    change(func(c *hpkeCiphertext) { clear(c.kemOutput) }),
			"changed encapsulated key": change(func(c *hpkeCiphertext) { c.kemOutput[5] ^= 1 }),
			"another key encapsulated": change(func(c *hpkeCiphertext) { c.kemOutput = other.public }),
			"no ciphertext":            change(func(c *hpkeCiphertext) { c.ciphertext = nil }),
			"short ciphertext":         change(func(c *hpkeCiphertext) { c.ciphertext = c.ciphertext[:15] }),
			"changed ciphertext":       change(func(c *hpkeCiphertext) { c.ciphertext[0] ^= 1 }),
		} {
			if _, err := key.decryptWithLabel("label", []byte("context"), c); !errors.Is(err, ErrDecrypt) {
				t.Errorf("suite %d, %s: %v", suite, name, err)
			}
		}
		if _, err := key.decryptWithLabel("label", []byte("other context"), good); !errors.Is(err, ErrDecrypt) {
			t.Errorf("suite %d, other context: %v", suite, err)
		}
		if _, err := key.decryptWithLabel("other label", []byte("context"), good); !errors.Is(err, ErrDecrypt) {
			t.Errorf("suite %d, other label: %v", suite, err)
		}
		if _, err := other.decryptWithLabel("label", []byte("context"), good); !errors.Is(err, ErrDecrypt) {
			t.Errorf("suite %d, other key: %v", suite, err)
		}
		copied := key.clone()
		key.erase()
		if _, err := key.decryptWithLabel("label", []byte("context"), good); !errors.Is(err, ErrState) {
			t.Errorf("suite %d, erased key: %v", suite, err)
		}
		if _, err := copied.decryptWithLabel("label", []byte("context"), good); err != nil {
			t.Errorf("suite %d, copy of an erased key: %v", suite, err)
		}
	}
}
