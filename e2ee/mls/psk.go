package mls

import "bytes"

// PSKType says where a pre-shared key comes from (RFC 9420 8.4).
type PSKType uint8

// The types of pre-shared keys.
const (
	PSKExternal   PSKType = 1
	PSKResumption PSKType = 2
)

// PSKUsage says what a resumption PSK is used for (RFC 9420 8.4).
type PSKUsage uint8

// The usages of resumption PSKs. Only the first may be proposed in a commit.
const (
	PSKApplication PSKUsage = 1
	PSKReInit      PSKUsage = 2
	PSKBranch      PSKUsage = 3
)

// PSKID names a pre-shared key and salts its use (PreSharedKeyID, RFC 9420
// 8.4).
type PSKID struct {
	Type    PSKType
	ID      []byte   // of an external PSK
	Usage   PSKUsage // of a resumption PSK
	GroupID []byte   // of a resumption PSK
	Epoch   uint64   // of a resumption PSK
	Nonce   []byte   // fresh for every use
}

// NewExternalPSK proposes the external PSK with the given id, with a fresh
// nonce.
func NewExternalPSK(id []byte) *PreSharedKey {
	return &PreSharedKey{ID: PSKID{Type: PSKExternal, ID: bytes.Clone(id), Nonce: randomBytes(hashSize)}}
}

// PSKSource finds the secret of a pre-shared key. It is asked with every
// field of the id as it came from the wire.
type PSKSource interface {
	PSK(id PSKID) (secret []byte, ok bool)
}

func (p *PSKID) encode(w *writer) {
	w.u8(uint8(p.Type))
	if p.Type == PSKExternal {
		w.opaque(p.ID)
	} else {
		w.u8(uint8(p.Usage))
		w.opaque(p.GroupID)
		w.u64(p.Epoch)
	}
	w.opaque(p.Nonce)
}

func (p *PSKID) decode(r *reader) {
	p.Type = PSKType(r.u8())
	switch p.Type {
	case PSKExternal:
		p.ID = r.opaque()
	case PSKResumption:
		p.Usage = PSKUsage(r.u8())
		if p.Usage < PSKApplication || p.Usage > PSKBranch {
			r.fail("resumption PSK usage %d", uint64(p.Usage))
		}
		p.GroupID = r.opaque()
		p.Epoch = r.u64()
	default:
		r.fail("PSK type %d", uint64(p.Type))
	}
	p.Nonce = r.opaque()
}

// pskSecret combines the secrets of a list of pre-shared keys, in order, to
// one (RFC 9420 8.4).
func pskSecret(ids []PSKID, secrets [][]byte) []byte {
	combined := make([]byte, hashSize)
	zero := make([]byte, hashSize)
	for i := range ids {
		var label writer
		ids[i].encode(&label)
		label.u16(uint16(i))
		label.u16(uint16(len(ids)))
		input := expandWithLabel(extract(zero, secrets[i]), "derived psk", label.b, hashSize)
		combined = extract(input, combined)
	}
	return combined
}

// gatherPSKs looks up the secrets of ids and combines them.
func gatherPSKs(source PSKSource, ids []PSKID) ([]byte, error) {
	secrets := make([][]byte, len(ids))
	for i, id := range ids {
		if source == nil {
			return nil, refuse(ErrPSK, "no source")
		}
		secret, ok := source.PSK(id)
		if !ok {
			return nil, refuse(ErrPSK, "type %d", uint64(id.Type))
		}
		secrets[i] = secret
	}
	return pskSecret(ids, secrets), nil
}
