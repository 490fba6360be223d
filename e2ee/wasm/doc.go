// Command wasm is the membership of an encrypted room (package group) for the
// browser's encryption worker. It is built with GOOS=js GOARCH=wasm; anywhere
// else it only says so.
//
// It exports one function to its host: call(Uint8Array) Uint8Array, as
// globalThis.sottoGroup, set before main gives the thread back. A call is one
// event in a compact form (see calls.go and e2ee/js/src/machine.ts), its result
// the actions that the event leads to. A call never waits for anything: what
// takes time, such as a signature by a key that the browser keeps, is an action,
// and its result another event. Media frames do not pass through here; their
// keys do, and stay in the worker.
package main
