// Whether the frames that were opened are those that their senders tell of.

import type { Epochs } from "./epochs.ts";
import type { ParsedFrame } from "./frame.ts";
import { digestOf, type Verdict } from "./ledger.ts";
import type { Peer, PeerStates } from "./peer_states.ts";
import type { ReceiveKey } from "./receive.ts";
import { maxSigned, readList } from "./signatures.ts";

/** So long somebody stays unverified after the last frame that nothing was heard of in time. */
const doubtMs = 5000;

export interface VerificationContext {
  /** Milliseconds since 1970; never goes back. */
  time(): number;
  /** How many there are in the group. */
  members(): number;
  verified(what: "framesVerified" | "framesForged" | "framesUnverified", n: number): void;
}

export class Verification {
  constructor(
    private readonly epochs: Epochs,
    private readonly peers: PeerStates,
    private readonly context: VerificationContext,
  ) {}

  /** A member's list; false: malformed. */
  heard(connId: string, leaf: number, body: Record<string, unknown> | null): boolean {
    const list = readList(body);
    if (!list) return false;
    const peer = this.peers.get(connId);
    if (!peer || this.context.members() > maxSigned) return true;
    const begins = !peer.signs;
    peer.signs = true;
    for (const { context, from, digests } of list.runs) {
      const key = this.epochs.receivedFrom(list.epoch, connId, leaf, context);
      if (!key) continue; // of an epoch that is over
      const ledger = key.account(begins ? from : 0);
      for (const [i, d] of digests.entries()) this.judge(peer, ledger.tell(from + i, d));
    }
    if (list.last) this.end(peer);
    return true;
  }

  /** A frame was opened. */
  opened(connId: string, key: ReceiveKey, f: ParsedFrame): void {
    const peer = this.peers.get(connId);
    if (!peer?.signs) return;
    const now = this.context.time();
    void digestOf(f).then((digest) => {
      if (peer.signs) this.judge(peer, key.account(0).open(now, f.ctr, digest));
    });
  }

  /** Looks for frames that are overdue, and ends doubts. Every second. */
  check(): void {
    const now = this.context.time();
    for (const { connId, ledger } of this.epochs.ledgers()) {
      const peer = this.peers.get(connId);
      const n = peer?.signs ? ledger.overdue(now) : 0;
      if (peer && n > 0) this.doubt(peer, n);
    }
    const large = this.context.members() > maxSigned;
    for (const peer of this.peers.all()) {
      if (large && peer.signs) this.end(peer);
      if (peer.doubted > 0 && now >= peer.doubted) this.peers.doubt(peer, 0);
    }
  }

  /** No more lists come. */
  private end(peer: Peer): void {
    peer.signs = false;
    this.epochs.dropLedgers(peer.connId);
    this.peers.doubt(peer, 0);
  }

  private judge(peer: Peer, v: Verdict): void {
    if (v === "genuine") this.context.verified("framesVerified", 1);
    else if (v === "unchecked") this.doubt(peer, 1);
    else if (v === "contradicted") {
      this.context.verified("framesForged", 1);
      this.peers.forge(peer);
    }
  }

  private doubt(peer: Peer, n: number): void {
    this.context.verified("framesUnverified", n);
    this.peers.doubt(peer, this.context.time() + doubtMs);
  }
}
