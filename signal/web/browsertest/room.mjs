// What the tests ask of a page in a room. Functions given to page.run go to the browser as text: they see only their argument.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { deadlineMs } from "./browsers.mjs";
import { roomLink } from "./link.mjs";

// `task screenshots` writes them into the repository, where the documentation shows them; a test run does not.
const screenshots = process.env.SOTTO_SCREENSHOTS ?? new URL("../../../bin/screenshots", import.meta.url).pathname;

/** Who leaves is gone within this time; whose connection breaks without a word is kept for 20 s. */
export const leaveMs = 15_000;

/** shoot takes a picture of a page; what is seen in it comes from fake cameras. */
export function shoot(page, name) {
  mkdirSync(screenshots, { recursive: true });
  return page.screenshot(join(screenshots, `${name}.png`));
}

/** enter opens a page that joins the room of secret by itself and waits until its media is connected. */
export async function enter(browser, server, secret, query = {}) {
  const page = await browser.open(roomLink(server.page, secret, { autojoin: 1, w: 960, h: 540, fps: 15, ...query }));
  await page.until(() => window.__sotto?.connectionState() === "connected", null, "the media connection");
  page.connId = await page.run(() => window.__sotto.connId());
  return page;
}

/** waitForSlot waits until a slot of page plays the source of another connection and returns its mid. */
export function waitForSlot(page, connId, source) {
  return page.until(({ connId, source }) => window.__sotto.midOf(connId, source), { connId, source }, `the slot of ${source}`);
}

/** inbound returns the inbound-rtp statistics of a mid. */
export function inbound(page, mid) {
  return page.run(async (mid) => {
    const all = await window.__sotto.stats();
    return all.find((s) => s.type === "inbound-rtp" && s.mid === mid) ?? {};
  }, mid);
}

/** waitForPicture waits until frames of mid are decoded, and more than one. */
export function waitForPicture(page, mid) {
  return waitForFrames(page, mid, 6, `decoded frames of mid ${mid}`);
}

/** moreFrames waits until so many more frames of mid are decoded. */
export async function moreFrames(page, mid, count, what = `${count} more frames of mid ${mid}`) {
  const { framesDecoded = 0 } = await inbound(page, mid);
  return waitForFrames(page, mid, framesDecoded + count, what);
}

function waitForFrames(page, mid, least, what) {
  return page.until(async ({ mid, least }) => {
    const all = await window.__sotto.stats();
    return (all.find((s) => s.type === "inbound-rtp" && s.mid === mid)?.framesDecoded ?? 0) >= least;
  }, { mid, least }, what);
}

/** watchPictures notes when pictures of somebody are shown. */
export function watchPictures(page, connId) {
  return page.run((connId) => {
    const video = document.querySelector(`.tile[data-conn-id="${CSS.escape(connId)}"][data-source="camera"] video`);
    window.testShown = [];
    const note = (now) => {
      window.testShown.push(now);
      video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);
  }, connId);
}

/** gaps are the times between two pictures since the last call, in milliseconds. */
export function gaps(page) {
  return page.run(() => {
    const shown = window.testShown.splice(0, window.testShown.length - 1);
    shown.push(...window.testShown, performance.now()); // one that stands counts as well
    return shown.slice(1).map((at, i) => Math.round(at - shown[i]));
  });
}

/** longestGap is the longest of these. */
export const longestGap = async (page) => Math.max(0, ...(await gaps(page)));

/** mostGap is what a picture may stand for on a machine that lets it stand for so long anyway. */
export const mostGap = (usualMs, ms = 500) => Math.max(ms, 3 * usualMs);

/**
 * undisturbed does something with a picture until it goes on all the while, three times at most. What it returns is { fault, text },
 * fault "" for none. After a fault the same page is watched as long without it: a machine that stops pictures by itself gives no verdict.
 */
export async function undisturbed(t, doIt, rest) {
  for (let round = 0; round < 3; round++) {
    const done = await doIt();
    t.diagnostic(done.text);
    if (!done.fault) return;
    const still = await rest();
    t.diagnostic(`without it: ${still.text}`);
    if (still.fault) return;
    if (round === 2) assert.fail(done.fault);
  }
}

/** ciphers returns the SRTP cipher of each transport. */
export function ciphers(page) {
  return page.run(async () => (await window.__sotto.stats()).filter((s) => s.type === "transport").map((s) => s.srtpCipher));
}

/** hashes returns the SHA-256 of the encoded frames that one side of a source or mid has seen so far, plain and sealed. */
export function hashes(page, filter) {
  return page.run((filter) => {
    const lists = window.__sotto.hashes.filter((h) => Object.entries(filter).every(([k, v]) => h[k] === v));
    return { plain: lists.flatMap((h) => h.hashes), sealed: lists.flatMap((h) => h.sealed) };
  }, filter);
}

/** eventually asks until the answer is right, until the deadline at most, and returns the last one: for what no page can see by itself. */
export async function eventually(ask, isRight) {
  for (const end = Date.now() + deadlineMs; ;) {
    const answer = await ask();
    if (isRight(answer) || Date.now() > end) return answer;
    await sleep(200);
  }
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** complaints collects what a page must not have: console errors, CSP reports, foreign requests. */
export async function complaints(page) {
  const inside = await page.run(() => [...window.__sotto.violations, ...window.__sotto.errors]);
  return [...page.complaints, ...inside];
}

/** percentile returns the p-quantile (0..1) of a list of numbers. */
export function percentile(values, p) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))];
}
