package link

import "encoding/binary"

// maxAdmits is how many connections one commit may admit.
const maxAdmits = 64

// bundleMark is the first byte of a bundle, where an envelope has its version.
const bundleMark = 2

// Bundle is a commit together with the welcome for those it adds. The service
// accepts or refuses both as one.
//
//	u8 2 || u8 n (1..64) || n x conn_id[16] || u32 length of the commit || commit || welcome
type Bundle struct {
	Admits  []ConnID // whom the welcome admits: 1 to 64
	Commit  []byte   // envelope
	Welcome []byte   // envelope
}

// Append appends the encoded bundle. The error is [ErrEnvelope]: the number of
// admitted connections or the types of the envelopes are wrong.
func (b Bundle) Append(dst []byte) ([]byte, error) {
	if err := b.check(); err != nil {
		return dst, err
	}
	dst = append(dst, bundleMark, byte(len(b.Admits)))
	for _, c := range b.Admits {
		dst = append(dst, c[:]...)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(b.Commit)))
	dst = append(dst, b.Commit...)
	return append(dst, b.Welcome...), nil
}

// ParseBundle splits a bundle and checks it as far as it is in the clear. Its
// envelopes refer to data.
func ParseBundle(data []byte) (b Bundle, err error) {
	if len(data) < 2 || data[0] != bundleMark {
		return b, ErrEnvelope
	}
	n, rest := int(data[1]), data[2:]
	if n == 0 || n > maxAdmits || len(rest) < n*len(ConnID{})+4 {
		return b, ErrEnvelope
	}
	for ; n > 0; n-- {
		b.Admits = append(b.Admits, ConnID(rest))
		rest = rest[len(ConnID{}):]
	}
	size := binary.BigEndian.Uint32(rest)
	rest = rest[4:]
	if uint64(size) > uint64(len(rest)) {
		return Bundle{}, ErrEnvelope
	}
	b.Commit, b.Welcome = rest[:size:size], rest[size:]
	if err := b.check(); err != nil {
		return Bundle{}, err
	}
	return b, nil
}

func (b Bundle) check() error {
	if len(b.Admits) == 0 || len(b.Admits) > maxAdmits {
		return ErrEnvelope
	}
	commit, _, err := ParseEnvelope(b.Commit)
	if err != nil {
		return err
	}
	welcome, _, err := ParseEnvelope(b.Welcome)
	if err != nil {
		return err
	}
	if commit.Type != TypeCommit || welcome.Type != TypeWelcome || commit.From != welcome.From || commit.Group != welcome.Group {
		return ErrEnvelope
	}
	return nil
}
