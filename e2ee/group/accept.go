package group

import (
	"bytes"
	"errors"
	"slices"

	"sotto/e2ee/link"
	"sotto/e2ee/mls"
)

const (
	// maxMembers: a leaf index is one byte of an SFrame key id.
	maxMembers = 256
	// maxAdds is how many members one commit may add: its Welcome stays below
	// the limit of an envelope.
	maxAdds = 64
	// maxLifetime is the longest lifetime of a key package in seconds.
	maxLifetime = 7 * 24 * 3600
)

// Reasons to refuse a commit that RFC 9420 accepts.
var (
	errByReference = errors.New("group: proposals by reference")
	errProposal    = errors.New("group: proposal type not in use")
	errPSK         = errors.New("group: an Add needs the link's PSK, once, and nothing else does")
	errTooMany     = errors.New("group: too many members")
	errSame        = errors.New("group: the connection is a member already")
	errAbsent      = errors.New("group: the connection to be added is not in the room")
	errOlder       = errors.New("group: a key package of before")
	errHostOnly    = errors.New("group: change reserved for the host")
	errLocked      = errors.New("group: the room is locked")
	errRemove      = errors.New("group: no ground for a removal")
	errCommitter   = errors.New("group: commit sent by another connection")
	errLeafChange  = errors.New("group: an update keeps credential and key")
	errLifetime    = errors.New("group: lifetime of the key package")
	errLink        = errors.New("group: change of link generation")
)

// leafRules is the authentication service of RFC 9420 5.3.1: it decides on each
// leaf alone. It has no state, so that all members decide alike.
type leafRules struct{}

// ValidateLeaf implements [mls.Validator].
func (leafRules) ValidateLeaf(groupID []byte, index mls.LeafIndex, leaf, old *mls.LeafNode) error {
	if index >= maxMembers {
		return errTooMany
	}
	if leaf.Credential.Type != mls.CredentialBasic || len(leaf.SignatureKey) != 32 || !onlyGrease(leaf.Extensions) {
		return errCredential
	}
	c, err := ParseCredential(leaf.Credential.Identity)
	if err != nil {
		return err
	}
	if c.Role == RoleHost && !isHost(groupID, leaf.SignatureKey) {
		return errHostOnly
	}
	if old != nil && (!old.Credential.Equal(leaf.Credential) || !bytes.Equal(old.SignatureKey, leaf.SignatureKey)) {
		return errLeafChange
	}
	if leaf.Source == mls.LeafKeyPackage && leaf.Lifetime.NotAfter-leaf.Lifetime.NotBefore > maxLifetime {
		return errLifetime // NotBefore is not after NotAfter: RFC 9420 7.3
	}
	return nil
}

// onlyGrease reports whether extensions are few, small and of the values that
// mean nothing, which everybody has to put up with (RFC 9420 13.5).
func onlyGrease(extensions mls.Extensions) bool {
	for _, x := range extensions {
		if x.Type&0x0f0f != 0x0a0a || x.Type>>8 != x.Type&0xff || len(x.Data) > 64 {
			return false
		}
	}
	return len(extensions) <= 4
}

// proposed is a commit as the acceptance rules see it.
type proposed struct {
	committer mls.LeafIndex
	conn      link.ConnID // the envelope came from
	byRef     bool
	changes   []mls.Change
}

// presence says whether a connection is in the room at a place of the service's
// order.
type presence uint8

const (
	absent presence = iota
	present
	// uncertain counts for whoever made the commit: it may have been in the room,
	// or not.
	uncertain
)

// acceptable reports why a commit that follows RFC 9420 is refused all the
// same. It is a pure function of the group before the commit and of who is in
// the room at that point of the service's order, so that honest members agree.
func acceptable(before *mls.Group, there func(link.ConnID) presence, p proposed) error {
	if p.byRef {
		return errByReference
	}
	rules, err := policyOf(before.Extensions())
	if err != nil {
		return err
	}
	by := before.Leaf(p.committer)
	if c, err := leafCredential(by); err != nil || c.Conn != p.conn {
		return errCommitter
	}
	s := sortChanges(p.changes)
	if s.other {
		return errProposal
	}
	host := isHost(before.ID(), by.SignatureKey)
	if err := s.checkAdds(before, there, rules, host); err != nil {
		return err
	}
	for _, l := range s.removes {
		leaf := before.Leaf(l)
		c, err := leafCredential(leaf)
		if err != nil {
			return err
		}
		if !host && there(c.Conn) == present && !s.adds(leaf.SignatureKey) {
			return errRemove
		}
	}
	return s.checkContext(rules, host)
}

// sorted are the proposals of a commit by type.
type sorted struct {
	added    []*mls.KeyPackage
	removes  []mls.LeafIndex
	psks     []mls.PSKID
	contexts []mls.Extensions
	other    bool
}

func sortChanges(changes []mls.Change) (s sorted) {
	for _, c := range changes {
		switch p := c.Proposal.(type) {
		case *mls.Add:
			s.added = append(s.added, p.KeyPackage)
		case *mls.Remove:
			s.removes = append(s.removes, p.Leaf)
		case *mls.PreSharedKey:
			s.psks = append(s.psks, p.ID)
		case *mls.GroupContextExtensions:
			s.contexts = append(s.contexts, p.Extensions)
		default:
			s.other = true
		}
	}
	return s
}

func (s *sorted) adds(key []byte) bool {
	return slices.ContainsFunc(s.added, func(kp *mls.KeyPackage) bool { return bytes.Equal(kp.Leaf.SignatureKey, key) })
}

// checkAdds: whoever enters holds the link, is in the room, is in the tree once,
// and is let in by the right person. Keys are unique by RFC 9420 7.3. A key
// package of a connection that is over, or one older than that by which the
// connection is in the tree, would throw its owner out, who cannot use it.
func (s *sorted) checkAdds(before *mls.Group, there func(link.ConnID) presence, rules policy, host bool) error {
	if len(s.added) == 0 {
		if len(s.psks) != 0 {
			return errPSK
		}
		return nil
	}
	if len(s.psks) != 1 || s.psks[0].Type != mls.PSKExternal || !isLinkPSK(s.psks[0].ID, rules.gen) {
		return errPSK
	}
	if len(s.added) > maxAdds || before.Tree().Members()-len(s.removes)+len(s.added) > maxMembers {
		return errTooMany
	}
	conns := make(map[link.ConnID]bool)
	keys := make(map[[32]byte]bool)         // of those who are replaced
	serials := make(map[link.ConnID]uint32) // of their key packages
	for l, leaf := range before.Tree().Leaves() {
		c, err := leafCredential(leaf)
		if err != nil {
			return err
		}
		if slices.Contains(s.removes, l) {
			keys[[32]byte(leaf.SignatureKey)] = true
			serials[c.Conn] = c.Serial
		} else {
			conns[c.Conn] = true
		}
	}
	for _, kp := range s.added {
		c, err := leafCredential(kp.Leaf)
		if err != nil {
			return err
		}
		if conns[c.Conn] {
			return errSame
		}
		conns[c.Conn] = true
		if there(c.Conn) == absent {
			return errAbsent
		}
		if serial, again := serials[c.Conn]; again && c.Serial <= serial {
			return errOlder
		}
		if rules.Locked && !host && !keys[[32]byte(kp.Leaf.SignatureKey)] {
			return errLocked
		}
		if !onlyGrease(kp.Extensions) {
			return errCredential
		}
	}
	return nil
}

// checkContext: the host alone changes the policy, and the generation of the
// link goes up by one in a commit that adds nobody, since whoever is added
// there would know the new link before having been let in with it.
func (s *sorted) checkContext(rules policy, host bool) error {
	if len(s.contexts) == 0 {
		return nil
	}
	if !host {
		return errHostOnly
	}
	next, err := policyOf(s.contexts[0]) // there is at most one: RFC 9420 12.2
	if err != nil {
		return err
	}
	if next.gen != rules.gen && (next.gen != rules.gen+1 || next.gen == 0 || len(s.added) != 0) {
		return errLink
	}
	return nil
}

// isLinkPSK compares an id with what [link.Keys.PSKID] makes, but for the room:
// that the PSK is known to this member proves the room.
func isLinkPSK(id []byte, gen uint16) bool {
	const prefix = "sotto-link/1"
	return len(id) == len(prefix)+16+2 && string(id[:len(prefix)]) == prefix &&
		id[len(id)-2] == byte(gen>>8) && id[len(id)-1] == byte(gen)
}

// leafCredential reads the credential of a leaf.
func leafCredential(leaf *mls.LeafNode) (Credential, error) {
	if leaf == nil || leaf.Credential.Type != mls.CredentialBasic || len(leaf.SignatureKey) != 32 {
		return Credential{}, errCredential
	}
	return ParseCredential(leaf.Credential.Identity)
}
