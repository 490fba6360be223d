// Package file encrypts the files that people send each other. The key goes to
// the group in an application message, the ciphertext to a store that learns
// its length and nothing else.
//
//	file  = chunk 0 || chunk 1 || … || last chunk
//	chunk = AES-256-GCM(key, nonce = 7 zero bytes || u32 index || u8 last, 64 KiB of plaintext; the last one what is left)
//
// last is 1 in the last chunk and 0 before: this is STREAM, as in age, so that
// chunks cannot be changed, moved, left out or cut off. Every member knows the
// key and could encrypt another file with it; the SHA-256 of the whole
// ciphertext, which the sender signs with the message, says which file was
// meant. So nothing of a file may be used before [Opener.Close] has agreed.
package file

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
)

const (
	// ChunkSize is the length in bytes of the plaintext of every chunk but the
	// last.
	ChunkSize = 64 << 10
	// TagSize is what encryption adds to a chunk, in bytes.
	TagSize = 16
	// SealedChunkSize is the length of an encrypted chunk but the last.
	SealedChunkSize = ChunkSize + TagSize
	// MaxSize is the largest file that has indices for its chunks, in bytes.
	MaxSize = ChunkSize << 32

	nonceSize = 12
)

// Errors of this package. They say nothing of keys or content.
var (
	// ErrSize: a size that no file has, or a file of another size than it was
	// announced with.
	ErrSize = errors.New("file: size")
	// ErrChunk: a chunk that does not open: it was changed, moved, or is of
	// another file.
	ErrChunk = errors.New("file: chunk does not open")
	// ErrHash: not the file that its sender meant.
	ErrHash = errors.New("file: hash of another file")
	// ErrTruncated: the last chunk is missing.
	ErrTruncated = errors.New("file: truncated")
	// ErrOrder: a call after the last chunk.
	ErrOrder = errors.New("file: call out of order")
)

// Key encrypts one file. It formats as "[key]".
type Key [32]byte

// NewKey draws the key of a file.
func NewKey() (k Key) {
	rand.Read(k[:]) // never fails
	return k
}

// String hides the key from %v, %s and %q.
func (Key) String() string { return "[key]" }

// GoString hides the key from %#v.
func (Key) GoString() string { return "[key]" }

// Info is what the receivers of a file need, and must have from its sender.
type Info struct {
	Key  Key
	Hash [sha256.Size]byte // of the ciphertext
	Size int64             // of the plaintext, in bytes
}

// SealedSize is the length in bytes of the ciphertext of a file of size bytes,
// which must be between 0 and [MaxSize].
func SealedSize(size int64) int64 { return size + chunks(size)*TagSize }

// chunks is the number of chunks: one for an empty file.
func chunks(size int64) int64 { return max(1, (size+ChunkSize-1)/ChunkSize) }

// stream is what both directions share.
type stream struct {
	aead  cipher.AEAD
	hash  hash.Hash
	index uint32
	size  int64 // of the plaintext so far
	done  bool
}

func newStream(key Key) stream {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("file: AES key size") // unreachable
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("file: GCM") // unreachable: AES has 16-byte blocks
	}
	return stream{aead: aead, hash: sha256.New()}
}

func (s *stream) nonce(last bool) (n [nonceSize]byte) {
	binary.BigEndian.PutUint32(n[7:], s.index)
	if last {
		n[11] = 1
	}
	return n
}

// Sealer encrypts one file, chunk by chunk.
type Sealer struct {
	stream
	key Key
}

// NewSealer returns the sealer of a file. key must be fresh: a second file
// under one key repeats nonces, which gives both away.
func NewSealer(key Key) *Sealer { return &Sealer{newStream(key), key} }

// Seal appends the next encrypted chunk to dst, which must not overlap chunk.
// Every chunk has [ChunkSize] bytes, but the last, which has at most as many
// and none only in an empty file. The error is [ErrSize] or [ErrOrder].
func (s *Sealer) Seal(dst, chunk []byte, last bool) ([]byte, error) {
	switch {
	case s.done:
		return dst, ErrOrder
	case len(chunk) > ChunkSize, !last && len(chunk) < ChunkSize, len(chunk) == 0 && s.size > 0, s.size+int64(len(chunk)) > MaxSize:
		return dst, ErrSize
	}
	nonce := s.nonce(last)
	at := len(dst)
	dst = s.aead.Seal(dst, nonce[:], chunk, nil)
	s.hash.Write(dst[at:])
	s.index++
	s.size += int64(len(chunk))
	s.done = last
	return dst, nil
}

// Info returns what the receivers need, once the last chunk is sealed; before,
// [ErrTruncated].
func (s *Sealer) Info() (Info, error) {
	if !s.done {
		return Info{}, ErrTruncated
	}
	return Info{Key: s.key, Hash: [sha256.Size]byte(s.hash.Sum(nil)), Size: s.size}, nil
}

// Opener decrypts one file, chunk by chunk.
type Opener struct {
	stream
	info Info
}

// NewOpener returns the opener of a file. The error is [ErrSize].
func NewOpener(info Info) (*Opener, error) {
	if info.Size < 0 || info.Size > MaxSize {
		return nil, ErrSize
	}
	return &Opener{newStream(info.Key), info}, nil
}

// Next is the length of the next encrypted chunk in bytes; 0 after the last.
func (o *Opener) Next() int {
	if o.done {
		return 0
	}
	return int(min(ChunkSize, o.info.Size-o.size)) + TagSize
}

// Open appends the plaintext of the next chunk, which has the length that Next
// said, to dst; dst must not overlap chunk. After an error the file is of no
// use. The error is [ErrSize], [ErrChunk] or [ErrOrder].
func (o *Opener) Open(dst, chunk []byte) ([]byte, error) {
	if o.done {
		return dst, ErrOrder
	}
	if len(chunk) != o.Next() {
		return dst, ErrSize
	}
	size := o.size + int64(len(chunk)-TagSize)
	last := size == o.info.Size
	nonce := o.nonce(last)
	plain, err := o.aead.Open(dst, nonce[:], chunk, nil)
	if err != nil {
		return dst, ErrChunk
	}
	o.hash.Write(chunk)
	o.index++
	o.size, o.done = size, last
	return plain, nil
}

// Close says whether that was the whole file, and the one that was meant: nil,
// [ErrTruncated] or [ErrHash].
func (o *Opener) Close() error {
	if !o.done {
		return ErrTruncated
	}
	if [sha256.Size]byte(o.hash.Sum(nil)) != o.info.Hash {
		return ErrHash
	}
	return nil
}

// Encrypt encrypts what src has, with a fresh key. The error is [ErrSize], or
// that of src or dst.
func Encrypt(dst io.Writer, src io.Reader) (Info, error) {
	s := NewSealer(NewKey())
	// One chunk is read ahead, since only the end of src tells which is the last.
	chunk, ahead := make([]byte, ChunkSize), make([]byte, ChunkSize)
	sealed := make([]byte, 0, SealedChunkSize)
	n, err := fill(src, chunk)
	for err == nil && !s.done {
		more := 0
		if n == ChunkSize {
			if more, err = fill(src, ahead); err != nil {
				break
			}
		}
		if sealed, err = s.Seal(sealed[:0], chunk[:n], more == 0); err != nil {
			break
		}
		if _, err = dst.Write(sealed); err != nil {
			break
		}
		chunk, ahead, n = ahead, chunk, more
	}
	if err != nil {
		return Info{}, err
	}
	return s.Info()
}

// fill reads until b is full or src at its end.
func fill(src io.Reader, b []byte) (int, error) {
	n, err := io.ReadFull(src, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return n, err
}

// Decrypt decrypts what src has. What went to dst is to be thrown away unless
// the error is nil. The error is one of this package's, or that of src or dst.
func Decrypt(dst io.Writer, src io.Reader, info Info) error {
	o, err := NewOpener(info)
	if err != nil {
		return err
	}
	sealed, plain := make([]byte, SealedChunkSize), make([]byte, 0, ChunkSize)
	for !o.done {
		n, err := fill(src, sealed[:o.Next()])
		if err != nil {
			return err
		}
		if n < o.Next() {
			return ErrTruncated
		}
		if plain, err = o.Open(plain[:0], sealed[:n]); err != nil {
			return err
		}
		if _, err := dst.Write(plain); err != nil {
			return err
		}
	}
	switch n, err := fill(src, sealed[:1]); {
	case err != nil:
		return err
	case n > 0:
		return ErrSize
	}
	return o.Close()
}
