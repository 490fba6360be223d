// Comparing the frames that were opened with those that their sender tells of.
// The same rules as package e2ee/room (ledger.go).

import type { Bytes } from "./encoding.ts";
import { concat } from "./encoding.ts";
import type { ParsedFrame } from "./frame.ts";

/** So long an opened frame may go without its sender's word. Lists come every second. */
const overdueMs = 5000;

export const digestSize = 8;

/** The beginning of SHA-256 over the clear byte if there is one, SFrame header, ciphertext, tag. */
export async function digestOf(f: ParsedFrame): Promise<bigint> {
  const hash = await crypto.subtle.digest("SHA-256", concat(f.clear, f.header, f.sealed));
  return new DataView(hash).getBigUint64(0);
}

/**
 * undecided: the other half is still to come; contradicted: the sender sent
 * another frame; unchecked: one was opened of which nothing is heard any more.
 */
export type Verdict = "undecided" | "genuine" | "contradicted" | "unchecked";

type State = "opened" | "overdue" | "told" | "checked";

interface Entry {
  ctr: number;
  digest: bigint;
  /** While the sender has not told, ms. */
  opened: number;
  state: State;
}

/** Of one KID. It remembers as many counters as the replay window: what is older opens no more. */
export class Ledger {
  private readonly entries: (Entry | undefined)[];

  constructor(
    private readonly size: number,
    /** The sender tells of frames from here on. */
    private readonly from: number,
  ) {
    this.entries = new Array<Entry | undefined>(size);
  }

  open(now: number, ctr: number, digest: bigint): Verdict {
    const e = this.entries[ctr % this.size];
    if (ctr < this.from) return "undecided"; // from before its sender began to tell
    if (e && e.ctr > ctr) return "unchecked"; // the list was of so long ago that it is forgotten
    if (e?.ctr === ctr && e.state === "told") return compare(e, digest);
    return this.put({ ctr, digest, opened: now, state: "opened" });
  }

  tell(ctr: number, digest: bigint): Verdict {
    const e = this.entries[ctr % this.size];
    if (e && e.ctr > ctr) return "undecided";
    if (e?.ctr === ctr) return e.state === "opened" || e.state === "overdue" ? compare(e, digest) : "undecided"; // the first word counts
    return this.put({ ctr, digest, opened: 0, state: "told" });
  }

  /** How many frames have become overdue since the last call. */
  overdue(now: number): number {
    let n = 0;
    for (const e of this.entries) {
      if (e?.state !== "opened" || now - e.opened <= overdueMs) continue;
      e.state = "overdue";
      n++;
    }
    return n;
  }

  private put(e: Entry): Verdict {
    const at = e.ctr % this.size;
    const before = this.entries[at];
    this.entries[at] = e;
    return before?.state === "opened" ? "unchecked" : "undecided";
  }
}

function compare(e: Entry, digest: bigint): Verdict {
  e.state = "checked";
  return e.digest === digest ? "genuine" : "contradicted";
}

/** Digests behind one another, as lists have them. */
export function packDigests(list: bigint[]): Bytes {
  const out = new Uint8Array(list.length * digestSize);
  const view = new DataView(out.buffer);
  for (const [i, d] of list.entries()) view.setBigUint64(i * digestSize, d);
  return out;
}

export function unpackDigests(b: Bytes): bigint[] {
  const view = new DataView(b.buffer, b.byteOffset, b.length);
  return Array.from({ length: b.length / digestSize }, (_, i) => view.getBigUint64(i * digestSize));
}
