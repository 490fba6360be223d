package signal

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"sotto/signal/delivery"
	"sotto/signal/protocol"
)

func TestGroup_fromCreateToCommit(t *testing.T) {
	inGroups(t, openRooms(), func(w *world) {
		a, b := w.joinGroup(nil), w.joinGroup(nil)
		expect[*protocol.PeerJoined](a)

		// The first create wins, and everybody sees it, its sender too.
		a.create(testGroup)
		a.gets(a, protocol.EnvelopeCreate, 0)
		a.getsTicket(0)
		b.gets(a, protocol.EnvelopeCreate, 0)
		b.create(protocol.GroupInstance{1})
		b.getsStale(at(0))

		// Key packages go to all others.
		c := w.joinGroup(at(0))
		expect[*protocol.PeerJoined](a)
		expect[*protocol.PeerJoined](b)
		b.keyPackage(testGroup)
		a.gets(b, protocol.EnvelopeKP, 0)
		c.gets(b, protocol.EnvelopeKP, 0)
		b.keyPackage(protocol.GroupInstance{1})
		b.getsStale(at(0))

		// A bundle moves the slot and makes a member connection.
		b.commit(testGroup, 0)
		b.getsStale(at(0))
		a.admit(testGroup, 0, b)
		a.gets(a, protocol.EnvelopeCommit, 0)
		a.getsTicket(1)
		b.gets(a, protocol.EnvelopeCommit, 0)
		b.gets(a, protocol.EnvelopeWelcome, 0)
		b.getsTicket(1)
		c.gets(a, protocol.EnvelopeCommit, 0)
		c.quiet() // it is not on the list: no welcome, no ticket
		b.commit(testGroup, 1)
		for _, x := range []*client{a, b, c} {
			x.gets(b, protocol.EnvelopeCommit, 1)
		}
		a.getsTicket(2)
		b.getsTicket(2)

		// Who was slower learns where it stands.
		a.commit(testGroup, 1)
		a.getsStale(at(2))
		a.bundle(testGroup, 1, 100, 100, c)
		a.getsStale(at(2))
		c.quiet()

		// The group goes with its last member connection.
		a.send(&protocol.Leave{})
		for _, x := range []*client{b, c} {
			expect[*protocol.PeerLeft](x)
			x.quiet()
		}
		b.send(&protocol.Leave{})
		expect[*protocol.PeerLeft](c)
		c.getsGroup(nil)
		c.commit(testGroup, 2)
		c.getsStale(nil)
		c.getsGroup(nil)
		c.create(protocol.GroupInstance{7})
		c.gets(c, protocol.EnvelopeCreate, 0)

		st := w.server.Stats()
		want := map[string]uint64{
			groupOK: 5, string(delivery.GroupExists): 1, string(delivery.OtherGroup): 1, string(delivery.NotMember): 1,
			string(delivery.StaleSlot): 2, string(delivery.NoGroup): 1,
		}
		for result, n := range st.Group {
			if n != want[result] {
				t.Errorf("%s: %d, want %d", result, n, want[result])
			}
		}
		if st.Groups != 1 {
			t.Errorf("%d groups", st.Groups)
		}
	})
}

// TestGroup_twentyCommitAtOnce: one is accepted, and everybody sees the same one.
func TestGroup_twentyCommitAtOnce(t *testing.T) {
	inGroups(t, openRooms(), func(w *world) {
		const n = 20
		all := []*client{w.joinGroup(nil)}
		all[0].create(testGroup)
		for len(all) < n {
			all = append(all, w.joinGroup(at(0)))
		}
		all[0].admit(testGroup, 0, all[1:]...)
		for _, c := range all {
			c.drain()
		}
		w.together = true
		for round := range uint64(3) {
			slot := 1 + round
			done := make(chan struct{})
			for _, c := range all {
				go func() { defer func() { done <- struct{}{} }(); c.commit(testGroup, slot) }()
			}
			for range all {
				<-done
			}
			synctest.Wait()
			var winner []byte
			stale := 0
			for _, c := range all {
				for len(c.in) > 0 {
					switch r := c.next(); m := r.msg.(type) {
					case *protocol.Stale:
						stale++
					case nil:
						if winner != nil && !bytes.Equal(r.envelope, winner) {
							t.Fatal("two commits for one slot")
						}
						winner = r.envelope
					case *protocol.Ticket:
						if m.Slot != slot+1 {
							t.Errorf("ticket for slot %d", m.Slot)
						}
					}
				}
			}
			if winner == nil || stale != n-1 {
				t.Fatalf("slot %d: %d were refused", slot, stale)
			}
			time.Sleep(time.Second)
		}
	})
}

// TestGroup_largestBundles: the limits of the connection let the largest
// messages of a group through, also over a resumption.
func TestGroup_largestBundles(t *testing.T) {
	inGroups(t, openRooms(), func(w *world) {
		a, b := w.joinGroup(nil), w.joinGroup(nil)
		a.create(testGroup)
		a.drain()
		b.drain()
		b.drop() // it hears all of it later
		synctest.Wait()
		for slot := range uint64(2) {
			a.bundle(testGroup, slot, protocol.MaxSealedCommit, protocol.MaxSealedWelcome, b)
			a.gets(a, protocol.EnvelopeCommit, slot)
			a.getsTicket(slot + 1)
		}
		b2 := w.back(b, false)
		for slot := range uint64(2) {
			b2.gets(a, protocol.EnvelopeCommit, slot)
			b2.gets(a, protocol.EnvelopeWelcome, 0)
		}
		b2.getsTicket(2)

		// One byte more is refused, and breaks nothing.
		time.Sleep(10 * time.Second)
		a.bundle(testGroup, 2, protocol.MaxSealedCommit+1, 100, b)
		a.expectError(protocol.CodeTooLarge, false)
		a.write(websocket.MessageBinary, a.sealed(protocol.EnvelopeHeader{Type: protocol.EnvelopeKP, GroupInstance: testGroup}, protocol.MaxSealedCreate+1))
		a.expectError(protocol.CodeTooLarge, false)
		a.commit(testGroup, 2)
		a.gets(a, protocol.EnvelopeCommit, 2)

		// What cannot be a commit is cut while it is read.
		b2.drain()
		b2.write(websocket.MessageBinary, b2.envelope(protocol.ConnID{}, protocol.MaxMessage))
		b2.expectClose(websocket.StatusMessageTooBig)
	})
}

func TestGroup_refusesBadBundles(t *testing.T) {
	inGroups(t, openRooms(), func(w *world) {
		watcher, victim := groupOfTwo(w)
		for name, change := range map[string]func(c *client, b *protocol.Bundle){
			"welcome of another": func(_ *client, b *protocol.Bundle) { copy(b.Welcome[36:], victim.conn[:]) },
			"both of another": func(_ *client, b *protocol.Bundle) {
				copy(b.Welcome[36:], victim.conn[:])
				copy(b.Commit[36:], victim.conn[:])
			},
			"welcome of another group": func(_ *client, b *protocol.Bundle) { b.Welcome[4] ^= 1 },
			"two commits":              func(_ *client, b *protocol.Bundle) { b.Welcome = b.Commit },
			"two welcomes":             func(_ *client, b *protocol.Bundle) { b.Commit = b.Welcome },
			"admits itself":            func(c *client, b *protocol.Bundle) { b.Admits[0] = c.conn },
			"admits one twice":         func(_ *client, b *protocol.Bundle) { b.Admits = append(b.Admits, b.Admits[0]) },
			"admits nobody":            func(_ *client, b *protocol.Bundle) { b.Admits = nil },
			"no welcome":               func(_ *client, b *protocol.Bundle) { b.Welcome = nil },
		} {
			c := w.joinGroup(at(1))
			b := protocol.Bundle{
				Admits:  []protocol.ConnID{victim.conn},
				Commit:  c.sealed(protocol.EnvelopeHeader{Type: protocol.EnvelopeCommit, GroupInstance: testGroup, Slot: 1}, 100),
				Welcome: c.sealed(protocol.EnvelopeHeader{Type: protocol.EnvelopeWelcome, GroupInstance: testGroup}, 100),
			}
			change(c, &b)
			c.write(websocket.MessageBinary, b.Append(nil))
			if e := expect[*protocol.Error](c); e.Code != protocol.CodeBadEnvelope || !e.Fatal {
				t.Errorf("%s: %+v", name, e)
			}
			c.expectClose(websocket.StatusUnsupportedData)
		}
		watcher.drain()
		watcher.commit(testGroup, 1) // nothing has moved
		watcher.gets(watcher, protocol.EnvelopeCommit, 1)
	})
}

// TestGroup_strangersCannotTouchIt are attacks 32, 41 and 46: who knows the path
// alone is not admitted, and so creates nothing; who holds the link, but is no
// member connection, commits nothing.
func TestGroup_strangersCannotTouchIt(t *testing.T) {
	inGroups(t, openRooms(), func(w *world) {
		squatter := w.open()
		squatter.create(testGroup)
		squatter.expectError(protocol.CodeBadState, true)
		squatter = w.open()
		m := squatter.connectMessage()
		public, own, _ := ed25519.GenerateKey(nil)
		m.LinkPub = protocol.Bytes(public)
		m.LinkSig = ed25519.Sign(own, protocol.ConnectSigned(testHost, squatter.hello.Nonce, squatter.conn))
		squatter.send(m)
		squatter.expectError(protocol.CodeNotAdmitted, true)
		squatter = w.open()
		m = squatter.connectMessage()
		m.LinkSig[0] ^= 1
		squatter.send(m)
		squatter.expectError(protocol.CodeBadSignature, true)

		a, b := groupOfTwo(w)
		c := w.joinGroup(at(1))
		a.drain()
		b.drain()
		for range 3 {
			c.commit(testGroup, 1)
			c.getsStale(at(1))
		}
		c.admit(testGroup, 1, a)
		c.getsStale(at(1))
		c.admit(testGroup, 1, a) // too many, and answered all the same
		c.getsStale(at(1))
		a.quiet()
		b.quiet()
		if st := w.server.Stats(); st.Group[string(delivery.NotMember)] != 4 || st.Group[string(delivery.CommitRate)] != 1 {
			t.Errorf("results %v", st.Group)
		}
	})
}

func TestGroup_keyPackageFlood(t *testing.T) {
	inGroups(t, openRooms(), func(w *world) {
		a, _ := groupOfTwo(w)
		c := w.joinGroup(at(1))
		a.drain()
		for range 20 {
			c.keyPackage(testGroup)
		}
		c.quiet()
		if n := len(a.in); n != 4 {
			t.Errorf("%d key packages came through", n)
		}
		if got := w.server.Stats().Group[string(delivery.KeyRate)]; got != 16 {
			t.Errorf("%d were counted as dropped", got)
		}
	})
}

// TestGroup_resumptionKeepsMembership: a lost WebSocket costs nothing, and a
// ticket that was lost with it is given again.
func TestGroup_resumptionKeepsMembership(t *testing.T) {
	inGroups(t, openRooms(), func(w *world) {
		a, b := groupOfTwo(w)
		b.drop()
		synctest.Wait()
		a.commit(testGroup, 1)
		a.drain()
		o := w.open()
		o.send(o.resumeMessage(b))
		welcome := expect[*protocol.Welcome](o)
		if welcome.Group == nil || *welcome.Group != *at(2) {
			t.Errorf("group %+v", welcome.Group)
		}
		o.gets(a, protocol.EnvelopeCommit, 1)
		o.getsTicket(2)
		o.commit(testGroup, 2)
		o.gets(o, protocol.EnvelopeCommit, 2)
		a.gets(o, protocol.EnvelopeCommit, 2)
	})
}

// slot is where the room's group stands.
func (w *world) slot() uint64 {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	r := w.server.rooms[w.room()]
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.position(); p != nil {
		return p.Slot
	}
	return 0
}

// TestGroup_oneOrderForAll: whatever is sent at once, everybody sees the same
// envelopes under the same numbers, and commits for each slot in turn.
func TestGroup_oneOrderForAll(t *testing.T) {
	inGroups(t, openRooms(), func(w *world) {
		all := []*client{w.joinGroup(nil)}
		all[0].create(testGroup)
		for len(all) < 6 {
			all = append(all, w.joinGroup(at(0)))
		}
		all[0].admit(testGroup, 0, all[1:]...)
		for _, c := range all {
			c.drain()
		}
		w.together = true
		var sending sync.WaitGroup
		for i, c := range all {
			random := rand.New(rand.NewPCG(uint64(i), 7))
			sending.Go(func() {
				for range 40 {
					time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
					slot := w.slot() + uint64(random.IntN(2)) // wrong, or soon so
					switch random.IntN(6) {
					case 0:
						c.keyPackage(testGroup)
					case 1:
						c.write(websocket.MessageBinary, c.envelope(protocol.ConnID{}, 100))
					case 2:
						c.bundle(testGroup, slot, 100, 100, all[(i+1)%len(all)])
					default:
						c.commit(testGroup, slot)
					}
				}
			})
		}
		sending.Wait()
		order := map[uint64][]byte{}
		var last uint64 // slot of everybody
		for _, c := range all {
			slot := uint64(1)
			for _, r := range c.only(func(r received) bool { return r.envelope != nil }) {
				seq, e, err := protocol.ParseRelayed(r.envelope)
				if err != nil {
					t.Fatal(err)
				}
				if before, seen := order[seq]; seen && !bytes.Equal(before, r.envelope) {
					t.Fatalf("two envelopes under number %d", seq)
				}
				order[seq] = r.envelope
				if e.Type == protocol.EnvelopeCommit {
					if e.Slot != slot {
						t.Fatalf("commit for slot %d, want %d", e.Slot, slot)
					}
					slot++
				}
			}
			if last == 0 {
				last = slot
			}
			if slot != last || slot < 3 {
				t.Errorf("one saw the slots up to %d, another up to %d", slot, last)
			}
		}
	})
}

// TestGroup_nothingOfItInTheLog: positions, tickets and tokens are for clients.
func TestGroup_nothingOfItInTheLog(t *testing.T) {
	inGroups(t, outlived(), func(w *world) {
		all, tickets := restarting(w, 2, nil)
		a := all[0].backWith(w, tickets[0])
		a.send(&protocol.Evict{ID: 5, ConnID: all[1].conn, Host: make([]byte, protocol.HostTokenSize)})
		synctest.Wait()
		var text strings.Builder
		for _, e := range w.logs.All() {
			fmt.Fprintf(&text, "%s %v\n", e.Message, e.ContextMap())
		}
		for _, secret := range []string{
			testGroup.String(), tickets[0].Ticket.String(), tickets[0].HostTag.String(), protocol.Bytes(hostToken).String(),
			a.conn.String(), w.room().String(),
		} {
			if strings.Contains(text.String(), secret) {
				t.Errorf("%s is in the log", secret)
			}
		}
	})
}
