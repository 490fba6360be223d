package sframe

import (
	"crypto/sha256"
	"hash"
)

// Digest is the beginning of SHA-256 over a protected frame: the clear byte if
// there is one, SFrame header, ciphertext, tag. That is the frame as it is on
// the wire, but for AV1, whose OBU size and temporal delimiter depacketizers
// rewrite. Eight bytes are enough: to forge a frame that has the digest of
// another takes 2^64 attempts while that one is still of interest.
type Digest [8]byte

// Digester computes digests without allocating. It is owned by one goroutine.
type Digester struct {
	hash  hash.Hash
	clear [1]byte
	sum   [sha256.Size]byte
}

// NewDigester returns a Digester.
func NewDigester() *Digester { return &Digester{hash: sha256.New()} }

// Digest is that of a frame that [Parse] returned without an error.
func (d *Digester) Digest(f *Frame) Digest {
	d.hash.Reset()
	if f.hasClear {
		d.clear[0] = f.clear
		d.hash.Write(d.clear[:])
	}
	d.hash.Write(f.head)
	d.hash.Write(f.sealed)
	return Digest(d.hash.Sum(d.sum[:0])[:8])
}
