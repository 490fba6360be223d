// The sending transform: every frame of a source protected, or dropped.

import type { Bytes } from "./encoding.ts";
import { codecOf, protect } from "./frame.ts";
import type { Source } from "./messages.ts";
import { Outlet, pump, type Drop, type EncodedFrame, type Transformer } from "./pipeline.ts";
import { maxCTR, type FrameKey } from "./sframe.ts";
import type { FrameHashes } from "./testhooks.ts";

/**
 * A key and its counter. There is one per KID in the worker, shared by all
 * transforms, layers and SSRCs of the source, so that no nonce comes twice.
 */
export class SendKey {
  private next: number;

  constructor(
    readonly key: FrameKey | Promise<FrameKey>,
    next = 0, // tests start elsewhere
  ) {
    this.next = next;
  }

  /** Takes a counter value; null when all are used. It is never given back. */
  take(): number | null {
    return this.next < maxCTR ? this.next++ : null;
  }

  /** The value that comes next, for heartbeats. */
  peek(): number {
    return this.next;
  }
}

export interface SendContext {
  /** The key of a source; null before admission. */
  sendKey(source: Source): SendKey | null;
  drop: Drop;
  /** A frame goes out under a key of a source; sealed is what it is on the wire. */
  protected(source: Source, key: SendKey, codec: number, sealed: Bytes): void;
  exhausted(): void;
}

export class SendStream {
  private readonly outlet: Outlet;

  constructor(
    private readonly transformer: Transformer,
    private readonly source: Source,
    private readonly context: SendContext,
    private readonly hashes: FrameHashes | null,
  ) {
    this.outlet = new Outlet(transformer.writable);
  }

  run(): Promise<void> {
    return pump(this.transformer.readable, this.outlet, (f) => this.accept(f)).then(() => this.outlet.settled());
  }

  private accept(frame: EncodedFrame): void {
    const codec = codecOf(frame.getMetadata().mimeType);
    if (codec === 0) return this.context.drop("e2ee_unknown_codec");
    // Silence (Opus DTX) may come as empty frames. Nothing is sent for them
    // without a transform either.
    if (frame.data.byteLength === 0) return this.context.drop("e2ee_empty");
    const key = this.context.sendKey(this.source);
    if (!key) return this.context.drop("e2ee_no_key");
    // Taken synchronously, in the order of reading: counters rise with time.
    const ctr = key.take();
    if (ctr === null) {
      this.context.exhausted();
      return this.context.drop("e2ee_exhausted");
    }
    const plain: Bytes = new Uint8Array(frame.data);
    const sealing = seal(key, ctr, codec, frame.type === "key", plain).catch(() => null);
    this.outlet.push(sealing, (sealed) => {
      if (!sealed) {
        this.context.drop("e2ee_seal_fail");
        return null;
      }
      if (SOTTO_TEST_HOOKS) this.hashes?.record(plain, sealed);
      this.context.protected(this.source, key, codec, sealed);
      frame.data = sealed.buffer;
      return frame;
    });
  }
}

async function seal(k: SendKey, ctr: number, codec: number, isKey: boolean, plain: Bytes): Promise<Bytes> {
  return protect(await k.key, ctr, codec, isKey, plain);
}
