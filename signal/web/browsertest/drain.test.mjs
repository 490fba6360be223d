// The media node of a call is emptied: both pictures go on over another node, by themselves and without a word to the persons.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./browsers.mjs";
import { newSecret } from "./link.mjs";
import { complaints, enter, longestGap, sleep, waitForPicture, waitForSlot, watchPictures } from "./room.mjs";
import { startServices } from "./services.mjs";

let services, chromium, firefox;

before(async () => {
  services = await startServices("--drain-seconds", "30");
  [chromium, firefox] = await Promise.all([launch("chromium"), launch("firefox")]);
});
after(async () => {
  await chromium?.close();
  await firefox?.close();
  await services?.stop();
});

test("a call moves to another media node", async (t) => {
  const secret = newSecret();
  const pages = [await enter(chromium, services, secret, { name: "Ada" }), await enter(firefox, services, secret, { name: "Niels" })];
  const mids = [];
  for (const [i, page] of pages.entries()) {
    mids[i] = await waitForSlot(page, pages[1 - i].connId, "camera");
    await waitForPicture(page, mids[i]);
  }
  await sleep(2000); // the first seconds are those of the jitter buffer and the layers
  for (const [i, page] of pages.entries()) {
    await watchPictures(page, pages[1 - i].connId);
    await page.run(() => {
      const room = document.querySelector(".room");
      window.testPhases = [];
      new MutationObserver(() => window.testPhases.push(room.dataset.phase)).observe(room, { attributeFilter: ["data-phase"] });
    });
  }
  await sleep(2000);
  const usual = await Promise.all(pages.map(longestGap)); // what this machine does to pictures anyway

  // And on again soon afterwards, as when all nodes are updated.
  let node = services.node;
  for (const moved of [2, 4]) {
    const next = services.startNode("--drain-seconds", "30");
    await services.says('sotto_nodes{state="running"} 2');
    await Promise.all(pages.map(longestGap));
    const told = Date.now();
    assert.equal(await node.end("SIGTERM"), 0, "the node ends well");
    t.diagnostic(`the node was empty after ${Date.now() - told} ms`);
    node = next;
    await services.says(`sotto_drain_participants_total{result="moved"} ${moved}`);
    await services.says('sotto_drain_participants_total{result="cut"} 0');
    for (const [i, page] of pages.entries()) {
      const other = pages[1 - i];
      await page.until((id) => window.__sotto.tiles().some((t) => t.connId === id && t.hasPicture && t.live), other.connId, "the picture on the other node");
      await waitForPicture(page, await waitForSlot(page, other.connId, "camera"));
    }
    await sleep(1000);
    for (const [i, page] of pages.entries()) {
      const gap = await longestGap(page);
      t.diagnostic(`${page.browser}: longest time between two pictures ${gap} ms, before ${usual[i]} ms`);
      assert.deepEqual(await page.run(() => window.testPhases), [], `${page.browser}: nothing is said`);
      assert.ok(gap < 5000, `${page.browser}: ${gap} ms without a new picture`);
    }
  }
  for (const page of pages) {
    assert.equal(await page.run(() => window.__sotto.connId()), page.connId, "the same stay");
    assert.equal(await page.run(() => window.__sotto.sessions), 1, "the same keys");
    assert.equal(await page.run(() => window.__sotto.untransformed()), 0);
    const { dropped } = await page.run(() => window.__sotto.workerStats);
    assert.equal((dropped.e2ee_auth_fail ?? 0) + (dropped.envelope_refused ?? 0), 0, JSON.stringify(dropped));
    assert.deepEqual(await complaints(page), []);
  }
});
