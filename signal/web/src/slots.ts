// Slots are recvonly m-lines that the service fills with other people's tracks.
// The pool only grows, and in few steps: people coming and going then cost no
// renegotiation, only a new content of a slot.

import type { Slot, Source } from "./protocol.ts";

/** Pool sizes, for video and the same again for audio. */
export const steps = [4, 9, 16, 25, 49] as const;

/** poolSize is the smallest step that holds `wanted` tracks, never below `current`. */
export function poolSize(current: number, wanted: number): number {
  const last = steps[steps.length - 1] ?? 0;
  return Math.max(current, steps.find((step) => step >= wanted) ?? last);
}

/** What the service said last about who is in which slot. */
export class SlotMap {
  private slots: Slot[] = [];

  /** replace takes the whole new list. */
  replace(slots: readonly Slot[]): void {
    this.slots = [...slots];
  }

  copy(): SlotMap {
    const copy = new SlotMap();
    copy.replace(this.slots);
    return copy;
  }

  /** of gives the slot that carries a person's source, if any does. */
  of(connId: string, source: Source): Slot | undefined {
    return this.slots.find((s) => s.connId === connId && s.source === source);
  }

  /** mid of that slot. */
  midOf(connId: string, source: Source): string | undefined {
    return this.of(connId, source)?.mid;
  }

  /** ownerOf names the connection whose source is in a slot. */
  ownerOf(mid: string, source: Source): string | undefined {
    return this.slots.find((s) => s.mid === mid && s.source === source)?.connId;
  }

  all(): readonly Slot[] {
    return this.slots;
  }
}
