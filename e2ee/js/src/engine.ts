// The worker without its surroundings: messages in and out, transforms attached.

import { fromBase64url, toBase64url } from "./encoding.ts";
import { LinkKeys, secretSize } from "./link.ts";
import type { Counters, DropReason, ErrorCode, FromWorker, Source, TestConfig, ToWorker, TransformOptions } from "./messages.ts";
import type { Transformer } from "./pipeline.ts";
import { acceptName } from "./profile.ts";
import { ReceiveStream, type ReceiveContext } from "./receive.ts";
import { SendStream, type SendContext } from "./send.ts";
import { Session } from "./session.ts";
import { contexts } from "./sframe.ts";
import { FrameHashes } from "./testhooks.ts";

const statsEveryMs = 2000;
/** Messages that may wait for WebCrypto; a service that sends more loses them. */
const maxQueue = 4096;

export class Engine implements SendContext, ReceiveContext {
  private keys: LinkKeys | null = null;
  private secret = "";
  private name = "";
  private host = "";
  private session: Session | null = null;
  private readonly streams = new Map<string, ReceiveStream>(); // by mid
  private tail: Promise<void> = Promise.resolve();
  private queued = 0;
  private readonly counters: Counters = { framesProtected: 0, framesOpened: 0, keyFrameRequests: 0, dropped: {} };
  private countersChanged = false;
  private exhaustionTold = false;
  private heartbeatAt = Infinity;
  /** Set in test bundles only. */
  private test: TestConfig | null = null;

  constructor(readonly post: (m: FromWorker) => void) {}

  /** Starts the timers of a worker; tests drive beat and report themselves. */
  startTimers(): void {
    setInterval(() => this.report(), statsEveryMs);
    setInterval(() => this.enqueue(() => this.beat()), 1000);
  }

  /** Handles messages one after another. */
  handle(m: ToWorker): Promise<void> {
    if (SOTTO_TEST_HOOKS && m.type === "test_config") {
      this.test = m;
      return this.tail;
    }
    return this.enqueue(() => this.dispatch(m));
  }

  attach(transformer: Transformer, options: TransformOptions): Promise<void> {
    const hashes = SOTTO_TEST_HOOKS && this.test?.hashFrames ? new FrameHashes(options, this.post) : null;
    if (options.side === "send" && contexts.includes(options.source)) {
      return new SendStream(transformer, options.source, this, hashes).run();
    }
    if (options.side === "receive") {
      const stream = new ReceiveStream(transformer, options.mid, this, hashes);
      this.streams.set(options.mid, stream);
      return stream.run().finally(() => {
        if (this.streams.get(options.mid) === stream) this.streams.delete(options.mid);
      });
    }
    // Never read from: nothing passes.
    this.error("bad_message", "unknown transform options");
    return Promise.resolve();
  }

  private enqueue(task: () => Promise<void> | void): Promise<void> {
    if (this.queued >= maxQueue) {
      this.error("bad_message", "too many messages");
      return this.tail;
    }
    this.queued++;
    this.tail = this.tail
      .then(task)
      // Texts of exceptions may hold anything: only their kind goes out.
      .catch((e: unknown) => this.error(e instanceof RangeError ? "bad_message" : "internal", e instanceof Error ? e.name : "error"))
      .finally(() => this.queued--);
    return this.tail;
  }

  private async dispatch(m: ToWorker): Promise<void> {
    if (m.type === "init") return this.init(m.secret, m.host);
    if (m.type === "profile") {
      this.name = acceptName(m.name) ?? "";
      return this.session?.setName(this.name);
    }
    const { session } = this;
    if (!session) return this.error("bad_message", `${m.type} before init`);
    switch (m.type) {
      case "connect":
        return this.post({ type: "signed", linkSig: await session.connectSignature(this.host, m.nonce) });
      case "welcome":
        this.heartbeatAt = this.now() + session.heartbeatEveryMs();
        return session.welcome(m.leaf, m.peers);
      case "peer_joined":
        return session.peerJoined(m);
      case "peer_left":
        return session.peerLeft(m.connId);
      case "resumed":
        return session.resumed();
      case "envelope":
        return session.envelope(new Uint8Array(m.data));
      case "slots":
        return session.setSlots(m.slots);
      case "reset":
        return this.start();
    }
  }

  private async init(secret: string | null, host: string): Promise<void> {
    if (this.keys) return this.error("bad_message", "second init");
    const bytes = secret === null ? crypto.getRandomValues(new Uint8Array(secretSize)) : fromBase64url(secret, secretSize);
    if (!bytes) return this.error("bad_secret", "the link is damaged");
    try {
      this.keys = await LinkKeys.derive(bytes);
    } catch {
      return this.error("unsupported", "this browser cannot derive the keys");
    }
    this.secret = toBase64url(bytes);
    bytes.fill(0);
    this.host = host;
    await this.start();
  }

  /** A fresh session: new connection id, new randomness, nobody known. */
  private async start(): Promise<void> {
    const { keys } = this;
    if (!keys) return;
    this.session = null; // from here on frames drop until the next welcome
    this.heartbeatAt = Infinity;
    this.exhaustionTold = false;
    const session = await Session.create(keys, {
      post: this.post,
      drop: (reason) => this.drop(reason),
      release: () => this.streams.forEach((s) => s.release()),
      test: this.test,
    });
    this.session = session;
    await session.setName(this.name);
    this.post({
      type: "ready",
      roomId: keys.roomId,
      connId: session.connId,
      linkPub: toBase64url(keys.publicKey),
      secret: this.secret,
    });
  }

  async beat(): Promise<void> {
    if (!this.session || this.now() < this.heartbeatAt) return;
    this.heartbeatAt = this.now() + this.session.heartbeatEveryMs();
    await this.session.heartbeat();
  }

  report(): void {
    if (!this.countersChanged) return;
    this.countersChanged = false;
    this.post({ type: "stats", counters: structuredClone(this.counters) });
  }

  private error(code: ErrorCode, message: string): void {
    this.post({ type: "error", code, message });
  }

  // SendContext and ReceiveContext.

  sendKey(source: Source) {
    return this.session?.sendKey(source) ?? null;
  }

  binding(mid: string) {
    return this.session?.binding(mid) ?? null;
  }

  receiveKey(connId: string, kid: number) {
    return this.session?.receiveKey(connId, kid) ?? null;
  }

  drop(reason: DropReason): void {
    this.counters.dropped[reason] = (this.counters.dropped[reason] ?? 0) + 1;
    this.countersChanged = true;
  }

  protected(): void {
    this.counters.framesProtected++;
    this.countersChanged = true;
  }

  opened(connId: string): void {
    this.counters.framesOpened++;
    this.countersChanged = true;
    this.session?.opened(connId);
  }

  authFailed(connId: string): void {
    this.session?.authFailed(connId);
  }

  keyFrameRequested(): void {
    this.counters.keyFrameRequests++;
    this.countersChanged = true;
  }

  exhausted(): void {
    if (this.exhaustionTold) return;
    this.exhaustionTold = true;
    this.error("counter_exhausted", "all frame counters of a key are used");
  }

  now(): number {
    return performance.now();
  }
}
