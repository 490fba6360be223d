import assert from "node:assert/strict";
import { test } from "node:test";
import { SlotMap, poolSize, steps } from "./slots.ts";

test("the pool grows in steps and never shrinks", () => {
  let size = 0;
  const seen = new Set<number>();
  for (let wanted = 0; wanted <= 60; wanted++) {
    size = poolSize(size, wanted);
    seen.add(size);
    assert.ok(size >= Math.min(wanted, 49));
  }
  assert.deepEqual([...seen], [...steps]);
  assert.equal(poolSize(16, 0), 16);
  assert.equal(poolSize(0, 0), 4);
  assert.equal(poolSize(4, 5), 9);
  assert.equal(poolSize(49, 200), 49);
});

test("a list of slots replaces the one before", () => {
  const map = new SlotMap();
  map.replace([{ mid: "2", connId: "a", source: "mic", paused: "" }, { mid: "6", connId: "a", source: "camera", paused: "bandwidth" }]);
  assert.equal(map.midOf("a", "camera"), "6");
  assert.equal(map.of("a", "camera")?.paused, "bandwidth");
  map.replace([{ mid: "6", connId: "b", source: "camera", paused: "" }]);
  assert.equal(map.midOf("a", "camera"), undefined);
  assert.equal(map.midOf("b", "camera"), "6");
  assert.equal(map.all().length, 1);
});
