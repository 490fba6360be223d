// How the frames of each member fare, as the page is told.

import type { PeerState } from "./messages.ts";

/** So many frames in a row must fail before a person is shown as mismatched. */
const mismatchAfter = 8;

export interface Peer {
  readonly connId: string;
  /** As told to the page. */
  shown: PeerState;
  /** How the frames open. */
  fares: "waiting" | "encrypted" | "mismatch";
  failures: number;
  /** It tells which frames it sent. */
  signs: boolean;
  /** Until then it is unverified, ms; 0: it is not. */
  doubted: number;
}

export class PeerStates {
  private readonly peers = new Map<string, Peer>();
  /** Frames were made under their names. That stays. */
  private readonly forged = new Set<string>();

  constructor(private readonly tell: (connId: string, state: PeerState) => void) {}

  get(connId: string): Peer | undefined {
    return this.peers.get(connId);
  }

  all(): Iterable<Peer> {
    return this.peers.values();
  }

  /** The others in the group, as long as this client is a member. */
  setMembers(connIds: string[]): void {
    for (const [connId, p] of this.peers) {
      if (connIds.includes(connId)) continue;
      p.fares = "waiting";
      this.show(p);
      this.peers.delete(connId);
    }
    for (const connId of connIds) {
      if (this.peers.has(connId)) continue;
      const p: Peer = { connId, shown: "waiting", fares: "encrypted", failures: 0, signs: false, doubted: 0 };
      this.peers.set(connId, p);
      this.show(p);
    }
  }

  opened(connId: string): void {
    const p = this.peers.get(connId);
    if (!p) return;
    p.failures = 0;
    p.fares = "encrypted";
    this.show(p);
  }

  authFailed(connId: string): void {
    const p = this.peers.get(connId);
    if (!p || ++p.failures !== mismatchAfter) return;
    p.fares = "mismatch";
    this.show(p);
  }

  forge(p: Peer): void {
    this.forged.add(p.connId);
    this.show(p);
  }

  isForged(connId: string): boolean {
    return this.forged.has(connId);
  }

  /** until 0: no doubts any more. */
  doubt(p: Peer, until: number): void {
    p.doubted = until;
    this.show(p);
  }

  private show(p: Peer): void {
    const state = p.fares === "waiting" ? p.fares
      : this.forged.has(p.connId) ? "forged"
      : p.fares === "encrypted" && p.doubted > 0 ? "unverified"
      : p.fares;
    if (p.shown === state) return;
    p.shown = state;
    this.tell(p.connId, state);
  }
}
