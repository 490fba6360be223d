package mls

import "encoding/binary"

// privateMessage is PrivateMessage (RFC 9420 6.3).
type privateMessage struct {
	groupID     []byte
	epoch       uint64
	contentType contentType
	aad         []byte // authenticated_data
	senderData  []byte // encrypted
	ciphertext  []byte
}

func (m *privateMessage) encode(w *writer) {
	w.opaque(m.groupID)
	w.u64(m.epoch)
	w.u8(uint8(m.contentType))
	w.opaque(m.aad)
	w.opaque(m.senderData)
	w.opaque(m.ciphertext)
}

func (m *privateMessage) decode(r *reader) {
	m.groupID = r.opaque()
	m.epoch = r.u64()
	m.contentType = contentType(r.u8())
	if r.err == nil && (m.contentType < contentApplication || m.contentType > contentCommit) {
		r.fail("content type %d", uint64(m.contentType))
	}
	m.aad = r.opaque()
	m.senderData = r.opaque()
	m.ciphertext = r.opaque()
}

// contentAAD is PrivateContentAAD (RFC 9420 6.3.1).
func (m *privateMessage) contentAAD() []byte {
	w := writer{b: m.senderAAD()}
	w.opaque(m.aad)
	return w.b
}

// senderAAD is SenderDataAAD (RFC 9420 6.3.2).
func (m *privateMessage) senderAAD() []byte {
	var w writer
	w.opaque(m.groupID)
	w.u64(m.epoch)
	w.u8(uint8(m.contentType))
	return w.b
}

// senderData is SenderData (RFC 9420 6.3.2).
type senderData struct {
	leaf       LeafIndex
	generation uint32
	guard      [4]byte
}

func (d *senderData) encode(w *writer) {
	w.u32(uint32(d.leaf))
	w.u32(d.generation)
	w.raw(d.guard[:])
}

func (d *senderData) decode(r *reader) {
	d.leaf = LeafIndex(r.u32())
	d.generation = r.u32()
	copy(d.guard[:], r.take(4))
}

// senderKey derives the key and nonce of the sender data from a sample of the
// content's ciphertext (RFC 9420 6.3.2).
func senderKey(secret, ciphertext []byte) (key, nonce []byte) {
	sample := ciphertext[:min(len(ciphertext), hashSize)]
	return expandWithLabel(secret, "key", sample, keySize), expandWithLabel(secret, "nonce", sample, nonceSize)
}

// guarded is the message nonce with the reuse guard in its first four bytes
// (RFC 9420 6.3.1).
func (d *senderData) guarded(nonce []byte) []byte {
	out := append([]byte(nil), nonce...)
	binary.BigEndian.PutUint32(out, binary.BigEndian.Uint32(nonce)^binary.BigEndian.Uint32(d.guard[:]))
	return out
}

// ratchetOf says which ratchet protects a content type.
func ratchetOf(t contentType) ratchetKind {
	if t == contentApplication {
		return ratchetApplication
	}
	return ratchetHandshake
}

// protectPrivate encrypts signed content as a PrivateMessage with the next key
// of the sender's ratchet, with padding zero bytes at its end.
func protectPrivate(a *authenticatedContent, secrets *secretTree, senderSecret []byte, padding int) (*privateMessage, error) {
	m := &privateMessage{
		groupID:     a.content.groupID,
		epoch:       a.content.epoch,
		contentType: a.content.contentType,
		aad:         a.content.aad,
	}
	data := senderData{leaf: LeafIndex(a.content.sender.index)}
	copy(data.guard[:], randomBytes(len(data.guard)))
	generation, key, err := secrets.next(data.leaf, ratchetOf(m.contentType))
	if err != nil {
		return nil, err
	}
	defer key.erase()
	data.generation = generation

	var plain writer
	a.content.encodeBody(&plain)
	a.encodeAuth(&plain)
	plain.raw(make([]byte, padding))
	m.ciphertext = seal(key.key, data.guarded(key.nonce), m.contentAAD(), plain.b)

	dataKey, dataNonce := senderKey(senderSecret, m.ciphertext)
	m.senderData = seal(dataKey, dataNonce, m.senderAAD(), marshal(&data))
	return m, nil
}

// openPrivate decrypts a PrivateMessage. The message key is not used up until
// consume is called on the returned use: a caller does so once it accepts the
// message, and calls release on one that it does not accept, which leaves no
// trace then. The signature is for the caller to check.
func openPrivate(m *privateMessage, secrets *secretTree, senderSecret []byte, own LeafIndex) (_ *authenticatedContent, _ *keyUse, err error) {
	dataKey, dataNonce := senderKey(senderSecret, m.ciphertext)
	encoded, err := open(dataKey, dataNonce, m.senderAAD(), m.senderData)
	if err != nil {
		return nil, nil, err
	}
	var data senderData
	if err := unmarshal(encoded, &data); err != nil {
		return nil, nil, err
	}
	if data.leaf == own {
		return nil, nil, refuse(ErrOwnMessage, "leaf %d", uint64(own))
	}
	use, err := secrets.find(data.leaf, ratchetOf(m.contentType), data.generation)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			use.release()
		}
	}()
	plain, err := open(use.key.key, data.guarded(use.key.nonce), m.contentAAD(), m.ciphertext)
	if err != nil {
		return nil, nil, err
	}
	a := &authenticatedContent{
		wireFormat: wirePrivate,
		content: framedContent{
			groupID:     m.groupID,
			epoch:       m.epoch,
			sender:      sender{kind: senderMember, index: uint32(data.leaf)},
			aad:         m.aad,
			contentType: m.contentType,
		},
	}
	r := reader{b: plain}
	a.content.decodeBody(&r)
	a.decodeAuth(&r)
	for _, b := range r.b {
		if b != 0 {
			r.fail("padding is not zero")
			break
		}
	}
	if r.err != nil {
		return nil, nil, r.err
	}
	return a, use, nil
}
