package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/evanw/esbuild/pkg/api"
)

// runTests bundles each *.test.ts below dir and runs all of them with
// node --test, which needs no package.
func runTests(root, dir string) error {
	node, err := exec.LookPath("node")
	if err != nil {
		return errors.New("the unit tests need Node.js 20 or newer (node is not in PATH)")
	}
	entries, err := filepath.Glob(filepath.Join(dir, "*.test.ts"))
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return fmt.Errorf("no *.test.ts in %s", dir)
	}
	out, err := os.MkdirTemp("", "sotto-web-test-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(out)
	result := api.Build(api.BuildOptions{
		AbsWorkingDir: root,
		EntryPoints:   entries,
		Bundle:        true,
		Write:         true,
		Outdir:        out,
		OutExtension:  map[string]string{".js": ".mjs"},
		Format:        api.FormatESModule,
		Platform:      api.PlatformNode,
		Target:        target,
		TsconfigRaw:   tsconfig,
		Define:        map[string]string{"SOTTO_TEST_HOOKS": "true", "SOTTO_WORKER_URL": `"/assets/worker.js"`},
		Sourcemap:     api.SourceMapInline,
		LogLevel:      api.LogLevelSilent,
	})
	if err := failures(result); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(out, "*.mjs"))
	if err != nil {
		return err
	}
	cmd := exec.Command(node, append([]string{"--no-warnings", "--enable-source-maps", "--test"}, files...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
