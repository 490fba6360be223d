package link

import (
	"bytes"
	"fmt"
	"testing"
)

// sealed returns an envelope of some type.
func sealed(t testing.TB, s *Sealer, kind Type, message string) []byte {
	t.Helper()
	e, err := s.Seal(Header{Type: kind, Group: [16]byte{1}}, []byte(message))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func newSealer(t testing.TB) (*Keys, ConnID, *Sealer) {
	t.Helper()
	keys, err := Derive(NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	conn := NewConnID()
	s, err := keys.Sealer(conn)
	if err != nil {
		t.Fatal(err)
	}
	return keys, conn, s
}

func TestBundle_roundTrip(t *testing.T) {
	_, _, s := newSealer(t)
	for _, n := range []int{1, 2, 64} {
		b := Bundle{Commit: sealed(t, s, TypeCommit, "c"), Welcome: sealed(t, s, TypeWelcome, "w")}
		for range n {
			b.Admits = append(b.Admits, NewConnID())
		}
		data, err := b.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseBundle(data)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(b) {
			t.Errorf("%d admitted: %v", n, err)
		}
		if _, _, err := ParseEnvelope(data); err == nil {
			t.Error("a bundle is no envelope")
		}
	}
}

func TestBundle_refusals(t *testing.T) {
	_, _, s := newSealer(t)
	_, _, other := newSealer(t)
	commit, welcome, one := sealed(t, s, TypeCommit, "c"), sealed(t, s, TypeWelcome, "w"), make([]ConnID, 1)
	for name, b := range map[string]Bundle{
		"nobody":           {Commit: commit, Welcome: welcome},
		"too many":         {Admits: make([]ConnID, 65), Commit: commit, Welcome: welcome},
		"no commit":        {Admits: one, Welcome: welcome},
		"no welcome":       {Admits: one, Commit: commit},
		"the wrong way":    {Admits: one, Commit: welcome, Welcome: commit},
		"of two senders":   {Admits: one, Commit: commit, Welcome: sealed(t, other, TypeWelcome, "w")},
		"something else":   {Admits: one, Commit: commit, Welcome: sealed(t, s, TypeApp, "w")},
		"not an envelope":  {Admits: one, Commit: commit, Welcome: []byte("w")},
		"of two instances": {Admits: one, Commit: commit, Welcome: append(append(bytes.Clone(welcome[:4]), 9), welcome[5:]...)},
	} {
		if _, err := b.Append(nil); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
	good, err := Bundle{Admits: one, Commit: commit, Welcome: welcome}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if b, err := ParseBundle(good[:n]); err == nil && len(b.Welcome) == len(welcome) {
			t.Errorf("%d bytes of %d parse", n, len(good))
		}
	}
}

func FuzzParseBundle(f *testing.F) {
	_, _, s := newSealer(f)
	good, err := Bundle{Admits: make([]ConnID, 2), Commit: sealed(f, s, TypeCommit, "c"), Welcome: sealed(f, s, TypeWelcome, "w")}.Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:40])
	f.Add([]byte{2, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := ParseBundle(data)
		if err != nil {
			return
		}
		again, err := b.Append(nil)
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("encodes differently: %v", err)
		}
	})
}

// The counter goes on when the link is replaced, and each generation opens its
// own envelopes only.
func TestSealer_Renew(t *testing.T) {
	old, conn, s := newSealer(t)
	first := sealed(t, s, TypeApp, "old")
	next, err := Derive(NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Renew(next); err != nil {
		t.Fatal(err)
	}
	second := sealed(t, s, TypeApp, "new")
	if a, b := first[HeaderSize:HeaderSize+nonceSize], second[HeaderSize:HeaderSize+nonceSize]; bytes.Compare(a, b) >= 0 {
		t.Errorf("nonces %x, %x", a, b)
	}
	for _, c := range []struct {
		keys     *Keys
		envelope []byte
		opens    bool
	}{{old, first, true}, {old, second, false}, {next, first, false}, {next, second, true}} {
		o, err := c.keys.Opener(conn)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := o.Open(c.envelope); (err == nil) != c.opens {
			t.Errorf("opens: %v", err)
		}
	}
}

func TestAliasSignature(t *testing.T) {
	keys, conn, _ := newSealer(t)
	nonce := []byte("nonce of hello..")
	good := keys.AliasSignature("meet.example", nonce, conn)
	if !VerifyAlias(keys.Public(), "meet.example", nonce, conn, good) {
		t.Error("refused")
	}
	if VerifyAlias(keys.Public(), "meet.example", nonce, conn, keys.ConnectSignature("meet.example", nonce, conn)) {
		t.Error("a connect signature registers a name")
	}
	if VerifyConnect(keys.Public(), "meet.example", nonce, conn, good) {
		t.Error("an alias signature admits")
	}
	if VerifyAlias(keys.Public(), "other.example", nonce, conn, good) || VerifyAlias(keys.Public(), "meet.example", nonce, NewConnID(), good) ||
		VerifyAlias(nil, "meet.example", nonce, conn, good) {
		t.Error("not bound")
	}
}

func TestHostToken(t *testing.T) {
	a, b := NewHostToken(), NewHostToken()
	if a.Tag() == b.Tag() {
		t.Error("tags")
	}
	if s := fmt.Sprintf("%v %s %#v", a, a, a); s != "[host token] [host token] [host token]" {
		t.Errorf("prints as %s", s)
	}
}

func TestPSKID(t *testing.T) {
	keys, _, _ := newSealer(t)
	room := keys.Room()
	want := append(append([]byte("sotto-link/1"), room[:]...), 1, 2)
	if got := keys.PSKID(0x102); !bytes.Equal(got, want) {
		t.Errorf("%x", got)
	}
}
