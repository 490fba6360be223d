// The tiles of everybody else: arranges them, and reports which are on the
// screen and how large, in device pixels.

import { el } from "./dom.ts";
import { arrange } from "./layout.ts";
import type { Source } from "./protocol.ts";
import type { Member } from "./roster.ts";
import { Tile } from "./tile.ts";
import type { TileView } from "./wishes.ts";

const gap = 10;

// Tiles this close to the visible part are asked for already, so that
// scrolling does not show an empty tile first.
const nearby = "80px";

export class Grid {
  readonly element = el("div", { class: "grid", role: "group", "aria-label": "People in the room" });

  private readonly tiles = new Map<string, Tile>();
  private readonly inSight = new Set<Element>();
  private readonly sizes: ResizeObserver;
  private readonly sight: IntersectionObserver;
  private readonly changed: (tiles: TileView[]) => void;
  private readonly visibility = (): void => this.report();

  constructor(changed: (tiles: TileView[]) => void) {
    this.changed = changed;
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

  /** update shows these people; trackOf gives the track of the slot a source is in. */
  update(members: readonly Member[], trackOf: (connId: string, source: Source) => MediaStreamTrack | null): void {
    const keep = new Set<string>();
    for (const member of members) {
      for (const source of pictures(member)) {
        const key = `${member.connId} ${source}`;
        keep.add(key);
        const tile = this.tiles.get(key) ?? this.add(key, new Tile(member, source));
        tile.update(member, trackOf(member.connId, source));
      }
    }
    for (const [key, tile] of this.tiles) {
      if (!keep.has(key)) this.remove(key, tile);
    }
    this.arrange();
    this.report();
  }

  views(): TileView[] {
    return [...this.tiles.values()].map((tile) => ({
      connId: tile.connId,
      source: tile.source,
      widthPx: tile.element.clientWidth * devicePixelRatio,
      heightPx: tile.element.clientHeight * devicePixelRatio,
      visible: this.inSight.has(tile.element),
      background: document.visibilityState !== "visible",
    }));
  }

  dispose(): void {
    this.sizes.disconnect();
    this.sight.disconnect();
    document.removeEventListener("visibilitychange", this.visibility);
    for (const [key, tile] of this.tiles) this.remove(key, tile);
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
    const { clientWidth, clientHeight, style } = this.element;
    if (this.tiles.size === 0 || clientWidth === 0 || clientHeight === 0) return;
    const grid = arrange(this.tiles.size, clientWidth, clientHeight, gap);
    style.setProperty("--gap", `${gap}px`);
    style.setProperty("--tile-width", `${grid.tileWidth}px`);
    style.setProperty("--tile-height", `${grid.tileHeight}px`);
    this.element.classList.toggle("scrolls", grid.scrolls);
  }

  private report(): void {
    this.changed(this.views());
  }
}

/** pictures: everybody has a camera tile, those who share a screen have one more. */
function pictures(member: Member): Source[] {
  return member.tracks.some((t) => t.source === "screen") ? ["camera", "screen"] : ["camera"];
}
