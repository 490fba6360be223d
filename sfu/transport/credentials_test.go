package transport

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestCredentials(t *testing.T) {
	secret := []byte("one secret for the cluster")
	seen := map[string]bool{}
	for number := range uint32(1000) {
		c := NewCredentials(NewNodeID(number, secret))
		if err := c.Validate(); err != nil || len(c.Ufrag) != 32 || len(c.Pwd) != 24 || seen[c.Ufrag] || seen[c.Pwd] {
			t.Fatal(c.Ufrag, c.Pwd, err)
		}
		seen[c.Ufrag], seen[c.Pwd] = true, true
		if got, ok := RouteUfrag(c.Ufrag, secret); !ok || got != number {
			t.Fatal(got, ok)
		}
		if _, ok := RouteUfrag(c.Ufrag, []byte("another")); ok {
			t.Fatal("routed with a wrong secret")
		}
		flipped := []byte(c.Ufrag)
		flipped[number%32] ^= 1
		if _, ok := RouteUfrag(string(flipped), secret); ok {
			t.Fatal("routed a forged ufrag")
		}
		for _, s := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c)} {
			if strings.Contains(s, c.Ufrag) || strings.Contains(s, c.Pwd) {
				t.Fatal("printed")
			}
		}
	}
	for _, bad := range []string{"", "short", strings.Repeat("?", 32)} {
		if _, ok := RouteUfrag(bad, secret); ok {
			t.Fatal(bad)
		}
	}
}

func TestFingerprint(t *testing.T) {
	c, err := NewCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	der := c.tls.Certificate[0]
	for h := SHA256; h <= SHA512; h++ {
		f := fingerprintOf(der, h)
		got, err := ParseFingerprint(f.String())
		if err != nil || got != f || !got.Matches(der) || got.Matches(der[1:]) {
			t.Fatal(h, err)
		}
		if got, err := ParseFingerprint(strings.ToLower(f.String())); err != nil || got != f {
			t.Fatal(h, err)
		}
	}
	if c.Fingerprint() != fingerprintOf(der, SHA256) || (Fingerprint{}).Matches(der) || (Fingerprint{}).String() != "" {
		t.Fatal("fingerprint")
	}
	good := c.Fingerprint().String()
	for _, bad := range []string{
		"", "sha-256", "sha-256 ", "sha-1 " + good[8:], "md5 00", good[:len(good)-1], good + ":00",
		strings.Replace(good, ":", "-", 1), "sha-512 " + good[8:], "sha-256 " + strings.Repeat("ZZ:", 31) + "ZZ",
	} {
		if _, err := ParseFingerprint(bad); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

func FuzzParseFingerprint(f *testing.F) {
	f.Add("sha-256 " + strings.Repeat("0A:", 31) + "FF")
	f.Add("sha-512 00")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := ParseFingerprint(s); err == nil {
			if again, err := ParseFingerprint(got.String()); err != nil || again != got {
				t.Fatal(err)
			}
		}
	})
}
