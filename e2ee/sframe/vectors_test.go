package sframe

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

// hexBytes is a hex string in the vector files.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// rfcVectors is the machine-readable form of RFC 9605 appendix C.
type rfcVectors struct {
	Header []struct {
		KID, CTR uint64
		Encoded  hexBytes
	}
	SFrame []struct {
		Suite    uint16 `json:"cipher_suite"`
		KID, CTR uint64
		Base     hexBytes `json:"base_key"`
		Key      hexBytes `json:"sframe_key"`
		Salt     hexBytes `json:"sframe_salt"`
		Metadata hexBytes
		Nonce    hexBytes
		AAD      hexBytes
		PT, CT   hexBytes
	}
}

func loadRFC(t *testing.T) (v rfcVectors) {
	t.Helper()
	b, err := os.ReadFile("testdata/rfc9605-test-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestHeader_matchesRFC9605(t *testing.T) {
	vectors := loadRFC(t).Header
	if len(vectors) != 289 {
		t.Fatalf("%d header vectors, want 289", len(vectors))
	}
	for _, v := range vectors {
		h := Header{KID(v.KID), v.CTR}
		if got := h.Append(nil); !bytes.Equal(got, v.Encoded) || h.Len() != len(got) {
			t.Errorf("%+v encodes as %x (Len %d), want %x", h, got, h.Len(), v.Encoded)
		}
		got, n, err := ParseHeader(append(bytes.Clone(v.Encoded), 0xaa))
		if err != nil || got != h || n != len(v.Encoded) {
			t.Errorf("%x parses as %+v, %d, %v", v.Encoded, got, n, err)
		}
		for cut := range v.Encoded {
			if _, _, err := ParseHeader(v.Encoded[:cut]); err != DropMalformed {
				t.Errorf("%x cut to %d: %v", v.Encoded, cut, err)
			}
		}
	}
}

// The AEAD suites 4 and 5 as the RFC gives them; only suite 4 is reachable from
// outside the package.
func TestKeys_matchRFC9605(t *testing.T) {
	seen := 0
	for _, v := range loadRFC(t).SFrame {
		s := aes128GCM()
		switch v.Suite {
		case 4:
		case 5:
			s = suite{id: 5, keySize: 32, hash: sha512.New}
		default:
			continue // CTR with HMAC is not used
		}
		seen++
		key, salt, err := s.expand(v.Base, KID(v.KID))
		if err != nil || !bytes.Equal(key, v.Key) || !bytes.Equal(salt, v.Salt) {
			t.Fatalf("suite %d: key %x salt %x, %v", v.Suite, key, salt, err)
		}
		k, err := s.derive(v.Base, KID(v.KID))
		if err != nil {
			t.Fatal(err)
		}
		var nonce [nonceSize]byte
		k.nonce(&nonce, v.CTR)
		if !bytes.Equal(nonce[:], v.Nonce) {
			t.Errorf("suite %d: nonce %x, want %x", v.Suite, nonce, v.Nonce)
		}
		header := Header{KID(v.KID), v.CTR}.Append(nil)
		aad := append(bytes.Clone(header), v.Metadata...)
		if !bytes.Equal(aad, v.AAD) {
			t.Errorf("suite %d: aad %x, want %x", v.Suite, aad, v.AAD)
		}
		if got := k.aead.Seal(header, nonce[:], v.PT, aad); !bytes.Equal(got, v.CT) {
			t.Errorf("suite %d: %x, want %x", v.Suite, got, v.CT)
		}
	}
	if seen != 2 {
		t.Fatalf("%d AEAD vectors, want 2", seen)
	}
}

func TestParseHeader_refusesLongForms(t *testing.T) {
	for _, text := range []string{"", "8007", "0807", "990001" + "01", "0f0000000000000001", "f0", "ff00"} {
		b, _ := hex.DecodeString(text)
		if h, _, err := ParseHeader(b); err != DropMalformed {
			t.Errorf("%s parsed as %+v, %v", text, h, err)
		}
	}
}

func TestMakeKID_layout(t *testing.T) {
	if got := MakeKID(ScreenAudio, 0xab, 0xcd); got != 0x03abcd {
		t.Fatalf("%#x", got)
	}
	if _, _, _, ok := KID(5 << 16).Split(); ok {
		t.Fatal("context 5 accepted")
	}
	if _, _, _, ok := KID(1 << 63).Split(); ok {
		t.Fatal("a 64-bit KID accepted")
	}
}
