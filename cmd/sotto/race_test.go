package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestRace_coversEveryGoroutine: every package that starts a goroutine, in its code or in its tests, is in the list of the task
// race. The race detector has nothing to find in the others, where it makes long computations ten times as long.
func TestRace_coversEveryGoroutine(t *testing.T) {
	root := filepath.Join("..", "..")
	tasks, err := os.ReadFile(filepath.Join(root, "Taskfile.yml"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`go test -race (.*)`).FindSubmatch(tasks)
	if m == nil {
		t.Fatal("Taskfile.yml has no go test -race")
	}
	covered := strings.Fields(strings.ReplaceAll(string(m[1]), "./", ""))
	err = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && (name == "node_modules" || name == "testdata" || strings.HasPrefix(name, ".") && file != root) {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(file) != ".go" {
			return nil
		}
		rel, err := filepath.Rel(root, file)
		if err != nil || matchesAny(filepath.ToSlash(filepath.Dir(rel)), covered) {
			return err
		}
		if what := goroutine(t, file); what != "" {
			t.Errorf("%s: %s; its package belongs into the task race", rel, what)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if goroutine(t, filepath.Join(root, "sfu", "node.go")) == "" {
		t.Error("a file that starts goroutines seems to start none")
	}
}

// goroutine says what in a file starts one, "" if nothing does: a go statement, a method Go, tests beside each other, a server.
func goroutine(t *testing.T, file string) (what string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range f.Imports {
		if p, _ := strconv.Unquote(spec.Path.Value); p == "testing/synctest" || p == "net/http" {
			what = "imports " + p
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			what = "a go statement"
		case *ast.SelectorExpr:
			if slices.Contains([]string{"Go", "AfterFunc", "Parallel", "RunParallel"}, n.Sel.Name) {
				what = "calls " + n.Sel.Name
			}
		}
		return true
	})
	return what
}
