package group

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"sotto/e2ee/link"
)

func TestCredential_roundTrip(t *testing.T) {
	for n := range maxName + 1 {
		want := Credential{Name: strings.Repeat("n", n), Role: RoleHost, Conn: link.ConnID{1, 2, 3}, Serial: 1<<32 - 1}
		got, err := ParseCredential(want.Append(nil))
		if err != nil || got != want {
			t.Errorf("name of %d bytes: %+v, %v", n, got, err)
		}
	}
	if _, err := ParseCredential(Credential{Name: strings.Repeat("n", maxName+1), Conn: link.ConnID{1}}.Append(nil)); err == nil {
		t.Error("a name too long")
	}
}

// The table is that of the browser's side as well.
func TestAcceptName(t *testing.T) {
	data, err := os.ReadFile("../testdata/names.json")
	if err != nil {
		t.Fatal(err)
	}
	var names struct{ Accepted, Refused []string }
	if err := json.Unmarshal(data, &names); err != nil || len(names.Accepted) == 0 || len(names.Refused) == 0 {
		t.Fatal(err)
	}
	for _, name := range names.Accepted {
		if !AcceptName(name) {
			t.Errorf("%q is refused", name)
		}
	}
	for _, name := range append(names.Refused, "\xff") {
		if AcceptName(name) {
			t.Errorf("%q is accepted", name)
		}
	}
}

// FuzzParseCredential: what parses encodes to the same bytes, and its name can be
// shown.
func FuzzParseCredential(f *testing.F) {
	f.Add(Credential{Name: "Ada", Conn: link.ConnID{1}}.Append(nil))
	f.Add(Credential{Role: RoleHost, Conn: link.ConnID{1}}.Append(nil))
	f.Add(Credential{Name: strings.Repeat("n", 64), Conn: link.ConnID{1}}.Append(nil))
	f.Add([]byte{1, 0x40, 1, 'a', 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCredential(b)
		if err != nil {
			return
		}
		if !bytes.Equal(c.Append(nil), b) {
			t.Errorf("%x is another encoding", b)
		}
		if c.Name != "" && !AcceptName(c.Name) {
			t.Errorf("name %q", c.Name)
		}
	})
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte{0, 1, 0, 7})
	f.Add([]byte{2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parsePolicy(b); err == nil && !bytes.Equal(p.extension().Data, b) {
			t.Errorf("%x is another encoding", b)
		}
	})
}

// FuzzEnvelope gives a member whatever the service may send, and what a member
// may seal: nothing of it changes who is in the group.
func FuzzEnvelope(f *testing.F) {
	w := newWorld(f, 1)
	all := w.room(3)
	for _, data := range all[0].inbox {
		f.Add(uint8(0), data)
		h, _, _ := link.ParseEnvelope(data[8:])
		if _, message, err := must(w.keys.Opener(h.From)).Open(data[8:]); err == nil {
			f.Add(uint8(h.Type), message)
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		w.t = t
		target, by := all[0], all[1]
		epoch, code := target.g.Epoch(), target.g.Authenticator()
		if kind != 0 { // sealed by a member, with a header that fits
			h := link.Header{Type: link.Type(kind%5 + 1), Group: target.g.at.Group}
			switch h.Type {
			case link.TypeCommit:
				h.Slot, h.Epoch = target.g.at.Slot, epoch
			case link.TypeApp, link.TypeWelcome:
				h.Epoch = epoch
			}
			envelope, err := by.g.sealer.Seal(h, data)
			if err != nil {
				return
			}
			data = append(binary.BigEndian.AppendUint64(nil, 1), envelope...)
		}
		var out Actions
		target.g.Envelope(w.now, data, &out)
		w.now = w.now.Add(time.Microsecond)
		if target.g.Epoch() != epoch || !bytes.Equal(target.g.Authenticator(), code) || len(out.Keys) != 0 || len(out.Messages) != 0 {
			t.Error("the group has changed")
		}
	})
}
