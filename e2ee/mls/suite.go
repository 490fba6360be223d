package mls

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
)

// CipherSuite names the algorithms of a group (RFC 9420 17.1).
type CipherSuite uint16

// The suites of this package. Both hash with SHA-256 and encrypt with
// AES-128-GCM; they differ in the curve and the signature only. Suite 3
// (ChaCha20-Poly1305) is not here: the standard library does not export that
// AEAD.
const (
	// X25519AES128SHA256Ed25519 is MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519.
	X25519AES128SHA256Ed25519 CipherSuite = 1
	// P256AES128SHA256P256 is MLS_128_DHKEMP256_AES128GCM_SHA256_P256. It is not
	// in builds for browsers.
	P256AES128SHA256P256 CipherSuite = 2
)

// The lengths, in bytes, that all suites here share: KDF.Nh, AEAD.Nk, AEAD.Nn.
const (
	hashSize  = sha256.Size
	keySize   = 16
	nonceSize = 12
)

// check returns an error for a suite that is not implemented.
func (s CipherSuite) check() error {
	if s != X25519AES128SHA256Ed25519 && (s != P256AES128SHA256P256 || !hasP256) {
		return refuse(ErrUnsupported, "cipher suite %d", uint64(s))
	}
	return nil
}

// curve is what the KEM agrees on keys with.
func (s CipherSuite) curve() ecdh.Curve {
	if s == P256AES128SHA256P256 && hasP256 {
		return curveP256()
	}
	return ecdh.X25519()
}

// verify checks a signature over message, which is a SignContent.
func (s CipherSuite) verify(public, message, signature []byte) bool {
	if s == P256AES128SHA256P256 {
		return verifyP256(public, message, signature)
	}
	return len(public) == ed25519.PublicKeySize && ed25519.Verify(public, message, signature)
}

// sign makes a signature over message with a key of this suite.
func (s CipherSuite) sign(key crypto.Signer, message []byte) ([]byte, error) {
	if s == P256AES128SHA256P256 {
		digest := sha256.Sum256(message)
		return key.Sign(rand.Reader, digest[:], crypto.SHA256)
	}
	return key.Sign(rand.Reader, message, crypto.Hash(0))
}

// signaturePublic returns the wire form of a signer's public key.
func (s CipherSuite) signaturePublic(key crypto.PublicKey) ([]byte, error) {
	if s == P256AES128SHA256P256 {
		return publicP256(key)
	}
	if key, ok := key.(ed25519.PublicKey); ok {
		return key, nil
	}
	return nil, refuse(ErrUnsupported, "signature key is not of suite %d", uint64(s))
}

// labelled returns "MLS 1.0 " + label and a context as two vectors. This is
// SignContent and EncryptContext, and the tail of KDFLabel (RFC 9420 5.1.2,
// 5.1.3, 8).
func labelled(label string, context []byte) []byte {
	w := writer{b: make([]byte, 0, len(label)+len(context)+16)}
	w.opaque([]byte("MLS 1.0 " + label))
	w.opaque(context)
	return w.b
}

// signContent is what a signature with a label is made over (RFC 9420 5.1.2).
func signContent(label string, content []byte) []byte { return labelled(label, content) }

// verifyWithLabel is VerifyWithLabel of RFC 9420 5.1.2.
func (s CipherSuite) verifyWithLabel(public []byte, label string, content, signature []byte) bool {
	return s.verify(public, signContent(label, content), signature)
}

// extract is KDF.Extract.
func extract(salt, secret []byte) []byte {
	out, err := hkdf.Extract(sha256.New, secret, salt)
	if err != nil {
		panic("mls: HKDF-Extract: " + err.Error()) // only in FIPS mode with a short key: none here is
	}
	return out
}

// expand is KDF.Expand; length ≤ maxExpand.
func expand(secret, info []byte, length int) []byte {
	out, err := hkdf.Expand(sha256.New, secret, string(info), length)
	if err != nil {
		panic("mls: HKDF-Expand: " + err.Error()) // unreachable: length is bounded by the callers
	}
	return out
}

// expandWithLabel is ExpandWithLabel of RFC 9420 8; length ≤ maxExpand.
func expandWithLabel(secret []byte, label string, context []byte, length int) []byte {
	var w writer
	w.u16(uint16(length))
	w.raw(labelled(label, context))
	return expand(secret, w.b, length)
}

// maxExpand is the longest output of HKDF-Expand, in bytes (RFC 5869 2.3).
const maxExpand = 255 * hashSize

// deriveSecret is DeriveSecret of RFC 9420 8.
func deriveSecret(secret []byte, label string) []byte {
	return expandWithLabel(secret, label, nil, hashSize)
}

// deriveTreeSecret is DeriveTreeSecret of RFC 9420 9.
func deriveTreeSecret(secret []byte, label string, generation uint32, length int) []byte {
	var w writer
	w.u32(generation)
	return expandWithLabel(secret, label, w.b, length)
}

// hash is the suite's hash function.
func hash(parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// refHash is RefHash of RFC 9420 5.2; label is the whole label.
func refHash(label string, value []byte) []byte {
	var w writer
	w.opaque([]byte(label))
	w.opaque(value)
	return hash(w.b)
}

// mac is the suite's MAC (HMAC with the suite's hash).
func mac(key, data []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(data)
	return h.Sum(nil)
}

// macEqual compares tags in constant time.
func macEqual(a, b []byte) bool { return hmac.Equal(a, b) }

// newAEAD returns the suite's AEAD for a key of keySize bytes.
func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("mls: AES key size") // unreachable: keys are derived with keySize
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("mls: GCM") // unreachable: AES has 16-byte blocks
	}
	return aead
}

// seal encrypts with the suite's AEAD.
func seal(key, nonce, aad, plaintext []byte) []byte {
	return newAEAD(key).Seal(nil, nonce, plaintext, aad)
}

// open decrypts with the suite's AEAD.
func open(key, nonce, aad, ciphertext []byte) ([]byte, error) {
	plain, err := newAEAD(key).Open(nil, nonce, ciphertext, aad)
	if err != nil {
		return nil, refuse(ErrDecrypt, "AEAD")
	}
	return plain, nil
}

// randomBytes returns n bytes from the system's generator, which does not fail.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
