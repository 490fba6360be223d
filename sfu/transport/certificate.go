package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// certificateLifetime is how long a certificate is valid. A process makes one
// at start and peers trust it by its fingerprint alone, so the date matters
// only to checkers that look at it: long enough for any uptime.
const certificateLifetime = 400 * 24 * time.Hour

// ErrFingerprint says that a fingerprint attribute cannot be used: syntax,
// length, or a hash below SHA-256.
var ErrFingerprint = errors.New("transport: bad certificate fingerprint")

// Hash is the hash function of a Fingerprint. The zero value is none.
type Hash uint8

// The hash functions of RFC 8122 5 that are accepted: SHA-256 and longer.
const (
	HashNone Hash = iota
	SHA256
	SHA384
	SHA512
)

// String returns the name as a=fingerprint has it.
func (h Hash) String() string {
	switch h {
	case SHA256:
		return "sha-256"
	case SHA384:
		return "sha-384"
	case SHA512:
		return "sha-512"
	}
	return "none"
}

func (h Hash) size() int {
	switch h {
	case SHA256:
		return sha256.Size
	case SHA384:
		return sha512.Size384
	case SHA512:
		return sha512.Size
	}
	return 0
}

// Fingerprint is the hash of a certificate in DER form (RFC 8122 5). It is a
// comparable value; the zero value matches no certificate.
type Fingerprint struct {
	Hash Hash
	Sum  [sha512.Size]byte // the first Hash bytes count, the rest is zero
}

// ParseFingerprint reads the value of a=fingerprint, "sha-256 AB:CD:…". The
// error wraps ErrFingerprint.
func ParseFingerprint(s string) (Fingerprint, error) {
	name, digits, found := strings.Cut(strings.TrimSpace(s), " ")
	if !found {
		return Fingerprint{}, fmt.Errorf("%w: no hash", ErrFingerprint)
	}
	var f Fingerprint
	for h := SHA256; h <= SHA512; h++ {
		if strings.EqualFold(name, h.String()) {
			f.Hash = h
		}
	}
	if f.Hash == HashNone {
		return Fingerprint{}, fmt.Errorf("%w: hash function not accepted", ErrFingerprint)
	}
	digits = strings.TrimSpace(digits)
	if len(digits) != f.Hash.size()*3-1 {
		return Fingerprint{}, fmt.Errorf("%w: length %d", ErrFingerprint, len(digits))
	}
	for i := range f.Hash.size() {
		if i > 0 && digits[i*3-1] != ':' {
			return Fingerprint{}, fmt.Errorf("%w: separator", ErrFingerprint)
		}
		if _, err := hex.Decode(f.Sum[i:i+1], []byte(digits[i*3:i*3+2])); err != nil {
			return Fingerprint{}, fmt.Errorf("%w: digit", ErrFingerprint)
		}
	}
	return f, nil
}

// String returns the value of a=fingerprint, "" for the zero value.
func (f Fingerprint) String() string {
	n := f.Hash.size()
	if n == 0 {
		return ""
	}
	var b strings.Builder
	b.Grow(8 + 3*n)
	b.WriteString(f.Hash.String())
	for i, c := range f.Sum[:n] {
		if i == 0 {
			b.WriteByte(' ')
		} else {
			b.WriteByte(':')
		}
		fmt.Fprintf(&b, "%02X", c)
	}
	return b.String()
}

// Matches reports whether der, a certificate, has this fingerprint.
func (f Fingerprint) Matches(der []byte) bool {
	if f.Hash == HashNone {
		return false
	}
	g := fingerprintOf(der, f.Hash)
	return subtle.ConstantTimeCompare(f.Sum[:], g.Sum[:]) == 1
}

func fingerprintOf(der []byte, h Hash) Fingerprint {
	f := Fingerprint{Hash: h}
	switch h {
	case SHA256:
		sum := sha256.Sum256(der)
		copy(f.Sum[:], sum[:])
	case SHA384:
		sum := sha512.Sum384(der)
		copy(f.Sum[:], sum[:])
	case SHA512:
		f.Sum = sha512.Sum512(der)
	}
	return f
}

// Certificate is the DTLS certificate of a process, self-signed and known to
// peers by its fingerprint in the answer. Immutable, shared by all shards.
type Certificate struct {
	tls         tls.Certificate
	fingerprint Fingerprint
}

// NewCertificate makes an ECDSA P-256 key and a certificate valid from an hour
// before now (clocks differ). The subject says nothing about the machine.
func NewCertificate(now time.Time) (*Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("transport: certificate key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("transport: certificate serial: %w", err)
	}
	template := x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "WebRTC"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(certificateLifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("transport: certificate: %w", err)
	}
	return &Certificate{
		tls:         tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		fingerprint: fingerprintOf(der, SHA256),
	}, nil
}

// Fingerprint returns the SHA-256 fingerprint for the answer.
func (c *Certificate) Fingerprint() Fingerprint { return c.fingerprint }
