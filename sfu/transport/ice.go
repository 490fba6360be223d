package transport

import (
	"bytes"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
)

// maxUsername is the longest USERNAME: two ufrags and a colon.
const maxUsername = 2*maxIceCharacter + 1

// receiveSTUN answers connectivity checks (RFC 8445 7.3, as the lite side) and
// nothing else: whoever does not know a session's password gets no reply, so
// there is nothing to amplify and no user name to probe for.
func (e *Endpoint) receiveSTUN(now time.Time, d Datagram) {
	m := &e.request
	if reason, ok := decodeRequest(m, d.Data); !ok {
		e.drop(reason)
		return
	}
	s, ok := e.authenticate(m)
	if !ok {
		return
	}
	switch {
	case m.Contains(stun.AttrICEControlled):
		// We are lite and stay controlled, whatever the tie-breaker: the peer
		// has to take the other role (RFC 8445 6.1.1 and 7.3.1.1).
		e.reply(s, d, stun.BindingError, stun.CodeRoleConflict)
		return
	case unknownRequired(m):
		e.reply(s, d, stun.BindingError, stun.CodeUnknownAttribute)
		return
	}
	slot, ok := e.learn(now, s, d)
	if !ok {
		e.drop(DropSTUNTaken)
		return
	}
	if s.checked.IsZero() {
		s.checked = now
	}
	e.choosePath(now, s, slot, m.Contains(stun.AttrUseCandidate))
	s.heardFrom(now, &s.remotes[slot])
	if s.state == stateSuspended {
		e.resume(s)
	}
	e.stats.Checks++
	e.reply(s, d, stun.BindingSuccess, 0)
}

// decodeRequest accepts a Binding request with a right FINGERPRINT that fills
// the datagram.
func decodeRequest(m *stun.Message, data []byte) (DropReason, bool) {
	if !stun.IsMessage(data) {
		return DropSTUNMalformed, false
	}
	m.Raw = append(m.Raw[:0], data...)
	if m.Decode() != nil || int(m.Length)+20 != len(data) || m.Type != stun.BindingRequest {
		return DropSTUNMalformed, false
	}
	if stun.Fingerprint.Check(m) != nil {
		return DropSTUNMalformed, false
	}
	return 0, true
}

// authenticate finds the session of a request and checks its integrity.
func (e *Endpoint) authenticate(m *stun.Message) (*session, bool) {
	name, err := m.Get(stun.AttrUsername)
	colon := bytes.IndexByte(name, ':')
	if err != nil || colon < 0 || len(name) > maxUsername {
		e.drop(DropSTUNUnknown)
		return nil, false
	}
	owner, ok := e.ufrags[string(name[:colon])] // the compiler makes no string
	if !ok {
		e.drop(DropSTUNUnknown)
		return nil, false
	}
	s := &e.sessions[owner.session]
	local, remote := &s.local, s.remote.Ufrag
	if owner.previous {
		local, remote = &s.previous, s.previousRemote
	}
	if string(name[colon+1:]) != remote {
		e.drop(DropSTUNUnknown)
		return nil, false
	}
	s.integrity = append(s.integrity[:0], local.Pwd...)
	if s.integrity.Check(m) != nil {
		e.drop(DropSTUNIntegrity)
		return nil, false
	}
	if !owner.previous && s.previous.Ufrag != "" {
		delete(e.ufrags, s.previous.Ufrag) // the restart is complete
		s.previous, s.previousRemote = Credentials{}, ""
	}
	return s, true
}

// unknownRequired reports a comprehension-required attribute that we do not
// know (RFC 8489 6.3.1).
func unknownRequired(m *stun.Message) bool {
	for _, a := range m.Attributes {
		if a.Type.Required() {
			switch a.Type {
			case stun.AttrUsername, stun.AttrMessageIntegrity, stun.AttrMessageIntegritySHA256,
				stun.AttrPriority, stun.AttrUseCandidate:
			default:
				return true
			}
		}
	}
	return false
}

// learn notes where a check came from and returns its slot. It fails when the
// address is in lively use by another session.
func (e *Endpoint) learn(now time.Time, s *session, d Datagram) (int, bool) {
	if owner, r := e.origin(d); owner != nil {
		if owner == s {
			return slotOf(s, r), true
		}
		if d.Stream != nil || now.Sub(r.heard) < takeAfter {
			return 0, false
		}
		e.forget(owner, slotOf(owner, r))
	}
	slot := s.vacant()
	e.forget(s, slot)
	s.remotes[slot] = remote{heard: now}
	if d.Stream != nil {
		s.remotes[slot].stream = d.Stream
		d.Stream.session, d.Stream.slot = s.id, uint8(slot)
		d.Stream.approve()
	} else {
		s.remotes[slot].addr = d.From
		e.addresses.set(d.From, uint16(s.id.Index()), uint8(slot))
	}
	return slot, true
}

func slotOf(s *session, r *remote) int {
	for i := range s.remotes {
		if &s.remotes[i] == r {
			return i
		}
	}
	return 0
}

// vacant returns a slot for a new address: a free or dead one, else the one
// that is silent for longest, but not the path.
func (s *session) vacant() int {
	oldest := -1
	for i := range s.remotes {
		r := &s.remotes[i]
		switch {
		case r.free():
			return i
		case i == s.path:
		case !r.alive():
			return i
		case oldest < 0 || r.heard.Before(s.remotes[oldest].heard):
			oldest = i
		}
	}
	return oldest
}

// forget frees a slot. A path that was there is lost.
func (e *Endpoint) forget(s *session, slot int) {
	r := &s.remotes[slot]
	if r.free() {
		return
	}
	if r.stream != nil {
		r.stream.session = 0
		r.stream.finish()
	} else {
		e.addresses.remove(r.addr)
	}
	*r = remote{}
	if s.path == slot {
		s.setPath(-1)
	}
}

// choosePath moves sending on nomination, and without one when the old path is
// silent.
func (e *Endpoint) choosePath(now time.Time, s *session, slot int, nominated bool) {
	if s.path == slot {
		return
	}
	if s.path >= 0 {
		old := &s.remotes[s.path]
		if !nominated && old.alive() && now.Sub(old.heard) < moveAfter {
			return
		}
		e.stats.PathMoves++
	}
	s.setPath(slot)
}

// resume ends a suspension: consent is there again.
func (e *Endpoint) resume(s *session) {
	s.state = stateUp
	s.setPath(s.path)
	e.events = append(e.events, Event{Session: s.id, Kind: Resumed})
	e.schedule(s)
}

// reply answers e.request on the path it came on, at once.
func (e *Endpoint) reply(s *session, d Datagram, kind stun.MessageType, code stun.ErrorCode) {
	r := &e.response
	r.Reset()
	r.TransactionID = e.request.TransactionID
	r.Type = kind
	r.WriteHeader()
	var err error
	if code == 0 {
		addXORMapped(r, d.From)
	} else {
		err = code.AddTo(r)
		if code == stun.CodeUnknownAttribute && err == nil {
			err = unknownList(&e.request).AddTo(r)
		}
	}
	if err == nil {
		err = s.integrity.AddTo(r)
	}
	if err == nil {
		err = stun.Fingerprint.AddTo(r)
	}
	if err != nil {
		e.drop(DropSTUNMalformed)
		return
	}
	e.writeNow(d, r.Raw)
}

func unknownList(m *stun.Message) stun.UnknownAttributes {
	var list stun.UnknownAttributes
	for _, a := range m.Attributes {
		if a.Type.Required() && len(list) < 4 {
			list = append(list, a.Type)
		}
	}
	return list
}

// addXORMapped adds XOR-MAPPED-ADDRESS (RFC 8489 14.2) without the slice that
// pion's own type wants.
func addXORMapped(m *stun.Message, a netip.AddrPort) {
	var v [20]byte
	port := a.Port() ^ 0x2112
	v[2], v[3] = byte(port>>8), byte(port)
	key := m.Raw[4:20] // magic cookie and transaction id
	var addr []byte
	if a.Addr().Is4() {
		v[1] = 1
		b := a.Addr().As4()
		addr = append(v[:4], b[:]...)
	} else {
		v[1] = 2
		b := a.Addr().As16()
		addr = append(v[:4], b[:]...)
	}
	for i := range addr[4:] {
		addr[4+i] ^= key[i]
	}
	m.Add(stun.AttrXORMappedAddress, addr)
}
