// AV1 and VP9 between real browsers: everybody sees everybody, layers switch, and the codec follows who is there.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./browsers.mjs";
import { newSecret } from "./link.mjs";
import { enter, inbound, sleep, undisturbed, waitForPicture, waitForSlot } from "./room.mjs";
import { startSotto } from "./server.mjs";

const tour = [540, 135, 270, 540, 270, 135];

let chromium, firefox;

before(async () => {
  [chromium, firefox] = await Promise.all([launch("chromium"), launch("firefox")]);
});
after(async () => {
  await Promise.all([chromium?.close(), firefox?.close()]);
});

/** call runs body in a room of two Chromium pages and a Firefox page, in which a codec comes first. */
async function call(codec, body) {
  const server = await startSotto("--video-codecs", codec);
  const pages = [];
  try {
    const secret = newSecret();
    const join = async (browser, query) => {
      const page = await enter(browser, server, secret, query);
      pages.push(page);
      return page;
    };
    const a = await join(chromium, {});
    const b = await join(chromium, { w: 320, h: 180, fps: 10 });
    const f = await join(firefox, { w: 480, h: 270 });
    await body({ a, b, f, join });
  } finally {
    for (const p of pages) await p.close();
    assert.equal(await server.stop(), 0, "sotto dev must end cleanly");
  }
}

/** watch waits for a page's picture of another in a codec, and returns its mid. */
async function watch(page, other, codec, height = 270) {
  const mid = await waitForSlot(page, other.connId, "camera");
  await page.run(({ id, height }) => window.__sotto.setWish(id, "camera", height), { id: other.connId, height });
  await waitForPicture(page, mid);
  await inCodec(page, mid, codec);
  return mid;
}

/** inCodec waits until frames in this codec are decoded. */
async function inCodec(page, mid, codec) {
  await page.until(async ({ mid, codec }) => {
    const all = await window.__sotto.stats();
    const s = all.find((s) => s.type === "inbound-rtp" && s.mid === mid);
    const same = all.find((c) => c.id === s?.codecId)?.mimeType === `video/${codec}`;
    if (!same || window.testCodec?.codec !== codec) {
      window.testCodec = { codec, from: s?.framesDecoded ?? 0 };
      return false;
    }
    return s.framesDecoded >= window.testCodec.from + 5;
  }, { mid, codec }, `five frames in ${codec}`);
}

/** walk takes a viewer through the layers of a's camera and tells about the picture meanwhile. */
async function walk(t, viewer, a, mid, name) {
  await sleep(1000); // the first seconds are the jitter buffer's
  const pictureDuring = async (what, act) => {
    const first = await inbound(viewer, mid);
    await act();
    const last = await inbound(viewer, mid);
    const [frames, freezes, dropped, requests] = ["framesDecoded", "freezeCount", "framesDropped", "pliCount"].map((n) => last[n] - first[n]);
    const text = `${name}: ${what}, ${frames} frames, freezes ${freezes}, dropped ${dropped}, key frame requests ${requests}`;
    return { fault: freezes > 0 || 4 * dropped > frames ? text : "", text };
  };
  const tourOf = async () => {
    for (const height of tour) {
      await viewer.until(({ id, height }) => {
        if (window.testHeight !== height) {
          window.testHeight = height;
          window.__sotto.setWish(id, "camera", height);
        }
        // Spatial layers have even sizes.
        return window.__sotto.tiles().some((x) => x.connId === id && Math.abs(x.videoHeight - height) <= 1);
      }, { id: a.connId, height }, `${height} lines of ${name}`);
      await sleep(400);
    }
  };
  await undisturbed(t, () => pictureDuring(`${tour.length} switches`, tourOf), () => pictureDuring("no switch", () => sleep(tour.length * 600)));
}

test("AV1: simulcast, spatial layers, and VP8 while somebody is there who knows nothing else", async (t) => {
  await call("av1", async ({ a, b, f, join }) => {
    const mid = await watch(b, a, "AV1", 540);
    await watch(a, f, "AV1");
    const mids = { f: await watch(f, a, "AV1"), a: await waitForSlot(a, f.connId, "camera") };
    await walk(t, b, a, mid, "simulcast, Chromium");

    const old = await join(chromium, { w: 320, h: 180, fps: 10, codecs: "vp8" });
    const before = await inbound(b, mid);
    await watch(old, a, "VP8", 540);
    await watch(old, f, "VP8");
    await inCodec(b, mid, "VP8");
    await inCodec(f, mids.f, "VP8");
    await inCodec(a, mids.a, "VP8");
    await old.close();
    await inCodec(b, mid, "AV1");
    await inCodec(f, mids.f, "AV1");
    const changed = await inbound(b, mid);
    t.diagnostic(`two changes of codec: freezes ${changed.freezeCount - before.freezeCount}`);

    await a.run(async () => { // the page has no use for it: Firefox does not take the layers apart
      const { media } = window.__sotto.session;
      media.configure = () => Promise.resolve();
      const { sender } = media.camera;
      const p = sender.getParameters();
      for (const e of p.encodings) {
        Object.assign(e, { active: e.rid === "q" }, e.rid === "q" && { scaleResolutionDownBy: 1, maxBitrate: 1_700_000, scalabilityMode: "L3T3_KEY" });
      }
      await sender.setParameters(p);
    });
    await sleep(2000); // until the layers that have ended count as gone
    await walk(t, b, a, mid, "L3T3_KEY, Chromium");
    assert.deepEqual(await sending(a), [["q", "video/AV1", "L3T3_KEY"]]);
  });
});

test("VP9: one stream with spatial layers", async (t) => {
  await call("vp9", async ({ a, b, f }) => {
    const mid = await watch(b, a, "VP9", 540);
    const ofFirefox = await watch(f, a, "VP9", 540);
    await watch(a, f, "VP9");
    assert.deepEqual(await sending(a), [["q", "video/VP9", "L3T3_KEY"]]);
    await walk(t, b, a, mid, "Chromium");
    await walk(t, f, a, ofFirefox, "Firefox");
  });
});

/** sending lists rid, codec and scalability mode of what a page sends of its camera. */
function sending(page) {
  return page.run(async () => {
    const all = await window.__sotto.stats();
    return all.filter((s) => s.type === "outbound-rtp" && s.kind === "video" && s.active)
      .map((s) => [s.rid, all.find((c) => c.id === s.codecId)?.mimeType, s.scalabilityMode]);
  });
}
