package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/evanw/esbuild/pkg/api"
)

// site is a built client: content by path below dist, with "/".
type site map[string][]byte

// What the browsers must understand: the oldest ones that have
// RTCRtpScriptTransform and Ed25519 in WebCrypto understand more.
const target = api.ES2022

// One compiler configuration for all sources, whatever lies in their folders.
const tsconfig = `{"compilerOptions":{"target":"es2022","verbatimModuleSyntax":true}}`

// bundle builds the client in memory, from the inside out: the worker names the
// module by its hash and knows the hash of its content, the page names the
// worker, index.html names the page.
func bundle(root string, m *module, hooks bool) (site, error) {
	s := site{}
	define := map[string]string{
		"SOTTO_TEST_HOOKS":     fmt.Sprint(hooks),
		"SOTTO_WASM_URL":       fmt.Sprintf("%q", s.add("group", ".wasm", m.code)),
		"SOTTO_WASM_INTEGRITY": fmt.Sprintf("%q", integrity(m.code)),
	}
	worker, err := compile(root, path.Join(workerDir, "worker.ts"), api.FormatIIFE, define, m.starter)
	if err != nil {
		return nil, err
	}
	define["SOTTO_WORKER_URL"] = fmt.Sprintf("%q", s.add("worker", ".js", worker))
	page, err := compile(root, path.Join(webDir, "src/main.ts"), api.FormatESModule, define)
	if err != nil {
		return nil, err
	}
	style, err := compile(root, path.Join(webDir, "src/style.css"), api.FormatDefault, nil)
	if err != nil {
		return nil, err
	}
	icon, err := os.ReadFile(filepath.Join(root, webDir, "src/icon.svg"))
	if err != nil {
		return nil, err
	}
	document, err := os.ReadFile(filepath.Join(root, webDir, "src/index.html"))
	if err != nil {
		return nil, err
	}
	t, err := template.New("index.html").Option("missingkey=error").Parse(string(document))
	if err != nil {
		return nil, err
	}
	var index bytes.Buffer
	err = t.Execute(&index, map[string]string{
		"Page": s.add("page", ".js", page), "PageIntegrity": integrity(page),
		"Style": s.add("style", ".css", style), "StyleIntegrity": integrity(style),
		"Icon": s.add("icon", ".svg", icon),
	})
	if err != nil {
		return nil, err
	}
	s["index.html"] = index.Bytes()
	return s, nil
}

// add stores an asset under a name that holds its hash and returns its URL.
// The name may be cached for ever: other content has another name.
func (s site) add(name, ext string, content []byte) (url string) {
	sum := sha256.Sum256(content)
	hash := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
	file := "assets/" + name + "-" + hash + ext
	s[file] = content
	return "/" + file
}

// integrity is the value of an integrity attribute (Subresource Integrity).
func integrity(content []byte) string {
	sum := sha512.Sum384(content)
	return "sha384-" + base64.StdEncoding.EncodeToString(sum[:])
}

// compile bundles one entry point and all it imports into one file, behind the
// scripts of first.
func compile(root, entry string, format api.Format, define map[string]string, first ...string) ([]byte, error) {
	result := api.Build(api.BuildOptions{
		AbsWorkingDir:     root,
		EntryPoints:       []string{entry},
		Bundle:            true,
		Write:             false,
		Outdir:            "out",
		Format:            format,
		Platform:          api.PlatformBrowser,
		Target:            target,
		TsconfigRaw:       tsconfig,
		Define:            define,
		Inject:            first,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		Charset:           api.CharsetUTF8,
		LegalComments:     api.LegalCommentsNone,
		LogLevel:          api.LogLevelSilent,
	})
	if err := failures(result); err != nil {
		return nil, err
	}
	if len(result.OutputFiles) != 1 {
		return nil, fmt.Errorf("%s: %d output files instead of one", entry, len(result.OutputFiles))
	}
	return result.OutputFiles[0].Contents, nil
}

// failures makes errors of esbuild's errors and of its warnings: a bundle with
// warnings is not one to serve.
func failures(result api.BuildResult) error {
	var all []error
	for _, m := range append(result.Errors, result.Warnings...) {
		at := ""
		if m.Location != nil {
			at = fmt.Sprintf("%s:%d:%d: ", m.Location.File, m.Location.Line, m.Location.Column)
		}
		all = append(all, errors.New(at+m.Text))
	}
	return errors.Join(all...)
}

// write replaces the content of dir, except its README.md. What is large is
// stored compressed, as package web sends it.
func (s site) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range old {
		if entry.Name() == "README.md" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	for _, name := range s.names() {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		content := s[name]
		if path.Ext(name) == ".wasm" {
			file, content = file+".gz", compressed(content)
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// compressed is b as a server sends it. The same compiler makes the same bytes.
func compressed(b []byte) []byte {
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	w.Write(b) // a bytes.Buffer takes everything
	w.Close()
	return packed.Bytes()
}
