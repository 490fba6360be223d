package main

import (
	"errors"
	"time"

	"sotto/e2ee/group"
	"sotto/e2ee/link"
)

// The events, first byte of a call. Numbers are big-endian, times milliseconds
// since 1970 as float64, flags one byte, a position is a flag and, if it is set,
// gi[16] and slot u64.
const (
	callStart     = iota // gen u16, secret[32], conn[16], identity[32], host tag[16], locked, knock, name
	callWelcome          // time, position, conn[16]...
	callResumed          // time, lost, position, conn[16]...
	callJoined           // time, conn[16]
	callLeft             // time, conn[16]
	callPeers            // time, conn[16]...
	callPosition         // time, position
	callStale            // time, position
	callEnvelope         // time, data
	callSigned           // time, id u32, signature
	callTick             // time
	callAdmit            // time, conn[16]
	callRefuse           // time, conn[16]
	callKick             // time, conn[16]
	callSetPolicy        // time, locked, knock
	callRotate           // time
	callSend             // time, kind u8, body
	callSecrets          // answered by: status, authenticator, group id (each u32 length and bytes)
)

// The status, first byte of a result. Behind statusOK and every refusal stand
// the time of the next callTick and the actions.
const (
	statusOK = iota
	statusMalformed
	statusConfig
	statusOrder
	statusRoster
	statusEnvelope
	statusMessage
	statusNotMember
	statusNotHost
	statusUnknown
	statusFull
	statusSignature
	statusFailed
)

// machine is one client's membership. It is started once.
type machine struct {
	group *group.Group
}

// call handles one event. in belongs to the machine from then on.
func (m *machine) call(in []byte) []byte {
	r := &reader{b: in}
	kind := r.u8()
	switch {
	case r.bad:
		return []byte{statusMalformed}
	case kind == callStart:
		return []byte{m.start(r)}
	case m.group == nil:
		return []byte{statusMalformed}
	case kind == callSecrets:
		w := &writer{b: []byte{statusOK}}
		w.data(m.group.Authenticator())
		w.data(m.group.ID())
		return w.b
	}
	now := r.time()
	var out group.Actions
	event := m.event(kind, now, r, &out)
	if event == nil || r.bad {
		return []byte{statusMalformed}
	}
	err := event()
	next := m.group.Tick(now, &out)
	w := &writer{b: make([]byte, 0, 512)}
	w.u8(status(err))
	w.time(next)
	w.actions(&out, m.group)
	return w.b
}

func (m *machine) start(r *reader) byte {
	if m.group != nil {
		return statusOrder
	}
	cfg := group.Config{Gen: r.u16()}
	secret := link.Secret(r.take(link.SecretSize))
	cfg.Conn = r.conn()
	cfg.Identity = r.take(32)
	cfg.HostTag = r.id()
	cfg.Policy = r.policy()
	cfg.Name = string(r.rest())
	if r.bad {
		return statusMalformed
	}
	keys, err := link.Derive(secret)
	if err != nil {
		return statusFailed
	}
	cfg.Link = keys
	if m.group, err = group.New(cfg); err != nil {
		return status(err)
	}
	return statusOK
}

// event reads the rest of a call and returns what to do; nil for unknown kinds.
// Nothing is done before all of it was read.
func (m *machine) event(kind uint8, now time.Time, r *reader, out *group.Actions) func() error {
	g := m.group
	switch kind {
	case callWelcome:
		at, peers := r.position(), r.conns()
		return func() error { return g.Welcome(now, peers, at, out) }
	case callResumed:
		lost, at, peers := r.flag(), r.position(), r.conns()
		return func() error { return g.Resumed(now, peers, at, lost, out) }
	case callJoined:
		conn := r.conn()
		return func() error { return g.PeerJoined(now, conn, out) }
	case callLeft:
		conn := r.conn()
		return func() error { g.PeerLeft(now, conn, out); return nil }
	case callPeers:
		peers := r.conns()
		return func() error { g.Peers(now, peers, out); return nil }
	case callPosition:
		at := r.position()
		return func() error { g.Position(now, at, out); return nil }
	case callStale:
		at := r.position()
		return func() error { g.Stale(now, at, out); return nil }
	case callEnvelope:
		data := r.rest()
		return func() error { return g.Envelope(now, data, out) }
	case callSigned:
		id, signature := r.u32(), r.rest()
		return func() error { return g.Signed(now, id, signature, out) }
	case callTick:
		return func() error { return nil } // every call ends with one
	case callAdmit:
		conn := r.conn()
		return func() error { return g.Admit(now, conn, out) }
	case callRefuse:
		conn := r.conn()
		return func() error { return g.Refuse(now, conn, out) }
	case callKick:
		conn := r.conn()
		return func() error { return g.Kick(now, conn, out) }
	case callSetPolicy:
		policy := r.policy()
		return func() error { return g.SetPolicy(now, policy, out) }
	case callRotate:
		return func() error { return g.RotateLink(now, out) }
	case callSend:
		kind, body := r.u8(), r.rest()
		return func() error { return g.Send(now, kind, body, out) }
	}
	return nil
}

// status is the code of an error of package group.
func status(err error) byte {
	if err == nil {
		return statusOK
	}
	for code, e := range map[byte]error{
		statusConfig:    group.ErrConfig,
		statusOrder:     group.ErrOrder,
		statusRoster:    group.ErrRoster,
		statusEnvelope:  group.ErrEnvelope,
		statusMessage:   group.ErrMessage,
		statusNotMember: group.ErrNotMember,
		statusNotHost:   group.ErrNotHost,
		statusUnknown:   group.ErrUnknown,
		statusFull:      group.ErrFull,
		statusSignature: group.ErrSignature,
	} {
		if errors.Is(err, e) {
			return code
		}
	}
	return statusFailed
}
