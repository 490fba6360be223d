// Signaling is killed and started again: nobody's picture stops, and everybody is back by themselves.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./browsers.mjs";
import { newSecret } from "./link.mjs";
import { complaints, enter, inbound, longestGap, shoot, sleep, waitForPicture, waitForSlot, watchPictures } from "./room.mjs";
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
  const first = await Promise.all(pages.map((page, i) => inbound(page, mids[i])));

  await services.killSignal();
  for (const page of pages) await page.until(() => document.querySelector(".room").dataset.phase === "resuming", null, "the banner");
  await shoot(pages[0], "reconnecting-desktop");
  await sleep(downMs);
  const away = await Promise.all(pages.map((page, i) => inbound(page, mids[i])));
  await services.startSignal();
  const started = Date.now();
  for (const page of pages) await page.until(() => document.querySelector(".room").dataset.phase === "live", null, "the call", 10_000);
  t.diagnostic(`all back ${Date.now() - started} ms after signaling was`);
  assert.ok(Date.now() - started < 5000, "back within 5 s");
  await sleep(1000);

  for (const [i, page] of pages.entries()) {
    const last = await inbound(page, mids[i]);
    assert.ok(away[i].framesDecoded >= first[i].framesDecoded + 15, `${page.browser}: frames while signaling was away: ${first[i].framesDecoded}, ${away[i].framesDecoded}`);
    assert.ok(last.framesDecoded > away[i].framesDecoded + 5, `${page.browser}: frames afterwards`);
    const gap = await longestGap(page);
    t.diagnostic(`${page.browser}: longest time between two pictures ${gap.toFixed(0)} ms, before ${usual[i].toFixed(0)} ms; freezes ${last.freezeCount - first[i].freezeCount}`);
    assert.ok(gap < Math.max(500, 2 * usual[i]), `${page.browser}: ${gap} ms without a new picture`);
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
