// Entry of the dedicated worker. It holds every key; the page holds none.

import { Engine } from "./engine.ts";
import type { FromWorker, ToWorker, TransformOptions } from "./messages.ts";
import type { Transformer } from "./pipeline.ts";

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

const engine = new Engine((m) => scope.postMessage(m, m.type === "send" ? [m.data] : []));
engine.startTimers();
scope.onmessage = (e) => void engine.handle(e.data);
scope.onrtctransform = (e) => void engine.attach(e.transformer, e.transformer.options);
