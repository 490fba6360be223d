// Package safety makes the codes by which people check, by voice or side by
// side, that nobody sits between them: one for the group as it is now, one for
// each pair of people.
//
//	group code  = PBKDF2-SHA256(epoch authenticator, "sotto group" || group id, 100,000, 16 bytes)
//	person code = PBKDF2-SHA256(both fingerprints in order, "sotto person", 100,000, 16 bytes)
//	fingerprint = SHA-256(signature key)
//
// A code is shown as 30 digits or as 12 emoji. The slow derivation is there
// because people compare a part only: whoever looks for keys that give a
// similar code pays it for each attempt. Codes are made when they are shown; in
// a browser WebCrypto does it faster than this package as WebAssembly, with the
// same result (testdata/safety.json).
package safety

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base32"
	"math/bits"
)

// Iterations of PBKDF2 for a code.
const Iterations = 100_000

// Code is what two people compare.
type Code [16]byte

// GroupCode is the code of an epoch of a group: everybody in it has the same,
// and it changes with every commit.
func GroupCode(epochAuthenticator, groupID []byte) Code {
	return derive(epochAuthenticator, append([]byte("sotto group"), groupID...))
}

// PersonCode is the code of two people. Both see the same, in every room, as
// long as they keep their keys.
func PersonCode(a, b Fingerprint) Code {
	if bytes.Compare(a[:], b[:]) > 0 {
		a, b = b, a
	}
	return derive(append(a[:], b[:]...), []byte("sotto person"))
}

func derive(secret, salt []byte) Code {
	out, err := pbkdf2.Key(sha256.New, string(secret), salt, Iterations, len(Code{}))
	if err != nil {
		panic("safety: PBKDF2: " + err.Error()) // only in FIPS-only mode, in which no group can be made either
	}
	return Code(out)
}

// group is 10^10, the largest step in which Digits divides.
const group = 10_000_000_000

// Digits is the code as a number, big-endian modulo 10^30, in six groups of
// five digits. The modulus favours no number by more than one part in 10^8.
func (c Code) Digits() string {
	var hi, lo uint64
	for i := range 8 {
		hi, lo = hi<<8|uint64(c[i]), lo<<8|uint64(c[8+i])
	}
	var digits [30]byte
	for end := len(digits); end > 0; end -= 10 {
		var low uint64
		top := hi / group
		lo, low = bits.Div64(hi%group, lo, group)
		hi = top
		for i := end - 1; i >= end-10; i-- {
			digits[i] = '0' + byte(low%10)
			low /= 10
		}
	}
	text := make([]byte, 0, len(digits)+5)
	for i, d := range digits {
		if i > 0 && i%5 == 0 {
			text = append(text, ' ')
		}
		text = append(text, d)
	}
	return string(text)
}

// Emoji is the code as twelve symbols, one for each of its first bytes.
func (c Code) Emoji() (out [12]Emoji) {
	for i := range out {
		out[i] = emoji[c[i]]
	}
	return out
}

// Fingerprint names a person's signature key.
type Fingerprint [sha256.Size]byte

// FingerprintOf hashes a signature key in its wire form.
func FingerprintOf(signatureKey []byte) Fingerprint { return sha256.Sum256(signatureKey) }

// Tag is eight characters to tell people of one name apart on the screen. It
// proves nothing: 40 bits can be searched for.
func (f Fingerprint) Tag() string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567"
	text := base32.NewEncoding(alphabet).EncodeToString(f[:5])
	return text[:4] + " " + text[4:]
}
