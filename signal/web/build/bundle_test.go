package main

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../../.."

func absolute(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func mustBundle(t *testing.T, hooks bool) site {
	t.Helper()
	dir := absolute(t)
	// Compiling takes seconds: TestModule does it.
	starter := filepath.Join(t.TempDir(), "wasm_exec.js")
	if err := os.WriteFile(starter, []byte("globalThis.Go = class {};"), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := bundle(dir, &module{code: []byte("\x00asm"), starter: starter}, hooks)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBundle_isReproducible(t *testing.T) {
	for _, hooks := range []bool{false, true} {
		first, second := mustBundle(t, hooks), mustBundle(t, hooks)
		if !maps.EqualFunc(first, second, bytes.Equal) {
			t.Errorf("hooks %v: two builds of the same sources differ", hooks)
		}
	}
}

// Words that only the code behind SOTTO_TEST_HOOKS contains.
var hookWords = []string{"__sotto", "test_config", "test_hashes", "autojoin", "wrong_media_key", "hash_frames", "wrongMediaKey", "hashFrames", "captureStream", "securitypolicyviolation"}

func TestBundle_productionHasNoTestHooks(t *testing.T) {
	production, hooks := mustBundle(t, false), mustBundle(t, true)
	for _, word := range hookWords {
		if s := holding(production, word); len(s) > 0 {
			t.Errorf("%q is in the production bundle: %v", word, s)
		}
		if s := holding(hooks, word); len(s) == 0 {
			t.Errorf("%q is not even in the bundle with hooks: this test looks for the wrong word", word)
		}
	}
}

func TestBundle_hasNoForbiddenSink(t *testing.T) {
	for _, hooks := range []bool{false, true} {
		s := mustBundle(t, hooks)
		for _, word := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "importScripts", "createEncodedStreams"} {
			if files := holding(s, word); len(files) > 0 {
				t.Errorf("%q is in %v", word, files)
			}
		}
	}
}

var (
	inline   = regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script(?:\s+[a-z]+="[^"]*")*\s*>[^<]|javascript:`)
	address  = regexp.MustCompile(`(?:https?|wss?)://[a-zA-Z0-9.-]+`)
	assetURL = regexp.MustCompile(`/assets/[a-z]+-[a-z2-7]{16}\.[a-z]+`)
)

func TestBundle_indexFitsTheContentSecurityPolicy(t *testing.T) {
	s := mustBundle(t, false)
	if found := inline.Find(s["index.html"]); found != nil {
		t.Errorf("index.html has inline code or style: %q", found)
	}
	for _, name := range s.names() {
		for _, url := range assetURL.FindAllString(string(s[name]), -1) {
			if s[strings.TrimPrefix(url, "/")] == nil {
				t.Errorf("%s names %s, which is not built", name, url)
			}
		}
	}
	if n := len(assetURL.FindAll(s["index.html"], -1)); n < 3 {
		t.Errorf("index.html names %d assets, want page, style and icon", n)
	}
}

// Identifiers that look like addresses; nothing is loaded from them.
var identifiers = []string{"http://www.w3.org", "https://aomediacodec.github.io"}

func TestBundle_namesNoThirdParty(t *testing.T) {
	s := mustBundle(t, false)
	for _, name := range s.names() {
	next:
		for _, found := range address.FindAllString(string(s[name]), -1) {
			for _, id := range identifiers {
				if found == id {
					continue next
				}
			}
			t.Errorf("%s names %s", name, found)
		}
	}
}

func TestModule_weightAndPlace(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles for WebAssembly")
	}
	m, err := buildModule(absolute(t))
	if err != nil {
		t.Fatal(err)
	}
	s, err := bundle(absolute(t), m, false)
	if err != nil {
		t.Fatal(err)
	}
	page, module := s.weight()
	t.Logf("gzip: page, style, worker and icon %d bytes, WebAssembly %d", page, module)
	if err := s.check(); err != nil {
		t.Error(err)
	}
	if bytes.Contains(m.code, []byte(absolute(t))) {
		t.Error("the module names the folder it was built in")
	}
	if len(holding(s, "go.importObject")) == 0 && len(holding(s, "gojs")) == 0 {
		t.Error("the worker does not hold the script that starts the module")
	}
}

func TestSite_checkRefusesTooMuch(t *testing.T) {
	noise := make([]byte, maxModule+1)
	rand.NewChaCha8([32]byte{}).Read(noise)
	if (site{"assets/group-a.wasm": noise}).check() == nil {
		t.Error("too much WebAssembly passed")
	}
	if (site{"assets/page-a.js": noise[:maxPage+1]}).check() == nil {
		t.Error("too heavy a page passed")
	}
	if err := (site{"assets/page-a.js": []byte("x")}).check(); err != nil {
		t.Error(err)
	}
}

func TestSite_writeReplacesAllButTheReadme(t *testing.T) {
	dir := t.TempDir()
	keep, stale := filepath.Join(dir, "README.md"), filepath.Join(dir, "assets", "page-old.js")
	if err := os.MkdirAll(filepath.Dir(stale), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{keep, stale} {
		if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := (site{"assets/page-new.js": []byte("y"), "assets/group-new.wasm": []byte("w"), "index.html": []byte("z")}).write(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(keep); err != nil {
		t.Error("README.md is gone")
	}
	if _, err := os.Stat(stale); err == nil {
		t.Error("an asset of the former build is still there")
	}
	if b, err := os.ReadFile(filepath.Join(dir, "assets", "page-new.js")); err != nil || string(b) != "y" {
		t.Errorf("new asset: %q, %v", b, err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "assets", "group-new.wasm.gz")); err != nil || !bytes.Equal(b, compressed([]byte("w"))) {
		t.Errorf("module: %q, %v", b, err)
	}
}

func holding(s site, word string) (files []string) {
	for _, name := range s.names() {
		if bytes.Contains(s[name], []byte(word)) {
			files = append(files, name)
		}
	}
	return files
}
