package safety

import (
	"math/big"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEmoji_areDistinct(t *testing.T) {
	symbols, names := map[string]bool{}, map[string]bool{}
	for i, e := range emoji {
		r, n := utf8.DecodeRuneInString(e.Symbol)
		if r < 0x2000 || n != len(e.Symbol) {
			t.Errorf("%d: %q is not one code point", i, e.Symbol)
		}
		if symbols[e.Symbol] || names[e.Name] {
			t.Errorf("%d: %q is there twice", i, e.Name)
		}
		symbols[e.Symbol], names[e.Name] = true, true
		if e.Name == "" || e.Name != strings.ToLower(e.Name) {
			t.Errorf("%d: name %q", i, e.Name)
		}
	}
}

func TestCode_digits(t *testing.T) {
	modulus := new(big.Int).Exp(big.NewInt(10), big.NewInt(30), nil)
	codes := []Code{{}, {15: 1}, {0: 0xff, 15: 0xff}, {7: 1}, {8: 0x80}}
	for i := range 200 {
		codes = append(codes, Code(FingerprintOf([]byte{byte(i)}).half()))
	}
	all := Code{}
	for i := range all {
		all[i] = 0xff
	}
	for _, c := range append(codes, all) {
		text := c.Digits()
		want := new(big.Int).Mod(new(big.Int).SetBytes(c[:]), modulus).String()
		want = strings.Repeat("0", 30-len(want)) + want
		if strings.ReplaceAll(text, " ", "") != want || len(text) != 35 || len(strings.Fields(text)) != 6 {
			t.Errorf("%x: %s, want %s", c, text, want)
		}
	}
}

func (f Fingerprint) half() []byte { return f[:16] }

func TestPersonCode_isTheSameForBoth(t *testing.T) {
	a, b := FingerprintOf([]byte("a")), FingerprintOf([]byte("b"))
	if PersonCode(a, b) != PersonCode(b, a) {
		t.Error("depends on who looks")
	}
	if PersonCode(a, b) == PersonCode(a, a) {
		t.Error("does not depend on both")
	}
	if a == FingerprintOf([]byte("a ")) || a.Tag() == b.Tag() {
		t.Error("fingerprints of different keys are equal")
	}
}

func TestGroupCode_bindsAuthenticatorAndGroup(t *testing.T) {
	c := GroupCode([]byte("authenticator"), []byte("group"))
	if c == GroupCode([]byte("authenticator"), []byte("group2")) || c == GroupCode([]byte("another"), []byte("group")) {
		t.Error("another group or epoch has the same code")
	}
}

func BenchmarkGroupCode(b *testing.B) {
	for b.Loop() {
		GroupCode([]byte("authenticator"), []byte("group"))
	}
}
