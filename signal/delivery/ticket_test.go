package delivery

import (
	"bytes"
	"encoding/hex"
	"testing"

	"sotto/signal/protocol"
)

func run(from byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = from + byte(i)
	}
	return b
}

// TestTicket_asDocumented is the worked example of PROTOCOL.md section 6.
func TestTicket_asDocumented(t *testing.T) {
	room, err := protocol.ParseRoomID("6bbvwcsqoa3ytgy7o2cjlm4tmy")
	if err != nil {
		t.Fatal(err)
	}
	conn := protocol.ConnID(run(0x40, 16))
	g := New(room, testKey, &Memory{at: &Position{Group: protocol.GroupInstance(run(0xb0, 16)), Slot: 41}})
	g.Join(conn)
	if _, ok := g.Ticket(conn); ok {
		t.Error("a ticket for no member connection")
	}
	g.admit(g.conns[conn])
	g.hostTag = protocol.HostTag(run(0x90, 32))
	c, ok := g.Ticket(conn)
	if got := hex.EncodeToString(c.Ticket); !ok || got != "694d920ec4904cdf51c2476e475d13f6ff139d41ce80f7be56489598de084e4f" {
		t.Errorf("ticket %s", got)
	}
}

// claimOf is a good ticket.
func claimOf(id protocol.ConnID, gi protocol.GroupInstance, slot uint64, token []byte) Claim {
	g := New(testRoom, testKey, NewMemory(0))
	c := Claim{Position: Position{Group: gi, Slot: slot}, HostTag: protocol.HostTag(token)}
	c.Ticket = g.mac(c.Position, id, c.HostTag)
	return c
}

func recovering(n byte) *Group {
	g := New(testRoom, testKey, NewMemory(0))
	g.Recover()
	for i := range n {
		g.Join(connOf(i))
	}
	return g
}

func TestSettle_highestTicketWins(t *testing.T) {
	token := bytes.Repeat([]byte{9}, 32)
	g := recovering(5)
	for id, c := range map[byte]Claim{
		0: claimOf(connOf(0), groupOf(1), 7, token),
		1: claimOf(connOf(1), groupOf(1), 9, token),
		2: claimOf(connOf(2), groupOf(2), 9, bytes.Repeat([]byte{8}, 32)), // a tie: the lower gi
		3: claimOf(connOf(3), groupOf(2), 3, bytes.Repeat([]byte{8}, 32)),
	} {
		if !g.Claim(connOf(id), c) {
			t.Errorf("the ticket of %d is refused", id)
		}
	}
	for _, id := range []byte{0, 4} {
		if _, refused := g.Create(create(connOf(id), groupOf(3), protocol.ConnID{1}), nil); refused != NotSettled {
			t.Errorf("a create meanwhile: %q", refused)
		}
		if _, refused := g.Commit(start, commit(connOf(id), groupOf(1), 9), nil, nil, nil); refused != NotSettled {
			t.Errorf("a commit meanwhile: %q", refused)
		}
		if _, refused := g.KeyPackage(start, protocol.EnvelopeHeader{From: connOf(id), GroupInstance: groupOf(1)}, nil); refused != NotSettled {
			t.Errorf("a key package meanwhile: %q", refused)
		}
	}
	if g.Position() != nil || g.IsHost(token) {
		t.Error("it stands somewhere already")
	}
	g.Settle()
	if at := g.Position(); at == nil || *at != (Position{groupOf(1), 9}) || !g.IsHost(token) {
		t.Errorf("stands at %+v", at)
	}
	for id, want := range []bool{true, true, false, false, false} {
		if g.IsMember(connOf(byte(id))) != want {
			t.Errorf("%d: member connection %v", id, !want)
		}
	}
	// Later tickets of the group are as good, and do not move it.
	g.Join(connOf(6))
	g.Join(connOf(7))
	if !g.Claim(connOf(6), claimOf(connOf(6), groupOf(1), 12, token)) || !g.IsMember(connOf(6)) || g.Position().Slot != 9 {
		t.Errorf("a later ticket; stands at %+v", g.Position())
	}
	if g.Claim(connOf(7), claimOf(connOf(7), groupOf(2), 12, token)); g.IsMember(connOf(7)) || g.Position().Slot != 9 {
		t.Errorf("a later ticket of another group; stands at %+v", g.Position())
	}
	if _, refused := g.Commit(start, commit(connOf(0), groupOf(1), 9), nil, nil, nil); refused != Accepted {
		t.Errorf("it goes on: %q", refused)
	}
}

// TestClaim_forged is attack 48 and its kin.
func TestClaim_forged(t *testing.T) {
	token := bytes.Repeat([]byte{9}, 32)
	good := claimOf(connOf(0), groupOf(1), 7, token)
	for name, change := range map[string]func(c *Claim){
		"slot 2^63":       func(c *Claim) { c.Slot = 1 << 63 },
		"next slot":       func(c *Claim) { c.Slot++ },
		"another group":   func(c *Claim) { c.Group = groupOf(2) },
		"another's":       func(c *Claim) { c.Ticket = claimOf(connOf(1), groupOf(1), 7, token).Ticket },
		"another host":    func(c *Claim) { c.HostTag[0] ^= 1 },
		"a flipped bit":   func(c *Claim) { c.Ticket[31] ^= 1 },
		"short":           func(c *Claim) { c.Ticket = c.Ticket[:31] },
		"none":            func(c *Claim) { c.Ticket = nil },
		"no group":        func(c *Claim) { c.Group = protocol.GroupInstance{} },
		"another service": func(c *Claim) { c.Ticket = New(testRoom, make([]byte, 32), nil).mac(c.Position, connOf(0), c.HostTag) },
		"another room":    func(c *Claim) { c.Ticket = New(protocol.RoomID{2}, testKey, nil).mac(c.Position, connOf(0), c.HostTag) },
	} {
		g := recovering(2)
		c := good
		c.Ticket = bytes.Clone(good.Ticket)
		change(&c)
		if g.Claim(connOf(0), c) {
			t.Errorf("%s: taken", name)
		}
		g.Claim(connOf(1), claimOf(connOf(1), groupOf(1), 2, token))
		g.Settle()
		if at := g.Position(); at == nil || at.Slot != 2 || g.IsMember(connOf(0)) {
			t.Errorf("%s: stands at %+v, member connection %v", name, at, g.IsMember(connOf(0)))
		}
	}
	g := recovering(1)
	if g.Claim(connOf(5), claimOf(connOf(5), groupOf(1), 7, token)) {
		t.Error("a connection that is not there")
	}
}

func TestSettle_withoutHolders(t *testing.T) {
	g := recovering(2)
	g.Claim(connOf(0), claimOf(connOf(0), groupOf(1), 7, nil))
	if g.Leave(connOf(0)) {
		t.Error("a group was forgotten that nobody knows")
	}
	g.Settle()
	if at := g.Position(); at != nil || g.Recovering() {
		t.Errorf("stands at %+v", at)
	}
	if _, refused := g.Create(create(connOf(1), groupOf(3), protocol.ConnID{1}), nil); refused != Accepted {
		t.Errorf("create: %q", refused)
	}
	g.Settle() // once more: nothing
	if at := g.Position(); at == nil || at.Group != groupOf(3) {
		t.Errorf("stands at %+v", at)
	}
}
