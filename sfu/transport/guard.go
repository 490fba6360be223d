package transport

import "encoding/binary"

// DTLS record and handshake constants (RFC 6347 4.1 and 4.2.2, RFC 5246 6.2.1
// and 7.4).
const (
	recordHeaderLen    = 13
	handshakeHeaderLen = 12

	contentChangeCipherSpec = 20
	contentAlert            = 21
	contentHandshake        = 22
	contentApplicationData  = 23

	messageClientHello       = 1
	messageCertificate       = 11
	messageCertificateVerify = 15
	messageClientKeyExchange = 16

	versionDTLS10 = 0xfeff // also the record version of a first hello
	versionDTLS12 = 0xfefd

	suiteECDHEECDSAWithAES128GCM = 0xc02b
	suiteECDHEECDSAWithAES256GCM = 0xc02c

	// maxHandshakeBytes is what one association may send in plaintext records,
	// retransmissions included. A handshake takes about 2 KiB.
	maxHandshakeBytes = 64 << 10
)

// guard stands in front of the DTLS library, which gives up a handshake on the
// first plaintext record that it does not like, while anyone who can forge a
// source address can send one. It passes only what a client of ours sends.
// A forged hello that is well-formed still passes (no stateless cookie can
// stand in front of the library): it costs one handshake at most.
type guard struct {
	bytes int
	// hello is the message of which the first fragment was in order: only its
	// further fragments are let through.
	hello struct {
		known  bool
		seq    uint16
		length uint32
	}
}

// verdict is what the guard thinks of a datagram. hello is set when it begins
// an acceptable ClientHello, alert when it has an encrypted alert.
type verdict struct {
	pass, hello, alert bool
	reason             DropReason
}

// admit judges one datagram. up says that the handshake is complete.
func (g *guard) admit(b []byte, up bool) verdict {
	var v verdict
	counted := 0
	for len(b) > 0 {
		if len(b) < recordHeaderLen {
			return verdict{reason: DropDTLSRecord}
		}
		kind, version := b[0], binary.BigEndian.Uint16(b[1:])
		epoch := binary.BigEndian.Uint16(b[3:])
		n := recordHeaderLen + int(binary.BigEndian.Uint16(b[11:]))
		if n > len(b) || version != versionDTLS12 && version != versionDTLS10 {
			return verdict{reason: DropDTLSRecord}
		}
		body := b[recordHeaderLen:n]
		b = b[n:]
		switch {
		case epoch == 1 && kind >= contentAlert && kind <= contentApplicationData:
			// Encrypted: what does not decrypt is dropped without harm, but the
			// library stores it until the handshake has keys.
			if !up {
				counted += n
			}
			v.alert = v.alert || kind == contentAlert
		case epoch == 0 && kind == contentChangeCipherSpec && len(body) == 1 && body[0] == 1:
			counted += n
		case epoch == 0 && kind == contentHandshake:
			counted += n
			hello, reason, ok := g.handshake(body, up)
			if !ok {
				return verdict{reason: reason}
			}
			v.hello = v.hello || hello
		default: // alerts, application data, later epochs
			return verdict{reason: DropDTLSRecord}
		}
	}
	if g.bytes+counted > maxHandshakeBytes {
		return verdict{reason: DropDTLSBytes}
	}
	g.bytes += counted
	v.pass = true
	return v
}

// handshake judges the messages of one plaintext record.
func (g *guard) handshake(b []byte, up bool) (hello bool, reason DropReason, ok bool) {
	if len(b) == 0 {
		return false, DropDTLSRecord, false
	}
	for len(b) > 0 {
		if len(b) < handshakeHeaderLen {
			return false, DropDTLSRecord, false
		}
		kind := b[0]
		length := uint24(b[1:])
		seq := binary.BigEndian.Uint16(b[4:])
		offset, size := uint24(b[6:]), uint24(b[9:])
		if int(size) > len(b)-handshakeHeaderLen || offset+size > length || length > maxHandshakeBytes {
			return false, DropDTLSRecord, false
		}
		fragment := b[handshakeHeaderLen : handshakeHeaderLen+size]
		b = b[handshakeHeaderLen+size:]
		switch kind {
		case messageClientHello:
			if up || !g.clientHello(fragment, seq, length, offset) {
				return false, DropDTLSHello, false
			}
			hello = hello || offset == 0
		case messageCertificate, messageClientKeyExchange, messageCertificateVerify:
		default:
			return false, DropDTLSRecord, false
		}
	}
	return hello, 0, true
}

// clientHello judges one fragment. A hello that is larger than a datagram (key
// shares of post-quantum groups) comes in two; version and suites must then be
// in the first.
func (g *guard) clientHello(b []byte, seq uint16, length, offset uint32) bool {
	if offset > 0 {
		return g.hello.known && g.hello.seq == seq && g.hello.length == length
	}
	if !acceptableHello(b) {
		return false
	}
	g.hello.known, g.hello.seq, g.hello.length = true, seq, length
	return true
}

// acceptableHello reads version, random, session id, cookie and cipher suites
// (RFC 6347 4.2.1).
func acceptableHello(b []byte) bool {
	const fixed = 2 + 32 // version, random
	if len(b) < fixed || binary.BigEndian.Uint16(b) != versionDTLS12 {
		return false
	}
	b = b[fixed:]
	for range 2 { // session id, cookie
		if len(b) < 1 || len(b)-1 < int(b[0]) {
			return false
		}
		b = b[1+int(b[0]):]
	}
	if len(b) < 2 {
		return false
	}
	n := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	if n > len(b) || n%2 != 0 {
		return false
	}
	for i := 0; i < n; i += 2 {
		switch binary.BigEndian.Uint16(b[i:]) {
		case suiteECDHEECDSAWithAES128GCM, suiteECDHEECDSAWithAES256GCM:
			return true
		}
	}
	return false
}

func uint24(b []byte) uint32 {
	return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
}
