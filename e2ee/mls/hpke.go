package mls

import (
	"bytes"
	"crypto/hpke"
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

// encryptWithLabel is EncryptWithLabel of RFC 9420 5.1.3.
func (s CipherSuite) encryptWithLabel(public []byte, label string, context, plaintext []byte) (hpkeCiphertext, error) {
	key, err := s.publicKey(public)
	if err != nil {
		return hpkeCiphertext{}, err
	}
	enc, sender, err := hpke.NewSender(key, hpke.HKDFSHA256(), hpke.AES128GCM(), labelled(label, context))
	if err != nil {
		return hpkeCiphertext{}, refuse(ErrLeaf, "HPKE key")
	}
	sealed, err := sender.Seal(nil, plaintext)
	if err != nil {
		return hpkeCiphertext{}, refuse(ErrLeaf, "HPKE seal")
	}
	return hpkeCiphertext{kemOutput: enc, ciphertext: sealed}, nil
}

// decryptWithLabel is DecryptWithLabel of RFC 9420 5.1.3.
func decryptWithLabel(key hpke.PrivateKey, label string, context []byte, c hpkeCiphertext) ([]byte, error) {
	recipient, err := hpke.NewRecipient(c.kemOutput, key, hpke.HKDFSHA256(), hpke.AES128GCM(), labelled(label, context))
	if err != nil {
		return nil, refuse(ErrDecrypt, "HPKE")
	}
	plain, err := recipient.Open(nil, c.ciphertext)
	if err != nil {
		return nil, refuse(ErrDecrypt, "HPKE")
	}
	return plain, nil
}

// publicKey parses an HPKE public key. Keys of low order are refused here, at
// the door, because encryption to them fails: a member with such a key would
// stop everybody else's commits.
func (s CipherSuite) publicKey(public []byte) (hpke.PublicKey, error) {
	if s == X25519AES128SHA256Ed25519 && lowOrder(public) {
		return nil, refuse(ErrEncoding, "HPKE public key of low order")
	}
	key, err := s.kem().NewPublicKey(public)
	if err != nil {
		return nil, refuse(ErrEncoding, "HPKE public key")
	}
	return key, nil
}

// generateKey makes a fresh HPKE key pair.
func (s CipherSuite) generateKey() (hpke.PrivateKey, error) {
	key, err := s.kem().GenerateKey()
	if err != nil {
		return nil, refuse(ErrUnsupported, "HPKE key generation")
	}
	return key, nil
}

// deriveKey is KEM.DeriveKeyPair.
func (s CipherSuite) deriveKey(secret []byte) (hpke.PrivateKey, error) {
	key, err := s.kem().DeriveKeyPair(secret)
	if err != nil {
		return nil, refuse(ErrUnsupported, "HPKE key derivation")
	}
	return key, nil
}

// publicBytes is the wire form of the public half of key.
func publicBytes(key hpke.PrivateKey) []byte { return key.PublicKey().Bytes() }

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
