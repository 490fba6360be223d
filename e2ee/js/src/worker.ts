// Entry of the dedicated worker. It holds every key; the page holds none.

import { Engine } from "./engine.ts";
import type { FromWorker, ToWorker, TransformOptions } from "./messages.ts";
import type { Transformer } from "./pipeline.ts";
import { openStorage } from "./storage.ts";
import { loadModule, startMachine } from "./wasm.ts";

/** Missing from the library's types: RTCTransformEvent of a worker. */
interface TransformEvent extends Event {
  readonly transformer: Transformer & { readonly options: TransformOptions };
}

interface WorkerScope {
  postMessage(m: FromWorker, transfer?: Transferable[]): void;
  onmessage: ((e: MessageEvent<ToWorker>) => void) | null;
  onrtctransform: ((e: TransformEvent) => void) | null;
}

const scope = globalThis as unknown as WorkerScope;

// Fetched at once, while the person looks at the page; a failure shows when it is needed.
const module = loadModule();
module.catch(() => undefined);
const storage = openStorage(indexedDB);
storage.catch(() => undefined);

const engine = new Engine({
  post: (m) => scope.postMessage(m, m.type === "send" ? [m.data] : []),
  machine: async () => startMachine(await module),
  storage,
  locks: navigator.locks,
});
engine.startTimers();
scope.onmessage = (e) => void engine.handle(e.data);
scope.onrtctransform = (e) => void engine.attach(e.transformer, e.transformer.options);
