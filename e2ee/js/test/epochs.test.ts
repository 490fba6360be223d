// Keys by epoch, where the group had two lines.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Epochs } from "../src/epochs.ts";
import { open, opus, parseFrame, protect } from "../src/frame.ts";
import { deriveFrameKey, makeKID } from "../src/sframe.ts";

const base = (b: number) => new Uint8Array(16).fill(b);

test("an epoch of the same number is another one: its keys, its members, its counters", async () => {
  const epochs = new Epochs();
  epochs.install({ epoch: 7, base: base(1), leaf: 0, members: new Map([[0, "me"], [1, "gone"]]) });
  epochs.send(7);
  const before = epochs.sendKey("mic")!;
  assert.equal(before.take(), 0);
  epochs.stop();

  epochs.install({ epoch: 7, base: base(2), leaf: 2, members: new Map([[2, "me"], [3, "other"]]) });
  assert.equal(epochs.sendKey("mic"), null); // not before the group says so
  epochs.send(7);
  const after = epochs.sendKey("mic")!;
  assert.equal(after.take(), 0);
  const frame = await protect(await after.key, 0, opus, false, Uint8Array.of(1, 2, 3));
  const parsed = parseFrame(opus, frame)!;
  assert.equal(parsed.kid, makeKID(0, 2, 7));
  assert.ok(await open(await deriveFrameKey(base(2), parsed.kid, "decrypt"), parsed));
  assert.equal(epochs.receiveKey("gone", makeKID(0, 1, 7)), null);
  assert.notEqual(epochs.receiveKey("other", makeKID(0, 3, 7)), null);
});

test("epochs whose KIDs are the same are not there together", () => {
  const epochs = new Epochs();
  epochs.install({ epoch: 3, base: base(1), leaf: 0, members: new Map([[1, "a"]]) });
  epochs.install({ epoch: 259, base: base(2), leaf: 0, members: new Map([[1, "b"]]) });
  assert.equal(epochs.receiveKey("a", makeKID(0, 1, 3)), null);
  assert.notEqual(epochs.receiveKey("b", makeKID(0, 1, 3)), null);
});
