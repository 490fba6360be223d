package mls

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
)

// HPKE (RFC 9180) in base mode for one message a context, with DHKEM over the
// suite's curve, HKDF-SHA256 and AES-128-GCM. The standard library has it too,
// and tests compare the two in both directions. It is here since package
// crypto/hpke links every curve, ML-KEM and ChaCha20, a tenth of a WebAssembly
// build, and since its private keys cannot be overwritten.

// The identifiers of HPKE algorithms (RFC 9180 7).
const (
	kemP256       = 0x0010 // DHKEM(P-256, HKDF-SHA256)
	kemX25519     = 0x0020 // DHKEM(X25519, HKDF-SHA256)
	kdfHKDFSHA256 = 0x0001
	aeadAES128GCM = 0x0001
)

// hpkeCiphertext is HPKECiphertext (RFC 9420 7.6).
type hpkeCiphertext struct {
	kemOutput  []byte
	ciphertext []byte
}

func (c *hpkeCiphertext) encode(w *writer) {
	w.opaque(c.kemOutput)
	w.opaque(c.ciphertext)
}

func (c *hpkeCiphertext) decode(r *reader) {
	c.kemOutput = r.opaque()
	c.ciphertext = r.opaque()
}

// privateKey is an HPKE key pair. Every owner has a copy of its own and erases
// it in the end.
type privateKey struct {
	suite  CipherSuite
	secret []byte
	public []byte // wire form
}

func (k *privateKey) clone() *privateKey {
	return &privateKey{suite: k.suite, secret: bytes.Clone(k.secret), public: k.public}
}

// erase overwrites the secret; the key is of no use afterwards.
func (k *privateKey) erase() {
	clear(k.secret)
	k.secret = nil
}

// newPrivateKey takes a private key in its wire form, which is not kept.
func (s CipherSuite) newPrivateKey(secret []byte) (*privateKey, error) {
	key, err := s.curve().NewPrivateKey(secret)
	if err != nil {
		return nil, refuse(ErrEncoding, "HPKE private key")
	}
	return &privateKey{suite: s, secret: bytes.Clone(secret), public: key.PublicKey().Bytes()}, nil
}

// generateKey makes a fresh HPKE key pair. As RFC 9180 7.1.3 allows, it is
// derived from random bytes.
func (s CipherSuite) generateKey() (*privateKey, error) {
	seed := randomBytes(hashSize)
	defer clear(seed)
	return s.deriveKey(seed)
}

// deriveKey is KEM.DeriveKeyPair (RFC 9180 7.1.3).
func (s CipherSuite) deriveKey(seed []byte) (*privateKey, error) {
	kem := s.kem()
	prk := kem.extract(nil, "dkp_prk", seed)
	defer clear(prk)
	if s == P256AES128SHA256P256 {
		return s.deriveP256(kem, prk)
	}
	secret := kem.expand(prk, "sk", nil, 32)
	defer clear(secret)
	return s.newPrivateKey(secret)
}

// deriveP256 tries candidates until one is below the order of the group, which
// the first is but for one in 2^32.
func (s CipherSuite) deriveP256(kem hpkeSuite, prk []byte) (*privateKey, error) {
	for counter := range 256 {
		secret := kem.expand(prk, "candidate", []byte{byte(counter)}, 32)
		key, err := s.newPrivateKey(secret)
		clear(secret)
		if err == nil {
			return key, nil
		}
	}
	return nil, refuse(ErrUnsupported, "HPKE key derivation")
}

// publicKey parses an HPKE public key. X25519 keys of low order are refused
// here, at the door, because encryption to them fails: a member with such a
// key would stop everybody else's commits. P-256 keys are points on the curve
// or refused.
func (s CipherSuite) publicKey(public []byte) (*ecdh.PublicKey, error) {
	if s == X25519AES128SHA256Ed25519 && lowOrder(public) {
		return nil, refuse(ErrEncoding, "HPKE public key of low order")
	}
	key, err := s.curve().NewPublicKey(public)
	if err != nil {
		return nil, refuse(ErrEncoding, "HPKE public key")
	}
	return key, nil
}

// encryptWithLabel is EncryptWithLabel of RFC 9420 5.1.3.
func (s CipherSuite) encryptWithLabel(public []byte, label string, context, plaintext []byte) (hpkeCiphertext, error) {
	ephemeral, err := s.curve().GenerateKey(rand.Reader)
	if err != nil {
		return hpkeCiphertext{}, refuse(ErrUnsupported, "HPKE key generation")
	}
	enc := ephemeral.PublicKey().Bytes()
	key, nonce, err := s.agree(ephemeral, public, enc, public, labelled(label, context))
	if err != nil {
		return hpkeCiphertext{}, err
	}
	defer clear(key)
	return hpkeCiphertext{kemOutput: enc, ciphertext: seal(key, nonce, nil, plaintext)}, nil
}

// decryptWithLabel is DecryptWithLabel of RFC 9420 5.1.3.
func (k *privateKey) decryptWithLabel(label string, context []byte, c hpkeCiphertext) ([]byte, error) {
	if k.secret == nil {
		return nil, refuse(ErrState, "private key is erased")
	}
	secret, err := k.suite.curve().NewPrivateKey(k.secret)
	if err != nil {
		return nil, refuse(ErrDecrypt, "HPKE private key")
	}
	key, nonce, err := k.suite.agree(secret, c.kemOutput, c.kemOutput, k.public, labelled(label, context))
	if err != nil {
		return nil, refuse(ErrDecrypt, "HPKE")
	}
	defer clear(key)
	return open(key, nonce, nil, c.ciphertext)
}

// agree is what Encap and Decap of RFC 9180 4.1 have in common, and
// KeySchedule of 5.1: the key and nonce of the only message, from the own
// secret and the public key of the other side. enc and recipient are the
// public keys of both sides in the order of the KEM's context.
func (s CipherSuite) agree(secret *ecdh.PrivateKey, other, enc, recipient, info []byte) (key, nonce []byte, err error) {
	public, err := s.publicKey(other)
	if err != nil {
		return nil, nil, err
	}
	dh, err := secret.ECDH(public) // an error if all zero
	if err != nil {
		return nil, nil, refuse(ErrEncoding, "HPKE public key")
	}
	defer clear(dh)

	kem, suite := s.kem(), s.hpke()
	prk := kem.extract(nil, "eae_prk", dh)
	defer clear(prk)
	shared := kem.expand(prk, "shared_secret", append(bytes.Clone(enc), recipient...), hashSize)
	defer clear(shared)

	context := []byte{0} // mode_base
	context = append(context, suite.extract(nil, "psk_id_hash", nil)...)
	context = append(context, suite.extract(nil, "info_hash", info)...)
	base := suite.extract(shared, "secret", nil)
	defer clear(base)
	return suite.expand(base, "key", context, keySize), suite.expand(base, "base_nonce", context, nonceSize), nil
}

// hpkeSuite is the suite_id that HPKE puts into all its derivations.
type hpkeSuite string

func (s CipherSuite) kemID() uint16 {
	if s == P256AES128SHA256P256 {
		return kemP256
	}
	return kemX25519
}

// kem is the suite_id inside of the KEM (RFC 9180 4.1).
func (s CipherSuite) kem() hpkeSuite {
	var w writer
	w.raw([]byte("KEM"))
	w.u16(s.kemID())
	return hpkeSuite(w.b)
}

// hpke is the suite_id outside of the KEM (RFC 9180 5.1).
func (s CipherSuite) hpke() hpkeSuite {
	var w writer
	w.raw([]byte("HPKE"))
	w.u16(s.kemID())
	w.u16(kdfHKDFSHA256)
	w.u16(aeadAES128GCM)
	return hpkeSuite(w.b)
}

// extract is LabeledExtract of RFC 9180 4.
func (id hpkeSuite) extract(salt []byte, label string, secret []byte) []byte {
	labelled := append([]byte("HPKE-v1"+string(id)+label), secret...)
	defer clear(labelled)
	return extract(salt, labelled)
}

// expand is LabeledExpand of RFC 9180 4.
func (id hpkeSuite) expand(prk []byte, label string, info []byte, length int) []byte {
	var w writer
	w.u16(uint16(length))
	w.raw([]byte("HPKE-v1" + string(id) + label))
	w.raw(info)
	return expand(prk, w.b, length)
}

// lowOrder reports whether an X25519 public key is one of the points with
// which every shared secret is zero (RFC 7748 6.1), in any of its encodings.
func lowOrder(public []byte) bool {
	if len(public) != 32 {
		return false
	}
	u := [32]byte(public)
	u[31] &= 0x7f // X25519 ignores the top bit
	middle := bytes.Trim(u[1:31], "\x00")
	switch {
	case u[31] == 0 && len(middle) == 0 && u[0] <= 1: // 0 and 1
		return true
	case u[31] == 0x7f && u[0] >= 0xec && u[0] <= 0xee: // p-1, p, p+1
		return bytes.Count(u[1:31], []byte{0xff}) == 30
	}
	return string(u[:]) == order8a || string(u[:]) == order8b
}

// The two points of order 8.
const (
	order8a = "\xe0\xeb\x7a\x7c\x3b\x41\xb8\xae\x16\x56\xe3\xfa\xf1\x9f\xc4\x6a\xda\x09\x8d\xeb\x9c\x32\xb1\xfd\x86\x62\x05\x16\x5f\x49\xb8\x00"
	order8b = "\x5f\x9c\x95\xbc\xa3\x50\x8c\x24\xb1\xd0\xb1\x55\x9c\x83\xef\x5b\x04\x44\x5c\xc4\x58\x1c\x8e\x86\xd8\x22\x4e\xdd\xd0\x9f\x11\x57"
)
