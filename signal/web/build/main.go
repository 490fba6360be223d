// Command build makes the browser client: it bundles page and encryption
// worker with esbuild, compiles the worker's Go part to WebAssembly, and writes
// what package web embeds.
//
//	go run ./signal/web/build          writes dist and dist-testhooks
//	go run ./signal/web/build -test    runs the unit tests with node --test
//
// Run it in the module root. The output depends on the sources alone, so that
// anybody can rebuild it and compare.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"text/tabwriter"
)

const (
	webDir    = "signal/web"
	workerDir = "e2ee/js/src"
)

// What a browser loads, in bytes as sent (gzip): the page must come fast on a
// phone; the module comes while a person looks at their own picture.
const (
	maxPage   = 100_000
	maxModule = 1_300_000
)

func main() {
	test := flag.Bool("test", false, "run the unit tests of the TypeScript sources instead")
	flag.Parse()
	root, err := os.Getwd()
	if err == nil {
		if *test {
			err = runTests(root, filepath.Join(root, webDir, "src"))
		} else {
			err = buildAll(root, os.Stdout)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

// buildAll writes both bundles and prints what they weigh.
func buildAll(root string, out io.Writer) error {
	m, err := buildModule(root)
	if err != nil {
		return err
	}
	for _, b := range []struct {
		dir   string
		hooks bool
	}{{"dist", false}, {"dist-testhooks", true}} {
		site, err := bundle(root, m, b.hooks)
		if err != nil {
			return err
		}
		if err := site.write(filepath.Join(root, webDir, b.dir)); err != nil {
			return err
		}
		site.report(out, b.dir)
		if b.hooks {
			continue
		}
		if err := site.check(); err != nil {
			return err
		}
	}
	return nil
}

// weight is the size of the page and of the module as sent.
func (s site) weight() (page, module int) {
	for name, content := range s {
		if path.Ext(name) == ".wasm" {
			module += len(compressed(content))
		} else {
			page += len(compressed(content))
		}
	}
	return page, module
}

// check refuses a site that is too heavy.
func (s site) check() error {
	page, module := s.weight()
	if page > maxPage || module > maxModule {
		return fmt.Errorf("too heavy, gzip: page %d bytes (at most %d), WebAssembly %d (at most %d)", page, maxPage, module, maxModule)
	}
	return nil
}

// report prints each file with its size and its size as sent.
func (s site) report(out io.Writer, title string) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%s\tbytes\tgzip\t\n", title)
	total, packed := 0, 0
	for _, name := range s.names() {
		size := len(compressed(s[name]))
		fmt.Fprintf(w, "%s\t%d\t%d\t\n", name, len(s[name]), size)
		total += len(s[name])
		packed += size
	}
	fmt.Fprintf(w, "total\t%d\t%d\t\n", total, packed)
	w.Flush()
}

func (s site) names() []string {
	names := make([]string, 0, len(s))
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
