package mls

// wireFormat says what an MLSMessage carries (RFC 9420 6).
type wireFormat uint16

const (
	wirePublic     wireFormat = 1
	wirePrivate    wireFormat = 2
	wireWelcome    wireFormat = 3
	wireGroupInfo  wireFormat = 4
	wireKeyPackage wireFormat = 5
)

// message is MLSMessage (RFC 9420 6): the field of its wire format is set.
type message struct {
	wireFormat wireFormat
	public     *publicMessage
	private    *privateMessage
	welcome    *welcome
	groupInfo  *groupInfo
	keyPackage *KeyPackage
}

func (m *message) encode(w *writer) {
	w.u16(uint16(Version10))
	w.u16(uint16(m.wireFormat))
	switch m.wireFormat {
	case wirePublic:
		m.public.encode(w)
	case wirePrivate:
		m.private.encode(w)
	case wireWelcome:
		m.welcome.encode(w)
	case wireGroupInfo:
		m.groupInfo.encode(w)
	case wireKeyPackage:
		m.keyPackage.encode(w)
	}
}

func (m *message) decode(r *reader) {
	if v := r.u16(); r.err == nil && v != uint16(Version10) {
		r.err = refuse(ErrUnsupported, "protocol version %d", uint64(v))
		return
	}
	m.wireFormat = wireFormat(r.u16())
	switch m.wireFormat {
	case wirePublic:
		m.public = new(publicMessage)
		m.public.decode(r)
	case wirePrivate:
		m.private = new(privateMessage)
		m.private.decode(r)
	case wireWelcome:
		m.welcome = new(welcome)
		m.welcome.decode(r)
	case wireGroupInfo:
		m.groupInfo = new(groupInfo)
		m.groupInfo.decode(r)
	case wireKeyPackage:
		m.keyPackage = new(KeyPackage)
		m.keyPackage.decode(r)
	default:
		r.fail("wire format %d", uint64(m.wireFormat))
	}
}

// contentType says what a FramedContent carries.
type contentType uint8

const (
	contentApplication contentType = 1
	contentProposal    contentType = 2
	contentCommit      contentType = 3
)

// senderType says who sent a FramedContent.
type senderType uint8

const (
	senderMember      senderType = 1
	senderExternal    senderType = 2
	senderNewProposal senderType = 3
	senderNewCommit   senderType = 4
)

// sender is Sender (RFC 9420 6). index is a leaf for members, and a place in
// the external_senders extension for external senders.
type sender struct {
	kind  senderType
	index uint32
}

func (s *sender) encode(w *writer) {
	w.u8(uint8(s.kind))
	if s.kind == senderMember || s.kind == senderExternal {
		w.u32(s.index)
	}
}

func (s *sender) decode(r *reader) {
	s.kind = senderType(r.u8())
	switch s.kind {
	case senderMember, senderExternal:
		s.index = r.u32()
	case senderNewProposal, senderNewCommit:
	default:
		r.fail("sender type %d", uint64(s.kind))
	}
}

// framedContent is FramedContent (RFC 9420 6): the field of its content type
// is set.
type framedContent struct {
	groupID     []byte
	epoch       uint64
	sender      sender
	aad         []byte // authenticated_data
	contentType contentType
	application []byte
	proposal    Proposal
	commit      *commitBody
}

func (c *framedContent) encode(w *writer) {
	w.opaque(c.groupID)
	w.u64(c.epoch)
	c.sender.encode(w)
	w.opaque(c.aad)
	w.u8(uint8(c.contentType))
	c.encodeBody(w)
}

func (c *framedContent) decode(r *reader) {
	c.groupID = r.opaque()
	c.epoch = r.u64()
	c.sender.decode(r)
	c.aad = r.opaque()
	c.contentType = contentType(r.u8())
	c.decodeBody(r)
}

func (c *framedContent) encodeBody(w *writer) {
	switch c.contentType {
	case contentApplication:
		w.opaque(c.application)
	case contentProposal:
		writeProposal(w, c.proposal)
	case contentCommit:
		c.commit.encode(w)
	}
}

func (c *framedContent) decodeBody(r *reader) {
	switch c.contentType {
	case contentApplication:
		c.application = r.opaque()
	case contentProposal:
		c.proposal = readProposal(r)
	case contentCommit:
		c.commit = new(commitBody)
		c.commit.decode(r)
	default:
		r.fail("content type %d", uint64(c.contentType))
	}
}

// authenticatedContent is AuthenticatedContent (RFC 9420 6.1).
type authenticatedContent struct {
	wireFormat      wireFormat
	content         framedContent
	signature       []byte
	confirmationTag []byte // of commits
}

func (a *authenticatedContent) encode(w *writer) {
	w.u16(uint16(a.wireFormat))
	a.content.encode(w)
	a.encodeAuth(w)
}

func (a *authenticatedContent) decode(r *reader) {
	a.wireFormat = wireFormat(r.u16())
	a.content.decode(r)
	a.decodeAuth(r)
}

func (a *authenticatedContent) encodeAuth(w *writer) {
	w.opaque(a.signature)
	if a.content.contentType == contentCommit {
		w.opaque(a.confirmationTag)
	}
}

func (a *authenticatedContent) decodeAuth(r *reader) {
	a.signature = r.opaque()
	if a.content.contentType == contentCommit {
		a.confirmationTag = r.opaque()
	}
}

// toBeSigned is FramedContentTBS (RFC 9420 6.1); context is the encoded
// GroupContext of the epoch in which the message is sent.
func (a *authenticatedContent) toBeSigned(context []byte) []byte {
	var w writer
	w.u16(uint16(Version10))
	w.u16(uint16(a.wireFormat))
	a.content.encode(&w)
	if k := a.content.sender.kind; k == senderMember || k == senderNewCommit {
		w.raw(context)
	}
	return w.b
}

const labelContent = "FramedContentTBS"

// verify checks the signature with the sender's key.
func (a *authenticatedContent) verify(suite CipherSuite, public, context []byte) error {
	if !suite.verifyWithLabel(public, labelContent, a.toBeSigned(context), a.signature) {
		return refuse(ErrSignature, "message")
	}
	return nil
}

// proposalRef is ProposalRef (RFC 9420 5.2).
func (a *authenticatedContent) proposalRef() []byte {
	return refHash("MLS 1.0 Proposal Reference", marshal(a))
}

// publicMessage is PublicMessage (RFC 9420 6.2).
type publicMessage struct {
	authenticatedContent
	membershipTag []byte // of members
}

func (m *publicMessage) encode(w *writer) {
	m.content.encode(w)
	m.encodeAuth(w)
	if m.content.sender.kind == senderMember {
		w.opaque(m.membershipTag)
	}
}

func (m *publicMessage) decode(r *reader) {
	m.wireFormat = wirePublic
	m.content.decode(r)
	m.decodeAuth(r)
	if m.content.sender.kind == senderMember {
		m.membershipTag = r.opaque()
	}
}

// membershipMAC computes the membership tag, over AuthenticatedContentTBM.
func (a *authenticatedContent) membershipMAC(key, context []byte) []byte {
	w := writer{b: a.toBeSigned(context)}
	a.encodeAuth(&w)
	return mac(key, w.b)
}

// protectPublic frames signed content as a PublicMessage.
func protectPublic(a *authenticatedContent, membershipKey, context []byte) *publicMessage {
	return &publicMessage{
		authenticatedContent: *a,
		membershipTag:        a.membershipMAC(membershipKey, context),
	}
}

// checkMembership verifies the membership tag of a member's message.
func (m *publicMessage) checkMembership(key, context []byte) error {
	if !macEqual(m.membershipTag, m.membershipMAC(key, context)) {
		return refuse(ErrTag, "membership")
	}
	return nil
}
