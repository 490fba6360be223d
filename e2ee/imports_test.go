package e2ee_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// worker lists the packages that a browser's worker runs as WebAssembly, and
// those that are kept fit for it.
var worker = []string{"file", "group", "link", "mls", "safety", "sframe"}

// heavy are packages of the standard library that a WebAssembly build can do
// without, and what they cost it (gzip, where it was measured).
var heavy = map[string]string{
	"crypto/hpke":   "115 kB: all curves, ML-KEM and ChaCha20; see e2ee/mls/hpke.go",
	"crypto/rsa":    "math/big",
	"crypto/tls":    "the browser does it",
	"crypto/x509":   "nothing here has certificates",
	"encoding/asn1": "reflection",
	"encoding/gob":  "reflection",
	"encoding/hex":  "fmt",
	"encoding/json": "reflection and fmt",
	"fmt":           "100 kB; errors are values, and strconv writes numbers",
	"html":          "tables; the page sets text, not HTML",
	"log":           "fmt; and secrets are near",
	"log/slog":      "fmt and encoding/json",
	"math/big":      "nothing here has long numbers",
	"net":           "the browser does it",
	"net/http":      "the browser does it",
	"net/url":       "60 kB; see e2ee/link",
	"os":            "there is no system",
	"reflect":       "keeps the methods of all types",
	"regexp":        "tables and a compiler",
	"text/template": "reflection, which keeps the methods of all types",
}

// TestImports_areLight reads the files themselves, since the result of
// `go list` would come from the test cache after an import changed.
func TestImports_areLight(t *testing.T) {
	for _, dir := range worker {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no Go files (%v)", dir, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range parsed.Imports {
				name, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if why, ok := heavy[name]; ok {
					t.Errorf("%s imports %s: %s", file, name, why)
				}
			}
		}
	}
}
