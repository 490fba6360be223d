package group

import (
	"bytes"
	"encoding/binary"
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

func TestAcceptName(t *testing.T) {
	for name, want := range map[string]bool{
		"Ada": true, "Åsa Öberg": true, "👩‍💻": true, "": false, " Ada": false, "a\u202eb": false, "a\x00b": false, "\u200d": false, "\xff": false,
		strings.Repeat("é", 32): true, strings.Repeat("é", 33): false,
	} {
		if AcceptName(name) != want {
			t.Errorf("%q: %v", name, !want)
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
