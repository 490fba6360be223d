package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// moduleDir is the program that the encryption worker runs as WebAssembly.
const moduleDir = "./e2ee/wasm"

// module is a WebAssembly program and the script of the Go toolchain that
// starts it; the two belong to one Go version.
type module struct {
	code    []byte
	starter string // path of wasm_exec.js
}

// buildModule compiles the worker's Go part. The result depends on the sources
// and the Go version: no paths, no version control.
func buildModule(root string) (*module, error) {
	goroot, err := command(root, "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	out, err := os.MkdirTemp("", "sotto-wasm-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(out)
	file := filepath.Join(out, "group.wasm")
	if _, err := command(root, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", file, moduleDir); err != nil {
		return nil, err
	}
	code, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return &module{
		code:    code,
		starter: filepath.Join(strings.TrimSpace(string(goroot)), "lib", "wasm", "wasm_exec.js"),
	}, nil
}

// command runs go for the browser as its target.
func command(dir string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm", "GOFLAGS=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("go %s: %w", args[0], err), errors.New(stderr.String()))
	}
	return out, nil
}
