// Media keys: a base key for each epoch of the group, and from it, when first
// needed, a key for each KID (RFC 9605 4.4.2, 5.2).

import type { Bytes } from "./encoding.ts";
import type { Ledger } from "./ledger.ts";
import type { EpochKeys } from "./machine.ts";
import type { DropReason, Source } from "./messages.ts";
import { ReceiveKey } from "./receive.ts";
import { SendKey } from "./send.ts";
import { contexts, expandFrameKey, extractBase, makeKID, maxCTR } from "./sframe.ts";

interface Epoch {
  number: number;
  secret: Promise<CryptoKey>;
  leaf: number; // own
  members: Map<number, string>; // leaf -> connId
  removed: Set<number>; // leaves of which nothing is accepted any more
  sending: Map<Source, SendKey>;
  receiving: Map<number, ReceiveKey>; // by KID
}

/**
 * Keys exist between install and forget. A counter belongs to a key of one epoch
 * and goes with it: no key and counter come twice.
 */
export class Epochs {
  private readonly epochs = new Map<number, Epoch>();
  private current: Epoch | null = null; // to send with

  /**
   * Wipes the base key. An epoch whose KIDs could be confused with this one goes,
   * counters and all: after a restart of the service two lines of a group may
   * have epochs of one number, with other keys and other members.
   */
  install(k: EpochKeys): void {
    for (const { number } of this.epochs.values()) if (number % 256 === k.epoch % 256) this.forget(number);
    this.epochs.set(k.epoch, {
      number: k.epoch,
      secret: importBase(k.base),
      leaf: k.leaf,
      members: k.members,
      removed: new Set(),
      sending: new Map(),
      receiving: new Map(),
    });
  }

  /** Frames are protected with this epoch's keys from now on. */
  send(epoch: number): void {
    this.current = this.epochs.get(epoch) ?? null;
  }

  stop(): void {
    this.current = null;
  }

  /** Frames of a leaf that was removed after this epoch are dropped from now on. */
  remove(leaf: number, lastEpoch: number): void {
    for (const e of this.epochs.values()) if (e.number <= lastEpoch) e.removed.add(leaf);
  }

  forget(epoch: number): void {
    const e = this.epochs.get(epoch);
    this.epochs.delete(epoch);
    if (e === this.current) this.current = null;
  }

  /** The epoch that frames are protected with; null: none, nothing is sent. */
  sendEpoch(): number | null {
    return this.current?.number ?? null;
  }

  sendKey(source: Source): SendKey | null {
    const e = this.current;
    if (!e) return null;
    let key = e.sending.get(source);
    if (!key) {
      key = new SendKey(derive(e, makeKID(contexts.indexOf(source), e.leaf, e.number % 256), "encrypt"));
      e.sending.set(source, key);
    }
    return key;
  }

  /** The epoch that a key of a source belongs to, if it is not forgotten. */
  epochOf(source: Source, key: SendKey): number | null {
    for (const e of this.epochs.values()) if (e.sending.get(source) === key) return e.number;
    return null;
  }

  /** context -> next CTR of the epoch that is sent with; only what was used. */
  counters(): Record<string, number> {
    const out: Record<string, number> = {};
    for (const [context, source] of contexts.entries()) {
      const next = this.current?.sending.get(source)?.peek() ?? 0;
      if (next > 0) out[context] = next;
    }
    return out;
  }

  /** The key of a KID, if the leaf in it is this connection's in the epoch in it. null: not yet, perhaps. */
  receiveKey(connId: string, kid: number): ReceiveKey | DropReason | null {
    const leaf = (kid >>> 8) & 255;
    const e = this.byLowByte(kid & 255);
    if (!e || leaf === e.leaf || e.members.get(leaf) !== connId) return null;
    return e.removed.has(leaf) ? "e2ee_removed" : this.received(e, kid);
  }

  /** A member's word for its next counters in an epoch; false: malformed. */
  heartbeat(leaf: number, body: Record<string, unknown> | null): boolean {
    const epoch = body?.["epoch"];
    const ctr = body?.["ctr"];
    if (typeof epoch !== "number" || !Number.isSafeInteger(epoch) || epoch < 0 || typeof ctr !== "object" || ctr === null) return false;
    const e = this.epochs.get(epoch);
    for (const context of contexts.keys()) {
      const next: unknown = (ctr as Record<string, unknown>)[context];
      if (next === undefined) continue;
      if (typeof next !== "number" || !Number.isInteger(next) || next < 0 || next > maxCTR) return false;
      if (e?.members.has(leaf)) this.received(e, makeKID(context, leaf, epoch % 256))?.window.heartbeat(next);
    }
    return true;
  }

  /** The key of a context in an epoch, if it is there and the leaf is the connection's in it. */
  receivedFrom(epoch: number, connId: string, leaf: number, context: number): ReceiveKey | null {
    const e = this.epochs.get(epoch);
    if (!e || e.members.get(leaf) !== connId || e.removed.has(leaf)) return null;
    return this.received(e, makeKID(context, leaf, epoch % 256));
  }

  /** What was opened of those who sign. */
  *ledgers(): Generator<{ connId: string; ledger: Ledger }> {
    for (const e of this.epochs.values()) {
      for (const [kid, { ledger }] of e.receiving) {
        const connId = e.members.get((kid >>> 8) & 255);
        if (ledger && connId !== undefined) yield { connId, ledger };
      }
    }
  }

  dropLedgers(connId: string): void {
    for (const e of this.epochs.values()) {
      for (const [kid, key] of e.receiving) if (e.members.get((kid >>> 8) & 255) === connId) key.ledger = null;
    }
  }

  private received(e: Epoch, kid: number): ReceiveKey | null {
    const source = contexts[kid >>> 16];
    if (!source) return null;
    let key = e.receiving.get(kid);
    if (!key) {
      key = new ReceiveKey(derive(e, kid, "decrypt"), source);
      e.receiving.set(kid, key);
    }
    return key;
  }

  /** install keeps one of each. */
  private byLowByte(low: number): Epoch | null {
    for (const e of this.epochs.values()) if (e.number % 256 === low) return e;
    return null;
  }
}

async function importBase(base: Bytes): Promise<CryptoKey> {
  const secret = await extractBase(base);
  base.fill(0);
  return secret;
}

function derive(e: Epoch, kid: number, usage: "encrypt" | "decrypt") {
  const key = e.secret.then((secret) => expandFrameKey(secret, kid, usage));
  key.catch(() => undefined); // told by the frames that fail
  return key;
}
