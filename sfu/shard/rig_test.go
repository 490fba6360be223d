package shard

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v4"

	"sotto/sfu/packet"
	"sotto/sfu/room"
	"sotto/sfu/transport"
)

// rig is a shard that a test drives by hand, round by round, with clients that have real DTLS and SRTP.
type rig struct {
	testing.TB
	*Shard
	wire *wire
	now  time.Time
}

// wire is a Bind without a socket. The datagrams of clients wait in up; those to clients go to their mailbox, DTLS to one and
// the rest to another, or are only counted.
type wire struct {
	up       chan transport.Datagram
	down     sync.Map // netip.AddrPort to mailbox; the handshakes write from goroutines of their own
	counting atomic.Bool
	sent     atomic.Int64
	woken    chan struct{}
	onward   func([]transport.Run) (int, error) // while counting; nil = nowhere
	yields   bool                               // a write lets other goroutines go first, as if it took long
	socket   func() transport.Writer            // where goroutines of the shard write while counting; nil = as above
}

// pen is the wire's Writer for one goroutine.
type pen struct {
	*wire
	socket transport.Writer
}

func (w *wire) NewWriter() transport.Writer { return &pen{wire: w} }

func (p *pen) WriteBatch(runs []transport.Run) (int, error) {
	if p.wire.socket == nil || !p.counting.Load() {
		return p.wire.WriteBatch(runs)
	}
	if p.socket == nil {
		p.socket = p.wire.socket()
	}
	n, err := p.socket.WriteBatch(runs)
	p.sent.Add(int64(n))
	return n, err
}

type mailbox struct{ dtls, media chan []byte }

func (m mailbox) put(d []byte) {
	d = append([]byte(nil), d...)
	if d[0] >= 20 && d[0] < 64 {
		m.dtls <- d
	} else {
		m.media <- d
	}
}

func (w *wire) ReadBatch([]transport.Datagram, time.Time) (int, error) { return 0, nil }

func (w *wire) WriteBatch(runs []transport.Run) (int, error) {
	if w.yields {
		time.Sleep(100 * time.Microsecond) // while others run
	}
	if w.onward != nil && w.counting.Load() {
		n, err := w.onward(runs)
		w.sent.Add(int64(n))
		return n, err
	}
	n := 0
	for _, r := range runs {
		for len(r.Data) > 0 {
			size := len(r.Data)
			if r.Segment > 0 {
				size = min(size, r.Segment)
			}
			n++
			if !w.counting.Load() {
				if box, ok := w.down.Load(r.To); ok {
					box.(mailbox).put(r.Data[:size])
				}
			}
			r.Data = r.Data[size:]
		}
	}
	w.sent.Add(int64(n))
	return n, nil
}

func (w *wire) Wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}
func (w *wire) LocalAddr() netip.AddrPort { return netip.MustParseAddrPort("192.0.2.1:3478") }
func (w *wire) Close() error              { return nil }

func newRig(t testing.TB) *rig {
	t.Helper()
	return newRigWith(t, 0)
}

// newRigWith makes a rig whose shard calls so many senders whenever two peers have something to get.
func newRigWith(t testing.TB, senders int) *rig {
	t.Helper()
	var helpers *Senders
	if senders > 0 {
		helpers = NewSenders(senders)
		t.Cleanup(helpers.Close)
	}
	certificate, err := transport.NewCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{up: make(chan transport.Datagram, 64), woken: make(chan struct{}, 1)}
	s, err := prepare(Config{Bind: w, Certificate: certificate, Sessions: 512, Inbox: 16, Senders: helpers})
	if err != nil {
		t.Fatal(err)
	}
	s.worthASender = 1
	now := time.Now()
	s.nextSnapshot = now.Add(time.Hour)
	r := &rig{TB: t, Shard: s, wire: w, now: now}
	t.Cleanup(func() { s.shutdown(r.now) })
	return r
}

// do carries out a command in the test's goroutine.
func (r *rig) do(c Command) error {
	req := request{Command: c, reply: make(chan error, 1)}
	r.execute(r.now, req)
	return <-req.reply
}

// far is the client's side of a session.
type far struct {
	key  uint64
	addr netip.AddrPort
	out  *srtp.Context // what the client sends
	in   *srtp.Context // what it gets
}

// connect makes a session through STUN and DTLS, driving the shard until it is up.
func (r *rig) connect(key, roomKey uint64, media Media) *far {
	r.Helper()
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(key >> 8), byte(key)}), 5000)
	box := mailbox{dtls: make(chan []byte, 256), media: make(chan []byte, 256)}
	r.wire.down.Store(addr, box)
	cert, err := selfsign.GenerateSelfSigned()
	if err != nil {
		r.Fatal(err)
	}
	cfg := transport.OpenConfig{
		Local:             transport.NewCredentials(transport.NewNodeID(1, nil)),
		Remote:            transport.Credentials{Ufrag: "abcd", Pwd: "0123456789abcdefghijkl"},
		RemoteFingerprint: transport.Fingerprint{Hash: transport.SHA256},
	}
	sum := sha256.Sum256(cert.Certificate[0])
	copy(cfg.RemoteFingerprint.Sum[:], sum[:])
	if err := r.do(Open{Key: key, Room: roomKey, Name: fmt.Sprint("peer ", key), Transport: cfg, Media: media}); err != nil {
		r.Fatal(err)
	}
	check := stun.MustBuild(stun.TransactionID, stun.BindingRequest,
		stun.NewUsername(cfg.Local.Ufrag+":"+cfg.Remote.Ufrag),
		stun.RawAttribute{Type: stun.AttrICEControlling, Length: 8, Value: make([]byte, 8)},
		stun.RawAttribute{Type: stun.AttrPriority, Length: 4, Value: []byte{0x6e, 0, 1, 0xff}},
		stun.RawAttribute{Type: stun.AttrUseCandidate},
		stun.NewShortTermIntegrity(cfg.Local.Pwd), stun.Fingerprint).Raw
	r.wire.up <- transport.Datagram{Data: check, From: addr, At: r.now}
	r.pass()
	conn := &farConn{addr: addr, up: r.wire.up, down: box.dtls, done: make(chan struct{})}
	client, err := dtls.ClientWithOptions(conn, net.UDPAddrFromAddrPort(r.wire.LocalAddr()),
		dtls.WithCertificates(cert), dtls.WithInsecureSkipVerify(true),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret))
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = client.Close() })
	shaken := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		shaken <- client.HandshakeContext(ctx)
	}()
	done := false
	for p := r.byKey[key]; !done || !p.entered; {
		select {
		case d := <-r.wire.up:
			r.feed(d)
		case <-r.wire.woken:
			r.round(r.now, 0)
		case err := <-shaken:
			if err != nil {
				r.Fatal(err)
			}
			done = true
		}
	}
	state, ok := client.ConnectionState()
	if !ok {
		r.Fatal("no connection state")
	}
	keys := srtp.Config{Profile: srtp.ProtectionProfileAeadAes128Gcm}
	if err := keys.ExtractSessionKeysFromDTLS(&state, true); err != nil {
		r.Fatal(err)
	}
	f := &far{key: key, addr: addr}
	if f.out, err = srtp.CreateContext(keys.Keys.LocalMasterKey, keys.Keys.LocalMasterSalt, keys.Profile); err != nil {
		r.Fatal(err)
	}
	if f.in, err = srtp.CreateContext(keys.Keys.RemoteMasterKey, keys.Keys.RemoteMasterSalt, keys.Profile); err != nil {
		r.Fatal(err)
	}
	return f
}

// pass feeds what waits.
func (r *rig) pass() {
	for {
		select {
		case d := <-r.wire.up:
			r.feed(d)
		default:
			return
		}
	}
}

// mail returns what reaches a client, without DTLS.
func (r *rig) mail(f *far) <-chan []byte {
	box, _ := r.wire.down.Load(f.addr)
	return box.(mailbox).media
}

func (r *rig) feed(d transport.Datagram) {
	r.datagrams[0] = d
	r.round(r.now, 1)
}

// seal makes the protected packet of a client.
func (f *far) seal(t testing.TB, p *rtp.Packet) []byte {
	t.Helper()
	plain, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := f.out.EncryptRTP(nil, plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// farConn is the client's end of the wire for DTLS alone.
type farConn struct {
	addr netip.AddrPort
	up   chan<- transport.Datagram
	down <-chan []byte
	done chan struct{}
}

func (c *farConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-c.down:
		return copy(b, d), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:3478")), nil
	case <-c.done:
		return 0, nil, net.ErrClosed
	}
}

func (c *farConn) WriteTo(b []byte, _ net.Addr) (int, error) {
	select {
	case c.up <- transport.Datagram{Data: append([]byte(nil), b...), From: c.addr, At: time.Now()}:
	case <-c.done:
	default:
		return 0, os.ErrDeadlineExceeded
	}
	return len(b), nil
}

func (c *farConn) Close() error {
	select {
	case <-c.done:
		return errors.New("closed twice")
	default:
		close(c.done)
	}
	return nil
}
func (c *farConn) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(c.addr) }
func (c *farConn) SetDeadline(time.Time) error      { return nil }
func (c *farConn) SetReadDeadline(time.Time) error  { return nil }
func (c *farConn) SetWriteDeadline(time.Time) error { return nil }

// Media of a publisher with a microphone and a camera of one layer, and of a subscriber with a slot for each.
const (
	micSSRC, cameraSSRC = 1001, 2001
	opusPT, vp8PT       = 111, 96
)

func publisherMedia() Media {
	return Media{
		Incoming: packet.Extensions{MID: 4, TransportCC: 3},
		Tracks: []room.PublishedTrack{
			{Source: room.SourceMic, MID: "0", Codecs: opusCodecs(), SSRCs: []uint32{micSSRC}},
			{Source: room.SourceCamera, MID: "1", Codecs: vp8Codecs(), SSRCs: []uint32{cameraSSRC}},
		},
	}
}

func subscriberMedia(key uint64) Media {
	base := uint32(key) * 10
	return Media{
		Outgoing: packet.Extensions{MID: 5, TransportCC: 7},
		Slots: []room.Slot{
			{MID: "0", Kind: room.Audio, SSRC: base, Codecs: opusCodecs()},
			{MID: "1", Kind: room.Video, SSRC: base + 1, RTXSSRC: base + 2, Codecs: vp8Codecs()},
		},
	}
}

func opusCodecs() []room.PayloadType {
	return []room.PayloadType{{PT: opusPT, Codec: packet.Opus, ClockRate: 48000}}
}

func vp8Codecs() []room.PayloadType {
	return []room.PayloadType{{PT: vp8PT, RTX: 97, Codec: packet.VP8, ClockRate: 90000}}
}
