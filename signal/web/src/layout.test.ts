import assert from "node:assert/strict";
import { test } from "node:test";
import { arrange } from "./layout.ts";

const gap = 10;

test("one tile fills the area as far as its shape allows", () => {
  assert.deepEqual(arrange(1, 1600, 900, gap), { columns: 1, tileWidth: 1600, tileHeight: 900, scrolls: false });
});

test("two people sit side by side on a desk and one above the other on a phone", () => {
  assert.equal(arrange(2, 1280, 640, gap).columns, 2);
  assert.equal(arrange(2, 390, 700, gap).columns, 1);
});

test("tiles that do not scroll always fit, and use most of the area", () => {
  for (const [width, height] of [[1280, 640], [1920, 950], [390, 700], [800, 400], [320, 480]] as const) {
    for (let count = 1; count <= 49; count++) {
      const g = arrange(count, width, height, gap);
      const rows = Math.ceil(count / g.columns);
      assert.ok(g.tileWidth > 0 && g.tileHeight > 0, `${count} in ${width}x${height}: empty tiles`);
      assert.ok(g.columns * g.tileWidth + (g.columns - 1) * gap <= width, `${count} in ${width}x${height}: too wide`);
      if (!g.scrolls) {
        assert.ok(rows * g.tileHeight + (rows - 1) * gap <= height, `${count} in ${width}x${height}: too high`);
        assert.ok(count * g.tileWidth * g.tileHeight > 0.3 * width * height, `${count} in ${width}x${height}: small`);
      }
    }
  }
});

test("a crowd on a phone scrolls instead of shrinking", () => {
  const g = arrange(25, 390, 700, gap);
  assert.equal(g.scrolls, true);
  assert.equal(g.columns, 2);
  assert.ok(g.tileWidth >= 148);
});

test("more tiles never get larger", () => {
  let last = Infinity;
  for (let count = 1; count <= 25; count++) {
    const g = arrange(count, 1280, 640, gap);
    const area = g.tileWidth * g.tileHeight;
    assert.ok(area <= last + 1, `${count} tiles`);
    last = area;
  }
});
