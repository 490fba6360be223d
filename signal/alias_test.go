package signal

import (
	"crypto/ed25519"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"sotto/signal/protocol"
)

func newLink(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, link, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// aliasOf is the alias that gives the client's room the name of a link.
func (c *client) aliasOf(link ed25519.PrivateKey) *protocol.Alias {
	public := link.Public().(ed25519.PublicKey)
	return &protocol.Alias{
		ID: 6, Room: protocol.RoomOf(public), LinkPub: protocol.Bytes(public),
		LinkSig: ed25519.Sign(link, protocol.AliasSigned(testHost, c.hello.Nonce, c.conn)),
	}
}

// rotate gives the client's room the name of a new link.
func (c *client) rotate(link ed25519.PrivateKey) {
	c.t.Helper()
	c.send(c.aliasOf(link))
	if d := expect[*protocol.Done](c); d.ID != 6 {
		c.t.Errorf("done %+v", d)
	}
}

func TestEvict_byTheHostAlone(t *testing.T) {
	inGroups(t, openRooms(), func(w *world) {
		host, member := groupOfTwo(w)
		target := w.joinGroup(at(1))
		target.offer(2, "first", protocol.SourceMic)
		host.drain()
		member.drain()

		wrong := slices.Clone(hostToken)
		wrong[31] ^= 1
		for _, c := range []*client{member, host, target} {
			c.send(&protocol.Evict{ID: 5, ConnID: target.conn, Host: wrong})
			if e := c.expectError(protocol.CodeNotHost, false); e.ID == nil || *e.ID != 5 {
				t.Errorf("error %+v", e)
			}
		}
		target.quiet()

		// The token counts, not the connection that shows it.
		member.send(&protocol.Evict{ID: 5, ConnID: target.conn, Host: hostToken})
		target.expectError(protocol.CodeKicked, true)
		target.expectClose(websocket.StatusPolicyViolation)
		for _, c := range []*client{host, member} {
			if l := expect[*protocol.PeerLeft](c); l.ConnID != target.conn || l.Reason != protocol.LeftKicked {
				t.Errorf("left %+v", l)
			}
			c.quiet()
		}
		if calls := w.media.log(); !slices.Contains(calls, "kick") || w.media.sessions() != 0 {
			t.Errorf("media node was asked %q", calls)
		}
		// It is not there any more: no error, and no way back.
		host.send(&protocol.Evict{ID: 6, ConnID: target.conn, Host: hostToken})
		host.quiet()
		o := w.open()
		o.send(o.resumeMessage(target))
		o.expectError(protocol.CodeResumeRefused, true)
	})
}

func TestEvict_whoIsAway(t *testing.T) {
	inGroups(t, openRooms(), func(w *world) {
		host, member := groupOfTwo(w)
		member.drop()
		synctest.Wait()
		host.send(&protocol.Evict{ID: 5, ConnID: member.conn, Host: hostToken})
		expect[*protocol.PeerLeft](host)
		o := w.open()
		o.send(o.resumeMessage(member))
		o.expectError(protocol.CodeResumeRefused, true)
	})
}

// TestEvict_whoIsNotBackAfterARestart does not come back, and its media ends.
func TestEvict_whoIsNotBackAfterARestart(t *testing.T) {
	inGroups(t, outlived(), func(w *world) {
		all, tickets := restarting(w, 3, nil)
		host := all[0].backWith(w, tickets[0])
		time.Sleep(collectTime)
		host.drain()
		host.send(&protocol.Evict{ID: 5, ConnID: all[1].conn, Host: hostToken})
		host.quiet()
		if calls := w.media.log(); calls[len(calls)-1] != "kick" || w.media.sessions() != 2 {
			t.Errorf("media node was asked %q", calls)
		}
		o := w.open()
		o.send(o.resumeMessage(all[1]))
		o.expectError(protocol.CodeResumeRefused, true)
		all[2].backWith(w, tickets[2]).drain()
	})
}

func TestAlias_replacesTheLink(t *testing.T) {
	inGroups(t, openRooms(), func(w *world) {
		old, link := w.link, newLink(t)
		host, member := groupOfTwo(w)
		host.rotate(link)
		host.rotate(link) // once more: the same

		late := w.open()
		late.send(late.connectMessage())
		late.expectError(protocol.CodeLinkReplaced, true)
		late.expectClose(websocket.StatusPolicyViolation)

		w.link = link
		c := w.joinGroup(at(1))
		if len(c.peers) != 2 {
			t.Errorf("peers %+v", c.peers)
		}
		expect[*protocol.PeerJoined](host)
		expect[*protocol.PeerJoined](member)
		c.keyPackage(testGroup)
		host.gets(c, protocol.EnvelopeKP, 0)
		member.gets(c, protocol.EnvelopeKP, 0)
		c.send(offerOf(2, "first", protocol.SourceMic))
		c.drain()

		// Everybody resumes under the name by which it came.
		for _, x := range []*client{member, c} {
			x.drop()
			synctest.Wait()
			y := w.back(x, false)
			y.drain()
		}
		o := w.open()
		resume := o.resumeMessage(member).Resume
		o.link = link
		other := o.connectMessage() // under the other name
		other.Resume = resume
		o.send(other)
		o.expectError(protocol.CodeResumeRefused, true)

		// An older name does not come back, by nobody's word.
		host.drain()
		host.rotate(old)
		late = w.open()
		late.link = old
		late.send(late.connectMessage())
		late.expectError(protocol.CodeLinkReplaced, true)
		if st := w.server.Stats(); st.Rooms != 1 || st.Members != 3 || st.Joins["link_replaced"] != 2 {
			t.Errorf("stats %+v", st)
		}
	})
}

// TestAlias_endsWithTheRoom: a name is free again when nobody is there.
func TestAlias_endsWithTheRoom(t *testing.T) {
	inGroups(t, openRooms(), func(w *world) {
		old, link := w.link, newLink(t)
		host, member := groupOfTwo(w)
		host.rotate(link)
		for _, c := range []*client{host, member} {
			c.send(&protocol.Leave{})
		}
		synctest.Wait()
		w.joinGroup(nil)
		w.link = link
		w.joinGroup(nil)
		w.link = old
		if st := w.server.Stats(); st.Rooms != 2 {
			t.Errorf("%d rooms", st.Rooms)
		}
	})
}

func TestAlias_refuses(t *testing.T) {
	inGroups(t, openRooms(), func(w *world) {
		host, _ := groupOfTwo(w)
		stranger := w.joinGroup(at(1)) // in the room, and no member connection
		host.drain()
		own := w.link
		living := newLink(t)
		w.link = living
		victim := w.joinGroup(nil)
		w.link = own

		wrongHost := make(protocol.Bytes, protocol.HostTokenSize)
		for name, c := range map[string]struct {
			by     *client
			link   ed25519.PrivateKey
			change func(a *protocol.Alias)
			code   protocol.Code
		}{
			"a living room":         {host, living, func(*protocol.Alias) {}, protocol.CodeAliasRefused},
			"no member connection":  {stranger, newLink(t), func(*protocol.Alias) {}, protocol.CodeAliasRefused},
			"not the host's token":  {stranger, newLink(t), func(a *protocol.Alias) { a.Host = wrongHost }, protocol.CodeNotHost},
			"signature of another":  {host, newLink(t), func(a *protocol.Alias) { a.LinkSig = stranger.aliasOf(newLink(t)).LinkSig }, protocol.CodeAliasRefused},
			"another room's key":    {host, newLink(t), func(a *protocol.Alias) { a.Room = w.room() }, protocol.CodeAliasRefused},
			"a signature over less": {host, newLink(t), func(a *protocol.Alias) { a.LinkSig[3] ^= 1 }, protocol.CodeAliasRefused},
		} {
			a := c.by.aliasOf(c.link)
			c.change(a)
			c.by.send(a)
			if e := expect[*protocol.Error](c.by); e.Code != c.code || e.Fatal || e.ID == nil || *e.ID != 6 {
				t.Errorf("%s: %+v", name, e)
			}
		}
		victim.quiet()
		w.link = living
		w.joinGroup(nil) // the living room is as it was
		expect[*protocol.PeerJoined](victim)
		w.link = own
		w.joinGroup(at(1)) // so is ours

		// A stranger that shows the host's token is taken for the host.
		a := stranger.aliasOf(newLink(t))
		a.Host = hostToken
		stranger.drain()
		stranger.send(a)
		expect[*protocol.Done](stranger)

		host.drain()
		for range protocol.MaxAliases - 1 {
			host.rotate(newLink(t))
		}
		host.send(host.aliasOf(newLink(t)))
		host.expectError(protocol.CodeAliasRefused, false)

		// What members have registered does not bind the host.
		for n := protocol.MaxAliases; n <= protocol.MaxHostAliases; n++ {
			a := host.aliasOf(newLink(t))
			a.Host = hostToken
			host.send(a)
			if n == protocol.MaxHostAliases {
				host.expectError(protocol.CodeAliasRefused, false)
				break
			}
			expect[*protocol.Done](host)
		}
	})
}

// TestAlias_outlivesTheService: who entered by a further name comes back to the
// room, and brings its name along.
func TestAlias_outlivesTheService(t *testing.T) {
	inGroups(t, outlived(), func(w *world) {
		old, link, last := w.link, newLink(t), newLink(t)
		a := w.joinGroup(nil)
		a.create(testGroup)
		a.drain()
		a.rotate(link)
		w.link = link
		b := w.joinGroup(at(0))
		a.drain()
		a.rotate(last)
		w.link = last
		c := w.joinGroup(at(0))
		for _, x := range []*client{a, b, c} {
			x.drain()
			x.send(offerOf(2, "of "+x.conn.String()[:4], protocol.SourceMic))
			x.drain()
		}
		w.crash()
		w.start()
		synctest.Wait()

		// The one that entered last is back first.
		c2 := c.backWith(w, nil)
		b2 := b.backWith(w, nil)
		if st := w.server.Stats(); st.Rooms != 1 || st.Members != 2 {
			t.Fatalf("stats %+v", st)
		}
		for _, replaced := range []ed25519.PrivateKey{old, link} {
			o := w.open()
			o.link = replaced
			o.send(o.connectMessage())
			o.expectError(protocol.CodeLinkReplaced, true)
		}
		d := w.joinGroup(nil) // by the last name
		if len(d.peers) != 2 {
			t.Errorf("peers %+v", d.peers)
		}
		a.backWith(w, nil)
		c2.drain()
		b2.drain()
	})
}
