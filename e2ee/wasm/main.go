//go:build js && wasm

package main

import "syscall/js"

func main() {
	var m machine
	js.Global().Set("sottoGroup", js.FuncOf(func(_ js.Value, args []js.Value) any {
		in := make([]byte, args[0].Get("length").Int())
		js.CopyBytesToGo(in, args[0])
		out := m.call(in)
		result := js.Global().Get("Uint8Array").New(len(out))
		js.CopyBytesToJS(result, out)
		clear(out) // it may have held a key
		return result
	}))
	select {} // calls come from the host's event loop
}
