// A call as people make it, click by click: new room, pre-join, three participants, a shared screen, a pin, a connection that breaks, leaving.
// The pictures of the documentation are taken on the way; what is seen in them comes from fake cameras.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./browsers.mjs";
import { newSecret, roomLink } from "./link.mjs";
import { complaints, enter, leaveMs, longestGap, moreFrames, mostGap, percentile, shoot, sleep, undisturbed, waitForPicture, waitForSlot, watchPictures } from "./room.mjs";
import { startSotto } from "./server.mjs";

const desktop = { width: 1280, height: 800 };
const phone = { width: 390, height: 844 };
const rounds = 10; // of the join time
const reloads = 5;

let server, chromium, firefox;

before(async () => {
  server = await startSotto();
  [chromium, firefox] = await Promise.all([launch("chromium"), launch("firefox")]);
});
after(async () => {
  await chromium?.close();
  await firefox?.close();
  assert.equal(await server?.stop(), 0, "sotto dev must end cleanly");
});

const button = (page, text) => page.until((text) => [...document.querySelectorAll("button")].find((b) => b.textContent.includes(text) || b.ariaLabel === text) !== undefined, text, `the button ${text}`);
const click = async (page, text) => {
  await button(page, text);
  await page.run((text) => [...document.querySelectorAll("button")].find((b) => b.textContent.includes(text) || b.ariaLabel === text).click(), text);
};
const tile = (page, name) => page.run((name) => window.__sotto.tiles().find((t) => t.name === name) ?? null, name);
const large = (page) => page.run(() => document.querySelector(".tile.featured .name")?.textContent ?? "");
/** link reads what "Copy link" would give: tests have no clipboard. */
const link = (page) => page.run(() => {
  const { roomId, secret } = JSON.parse(sessionStorage.getItem("sotto.room"));
  return `${location.origin}/r/${roomId}?screen=canvas&w=960&h=540#${secret}`;
});

/** join goes through the pre-join screen under a name. */
async function join(page, name) {
  await page.until(() => document.querySelector(".prejoin #name") !== null, null, "the pre-join screen");
  await page.page.focus("#name");
  await page.run(() => document.querySelector("#name").select());
  await page.page.keyboard.type(name);
  await page.until(() => document.querySelector(".preview video")?.videoWidth > 0, null, "the preview");
}

/** leave clicks, and checks that the page has forgotten the room. */
async function leave(page) {
  await click(page, "Leave");
  await page.until(() => document.querySelector(".message h1")?.textContent === "You have left", null, "the farewell");
  assert.equal(await page.run(() => sessionStorage.getItem("sotto.room")), null);
}

test("three participants, from a new room to leaving it", async (t) => {
  const ada = await chromium.open(`${server.page}/?w=960&h=540`);
  await button(ada, "New room");
  await shoot(ada, "start-desktop");
  await click(ada, "New room");
  await join(ada, "  Ada ");
  await shoot(ada, "prejoin-desktop");
  await ada.page.keyboard.press("Enter");
  await ada.until(() => document.querySelector(".room")?.dataset.phase === "live", null, "the room");
  const address = await link(ada);

  const grace = await chromium.open(address);
  await join(grace, "Grace");
  await click(grace, "Join");
  const niels = await firefox.open(address);
  await join(niels, "Niels");
  await click(niels, "Join");

  await t.test("everybody sees everybody, by name, encrypted, with a picture", async () => {
    for (const [page, others] of [[ada, ["Grace", "Niels"]], [grace, ["Ada", "Niels"]], [niels, ["Ada", "Grace"]]]) {
      for (const name of others) {
        await page.until((name) => window.__sotto.tiles().some((t) => t.name === name && t.hasPicture && t.live && t.state === "encrypted"), name, `${name}'s picture`);
      }
      await page.until(() => document.querySelector(".summary").textContent === "3 people, end-to-end encrypted", null, "the summary");
    }
    assert.equal(await niels.run(() => localStorage.getItem("sotto.name")), "Niels");
    await sleep(1500); // a layer that fits
    await shoot(ada, "grid-desktop");
  });

  await t.test("a shared screen is large, for Firefox too", async () => {
    await grace.page.keyboard.press("p");
    for (const page of [ada, niels]) {
      await page.until(() => window.__sotto.tiles().some((t) => t.name === "Grace, screen" && t.hasPicture && t.videoWidth === 1280), null, "the screen");
      assert.equal(await large(page), "Grace, screen");
    }
    await shoot(ada, "screen-desktop");
    assert.equal(await grace.run(() => window.__sotto.untransformed()), 0);
  });

  await t.test("a pin wins, and a key takes it back; sharing ends", async () => {
    const place = await ada.run(() => 1 + window.__sotto.tiles().findIndex((t) => t.name === "Niels"));
    await ada.page.keyboard.press(String(place));
    assert.equal(await large(ada), "Niels");
    await ada.page.keyboard.press(String(place));
    assert.equal(await large(ada), "Grace, screen");
    await grace.page.keyboard.press("p");
    for (const page of [ada, niels]) await page.until(() => !window.__sotto.tiles().some((t) => t.source === "screen"), null, "the end of sharing");
    await ada.page.keyboard.press("l");
    await ada.until(() => document.querySelector(".tile.featured") !== null, null, "the speaker view");
    await ada.page.keyboard.press("l");
    assert.equal(await large(ada), "");
  });

  await t.test("the mute state is seen, and statistics are shown", async () => {
    await niels.page.keyboard.press("m");
    await ada.until(() => [...document.querySelectorAll(".tile")].some((x) => x.querySelector(".name").textContent === "Niels" && !x.querySelector(".muted").hidden), null, "the mute state");
    await ada.page.keyboard.press("s");
    await ada.until(() => /\d+ × \d+/.test(document.querySelector(".panel tbody")?.textContent ?? ""), null, "figures");
    await sleep(1200);
    await shoot(ada, "statistics-desktop");
    await ada.page.keyboard.press("s");
  });

  await t.test("chat and people, by keyboard alone", async () => {
    const open = (page, panel) => page.run((panel) => !document.querySelector(panel).hidden, panel);
    await ada.page.keyboard.press("c");
    await ada.page.keyboard.type("Is the c in chat a key? No.");
    await ada.page.keyboard.press("Enter");
    for (const page of [grace, niels]) {
      await page.until(() => [...document.querySelectorAll("button")].some((b) => b.ariaLabel === "Chat, 1 new" && b.ariaExpanded !== "true"), null, "the count of what is new");
      await page.page.keyboard.press("c");
      assert.equal(await page.run(() => document.querySelector(".lines li .text").textContent), "Is the c in chat a key? No.");
    }
    for (const page of [ada, grace, niels]) {
      await page.page.keyboard.press("Escape"); // from the field, where a person types
      assert.equal(await open(page, ".chat"), false);
      await page.page.keyboard.press("u");
      await page.until(() => document.querySelectorAll(".people-panel li").length === 3 && document.querySelector(".people-panel .digits") !== null, null, "the people and the code");
    }
    const codes = await Promise.all([ada, grace, niels].map((page) => page.run(() => document.querySelector(".people-panel .digits").textContent)));
    assert.equal(new Set(codes).size, 1, "all see one code");
    for (const page of [ada, grace, niels]) {
      await page.page.keyboard.press("Escape");
      assert.equal(await open(page, ".people-panel"), false);
    }
  });

  for (const [page, who] of [[ada, "Chromium"], [niels, "Firefox"]]) {
    await t.test(`${who} comes back after its connection broke, and the picture never stops`, async (t) => {
      const before = await page.run(() => window.__sotto.connId());
      const peer = await page.run(() => window.__sotto.peers().find((p) => p.name !== "Grace").connId);
      const mid = await waitForSlot(page, peer, "camera");
      await page.page.bringToFront(); // others hardly render
      await sleep(1500); // the last change of layout has settled
      await watchPictures(page, peer);
      await sleep(1500);
      const usual = await longestGap(page); // what this machine does to pictures anyway
      const pictureDuring = async (act) => {
        await longestGap(page);
        await act();
        await moreFrames(page, mid, 5);
        const gap = await longestGap(page);
        return { fault: gap > mostGap(usual) ? `the picture stood for ${gap} ms` : "", text: `longest time between two pictures ${gap} ms, before ${usual} ms` };
      };
      await undisturbed(t, () => pictureDuring(async () => {
        await page.run(() => window.__sotto.breakSocket());
        await sleep(1500);
        await page.until(() => document.querySelector(".room").dataset.phase === "live", null, "the call");
      }), () => pictureDuring(() => sleep(2000)));
      assert.equal(await page.run(() => window.__sotto.connId()), before);
      assert.equal(await page.run(() => window.__sotto.sessions), 1);
      // Signaling works: the others are told of the microphone.
      const name = who === "Chromium" ? "Ada" : "Niels";
      const muted = await grace.run((name) => !document.querySelector(`.tile[data-conn-id="${CSS.escape(window.__sotto.peers().find((p) => p.name === name).connId)}"] .muted`).hidden, name);
      await page.page.keyboard.press("m");
      await grace.until(({ name, muted }) => [...document.querySelectorAll(".tile")].some((x) => x.querySelector(".name").textContent === name && x.querySelector(".muted").hidden === muted), { name, muted }, "the change of the microphone");
    });
  }

  await t.test("media that broke gets a new peer connection under the same keys", async () => {
    await ada.run(() => window.__sotto.breakMedia());
    await ada.until(() => window.__sotto.connectionState() === "connected" && document.querySelector(".room").dataset.phase === "live", null, "the media");
    await ada.until(() => window.__sotto.tiles().every((t) => t.hasPicture && t.live), null, "the pictures");
    const connId = await ada.run(() => window.__sotto.connId());
    await waitForPicture(grace, await waitForSlot(grace, connId, "camera"));
    assert.equal(await ada.run(() => window.__sotto.sessions), 1);
  });

  await t.test("no report of a policy, no error, no request to anybody else, no frame that failed", async () => {
    for (const page of [ada, grace, niels]) {
      assert.deepEqual(await complaints(page), []);
      const { dropped } = await page.run(() => window.__sotto.workerStats);
      assert.equal((dropped.e2ee_auth_fail ?? 0) + (dropped.e2ee_malformed ?? 0) + (dropped.message_refused ?? 0), 0, JSON.stringify(dropped));
    }
  });

  await t.test("who leaves is gone", async () => {
    await leave(niels);
    await ada.until(() => !window.__sotto.tiles().some((t) => t.name === "Niels"), null, "the departure", leaveMs);
    await leave(ada);
    await leave(grace);
  });
});

test("the same on a phone-sized screen", async () => {
  const secret = newSecret();
  const others = [await enter(chromium, server, secret, { name: "Grace", source: "canvas", screen: "canvas" }), await enter(chromium, server, secret, { name: "Niels" })];
  const ada = await chromium.open(`${server.page}/`, phone);
  await button(ada, "New room");
  await shoot(ada, "start-phone");
  const address = new URL(roomLink(server.page, secret, { w: 960, h: 540 }));
  await ada.goto(address.href);
  await join(ada, "Ada");
  await shoot(ada, "prejoin-phone");
  await click(ada, "Join");
  await ada.until(() => window.__sotto.tiles().filter((t) => t.hasPicture && t.live).length === 2, null, "two pictures");
  await sleep(1000);
  await shoot(ada, "grid-phone");
  await others[0].page.keyboard.press("p");
  await ada.until(() => window.__sotto.tiles().some((t) => t.source === "screen" && t.hasPicture), null, "the screen");
  await sleep(500);
  await shoot(ada, "screen-phone");
  const overflow = await ada.run(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(overflow, 0, "the page scrolls sideways");
  assert.deepEqual(await complaints(ada), []);
  for (const page of [...others, ada]) await page.close();
});

test("from the click on Join to the first decoded frame", async (t) => {
  const secret = newSecret();
  const publisher = await enter(chromium, server, secret, { name: "Grace", source: "canvas" });
  const times = [];
  for (let i = 0; i < rounds; i++) {
    const page = await chromium.open(roomLink(server.page, secret, { w: 960, h: 540 }));
    await page.until(() => document.querySelector(".preview video")?.videoWidth > 0, null, "the preview");
    await page.run(() => {
      const start = performance.now();
      const look = () => {
        const video = document.querySelector(".tile video");
        if (video?.videoWidth > 0) window.testJoined = performance.now() - start;
        else requestAnimationFrame(look);
      };
      [...document.querySelectorAll("button")].find((b) => b.textContent === "Join").click();
      look();
    });
    times.push(await page.until(() => window.testJoined, null, "the first frame"));
    await page.close();
  }
  await publisher.close();
  t.diagnostic(`join: p50 ${percentile(times, 0.5).toFixed(0)} ms, longest ${Math.max(...times).toFixed(0)} ms, ${times.length} joins`);
});

test("from a reload in a call to the first decoded frame", async (t) => {
  const secret = newSecret();
  const publisher = await enter(chromium, server, secret, { name: "Grace", source: "canvas" });
  const page = await enter(chromium, server, secret, { name: "Ada" });
  const times = [];
  for (let i = 0; i < reloads; i++) {
    await page.until(() => window.__sotto.tiles().some((t) => t.hasPicture && t.live), null, "the picture");
    await page.page.reload();
    // The clock of a page starts with the navigation.
    times.push(await page.until(() => [...document.querySelectorAll(".tile video")].some((v) => v.videoWidth > 0) && performance.now(), null, "the picture after the reload"));
  }
  t.diagnostic(`reload: p50 ${percentile(times, 0.5).toFixed(0)} ms, longest ${Math.max(...times).toFixed(0)} ms, ${times.length} reloads`);
  assert.deepEqual(await complaints(page), []);
  for (const p of [publisher, page]) await p.close();
});
