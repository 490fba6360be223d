package mls

// groupInfo is GroupInfo (RFC 9420 12.4.3).
type groupInfo struct {
	context         GroupContext
	extensions      Extensions
	confirmationTag []byte
	signer          LeafIndex
	signature       []byte
}

const labelGroupInfo = "GroupInfoTBS"

func (g *groupInfo) encodeUnsigned(w *writer) {
	g.context.encode(w)
	g.extensions.encode(w)
	w.opaque(g.confirmationTag)
	w.u32(uint32(g.signer))
}

func (g *groupInfo) encode(w *writer) {
	g.encodeUnsigned(w)
	w.opaque(g.signature)
}

func (g *groupInfo) decode(r *reader) {
	g.context.decode(r)
	g.extensions = readExtensions(r)
	g.confirmationTag = r.opaque()
	g.signer = LeafIndex(r.u32())
	g.signature = r.opaque()
}

func (g *groupInfo) toBeSigned() []byte {
	var w writer
	g.encodeUnsigned(&w)
	return w.b
}

// verify checks the signature with the key of the signer's leaf.
func (g *groupInfo) verify(suite CipherSuite, public []byte) error {
	if !suite.verifyWithLabel(public, labelGroupInfo, g.toBeSigned(), g.signature) {
		return refuse(ErrSignature, "group info")
	}
	return nil
}

// groupSecrets is GroupSecrets (RFC 9420 12.4.3.1): what a new member is told
// in private.
type groupSecrets struct {
	joiner     []byte
	hasPath    bool
	pathSecret []byte
	psks       []PSKID
}

func (s *groupSecrets) encode(w *writer) {
	w.opaque(s.joiner)
	w.optional(s.hasPath)
	if s.hasPath {
		w.opaque(s.pathSecret)
	}
	w.vector(func(w *writer) {
		for i := range s.psks {
			s.psks[i].encode(w)
		}
	})
}

func (s *groupSecrets) decode(r *reader) {
	s.joiner = r.opaque()
	if s.hasPath = r.optional(); s.hasPath {
		s.pathSecret = r.opaque()
	}
	r.vector(maxProposals, func(r *reader) {
		var id PSKID
		id.decode(r)
		s.psks = append(s.psks, id)
	})
}

// erase overwrites the secrets.
func (s *groupSecrets) erase() {
	clear(s.joiner)
	clear(s.pathSecret)
}

// welcome is Welcome (RFC 9420 12.4.3.1).
type welcome struct {
	suite     CipherSuite
	secrets   []welcomeSecrets
	groupInfo []byte // encrypted
}

// welcomeSecrets is EncryptedGroupSecrets.
type welcomeSecrets struct {
	newMember []byte // KeyPackageRef
	secrets   hpkeCiphertext
}

func (m *welcome) encode(w *writer) {
	w.u16(uint16(m.suite))
	w.vector(func(w *writer) {
		for i := range m.secrets {
			w.opaque(m.secrets[i].newMember)
			m.secrets[i].secrets.encode(w)
		}
	})
	w.opaque(m.groupInfo)
}

func (m *welcome) decode(r *reader) {
	m.suite = CipherSuite(r.u16())
	r.vector(MaxLeaves, func(r *reader) {
		s := welcomeSecrets{newMember: r.opaque()}
		s.secrets.decode(r)
		m.secrets = append(m.secrets, s)
	})
	m.groupInfo = r.opaque()
}
