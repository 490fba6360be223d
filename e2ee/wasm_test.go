package e2ee_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What the page's WebAssembly module may weigh, gzip. The Go runtime alone is
// 0.6 MB of it.
const moduleBudget = 1_300_000

// TestWasm_weight builds the module as the page's build does, and prints what
// each linked package weighs (go test ./e2ee -run Wasm -v). It fails beyond the
// budget, or when a package that nobody calls was linked in. That the module
// works is tested in e2ee/js.
func TestWasm_weight(t *testing.T) {
	if testing.Short() {
		t.Skip("builds for js/wasm")
	}
	names := build(t)
	stripped := build(t, "-ldflags=-s -w")
	var zipped bytes.Buffer
	w, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(stripped); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes, %d bytes gzip", len(stripped), zipped.Len())
	if zipped.Len() > moduleBudget {
		t.Errorf("%d bytes gzip, more than %d", zipped.Len(), moduleBudget)
	}

	weights, err := weigh(names)
	if err != nil {
		t.Fatal(err)
	}
	if weights["sotto/e2ee/mls"] == 0 || weights["runtime"] == 0 {
		t.Fatal("the names of the functions were not understood: the test would pass without having read them")
	}
	order := slices.SortedFunc(maps.Keys(weights), func(a, b string) int { return weights[b] - weights[a] })
	for _, name := range order[:min(40, len(order))] {
		t.Logf("%8d bytes of code  %s", weights[name], name)
	}
	for name := range heavy {
		// The runtime's own needs are no choice of ours.
		if weights[name] > 0 && name != "os" && name != "reflect" {
			t.Errorf("%s is linked, with %d bytes of code: %s", name, weights[name], heavy[name])
		}
	}
}

// build compiles the module for browsers.
func build(t *testing.T, flags ...string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "group.wasm")
	command := exec.Command("go", append(append([]string{"build", "-trimpath"}, flags...), "-o", file, "./wasm")...)
	command.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// weigh adds up the code of each package in a WebAssembly module with names:
// the sizes come from the code section, the names from the name section.
func weigh(module []byte) (map[string]int, error) {
	r := &wasmReader{b: module}
	if string(r.take(8)) != "\x00asm\x01\x00\x00\x00" {
		return nil, errors.New("not a WebAssembly module")
	}
	var sizes []int // of the functions that are not imported
	names := map[int]string{}
	imported := 0
	for len(r.b) > 0 && r.err == nil {
		id := r.take(1)[0]
		section := &wasmReader{b: r.take(r.number())}
		switch id {
		case 0: // custom
			if string(section.take(section.number())) == "name" {
				section.names(names)
			}
		case 2: // imports: Go's are all functions
			imported = section.number()
		case 10: // code
			for range section.number() {
				n := section.number()
				sizes = append(sizes, n)
				section.take(n)
			}
		}
		r.err = errors.Join(r.err, section.err)
	}
	weights := map[string]int{}
	for i, n := range sizes {
		weights[packageOf(names[imported+i])] += n
	}
	return weights, r.err
}

// packageOf finds the package in the name of a function, in which the linker
// has replaced what is neither letter, digit nor dot by "_".
func packageOf(function string) string {
	dir, _, _ := strings.Cut(function, ".")
	return strings.ReplaceAll(dir, "_", "/")
}

// wasmReader reads the binary format; the first error sticks.
type wasmReader struct {
	b   []byte
	err error
}

func (r *wasmReader) take(n int) []byte {
	if n > len(r.b) || n < 0 {
		r.b, r.err = nil, errors.New("truncated module")
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *wasmReader) number() int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > 1<<30 {
		r.b, r.err = nil, errors.New("bad number")
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

// names reads the function names of a name section.
func (r *wasmReader) names(into map[int]string) {
	for len(r.b) > 0 {
		id := r.take(1)[0]
		sub := &wasmReader{b: r.take(r.number())}
		if id != 1 {
			continue
		}
		for range sub.number() {
			index := sub.number()
			into[index] = string(sub.take(sub.number()))
		}
		r.err = errors.Join(r.err, sub.err)
	}
}
