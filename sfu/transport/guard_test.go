package transport

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func record(kind byte, epoch uint16, body []byte) []byte {
	b := []byte{kind, 0xfe, 0xfd, byte(epoch >> 8), byte(epoch), 0, 0, 0, 0, 0, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return append(b, body...)
}

// fragment is one handshake message fragment in a plaintext record.
func fragment(kind byte, seq uint16, total, offset int, body []byte) []byte {
	b := []byte{kind, byte(total >> 16), byte(total >> 8), byte(total), byte(seq >> 8), byte(seq),
		byte(offset >> 16), byte(offset >> 8), byte(offset),
		byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}
	return record(contentHandshake, 0, append(b, body...))
}

func helloBody(version uint16, suites ...uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, version)
	b = append(b, make([]byte, 32)...) // random
	b = append(b, 0)                   // session id
	b = append(b, 2, 0xaa, 0xbb)       // cookie
	b = binary.BigEndian.AppendUint16(b, uint16(2*len(suites)))
	for _, s := range suites {
		b = binary.BigEndian.AppendUint16(b, s)
	}
	return append(b, 1, 0, 0, 0) // compression, no extensions
}

func whole(kind byte, seq uint16, body []byte) []byte { return fragment(kind, seq, len(body), 0, body) }

func TestGuard(t *testing.T) {
	good := whole(messageClientHello, 0, helloBody(versionDTLS12, 0x1301, suiteECDHEECDSAWithAES128GCM))
	big := append(helloBody(versionDTLS12, suiteECDHEECDSAWithAES256GCM), make([]byte, 1500)...)
	first, second := fragment(messageClientHello, 1, len(big), 0, big[:1100]), fragment(messageClientHello, 1, len(big), 1100, big[1100:])
	var stray guard
	for _, test := range []struct {
		name  string
		g     *guard
		up    bool
		data  []byte
		pass  bool
		hello bool
		why   DropReason
	}{
		{name: "hello", data: good, pass: true, hello: true},
		{name: "hello once up", data: good, up: true, why: DropDTLSHello},
		{name: "no suite of ours", data: whole(1, 0, helloBody(versionDTLS12, 0x1301, 0x002f)), why: DropDTLSHello},
		{name: "NULL suite", data: whole(1, 0, helloBody(versionDTLS12, 0x0000)), why: DropDTLSHello},
		{name: "RSA suites", data: whole(1, 0, helloBody(versionDTLS12, 0xc02f, 0xc030)), why: DropDTLSHello},
		{name: "no suites", data: whole(1, 0, helloBody(versionDTLS12)), why: DropDTLSHello},
		{name: "DTLS 1.0", data: whole(1, 0, helloBody(versionDTLS10, suiteECDHEECDSAWithAES128GCM)), why: DropDTLSHello},
		{name: "TLS 1.2 version", data: whole(1, 0, helloBody(0x0303, suiteECDHEECDSAWithAES128GCM)), why: DropDTLSHello},
		{name: "second half without the first", g: &stray, data: second, why: DropDTLSHello},
		{name: "first half", g: &stray, data: first, pass: true, hello: true},
		{name: "second half", g: &stray, data: second, pass: true},
		{name: "suites cut off", data: fragment(1, 0, 200, 0, helloBody(versionDTLS12, 0xc02b)[:30]), why: DropDTLSHello},
		{name: "plaintext alert", data: record(contentAlert, 0, []byte{2, 40}), why: DropDTLSRecord},
		{name: "plaintext alert behind a hello", data: append(bytes.Clone(good), record(contentAlert, 0, []byte{2, 40})...), why: DropDTLSRecord},
		{name: "plaintext data", data: record(contentApplicationData, 0, []byte("x")), why: DropDTLSRecord},
		{name: "epoch jump", data: record(contentApplicationData, 2, []byte("x")), why: DropDTLSRecord},
		{name: "encrypted alert", data: record(contentAlert, 1, make([]byte, 26)), up: true, pass: true},
		{name: "ChangeCipherSpec", data: record(contentChangeCipherSpec, 0, []byte{1}), pass: true},
		{name: "long ChangeCipherSpec", data: record(contentChangeCipherSpec, 0, []byte{1, 1}), why: DropDTLSRecord},
		{name: "certificate", data: whole(messageCertificate, 1, make([]byte, 400)), pass: true},
		{name: "retransmitted when up", data: whole(messageCertificate, 1, make([]byte, 400)), up: true, pass: true},
		{name: "server's message", data: whole(2, 1, make([]byte, 40)), why: DropDTLSRecord},
		{name: "hello request", data: whole(0, 0, nil), why: DropDTLSRecord},
		{name: "16 MB message", data: fragment(messageCertificate, 1, 1<<24-1, 0, []byte("x")), why: DropDTLSRecord},
		{name: "fragment beyond its message", data: fragment(messageCertificate, 1, 10, 8, []byte("abc")), why: DropDTLSRecord},
		{name: "fragment shorter than it says", data: record(contentHandshake, 0, []byte{11, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 9, 1}), why: DropDTLSRecord},
		{name: "empty record", data: record(contentHandshake, 0, nil), why: DropDTLSRecord},
		{name: "truncated record", data: good[:len(good)-1], why: DropDTLSRecord},
		{name: "truncated header", data: good[:12], why: DropDTLSRecord},
		{name: "TLS record version", data: append([]byte{22, 3, 3}, good[3:]...), why: DropDTLSRecord},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := test.g
			if g == nil {
				g = &guard{}
			}
			v := g.admit(test.data, test.up)
			if v.pass != test.pass || v.hello != test.hello || !v.pass && v.reason != test.why {
				t.Fatalf("%+v (%v)", v, v.reason)
			}
		})
	}
}

// D4: 10^5 fragments: not more than 64 KiB pass.
func TestGuard_boundsFragments(t *testing.T) {
	var g guard
	passed := 0
	for i := range 100_000 {
		b := fragment(messageCertificate, uint16(i), 60_000, i%50_000, make([]byte, 100))
		if g.admit(b, false).pass {
			passed += len(b)
		}
		b = record(contentHandshake, 1, make([]byte, 100)) // stored by the library until there are keys
		if g.admit(b, false).pass {
			passed += len(b)
		}
	}
	if passed > maxHandshakeBytes || passed < maxHandshakeBytes-200 {
		t.Fatal(passed)
	}
}

func FuzzGuard(f *testing.F) {
	f.Add(whole(messageClientHello, 0, helloBody(versionDTLS12, suiteECDHEECDSAWithAES128GCM)), false)
	f.Add(record(contentChangeCipherSpec, 0, []byte{1}), true)
	f.Fuzz(func(t *testing.T, b []byte, up bool) {
		var g guard
		v := g.admit(b, up)
		if v.pass && (len(b) > 0 && (b[0] < 20 || b[0] > 23) || up && v.hello || g.bytes > maxHandshakeBytes) {
			t.Fatalf("%+v", v)
		}
	})
}
