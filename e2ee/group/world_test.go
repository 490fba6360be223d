package group

import (
	"bytes"
	"container/heap"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/cryptotest"
	"time"

	"sotto/e2ee/link"
	"sotto/e2ee/mls"
)

// world is a room in virtual time: clients, the service between them, and the
// faults of both.
type world struct {
	t       testing.TB
	now     time.Time
	rng     *rand.Rand
	events  eventHeap
	order   int
	secret  link.Secret
	keys    *link.Keys
	service *service
	clients []*client // all that ever were
	bases   map[string]link.ConnID
	epochs  map[epochName][16]byte
	nonces  map[string]bool
	sizes   map[link.Type]int // longest envelope
	trace   bool              // log what clients hear
}

// start is when every world begins.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

type epochName struct {
	gi     [16]byte
	number uint64
}

type event struct {
	at    time.Time
	order int
	do    func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at.Before(h[j].at) || h[i].at.Equal(h[j].at) && h[i].order < h[j].order
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// newWorld makes everything random follow from seed.
func newWorld(t testing.TB, seed uint64) *world {
	if t, ok := t.(*testing.T); ok {
		cryptotest.SetGlobalRandom(t, seed)
	}
	w := &world{
		t: t, now: start, rng: rand.New(rand.NewPCG(seed, 1)),
		secret: link.NewSecret(), bases: map[string]link.ConnID{}, epochs: map[epochName][16]byte{}, nonces: map[string]bool{}, sizes: map[link.Type]int{},
	}
	w.keys = must(link.Derive(w.secret))
	w.service = newService(w)
	return w
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// at runs do after a while.
func (w *world) at(after time.Duration, do func()) {
	w.order++
	heap.Push(&w.events, event{w.now.Add(after), w.order, do})
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	w.t.Helper()
	end := w.now.Add(d)
	for len(w.events) > 0 && !w.events[0].at.After(end) {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
	w.now = end
}

// until runs until the condition holds and fails the test if it takes longer.
func (w *world) until(limit time.Duration, what string, ok func() bool) time.Duration {
	w.t.Helper()
	begin := w.now
	for !ok() {
		if w.now.Sub(begin) >= limit {
			w.t.Fatalf("%s: not within %v\n%s", what, limit, w.describe())
		}
		w.run(5 * time.Millisecond)
	}
	return w.now.Sub(begin)
}

func (w *world) describe() string {
	var out bytes.Buffer
	fmt.Fprintf(&out, "service: slot %d, group %x\n", w.service.slot, w.service.gi[:2])
	for _, x := range w.service.room {
		fmt.Fprintf(&out, "seat of %s: member %v, away %v, lost %v, closed %v\n", x.c.name, x.member, x.away, x.lost, x.c.closed)
	}
	for _, c := range w.clients {
		if c.closed {
			continue
		}
		fmt.Fprintf(&out, "%s: state %d, epoch %d, slot %d, %d members, auth %x, doubt %v, pending %v, newcomers %d, notices %v\n",
			c.name, c.g.State(), c.g.Epoch(), c.g.at.Slot, len(c.g.Members()), short(c.g.Authenticator()), c.g.doubt.kind,
			c.g.pending != nil, len(c.g.newcomers), c.notices[max(0, len(c.notices)-8):])
	}
	return out.String()
}

func short(b []byte) []byte { return b[:min(len(b), 3)] }

// client is one start of one person's client.
type client struct {
	w          *world
	name       string
	identity   ed25519.PrivateKey
	conn       link.ConnID
	token      link.HostToken
	g          *Group
	closed     bool
	broken     bool // its connection is
	inTransit  int
	lastIn     time.Time // FIFO in both directions
	lastOut    time.Time
	delay      time.Duration
	signing    time.Duration
	tickAt     time.Time
	beating    bool
	mute       func(h link.Header) bool // drops messages on their way to the service
	lies       bool                     // for tests of insiders
	unsure     bool                     // somebody claims that it is gone
	falseSigns int
	// shadow is a state of a greedy client that its Group does not know of: it has
	// no rules, and nobody erases it.
	greedy bool
	shadow *mls.Group
	hook   func(out *Actions)
	// intercept keeps what arrives from the group.
	intercept func(data []byte) bool
	skew      time.Duration // of its clock

	keys     map[uint64]Keys
	sendWith uint64
	sends    bool
	messages []Message
	notices  []NoticeCode
	named    []link.ConnID // by NoticeInvalidCommit
	knocks   []Knock
	links    []NewLink
	ticket   *ticket
	lastSeq  uint64
	records  []record // of every epoch it was in
	inbox    [][]byte // every envelope received
}

type record struct {
	name epochName
	base [16]byte
}

// add makes a client, with the identity of another one or nil.
func (w *world) add(name string, as *client, change ...func(*Config)) *client {
	c := &client{w: w, name: name, conn: link.NewConnID(), token: link.NewHostToken(), delay: 20 * time.Millisecond, keys: map[uint64]Keys{}}
	if as != nil {
		c.identity, c.token = as.identity, as.token
	} else {
		_, c.identity, _ = ed25519.GenerateKey(nil)
	}
	cfg := Config{Link: w.keys, Conn: c.conn, Identity: c.identity.Public().(ed25519.PublicKey), Name: name, HostTag: c.token.Tag()}
	for _, f := range change {
		f(&cfg)
	}
	c.g = must(New(cfg))
	w.clients = append(w.clients, c)
	return c
}

// join connects a new client.
func (w *world) join(name string, change ...func(*Config)) *client {
	c := w.add(name, nil, change...)
	c.connect()
	return c
}

func (c *client) connect() {
	c.send(func() { c.w.service.connect(c) })
	c.scheduleTick(c.w.now.Add(tickMax))
}

// send lets something arrive at the service.
func (c *client) send(do func()) { c.carry(&c.lastOut, do) }

// receive lets something arrive at the client.
func (c *client) receive(do func()) { c.carry(&c.lastIn, do) }

// carry takes something along after the last one of its direction, unless the connection breaks meanwhile.
func (c *client) carry(last *time.Time, do func()) {
	at := c.w.now.Add(c.delay)
	if at.Before(*last) {
		at = *last
	}
	*last = at
	generation := c.inTransit
	c.w.at(at.Sub(c.w.now), func() {
		if c.inTransit == generation && !c.closed {
			do()
		}
	})
}

// do gives the group an event and acts on the outcome.
func (c *client) do(event func(out *Actions)) {
	var out Actions
	event(&out)
	c.act(&out)
}

func (c *client) act(out *Actions) {
	w := c.w
	if c.hook != nil {
		c.hook(out)
	}
	for _, m := range out.Send {
		c.post(m)
	}
	for _, s := range out.Sign {
		answer := func() {
			if c.closed {
				return
			}
			c.do(func(out *Actions) {
				signature := ed25519.Sign(c.identity, s.Message)
				if c.falseSigns > 0 {
					c.falseSigns--
					if err := c.g.Signed(c.now(), s.ID, make([]byte, 64), out); err != ErrSignature {
						w.t.Errorf("%s: false signature: %v", c.name, err)
					}
					return
				}
				if err := c.g.Signed(c.now(), s.ID, signature, out); err != nil {
					w.t.Errorf("%s: signed: %v", c.name, err)
				}
			})
		}
		if c.signing == 0 {
			answer()
		} else {
			w.at(c.signing, answer)
		}
	}
	if out.Stop {
		c.sends = false
	}
	for _, e := range out.Forget {
		delete(c.keys, e)
	}
	for _, k := range out.Keys {
		c.install(k)
	}
	for _, e := range out.SendEpoch {
		if _, ok := c.keys[e]; !ok {
			w.t.Errorf("%s sends in epoch %d without keys", c.name, e)
		}
		c.sendWith, c.sends = e, true
		c.uses(c.keys[e])
	}
	c.messages = append(c.messages, out.Messages...)
	for _, n := range out.Notices {
		c.notices = append(c.notices, n.Code)
		switch n.Code {
		case NoticeInvalidCommit:
			c.named = append(c.named, n.Conn)
		case NoticeStuck:
			c.again()
		}
	}
	if out.KnocksChanged {
		c.knocks = out.Knocks
	}
	if out.Link != nil {
		c.links = append(c.links, *out.Link)
	}
	c.tick()
}

// install checks that all members of an epoch have one key.
func (c *client) install(k Keys) {
	w := c.w
	c.keys[k.Epoch] = k
	name := epochName{c.g.at.Group, k.Epoch}
	c.records = append(c.records, record{name, k.Base})
	if w.service.forked {
		return
	}
	if base, ok := w.epochs[name]; ok && base != k.Base && !w.service.restarted {
		w.t.Errorf("%s has another key in epoch %d", c.name, k.Epoch)
	}
	w.epochs[name] = k.Base
}

// uses checks that no two connections send with one key.
func (c *client) uses(k Keys) {
	name := string(k.Base[:]) + string(k.Leaf)
	if by, ok := c.w.bases[name]; ok && by != c.conn {
		c.w.t.Errorf("%s sends with the key of another connection, epoch %d leaf %d", c.name, k.Epoch, k.Leaf)
	}
	c.w.bases[name] = c.conn
}

// post sends a binary message, and checks that no nonce is used twice.
func (c *client) post(m []byte) {
	w := c.w
	envelopes := [][]byte{m}
	if b, err := link.ParseBundle(m); err == nil {
		envelopes = [][]byte{b.Commit, b.Welcome}
	}
	var first link.Header
	for i, e := range envelopes {
		h, sealed, err := link.ParseEnvelope(e)
		if err != nil {
			w.t.Fatalf("%s posts: %v", c.name, err)
		}
		if i == 0 {
			first = h
		}
		w.sizes[h.Type] = max(w.sizes[h.Type], len(e))
		nonce := fmt.Sprint(h.From, h.Gen, sealed[:12])
		if w.nonces[nonce] {
			w.t.Errorf("%s: nonce used twice", c.name)
		}
		w.nonces[nonce] = true
	}
	if c.mute != nil && c.mute(first) {
		return
	}
	c.send(func() { w.service.binary(c, m) })
}

// tick calls Tick when it is asked for.
func (c *client) tick() {
	var out Actions
	next := c.g.Tick(c.now(), &out)
	if len(out.Send)+len(out.Sign)+len(out.Keys)+len(out.SendEpoch)+len(out.Forget)+len(out.Notices)+len(out.Messages) > 0 || out.Stop || out.Changed {
		c.act(&out)
		return
	}
	if out.KnocksChanged {
		c.knocks = out.Knocks
	}
	c.scheduleTick(next.Add(-c.skew))
}

// now is what the client's clock shows.
func (c *client) now() time.Time { return c.w.now.Add(c.skew) }

func (c *client) scheduleTick(next time.Time) {
	if !next.After(c.w.now) {
		next = c.w.now.Add(time.Millisecond)
	}
	c.tickAt = next
	c.w.at(next.Sub(c.w.now), func() {
		if !c.closed && c.tickAt.Equal(c.w.now) {
			c.tick()
		}
	})
}

func (c *client) hears(data []byte) {
	if c.w.trace {
		h, _, _ := link.ParseEnvelope(data[8:])
		before := c.g.Epoch()
		defer func() {
			if h.Type != link.TypeApp {
				_ = 0
				c.w.t.Logf("%v %s hears %d of %s slot %d epoch %d: epoch %d -> %d, slot %d, doubt %v", c.w.now.Sub(start), c.name, h.Type, c.w.nameOf(h.From), h.Slot, h.Epoch, before, c.g.Epoch(), c.g.at.Slot, c.g.doubt.kind)
			}
		}()
	}
	if c.intercept != nil && c.intercept(data) {
		return
	}
	if h, _, _ := link.ParseEnvelope(data[8:]); c.greedy && h.Type == link.TypeWelcome {
		_, message, _ := must(c.w.keys.Opener(h.From)).Open(data[8:])
		for _, inv := range c.g.invites {
			if joined, err := mls.Join(mls.Config{PSKs: linkPSK{c.g}}, inv, message, nil); err == nil {
				c.shadow = joined.Group
			}
		}
	}
	seq := binary.BigEndian.Uint64(data)
	c.lastSeq = seq
	c.inbox = append(c.inbox, data)
	c.do(func(out *Actions) {
		err := c.g.Envelope(c.now(), data, out)
		if h, _, _ := link.ParseEnvelope(data[8:]); err != nil && c.w.trace && h.Type != link.TypeApp {
			c.w.t.Logf("%v %s: %v", c.w.now.Sub(start), c.name, err)
		}
	})
}

// again begins anew with the same identity, as a page that is reloaded.
func (c *client) again() *client {
	c.leave()
	c.w.latestLink()
	next := c.w.add(c.name+"'", c)
	next.delay, next.signing = c.delay, c.signing
	next.connect()
	if c.beating {
		next.beat()
	}
	return next
}

// crash ends a client without a word; leave says goodbye.
func (c *client) crash() {
	c.closed = true
	if !c.broken {
		c.w.service.lost(c)
	}
}

func (c *client) leave() {
	c.closed = true
	s := c.w.service
	c.w.at(c.delay, func() { s.left(c, "leave") })
}

// drop breaks the connection: what is under way is lost.
func (c *client) drop() {
	c.inTransit++
	c.broken = true
	c.lastIn, c.lastOut = c.w.now, c.w.now
	c.w.service.lost(c)
}

// resume comes back.
func (c *client) resume() {
	c.broken = false
	if c.g.State() == StateConnecting {
		c.connect() // it was never in the room
		return
	}
	c.send(func() { c.w.service.resume(c) })
}

// beat sends heartbeats, as who sends media does.
func (c *client) beat() {
	c.beating = true
	var again func()
	again = func() {
		if c.closed {
			return
		}
		if c.sends {
			c.do(func(out *Actions) { c.g.Send(c.w.now, kindHeartbeat, []byte(`{"ctr":{"0":1}}`), out) })
		}
		c.w.at(5*time.Second, again)
	}
	c.w.at(time.Duration(c.w.rng.IntN(5000))*time.Millisecond, again)
}

// latestLink makes later clients come by the link of those who are furthest.
func (w *world) latestLink() {
	furthest := uint64(0)
	for _, c := range w.live() {
		if c.g.State() == StateMember && c.g.at.Group == w.service.gi && c.g.Epoch() >= furthest {
			furthest = c.g.Epoch()
			w.keys, _ = c.g.Keys()
		}
	}
}

func (w *world) nameOf(conn link.ConnID) string {
	for _, c := range w.clients {
		if c.conn == conn {
			return c.name
		}
	}
	return "?"
}

func (w *world) live() []*client {
	return slices.DeleteFunc(slices.Clone(w.clients), func(c *client) bool { return c.closed })
}

// agree reports whether exactly these clients are members, in one epoch.
func agree(clients ...*client) bool {
	for _, c := range clients {
		if c.g.State() != StateMember || c.g.Epoch() != clients[0].g.Epoch() || len(c.g.cur.people) != len(clients) {
			return false
		}
	}
	for _, c := range clients {
		if !bytes.Equal(c.g.Authenticator(), clients[0].g.Authenticator()) || !slices.Equal(c.g.Members(), clients[0].g.Members()) {
			return false
		}
		for _, p := range c.g.Members() {
			if !slices.ContainsFunc(clients, func(o *client) bool { return o.conn == p.Conn }) {
				return false
			}
		}
	}
	return true
}

// settled also wants everybody to send in that epoch.
func settled(clients ...*client) bool {
	return agree(clients...) && !slices.ContainsFunc(clients, func(c *client) bool { return !c.sends || c.sendWith != c.g.Epoch() })
}

func (w *world) settle(limit time.Duration, clients ...*client) time.Duration {
	w.t.Helper()
	return w.until(limit, "agreement", func() bool { return settled(clients...) })
}

func (c *client) leaf() uint8 {
	leaf, _ := c.g.Own()
	return leaf
}
