// The receiving transform: frames of the track that is bound to this m-line,
// each once and in order; everything else is held shortly or dropped.

import type { Bytes } from "./encoding.ts";
import { codecOf, open, opus, parseFrame, type ParsedFrame } from "./frame.ts";
import { Ledger } from "./ledger.ts";
import type { DropReason, Source } from "./messages.ts";
import { Outlet, pump, type Drop, type EncodedFrame, type Transformer } from "./pipeline.ts";
import { audioWindow, Order, ReplayWindow, videoWindow } from "./replay.ts";
import { contextOf, type FrameKey } from "./sframe.ts";
import type { FrameHashes } from "./testhooks.ts";

/** The one key of a KID and what was opened with it, on whatever m-line. */
export class ReceiveKey {
  readonly window: ReplayWindow;
  /** null: the sender does not sign, or none of its frames came. */
  ledger: Ledger | null = null;

  constructor(
    readonly key: FrameKey | Promise<FrameKey>,
    private readonly source: Source,
  ) {
    this.window = new ReplayWindow(this.size);
  }

  /** The ledger, made if there is none: of frames from a counter on. */
  account(from: number): Ledger {
    return (this.ledger ??= new Ledger(this.size, from));
  }

  private get size(): number {
    return isAudio(this.source) ? audioWindow : videoWindow;
  }
}

/** The track in an m-line. A new object for every binding. */
export interface Binding {
  readonly connId: string;
  readonly source: Source;
}

export interface ReceiveContext {
  binding(mid: string): Binding | null;
  /** The key of a KID if the connection is in the roster, the KID is its own and the key is known; or why it never will be. */
  receiveKey(connId: string, kid: number): ReceiveKey | DropReason | null;
  drop: Drop;
  opened(connId: string, key: ReceiveKey, frame: ParsedFrame): void;
  authFailed(connId: string): void;
  keyFrameRequested(): void;
  now(): number;
}

interface Held {
  at: number;
  frame: EncodedFrame;
  parsed: ParsedFrame;
  rtp: number;
}

const holdMs = 500;
const holdMax = 64;
const holdBytes = 4 << 20;
const askFirstMs = 500;
const askMostMs = 4000;

export class ReceiveStream {
  private readonly outlet: Outlet;
  private order = new Order();
  private bound: Binding | null = null; // what order belongs to
  private held: Held[] = [];
  private heldBytes = 0;
  private started = false; // a frame of this binding was opened
  private needKey = false; // a picture is missing to the decoder
  private askedAt = -Infinity;
  private askPause = 0;
  private ended = false;
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor(
    private readonly transformer: Transformer,
    readonly mid: string,
    private readonly context: ReceiveContext,
    private readonly hashes: FrameHashes | null,
  ) {
    this.outlet = new Outlet(transformer.writable);
  }

  async run(): Promise<void> {
    await pump(this.transformer.readable, this.outlet, (f) => this.accept(f));
    await this.outlet.settled();
    this.ended = true;
    if (this.timer !== null) clearTimeout(this.timer);
    this.held = [];
  }

  /** A key or a binding has come: what was held may pass now. */
  release(): void {
    this.rebind();
    this.expire();
    const held = this.held;
    this.held = [];
    this.heldBytes = 0;
    for (const h of held) this.route(h);
    this.ask();
  }

  private accept(frame: EncodedFrame): void {
    const meta = frame.getMetadata();
    const codec = codecOf(meta.mimeType);
    if (codec === 0) return this.context.drop("e2ee_unknown_codec");
    if (frame.data.byteLength === 0) return this.context.drop("e2ee_empty");
    const parsed = parseFrame(codec, new Uint8Array(frame.data));
    const rtp = meta.rtpTimestamp ?? frame.timestamp;
    if (!parsed || rtp === undefined) return this.context.drop("e2ee_malformed");
    this.rebind();
    this.route({ at: this.context.now(), frame, parsed, rtp });
  }

  private async open(key: ReceiveKey, parsed: ParsedFrame): Promise<Bytes | null> {
    return open(await key.key, parsed);
  }

  /** The server's timestamps are continuous only within one binding. */
  private rebind(): void {
    const binding = this.context.binding(this.mid);
    if (binding === this.bound) return;
    this.bound = binding;
    this.order = new Order();
    this.started = false;
    this.needKey = false;
    this.askPause = 0;
  }

  private route(h: Held): void {
    const { bound } = this;
    const { parsed } = h;
    const isOpus = parsed.codec === opus;
    const ours = bound && contextOf(bound.source) === parsed.kid >>> 16 && isAudio(bound.source) === isOpus;
    const key = ours ? this.context.receiveKey(bound.connId, parsed.kid) : null;
    if (!key) return this.hold(h);
    if (typeof key === "string") return this.context.drop(key);
    const refused = key.window.refuse(parsed.ctr);
    if (refused) return this.context.drop(refused);
    this.outlet.push(this.open(key, parsed), (plain) => this.finish(h, key, bound!, plain));
  }

  /** Runs in the order of arrival. Only an authentic frame is recorded. */
  private finish(h: Held, key: ReceiveKey, binding: Binding, plain: Bytes | null): EncodedFrame | null {
    const { parsed, frame } = h;
    // A second copy may have been under way; the m-line may show somebody else by now, the key may be gone.
    const valid = this.context.binding(this.mid) === binding && this.context.receiveKey(binding.connId, parsed.kid) === key;
    const refused = valid ? key.window.refuse(parsed.ctr) : "e2ee_stale";
    if (refused) return this.fail(refused);
    if (!plain) {
      this.context.authFailed(binding.connId);
      return this.lost("e2ee_auth_fail");
    }
    if (!this.order.accept(this.context.now(), parsed.kid, parsed.ctr, h.rtp)) return this.lost("e2ee_order");
    key.window.mark(parsed.ctr);
    if (SOTTO_TEST_HOOKS) this.hashes?.record(plain, new Uint8Array(frame.data));
    this.context.opened(binding.connId, key, parsed);
    frame.data = plain.buffer;
    if (!isAudio(binding.source)) {
      if (frame.type === "key") {
        this.needKey = false;
        this.askPause = 0;
      } else if (!this.started) {
        this.needKey = true;
      }
    }
    this.started = true;
    this.ask();
    return frame;
  }

  private fail(reason: DropReason): null {
    this.context.drop(reason);
    return null;
  }

  private lost(reason: DropReason): null {
    if (this.bound && !isAudio(this.bound.source)) this.needKey = true;
    this.ask();
    return this.fail(reason);
  }

  private hold(h: Held): void {
    this.expire();
    const size = h.frame.data.byteLength;
    if (this.held.length >= holdMax || this.heldBytes + size > holdBytes) {
      this.lost("e2ee_hold_full");
      return;
    }
    this.held.push(h);
    this.heldBytes += size;
    this.arm();
  }

  private expire(): void {
    const now = this.context.now();
    while (this.held.length > 0 && now - this.held[0]!.at > holdMs) {
      this.heldBytes -= this.held.shift()!.frame.data.byteLength;
      this.lost("e2ee_hold_expired");
    }
  }

  /** Asks the sender for a key frame, at growing intervals while none comes. */
  private ask(): void {
    if (!this.needKey) return;
    const now = this.context.now();
    if (now - this.askedAt >= this.askPause) {
      this.askedAt = now;
      this.askPause = Math.min(Math.max(askFirstMs, 2 * this.askPause), askMostMs);
      this.context.keyFrameRequested();
      // Rejected when the receiver is not receiving video at the moment.
      this.transformer.sendKeyFrameRequest?.().catch(() => {});
    }
    this.arm();
  }

  /** One timer for what is held and for asking again. */
  private arm(): void {
    if (this.timer !== null || this.ended) return;
    this.timer = setTimeout(() => {
      this.timer = null;
      this.expire();
      this.ask();
      if (this.held.length > 0) this.arm();
    }, askFirstMs / 2);
  }
}

export function isAudio(source: Source): boolean {
  return source === "mic" || source === "screen_audio";
}
