package protocol

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the computed examples into PROTOCOL.md")

// The worked examples are computed here from PROTOCOL.md alone, with the
// standard library: a second implementation beside the one in package e2ee.

func run(from byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = from + byte(i)
	}
	return b
}

type example struct {
	t      *testing.T
	prk    []byte
	room   RoomID
	roomID []byte
	lines  []string
}

func (e *example) expand(secret []byte, info string, n int) []byte {
	e.t.Helper()
	b, err := hkdf.Expand(sha256.New, secret, info, n)
	if err != nil {
		e.t.Fatal(err)
	}
	return b
}

func (e *example) extract(secret, salt []byte) []byte {
	e.t.Helper()
	b, err := hkdf.Extract(sha256.New, secret, salt)
	if err != nil {
		e.t.Fatal(err)
	}
	return b
}

func (e *example) seal(key, nonce, plain, aad []byte) []byte {
	e.t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		e.t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		e.t.Fatal(err)
	}
	return gcm.Seal(nil, nonce, plain, aad)
}

// hex adds a value, 32 bytes a line.
func (e *example) hex(name string, value []byte) {
	for first := true; first || len(value) > 0; first = false {
		n := min(32, len(value))
		e.lines = append(e.lines, fmt.Sprintf("%-15s %s", name, hex.EncodeToString(value[:n])))
		name, value = "", value[n:]
	}
}

func (e *example) text(name, value string) {
	e.lines = append(e.lines, fmt.Sprintf("%-15s %s", name, value))
}

func (e *example) done() string {
	s := strings.Join(e.lines, "\n") + "\n"
	e.lines = nil
	return s
}

func newExample(t *testing.T) *example {
	e := &example{t: t}
	e.prk = e.extract(run(0, 32), []byte("sotto-e2ee/1"))
	return e
}

const exampleHost = "meet.example:8443"

func (e *example) admission() string {
	conn := ConnID(run(0x40, 16))
	nonce := run(0x20, 32)
	key := ed25519.NewKeyFromSeed(e.expand(e.prk, "link-sig", 32))
	public := key.Public().(ed25519.PublicKey)
	e.room = RoomOf(public)
	e.roomID = e.room[:]
	signed := ConnectSigned(exampleHost, nonce, conn)
	c := &Connect{ID: 1, Room: e.room, ConnID: conn, LinkPub: Bytes(public), LinkSig: ed25519.Sign(key, signed)}
	if err := VerifyConnect(c, exampleHost, nonce); err != nil {
		e.t.Fatal(err)
	}
	e.text("SECRET", base64.RawURLEncoding.EncodeToString(run(0, 32)))
	e.hex("prk", e.prk)
	e.hex("seed", key.Seed())
	e.hex("link_pub", public)
	e.hex("room id, raw", e.roomID)
	e.text("ROOM_ID", e.room.String())
	e.hex("signed", signed)
	e.hex("link_sig", c.LinkSig)
	e.text("conn_id", conn.String())
	return e.done()
}

func (e *example) envelope() string {
	conn := ConnID(run(0x40, 16))
	key := e.expand(e.expand(e.prk, "seal", 32), "conn"+string(conn[:]), 32)
	header := EnvelopeHeader{Type: EnvelopeApp, GroupInstance: GroupInstance(run(0xb0, 16)), Epoch: 3, From: conn}.AppendHeader(nil)
	plain := run(0xe0, 32)
	nonce := make([]byte, 12)
	sealed := append(bytes.Clone(nonce), e.seal(key, nonce, plain, append(bytes.Clone(header), e.roomID...))...)
	message := append(bytes.Clone(header), sealed...)
	parsed, err := ParseEnvelope(message)
	if err != nil || parsed.From != conn || !bytes.Equal(parsed.Sealed, sealed) {
		e.t.Fatalf("the example does not parse: %v", err)
	}
	e.hex("k_seal", e.expand(e.prk, "seal", 32))
	e.hex("key", key)
	e.hex("plaintext", plain)
	e.hex("header", header)
	e.hex("aad", append(bytes.Clone(header), e.roomID...))
	e.hex("nonce", nonce)
	e.hex("envelope", message)
	return e.done()
}

func (e *example) bundle() string {
	committer, joiner := ConnID(run(0x40, 16)), ConnID(run(0x50, 16))
	envelope := func(kind EnvelopeType, slot, epoch uint64) []byte {
		h := EnvelopeHeader{Type: kind, GroupInstance: GroupInstance(run(0xb0, 16)), Slot: slot, Epoch: epoch, From: committer}
		return append(h.AppendHeader(nil), make([]byte, SealOverhead)...)
	}
	commit, welcome := envelope(EnvelopeCommit, 3, 3), envelope(EnvelopeWelcome, 0, 4)
	message := append([]byte{2, 1}, joiner[:]...)
	message = binary.BigEndian.AppendUint32(message, uint32(len(commit)))
	message = append(append(message, commit...), welcome...)
	parsed, header, err := ParseBundle(message)
	if err != nil || header.Slot != 3 || len(parsed.Admits) != 1 || parsed.Admits[0] != joiner || !bytes.Equal(parsed.Welcome, welcome) {
		e.t.Fatalf("the example does not parse: %+v, %v", parsed, err)
	}
	e.hex("commit", commit)
	e.hex("welcome", welcome)
	e.hex("bundle", message)
	return e.done()
}

func (e *example) ticket() string {
	token := run(0x90, 32)
	tag := HostTag(token)
	message := append([]byte("sotto-ticket/1"), e.roomID...)
	message = append(message, run(0xb0, 16)...)
	message = binary.BigEndian.AppendUint64(message, 41)
	message = append(append(message, run(0x40, 16)...), tag[:]...)
	mac := hmac.New(sha256.New, bytes.Repeat([]byte{7}, 32))
	mac.Write(message)
	e.hex("host token", token)
	e.hex("host tag", tag[:])
	e.hex("message", message)
	e.hex("ticket", mac.Sum(nil))
	e.text("in JSON", Bytes(mac.Sum(nil)).String())
	return e.done()
}

func (e *example) sframe() string {
	const kid, ctr = 1<<16 | 1<<8 | 3, 300
	base := run(0xa0, 16)
	secret := e.extract(base, nil)
	label := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(nil, kid), 4)
	key := e.expand(secret, "SFrame 1.0 Secret key "+string(label), 16)
	salt := e.expand(secret, "SFrame 1.0 Secret salt "+string(label), 12)
	nonce := make([]byte, 12)
	binary.BigEndian.PutUint64(nonce[4:], ctr)
	for i := range nonce {
		nonce[i] ^= salt[i]
	}
	header := []byte{1<<7 | 2<<4 | 1<<3 | 1, 0x01, 0x01, 0x03, 0x01, 0x2c}
	frame, err := hex.DecodeString("100200" + "9d012a80026801004708858588")
	if err != nil {
		e.t.Fatal(err)
	}
	clear, plain := frame[:1], frame[1:]
	aad := append(append(append(bytes.Clone(header), "sto1"...), 2), clear...)
	protected := append(append(bytes.Clone(clear), header...), e.seal(key, nonce, plain, aad)...)
	e.hex("base_key", base)
	e.hex("secret", secret)
	e.hex("key", key)
	e.hex("salt", salt)
	e.hex("nonce", nonce)
	e.hex("clear", clear)
	e.hex("SFrame header", header)
	e.hex("aad", aad)
	e.hex("plaintext", plain)
	e.hex("frame", protected)
	return e.done()
}

// TestDocument_examplesAreTrue computes every hex block. -update writes them.
func TestDocument_examplesAreTrue(t *testing.T) {
	e := newExample(t)
	blocks := map[string]string{}
	blocks["admission"] = e.admission()
	blocks["envelope"] = e.envelope()
	blocks["bundle"] = e.bundle()
	blocks["ticket"] = e.ticket()
	blocks["sframe"] = e.sframe()

	document, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)(<!-- example: ([a-z]+) -->\n```hex\n)(.*?)(```\n)")
	seen := 0
	written := block.ReplaceAllStringFunc(string(document), func(found string) string {
		seen++
		parts := block.FindStringSubmatch(found)
		want, ok := blocks[parts[2]]
		if !ok {
			t.Errorf("example %s is not computed", parts[2])
			return found
		}
		if parts[3] != want && !*update {
			t.Errorf("example %s is\n%swant\n%s", parts[2], parts[3], want)
		}
		return parts[1] + want + parts[4]
	})
	if seen != len(blocks) {
		t.Errorf("%d examples in the document, %d computed", seen, len(blocks))
	}
	if *update {
		if err := os.WriteFile("PROTOCOL.md", []byte(written), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDocument_messagesDecode takes every json block, one message a line.
func TestDocument_messagesDecode(t *testing.T) {
	document, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	s := loadSchema(t)
	shown := map[string]bool{}
	var nonce []byte
	for _, found := range regexp.MustCompile("(?s)```json ([a-z]+)\n(.*?)```").FindAllStringSubmatch(string(document), -1) {
		for line := range strings.Lines(found[2]) {
			text := []byte(strings.TrimSpace(line))
			var m Message
			var err error
			var def string
			switch found[1] {
			case "client":
				m, err = DecodeClient(text)
				def = "client_message"
			case "server":
				m, err = DecodeServer(text)
				def = "server_message"
			case "app":
				switch {
				case bytes.Contains(text, []byte(`"ctr"`)):
					def = "app_heartbeat"
				case bytes.Contains(text, []byte(`"frames"`)):
					def = "app_signatures"
				default:
					def = "app_chat"
				}
			default:
				t.Fatalf("json block for %q", found[1])
			}
			if err != nil {
				t.Errorf("%v\n%s", err, text)
				continue
			}
			switch m := m.(type) {
			case *Hello:
				nonce = m.Nonce
			case *Connect:
				if err := VerifyConnect(m, exampleHost, nonce); err != nil {
					t.Errorf("the connect of the document: %v", err)
				}
			case *Alias:
				if err := VerifyAlias(m, exampleHost, nonce, ConnID(run(0x40, 16))); err != nil {
					t.Errorf("the alias of the document: %v", err)
				}
			}
			if m != nil {
				shown[m.Type()] = true
			}
			if err := s.text(t, text, def); err != nil {
				t.Errorf("schema: %v\n%s", err, text)
			}
		}
	}
	for _, m := range append(clientMessages(), serverMessages()...) {
		if !shown[m.Type()] {
			t.Errorf("the document shows no %s", m.Type())
		}
	}
}

// TestDocument_listsEveryCode: the table of errors has every code and no other.
func TestDocument_listsEveryCode(t *testing.T) {
	document, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(document), "## 9. Errors")
	section, _, _ := strings.Cut(after, "## 10.")
	documented := map[string]bool{}
	for _, found := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(section, -1) {
		documented[found[1]] = true
	}
	for _, c := range Codes() {
		if !documented[string(c)] {
			t.Errorf("%s is not in PROTOCOL.md", c)
		}
		delete(documented, string(c))
	}
	for c := range documented {
		t.Errorf("PROTOCOL.md has %s, the package not", c)
	}
}
