package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestRace_leavesOutOnlyWhatIsAlone: the race detector has nothing to find in the packages that the task race leaves out, since
// neither their code nor their tests start a goroutine.
func TestRace_leavesOutOnlyWhatIsAlone(t *testing.T) {
	root := filepath.Join("..", "..")
	tasks, err := os.ReadFile(filepath.Join(root, "Taskfile.yml"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`go test -race .* grep -vE '(.*)'\)`).FindSubmatch(tasks)
	if m == nil {
		t.Fatal("Taskfile.yml: which packages does race leave out?")
	}
	out := regexp.MustCompile(string(m[1]))
	left := 0
	for _, pattern := range []string{"*", "*/*", "*/*/*", "*/*/*/*"} {
		files, err := filepath.Glob(filepath.Join(root, pattern, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			rel, err := filepath.Rel(root, file)
			if err != nil {
				t.Fatal(err)
			}
			if out.MatchString("sotto/" + filepath.ToSlash(filepath.Dir(rel))) {
				left++
				checkAlone(t, file)
			}
		}
	}
	if left == 0 {
		t.Error("no file of a package that race leaves out was read")
	}
}

// checkAlone fails on what starts a goroutine: a go statement, a method Go, and tests that run beside each other.
func checkAlone(t *testing.T, file string) {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range f.Imports {
		if p, _ := strconv.Unquote(spec.Path.Value); p == "testing/synctest" || strings.HasPrefix(p, "net/http") {
			t.Errorf("%s imports %q", fset.Position(spec.Pos()), p)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			t.Errorf("%s starts a goroutine", fset.Position(n.Pos()))
		case *ast.SelectorExpr:
			if slices.Contains([]string{"Go", "AfterFunc", "Parallel", "RunParallel"}, n.Sel.Name) {
				t.Errorf("%s: %s", fset.Position(n.Pos()), n.Sel.Name)
			}
		}
		return true
	})
}
