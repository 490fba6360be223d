package mls

import (
	"bytes"
	"crypto/ecdh"
	"errors"
	"testing"
)

func TestCodec_isStrict(t *testing.T) {
	opaque := func(r *reader) { r.opaque() }
	optional := func(r *reader) { r.optional() }
	extensions := func(r *reader) { readExtensions(r) }
	for _, test := range []struct {
		name string
		in   string
		read func(*reader)
		ok   bool
	}{
		{"empty vector", "\x00", opaque, true},
		{"63 in one byte", "\x3f" + string(make([]byte, 63)), opaque, true},
		{"64 in two bytes", "\x40\x40" + string(make([]byte, 64)), opaque, true},
		{"63 in two bytes", "\x40\x3f" + string(make([]byte, 63)), opaque, false},
		{"64 in four bytes", "\x80\x00\x00\x40" + string(make([]byte, 64)), opaque, false},
		{"prefix 3", "\xc0\x00\x00\x00\x00\x00\x00\x00", opaque, false},
		{"cut length", "\x40", opaque, false},
		{"cut body", "\x02\x00", opaque, false},
		{"longest length", "\xbf\xff\xff\xff", opaque, false},
		{"nothing", "", opaque, false},
		{"trailing byte", "\x00\x00", opaque, false},
		{"optional 1", "\x01", optional, true},
		{"optional 2", "\x02", optional, false},
		{"two extensions", "\x06\x00\x01\x00\x00\x02\x00", extensions, true},
		{"extension twice", "\x06\x00\x01\x00\x00\x01\x00", extensions, false},
		{"half an extension", "\x01\x00", extensions, false},
		{"tree of nobody", "\x00", func(r *reader) { new(Tree).decode(r) }, false},
		{"tree that ends blank", "\x02\x00\x00", func(r *reader) { new(Tree).decode(r) }, false},
		{"leaf where a parent belongs", "\x04\x00\x01\x01\x00", func(r *reader) { new(Tree).decode(r) }, false},
	} {
		r := reader{b: []byte(test.in)}
		test.read(&r)
		if err := r.end(); (err == nil) != test.ok || (err != nil && !errors.Is(err, ErrEncoding)) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestCodec_copiesItsInput(t *testing.T) {
	w := newWorld(t)
	encoded := w.invitation(w.person()).KeyPackage.Message()
	kp := must(ParseKeyPackage(encoded, w.suite))(t)
	again := bytes.Clone(encoded)
	clear(encoded)
	same(t, "key package", kp.Message(), again)
}

func TestHPKE_refusesKeysOfLowOrder(t *testing.T) {
	point := func(first, middle, last byte) []byte {
		b := bytes.Repeat([]byte{middle}, 32)
		b[0], b[31] = first, last
		return b
	}
	low := map[string][]byte{
		"0": point(0, 0, 0), "1": point(1, 0, 0),
		"p-1": point(0xec, 0xff, 0x7f), "p": point(0xed, 0xff, 0x7f), "p+1": point(0xee, 0xff, 0x7f),
		"order 8": []byte(order8a), "other of order 8": []byte(order8b),
	}
	private := must(ecdh.X25519().GenerateKey(bytes.NewReader(randomBytes(64))))(t)
	for name, b := range low {
		for _, top := range []byte{0, 0x80} {
			b := bytes.Clone(b)
			b[31] |= top
			// The standard library agrees that such a key is of no use.
			if _, err := private.ECDH(must(ecdh.X25519().NewPublicKey(b))(t)); err == nil {
				t.Errorf("%s: is not of low order", name)
			}
			if _, err := X25519AES128SHA256Ed25519.publicKey(b); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
	}
	for _, b := range [][]byte{point(2, 0, 0), point(0xeb, 0xff, 0x7f), point(9, 0, 0)} {
		if _, err := X25519AES128SHA256Ed25519.publicKey(b); err != nil {
			t.Errorf("%x: %v", b, err)
		}
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := X25519AES128SHA256Ed25519.publicKey(make([]byte, n)); err == nil {
			t.Errorf("key of %d bytes", n)
		}
	}
}

func TestPrivateMessage_paddingIsZero(t *testing.T) {
	secret, senderSecret := randomBytes(hashSize), randomBytes(hashSize)
	a := &authenticatedContent{wireFormat: wirePrivate, signature: []byte{1}, content: framedContent{
		sender: sender{kind: senderMember, index: 1}, contentType: contentApplication, application: []byte("hello")}}
	m := must(protectPrivate(a, newSecretTree(2, secret), senderSecret, 8))(t)
	opened, use, err := openPrivate(m, newSecretTree(2, secret), senderSecret, 0)
	if err != nil || string(opened.content.application) != "hello" {
		t.Fatal(err)
	}
	// The same with a last byte that is not zero.
	plain := writer{}
	a.content.encodeBody(&plain)
	a.encodeAuth(&plain)
	plain.raw([]byte{0, 0, 1})
	data := senderData{leaf: 1}
	m.ciphertext = seal(use.key.key, data.guarded(use.key.nonce), m.contentAAD(), plain.b)
	key, nonce := senderKey(senderSecret, m.ciphertext)
	m.senderData = seal(key, nonce, m.senderAAD(), marshal(&data))
	if _, _, err := openPrivate(m, newSecretTree(2, secret), senderSecret, 0); !errors.Is(err, ErrEncoding) {
		t.Errorf("padding: %v", err)
	}
}
