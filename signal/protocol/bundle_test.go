package protocol

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// groupEnvelope is an envelope of a group with a sealed part of n bytes.
func groupEnvelope(kind EnvelopeType, n int) []byte {
	h := EnvelopeHeader{Type: kind, GroupInstance: GroupInstance{9}, From: ConnID{1}}
	if kind == EnvelopeCreate {
		h.To = ConnID{7}
	}
	return append(h.AppendHeader(nil), make([]byte, n)...)
}

func goodBundle() Bundle {
	return Bundle{
		Admits: []ConnID{{2}, {3}},
		Commit: groupEnvelope(EnvelopeCommit, 100), Welcome: groupEnvelope(EnvelopeWelcome, 50),
	}
}

func TestBundle_layout(t *testing.T) {
	b := goodBundle()
	want := slices.Concat([]byte{2, 2}, b.Admits[0][:], b.Admits[1][:],
		binary.BigEndian.AppendUint32(nil, uint32(len(b.Commit))), b.Commit, b.Welcome)
	if got := b.Append(nil); !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

func TestParseBundle_checksAll(t *testing.T) {
	for name, c := range map[string]struct {
		change func(b *Bundle)
		want   Code
	}{
		"good": {func(*Bundle) {}, ""},
		"largest": {func(b *Bundle) {
			b.Admits = nil
			for i := range MaxAdmits {
				b.Admits = append(b.Admits, ConnID{2, byte(i)})
			}
			b.Commit, b.Welcome = groupEnvelope(EnvelopeCommit, MaxSealedCommit), groupEnvelope(EnvelopeWelcome, MaxSealedWelcome)
		}, ""},
		"commit too large":     {func(b *Bundle) { b.Commit = groupEnvelope(EnvelopeCommit, MaxSealedCommit+1) }, CodeTooLarge},
		"welcome too large":    {func(b *Bundle) { b.Welcome = groupEnvelope(EnvelopeWelcome, MaxSealedWelcome+1) }, CodeTooLarge},
		"nobody":               {func(b *Bundle) { b.Admits = nil }, CodeBadEnvelope},
		"zero":                 {func(b *Bundle) { b.Admits[1] = ConnID{} }, CodeBadEnvelope},
		"one twice":            {func(b *Bundle) { b.Admits[1] = b.Admits[0] }, CodeBadEnvelope},
		"the committer":        {func(b *Bundle) { b.Admits[1] = ConnID{1} }, CodeBadEnvelope},
		"no commit":            {func(b *Bundle) { b.Commit = nil }, CodeBadEnvelope},
		"no welcome":           {func(b *Bundle) { b.Welcome = nil }, CodeBadEnvelope},
		"a create":             {func(b *Bundle) { b.Commit = groupEnvelope(EnvelopeCreate, 100) }, CodeBadEnvelope},
		"an app message":       {func(b *Bundle) { b.Welcome = groupEnvelope(EnvelopeApp, 100) }, CodeBadEnvelope},
		"another sender":       {func(b *Bundle) { b.Welcome[36] = 5 }, CodeBadEnvelope},
		"another group":        {func(b *Bundle) { b.Welcome[4] = 5 }, CodeBadEnvelope},
		"an addressed welcome": {func(b *Bundle) { b.Welcome[52] = 5 }, CodeBadEnvelope},
		"another version":      {func(b *Bundle) { b.Commit[0] = 3 }, CodeUnsupportedEnvelope},
	} {
		b := goodBundle()
		c.change(&b)
		message := b.Append(nil)
		if len(message) > MaxBundle && c.want == "" {
			t.Errorf("%s: %d bytes", name, len(message))
		}
		if _, _, err := ParseBundle(message); codeOf(t, err) != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	good := goodBundle().Append(nil)
	for n := range good[:len(good)-50] {
		if _, _, err := ParseBundle(good[:n]); err == nil {
			t.Errorf("the first %d bytes are a bundle", n)
		}
	}
	many := goodBundle()
	many.Admits = make([]ConnID, MaxAdmits+1)
	for i := range many.Admits {
		many.Admits[i] = ConnID{2, byte(i)}
	}
	if _, _, err := ParseBundle(many.Append(nil)); codeOf(t, err) != CodeBadEnvelope {
		t.Errorf("%d connections: %v", len(many.Admits), err)
	}
}

func TestParseEnvelope_ofAGroup(t *testing.T) {
	with := func(kind EnvelopeType, at int, b byte) []byte {
		e := groupEnvelope(kind, 100)
		e[at] = b
		return e
	}
	for name, c := range map[string]struct {
		b    []byte
		want Code
	}{
		"create":                   {groupEnvelope(EnvelopeCreate, SealOverhead), ""},
		"create without host tag":  {with(EnvelopeCreate, 52, 0), CodeBadEnvelope},
		"create at a slot":         {with(EnvelopeCreate, 27, 1), CodeBadEnvelope},
		"create at an epoch":       {with(EnvelopeCreate, 35, 1), CodeBadEnvelope},
		"create too large":         {groupEnvelope(EnvelopeCreate, MaxSealedCreate+1), CodeTooLarge},
		"key package":              {groupEnvelope(EnvelopeKP, MaxSealedCreate), ""},
		"key package too large":    {groupEnvelope(EnvelopeKP, MaxSealedCreate+1), CodeTooLarge},
		"key package to somebody":  {with(EnvelopeKP, 52, 1), CodeBadEnvelope},
		"key package of no group":  {with(EnvelopeKP, 4, 0), CodeBadEnvelope},
		"key package at a slot":    {with(EnvelopeKP, 27, 1), CodeBadEnvelope},
		"commit at a slot":         {with(EnvelopeCommit, 27, 1), ""},
		"commit of no group":       {with(EnvelopeCommit, 4, 0), CodeBadEnvelope},
		"commit to somebody":       {with(EnvelopeCommit, 52, 1), CodeBadEnvelope},
		"message of a group":       {groupEnvelope(EnvelopeApp, MaxSealed), ""},
		"message at any slot":      {with(EnvelopeApp, 27, 1), ""},
		"message larger than that": {groupEnvelope(EnvelopeApp, MaxSealed+1), CodeTooLarge},
	} {
		if _, err := ParseEnvelope(c.b); codeOf(t, err) != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// FuzzParseBundle: a parsed bundle writes the bytes that it was read from.
func FuzzParseBundle(f *testing.F) {
	good := goodBundle().Append(nil)
	f.Add(good)
	f.Add(good[:len(good)-80])
	f.Add([]byte{2})
	f.Add([]byte{2, 255})
	f.Add(slices.Concat([]byte{2, 1}, make([]byte, 16), []byte{255, 255, 255, 255}))
	f.Add(slices.Concat([]byte{2, 1}, bytes.Repeat([]byte{1}, 16), []byte{0, 0, 0, 0}, groupEnvelope(EnvelopeWelcome, 28)))
	f.Fuzz(func(t *testing.T, message []byte) {
		b, h, err := ParseBundle(message)
		if err != nil {
			codeOf(t, err)
			return
		}
		if got := b.Append(nil); !bytes.Equal(got, message) {
			t.Fatalf("%x came back as %x", message, got)
		}
		if len(b.Admits) == 0 || len(b.Admits) > MaxAdmits || slices.Contains(b.Admits, h.From) || h.Type != EnvelopeCommit {
			t.Fatalf("%+v of %+v", b.Admits, h)
		}
	})
}
