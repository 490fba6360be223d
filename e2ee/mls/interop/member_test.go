package interop

import (
	"crypto/ed25519"
	"testing"
	"time"

	"sotto/e2ee/mls"
)

const (
	suite  = mls.X25519AES128SHA256Ed25519
	policy = mls.ExtensionType(0xF050) // of GroupContext, changed now and then
)

// secrets are the external pre-shared keys that everybody knows.
type secrets map[string][]byte

// PSK implements mls.PSKSource.
func (s secrets) PSK(id mls.PSKID) ([]byte, bool) {
	secret, ok := s[string(id.ID)]
	return secret, ok && id.Type == mls.PSKExternal
}

// plan is what a commit shall do.
type plan struct {
	adds    [][]byte // key packages, as MLSMessage
	removes []uint32
	psk     []byte // id, or nil
	policy  []byte // or nil; the implementation here only
	path    bool   // also where nothing demands it; the implementation here only
	private bool   // as a PrivateMessage
}

// result is a commit on its way. The committer goes on with it at accept, or
// forgets it.
type result struct{ message, welcome []byte }

// received is what a member made of a message.
type received struct {
	data    []byte
	removed bool
}

// member is a participant of either implementation.
type member interface {
	name() string
	invite() (keyPackage []byte)
	create(group, policy []byte)
	join(welcome []byte) error
	commit(p plan) result
	accept()
	process(message []byte) received
	seal(data []byte) []byte
	epoch(label string, context []byte, length int) agreed
}

// ours is a member that runs package mls.
type ours struct {
	t          testing.TB
	title      string
	config     mls.Config
	key        ed25519.PrivateKey
	public     mls.Member
	invitation *mls.Invitation
	group      *mls.Group
	before     *mls.Group // the epoch before, for messages that come late
	next       *mls.Group // after a commit of its own
}

func newOurs(t testing.TB, title string, psks secrets) *ours {
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := uint64(time.Now().Unix())
	return &ours{t: t, title: title, key: key, config: mls.Config{PSKs: psks}, public: mls.Member{
		Suite:        suite,
		SignatureKey: public,
		Credential:   mls.BasicCredential([]byte(title)),
		Capabilities: mls.DefaultCapabilities(suite, policy),
		Lifetime:     mls.Lifetime{NotBefore: now - 3600, NotAfter: now + 86400},
	}}
}

// must unwraps a result of m's implementation.
func must[T any](m *ours, v T, err error) T {
	m.t.Helper()
	if err != nil {
		m.t.Fatalf("%s: %v", m.title, err)
	}
	return v
}

// signed completes an operation with the member's key.
func signed[T any](m *ours, s *mls.Signing[T], err error) *T {
	m.t.Helper()
	out, err := must(m, s, err).Sign(m.key)
	return must(m, out, err)
}

func (m *ours) name() string { return m.title }

func (m *ours) invite() []byte {
	s, err := mls.NewInvitation(m.public)
	m.invitation = signed(m, s, err)
	return m.invitation.KeyPackage.Message()
}

func (m *ours) create(group, content []byte) {
	var extensions []mls.Extension
	if content != nil {
		extensions = append(extensions, mls.Extension{Type: policy, Data: content})
	}
	s, err := mls.NewGroup(m.config, m.public, group, extensions...)
	m.group = signed(m, s, err)
}

func (m *ours) join(welcome []byte) error {
	joined, err := mls.Join(m.config, m.invitation, welcome, nil)
	if err != nil {
		return err
	}
	m.group = joined.Group
	m.invitation.Erase()
	return nil
}

func (m *ours) commit(p plan) result {
	m.t.Helper()
	options := mls.CommitOptions{Pending: true, Path: p.path, Private: p.private}
	for _, encoded := range p.adds {
		kp, err := mls.ParseKeyPackage(encoded, suite)
		options.Proposals = append(options.Proposals, &mls.Add{KeyPackage: must(m, kp, err)})
	}
	for _, l := range p.removes {
		options.Proposals = append(options.Proposals, &mls.Remove{Leaf: mls.LeafIndex(l)})
	}
	if p.psk != nil {
		options.Proposals = append(options.Proposals, mls.NewExternalPSK(p.psk))
	}
	if p.policy != nil {
		options.Proposals = append(options.Proposals, &mls.GroupContextExtensions{
			Extensions: mls.Extensions{{Type: policy, Data: p.policy}},
		})
	}
	s, err := m.group.Commit(options)
	c := signed(m, s, err)
	m.next = c.Group
	return result{c.Message, c.Welcome}
}

func (m *ours) accept() { m.enter(m.next) }

// enter goes on to the next epoch and lets go of the last but one.
func (m *ours) enter(next *mls.Group) {
	if m.before != nil {
		m.before.Erase()
	}
	m.group.Retire()
	m.before, m.group, m.next = m.group, next, nil
}

func (m *ours) process(message []byte) received {
	m.t.Helper()
	r, err := m.group.Process(message)
	if err != nil && m.before != nil {
		if late, again := m.before.Process(message); again == nil {
			r, err = late, nil
		}
	}
	must(m, r, err)
	switch {
	case r.Kind == mls.KindApplication:
		return received{data: r.Data}
	case r.Group == nil:
		return received{removed: true}
	case r.Kind == mls.KindProposal:
		m.group = r.Group
	default:
		m.enter(r.Group)
	}
	return received{}
}

func (m *ours) seal(data []byte) []byte {
	m.t.Helper()
	s, err := m.group.Seal(data, nil, len(data)%7)
	return signed(m, s, err).Message
}

func (m *ours) epoch(label string, context []byte, length int) agreed {
	exported, err := m.group.Export(label, context, length)
	c := m.group.Context()
	return agreed{c.Epoch, c.TreeHash, c.ConfirmedTranscriptHash, m.group.EpochAuthenticator(), must(m, exported, err)}
}

// theirs is a member that runs ts-mls, in the process of the peer.
type theirs struct {
	title string
	peer  *peer
}

func (m *theirs) do(r request) answer {
	m.peer.t.Helper()
	r.Name = m.title
	return m.peer.do(r)
}

func (m *theirs) name() string            { return m.title }
func (m *theirs) invite() []byte          { return m.do(request{Op: "invite"}).Message }
func (m *theirs) accept()                 { m.do(request{Op: "accept"}) }
func (m *theirs) seal(data []byte) []byte { return m.do(request{Op: "seal", Data: data}).Message }
func (m *theirs) create(group, policy []byte) {
	m.do(request{Op: "create", Group: group, Policy: policy})
}

func (m *theirs) join(welcome []byte) error {
	_, err := m.peer.try(request{Op: "join", Name: m.title, Message: welcome})
	return err
}

func (m *theirs) commit(p plan) result {
	m.peer.t.Helper()
	a := m.do(request{Op: "commit", Adds: p.adds, Removes: p.removes, PSK: p.psk, Private: p.private})
	return result{a.Message, a.Welcome}
}

// propose sends one proposal ahead of a commit.
func (m *theirs) propose(p plan) []byte {
	m.peer.t.Helper()
	return m.do(request{Op: "propose", Adds: p.adds, Removes: p.removes, PSK: p.psk, Private: p.private}).Message
}

func (m *theirs) process(message []byte) received {
	m.peer.t.Helper()
	a := m.do(request{Op: "process", Message: message})
	return received{a.Data, a.Removed}
}

func (m *theirs) epoch(label string, context []byte, length int) agreed {
	return m.do(request{Op: "epoch", Label: label, Context: context, Length: length}).agreed
}
