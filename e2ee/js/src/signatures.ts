// Lists of the frames that were sent: what members tell each other every second,
// if they choose to. Application messages are signed; media is not, and every
// member has everybody's media keys.

import { fromBase64url, toBase64url } from "./encoding.ts";
import { digestOf, digestSize, packDigests, unpackDigests } from "./ledger.ts";
import type { ParsedFrame } from "./frame.ts";
import { contexts, maxCTR } from "./sframe.ts";

/** The largest group in which media is signed: every list goes to everybody. */
export const maxSigned = 16;

// What waits for the next list; of what does not fit no list tells.
const maxWaiting = 2048;
// A message may have 30 KiB; the parts are counted by what they take at most.
const maxList = 24 << 10;
const runLength = 40;
const sumsLength = 11;

interface Run {
  from: number;
  sums: string;
}

/** The content of an application message of type 8. */
export interface SignatureList {
  epoch: number;
  /** By context. */
  frames: Record<string, Run[]>;
  last?: true;
}

interface SentFrame {
  epoch: number;
  context: number;
  ctr: number;
  digest: bigint;
}

/** What this client has sent since its last list. */
export class Signing {
  /** The person wants it. */
  wanted = false;
  private active = false; // the others were told to expect lists
  private waiting: SentFrame[] = [];

  get on(): boolean {
    return this.active;
  }

  /** Notes a protected frame. */
  sent(epoch: number, context: number, f: ParsedFrame): void {
    void digestOf(f).then((digest) => {
      if (this.active && this.waiting.length < maxWaiting) this.waiting.push({ epoch, context, ctr: f.ctr, digest });
    });
  }

  /** What is to be told now, by a member of a group of so many. */
  take(members: number, epoch: number): SignatureList[] {
    const was = this.active;
    this.active = this.wanted && members <= maxSigned;
    const lists = listsOf(this.waiting);
    this.waiting = [];
    if (was && !this.active) lists.push({ epoch, frames: {}, last: true });
    return lists;
  }
}

/** Puts frames into as few messages as they fit in. */
export function listsOf(frames: SentFrame[]): SignatureList[] {
  frames.sort((a, b) => a.epoch - b.epoch || a.context - b.context || a.ctr - b.ctr);
  const lists: SignatureList[] = [];
  let length = 0;
  for (let at = 0; at < frames.length; ) {
    const first = frames[at]!;
    let list = lists.at(-1);
    if (list?.epoch !== first.epoch || length + runLength + sumsLength > maxList) {
      lists.push((list = { epoch: first.epoch, frames: {} }));
      length = 0;
    }
    const most = Math.floor((maxList - length - runLength) / sumsLength);
    const digests: bigint[] = [];
    for (; at < frames.length && digests.length < most; at++) {
      const f = frames[at]!;
      if (f.epoch !== first.epoch || f.context !== first.context || f.ctr !== first.ctr + digests.length) break;
      digests.push(f.digest);
    }
    (list.frames[first.context] ??= []).push({ from: first.ctr, sums: toBase64url(packDigests(digests)) });
    length += runLength + digests.length * sumsLength;
  }
  return lists;
}

export interface ToldRun {
  context: number;
  from: number;
  digests: bigint[];
}

/** null: not as it has to be. */
export function readList(body: Record<string, unknown> | null): { epoch: number; runs: ToldRun[]; last: boolean } | null {
  const { epoch, frames, last } = body ?? {};
  if (typeof epoch !== "number" || !Number.isSafeInteger(epoch) || epoch < 0) return null;
  if (typeof frames !== "object" || frames === null || Object.keys(frames).length > 16) return null;
  if (last !== undefined && typeof last !== "boolean") return null;
  const runs: ToldRun[] = [];
  for (const context of contexts.keys()) {
    const list: unknown = (frames as Record<string, unknown>)[context] ?? [];
    if (!Array.isArray(list)) return null;
    for (const run of list as unknown[]) {
      const { from, sums } = (run ?? {}) as Partial<Run>;
      const bytes = fromBase64url(sums);
      if (!bytes || bytes.length === 0 || bytes.length % digestSize !== 0) return null;
      const digests = unpackDigests(bytes);
      if (typeof from !== "number" || !Number.isInteger(from) || from < 0 || from + digests.length > maxCTR) return null;
      runs.push({ context, from, digests });
    }
  }
  return { epoch, runs, last: last === true };
}
