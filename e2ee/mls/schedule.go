package mls

// GroupContext is what all members agree on about an epoch (RFC 9420 8.1).
type GroupContext struct {
	Version                 ProtocolVersion
	Suite                   CipherSuite
	GroupID                 []byte
	Epoch                   uint64
	TreeHash                []byte
	ConfirmedTranscriptHash []byte
	Extensions              Extensions
}

func (c *GroupContext) encode(w *writer) {
	w.u16(uint16(c.Version))
	w.u16(uint16(c.Suite))
	w.opaque(c.GroupID)
	w.u64(c.Epoch)
	w.opaque(c.TreeHash)
	w.opaque(c.ConfirmedTranscriptHash)
	c.Extensions.encode(w)
}

func (c *GroupContext) decode(r *reader) {
	c.Version = ProtocolVersion(r.u16())
	c.Suite = CipherSuite(r.u16())
	c.GroupID = r.opaque()
	c.Epoch = r.u64()
	c.TreeHash = r.opaque()
	c.ConfirmedTranscriptHash = r.opaque()
	c.Extensions = readExtensions(r)
}

// epochSecrets are the secrets of an epoch (RFC 9420 8, table 4).
type epochSecrets struct {
	senderData    []byte
	encryption    []byte
	exporter      []byte
	external      []byte
	confirmation  []byte
	membership    []byte
	resumption    []byte
	authenticator []byte
	init          []byte
	retired       bool // all but senderData are overwritten
}

// joinerSecret is the first stage of the key schedule; context is the encoded
// GroupContext of the new epoch.
func joinerSecret(initSecret, commitSecret, context []byte) []byte {
	secret := extract(initSecret, commitSecret)
	defer clear(secret)
	return expandWithLabel(secret, "joiner", context, hashSize)
}

// memberSecret is the second stage: it mixes in the pre-shared keys.
func memberSecret(joiner, psk []byte) []byte { return extract(joiner, psk) }

// welcomeSecret protects the GroupInfo in a Welcome.
func welcomeSecret(member []byte) []byte { return deriveSecret(member, "welcome") }

// deriveEpoch is the last stage of the key schedule.
func deriveEpoch(member, context []byte) *epochSecrets {
	epoch := expandWithLabel(member, "epoch", context, hashSize)
	defer clear(epoch)
	return expandEpoch(epoch)
}

func expandEpoch(epoch []byte) *epochSecrets {
	return &epochSecrets{
		senderData:    deriveSecret(epoch, "sender data"),
		encryption:    deriveSecret(epoch, "encryption"),
		exporter:      deriveSecret(epoch, "exporter"),
		external:      deriveSecret(epoch, "external"),
		confirmation:  deriveSecret(epoch, "confirm"),
		membership:    deriveSecret(epoch, "membership"),
		resumption:    deriveSecret(epoch, "resumption"),
		authenticator: deriveSecret(epoch, "authentication"),
		init:          deriveSecret(epoch, "init"),
	}
}

// externalKey is the key pair to which external joiners would encrypt
// (RFC 9420 8.3). This package does not let them.
func (e *epochSecrets) externalKey(suite CipherSuite) (*privateKey, error) {
	return suite.deriveKey(e.external)
}

// export is MLS-Exporter (RFC 9420 8.5).
func export(exporterSecret []byte, label string, context []byte, length int) ([]byte, error) {
	if length < 0 || length > maxExpand {
		return nil, refuse(ErrLimit, "exported secret of %d bytes", uint64(length))
	}
	secret := deriveSecret(exporterSecret, label)
	defer clear(secret)
	return expandWithLabel(secret, "exported", hash(context), length), nil
}

// retire overwrites all secrets but the one that late messages need.
func (e *epochSecrets) retire() {
	e.retired = true
	for _, secret := range [][]byte{e.encryption, e.exporter, e.external, e.confirmation, e.membership, e.resumption, e.authenticator, e.init} {
		clear(secret)
	}
}

// erase overwrites all secrets.
func (e *epochSecrets) erase() {
	e.retire()
	clear(e.senderData)
}

// welcomeKey derives the key and nonce of the GroupInfo in a Welcome
// (RFC 9420 12.4.3.1).
func welcomeKey(welcome []byte) (key, nonce []byte) {
	return expandWithLabel(welcome, "key", nil, keySize), expandWithLabel(welcome, "nonce", nil, nonceSize)
}

// confirmedHash continues the transcript with a commit (RFC 9420 8.2).
func confirmedHash(interim []byte, c *authenticatedContent) []byte {
	var w writer
	w.raw(interim)
	w.u16(uint16(c.wireFormat))
	c.content.encode(&w)
	w.opaque(c.signature)
	return hash(w.b)
}

// interimHash continues the transcript with the confirmation tag (RFC 9420
// 8.2).
func interimHash(confirmed, confirmationTag []byte) []byte {
	var w writer
	w.raw(confirmed)
	w.opaque(confirmationTag)
	return hash(w.b)
}
