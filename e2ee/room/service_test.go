package room

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"sotto/e2ee/group"
	"sotto/e2ee/link"
	"sotto/e2ee/sframe"
)

var start = time.Unix(1_800_000_000, 0)

// service is an honest delivery service that delivers at once, and the clock of
// those who use it.
type service struct {
	t       testing.TB
	now     time.Time
	secret  link.Secret
	all     []*member // who is connected
	at      *group.Position
	members map[link.ConnID]bool // of the group
	seq     uint64
	log     [][]byte // everything that was relayed
	sign    bool     // who joins signs its media
	lose    bool     // application messages
}

// member is a client.
type member struct {
	*Room
	t    testing.TB
	Conn link.ConnID
	out  Actions
	next time.Time
	// What the room said, all of it.
	states    []PeerState
	frames    []Frame
	keyFrames []string
	messages  []group.Message
	notices   []group.Notice
	held      bool
	waiting   [][]byte // what would have been delivered, while held
}

func newService(t testing.TB) *service {
	return &service{t: t, now: start, secret: link.Secret{1}, members: make(map[link.ConnID]bool)}
}

// call is a room of n members.
func call(t testing.TB, n int) (*service, []*member) {
	t.Helper()
	s := newService(t)
	for i := range n {
		s.join(byte(i + 1))
	}
	s.run(3 * time.Second)
	for _, m := range s.all {
		if m.Group().State() != group.StateMember || len(m.Group().Members()) != n {
			t.Fatalf("%x: state %d, %d members", m.Conn[0], m.Group().State(), len(m.Group().Members()))
		}
	}
	return s, slices.Clone(s.all)
}

func (s *service) member(id byte) *member {
	s.t.Helper()
	keys, err := link.Derive(s.secret)
	if err != nil {
		s.t.Fatal(err)
	}
	conn := link.ConnID(bytes.Repeat([]byte{id}, 16))
	r, err := New(Config{
		Link: keys, Conn: conn, Identity: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{id}, 32)), Name: "Person " + string('A'+rune(id)),
		SignMedia: s.sign,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return &member{Room: r, t: s.t, Conn: conn, next: s.now}
}

func (s *service) join(id byte) *member {
	s.t.Helper()
	m := s.member(id)
	var peers []link.ConnID
	for _, o := range s.all {
		peers = append(peers, o.Conn)
	}
	if err := m.Welcome(s.now, peers, s.position(), &m.out); err != nil {
		s.t.Fatal(err)
	}
	for _, o := range s.all {
		if err := o.PeerJoined(s.now, m.Conn, &o.out); err != nil {
			s.t.Fatal(err)
		}
	}
	s.all = append(s.all, m)
	s.settle()
	return m
}

func (s *service) leave(m *member) {
	s.all = slices.DeleteFunc(s.all, func(o *member) bool { return o == m })
	delete(s.members, m.Conn)
	for _, o := range s.all {
		if err := o.PeerLeft(s.now, m.Conn, &o.out); err != nil {
			s.t.Error(err)
		}
	}
	s.settle()
}

func (s *service) position() *group.Position {
	if s.at == nil {
		return nil
	}
	at := *s.at
	return &at
}

// run lets time pass, in the steps that the members ask for.
func (s *service) run(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); {
		next := end
		for _, m := range s.all {
			next = earlier(next, m.next)
		}
		s.now = next
		for _, m := range slices.Clone(s.all) {
			if !m.next.After(s.now) {
				m.tick(s.now)
			}
		}
		s.settle()
	}
}

func (m *member) tick(now time.Time) {
	next, err := m.Tick(now, &m.out)
	if err != nil {
		m.t.Error(err)
	}
	m.next = next
	if !next.After(now) {
		m.t.Errorf("the next tick is not later")
		m.next = now.Add(time.Millisecond)
	}
}

// settle delivers until nobody has anything to say.
func (s *service) settle() {
	for busy := true; busy; {
		busy = false
		for _, m := range slices.Clone(s.all) {
			if m.held {
				continue
			}
			sends := slices.Clone(m.out.Send)
			m.states = append(m.states, m.out.States...)
			m.frames = append(m.frames, m.out.Frames...)
			m.keyFrames = append(m.keyFrames, m.out.KeyFrames...)
			m.messages = append(m.messages, m.out.Messages...)
			m.notices = append(m.notices, m.out.Notices...)
			m.out = Actions{}
			for _, data := range sends {
				busy = true
				s.take(m, data)
			}
		}
		for _, m := range s.all {
			if busy {
				m.next = s.now // what came may have changed its timers
			}
		}
	}
}

func (s *service) take(from *member, data []byte) {
	var welcome []byte
	var admitted []link.ConnID
	if data[0] == 2 {
		n := int(data[1])
		for i := range n {
			admitted = append(admitted, link.ConnID(data[2+16*i:]))
		}
		data = data[2+16*n:]
		length := binary.BigEndian.Uint32(data)
		data, welcome = data[4:4+length], data[4+length:]
	}
	h, _, err := link.ParseEnvelope(data)
	if err != nil {
		s.t.Fatal(err)
	}
	everybody := func(data []byte, echo bool) {
		for _, m := range slices.Clone(s.all) {
			if m != from || echo {
				s.deliver(m, data)
			}
		}
	}
	switch h.Type {
	case link.TypeCreate:
		if s.at != nil {
			from.Stale(s.now, s.position(), &from.out)
			return
		}
		s.at, s.members = &group.Position{Group: h.Group}, map[link.ConnID]bool{h.From: true}
		everybody(data, true)
	case link.TypeCommit:
		if s.at == nil || h.Group != s.at.Group || h.Slot != s.at.Slot || !s.members[h.From] {
			from.Stale(s.now, s.position(), &from.out)
			return
		}
		s.at.Slot++
		everybody(data, true)
		for _, m := range slices.Clone(s.all) {
			if welcome != nil && slices.Contains(admitted, m.Conn) {
				s.members[m.Conn] = true
				s.deliver(m, welcome)
			}
		}
	default:
		if !s.lose {
			everybody(data, false)
		}
	}
}

func (s *service) deliver(m *member, envelope []byte) {
	s.seq++
	data := binary.BigEndian.AppendUint64(nil, s.seq)
	s.log = append(s.log, append(data, envelope...))
	if m.held {
		m.waiting = append(m.waiting, s.log[len(s.log)-1])
		return
	}
	member := m.Group().State() == group.StateMember // newcomers cannot read what is said
	if err := m.Envelope(s.now, append(data, envelope...), &m.out); err != nil && member {
		s.t.Errorf("%x: %v", m.Conn[0], err)
	}
}

func (m *member) protect(c sframe.Context, codec sframe.Codec, frame string) []byte {
	m.t.Helper()
	b, err := m.Sender(c).Protect(nil, codec, false, []byte(frame))
	if err != nil {
		m.t.Fatal(err)
	}
	return b
}

func (m *member) open(now time.Time, codec sframe.Codec, b []byte) (string, error) {
	out, err := m.Room.Open(now, "0", codec, 0, b, nil, &m.out)
	m.next = now // there may be something to time
	return string(out), err
}

func (m *member) bind(now time.Time, to *member, c sframe.Context) {
	m.t.Helper()
	if err := m.Slots(now, []Slot{{"0", to.Conn, c}}, &m.out); err != nil {
		m.t.Fatal(err)
	}
}

func (m *member) state(of *member) (s State) {
	for _, p := range append(m.states, m.out.States...) {
		if p.Conn == of.Conn {
			s = p.State
		}
	}
	return s
}

// hold lets a member's connection stall, in both directions; release lets it go on.
func (s *service) hold(m *member) { m.held = true }

func (s *service) release(m *member) {
	m.held = false
	for _, data := range m.waiting {
		if err := m.Envelope(s.now, data, &m.out); err != nil {
			s.t.Error(err)
		}
	}
	m.waiting = nil
	s.settle()
}
