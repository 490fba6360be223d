// Wishes tell the service how many lines of each track are shown, so that it
// forwards no more than that and nothing for what is out of sight.

import type { Peer, Source, Wish } from "./protocol.ts";

/** A tile as laid out; px are device pixels. */
export interface TileView {
  connId: string;
  source: Source;
  widthPx: number;
  heightPx: number;
  visible: boolean;
  /** The whole page is hidden: another tab or program is in front. */
  background: boolean;
  /** 0 to 255: what goes first when not everything fits. */
  priority: number;
}

const videoAspect = 16 / 9;

// Heights are rounded up to a multiple of this, so that dragging a window edge
// does not send a new list for every pixel.
const heightStep = 20;

// No camera in this client sends more.
const maxHeight = 1080;

// In the background the lowest layer goes on: the picture is there at once when
// the person comes back, and a layer of 150 kbit/s is cheaper than a black tile.
const backgroundHeight = 1;

export const audioPriority = 255;
export const featuredPriority = 200;
export const speakerPriority = 150;
export const videoPriority = 100;

/**
 * shownHeight is how many lines of a 16:9 picture fill a tile that crops what
 * does not fit (object-fit: cover): a tall tile is filled by its height, a wide
 * one by its width.
 */
export function shownHeight(widthPx: number, heightPx: number): number {
  if (widthPx <= 0 || heightPx <= 0) return 0;
  const lines = Math.max(heightPx, widthPx / videoAspect);
  return Math.min(maxHeight, Math.ceil(lines / heightStep) * heightStep);
}

function wantedHeight(tile: TileView): number {
  if (tile.background) return backgroundHeight;
  return tile.visible ? shownHeight(tile.widthPx, tile.heightPx) : 0;
}

/**
 * wishes makes the whole list: audio of everybody, video of every tile. A tile
 * out of sight and a muted video track are paused: they cost nothing, and they
 * come back on the next key frame.
 */
export function wishes(peers: Iterable<Peer>, tiles: readonly TileView[]): Wish[] {
  const list: Wish[] = [];
  for (const peer of peers) {
    for (const track of peer.tracks) {
      if (track.source === "mic" || track.source === "screen_audio") {
        list.push({ conn_id: peer.connId, source: track.source, height: 0, priority: audioPriority, paused: false });
        continue;
      }
      const tile = tiles.find((t) => t.connId === peer.connId && t.source === track.source);
      const height = tile ? wantedHeight(tile) : 0;
      list.push({
        conn_id: peer.connId,
        source: track.source,
        height,
        priority: tile?.priority ?? videoPriority,
        paused: height === 0 || track.muted,
      });
    }
  }
  return list;
}

/** sameWishes says whether sending `b` after `a` would change nothing. */
export function sameWishes(a: readonly Wish[], b: readonly Wish[]): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
