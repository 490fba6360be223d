package link

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
)

// RoomIDLength is the length of a room id in characters.
const RoomIDLength = 26

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ConnID names one connection of one client: 16 random bytes, fresh on every
// start. Keys are bound to it, so it must not be used again after a restart.
type ConnID [16]byte

// NewConnID draws a connection id.
func NewConnID() (c ConnID) {
	rand.Read(c[:]) // never fails
	return c
}

// ParseConnID reads base64url.
func ParseConnID(text string) (c ConnID, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != len(c) {
		return c, false
	}
	return ConnID(b), true
}

// String is base64url, as in signaling.
func (c ConnID) String() string { return base64.RawURLEncoding.EncodeToString(c[:]) }

// Keys are the keys of a room. They are immutable and may be shared. There is
// no way to print them.
type Keys struct {
	prk    []byte
	seal   []byte
	sig    ed25519.PrivateKey
	room   [16]byte
	roomID string
}

// Derive computes the keys of a room from its secret. It fails only if the
// platform's HKDF does.
func Derive(secret Secret) (*Keys, error) {
	prk, err := hkdf.Extract(sha256.New, secret[:], []byte("sotto-e2ee/1"))
	if err != nil {
		return nil, err
	}
	k := &Keys{prk: prk}
	seed, err := hkdf.Expand(sha256.New, prk, "link-sig", ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	if k.seal, err = hkdf.Expand(sha256.New, prk, "seal", 32); err != nil {
		return nil, err
	}
	k.sig = ed25519.NewKeyFromSeed(seed)
	hash := sha256.Sum256(k.Public())
	k.room = [16]byte(hash[:16])
	k.roomID = base32Lower.EncodeToString(k.room[:])
	return k, nil
}

// RoomID is the room's name: the hash of its link key.
func (k *Keys) RoomID() string { return k.roomID }

// Room is the room id as bytes, as it enters authenticated data.
func (k *Keys) Room() [16]byte { return k.room }

// Public is the key whose hash is the room id. Connecting shows it.
func (k *Keys) Public() ed25519.PublicKey { return k.sig.Public().(ed25519.PublicKey) }

// ConnectSignature proves to the service that this client has the link, for one
// connection: host is the service's as the client wrote it (in a browser
// location.host), nonce what the service sent.
func (k *Keys) ConnectSignature(host string, nonce []byte, conn ConnID) []byte {
	return ed25519.Sign(k.sig, signedBy("sotto-connect/1", host, nonce, conn))
}

// VerifyConnect checks a connect signature, as the service does.
func VerifyConnect(public ed25519.PublicKey, host string, nonce []byte, conn ConnID, signature []byte) bool {
	return len(public) == ed25519.PublicKeySize &&
		ed25519.Verify(public, signedBy("sotto-connect/1", host, nonce, conn), signature)
}

func signedBy(purpose, host string, nonce []byte, conn ConnID) []byte {
	m := append([]byte(purpose), host...)
	m = append(m, nonce...)
	return append(m, conn[:]...)
}

// PSK is the external pre-shared key that binds an MLS group to the link. Every
// commit that adds a member carries it.
func (k *Keys) PSK() ([]byte, error) { return hkdf.Expand(sha256.New, k.prk, "mls-psk", 32) }

// PSKID names that key in generation gen of the link:
//
//	"sotto-link/1" || room id raw (16) || gen u16
func (k *Keys) PSKID(gen uint16) []byte {
	id := append([]byte("sotto-link/1"), k.room[:]...)
	return append(id, byte(gen>>8), byte(gen))
}

func (k *Keys) sealKey(from ConnID) ([]byte, error) {
	return hkdf.Expand(sha256.New, k.seal, "conn"+string(from[:]), 32)
}
