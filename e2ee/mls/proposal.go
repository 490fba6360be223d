package mls

// ProposalType is a registered proposal type (RFC 9420 17.4).
type ProposalType uint16

// The proposal types of RFC 9420, which every member supports.
const (
	ProposalAdd                    ProposalType = 1
	ProposalUpdate                 ProposalType = 2
	ProposalRemove                 ProposalType = 3
	ProposalPSK                    ProposalType = 4
	ProposalReInit                 ProposalType = 5
	ProposalExternalInit           ProposalType = 6
	ProposalGroupContextExtensions ProposalType = 7
)

func (t ProposalType) isDefault() bool { return t >= 1 && t <= 7 }

// needsPath reports whether a commit with such a proposal must carry an update
// path (RFC 9420 17.4).
func (t ProposalType) needsPath() bool {
	return t != ProposalAdd && t != ProposalPSK && t != ProposalReInit
}

// Proposal is a change to the group: *Add, *Update, *Remove, *PreSharedKey,
// *ReInit, *ExternalInit or *GroupContextExtensions (RFC 9420 12.1).
type Proposal interface {
	Type() ProposalType
	codable
}

// Add proposes a new member.
type Add struct{ KeyPackage *KeyPackage }

// Update proposes a new leaf for its sender.
type Update struct{ Leaf *LeafNode }

// Remove proposes to remove a member.
type Remove struct{ Leaf LeafIndex }

// PreSharedKey proposes to mix a pre-shared key into the key schedule.
type PreSharedKey struct{ ID PSKID }

// ReInit proposes to continue in a new group. It is decoded but not
// supported: a commit with it is refused.
type ReInit struct {
	GroupID    []byte
	Version    ProtocolVersion
	Suite      CipherSuite
	Extensions Extensions
}

// ExternalInit belongs to external commits. It is decoded but not supported: a
// commit with it is refused, so that nobody joins but by a member's hand.
type ExternalInit struct{ KEMOutput []byte }

// GroupContextExtensions proposes to replace all extensions of the group.
type GroupContextExtensions struct{ Extensions Extensions }

// Type implements Proposal.
func (*Add) Type() ProposalType { return ProposalAdd }

// Type implements Proposal.
func (*Update) Type() ProposalType { return ProposalUpdate }

// Type implements Proposal.
func (*Remove) Type() ProposalType { return ProposalRemove }

// Type implements Proposal.
func (*PreSharedKey) Type() ProposalType { return ProposalPSK }

// Type implements Proposal.
func (*ReInit) Type() ProposalType { return ProposalReInit }

// Type implements Proposal.
func (*ExternalInit) Type() ProposalType { return ProposalExternalInit }

// Type implements Proposal.
func (*GroupContextExtensions) Type() ProposalType { return ProposalGroupContextExtensions }

func (p *Add) encode(w *writer) { p.KeyPackage.encode(w) }
func (p *Add) decode(r *reader) {
	p.KeyPackage = new(KeyPackage)
	p.KeyPackage.decode(r)
}

func (p *Update) encode(w *writer) { p.Leaf.encode(w) }
func (p *Update) decode(r *reader) {
	p.Leaf = new(LeafNode)
	p.Leaf.decode(r)
}

func (p *Remove) encode(w *writer) { w.u32(uint32(p.Leaf)) }
func (p *Remove) decode(r *reader) { p.Leaf = LeafIndex(r.u32()) }

func (p *PreSharedKey) encode(w *writer) { p.ID.encode(w) }
func (p *PreSharedKey) decode(r *reader) { p.ID.decode(r) }

func (p *ReInit) encode(w *writer) {
	w.opaque(p.GroupID)
	w.u16(uint16(p.Version))
	w.u16(uint16(p.Suite))
	p.Extensions.encode(w)
}

func (p *ReInit) decode(r *reader) {
	p.GroupID = r.opaque()
	p.Version = ProtocolVersion(r.u16())
	p.Suite = CipherSuite(r.u16())
	p.Extensions = readExtensions(r)
}

func (p *ExternalInit) encode(w *writer) { w.opaque(p.KEMOutput) }
func (p *ExternalInit) decode(r *reader) { p.KEMOutput = r.opaque() }

func (p *GroupContextExtensions) encode(w *writer) { p.Extensions.encode(w) }
func (p *GroupContextExtensions) decode(r *reader) { p.Extensions = readExtensions(r) }

func writeProposal(w *writer, p Proposal) {
	w.u16(uint16(p.Type()))
	p.encode(w)
}

// readProposal refuses types that it does not know, because their length is
// not known either.
func readProposal(r *reader) Proposal {
	var p Proposal
	switch t := ProposalType(r.u16()); t {
	case ProposalAdd:
		p = new(Add)
	case ProposalUpdate:
		p = new(Update)
	case ProposalRemove:
		p = new(Remove)
	case ProposalPSK:
		p = new(PreSharedKey)
	case ProposalReInit:
		p = new(ReInit)
	case ProposalExternalInit:
		p = new(ExternalInit)
	case ProposalGroupContextExtensions:
		p = new(GroupContextExtensions)
	default:
		r.fail("proposal type %d", uint64(t))
		return nil
	}
	p.decode(r)
	return p
}

// proposalOrRef is ProposalOrRef (RFC 9420 12.4): one of the two is set.
type proposalOrRef struct {
	proposal Proposal
	ref      []byte
}

func (p *proposalOrRef) encode(w *writer) {
	if p.proposal != nil {
		w.u8(1)
		writeProposal(w, p.proposal)
		return
	}
	w.u8(2)
	w.opaque(p.ref)
}

func (p *proposalOrRef) decode(r *reader) {
	switch kind := r.u8(); kind {
	case 1:
		p.proposal = readProposal(r)
	case 2:
		p.ref = r.opaque()
	default:
		r.fail("proposal or reference of type %d", uint64(kind))
	}
}

// maxProposals bounds the proposals of a commit: everybody leaves and others
// come.
const maxProposals = 2 * MaxLeaves

// commitBody is Commit (RFC 9420 12.4).
type commitBody struct {
	proposals []proposalOrRef
	path      *updatePath // optional
}

func (c *commitBody) encode(w *writer) {
	w.vector(func(w *writer) {
		for i := range c.proposals {
			c.proposals[i].encode(w)
		}
	})
	w.optional(c.path != nil)
	if c.path != nil {
		c.path.encode(w)
	}
}

func (c *commitBody) decode(r *reader) {
	r.vector(maxProposals, func(r *reader) {
		var p proposalOrRef
		p.decode(r)
		c.proposals = append(c.proposals, p)
	})
	if r.optional() {
		c.path = new(updatePath)
		c.path.decode(r)
	}
}
