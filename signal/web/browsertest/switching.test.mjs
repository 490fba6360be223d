// Simulcast layers in real browsers: a subscriber gets the height it asks for, and the picture never stops on the way.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./browsers.mjs";
import { newSecret } from "./link.mjs";
import { enter, gaps, inbound, percentile, sleep, undisturbed, waitForPicture, waitForSlot, watchPictures } from "./room.mjs";
import { startSotto } from "./server.mjs";

const heights = [135, 270, 540];
// Every way from a layer to another, four times over: 24 switches.
const tour = [540, 135, 270, 540, 270, 135];
const rounds = 4;

let server, publisherBrowser;
const viewers = {};

before(async () => {
  server = await startSotto();
  publisherBrowser = await launch("chromium");
});
after(async () => {
  for (const b of Object.values(viewers)) await b.close();
  await publisherBrowser?.close();
  assert.equal(await server?.stop(), 0, "sotto dev must end cleanly");
});

test("24 layer switches without a freeze", async (t) => {
  const secret = newSecret();
  const publisher = await enter(publisherBrowser, server, secret);

  for (const name of ["chromium", "firefox"]) {
    await t.test(`${name} receives`, async (t) => {
      viewers[name] = await launch(name);
      const viewer = await enter(viewers[name], server, secret);
      const connId = publisher.connId;
      const mid = await waitForSlot(viewer, connId, "camera");
      await waitForPicture(viewer, mid);
      // The sender's own estimate opens the layers; a switch can only go to one that is sent.
      await show(viewer, connId, heights[2]);
      await show(viewer, connId, heights[0]);
      await sleep(1500); // the first seconds are the jitter buffer's

      await watchPictures(viewer, connId);
      const seen = (walk) => pictureDuring(viewer, mid, walk);
      await undisturbed(t, () => seen(() => walk(viewer, connId)), () => seen(() => sleep(tour.length * rounds * 500)));
      await viewer.close();
    });
  }
});

/** walk goes through the layers and returns how long each took to be shown. */
async function walk(viewer, connId) {
  const waits = [];
  for (let round = 0; round < rounds; round++) {
    for (const height of tour) {
      const asked = Date.now();
      await show(viewer, connId, height);
      waits.push(Date.now() - asked);
      await sleep(300);
    }
  }
  return waits;
}

/** pictureDuring tells what became of the picture meanwhile. */
async function pictureDuring(viewer, mid, walk) {
  await gaps(viewer);
  const first = await inbound(viewer, mid);
  const waits = await walk();
  const last = await inbound(viewer, mid);
  const between = await gaps(viewer);
  const [frames, freezes, dropped] = ["framesDecoded", "freezeCount", "framesDropped"].map((n) => last[n] - first[n]);
  const p95 = percentile(between, 0.95);
  const text = (waits ? `${waits.length} switches, asked to shown p50 ${percentile(waits, 0.5)} ms, p95 ${percentile(waits, 0.95)} ms; ` : "") +
    `${between.length} frames, gap p50 ${percentile(between, 0.5)} ms, p95 ${p95} ms, longest ${Math.max(...between)} ms; ` +
    `freezes ${freezes}, dropped ${dropped}`;
  return { fault: freezes > 0 || 4 * dropped > frames || !(p95 <= 200) ? text : "", text };
}

/** show asks for a height and waits until the picture has it. */
function show(viewer, connId, height) {
  return viewer.until(({ connId, height }) => {
    if (window.testHeight !== height) {
      window.testHeight = height;
      window.__sotto.setWish(connId, "camera", height);
    }
    return window.__sotto.tiles().some((x) => x.connId === connId && x.videoHeight === height);
  }, { connId, height }, `${height} lines`);
}
