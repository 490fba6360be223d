package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// bench is an Endpoint on a ChanBind, driven by hand.
type bench struct {
	t    testing.TB
	bind *ChanBind
	e    *Endpoint
	now  time.Time
}

func newBench(t testing.TB) *bench {
	t.Helper()
	certificate, err := NewCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, bind: NewChanBind(netip.MustParseAddrPort("192.0.2.1:3478"), 2048), now: time.Unix(1_700_000_000, 0)}
	if b.e, err = NewEndpoint(Config{Bind: b.bind, Certificate: certificate, Limits: Limits{Sessions: 8}}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) open() (SessionID, OpenConfig) {
	b.t.Helper()
	cfg := OpenConfig{
		Local:             NewCredentials(NodeID{}),
		Remote:            Credentials{Ufrag: "peer", Pwd: "0123456789012345678901"},
		RemoteFingerprint: b.e.certificate.Fingerprint(),
	}
	id, err := b.e.Open(b.now, cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	return id, cfg
}

// deliver gives one datagram to the endpoint and returns what it sent at once.
func (b *bench) deliver(data []byte, from netip.AddrPort) []Packet {
	b.t.Helper()
	b.e.Receive(b.now, Datagram{Data: append([]byte(nil), data...), From: from, At: b.now})
	return b.sent()
}

func (b *bench) sent() (out []Packet) {
	for {
		select {
		case p := <-b.bind.sent:
			out = append(out, p)
		default:
			return out
		}
	}
}

func (b *bench) drops(r DropReason) uint64 { return b.e.Stats().Drops[r] }

type setter = stun.Setter

// check builds a connectivity check as a browser sends it.
func check(cfg OpenConfig, extra ...setter) []byte {
	setters := append([]setter{
		stun.BindingRequest, stun.TransactionID,
		stun.NewUsername(cfg.Local.Ufrag + ":" + cfg.Remote.Ufrag),
		stun.RawAttribute{Type: stun.AttrICEControlling, Length: 8, Value: make([]byte, 8)},
		stun.RawAttribute{Type: stun.AttrPriority, Length: 4, Value: []byte{0x6e, 0, 1, 0xff}},
		stun.RawAttribute{Type: 0xc057, Length: 4, Value: []byte{0, 0, 0, 1}}, // GOOG-NETWORK-INFO
	}, extra...)
	setters = append(setters, stun.NewShortTermIntegrity(cfg.Local.Pwd), stun.Fingerprint)
	return stun.MustBuild(setters...).Raw
}

func nominating(cfg OpenConfig) []byte {
	return check(cfg, stun.RawAttribute{Type: stun.AttrUseCandidate})
}

func client(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), uint16(40000+i))
}

func TestSTUN_answersChecks(t *testing.T) {
	for _, from := range []string{"198.51.100.7:1234", "[2001:db8::7]:4321"} {
		b := newBench(t)
		id, cfg := b.open()
		request := check(cfg)
		from := netip.MustParseAddrPort(from)
		out := b.deliver(request, from)
		if len(out) != 1 || out[0].To != from {
			t.Fatalf("%v", out)
		}
		m := &stun.Message{Raw: out[0].Data}
		if err := m.Decode(); err != nil || m.Type != stun.BindingSuccess {
			t.Fatal(err, m)
		}
		if [12]byte(request[8:20]) != m.TransactionID {
			t.Fatal("transaction id")
		}
		if err := stun.NewShortTermIntegrity(cfg.Local.Pwd).Check(m); err != nil {
			t.Fatal(err)
		}
		if err := stun.Fingerprint.Check(m); err != nil {
			t.Fatal(err)
		}
		var mapped stun.XORMappedAddress
		if err := mapped.GetFrom(m); err != nil || mapped.String() != from.String() {
			t.Fatal(err, mapped)
		}
		if len(out[0].Data) > len(request) {
			t.Fatalf("answer of %d bytes to %d", len(out[0].Data), len(request))
		}
		if b.e.session(id).current().addr != from {
			t.Fatal("no path")
		}
	}
}

// P5: no reply to anything else.
func TestSTUN_answersNobodyElse(t *testing.T) {
	b := newBench(t)
	_, cfg := b.open()
	wrongPwd, wrongUfrag, wrongRemote := cfg, cfg, cfg
	wrongPwd.Local.Pwd = "0123456789012345678901"
	wrongUfrag.Local.Ufrag = NewCredentials(NodeID{}).Ufrag
	wrongRemote.Remote.Ufrag = "else"
	user := stun.NewUsername(cfg.Local.Ufrag + ":" + cfg.Remote.Ufrag)
	pwd := stun.NewShortTermIntegrity(cfg.Local.Pwd)
	flipped := check(cfg)
	flipped[30] ^= 1
	flippedTail := check(cfg)
	flippedTail[len(flippedTail)-1] ^= 1
	build := func(s ...setter) []byte { return stun.MustBuild(s...).Raw }
	for _, test := range []struct {
		name string
		data []byte
		want DropReason
	}{
		{"wrong password", check(wrongPwd), DropSTUNIntegrity},
		{"unknown ufrag", check(wrongUfrag), DropSTUNUnknown},
		{"other remote ufrag", check(wrongRemote), DropSTUNUnknown},
		{"no integrity", build(stun.BindingRequest, stun.TransactionID, user, stun.Fingerprint), DropSTUNIntegrity},
		{"no fingerprint", build(stun.BindingRequest, stun.TransactionID, user, pwd), DropSTUNMalformed},
		{"no user name", build(stun.BindingRequest, stun.TransactionID, pwd, stun.Fingerprint), DropSTUNUnknown},
		{"user name behind integrity", build(stun.BindingRequest, stun.TransactionID, pwd, user, stun.Fingerprint), DropSTUNUnknown},
		{"plain request of a scanner", build(stun.BindingRequest, stun.TransactionID), DropSTUNMalformed},
		{"indication", build(stun.NewType(stun.MethodBinding, stun.ClassIndication), stun.TransactionID, user, pwd, stun.Fingerprint), DropSTUNMalformed},
		{"response", build(stun.BindingSuccess, stun.TransactionID, user, pwd, stun.Fingerprint), DropSTUNMalformed},
		{"allocate", build(stun.NewType(stun.MethodAllocate, stun.ClassRequest), stun.TransactionID, user, pwd, stun.Fingerprint), DropSTUNMalformed},
		{"flipped bit", flipped, DropSTUNMalformed},
		{"flipped fingerprint", flippedTail, DropSTUNMalformed},
		{"trailing bytes", append(check(cfg), 0, 0, 0, 0), DropSTUNMalformed},
		{"truncated", check(cfg)[:60], DropSTUNMalformed},
		{"header only", check(cfg)[:20], DropSTUNMalformed},
		{"one byte", []byte{0}, DropSTUNMalformed},
		{"long user name", check(OpenConfig{Local: Credentials{Ufrag: fmt.Sprintf("%0500d", 1), Pwd: "x"}, Remote: cfg.Remote}), DropSTUNUnknown},
		{"TURN channel", []byte{0x40, 0, 0, 0}, DropMalformed},
		{"nothing", nil, DropMalformed},
		{"DTLS of a stranger", whole(messageClientHello, 0, helloBody(versionDTLS12, suiteECDHEECDSAWithAES128GCM)), DropUnknownAddress},
		{"RTP of a stranger", make128(), DropUnknownAddress},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := b.drops(test.want)
			if out := b.deliver(test.data, client(9)); len(out) != 0 {
				t.Fatalf("answered with %d bytes", len(out[0].Data))
			}
			if b.drops(test.want) != before+1 {
				t.Fatalf("%v not counted: %v", test.want, dropNames(b.e.stats))
			}
		})
	}
	if b.e.addresses.used != 0 {
		t.Fatal("learned an address")
	}
}

func make128() []byte { b := make([]byte, 100); b[0] = 128; return b }

func errorCode(t *testing.T, out []Packet) stun.ErrorCode {
	t.Helper()
	if len(out) != 1 {
		t.Fatalf("%d answers", len(out))
	}
	m := &stun.Message{Raw: out[0].Data}
	var code stun.ErrorCodeAttribute
	if err := m.Decode(); err != nil || m.Type != stun.BindingError || code.GetFrom(m) != nil {
		t.Fatal(err, m)
	}
	return code.Code
}

func TestSTUN_errors(t *testing.T) {
	b := newBench(t)
	id, cfg := b.open()
	controlled := stun.RawAttribute{Type: stun.AttrICEControlled, Length: 8, Value: make([]byte, 8)}
	if code := errorCode(t, b.deliver(check(cfg, controlled), client(1))); code != stun.CodeRoleConflict {
		t.Fatal(code)
	}
	unknown := stun.RawAttribute{Type: 0x7777, Length: 4, Value: make([]byte, 4)}
	if code := errorCode(t, b.deliver(check(cfg, unknown), client(1))); code != stun.CodeUnknownAttribute {
		t.Fatal(code)
	}
	if b.e.session(id).current() != nil {
		t.Fatal("a refused check made a path")
	}
}

func TestSTUN_movesThePath(t *testing.T) {
	b := newBench(t)
	id, cfg := b.open()
	path := func() netip.AddrPort { return b.e.session(id).current().addr }
	b.deliver(check(cfg), client(1))
	b.deliver(check(cfg), client(2))
	if path() != client(1) {
		t.Fatal("moved without reason")
	}
	b.deliver(nominating(cfg), client(2))
	if path() != client(2) {
		t.Fatal("not moved by USE-CANDIDATE")
	}
	b.now = b.now.Add(moveAfter - time.Millisecond)
	b.deliver(check(cfg), client(3))
	if path() != client(2) {
		t.Fatal("moved while the old path is heard")
	}
	b.now = b.now.Add(time.Millisecond)
	b.deliver(check(cfg), client(3))
	if path() != client(3) || b.e.stats.PathMoves != 2 {
		t.Fatal("not moved after silence")
	}
}

// P4: a session keeps 20 addresses, whatever a client checks from, and the path is never the one given up.
func TestSTUN_keepsTwentyAddresses(t *testing.T) {
	b := newBench(t)
	id, cfg := b.open()
	for i := range 200 {
		b.now = b.now.Add(time.Millisecond)
		b.deliver(check(cfg), client(i))
	}
	if b.e.addresses.used != maxRemotes || b.e.session(id).current().addr != client(0) {
		t.Fatal(b.e.addresses.used)
	}
	b.e.Close(b.now, id)
	if b.e.addresses.used != 0 || len(b.e.ufrags) != 0 {
		t.Fatal("left behind")
	}
}

// A participant who forges another's address in checks of his own does not get it.
func TestSTUN_takesNoLiveAddress(t *testing.T) {
	b := newBench(t)
	ida, a := b.open()
	idb, mallory := b.open()
	b.deliver(check(a), client(1))
	b.now = b.now.Add(takeAfter - time.Millisecond)
	if out := b.deliver(nominating(mallory), client(1)); len(out) != 0 || b.drops(DropSTUNTaken) != 1 {
		t.Fatal("taken")
	}
	b.now = b.now.Add(time.Millisecond)
	if out := b.deliver(nominating(mallory), client(1)); len(out) != 1 {
		t.Fatal("an address that was given up stays taken")
	}
	if b.e.session(ida).current() != nil || b.e.session(idb).current().addr != client(1) {
		t.Fatal("paths")
	}
}

func TestSTUN_restart(t *testing.T) {
	b := newBench(t)
	id, old := b.open()
	b.deliver(check(old), client(1))
	next := old
	next.Local, next.Remote.Ufrag = NewCredentials(NodeID{}), "again"
	if err := b.e.Restart(b.now, id, next.Local, next.Remote); err != nil {
		t.Fatal(err)
	}
	if len(b.deliver(check(old), client(1))) != 1 {
		t.Fatal("the old credentials must work until the new ones are used")
	}
	if len(b.deliver(check(next), client(2))) != 1 {
		t.Fatal("the new ones do not work")
	}
	if len(b.deliver(check(old), client(1))) != 0 || len(b.e.ufrags) != 1 {
		t.Fatal("the old ones still work")
	}
	// P8
	refused := 0
	for range 100 {
		if err := b.e.Restart(b.now, id, NewCredentials(NodeID{}), next.Remote); errors.Is(err, ErrRestartRate) {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if refused != 100-restartBurst+1 || len(b.e.ufrags) != 2 {
		t.Fatal(refused, len(b.e.ufrags))
	}
	b.now = b.now.Add(restartInterval)
	if err := b.e.Restart(b.now, id, NewCredentials(NodeID{}), next.Remote); err != nil {
		t.Fatal(err)
	}
	if err := b.e.Restart(b.now, id+1<<sessionIndexBits, NewCredentials(NodeID{}), next.Remote); !errors.Is(err, ErrNoSession) {
		t.Fatal(err)
	}
}

func TestOpen_refuses(t *testing.T) {
	b := newBench(t)
	_, cfg := b.open()
	if _, err := b.e.Open(b.now, cfg); !errors.Is(err, ErrUfragInUse) {
		t.Fatal(err)
	}
	for _, bad := range []Credentials{
		{}, {Ufrag: "abc", Pwd: cfg.Remote.Pwd}, {Ufrag: "abcd", Pwd: "short"},
		{Ufrag: "ab:d", Pwd: cfg.Remote.Pwd}, {Ufrag: "abcd", Pwd: cfg.Remote.Pwd + "\r\n"},
	} {
		c := cfg
		c.Local, c.Remote = NewCredentials(NodeID{}), bad
		if _, err := b.e.Open(b.now, c); !errors.Is(err, ErrCredentials) {
			t.Fatalf("%#v: %v", bad, err)
		}
	}
	c := cfg
	c.Local, c.RemoteFingerprint = NewCredentials(NodeID{}), Fingerprint{}
	if _, err := b.e.Open(b.now, c); !errors.Is(err, ErrFingerprint) {
		t.Fatal(err)
	}
	ids := map[SessionID]bool{}
	for range 7 {
		id, _ := b.open()
		ids[id] = true
	}
	c.Local, c.RemoteFingerprint = NewCredentials(NodeID{}), cfg.RemoteFingerprint
	if _, err := b.e.Open(b.now, c); !errors.Is(err, ErrSessions) {
		t.Fatal(err)
	}
	for id := range ids {
		b.e.Close(b.now, id)
		again, _ := b.open()
		if again == id || again.Index() != id.Index() || b.e.session(id) != nil {
			t.Fatalf("%x after %x", again, id)
		}
		break
	}
}

func BenchmarkSTUN_check(b *testing.B) {
	w := newBench(b)
	_, cfg := w.open()
	request := check(cfg)
	b.ReportAllocs()
	for range b.N {
		w.e.Receive(w.now, Datagram{Data: request, From: client(1)})
		<-w.bind.sent
	}
}

func BenchmarkSTUN_junk(b *testing.B) {
	w := newBench(b)
	_, cfg := w.open()
	cfg.Local.Ufrag = NewCredentials(NodeID{}).Ufrag
	request := check(cfg)
	b.ReportAllocs()
	for range b.N {
		w.e.Receive(w.now, Datagram{Data: request, From: client(1)})
	}
}
