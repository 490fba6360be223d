// The tiles of everybody else: arranges them, and reports which are on the
// screen and how large, in device pixels.

import { el } from "./dom.ts";
import { Focus, type Candidate, type View } from "./focus.ts";
import { arrange, arrangeFocus } from "./layout.ts";
import type { Source } from "./protocol.ts";
import { hasLive, type Member } from "./roster.ts";
import type { Speakers } from "./speaker.ts";
import { Tile, type Shown } from "./tile.ts";
import { featuredPriority, speakerPriority, videoPriority, type TileView } from "./wishes.ts";

const gap = 10;

// Tiles this close to the visible part are asked for already, so that
// scrolling does not show an empty tile first.
const nearby = "80px";

export interface GridEvents {
  /** Other tiles, other sizes, other priorities. */
  tiles(tiles: TileView[]): void;
  /** Another tile is large, or none. */
  featured(source: Source | null): void;
}

export class Grid {
  readonly element = el("div", { class: "grid", role: "group", "aria-label": "People in the room" });

  private readonly tiles = new Map<string, Tile>();
  private readonly inSight = new Set<Element>();
  private readonly sizes: ResizeObserver;
  private readonly sight: IntersectionObserver;
  private readonly events: GridEvents;
  private readonly visibility = (): void => this.report();
  private readonly focus = new Focus();
  private featured: string | null = null;
  private speaking: ReadonlySet<string> = new Set();

  constructor(events: GridEvents) {
    this.events = events;
    this.sizes = new ResizeObserver(() => {
      this.arrange();
      this.report();
    });
    this.sizes.observe(this.element);
    this.sight = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) {
          if (isIntersecting) this.inSight.add(target);
          else this.inSight.delete(target);
        }
        this.report();
      },
      { root: this.element, rootMargin: nearby },
    );
    document.addEventListener("visibilitychange", this.visibility);
  }

  /** update shows these people; shownOf gives what comes of a source. */
  update(members: readonly Member[], shownOf: (connId: string, source: Source) => Shown): void {
    const keep = new Set<string>();
    for (const member of members) {
      for (const source of pictures(member)) {
        const key = `${member.connId} ${source}`;
        keep.add(key);
        const tile = this.tiles.get(key) ?? this.add(key, new Tile(member, source, () => this.pin(key)));
        tile.update(member, shownOf(member.connId, source));
      }
    }
    for (const [key, tile] of this.tiles) {
      if (!keep.has(key)) this.remove(key, tile);
    }
    this.refocus();
  }

  get view(): View {
    return this.focus.view;
  }

  set view(view: View) {
    this.focus.view = view;
    this.refocus();
  }

  /** speakers marks who speaks now. */
  speakers({ speaking, active }: Speakers): void {
    this.speaking = speaking;
    this.focus.speaker = active;
    this.refocus();
  }

  /** pinNth pins the tile at a place of the order shown, from 0. */
  pinNth(index: number): void {
    const key = [...this.tiles.keys()][index];
    if (key !== undefined) this.pin(key);
  }

  unpin(): void {
    this.focus.unpin();
    this.refocus();
  }

  views(): TileView[] {
    return [...this.tiles].map(([key, tile]) => ({
      connId: tile.connId,
      source: tile.source,
      widthPx: tile.element.clientWidth * devicePixelRatio,
      heightPx: tile.element.clientHeight * devicePixelRatio,
      visible: this.inSight.has(tile.element),
      background: document.visibilityState !== "visible",
      priority: key === this.featured ? featuredPriority : this.speaking.has(tile.connId) ? speakerPriority : videoPriority,
    }));
  }

  /** hands marks who has raised a hand. */
  hands(raised: ReadonlySet<string>): void {
    for (const tile of this.tiles.values()) tile.raise(raised.has(tile.connId));
  }

  react(connId: string, emoji: string): void {
    for (const tile of this.tiles.values()) if (tile.connId === connId && tile.source === "camera") tile.react(emoji);
  }

  dispose(): void {
    this.sizes.disconnect();
    this.sight.disconnect();
    document.removeEventListener("visibilitychange", this.visibility);
    for (const [key, tile] of this.tiles) this.remove(key, tile);
  }

  private pin(key: string): void {
    this.focus.toggle(key, this.candidates());
    this.refocus();
  }

  private candidates(): Candidate[] {
    return [...this.tiles].map(([key, { connId, source }]) => ({ key, connId, source }));
  }

  private refocus(): void {
    const featured = this.focus.of(this.candidates());
    for (const [key, tile] of this.tiles) {
      tile.mark({ featured: key === featured, pinned: this.focus.isPinned(key), speaking: this.speaking.has(tile.connId) });
    }
    if (featured !== this.featured) {
      this.featured = featured;
      this.events.featured(featured === null ? null : (this.tiles.get(featured)?.source ?? null));
    }
    this.arrange();
    this.report();
  }

  private add(key: string, tile: Tile): Tile {
    this.tiles.set(key, tile);
    this.element.append(tile.element);
    this.sizes.observe(tile.element);
    this.sight.observe(tile.element);
    return tile;
  }

  private remove(key: string, tile: Tile): void {
    this.tiles.delete(key);
    this.inSight.delete(tile.element);
    this.sizes.unobserve(tile.element);
    this.sight.unobserve(tile.element);
    tile.video.srcObject = null;
    tile.element.remove();
  }

  private arrange(): void {
    const { clientWidth: width, clientHeight: height, style, classList } = this.element;
    if (this.tiles.size === 0 || width === 0 || height === 0) return;
    const set = (values: Record<string, string>): void => {
      for (const [name, value] of Object.entries(values)) style.setProperty(`--${name}`, value);
    };
    classList.toggle("focus", this.featured !== null);
    if (this.featured !== null) {
      const f = arrangeFocus(this.tiles.size - 1, width, height, gap, this.tiles.get(this.featured)?.source === "screen");
      classList.toggle("below", f.side === "below");
      classList.remove("scrolls");
      set({
        gap: `${gap}px`, strip: String(Math.max(1, this.tiles.size - 1)),
        "main-width": `${f.mainWidth}px`, "main-height": `${f.mainHeight}px`,
        "tile-width": `${f.tileWidth}px`, "tile-height": `${f.tileHeight}px`,
      });
      return;
    }
    const grid = arrange(this.tiles.size, width, height, gap);
    set({ gap: `${gap}px`, "tile-width": `${grid.tileWidth}px`, "tile-height": `${grid.tileHeight}px` });
    classList.toggle("scrolls", grid.scrolls);
  }

  private report(): void {
    this.events.tiles(this.views());
  }
}

/** pictures: everybody has a camera tile, those who share a screen have one more. */
function pictures(member: Member): Source[] {
  return hasLive(member, "screen") ? ["camera", "screen"] : ["camera"];
}
