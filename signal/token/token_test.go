package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	now    = time.Unix(1_795_388_400, 0)
	secret = []byte("0123456789abcdef0123456789abcdef")
)

func policy() Policy {
	return Policy{Keys: map[string][]byte{"key": secret, "weak": []byte("devkey")}, Audience: "meet", Room: "room"}
}

func good() Claims {
	return Claims{
		Issuer: "key", Identity: "alice", Room: "room", NotBefore: now, Expires: now.Add(time.Hour),
		Publish: Sources(), Subscribe: true,
	}
}

// forge signs any two texts with a secret, so that nothing but the texts is wrong.
func forge(head, body string, key []byte) string {
	enc := base64.RawURLEncoding.EncodeToString
	signed := enc([]byte(head)) + "." + enc([]byte(body))
	h := hmac.New(sha256.New, key)
	h.Write([]byte(signed))
	return signed + "." + enc(h.Sum(nil))
}

const (
	hs256 = `{"alg":"HS256","typ":"JWT"}`
	// body is what LiveKit's Go SDK writes, without its name and metadata.
	body = `{"exp":1795392000,"iss":"key","nbf":1795388400,"sub":"alice","video":{"room":"room","roomJoin":true}}`
)

func TestVerify_takesWhatMintMakes(t *testing.T) {
	for name, change := range map[string]func(*Claims){
		"plain":         func(*Claims) {},
		"once":          func(c *Claims) { c.ID, c.Once = "17", true },
		"audience":      func(c *Claims) { c.Audience = []string{"other", "meet"} },
		"viewer":        func(c *Claims) { c.Publish = nil },
		"microphone":    func(c *Claims) { c.Publish = []Source{SourceMicrophone} },
		"publisher":     func(c *Claims) { c.Subscribe = false },
		"whole day":     func(c *Claims) { c.Expires = now.Add(MaxLifetime) },
		"long identity": func(c *Claims) { c.Identity = strings.Repeat("a", MaxIdentity) },
	} {
		want := good()
		change(&want)
		text, err := Mint(secret, want)
		if err != nil {
			t.Errorf("%s: mint: %v", name, err)
			continue
		}
		got, err := Verify(text, now, policy())
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestVerify_takesLiveKitTokens(t *testing.T) {
	for name, text := range map[string]string{
		"go":                forge(hs256, body, secret),
		"no typ":            forge(`{"alg":"HS256"}`, body, secret),
		"kid is no key":     forge(`{"alg":"HS256","kid":"../../etc/passwd"}`, body, secret), // S14
		"kid is no query":   forge(`{"alg":"HS256","kid":"' OR 1=1 --"}`, body, secret),      // S14
		"iat instead":       forge(hs256, strings.Replace(body, "nbf", "iat", 1), secret),    // python
		"name and metadata": forge(hs256, strings.Replace(body, `{"exp`, `{"name":"A","metadata":"{}","exp`, 1), secret),
		"more grants":       forge(hs256, strings.Replace(body, `"roomJoin"`, `"roomAdmin":true,"canPublishSources":[],"roomJoin"`, 1), secret),
	} {
		c, err := Verify(text, now, policy())
		if err != nil || c.Identity != "alice" || len(c.Publish) != 4 || !c.Subscribe {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func TestVerify_restricts(t *testing.T) {
	for grant, want := range map[string]struct {
		publish   []Source
		subscribe bool
	}{
		`"canPublish":false`:                                    {nil, true},
		`"canSubscribe":false`:                                  {Sources(), false},
		`"canPublishSources":["camera","microphone"]`:           {[]Source{SourceMicrophone, SourceCamera}, true},
		`"canPublishSources":["holodeck"]`:                      {nil, true},
		`"canPublish":false,"canPublishSources":["camera"]`:     {nil, true},
		`"canPublish":true,"canSubscribe":true,"recorder":true`: {Sources(), true},
	} {
		c, err := Verify(forge(hs256, strings.Replace(body, `"roomJoin"`, grant+`,"roomJoin"`, 1), secret), now, policy())
		if err != nil || !slices.Equal(c.Publish, want.publish) || c.Subscribe != want.subscribe {
			t.Errorf("%s: %+v, %v", grant, c, err)
		}
	}
}

func TestVerify_refuses(t *testing.T) {
	text := forge(hs256, body, secret)
	with := func(old, new string) string {
		b := strings.Replace(body, old, new, 1)
		if b == body {
			t.Fatalf("%s is not in the body", old)
		}
		return forge(hs256, b, secret)
	}
	header := func(h string) string { return forge(h, body, secret) }
	enc := base64.RawURLEncoding.EncodeToString
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"empty":                {"", ErrInvalid},
		"one part":             {"a", ErrInvalid},
		"two dots":             {"..", ErrInvalid},
		"10^5 dots":            {strings.Repeat(".", 100_000), ErrInvalid}, // S15
		"10 MB":                {strings.Repeat("a", 10<<20), ErrInvalid},  // S15
		"four parts":           {text + ".a", ErrInvalid},
		"no signature":         {text[:strings.LastIndexByte(text, '.')+1], ErrInvalid},
		"short signature":      {text[:len(text)-4], ErrInvalid},
		"other spelling":       {text[:len(text)-1] + string(text[len(text)-1]+1), ErrInvalid}, // unused bits set
		"padding":              {text + "=", ErrInvalid},
		"line break":           {text[:10] + "\n" + text[10:], ErrInvalid},
		"line break, end":      {text + "\n", ErrInvalid},
		"none":                 {enc([]byte(`{"alg":"none"}`)) + "." + enc([]byte(body)) + ".", ErrInvalid}, // S10
		"none, signed":         {header(`{"alg":"none"}`), ErrInvalid},
		"None":                 {header(`{"alg":"None"}`), ErrInvalid},
		"no algorithm":         {header(`{"typ":"JWT"}`), ErrInvalid},
		"lower case":           {header(`{"alg":"hs256"}`), ErrInvalid},
		"RS256":                {header(`{"alg":"RS256"}`), ErrInvalid},
		"public key as secret": {forge(hs256, body, []byte("-----BEGIN PUBLIC KEY-----\nMFkwEwYH\n")), ErrInvalid}, // S11
		"critical":             {header(`{"alg":"HS256","crit":["b64"],"b64":false}`), ErrInvalid},
		"other type":           {header(`{"alg":"HS256","typ":"JWE"}`), ErrInvalid},
		"header is a list":     {header(`[]`), ErrInvalid},
		"header is null":       {header(`null`), ErrInvalid},
		"two headers":          {header(hs256 + hs256), ErrInvalid},
		"claims are a list":    {forge(hs256, `[]`, secret), ErrInvalid},
		"claims are no JSON":   {forge(hs256, `{"iss"`, secret), ErrInvalid},
		"empty claims":         {forge(hs256, `{}`, secret), ErrInvalid},
		"other issuer":         {with(`"iss":"key"`, `"iss":"../../etc/passwd"`), ErrInvalid}, // S13
		"no issuer":            {with(`"iss":"key",`, ``), ErrInvalid},
		"weak secret":          {forge(hs256, strings.Replace(body, `"key"`, `"weak"`, 1), []byte("devkey")), ErrInvalid},
		"changed claims":       {strings.Replace(text, enc([]byte(body)), enc([]byte(strings.Replace(body, "alice", "mallo", 1))), 1), ErrInvalid},
		"no identity":          {with(`"sub":"alice",`, ``), ErrInvalid},
		"long identity":        {with(`alice`, strings.Repeat("a", MaxIdentity+1)), ErrInvalid},
		"long id":              {with(`"sub"`, `"jti":"`+strings.Repeat("a", MaxIdentity+1)+`","sub"`), ErrInvalid},
		"once without id":      {with(`"sub"`, `"once":true,"sub"`), ErrInvalid},
		"no exp":               {with(`"exp":1795392000,`, ``), ErrInvalid},
		"no nbf":               {with(`"nbf":1795388400,`, ``), ErrInvalid},
		"exp is text":          {with(`1795392000`, `"1795392000"`), ErrInvalid},
		"exp is a fraction":    {with(`1795392000`, `1795392000.5`), ErrInvalid},
		"exp is huge":          {with(`1795392000`, `9223372036854775807`), ErrInvalid},
		"nbf is negative":      {with(`"nbf":1795388400`, `"nbf":-9223372036854775808`), ErrInvalid},
		"ends first":           {with(`"nbf":1795388400`, `"nbf":1795392001`), ErrInvalid},
		"more than a day":      {with(`1795392000`, fmt.Sprint(1795388400+86401)), ErrInvalid},
		"other audience":       {with(`"sub"`, `"aud":"elsewhere","sub"`), ErrInvalid},
		"other audiences":      {with(`"sub"`, `"aud":["a","b"],"sub"`), ErrInvalid},
		"audience is a number": {with(`"sub"`, `"aud":1,"sub"`), ErrInvalid},
		"other room":           {with(`"room":"room"`, `"room":"moor"`), ErrWrongRoom}, // S13
		"no room":              {with(`"room":"room",`, ``), ErrWrongRoom},
		"no join":              {with(`true`, `false`), ErrWrongRoom},
		"no grant":             {with(`,"video":{"room":"room","roomJoin":true}`, ``), ErrWrongRoom},
		"grant is text":        {with(`{"room":"room","roomJoin":true}`, `"all"`), ErrInvalid},
	} {
		got, err := Verify(c.text, now, policy())
		if !errors.Is(err, c.want) || fmt.Sprint(got) != fmt.Sprint(Claims{}) {
			t.Errorf("%s: %+v, %v, want %v", name, got, err, c.want)
		}
	}
}

func TestVerify_time(t *testing.T) { // S12
	text, err := Mint(secret, good())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at   time.Time
		want error
	}{
		{now, nil},
		{now.Add(-Skew), nil},
		{now.Add(-Skew - 1), ErrNotYet},
		{now.Add(-time.Hour), ErrNotYet},
		{now.Add(time.Hour), nil},
		{now.Add(time.Hour + Skew - 1), nil},
		{now.Add(time.Hour + Skew), ErrExpired},
		{now.Add(1000 * time.Hour), ErrExpired},
	} {
		if _, err := Verify(text, c.at, policy()); !errors.Is(err, c.want) {
			t.Errorf("at %v: %v, want %v", c.at.Sub(now), err, c.want)
		}
	}
}

func TestMint_refuses(t *testing.T) {
	if _, err := Mint(secret[1:], good()); err == nil {
		t.Error("a short secret")
	}
	for name, change := range map[string]func(*Claims){
		"no issuer":       func(c *Claims) { c.Issuer = "" },
		"no room":         func(c *Claims) { c.Room = "" },
		"no identity":     func(c *Claims) { c.Identity = "" },
		"more than a day": func(c *Claims) { c.Expires = now.Add(MaxLifetime + time.Second) },
		"ends first":      func(c *Claims) { c.Expires = now.Add(-time.Second) },
		"once without id": func(c *Claims) { c.Once = true },
		"too long":        func(c *Claims) { c.Audience = []string{strings.Repeat("a", MaxBytes)} },
	} {
		c := good()
		change(&c)
		if _, err := Mint(secret, c); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzVerify: no text panics, and what is taken is within the bounds. The
// texts are signed here, so that the fuzzer gets behind the signature.
func FuzzVerify(f *testing.F) {
	f.Add(hs256, body, false)
	f.Add(`{"alg":"none"}`, body, true)
	f.Add(hs256, `{"exp":1e999,"aud":[[]],"video":null}`, false)
	f.Fuzz(func(t *testing.T, head, claims string, raw bool) {
		text := forge(head, claims, secret)
		if raw {
			text = head + "." + claims
		}
		c, err := Verify(text, now, policy())
		if err != nil {
			if !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrExpired) && !errors.Is(err, ErrNotYet) && !errors.Is(err, ErrWrongRoom) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if raw && head == "" || c.Issuer != "key" || c.Identity == "" || c.Room != "room" || len(text) > MaxBytes ||
			c.Expires.Sub(c.NotBefore) > MaxLifetime || now.After(c.Expires.Add(Skew)) || len(c.Publish) > len(Sources()) {
			t.Fatalf("taken: %+v", c)
		}
	})
}
