package client_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sotto/e2ee/group"
	"sotto/signal/client"
)

// rotation does something at the moment at which a participant learns of a new link, before it tells the service.
type rotation struct {
	at func()

	mu   sync.Mutex
	conn net.Conn
	held chan struct{} // unless nil, nothing is written until it is closed
}

func (r *rotation) Message(group.Message) {}

func (r *rotation) Notice(n group.Notice) {
	if n.Code == group.NoticeLinkRotated {
		r.at()
	}
}

// dial keeps the connection.
func (r *rotation) dial(inner func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := inner(ctx, network, address)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.conn = conn
		return &heldConn{conn, r}, err
	}
}

type heldConn struct {
	net.Conn
	r *rotation
}

func (c *heldConn) Write(b []byte) (int, error) {
	c.r.mu.Lock()
	held := c.r.held
	c.r.mu.Unlock()
	if held != nil {
		<-held
	}
	return c.Conn.Write(b)
}

// host founds a room and is told of its new link with at.
func (c *call) host(r *rotation) *client.Participant {
	cfg := c.config(1, 1)
	cfg.Listener, cfg.Dial = r, r.dial(c.pipes.dial)
	p := c.join(cfg)
	<-p.Admitted()
	return p
}

// A connection that breaks before the service has heard of the new link: what was signed for it is of no use on the next.
func TestAlias_overABreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, 0)
		defer c.close()
		r := &rotation{}
		r.at = func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			_ = r.conn.Close()
		}
		host := c.host(r)
		defer host.Close()
		if err := host.RotateLink(); err != nil {
			t.Fatal(err)
		}
		advance(5 * time.Second)
		m := host.Membership()
		if m.Gen != 1 || m.LinkRefused {
			t.Errorf("generation %d, refused %v", m.Gen, m.LinkRefused)
		}
		guest := c.config(2, 1)
		guest.Keys, guest.Gen = m.Link, m.Gen
		b := c.join(guest)
		defer b.Close()
		advance(time.Second)
		if n := len(b.Peers()); n != 1 {
			t.Errorf("the guest meets %d", n)
		}
	})
}

// A service that refuses the name of the new link leaves a room that nobody can enter: that is told.
func TestAlias_refused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, 0)
		defer c.close()
		r := &rotation{}
		r.at = func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.held = make(chan struct{})
		}
		host := c.host(r)
		defer host.Close()
		if err := host.RotateLink(); err != nil {
			t.Fatal(err)
		}
		advance(time.Second)
		if host.Membership().LinkRefused {
			t.Error("refused before it was asked for")
		}
		squatter := c.config(2, 1)
		squatter.Keys = host.Membership().Link
		b := c.join(squatter)
		defer b.Close()
		close(r.held)
		advance(time.Second)
		if !host.Membership().LinkRefused {
			t.Error("not told")
		}
	})
}
