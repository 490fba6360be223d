// Frames in, frames out, in order, several in the hands of WebCrypto at once.

import type { DropReason } from "./messages.ts";

/** What is used of RTCEncodedVideoFrame and RTCEncodedAudioFrame. */
export interface EncodedFrame {
  data: ArrayBuffer;
  /** Video only. */
  readonly type?: string;
  readonly timestamp?: number;
  getMetadata(): { mimeType?: string; rtpTimestamp?: number };
}

/** What is used of RTCRtpScriptTransformer. */
export interface Transformer {
  readonly readable: ReadableStream<EncodedFrame>;
  readonly writable: WritableStream<EncodedFrame>;
  sendKeyFrameRequest?(): Promise<unknown>;
}

export type Drop = (reason: DropReason) => void;

/** Frames that may wait for WebCrypto before reading pauses. */
const maxInFlight = 64;

/**
 * The writing end of a transform. Frames leave in the order in which they were
 * pushed, whatever order their promises settle in; null is a dropped frame.
 */
export class Outlet {
  private tail: Promise<void> = Promise.resolve();
  private inFlight = 0;
  private readonly writer: WritableStreamDefaultWriter<EncodedFrame>;
  closed = false;

  constructor(writable: WritableStream<EncodedFrame>) {
    this.writer = writable.getWriter();
    this.writer.closed.catch(() => {}).finally(() => (this.closed = true));
  }

  /** finish runs in order, after result settled, and says what to write. */
  push<T>(result: Promise<T>, finish: (value: T) => EncodedFrame | null): void {
    this.inFlight++;
    // A rejection is handled in the chain, which may get to it later.
    result.catch(() => {});
    this.tail = this.tail
      .then(async () => {
        const frame = finish(await result);
        if (frame && !this.closed) await this.writer.write(frame);
      })
      .catch(() => {}) // the track has ended: nothing more passes
      .finally(() => this.inFlight--);
  }

  /** Resolves when reading may go on. */
  async ready(): Promise<void> {
    if (this.inFlight >= maxInFlight) await this.tail;
  }

  settled(): Promise<void> {
    return this.tail;
  }
}

/** Reads frames and hands each to accept until the stream or the outlet ends. */
export async function pump(readable: ReadableStream<EncodedFrame>, outlet: Outlet, accept: (f: EncodedFrame) => void): Promise<void> {
  const reader = readable.getReader();
  try {
    while (!outlet.closed) {
      const { done, value } = await reader.read();
      if (done) return;
      accept(value);
      await outlet.ready();
    }
  } catch {
    // The track was stopped or its connection closed.
  } finally {
    reader.releaseLock();
  }
}
