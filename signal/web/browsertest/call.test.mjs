// Chromium and Firefox in one room: each sees and hears the other, and nobody else could.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./browsers.mjs";
import { newSecret } from "./link.mjs";
import { ciphers, complaints, enter, eventually, hashes, inbound, leaveMs, moreFrames, waitForPicture, waitForSlot } from "./room.mjs";
import { startSotto } from "./server.mjs";

let server, chromium, firefox;
const secret = newSecret();

before(async () => {
  server = await startSotto();
  [chromium, firefox] = await Promise.all([launch("chromium"), launch("firefox")]);
});
after(async () => {
  await chromium?.close();
  await firefox?.close();
  assert.equal(await server?.stop(), 0, "sotto dev must end cleanly");
});

test("Chromium and Firefox see and hear each other", async (t) => {
  const query = { hash_frames: 1 };
  const pages = [await enter(chromium, server, secret, query), await enter(firefox, server, secret, query)];

  for (const [viewer, publisher] of [[pages[0], pages[1]], [pages[1], pages[0]]]) {
    await t.test(`${viewer.browser} decodes ${publisher.browser}`, async () => {
      const video = await waitForSlot(viewer, publisher.connId, "camera");
      await waitForPicture(viewer, video);
      // The browser's estimate opens the layers one after the other; the top one must come.
      await viewer.until(async ({ connId }) => {
        window.__sotto.setWish(connId, "camera", 540);
        return window.__sotto.tiles().some((x) => x.connId === connId && x.videoHeight === 540);
      }, { connId: publisher.connId }, "the layer of 540 lines");

      await moreFrames(viewer, video, 20);
      const { frameWidth, frameHeight } = await eventually(() => inbound(viewer, video), (s) => s.frameHeight === 540);
      assert.deepEqual([frameWidth, frameHeight], [960, 540]);
      const colours = await viewer.run((id) => window.__sotto.colours(id), publisher.connId);
      assert.ok(colours > 1, `the picture has ${colours} colour`);

      const audio = await waitForSlot(viewer, publisher.connId, "mic");
      const energy = await inbound(viewer, audio);
      const later = await eventually(() => inbound(viewer, audio), (now) => now.packetsReceived >= energy.packetsReceived + 50);
      assert.ok(later.totalAudioEnergy > energy.totalAudioEnergy, `audio energy: ${energy.totalAudioEnergy}, 50 packets later ${later.totalAudioEnergy}`);
      const received = later.packetsReceived - energy.packetsReceived, lost = later.packetsLost - energy.packetsLost;
      assert.ok(received >= 50 && lost <= received / 5, `audio has gaps: ${received} packets, ${lost} lost`);
    });
  }

  for (const page of pages) {
    await t.test(`${page.browser}: SRTP is AES-GCM, every sender and receiver has its transform, the page is quiet`, async () => {
      const used = await ciphers(page);
      assert.ok(used.length > 0 && used.every((c) => /AES_(128|256)_GCM/.test(c)), `ciphers: ${used}`);
      assert.equal(await page.run(() => window.__sotto.untransformed()), 0);
      assert.deepEqual(await complaints(page), []);
      const counters = await page.until(() => window.__sotto.workerStats, null, "the worker's counters");
      assert.equal(counters.dropped.e2ee_auth_fail ?? 0, 0, JSON.stringify(counters));
      assert.equal(counters.dropped.e2ee_malformed ?? 0, 0, JSON.stringify(counters));
    });
  }

  for (const [viewer, publisher] of [[pages[0], pages[1]], [pages[1], pages[0]]]) {
    await t.test(`every frame that ${viewer.browser} opened is one that ${publisher.browser} sealed`, async () => {
      for (const source of ["camera", "mic"]) {
        const mid = await waitForSlot(viewer, publisher.connId, source);
        const got = await hashes(viewer, { side: "receive", mid });
        // The sender reports every 250 ms.
        const sent = await eventually(() => hashes(publisher, { side: "send", source }), ({ plain }) => got.plain.every((h) => plain.includes(h)));
        const plain = new Set(sent.plain), sealed = new Set(sent.sealed);
        assert.ok(got.plain.length > 50, `${source}: ${got.plain.length} frames`);
        assert.deepEqual(got.plain.filter((h) => !plain.has(h)), [], `${source}: plain frames that nobody sent`);
        assert.deepEqual(got.sealed.filter((h) => !sealed.has(h)), [], `${source}: sealed frames that were changed on the way`);
        assert.equal(sent.plain.filter((h) => sealed.has(h)).length, 0, `${source}: a frame went out as it was`);
      }
    });
  }

  await t.test("the metrics show the traffic and its latency", async () => {
    const text = await (await fetch(server.metrics)).text();
    for (const kind of ["audio", "video"]) {
      for (const direction of ["in", "out"]) {
        assert.match(text, new RegExp(`sotto_packets_total\\{direction="${direction}",kind="${kind}"\\} [1-9]`));
        assert.match(text, new RegExp(`sotto_bytes_total\\{direction="${direction}",kind="${kind}"\\} [1-9]`));
      }
      assert.match(text, new RegExp(`sotto_forward_latency_seconds_count\\{kind="${kind}"\\} [1-9]`));
    }
    assert.match(text, /sotto_participants 2\b/);
  });

  await t.test("who leaves is gone at once, and the camera light goes out", async () => {
    const [stays, leaves] = pages;
    await leaves.run(() => document.querySelector(".leave")?.click());
    await stays.until((id) => !window.__sotto.peers().some((p) => p.connId === id), leaves.connId, "the departure", leaveMs);
    await stays.until((id) => !window.__sotto.slots().some((s) => s.connId === id), leaves.connId, "free slots", leaveMs);
  });
});
