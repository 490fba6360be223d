package room

import (
	"slices"
	"strings"
	"testing"

	"sotto/e2ee/link"
)

func TestAcceptName(t *testing.T) {
	for _, name := range []string{"Ada", "Åsa Öberg", "李小龍", "محمد", "👩\u200d🚀 Sally", strings.Repeat("x", 64)} {
		if !acceptName(name) {
			t.Errorf("%q is refused", name)
		}
	}
	for _, name := range []string{
		"", " Ada", "Ada ", "Ada\n", "A\x00da", "A\u202eda", "\u2066Ada", "A\u200bda", "\ufeffAda", "Ada\u2028",
		"\u200d", strings.Repeat("x", 65), strings.Repeat("é", 33), "\xff",
	} {
		if acceptName(name) {
			t.Errorf("%q is accepted", name)
		}
	}
}

// TestEnvelope_profile: names are told, false ones are refused, types of later
// versions pass without effect.
func TestEnvelope_profile(t *testing.T) {
	all := call(t, 2)
	alice, bob := all[0], all[1]
	for _, step := range []struct {
		kind byte
		body any
		want error
	}{
		{messageProfile, profile{"Alice"}, nil},
		{messageProfile, map[string]any{"name": "A\u202elice"}, errMessage},
		{messageProfile, map[string]any{"name": 5}, errMessage},
		{messageProfile, map[string]any{}, errMessage},
		{200, map[string]any{"name": "nobody"}, nil},
		{messageProfile, profile{"Alice B."}, nil},
	} {
		if err := alice.send(link.ConnID{}, step.kind, step.body, &alice.out); err != nil {
			t.Fatal(err)
		}
		data := append(make([]byte, 8), alice.out.Send[len(alice.out.Send)-1]...)
		if err := bob.Envelope(start, data, &bob.out); err != step.want {
			t.Errorf("type %d %v: %v, want %v", step.kind, step.body, err, step.want)
		}
	}
	if want := []Name{{alice.Conn, "Alice"}, {alice.Conn, "Alice B."}}; !slices.Equal(bob.out.Names, want) {
		t.Errorf("names %v, want %v", bob.out.Names, want)
	}
}

func FuzzDecodeProfile(f *testing.F) {
	for _, seed := range []string{`{"name":"Ada"}`, `{"name":"\u202e"}`, `{}`, `[]`, `{"name":null}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if name, err := decodeProfile(body); err == nil && !acceptName(name) {
			t.Errorf("%q", name)
		}
	})
}
