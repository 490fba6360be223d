package link

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func newLink(t testing.TB) *Link {
	t.Helper()
	l, err := New("https://meet.example")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestParse_roundTrip(t *testing.T) {
	for _, origin := range []string{"https://meet.example", "http://127.0.0.1:8080", "https://[::1]:8443/"} {
		l, err := New(origin)
		if err != nil {
			t.Fatalf("%s: %v", origin, err)
		}
		again, err := Parse(l.URL())
		if err != nil || !again.Secret.Equal(l.Secret) || again.Host != l.Host || again.URL() != l.URL() {
			t.Errorf("%s: %v", origin, err)
		}
	}
}

// Attack 15: the path and the secret belong together.
func TestParse_refusals(t *testing.T) {
	l, other := newLink(t), newLink(t)
	secret := l.Secret.Encode()
	for name, test := range map[string]struct {
		text string
		want error
	}{
		"another room":    {other.String() + "#" + secret, ErrRoomMismatch},
		"upper case":      {l.Origin + "/r/" + strings.ToUpper(l.Keys.RoomID()) + "#" + secret, ErrRoomMismatch},
		"no secret":       {l.String(), ErrBadSecret},
		"short secret":    {l.String() + "#" + secret[:42], ErrBadSecret},
		"padded secret":   {l.String() + "#" + secret + "=", ErrBadSecret},
		"loose last bits": {l.String() + "#" + strings.Repeat("A", 42) + "B", ErrBadSecret},
		"query":           {l.String() + "?a=b#" + secret, ErrBadLink},
		"user":            {strings.Replace(l.URL(), "//", "//user@", 1), ErrBadLink},
		"empty user":      {strings.Replace(l.URL(), "//", "//@", 1), ErrBadLink},
		"slash in user":   {strings.Replace(l.URL(), "//", "//a/b@", 1), ErrBadLink},
		"empty query":     {l.String() + "?#" + secret, ErrBadLink},
		"empty host":      {strings.Replace(l.URL(), "meet.example", "", 1), ErrBadLink},
		"empty port":      {strings.Replace(l.URL(), "example", "example:", 1), ErrBadLink},
		"port":            {strings.Replace(l.URL(), "example", "example:8o", 1), ErrBadLink},
		"two ports":       {strings.Replace(l.URL(), "example", "example:1:2", 1), ErrBadLink},
		"bracket":         {strings.Replace(l.URL(), "meet.example", "[::1", 1), ErrBadLink},
		"zone":            {strings.Replace(l.URL(), "meet.example", "[::1%25eth0]", 1), ErrBadLink},
		"escaped host":    {strings.Replace(l.URL(), "meet", "m%65et", 1), ErrBadLink},
		"unicode host":    {strings.Replace(l.URL(), "meet", "m\u00e9\u00e9t", 1), ErrBadLink},
		"backslash":       {strings.Replace(l.URL(), "meet.", "evil.example\\meet.", 1), ErrBadLink},
		"escaped path":    {strings.Replace(l.URL(), "/r/", "/%72/", 1), ErrBadLink},
		"two fragments":   {l.URL() + "#", ErrBadSecret},
		"escaped secret":  {l.String() + "#%41" + secret[1:], ErrBadSecret},
		"scheme":          {strings.Replace(l.URL(), "https", "javascript", 1), ErrBadLink},
		"path":            {l.Origin + "/x/" + l.Keys.RoomID() + "#" + secret, ErrBadLink},
		"longer path":     {l.String() + "/x#" + secret, ErrBadLink},
		"no host":         {"/r/" + l.Keys.RoomID() + "#" + secret, ErrBadLink},
		"long":            {l.URL() + strings.Repeat("a", 600), ErrBadLink},
		"control":         {"https://a\x00b/r/x#y", ErrBadLink},
	} {
		_, err := Parse(test.text)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), secret[:42]) {
			t.Errorf("%s: the error holds the secret", name)
		}
	}
}

func TestSecret_doesNotPrint(t *testing.T) {
	l := newLink(t)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(format, l.Secret); strings.Contains(text, l.Secret.Encode()) || len(text) > 12 {
			t.Errorf("%s prints %s", format, text)
		}
	}
	if text := fmt.Sprint(l); strings.Contains(text, l.Secret.Encode()) {
		t.Errorf("a link prints %s", text)
	}
}

// Attack 32: who has the room id but not the secret cannot sign, and a signature
// is good for one host, nonce and connection.
func TestVerifyConnect_bindsEverything(t *testing.T) {
	l, other := newLink(t), newLink(t)
	nonce, conn := []byte("sixteen bytes..."), NewConnID()
	sig := l.Keys.ConnectSignature(l.Host, nonce, conn)
	if !VerifyConnect(l.Keys.Public(), l.Host, nonce, conn, sig) {
		t.Fatal("the right signature was refused")
	}
	for name, ok := range map[string]bool{
		"other host":   VerifyConnect(l.Keys.Public(), "evil.example", nonce, conn, sig),
		"other nonce":  VerifyConnect(l.Keys.Public(), l.Host, []byte("another nonce..."), conn, sig),
		"other conn":   VerifyConnect(l.Keys.Public(), l.Host, nonce, NewConnID(), sig),
		"other key":    VerifyConnect(other.Keys.Public(), l.Host, nonce, conn, sig),
		"other secret": VerifyConnect(l.Keys.Public(), l.Host, nonce, conn, other.Keys.ConnectSignature(l.Host, nonce, conn)),
		"short key":    VerifyConnect(l.Keys.Public()[:31], l.Host, nonce, conn, sig),
		"short sig":    VerifyConnect(l.Keys.Public(), l.Host, nonce, conn, sig[:63]),
	} {
		if ok {
			t.Errorf("%s: accepted", name)
		}
	}
}

func envelopes(t testing.TB) (*Sealer, *Opener) {
	t.Helper()
	keys, err := Derive(Secret{1})
	if err != nil {
		t.Fatal(err)
	}
	conn := ConnID{2}
	s, err := keys.Sealer(conn)
	if err != nil {
		t.Fatal(err)
	}
	o, err := keys.Opener(conn)
	if err != nil {
		t.Fatal(err)
	}
	return s, o
}

func seal(t testing.TB, s *Sealer, message string) []byte {
	t.Helper()
	b, err := s.Seal(Header{Type: TypeApp, Slot: 7, Epoch: 8, Gen: 9, To: ConnID{3}}, []byte(message))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOpener_onceAndInOrder(t *testing.T) {
	s, o := envelopes(t)
	var all [][]byte
	for i := range 5 {
		all = append(all, seal(t, s, fmt.Sprint(i)))
	}
	for _, step := range []struct {
		i    int
		want error
	}{{1, nil}, {1, ErrEnvelopeReplay}, {0, ErrEnvelopeReplay}, {4, nil}, {3, ErrEnvelopeReplay}} {
		h, m, err := o.Open(all[step.i])
		if err != step.want || err == nil && (string(m) != fmt.Sprint(step.i) || h.Slot != 7 || h.Epoch != 8 || h.Gen != 9 || h.To != (ConnID{3})) {
			t.Errorf("envelope %d: %+v %q %v", step.i, h, m, err)
		}
	}
}

func TestOpener_refusesEveryFlippedBit(t *testing.T) {
	s, _ := envelopes(t)
	b := seal(t, s, "message")
	for bit := range len(b) * 8 {
		_, o := envelopes(t)
		forged := bytes.Clone(b)
		forged[bit/8] ^= 1 << (bit % 8)
		if _, m, err := o.Open(forged); err == nil {
			t.Errorf("bit %d: opened to %q", bit, m)
		}
	}
}

func TestEnvelope_limits(t *testing.T) {
	s, o := envelopes(t)
	if _, err := s.Seal(Header{Type: TypeApp}, make([]byte, 32<<10-27)); err != ErrTooLarge {
		t.Errorf("too large to seal: %v", err)
	}
	if _, err := s.Seal(Header{Type: 6}, nil); err != ErrEnvelope {
		t.Errorf("unknown type: %v", err)
	}
	b := seal(t, s, "message")
	if _, _, err := o.Open(append(b, make([]byte, 32<<10)...)); err != ErrTooLarge {
		t.Errorf("too large to open: %v", err)
	}
	for n := range b {
		if _, _, err := o.Open(b[:n]); err == nil {
			t.Errorf("opened %d of %d bytes", n, len(b))
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(newLink(f).URL())
	f.Add("https://meet.example/r/#")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Parse(l.URL()); err != nil || again.Keys.RoomID() != l.Keys.RoomID() {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

func FuzzParseEnvelope(f *testing.F) {
	s, _ := envelopes(f)
	f.Add(seal(f, s, "message"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, sealed, err := ParseEnvelope(b)
		if err == nil && !bytes.Equal(append(h.Append(nil), sealed...), b) {
			t.Fatalf("%x", b)
		}
		_, o := envelopes(t)
		o.Open(b)
	})
}
