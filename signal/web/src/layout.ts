// Where tiles go. Sizes are CSS pixels.

export interface Grid {
  columns: number;
  tileWidth: number;
  tileHeight: number;
  /** True when the tiles do not all fit: the grid then scrolls. */
  scrolls: boolean;
}

const aspect = 16 / 9;

// Below this a face is not readable any more; rather scroll.
const minTileWidth = 148;

/**
 * arrange finds the number of columns that makes equal tiles largest in an area
 * of width x height. Tiles are 16:9; with few of them in a tall area (a phone
 * held upright) they may grow taller, up to a square and a third.
 */
export function arrange(count: number, width: number, height: number, gap: number): Grid {
  const n = Math.max(1, count);
  const minWidth = Math.min(minTileWidth, (width - gap) / 2);
  let best: Grid = { columns: 1, tileWidth: 0, tileHeight: 0, scrolls: false };
  for (let columns = 1; columns <= n; columns++) {
    const rows = Math.ceil(n / columns);
    const roomX = (width - gap * (columns - 1)) / columns;
    const roomY = (height - gap * (rows - 1)) / rows;
    const tileWidth = Math.min(roomX, roomY * aspect);
    const tileHeight = Math.min(roomY, tileWidth * maxTallness(n, height > width));
    if (tileWidth * tileHeight > best.tileWidth * best.tileHeight && tileWidth >= minWidth) {
      best = { columns, tileWidth, tileHeight, scrolls: false };
    }
  }
  if (best.tileWidth === 0) best = scrolling(width, gap, minWidth);
  return { ...best, tileWidth: Math.floor(best.tileWidth), tileHeight: Math.floor(best.tileHeight) };
}

/** Height per width that a tile may reach. */
function maxTallness(count: number, upright: boolean): number {
  if (!upright) return 3 / 4;
  return count <= 6 ? 4 / 3 : 1;
}

function scrolling(width: number, gap: number, minWidth: number): Grid {
  const columns = Math.max(1, Math.floor((width + gap) / (minWidth + gap)));
  const tileWidth = (width - gap * (columns - 1)) / columns;
  return { columns, tileWidth, tileHeight: tileWidth / aspect, scrolls: true };
}

/** One large tile, the others in a strip beside or below it; the strip scrolls. */
export interface FocusLayout {
  side: "right" | "below";
  mainWidth: number;
  mainHeight: number;
  /** Of each tile in the strip; 0 without one. */
  tileWidth: number;
  tileHeight: number;
}

const stripShare = 0.19;
const maxStripTile = 250;
const mainShareUpright = 0.64;

/**
 * arrangeFocus shares an area between one large tile and a strip of `others`.
 * wide: the large one is a screen, for which a tall tile would be no use.
 */
export function arrangeFocus(others: number, width: number, height: number, gap: number, wide = false): FocusLayout {
  const upright = height > width;
  const side = upright ? "below" : "right";
  if (others === 0) return { side, mainWidth: width, mainHeight: height, tileWidth: 0, tileHeight: 0 };
  if (upright) {
    const columns = wide ? 2 : 3;
    const share = wide ? Math.min(mainShareUpright, width / aspect / height) : mainShareUpright;
    const tileWidth = Math.floor((width - gap * (columns - 1)) / columns);
    // More than one row: the second shows that there is more to scroll to.
    const rows = others <= columns ? 1 : 1.5;
    const tileHeight = Math.floor(Math.min(tileWidth * 4 / 3, (height * (1 - share)) / rows - gap));
    if (wide) return { side, mainWidth: width, mainHeight: Math.floor(height * share), tileWidth, tileHeight };
    return { side, mainWidth: width, mainHeight: Math.floor(height - rows * (tileHeight + gap)), tileWidth, tileHeight };
  }
  const tileWidth = Math.floor(Math.min(maxStripTile, Math.max(Math.min(minTileWidth, width / 4), width * stripShare)));
  return { side, mainWidth: width - tileWidth - gap, mainHeight: height, tileWidth, tileHeight: Math.floor(tileWidth / aspect) };
}
