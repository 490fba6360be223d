// What the tests share: the vector files, a transformer without a browser, and
// an engine whose messages are collected.

import { readFileSync } from "node:fs";
import { Engine } from "../src/engine.ts";
import type { Bytes } from "../src/encoding.ts";
import { fromBase64url, toBase64url, toHex } from "../src/encoding.ts";
import type { Counters, FromWorker, TransformOptions } from "../src/messages.ts";
import type { EncodedFrame } from "../src/pipeline.ts";

/** Reads a file of e2ee/testdata; tests run in e2ee/js. */
export function vectors<T>(name: string): T {
  return JSON.parse(readFileSync(`../testdata/${name}`, "utf8")) as T;
}

export function hex(text: string): Bytes {
  return Uint8Array.from(text.match(/../g) ?? [], (h) => parseInt(h, 16));
}

export { toHex, toBase64url, fromBase64url };

export function frame(mimeType: string, data: Bytes, rtpTimestamp = 0, type = "delta"): EncodedFrame {
  return { data: data.slice().buffer, type, getMetadata: () => ({ mimeType, rtpTimestamp }) };
}

/** A transform attached to an engine: what is put in, and what came out. */
export class FakeTransform {
  readonly out: EncodedFrame[] = [];
  keyFrameRequests = 0;
  private readonly input = new TransformStream<EncodedFrame, EncodedFrame>();
  private readonly writer = this.input.writable.getWriter();
  private readonly done: Promise<void>;

  constructor(engine: Engine, options: TransformOptions) {
    const transformer = {
      readable: this.input.readable,
      writable: new WritableStream<EncodedFrame>({ write: (f) => void this.out.push(f) }),
      sendKeyFrameRequest: async () => void this.keyFrameRequests++,
    };
    this.done = engine.attach(transformer, options);
  }

  put(f: EncodedFrame): void {
    void this.writer.write(f);
  }

  /** Ends the input and waits until all of it is through. */
  async end(): Promise<EncodedFrame[]> {
    await this.writer.close();
    await this.done;
    return this.out;
  }

  hexes(): string[] {
    return this.out.map((f) => toHex(new Uint8Array(f.data)));
  }
}

/** Lets everything that is under way settle. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((r) => setImmediate(r));
}

/** An engine whose time stands still unless moved. */
export class TestEngine extends Engine {
  clock = 1000;
  readonly posted: FromWorker[];

  constructor() {
    const posted: FromWorker[] = [];
    super((m) => void posted.push(m));
    this.posted = posted;
  }

  override now(): number {
    return this.clock;
  }

  of<T extends FromWorker["type"]>(type: T): Extract<FromWorker, { type: T }>[] {
    return this.posted.filter((m): m is Extract<FromWorker, { type: T }> => m.type === type);
  }

  get connId(): string {
    return this.of("ready").at(-1)!.connId;
  }

  get linkSecret(): string {
    return this.of("ready").at(-1)!.secret;
  }

  /** Envelopes posted since the last call, as the service relays them. */
  private taken = 0;
  takeEnvelopes(): ArrayBuffer[] {
    const all = this.of("send").map((m) => relayed(new Uint8Array(m.data)));
    const fresh = all.slice(this.taken);
    this.taken = all.length;
    return fresh;
  }

  sums(): Counters {
    this.report();
    return this.of("stats").at(-1)?.counters ?? { framesProtected: 0, framesOpened: 0, keyFrameRequests: 0, dropped: {} };
  }

  dropped(reason: keyof Counters["dropped"]): number {
    return this.sums().dropped[reason] ?? 0;
  }

  state(connId: string): string | undefined {
    return this.of("peer_state").filter((m) => m.connId === connId).at(-1)?.state;
  }
}

/** u64 seq || envelope. */
export function relayed(envelope: Bytes): ArrayBuffer {
  const out = new Uint8Array(8 + envelope.length);
  out.set(envelope, 8);
  return out.buffer;
}

/** Engines in one room, connected by a service that relays everything at once. */
export async function room(count: number, secret: string | null = null): Promise<TestEngine[]> {
  const engines: TestEngine[] = [];
  for (let leaf = 0; leaf < count; leaf++) {
    const e = new TestEngine();
    await e.handle({ type: "init", secret: engines[0]?.linkSecret ?? secret, host: "meet.example" });
    await join(engines, e, leaf);
    engines.push(e);
  }
  return engines;
}

export async function join(others: TestEngine[], e: TestEngine, leaf: number, leafOf = (i: number) => i): Promise<void> {
  await e.handle({ type: "welcome", leaf, peers: others.map((o, i) => ({ connId: o.connId, leaf: leafOf(i) })) });
  for (const o of others) await o.handle({ type: "peer_joined", connId: e.connId, leaf });
  await relay([...others, e]);
}

/** Delivers all envelopes to everybody but their sender; addressed ones too: receivers must sort them out. */
export async function relay(engines: TestEngine[]): Promise<void> {
  for (const from of engines) {
    for (const data of from.takeEnvelopes()) {
      const to = new Uint8Array(data).subarray(8 + 52, 8 + 68);
      for (const o of engines) {
        if (o === from) continue;
        if (to.some((b) => b !== 0) && toBase64url(to) !== o.connId) continue;
        await o.handle({ type: "envelope", data });
      }
    }
  }
}

/** Waits for something that WebCrypto's threads bring about. */
export async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 100_000 && !condition(); i++) await new Promise((r) => setImmediate(r));
  if (!condition()) throw new Error("it never came");
}
