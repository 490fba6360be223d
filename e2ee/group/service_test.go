package group

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"sotto/e2ee/link"
)

// ticket is what the service gives members against its own forgetting.
type ticket struct {
	gi   [16]byte
	slot uint64
	tag  [16]byte
	mac  []byte
}

// service orders and relays, as PROTOCOL.md says.
type service struct {
	w       *world
	secret  []byte
	seq     uint64
	room    []*seat
	grouped bool
	gi      [16]byte
	slot    uint64
	tag     [16]byte
	commits int
	refused int

	restarted  bool
	starts     int
	recovering bool
	claims     []*ticket
	forked     bool // it equivocates
	// filter decides what reaches whom; nil: everything.
	filter     func(to *client, h link.Header) bool
	equivocate bool // it accepts whatever comes for the slot before
	echoes     int  // how often everything is delivered once more
	// spoil makes it turn a bit of every Welcome.
	spoil bool
	// accepts is called with each accepted commit before it is relayed.
	accepts func(h link.Header)
}

// seat is a connection in the room.
type seat struct {
	c       *client
	member  bool
	behind  bool // a member that has asked to be added again
	away    bool
	lost    bool // since a restart, not yet back
	backlog [][]byte
	kps     bucket
	coms    bucket
}

// bucket allows a rate with bursts of 4.
type bucket struct {
	level float64
	at    time.Time
}

func (b *bucket) take(now time.Time, perSecond float64) bool {
	b.level = max(0, b.level-now.Sub(b.at).Seconds()*perSecond)
	b.at = now
	if b.level+1 > 4 {
		return false
	}
	b.level++
	return true
}

func newService(w *world) *service { return &service{w: w, secret: []byte("service"), seq: 1000} }

func (s *service) seat(c *client) *seat {
	for _, x := range s.room {
		if x.c == c {
			return x
		}
	}
	return nil
}

func (s *service) peers(of *client) []link.ConnID {
	var out []link.ConnID
	for _, x := range s.room {
		if x.c != of && !x.lost {
			out = append(out, x.c.conn)
		}
	}
	return out
}

func (s *service) position() *Position {
	if !s.grouped || s.recovering {
		return nil
	}
	return &Position{s.gi, s.slot}
}

func (s *service) connect(c *client) {
	peers, at := s.peers(c), s.position()
	s.room = append(s.room, &seat{c: c})
	c.receive(func() {
		c.do(func(out *Actions) {
			if err := c.g.Welcome(c.now(), peers, at, out); err != nil {
				s.w.t.Errorf("%s: welcome: %v", c.name, err)
			}
		})
	})
	s.others(c, func(o *client) { o.do(func(out *Actions) { o.g.PeerJoined(o.now(), c.conn, out) }) })
}

// others sends a text message to everybody else.
func (s *service) others(c *client, do func(o *client)) {
	for _, x := range s.room {
		if x.c != c && !x.away && !x.lost {
			x.c.receive(func() { do(x.c) })
		}
	}
}

func (s *service) lost(c *client) {
	x := s.seat(c)
	if x == nil {
		return
	}
	x.away = true
	s.w.at(20*time.Second, func() {
		if y := s.seat(c); y != nil && (y.away || c.closed) {
			s.left(c, "gone")
		}
	})
}

func (s *service) left(c *client, _ string) {
	i := slices.IndexFunc(s.room, func(x *seat) bool { return x.c == c })
	if i < 0 {
		return
	}
	s.room = slices.Delete(s.room, i, i+1)
	s.others(c, func(o *client) { o.do(func(out *Actions) { o.g.PeerLeft(o.now(), c.conn, out) }) })
	s.forgetDead()
}

// forgetDead forgets a group in which nobody is left who could commit.
func (s *service) forgetDead() {
	if s.grouped && !s.recovering && !slices.ContainsFunc(s.room, func(x *seat) bool { return x.member && !x.behind }) {
		s.grouped = false
		for _, x := range s.room {
			x.member, x.behind = false, false
		}
		s.tell()
	}
}

// tell sends the position to all.
func (s *service) tell() {
	at := s.position()
	s.others(nil, func(o *client) { o.do(func(out *Actions) { o.g.Position(o.now(), at, out) }) })
}

func (s *service) resume(c *client) {
	x := s.seat(c)
	if x == nil && s.restarted {
		x = &seat{c: c, lost: true}
		s.room = append(s.room, x)
	}
	if x == nil {
		c.closed = true // it would start anew
		return
	}
	if x.lost {
		s.recover(x)
		return
	}
	x.away = false
	peers, at := s.peers(c), s.position()
	missed := slices.Clone(x.backlog)
	c.receive(func() {
		c.do(func(out *Actions) { c.g.Resumed(c.now(), peers, at, false, out) })
	})
	for _, data := range missed {
		if binary.BigEndian.Uint64(data) > c.lastSeq {
			c.receive(func() { c.hears(data) })
		}
	}
}

func (s *service) recover(x *seat) {
	c := x.c
	if !s.recovering && !s.grouped {
		s.recovering = true
		start := s.starts
		s.w.at(3*time.Second, func() {
			if s.starts == start {
				s.recovered()
			}
		})
	}
	x.lost, x.away = false, false
	s.others(c, func(o *client) { o.do(func(out *Actions) { o.g.PeerJoined(o.now(), c.conn, out) }) })
	if t := c.ticket; t != nil && hmac.Equal(t.mac, s.mac(c.conn, t)) {
		if s.recovering {
			s.claims = append(s.claims, t)
			x.member = true // if its group is chosen
		} else if s.grouped && t.gi == s.gi {
			x.member = true
		}
	}
	peers, at := s.peers(c), s.position()
	c.receive(func() {
		c.do(func(out *Actions) { c.g.Resumed(c.now(), peers, at, true, out) })
	})
}

func (s *service) recovered() {
	s.recovering = false
	for _, t := range s.claims {
		if !s.grouped || t.slot > s.slot || t.slot == s.slot && bytes.Compare(t.gi[:], s.gi[:]) < 0 {
			s.grouped, s.gi, s.slot, s.tag = true, t.gi, t.slot, t.tag
		}
	}
	s.claims = nil
	for _, x := range s.room {
		x.member = x.member && x.c.ticket != nil && x.c.ticket.gi == s.gi
	}
	if !slices.ContainsFunc(s.room, func(x *seat) bool { return x.member }) {
		s.grouped = false
	}
	s.tell()
}

// restart forgets everything.
func (s *service) restart() {
	var back []*client
	for _, x := range s.room {
		if !x.c.closed {
			x.c.inTransit++
			x.c.broken = true
			x.c.lastIn, x.c.lastOut = s.w.now, s.w.now
			back = append(back, x.c)
		}
	}
	s.room, s.grouped, s.slot, s.recovering, s.claims = nil, false, 0, false, nil
	s.restarted = true
	s.starts++
	start := s.starts
	s.seq += 1 << 20
	for _, c := range back {
		s.w.at(200*time.Millisecond+time.Duration(s.w.rng.IntN(800))*time.Millisecond, func() {
			if !c.closed {
				c.resume()
			}
		})
	}
	s.w.at(21*time.Second, func() {
		if s.starts != start {
			return
		}
		for _, x := range s.room {
			peers := s.peers(x.c)
			if !x.away {
				x.c.receive(func() { x.c.do(func(out *Actions) { x.c.g.Peers(x.c.now(), peers, out) }) })
			}
		}
	})
}

func (s *service) mac(conn link.ConnID, t *ticket) []byte {
	m := hmac.New(sha256.New, s.secret)
	fmt.Fprint(m, "sotto-ticket/1", t.gi, t.slot, conn, t.tag)
	return m.Sum(nil)
}

func (s *service) stale(c *client) {
	at := s.position()
	s.refused++
	c.receive(func() { c.do(func(out *Actions) { c.g.Stale(c.now(), at, out) }) })
}

// relay sends an envelope in the room's order.
func (s *service) relay(h link.Header, envelope []byte, to func(*seat) bool) {
	s.seq++
	data := append(binary.BigEndian.AppendUint64(nil, s.seq), envelope...)
	for _, x := range s.room {
		if to(x) && !x.lost && (s.filter == nil || s.filter(x.c, h)) {
			s.deliver(x, data)
		}
	}
}

func (s *service) deliver(x *seat, data []byte) {
	x.backlog = append(x.backlog, data)
	if len(x.backlog) > 512 {
		x.backlog = x.backlog[1:]
	}
	if !x.away {
		for range 1 + s.echoes {
			x.c.receive(func() { x.c.hears(data) })
		}
	}
}

func (s *service) binary(c *client, m []byte) {
	x := s.seat(c)
	if x == nil || x.away {
		return
	}
	bundle, err := link.ParseBundle(m)
	envelope := m
	if err == nil {
		envelope = bundle.Commit
	}
	h, _, err := link.ParseEnvelope(envelope)
	if err != nil || h.From != c.conn {
		s.w.t.Errorf("%s posts nonsense: %v", c.name, err)
		return
	}
	everybody := func(*seat) bool { return true }
	switch h.Type {
	case link.TypeCreate:
		if s.grouped || s.recovering {
			s.stale(c)
			return
		}
		s.grouped, s.gi, s.slot, s.tag = true, h.Group, 0, [16]byte(h.To)
		for _, y := range s.room {
			y.member, y.behind = y == x, false
		}
		s.relay(h, envelope, everybody)
		s.tickets()
	case link.TypeKeyPackage:
		if !x.kps.take(s.w.now, 1) {
			return
		}
		if !s.grouped || h.Group != s.gi {
			s.stale(c)
			return
		}
		s.relay(h, envelope, func(y *seat) bool { return y != x })
		if x.member {
			x.behind = true
			s.forgetDead()
		}
	case link.TypeCommit:
		again := s.equivocate && h.Slot == s.slot-1
		if again {
			s.slot--
		}
		if !s.grouped || s.recovering || h.Group != s.gi || h.Slot != s.slot || !x.member || !x.coms.take(s.w.now, 2) {
			s.stale(c)
			return
		}
		s.slot++
		s.commits++
		x.behind = false
		if s.accepts != nil {
			s.accepts(h)
		}
		s.relay(h, envelope, everybody)
		if len(bundle.Admits) > 0 {
			w, _, _ := link.ParseEnvelope(bundle.Welcome)
			if s.spoil {
				bundle.Welcome = bytes.Clone(bundle.Welcome)
				bundle.Welcome[len(bundle.Welcome)/2] ^= 1
			}
			s.relay(w, bundle.Welcome, func(y *seat) bool {
				listed := slices.Contains(bundle.Admits, y.c.conn)
				y.member, y.behind = y.member || listed, y.behind && !listed
				return listed
			})
		}
		s.tickets()
	case link.TypeApp:
		s.relay(h, envelope, func(y *seat) bool { return y != x && (h.To == link.ConnID{} || h.To == y.c.conn) })
	}
}

func (s *service) tickets() {
	for _, x := range s.room {
		if x.member && !x.away && !x.lost {
			t := &ticket{gi: s.gi, slot: s.slot, tag: s.tag}
			t.mac = s.mac(x.c.conn, t)
			x.c.receive(func() { x.c.ticket = t })
		}
	}
}
