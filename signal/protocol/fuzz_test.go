package protocol

import (
	"bytes"
	"reflect"
	"testing"
)

// FuzzDecode: whatever decodes can be encoded, and comes back equal.
func FuzzDecode(f *testing.F) {
	for _, m := range append(clientMessages(), serverMessages()...) {
		text, err := Encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, seed := range []string{
		``, `{}`, `[]`, `{"type":1}`, mute + mute, `{"type":"leave","x":[[[[]]]]}`, `{"type":"leave","x":"\ud800\udc00"}`,
		`{"type":"leave","x":"\ud800"}`, `{"type":"leave","x":1e999}`, `{"type":"leave","type":"leave"}`,
		`{"type":"want","tracks":[{"conn_id":"` + conn + `","source":"camera","height":720}]}`,
		connectWith("client", `\u202eweb`),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		if m, err := DecodeClient(text); err == nil {
			again(t, m, func(b []byte) (Message, error) { return DecodeClient(b) })
		} else {
			codeOf(t, err)
		}
		if m, err := DecodeServer(text); err == nil {
			again(t, m, func(b []byte) (Message, error) { return DecodeServer(b) })
		} else {
			codeOf(t, err)
		}
		if !bytes.Equal(text, before) {
			t.Fatal("the input was changed")
		}
	})
}

func again(t *testing.T, m Message, decode func([]byte) (Message, error)) {
	t.Helper()
	text, err := Encode(m)
	if err != nil {
		t.Fatalf("decoded, but not encoded: %v", err)
	}
	second, err := decode(text)
	// An SDP near its limit may grow over the message's by escaping.
	if err != nil && len(text) <= MaxMessage {
		t.Fatalf("encoded, but not decoded: %v\n%s", err, text)
	}
	if err != nil {
		return
	}
	// Text and not values: an absent list comes back as an empty one.
	if written, err := Encode(second); err != nil || !bytes.Equal(written, text) {
		t.Fatalf("%s came back as %s, %v", text, written, err)
	}
}

// FuzzParseEnvelope: a parsed header writes the bytes that it was read from.
func FuzzParseEnvelope(f *testing.F) {
	good := EnvelopeHeader{Type: EnvelopeApp, From: ConnID{1}, To: ConnID{2}, Gen: 3, Slot: 4, Epoch: 5}.AppendHeader(nil)
	good = append(good, make([]byte, SealOverhead+256)...)
	f.Add(good)
	f.Add(good[:EnvelopeHeaderSize])
	f.Add(append(bytes.Clone(good), make([]byte, MaxSealed)...))
	f.Add(append([]byte{2}, good[1:]...))
	f.Add(append([]byte{1, 6}, good[2:]...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEnvelope(b)
		if err != nil {
			codeOf(t, err)
			return
		}
		if got := append(e.AppendHeader(nil), e.Sealed...); !bytes.Equal(got, b) {
			t.Fatalf("%x came back as %x", b, got)
		}
		seq, relayed, err := ParseRelayed(append([]byte{0, 0, 0, 0, 0, 0, 1, 0}, b...))
		if err != nil || seq != 256 || !reflect.DeepEqual(relayed, e) {
			t.Fatalf("relayed: %d, %v", seq, err)
		}
	})
}

func TestParseEnvelope_checksTheHeader(t *testing.T) {
	good := EnvelopeHeader{Type: EnvelopeApp, From: ConnID{1}}.AppendHeader(nil)
	good = append(good, make([]byte, SealOverhead)...)
	with := func(at int, b byte) []byte {
		c := bytes.Clone(good)
		c[at] = b
		return c
	}
	for name, c := range map[string]struct {
		b    []byte
		want Code
	}{
		"good":      {good, ""},
		"largest":   {append(bytes.Clone(good), make([]byte, EnvelopeHeaderSize+MaxSealed-len(good))...), ""},
		"too large": {append(bytes.Clone(good), make([]byte, EnvelopeHeaderSize+MaxSealed-len(good)+1)...), CodeTooLarge},
		"short":     {good[:len(good)-1], CodeBadEnvelope},
		"empty":     {nil, CodeBadEnvelope},
		"version 0": {with(0, 0), CodeUnsupportedEnvelope},
		"version 2": {with(0, 2), CodeUnsupportedEnvelope},
		"type 0":    {with(1, 0), CodeBadEnvelope},
		"type 6":    {with(1, 6), CodeBadEnvelope},
		"no group":  {with(1, 3), CodeBadEnvelope},
		"no sender": {with(36, 0), CodeBadEnvelope},
	} {
		if _, err := ParseEnvelope(c.b); codeOf(t, err) != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
