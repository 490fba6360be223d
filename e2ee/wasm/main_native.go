//go:build !(js && wasm)

package main

import "os"

func main() {
	println("wasm: this runs in a browser's worker; build it with GOOS=js GOARCH=wasm")
	os.Exit(1)
}
