package protocol

import (
	"bytes"
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
