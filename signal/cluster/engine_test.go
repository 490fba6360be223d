package cluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"sotto/sfu"
)

func newSecret() []byte {
	b := make([]byte, MinSecret)
	_, _ = rand.Read(b)
	return b
}

func listening(t *testing.T, secret []byte) *Engine {
	t.Helper()
	e, err := StartEngine(EngineConfig{Listen: "127.0.0.1:0", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// TestEngine_overTheNetwork: a node in another process, as far as the engine can tell.
func TestEngine_overTheNetwork(t *testing.T) {
	secret := newSecret()
	e := listening(t, secret)
	outside, err := Connect(ConnectConfig{URL: e.Addr().String(), Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	inside, err := e.Connect("signal")
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	got := make(chan string, 1)
	if _, err := inside.Subscribe(subjectSignal, func(m *nats.Msg) { got <- string(m.Data) }); err != nil {
		t.Fatal(err)
	}
	if err := inside.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := outside.Publish(subjectSignal, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	select {
	case m := <-got:
		if m != "hello" {
			t.Errorf("got %q", m)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
	}
	if state, err := outside.TLSConnectionState(); err != nil || state.Version != tls.VersionTLS13 {
		t.Errorf("TLS %x, %v", state.Version, err)
	}
	// Nobody may use subjects of others' making.
	if err := outside.Publish("other", nil); err != nil {
		t.Fatal(err)
	}
	if err := outside.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := outside.LastError(); err == nil || !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("foreign subject: %v", err)
	}
}

func TestEngine_refusesStrangers(t *testing.T) {
	secret := newSecret()
	e := listening(t, secret)
	keys, err := deriveCredentials(secret)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := deriveCredentials(newSecret())
	if err != nil {
		t.Fatal(err)
	}
	anybody := keys.tlsConfig()
	anybody.VerifyConnection = nil
	anybody.Certificates = nil
	impostor := foreign.tlsConfig()
	impostor.VerifyConnection = nil
	for name, opts := range map[string][]nats.Option{
		"plain":                {},
		"no certificate":       {nats.Secure(anybody), nats.Nkey(keys.userPublic, keys.user.Sign)},
		"certificate of other": {nats.Secure(impostor), nats.Nkey(keys.userPublic, keys.user.Sign)},
		"no user":              {nats.Secure(keys.tlsConfig())},
		"other user":           {nats.Secure(keys.tlsConfig()), nats.Nkey(foreign.userPublic, foreign.user.Sign)},
		"other secret":         {nats.Secure(foreign.tlsConfig()), nats.Nkey(foreign.userPublic, foreign.user.Sign)},
		"other signature":      {nats.Secure(keys.tlsConfig()), nats.Nkey(keys.userPublic, foreign.user.Sign)},
	} {
		nc, err := nats.Connect(e.Addr().String(), append(opts, nats.NoReconnect())...)
		if err == nil {
			nc.Close()
			t.Errorf("%s: let in", name)
		}
	}
}

// TestConnect_demandsTheEnginesCertificate: a server that does not know the secret learns nothing but a certificate.
func TestConnect_demandsTheEnginesCertificate(t *testing.T) {
	e := listening(t, newSecret())
	nc, err := Connect(ConnectConfig{URL: e.Addr().String(), Secret: newSecret()})
	if err != nil {
		t.Fatal(err) // it goes on trying
	}
	defer nc.Close()
	if nc.IsConnected() {
		t.Error("connected to an engine of another secret")
	}
}

// TestConnect_waitsForTheEngine: services may start in any order.
func TestConnect_waitsForTheEngine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	secret := newSecret()
	nc, err := Connect(ConnectConfig{URL: address, Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	connected := nc.StatusChanged(nats.CONNECTED)
	e, err := StartEngine(EngineConfig{Listen: address, Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	select {
	case <-connected:
	case <-time.After(10 * time.Second):
		t.Fatal("not connected")
	}
}

func TestEngine_configuration(t *testing.T) {
	if _, err := StartEngine(EngineConfig{Listen: "127.0.0.1:0"}); !errors.Is(err, ErrConfig) {
		t.Errorf("no secret: %v", err)
	}
	if _, err := StartEngine(EngineConfig{Listen: "127.0.0.1:0", Secret: make([]byte, MinSecret-1)}); !errors.Is(err, ErrSecret) {
		t.Errorf("short secret: %v", err)
	}
	if _, err := StartEngine(EngineConfig{Listen: "nowhere", Secret: newSecret()}); !errors.Is(err, ErrConfig) {
		t.Errorf("bad address: %v", err)
	}
	taken := listening(t, newSecret())
	if _, err := StartEngine(EngineConfig{Listen: taken.Addr().String(), Secret: newSecret()}); err == nil {
		t.Error("started on a taken port")
	}
	if _, err := Connect(ConnectConfig{}); !errors.Is(err, ErrConfig) {
		t.Errorf("no URL: %v", err)
	}
	if _, err := Connect(ConnectConfig{URL: "127.0.0.1:1", Secret: []byte("short")}); !errors.Is(err, ErrSecret) {
		t.Errorf("short secret: %v", err)
	}
	inProcess, err := StartEngine(EngineConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer inProcess.Close()
	if inProcess.Addr().IsValid() {
		t.Errorf("listens at %v", inProcess.Addr())
	}
}

// TestEngine_restart: signaling and its engine are killed and start again; the node and a session of it are found.
func TestEngine_restart(t *testing.T) {
	secret := newSecret()
	timing := Timing{Beat: 20 * time.Millisecond, Settle: 2 * time.Second}
	first, err := StartEngine(EngineConfig{Listen: "127.0.0.1:0", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	address := first.Addr().String()
	outside, err := Connect(ConnectConfig{URL: address, Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	f := newFakeNode()
	ctx, cancel := context.WithCancel(background)
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, outside, ServeConfig{NodeID: "a", Media: f, Timing: timing}) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	engine := first
	for round := range 2 {
		nc, err := engine.Connect("signal")
		if err != nil {
			t.Fatal(err)
		}
		r, err := NewRemote(nc, RemoteConfig{Timing: timing})
		if err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			if _, err := r.Join(background, sfu.JoinRequest{Room: "room", Peer: "p"}); err != nil {
				t.Error(err)
			}
		} else if _, err := r.Update(background, sfu.Update{Room: "room", Peer: "p"}); err != nil {
			t.Errorf("after the restart: %v", err)
		}
		r.Close()
		nc.Close()
		engine.Close()
		if round == 0 {
			if engine, err = StartEngine(EngineConfig{Listen: address, Secret: secret}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestRemote_engineAway: the engine of another process is restarted while node and signaling live. Nobody takes anybody as lost,
// and what happened meanwhile is told after.
func TestRemote_engineAway(t *testing.T) {
	secret := newSecret()
	timing := Timing{Beat: 20 * time.Millisecond, Settle: 3 * time.Second, Lost: 20 * time.Second}
	engine, err := StartEngine(EngineConfig{Listen: "127.0.0.1:0", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	address := engine.Addr().String()
	connect := func() *nats.Conn {
		nc, err := Connect(ConnectConfig{URL: address, Secret: secret})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	f := newFakeNode()
	ctx, cancel := context.WithCancel(background)
	served := make(chan error, 1)
	node := connect()
	go func() { served <- Serve(ctx, node, ServeConfig{NodeID: "a", Media: f, Timing: timing}) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	nc := connect()
	r, err := NewRemote(nc, RemoteConfig{Timing: timing})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Join(background, sfu.JoinRequest{Room: "room", Peer: "p"}); err != nil {
		t.Fatal(err)
	}
	events, err := r.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	next := func() string {
		select {
		case e := <-events:
			return text(e)
		case <-time.After(15 * time.Second):
			t.Fatal("no event")
			return ""
		}
	}
	want(t, "snapshot", []string{next()}, "synced")
	gone, back := nc.StatusChanged(nats.RECONNECTING), nc.StatusChanged(nats.CONNECTED)
	engine.Close()
	<-gone
	if _, err := r.Update(background, sfu.Update{Room: "room", Peer: "p"}); !errors.Is(err, ErrNoNode) {
		t.Errorf("request without an engine: %v", err)
	}
	f.event(sfu.Event{Kind: sfu.EventConnected, Room: "room", Peer: "p"}) // nobody hears it now
	if engine, err = StartEngine(EngineConfig{Listen: address, Secret: secret}); err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	<-back
	want(t, "event", []string{next()}, "connected p")
	if _, err := r.Update(background, sfu.Update{Room: "room", Peer: "p"}); err != nil {
		t.Error(err)
	}
}

func TestCredentials_derivation(t *testing.T) {
	secret := bytes.Repeat([]byte{7}, MinSecret)
	a, err := deriveCredentials(secret)
	if err != nil {
		t.Fatal(err)
	}
	b, err := deriveCredentials(secret)
	if err != nil {
		t.Fatal(err)
	}
	// Fixed, so that versions of Sotto understand each other.
	const public = "UAU4COIV2TNIRVPXBSUJ2USSJY76WEAX7NQZ2TEOC4IZFMTS6ZYFOCM2"
	if a.userPublic != public || b.userPublic != public {
		t.Errorf("user %s", a.userPublic)
	}
	if _, err := deriveCredentials(nil); !errors.Is(err, ErrSecret) {
		t.Errorf("no secret: %v", err)
	}
}

// FuzzTake: whatever comes from the other side, nobody falls.
func FuzzTake(f *testing.F) {
	for _, seed := range []string{
		`{"gen":"1","n":1,"event":{"kind":"opened","room":"r","peer":"p"}}`,
		`{"gen":"1","n":2,"event":{"kind":"slots","room":"r","peer":"p","slots":[{"MID":"1","Peer":"q","Source":"mic"}]}}`,
		`{"gen":"1","n":2,"event":{"kind":"closed","room":"r","peer":"p","reason":"timeout"}}`,
		`{"gen":"1","n":2,"part":{"index":0,"last":true,"sessions":[{"room":"r","peer":"p","connected":true,"running":["mic"]}]}}`,
		`{"gen":"2","n":0}`, `{"gen":"2","bye":true}`, `{}`, `[]`, `{"n":-1}`, "",
	} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		r := &Remote{nodes: map[string]*node{}, rooms: map[string]*placement{}, readers: map[*reader]struct{}{}}
		r.nc, r.log = &nats.Conn{}, zap.NewNop()
		q := &reader{ready: make(chan struct{}, 1)}
		r.readers[q] = struct{}{}
		for _, id := range []string{"a", "b"} {
			for _, data := range []string{first, second, first} {
				r.take(time.Unix(0, 0), &nats.Msg{Subject: subjectEvents(id), Data: []byte(data)})
			}
		}
		sessions, placed := 0, 0
		for _, n := range r.nodes {
			sessions += len(n.sessions)
			for _, s := range n.sessions {
				if s.placed {
					placed++
				}
			}
		}
		for _, p := range r.rooms {
			placed -= p.sessions
			if p.sessions == 0 {
				t.Error("an empty room is kept")
			}
		}
		if sessions != r.count || placed != 0 {
			t.Errorf("%d sessions, counted %d, %d placed without a room", sessions, r.count, placed)
		}
	})
}
