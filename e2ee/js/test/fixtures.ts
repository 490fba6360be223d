// What the tests share: the vector files, a transformer without a browser, and
// engines with the real membership machine in one room of a delivery service
// that exists in memory, in a time that moves only when told.

import { readFileSync } from "node:fs";
import { Engine } from "../src/engine.ts";
import { fromBase64url, toBase64url, toHex, type Bytes } from "../src/encoding.ts";
import type { Machine } from "../src/machine.ts";
import type { AppMessage, Counters, FromWorker, GroupPosition, TransformOptions } from "../src/messages.ts";
import type { EncodedFrame } from "../src/pipeline.ts";
import { memoryStorage, type Storage } from "../src/storage.ts";
import { startMachine } from "../src/wasm.ts";

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

  /** What came out since the last call, as soon as it is count frames: WebCrypto works in other threads. */
  async take(count: number): Promise<Bytes[]> {
    await until(() => this.out.length >= count);
    return this.out.splice(0).map((f) => new Uint8Array(f.data));
  }

  hexes(): string[] {
    return this.out.map((f) => toHex(new Uint8Array(f.data)));
  }
}

/** Lets everything that is under way settle. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((r) => setImmediate(r));
}

/** Waits for something that WebCrypto's threads bring about. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!condition() && performance.now() < deadline) await new Promise((r) => setTimeout(r, 1));
  if (!condition()) throw new Error("it never came");
}

let module: Promise<WebAssembly.Module> | null = null;

async function newMachine(): Promise<Machine> {
  module ??= WebAssembly.compile(readFileSync("node_modules/.test/group.wasm"));
  return startMachine(await module);
}

/** An engine whose time is the world's. */
export class Participant extends Engine {
  readonly posted: FromWorker[];
  wakeAt = Infinity;
  private sent = 0;

  constructor(
    readonly world: World,
    readonly storage: Storage = memoryStorage(),
    locks?: LockManager,
  ) {
    const posted: FromWorker[] = [];
    super({ post: (m) => void posted.push(m), machine: newMachine, storage: Promise.resolve(storage), ...(locks && { locks }) });
    this.posted = posted;
  }

  override now(): number {
    return this.world.now;
  }

  override wake(at: number): void {
    this.wakeAt = at - performance.timeOrigin;
  }

  of<T extends FromWorker["type"]>(type: T): Extract<FromWorker, { type: T }>[] {
    return this.posted.filter((m): m is Extract<FromWorker, { type: T }> => m.type === type);
  }

  last<T extends FromWorker["type"]>(type: T): Extract<FromWorker, { type: T }> {
    const m = this.of(type).at(-1);
    if (!m) throw new Error(`no ${type}`);
    return m;
  }

  get connId(): string {
    return this.last("ready").connId;
  }

  get secret(): string {
    return this.last("ready").secret;
  }

  membership() {
    return this.last("membership");
  }

  names(): string[] {
    return this.membership().members.map((m) => m.name).sort();
  }

  /** What was sent since the last call. */
  takeSent(): Bytes[] {
    const all = this.of("send");
    const fresh = all.slice(this.sent).map((m) => new Uint8Array(m.data));
    this.sent = all.length;
    return fresh;
  }

  heard(): (AppMessage & { connId: string })[] {
    return this.of("app");
  }

  sums(): Counters {
    this.report();
    return this.of("stats").at(-1)?.counters ?? {
      framesProtected: 0, framesOpened: 0, keyFrameRequests: 0, framesVerified: 0, framesForged: 0, framesUnverified: 0, dropped: {},
    };
  }

  dropped(reason: keyof Counters["dropped"]): number {
    return this.sums().dropped[reason] ?? 0;
  }

  state(connId: string): string | undefined {
    return this.of("peer_state").filter((m) => m.connId === connId).at(-1)?.state;
  }

  /** Waits for messages and signatures that are under way. */
  async idle(): Promise<void> {
    for (;;) {
      const tail = this["tail"];
      await tail;
      await this["session"]?.participation?.["signing"];
      if (tail === this["tail"]) return;
    }
  }
}

/** One room of a service, and the time in it. */
export class World {
  now = 1000;
  secret: string | null = null;
  readonly room: Participant[] = [];
  position: GroupPosition | null = null;
  /** u64 seq || envelope, as anybody got them. */
  readonly delivered: Bytes[] = [];
  private members = new Set<string>();
  private seq = 0;
  private readonly withheld = new Set<Participant>();
  private backlog: [Participant, ArrayBuffer][] = [];

  async participant(name: string, storage?: Storage, locks?: LockManager): Promise<Participant> {
    const p = new Participant(this, storage, locks);
    await p.handle({ type: "init", secret: this.secret, gen: 0, host: "meet.example" });
    this.secret ??= p.secret;
    await p.handle({ type: "profile", name, throwaway: false });
    await p.handle({ type: "connect", nonce: toBase64url(new Uint8Array(32)) });
    return p;
  }

  async enter(p: Participant): Promise<void> {
    await p.handle({ type: "welcome", peers: this.room.map((o) => o.connId), group: this.position });
    for (const o of this.room) await o.handle({ type: "peer_joined", connId: p.connId });
    this.room.push(p);
  }

  async leave(p: Participant): Promise<void> {
    const { connId } = p;
    this.room.splice(this.room.indexOf(p), 1);
    this.members.delete(connId);
    for (const o of this.room) await o.handle({ type: "peer_left", connId });
  }

  /** People who joined one after another and are all members. */
  static async of(...names: string[]): Promise<{ world: World; people: Participant[] }> {
    const world = new World();
    const people: Participant[] = [];
    for (const name of names) {
      const p = await world.participant(name);
      people.push(p);
      await world.enter(p);
      await world.until(() => people.every((o) => o.of("membership").at(-1)?.members.length === people.length));
    }
    await world.advance(1000); // everybody sends in the last epoch
    return { world, people };
  }

  /** Lets time pass, with everything that is due in it. */
  async advance(ms: number): Promise<void> {
    const end = this.now + ms;
    for (;;) {
      await this.settle();
      const next = Math.min(...this.room.map((p) => p.wakeAt));
      if (next > end) break;
      this.now = Math.max(this.now, next);
      for (const p of this.room.filter((o) => o.wakeAt <= this.now)) {
        p.wakeAt = Infinity;
        await p.enqueue(() => p.tick());
      }
    }
    this.now = end;
  }

  /** Lets at most 30 s pass until something is so. */
  async until(condition: () => boolean): Promise<void> {
    for (let i = 0; i < 600; i++) {
      await this.settle();
      if (condition()) return;
      await this.advance(50);
    }
    throw new Error("it never came");
  }

  /** Everything that was sent reaches the service, and what it says everybody. */
  async settle(): Promise<void> {
    for (let busy = true; busy; ) {
      busy = false;
      for (const p of [...this.room]) {
        await p.idle();
        for (const data of p.takeSent()) {
          busy = true;
          await this.take(p, data);
        }
      }
    }
  }

  private async take(from: Participant, data: Bytes): Promise<void> {
    if (data[0] !== 2) return this.envelope(from, data, null);
    const n = data[1]!;
    const admits = Array.from({ length: n }, (_, i) => toBase64url(data.subarray(2 + 16 * i, 18 + 16 * i)));
    const at = 2 + 16 * n;
    const size = new DataView(data.buffer, data.byteOffset).getUint32(at);
    const commit = data.subarray(at + 4, at + 4 + size);
    return this.envelope(from, commit, { admits, welcome: data.subarray(at + 4 + size) });
  }

  private async envelope(from: Participant, e: Bytes, bundle: { admits: string[]; welcome: Bytes } | null): Promise<void> {
    const type = e[1]!;
    const gi = toBase64url(e.subarray(4, 20));
    const others = this.room.filter((p) => p !== from);
    if (type === 1) {
      if (this.position) return this.stale(from);
      this.position = { gi, slot: 0 };
      this.members = new Set([from.connId]);
      return this.deliver(e, this.room);
    }
    if (type === 3) {
      const view = new DataView(e.buffer, e.byteOffset);
      const slot = view.getUint32(20) * 2 ** 32 + view.getUint32(24);
      if (this.position?.gi !== gi || this.position.slot !== slot || !this.members.has(from.connId)) return this.stale(from);
      this.position = { gi, slot: slot + 1 };
      await this.deliver(e, this.room);
      if (!bundle) return;
      for (const id of bundle.admits) this.members.add(id);
      return this.deliver(bundle.welcome, this.room.filter((p) => bundle.admits.includes(p.connId)));
    }
    const to = e.subarray(52, 68);
    const all = to.every((b) => b === 0);
    await this.deliver(e, all ? others : others.filter((p) => p.connId === toBase64url(to)));
  }

  private async stale(p: Participant): Promise<void> {
    await p.handle({ type: "stale", group: this.position });
  }

  private async deliver(e: Bytes, to: Participant[]): Promise<void> {
    const seq = ++this.seq;
    for (const p of [...to]) {
      const data = new Uint8Array(8 + e.length);
      new DataView(data.buffer).setUint32(4, seq);
      data.set(e, 8);
      this.delivered.push(data.slice());
      if (this.withheld.has(p)) this.backlog.push([p, data.buffer]);
      else await p.handle({ type: "envelope", data: data.buffer });
    }
  }

  /** Envelopes to p wait from now on. */
  withhold(p: Participant): void {
    this.withheld.add(p);
  }

  async release(p: Participant): Promise<void> {
    this.withheld.delete(p);
    const waiting = this.backlog.filter(([to]) => to === p);
    this.backlog = this.backlog.filter(([to]) => to !== p);
    for (const [, data] of waiting) await p.handle({ type: "envelope", data });
  }
}
