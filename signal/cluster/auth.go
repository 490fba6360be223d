package cluster

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/nats-io/nkeys"
)

// MinSecret is the least length in bytes of a cluster secret.
const MinSecret = 32

// credentials are what the members of a cluster derive from the secret that they share: the key of a TLS certificate, which
// both sides of a connection present and compare, and a NATS user key. Nothing of the secret is sent.
type credentials struct {
	certificate tls.Certificate
	user        nkeys.KeyPair
	userPublic  string
}

func deriveCredentials(secret []byte) (*credentials, error) {
	if len(secret) < MinSecret {
		return nil, ErrSecret
	}
	seed, err := hkdf.Key(sha256.New, secret, nil, "sotto cluster tls 1", ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	c := &credentials{}
	if c.certificate, err = selfSigned(ed25519.NewKeyFromSeed(seed)); err != nil {
		return nil, err
	}
	if seed, err = hkdf.Key(sha256.New, secret, nil, "sotto cluster user 1", ed25519.SeedSize); err != nil {
		return nil, err
	}
	if c.user, err = nkeys.FromRawSeed(nkeys.PrefixByteUser, seed); err != nil {
		return nil, err
	}
	c.userPublic, err = c.user.PublicKey()
	return c, err
}

// selfSigned makes a certificate that says nothing but its key. Its dates are not looked at.
func selfSigned(key ed25519.PrivateKey) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "sotto cluster"},
		NotBefore:    time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// tlsConfig serves both sides: each demands that the other holds the derived key. Names, dates and authorities have no part in
// it, so verification of the chain is replaced, not left out.
func (c *credentials) tlsConfig() *tls.Config {
	want, _ := c.certificate.PrivateKey.(ed25519.PrivateKey).Public().(ed25519.PublicKey)
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Certificates:       []tls.Certificate{c.certificate},
		ClientAuth:         tls.RequireAnyClientCert,
		InsecureSkipVerify: true, // VerifyConnection compares the key
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errors.New("cluster: no certificate")
			}
			got, ok := s.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
			if !ok || !bytes.Equal(got, want) {
				return fmt.Errorf("cluster: certificate of another cluster")
			}
			return nil
		},
	}
}
