import assert from "node:assert/strict";
import { test } from "node:test";
import { layeringFor, layersFor } from "./simulcast.ts";

test("a picture has as many layers as Chromium sends of its size, the best one whole", () => {
  const scales = (w: number, h: number): number[] =>
    layersFor(w, h).filter((l) => l.active).map((l) => l.scaleResolutionDownBy);
  assert.deepEqual(scales(0, 0), [4, 2, 1]);
  assert.deepEqual(scales(960, 540), [4, 2, 1]);
  assert.deepEqual(scales(640, 360), [2, 1]);
  assert.deepEqual(scales(320, 180), [1]);
});

test("only what is wanted is active", () => {
  const active = (wanted: number, width = 1280, height = 720): boolean[] => layersFor(width, height, "simulcast", wanted).map((l) => l.active);
  assert.deepEqual(active(3), [true, true, true]);
  assert.deepEqual(active(1), [true, false, false]);
  assert.deepEqual(active(0), [false, false, false]);
  assert.deepEqual(active(8), [true, true, true]);
  assert.deepEqual(active(3, 640, 360), [true, true, false]);
  for (const layering of ["svc", "single"] as const) {
    assert.deepEqual(layersFor(1280, 720, layering, 0).map((l) => l.active), [false, false, false]);
  }
});

test("layers inside one encoding keep their sizes when the upper ones are left out", () => {
  const first = (wanted: number): unknown[] => {
    const layer = layersFor(1280, 720, "svc", wanted)[0];
    return [layer?.scalabilityMode, layer?.scaleResolutionDownBy, layer?.maxBitrate, layer?.active];
  };
  assert.deepEqual(first(3), ["L3T3_KEY", 1, 1_700_000, true]);
  assert.deepEqual(first(2), ["L2T3_KEY", 2, 500_000, true]);
  assert.deepEqual(first(1), ["L1T3", 4, 150_000, true]);
  assert.deepEqual(layersFor(640, 360, "svc", 1)[0]?.scaleResolutionDownBy, 1);
  assert.deepEqual(layersFor(1280, 720, "single", 1)[0]?.scaleResolutionDownBy, 1);
});

test("layers inside one encoding, or one layer, leave one encoding, of the whole picture and rate", () => {
  for (const layering of ["svc", "single"] as const) {
    const layers = layersFor(1280, 720, layering);
    assert.deepEqual(layers.map((l) => l.active), [true, false, false]);
    assert.deepEqual([layers[0]?.scaleResolutionDownBy, layers[0]?.maxBitrate], [1, 1_700_000]);
  }
  assert.equal(layersFor(1280, 720, "svc")[0]?.scalabilityMode, "L3T3_KEY");
  assert.equal(layersFor(1280, 720, "single")[0]?.scalabilityMode, "L1T3");
});

test("only VP9 puts layers into one encoding, and Firefox not even there", () => {
  assert.equal(layeringFor("vp8", false), "simulcast");
  assert.equal(layeringFor("av1", false), "simulcast");
  assert.equal(layeringFor("vp9", false), "svc");
  assert.equal(layeringFor("vp9", true), "single");
});
