// Which tile, if any, is shown large, with the others beside it.

import type { Source } from "./protocol.ts";

/** grid: all alike; speaker: who speaks is large. A pin and a shared screen win over both. */
export type View = "grid" | "speaker";

export interface Candidate {
  key: string;
  connId: string;
  source: Source;
}

export class Focus {
  view: View = "grid";
  /** connId of who speaks now, or did last. */
  speaker: string | null = null;

  private pinned: string | null = null;
  /** Screens that this person made small. */
  private readonly dismissed = new Set<string>();

  /** of picks the large one of these tiles, the newest last; null: all alike. */
  of(tiles: readonly Candidate[]): string | null {
    const has = (key: string): boolean => tiles.some((t) => t.key === key);
    if (this.pinned !== null && !has(this.pinned)) this.pinned = null;
    for (const key of this.dismissed) if (!has(key)) this.dismissed.delete(key);
    if (this.pinned !== null) return this.pinned;
    const screen = tiles.filter((t) => t.source === "screen" && !this.dismissed.has(t.key)).at(-1);
    if (screen) return screen.key;
    if (this.view === "grid" || tiles.length < 2) return null;
    const camera = tiles.find((t) => t.connId === this.speaker && t.source === "camera");
    return (camera ?? tiles[0])?.key ?? null;
  }

  isPinned(key: string): boolean {
    return this.pinned === key;
  }

  /** toggle pins a tile; the one that is large because of a pin or as a screen becomes small. */
  toggle(key: string, tiles: readonly Candidate[]): void {
    const large = this.of(tiles) === key;
    const isScreen = tiles.some((t) => t.key === key && t.source === "screen");
    if (large && (this.pinned === key || isScreen)) {
      this.pinned = null;
      if (isScreen) this.dismissed.add(key);
      return;
    }
    this.pinned = key;
    this.dismissed.delete(key);
  }

  unpin(): void {
    this.pinned = null;
  }
}
