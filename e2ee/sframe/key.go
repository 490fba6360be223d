package sframe

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
)

// KID names a key: context << 16 | leaf << 8 | epoch mod 256, the layout of
// RFC 9605 5.2 with E = 8 and S = 8. Values above 24 bits are never used here.
type KID uint64

// Context is what a key protects. A source keeps one context for all its
// simulcast layers and for every SSRC it ever has.
type Context uint8

// The contexts are fixed: they are part of the wire format.
const (
	Microphone Context = iota
	Camera
	Screen
	ScreenAudio
	Data
	contexts
)

// Audio tells whether the frames of c are audio.
func (c Context) Audio() bool { return c == Microphone || c == ScreenAudio }

// MakeKID composes a KID. leaf is the sender's index in the room.
func MakeKID(c Context, leaf, epoch uint8) KID {
	return KID(c)<<16 | KID(leaf)<<8 | KID(epoch)
}

// Split takes a KID apart; ok is false if it is none of ours.
func (k KID) Split() (c Context, leaf, epoch uint8, ok bool) {
	if k>>16 >= KID(contexts) {
		return 0, 0, 0, false
	}
	return Context(k >> 16), uint8(k >> 8), uint8(k), true
}

const (
	// TagSize is the length of the authentication tag. Tags are never cut:
	// longer audio frames save more than shorter tags.
	TagSize = 16
	// BaseKeySize is the length of the base keys the group hands out.
	BaseKeySize = 16
	nonceSize   = 12
)

// suite is a cipher suite of RFC 9605 4.5. Only AES_128_GCM_SHA256_128 is
// reachable from outside.
type suite struct {
	id      uint16
	keySize int
	hash    func() hash.Hash
}

func aes128GCM() suite { return suite{id: 0x0004, keySize: 16, hash: sha256.New} }

// Key is the key and salt of one KID. It is immutable and may be shared.
type Key struct {
	kid  KID
	aead cipher.AEAD
	salt [nonceSize]byte
}

// ErrBaseKey: a base key is not of [BaseKeySize] bytes.
var ErrBaseKey = errors.New("sframe: base key of another length")

// DeriveKey derives the key of kid from a base key (RFC 9605 4.4.2). The
// error is [ErrBaseKey].
func DeriveKey(base []byte, kid KID) (*Key, error) {
	if len(base) != BaseKeySize {
		return nil, ErrBaseKey
	}
	return aes128GCM().derive(base, kid)
}

// KID returns the name of the key.
func (k *Key) KID() KID { return k.kid }

func (s suite) derive(base []byte, kid KID) (*Key, error) {
	key, salt, err := s.expand(base, kid)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	k := &Key{kid: kid, aead: aead}
	copy(k.salt[:], salt)
	return k, nil
}

func (s suite) expand(base []byte, kid KID) (key, salt []byte, err error) {
	secret, err := hkdf.Extract(s.hash, base, nil)
	if err != nil {
		return nil, nil, err
	}
	if key, err = hkdf.Expand(s.hash, secret, s.label("SFrame 1.0 Secret key ", kid), s.keySize); err != nil {
		return nil, nil, err
	}
	salt, err = hkdf.Expand(s.hash, secret, s.label("SFrame 1.0 Secret salt ", kid), nonceSize)
	return key, salt, err
}

func (s suite) label(text string, kid KID) string {
	b := binary.BigEndian.AppendUint64([]byte(text), uint64(kid))
	return string(binary.BigEndian.AppendUint16(b, s.id))
}

// nonce writes salt XOR ctr into dst (RFC 9605 4.4.3).
func (k *Key) nonce(dst *[nonceSize]byte, ctr uint64) {
	*dst = k.salt
	low := binary.BigEndian.Uint64(dst[nonceSize-8:])
	binary.BigEndian.PutUint64(dst[nonceSize-8:], low^ctr)
}
