package protocol

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

// vector is one link of the vectors that all implementations share.
type vector struct {
	Public    string `json:"link_sig_public"`
	Room      string `json:"room_id"`
	Host      string `json:"host"`
	Nonce     string `json:"nonce"`
	Conn      string `json:"conn_id"`
	Signature string `json:"connect_signature"`
}

func (v vector) connect(t *testing.T) (c *Connect, nonce []byte) {
	t.Helper()
	bin := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	room, err := ParseRoomID(v.Room)
	if err != nil {
		t.Fatal(err)
	}
	return &Connect{Room: room, ConnID: ConnID(bin(v.Conn)), LinkPub: bin(v.Public), LinkSig: bin(v.Signature)}, bin(v.Nonce)
}

func TestVerifyConnect_sharedVectors(t *testing.T) {
	b, err := os.ReadFile("../../e2ee/testdata/link.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) == 0 {
		t.Fatal("no vectors")
	}
	for i, v := range vectors {
		c, nonce := v.connect(t)
		if err := VerifyConnect(c, v.Host, nonce); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		for name, bad := range map[string]struct {
			change func(*Connect)
			host   string
			nonce  []byte
			want   Code
		}{
			"other room":       {func(c *Connect) { c.Room[0] ^= 1 }, v.Host, nonce, CodeNotAdmitted},
			"other key":        {func(c *Connect) { c.LinkPub = bytes.Clone(c.LinkPub); c.LinkPub[3] ^= 1 }, v.Host, nonce, CodeNotAdmitted},
			"short key":        {func(c *Connect) { c.LinkPub = c.LinkPub[:31] }, v.Host, nonce, CodeNotAdmitted},
			"other signature":  {func(c *Connect) { c.LinkSig = bytes.Clone(c.LinkSig); c.LinkSig[9] ^= 1 }, v.Host, nonce, CodeBadSignature},
			"short signature":  {func(c *Connect) { c.LinkSig = c.LinkSig[:63] }, v.Host, nonce, CodeBadSignature},
			"other connection": {func(c *Connect) { c.ConnID[5] ^= 1 }, v.Host, nonce, CodeBadSignature},
			"other host":       {func(*Connect) {}, "evil." + v.Host, nonce, CodeBadSignature},
			"other nonce":      {func(*Connect) {}, v.Host, append(bytes.Clone(nonce), 0), CodeBadSignature},
		} {
			changed := *c
			bad.change(&changed)
			if err := VerifyConnect(&changed, bad.host, bad.nonce); codeOf(t, err) != bad.want {
				t.Errorf("%d: %s: %v, want %s", i, name, err, bad.want)
			}
		}
	}
}

func TestVerifyAlias(t *testing.T) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const host = "meet.example"
	nonce, conn := []byte("nonce of sixteen"), ConnID{1}
	good := Alias{Room: RoomOf(public), LinkPub: Bytes(public), LinkSig: ed25519.Sign(key, AliasSigned(host, nonce, conn))}
	for name, c := range map[string]struct {
		change func(a *Alias)
		host   string
		conn   ConnID
		good   bool
	}{
		"good":                {func(*Alias) {}, host, conn, true},
		"another host":        {func(*Alias) {}, "evil.example", conn, false},
		"another connection":  {func(*Alias) {}, host, ConnID{2}, false},
		"another room":        {func(a *Alias) { a.Room[0] ^= 1 }, host, conn, false},
		"no key":              {func(a *Alias) { a.LinkPub = nil }, host, conn, false},
		"a connect's":         {func(a *Alias) { a.LinkSig = ed25519.Sign(key, ConnectSigned(host, nonce, conn)) }, host, conn, false},
		"of another nonce":    {func(a *Alias) { a.LinkSig = ed25519.Sign(key, AliasSigned(host, []byte("another nonce"), conn)) }, host, conn, false},
		"signature of nobody": {func(a *Alias) { a.LinkSig = make([]byte, 64) }, host, conn, false},
	} {
		a := good
		c.change(&a)
		if err := VerifyAlias(&a, c.host, nonce, c.conn); c.good != (err == nil) || err != nil && codeOf(t, err) != CodeAliasRefused {
			t.Errorf("%s: %v", name, err)
		}
	}
}
