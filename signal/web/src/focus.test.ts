import assert from "node:assert/strict";
import { test } from "node:test";
import { Focus, type Candidate } from "./focus.ts";
import { arrangeFocus } from "./layout.ts";

const tile = (connId: string, source: Candidate["source"] = "camera"): Candidate => ({ key: `${connId} ${source}`, connId, source });
const people = [tile("a"), tile("b"), tile("c")];

test("a grid has no large tile until one is pinned", () => {
  const focus = new Focus();
  assert.equal(focus.of(people), null);
  focus.toggle("b camera", people);
  assert.equal(focus.of(people), "b camera");
  focus.toggle("c camera", people);
  assert.equal(focus.of(people), "c camera");
  focus.toggle("c camera", people);
  assert.equal(focus.of(people), null);
});

test("a pin ends with its tile", () => {
  const focus = new Focus();
  focus.toggle("b camera", people);
  assert.equal(focus.of([tile("a")]), null);
  assert.equal(focus.of(people), null);
});

test("the speaker view follows who speaks, a pin stays", () => {
  const focus = new Focus();
  focus.view = "speaker";
  assert.equal(focus.of(people), "a camera"); // nobody spoke yet
  focus.speaker = "c";
  assert.equal(focus.of(people), "c camera");
  focus.toggle("b camera", people);
  focus.speaker = "a";
  assert.equal(focus.of(people), "b camera");
  focus.unpin();
  assert.equal(focus.of(people), "a camera");
  assert.equal(focus.of([tile("a")]), null); // one tile fills the area anyway
  focus.toggle("a camera", people); // the speaker becomes the pinned one
  assert.equal(focus.isPinned("a camera"), true);
});

test("a shared screen is large until it is made small, and so is the next one", () => {
  const focus = new Focus();
  const sharing = [...people, tile("b", "screen")];
  assert.equal(focus.of(sharing), "b screen");
  focus.toggle("b screen", sharing);
  assert.equal(focus.of(sharing), null);
  assert.equal(focus.of([...sharing, tile("c", "screen")]), "c screen");
  assert.equal(focus.of(people), null);
  assert.equal(focus.of(sharing), "b screen"); // shared anew
  focus.toggle("a camera", sharing);
  assert.equal(focus.of(sharing), "a camera");
});

function fits(others: number, width: number, height: number, wide: boolean): void {
  const f = arrangeFocus(others, width, height, 10, wide);
  const what = `${others} in ${width}x${height}, wide ${String(wide)}`;
  assert.ok(f.mainWidth > 0 && f.mainHeight > 0, what);
  if (others === 0) return;
  assert.ok(f.tileWidth > 0 && f.tileHeight > 0, what);
  if (f.side === "right") assert.ok(f.mainWidth + 10 + f.tileWidth <= width && f.mainHeight <= height, what);
  else assert.ok(2 * f.tileWidth + 10 <= width && f.mainHeight + 10 + f.tileHeight <= height, what);
  assert.ok(f.mainWidth * f.mainHeight > 1.5 * f.tileWidth * f.tileHeight, what);
}

test("one large tile and the strip fit the area", () => {
  for (const [width, height] of [[1280, 640], [1920, 950], [390, 700], [800, 400], [320, 480]] as const) {
    for (const others of [0, 1, 4, 20]) {
      for (const wide of [false, true]) fits(others, width, height, wide);
    }
  }
});
