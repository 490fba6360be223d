import assert from "node:assert/strict";
import { mock, test } from "node:test";
import type { Peer, Wish } from "./protocol.ts";
import { WishSender, wishDelayMs } from "./wish_sender.ts";
import { sameWishes, shownHeight, wishes, type TileView } from "./wishes.ts";

const peer = (connId: string, cameraMuted = false): Peer => ({
  connId,
  leaf: 0,
  tracks: [{ source: "mic", muted: false }, { source: "camera", muted: cameraMuted }],
});
const tile = (connId: string, widthPx: number, heightPx: number, visible = true): TileView => ({ connId, source: "camera", widthPx, heightPx, visible, background: false, priority: 100 });
const camera = (list: Wish[], connId: string): Wish | undefined => list.find((w) => w.conn_id === connId && w.source === "camera");

test("a tile asks for the lines that fill it", () => {
  assert.equal(shownHeight(640, 360), 360);
  assert.equal(shownHeight(360, 640), 640); // upright: cropped at the sides
  assert.equal(shownHeight(1280, 400), 720); // flat: cropped above and below
  assert.equal(shownHeight(641, 361), 380); // rounded up, never down
  assert.equal(shownHeight(8000, 4500), 1080);
  assert.equal(shownHeight(0, 100), 0);
});

test("everybody is heard, and the visible are seen", () => {
  const list = wishes([peer("a"), peer("b")], [tile("a", 640, 360), tile("b", 640, 360, false)]);
  assert.equal(list.length, 4);
  assert.ok(list.filter((w) => w.source === "mic").every((w) => !w.paused && w.priority === 255));
  assert.deepEqual(camera(list, "a"), { conn_id: "a", source: "camera", height: 360, priority: 100, paused: false });
  assert.deepEqual(camera(list, "b"), { conn_id: "b", source: "camera", height: 0, priority: 100, paused: true });
});

test("a camera that is off, or has no tile, is paused", () => {
  const list = wishes([peer("a", true), peer("b")], [tile("a", 640, 360)]);
  assert.equal(camera(list, "a")?.paused, true);
  assert.equal(camera(list, "b")?.paused, true);
});

test("a page in the background keeps the lowest layer", () => {
  const hidden = { ...tile("a", 640, 360, false), background: true };
  assert.deepEqual(camera(wishes([peer("a")], [hidden]), "a"), { conn_id: "a", source: "camera", height: 1, priority: 100, paused: false });
  assert.equal(camera(wishes([peer("a", true)], [hidden]), "a")?.paused, true);
});

test("a person without tracks is not in the list", () => {
  assert.deepEqual(wishes([{ connId: "a", leaf: 1, tracks: [] }], [tile("a", 640, 360)]), []);
});

test("sameWishes sees every field", () => {
  const [wish] = wishes([peer("a")], []);
  assert.ok(wish);
  assert.ok(sameWishes([wish], [{ ...wish }]));
  assert.ok(!sameWishes([wish], [{ ...wish, paused: !wish.paused }]));
  assert.ok(!sameWishes([wish], []));
});

test("many changes make one message, within the delay, and none when nothing changed", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    let height = 180;
    const sent: number[] = [];
    const sender = new WishSender(
      () => [{ conn_id: "a", source: "camera", height, priority: 1, paused: false }],
      (list) => sent.push(list[0]?.height ?? -1),
    );
    sender.schedule();
    height = 360;
    sender.schedule();
    mock.timers.tick(wishDelayMs - 1);
    assert.deepEqual(sent, []);
    mock.timers.tick(100 - wishDelayMs + 1);
    assert.deepEqual(sent, [360]);
    sender.schedule();
    mock.timers.tick(1000);
    assert.deepEqual(sent, [360]);
    height = 180;
    sender.flush();
    assert.deepEqual(sent, [360, 180]);
    height = 90;
    sender.schedule();
    sender.stop();
    mock.timers.tick(1000);
    assert.deepEqual(sent, [360, 180]);
  } finally {
    mock.timers.reset();
  }
});
