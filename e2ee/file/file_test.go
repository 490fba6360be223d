package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// content is n bytes that repeat nowhere near.
func content(n int) []byte {
	b := make([]byte, n)
	source := rand.NewChaCha8([32]byte{byte(n)})
	source.Read(b)
	return b
}

func sealed(t testing.TB, plain []byte) (Info, []byte) {
	t.Helper()
	var out bytes.Buffer
	info, err := Encrypt(&out, bytes.NewReader(plain))
	if err != nil {
		t.Fatal(err)
	}
	return info, out.Bytes()
}

func TestFile_roundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, ChunkSize - 1, ChunkSize, ChunkSize + 1, 2*ChunkSize - 1, 2 * ChunkSize, 3*ChunkSize + 17} {
		plain := content(n)
		info, cipher := sealed(t, plain)
		if info.Size != int64(n) || SealedSize(info.Size) != int64(len(cipher)) {
			t.Errorf("%d bytes: size %d, sealed %d of %d", n, info.Size, len(cipher), SealedSize(info.Size))
		}
		for name, src := range map[string]io.Reader{
			"whole":    bytes.NewReader(cipher),
			"in parts": iotest.HalfReader(bytes.NewReader(cipher)),
			"late end": iotest.DataErrReader(bytes.NewReader(cipher)),
		} {
			var out bytes.Buffer
			if err := Decrypt(&out, src, info); err != nil || !bytes.Equal(out.Bytes(), plain) {
				t.Errorf("%d bytes, %s: %v", n, name, err)
			}
		}
		if other, _ := sealed(t, plain); other.Key == info.Key {
			t.Error("two files under one key")
		}
	}
}

// Attack 31: what a store, or a member with its help, may do to a file.
func TestDecrypt_refusesWhatWasChanged(t *testing.T) {
	plain := content(4*ChunkSize + 100)
	info, whole := sealed(t, plain)
	var chunks [][]byte
	for rest := whole; len(rest) > 0; {
		n := min(len(rest), SealedChunkSize)
		chunks = append(chunks, rest[:n])
		rest = rest[n:]
	}
	full, exact := content(2*ChunkSize), 2*SealedChunkSize
	exactInfo, exactSealed := sealed(t, full)
	_, anotherSealed := sealed(t, plain)

	// A member that knows the key makes another file of the same size with it.
	forger := NewSealer(info.Key)
	var forged []byte
	for rest := content(len(plain) + 1)[1:]; !forger.done; {
		n := min(len(rest), ChunkSize)
		var err error
		if forged, err = forger.Seal(forged, rest[:n], n == len(rest)); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}

	join := func(order ...int) (out []byte) {
		for _, i := range order {
			out = append(out, chunks[i]...)
		}
		return out
	}
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 0x80
		return b
	}
	changed := func(change func(i *Info)) Info {
		i := info
		change(&i)
		return i
	}
	for name, test := range map[string]struct {
		info   Info
		cipher []byte
		want   error
	}{
		"two chunks swapped":        {info, join(0, 2, 1, 3, 4), ErrChunk},
		"first and second swapped":  {info, join(1, 0, 2, 3, 4), ErrChunk},
		"a chunk left out":          {info, join(0, 1, 3, 4), ErrChunk},
		"a chunk twice":             {info, join(0, 1, 1, 2, 3, 4), ErrChunk},
		"last chunk missing":        {info, join(0, 1, 2, 3), ErrTruncated},
		"last chunk cut":            {info, whole[:len(whole)-1], ErrTruncated},
		"cut within a chunk":        {info, whole[:SealedChunkSize+5], ErrTruncated},
		"nothing":                   {info, nil, ErrTruncated},
		"bytes after the end":       {info, append(bytes.Clone(whole), 0), ErrSize},
		"a file after the end":      {info, append(bytes.Clone(whole), whole...), ErrSize},
		"a bit of the first chunk":  {info, flip(whole, 0), ErrChunk},
		"a bit of the first tag":    {info, flip(whole, ChunkSize), ErrChunk},
		"a bit of the last chunk":   {info, flip(whole, len(whole)-TagSize-1), ErrChunk},
		"a bit of the last tag":     {info, flip(whole, len(whole)-1), ErrChunk},
		"another key":               {changed(func(i *Info) { i.Key[0] ^= 1 }), whole, ErrChunk},
		"a chunk of another file":   {info, append(anotherSealed[:SealedChunkSize:SealedChunkSize], whole[SealedChunkSize:]...), ErrChunk},
		"another file, same key":    {info, forged, ErrHash},
		"another hash":              {changed(func(i *Info) { i.Hash[31] ^= 1 }), whole, ErrHash},
		"shorter than announced":    {changed(func(i *Info) { i.Size++ }), whole, ErrTruncated},
		"longer than announced":     {changed(func(i *Info) { i.Size-- }), whole, ErrChunk},
		"announced at a chunk end":  {changed(func(i *Info) { i.Size = 2 * ChunkSize }), whole[:exact], ErrChunk},
		"negative size":             {changed(func(i *Info) { i.Size = -1 }), whole, ErrSize},
		"enormous size":             {changed(func(i *Info) { i.Size = MaxSize + 1 }), whole, ErrSize},
		"last full chunk as inner":  {changed(func(i *Info) { *i = exactInfo; i.Size++ }), append(bytes.Clone(exactSealed), make([]byte, TagSize+1)...), ErrChunk},
		"last full chunk not there": {exactInfo, exactSealed[:SealedChunkSize], ErrTruncated},
	} {
		if err := Decrypt(io.Discard, bytes.NewReader(test.cipher), test.info); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func TestSealer_refusesWhatIsNoFile(t *testing.T) {
	s := NewSealer(NewKey())
	if _, err := s.Info(); err != ErrTruncated {
		t.Errorf("info before the end: %v", err)
	}
	for name, chunk := range map[string][]byte{"short inner chunk": make([]byte, 5), "long chunk": make([]byte, ChunkSize+1), "empty inner chunk": nil} {
		if out, err := s.Seal(nil, chunk, false); err != ErrSize || out != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	full := make([]byte, ChunkSize)
	if _, err := s.Seal(nil, full, false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Seal(nil, nil, true); err != ErrSize {
		t.Errorf("empty last chunk: %v", err)
	}
	if _, err := s.Seal(nil, full, true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Seal(nil, full, true); err != ErrOrder {
		t.Errorf("chunk after the last: %v", err)
	}
}

func TestOpener_refusesCallsOutOfOrder(t *testing.T) {
	info, cipher := sealed(t, []byte("text"))
	o, err := NewOpener(info)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != ErrTruncated {
		t.Errorf("close before the end: %v", err)
	}
	if _, err := o.Open(nil, cipher[:10]); err != ErrSize {
		t.Errorf("short chunk: %v", err)
	}
	if plain, err := o.Open([]byte("a "), cipher); err != nil || string(plain) != "a text" {
		t.Errorf("%q, %v", plain, err)
	}
	if _, err := o.Open(nil, cipher); err != ErrOrder || o.Next() != 0 {
		t.Errorf("chunk after the last: %v", err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
}

func TestEncrypt_passesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	if _, err := Encrypt(io.Discard, iotest.ErrReader(broken)); err != broken {
		t.Errorf("reader: %v", err)
	}
	if _, err := Encrypt(io.Discard, io.MultiReader(bytes.NewReader(make([]byte, ChunkSize)), iotest.ErrReader(broken))); err != broken {
		t.Errorf("reader at the second chunk: %v", err)
	}
	if _, err := Encrypt(failing{broken}, strings.NewReader("text")); err != broken {
		t.Errorf("writer: %v", err)
	}
	info, cipher := sealed(t, []byte("text"))
	if err := Decrypt(failing{broken}, bytes.NewReader(cipher), info); err != broken {
		t.Errorf("writer: %v", err)
	}
	if err := Decrypt(io.Discard, iotest.ErrReader(broken), info); err != broken {
		t.Errorf("reader: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestKey_doesNotPrint(t *testing.T) {
	info, _ := sealed(t, nil)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(format, info.Key); len(text) > 7 {
			t.Errorf("%s prints %s", format, text)
		}
	}
	if text := fmt.Sprint(info); !strings.Contains(text, "[key]") {
		t.Errorf("the description of a file prints %s", text)
	}
}

func FuzzDecrypt(f *testing.F) {
	info, cipher := sealed(f, []byte("text"))
	f.Add(cipher, int64(4))
	f.Add([]byte{}, int64(0))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		i := info
		i.Size = size
		if err := Decrypt(io.Discard, bytes.NewReader(b), i); err == nil && (size != 4 || !bytes.Equal(b, cipher)) {
			t.Fatalf("%x opens as a file of %d bytes", b, size)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	chunk, out := make([]byte, ChunkSize), make([]byte, 0, SealedChunkSize)
	s := NewSealer(NewKey())
	b.SetBytes(ChunkSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Seal(out, chunk, false); err != nil {
			b.Fatal(err)
		}
	}
}
