// Signaling is killed and started again: nobody's picture stops, and everybody is back by themselves.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./browsers.mjs";
import { newSecret } from "./link.mjs";
import { complaints, enter, longestGap, moreFrames, mostGap, shoot, sleep, undisturbed, waitForPicture, waitForSlot, watchPictures } from "./room.mjs";
import { startServices } from "./services.mjs";

const downMs = 2000;

let services, chromium, firefox;

before(async () => {
  services = await startServices();
  [chromium, firefox] = await Promise.all([launch("chromium"), launch("firefox")]);
});
after(async () => {
  await chromium?.close();
  await firefox?.close();
  await services?.stop();
});

test("kill -9 of signaling interrupts nothing", async (t) => {
  const secret = newSecret();
  const pages = [await enter(chromium, services, secret, { name: "Ada" }), await enter(firefox, services, secret, { name: "Niels" })];
  const mids = [];
  for (const [i, page] of pages.entries()) {
    mids[i] = await waitForSlot(page, pages[1 - i].connId, "camera");
    await waitForPicture(page, mids[i]);
  }
  await sleep(2000); // the first seconds are those of the jitter buffer and the layers
  for (const [i, page] of pages.entries()) await watchPictures(page, pages[1 - i].connId);
  await sleep(downMs);
  const usual = await Promise.all(pages.map(longestGap)); // what this machine does to pictures anyway

  const restart = async () => {
    await services.killSignal();
    for (const page of pages) await page.until(() => document.querySelector(".room").dataset.phase === "resuming", null, "the banner");
    await shoot(pages[0], "reconnecting-desktop");
    await sleep(downMs);
    for (const [i, page] of pages.entries()) await moreFrames(page, mids[i], 5, "frames while signaling is away");
    await services.startSignal();
    const started = Date.now();
    for (const page of pages) await page.until(() => document.querySelector(".room").dataset.phase === "live", null, "the call");
    t.diagnostic(`all back ${Date.now() - started} ms after signaling was`);
    for (const [i, page] of pages.entries()) await moreFrames(page, mids[i], 5, "frames afterwards");
  };
  const pictureDuring = async (what) => {
    await Promise.all(pages.map(longestGap));
    await what();
    const gaps = await Promise.all(pages.map(longestGap));
    const text = pages.map(({ browser }, i) => `${browser}: longest time between two pictures ${gaps[i]} ms, before ${usual[i]} ms`).join("; ");
    return { fault: gaps.some((gap, i) => gap > mostGap(usual[i])) ? text : "", text };
  };
  await undisturbed(t, () => pictureDuring(restart), () => pictureDuring(() => sleep(4 * downMs)));

  for (const page of pages) {
    assert.equal(await page.run(() => window.__sotto.connId()), page.connId);
    assert.equal(await page.run(() => window.__sotto.sessions), 1);
    const { dropped } = await page.run(() => window.__sotto.workerStats);
    assert.equal((dropped.e2ee_auth_fail ?? 0) + (dropped.envelope_refused ?? 0), 0, JSON.stringify(dropped));
    assert.deepEqual((await complaints(page)).filter((c) => !/WebSocket|can.t establish a connection/i.test(c)), []);
  }

  // A newcomer meets everybody, and who was there meets the newcomer.
  const third = await enter(chromium, services, secret, { name: "Grace" });
  for (const page of pages) {
    await page.until(() => window.__sotto.tiles().some((t) => t.name === "Grace" && t.hasPicture && t.live), null, "the newcomer's picture");
    await third.until((id) => window.__sotto.tiles().some((t) => t.connId === id && t.hasPicture && t.live), page.connId, "the picture of who was there");
  }
});
