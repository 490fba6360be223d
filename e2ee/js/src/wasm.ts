// The membership machine (Go, package group) as WebAssembly.

import { Machine } from "./machine.ts";

declare global {
  /** Set by the bundler: path of the module, with its hash, and its Subresource Integrity. */
  const SOTTO_WASM_URL: string;
  const SOTTO_WASM_INTEGRITY: string;

  /** From wasm_exec.js of the Go toolchain that compiled the module; the bundler puts it first. */
  class Go {
    readonly importObject: WebAssembly.Imports;
    run(instance: WebAssembly.Instance): Promise<void>;
  }

  /** What the module exports (package e2ee/wasm). */
  var sottoGroup: ((event: Uint8Array) => Uint8Array) | undefined;
}

/** Fetches the module, which the browser compares with what the build made, and compiles it. */
export async function loadModule(): Promise<WebAssembly.Module> {
  // Both settings are the defaults; a cached copy is checked too.
  const response = await fetch(SOTTO_WASM_URL, { integrity: SOTTO_WASM_INTEGRITY, credentials: "same-origin", cache: "default" });
  if (!response.ok) throw new TypeError("the module is not there");
  return WebAssembly.compile(await response.arrayBuffer());
}

/**
 * Starts a machine with a memory of its own. After a session it is dropped as a
 * whole, and with it every key that it held.
 */
export async function startMachine(module: WebAssembly.Module): Promise<Machine> {
  const go = new Go();
  const instance = await WebAssembly.instantiate(module, go.importObject);
  // The program sets its function before it first waits; it never ends by itself.
  const ended = go.run(instance);
  const call = globalThis.sottoGroup;
  globalThis.sottoGroup = undefined;
  if (!call) throw new TypeError("the module has not started");
  ended.catch(() => undefined);
  return new Machine(call);
}
