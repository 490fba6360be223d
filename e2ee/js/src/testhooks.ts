// What tests need to see, compiled out of every other bundle: all uses stand
// behind `if (SOTTO_TEST_HOOKS)`, which the bundler replaces by a literal.

import { toHex, type Bytes } from "./encoding.ts";
import type { TestHashes, TransformOptions } from "./messages.ts";

declare global {
  /** Set by the bundler: --define:SOTTO_TEST_HOOKS=true or false. */
  const SOTTO_TEST_HOOKS: boolean;
}

const postEveryMs = 250;

/** Collects hashes of the frames of one transform and posts them. */
export class FrameHashes {
  private hashes: string[] = [];
  private sealed: string[] = [];
  private tail: Promise<void> = Promise.resolve();

  constructor(options: TransformOptions, post: (m: TestHashes) => void) {
    const name = options.side === "send" ? { source: options.source } : { mid: options.mid };
    setInterval(() => {
      if (this.hashes.length === 0) return;
      post({ type: "test_hashes", side: options.side, ...name, hashes: this.hashes, sealed: this.sealed });
      this.hashes = [];
      this.sealed = [];
    }, postEveryMs);
  }

  record(plain: Bytes, sealed: Bytes): void {
    // The buffers belong to frames that are handed on: hash copies.
    const both = Promise.all([sha256(plain.slice()), sha256(sealed.slice())]);
    this.tail = this.tail.then(async () => {
      const [p, s] = await both;
      this.hashes.push(p);
      this.sealed.push(s);
    });
  }
}

async function sha256(data: Bytes): Promise<string> {
  return toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", data)));
}
