// Layers that nobody watches are neither encoded nor sent, and come back when somebody does; sound goes on in any case.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./browsers.mjs";
import { newSecret } from "./link.mjs";
import { enter, eventually, longestGap, moreFrames, mostGap, sleep, waitForPicture, waitForSlot, watchPictures } from "./room.mjs";
import { startSotto } from "./server.mjs";

const all = ["q", "h", "f"];

let server;
const browsers = {};

before(async () => {
  server = await startSotto();
  for (const name of ["chromium", "firefox"]) browsers[name] = await launch(name);
});
after(async () => {
  for (const b of Object.values(browsers)) await b.close();
  assert.equal(await server?.stop(), 0, "sotto dev must end cleanly");
});

for (const name of ["chromium", "firefox"]) {
  test(`${name} sends what is watched`, async (t) => {
    const secret = newSecret();
    const publisher = await enter(browsers[name], server, secret);
    await rests(publisher, all, "nobody is there");

    const viewer = await enter(browsers[name === "chromium" ? "firefox" : "chromium"], server, secret);
    const since = Date.now();
    const camera = await waitForSlot(viewer, publisher.connId, "camera");
    await waitForPicture(viewer, camera);
    t.diagnostic(`six frames of a camera that rested ${Date.now() - since} ms after the viewer's connection`);

    await wish(viewer, publisher, 540);
    await encodes(publisher, "f"); // the sender's own estimate opens the layers
    await watchPictures(viewer, publisher.connId);
    await sleep(2000);
    const gaps = { before: await longestGap(viewer) }; // what this machine does to pictures anyway

    await wish(viewer, publisher, 135);
    await shows(viewer, publisher, 135);
    gaps["to 135 lines"] = await longestGap(viewer);
    await rests(publisher, ["h", "f"], "only the lowest layer is watched");
    await encodes(publisher, "q");
    gaps["upper layers end"] = await longestGap(viewer);

    const asked = Date.now();
    await wish(viewer, publisher, 540);
    await shows(viewer, publisher, 540);
    t.diagnostic(`540 lines again after ${Date.now() - asked} ms`);
    gaps["upper layers begin"] = await longestGap(viewer);
    t.diagnostic(`longest gaps in ms: ${JSON.stringify(gaps)}`);
    // No picture stands still when layers end or begin.
    for (const [when, gap] of Object.entries(gaps)) assert.ok(gap < mostGap(gaps.before, 1000), `${when}: the picture stood for ${gap} ms`);

    await wish(viewer, publisher, 0);
    const mic = await sent(publisher, "audio");
    await rests(publisher, all, "the only viewer hides the picture");
    const later = await eventually(() => sent(publisher, "audio"), ({ packets }) => packets > mic.packets + 50);
    assert.ok(later.packets > mic.packets + 50, "sound goes on");
    const again = Date.now();
    await wish(viewer, publisher, 135);
    await moreFrames(viewer, camera, 1, "a picture after the pause");
    t.diagnostic(`a picture ${Date.now() - again} ms after nobody watched`);
    await viewer.close();
    await publisher.close();
  });
}

/** wish asks for so many lines of the other's camera, whatever the tile is; 0 hides it. */
const wish = (viewer, publisher, height) =>
  viewer.run(({ connId, height }) => window.__sotto.setWish(connId, "camera", height), { connId: publisher.connId, height });

/** shows waits until the other's picture has so many lines. */
const shows = (viewer, publisher, height) =>
  viewer.until(({ connId, height }) => window.__sotto.tiles().some((x) => x.connId === connId && x.videoHeight === height),
    { connId: publisher.connId, height }, `${height} lines`);

/** sent sums up what a page has sent: packets, and frames encoded of each layer. */
function sent(page, kind) {
  return page.run(async (kind) => {
    const list = (await window.__sotto.stats()).filter((s) => s.type === "outbound-rtp" && s.kind === kind);
    return {
      packets: list.reduce((sum, s) => sum + (s.packetsSent ?? 0), 0),
      frames: Object.fromEntries(list.map((s) => [s.rid ?? "", s.framesEncoded ?? 0])),
    };
  }, kind);
}

/** rests waits until no frame of these layers is encoded for a second and a half; the service waits 3 s before it lets a publisher stop. */
async function rests(page, rids, why) {
  const isAtRest = ([first, last]) => rids.every((rid) => first.frames[rid] === last.frames[rid]);
  const both = await eventually(async () => {
    const first = await sent(page, "video");
    await sleep(1500);
    return [first, await sent(page, "video")];
  }, isAtRest);
  assert.ok(isAtRest(both), `${why}: ${JSON.stringify(both)}`);
}

/** encodes waits until frames of a layer are encoded. */
async function encodes(page, rid) {
  const { frames } = await sent(page, "video");
  await page.until(async ({ rid, frames }) => {
    const list = await window.__sotto.stats();
    return list.some((s) => s.type === "outbound-rtp" && s.rid === rid && s.framesEncoded > (frames[rid] ?? 0) + 5);
  }, { rid, frames }, `frames of layer ${rid}`);
}
