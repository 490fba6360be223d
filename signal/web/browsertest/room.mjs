// What the tests ask of a page in a room. Functions given to page.run go to the browser as text: they see only their argument.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { roomLink } from "./link.mjs";

// `task screenshots` writes them into the repository, where the documentation shows them; a test run does not.
const screenshots = process.env.SOTTO_SCREENSHOTS ?? new URL("../../../bin/screenshots", import.meta.url).pathname;

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

/** waitForPicture waits until frames of mid are decoded, and again after a second, so that it is no single picture. */
export async function waitForPicture(page, mid, ms = 20_000) {
  await page.until(async (mid) => {
    const all = await window.__sotto.stats();
    return (all.find((s) => s.type === "inbound-rtp" && s.mid === mid)?.framesDecoded ?? 0) > 5;
  }, mid, `decoded frames of mid ${mid}`, ms);
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

/** longestGap is the longest time between two pictures since the last call, in milliseconds. */
export function longestGap(page) {
  return page.run(() => {
    const shown = window.testShown.splice(0, window.testShown.length - 1);
    shown.push(window.testShown[0]);
    return Math.max(...shown.slice(1).map((at, i) => at - shown[i]));
  });
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
