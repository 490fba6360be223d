// Real browsers behind one small interface, so that a test reads the same for both.
//
//   const b = await launch("chromium" | "firefox");   const p = await b.open(url);
//   await p.run(fn, arg)      evaluates fn(arg) in the page and returns its JSON value
//   await p.until(fn, arg, what, ms)   polls fn(arg) in the page until it is truthy, and returns it
//
// The deadline is for a busy machine: what comes late is not wrong. A wait that fails tells what all open pages know of
// their calls.
//
// Every page collects console errors, CSP reports and requests that left the page's origin: tests look at p.complaints.

import { mkdtemp, rm } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import puppeteer from "puppeteer-core";

const programs = {
  chromium: ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"],
  firefox: ["/usr/bin/firefox-esr", "/usr/bin/firefox"],
};

// A fresh profile for every launch, software rendering, a fake camera and microphone, and no connection to anybody else.
const chromiumFlags = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required",
  // A tab that is not in front must go on rendering: a room has several.
  "--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
];
const firefoxPrefs = {
  "media.navigator.streams.fake": true,
  "media.navigator.permission.disabled": true,
  "media.autoplay.default": 0,
  "datareporting.policy.dataSubmissionEnabled": false,
  "app.normandy.enabled": false,
  "browser.safebrowsing.update.enabled": false,
};

/** What a test waits for comes within this time, or not at all. */
export const deadlineMs = 60_000;

const openPages = new Set(); // of all browsers

/** program finds where a browser is installed. */
export function program(name) {
  const found = programs[name].find(existsSync);
  if (!found) throw new Error(`${name} is missing: looked at ${programs[name].join(", ")}`);
  return found;
}

/**
 * launch starts a browser. For Chromium a test may add flags, a script that runs in every page before the page's own, and a
 * program that starts it, as one that puts it into a network namespace.
 */
export async function launch(name, { viewport = { width: 1280, height: 800 }, ...options } = {}) {
  return name === "chromium" ? launchChromium(viewport, options) : launchFirefox(viewport);
}

async function launchChromium(viewport, { flags = [], script, starter } = {}) {
  const profile = await mkdtemp(join(tmpdir(), "sotto-chromium-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: starter ?? program("chromium"), headless: true, args: [...chromiumFlags, ...flags], viewport, timeout: deadlineMs,
  });
  if (script) await context.addInitScript(script);
  return {
    name: "chromium",
    async open(url, size) {
      const page = await context.newPage();
      if (size) await page.setViewportSize(size);
      return wrap("chromium", page, url, (path) => page.screenshot({ path }));
    },
    async close() {
      await context.close();
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

async function launchFirefox(viewport) {
  const browser = await puppeteer.launch({
    browser: "firefox", executablePath: program("firefox"), headless: true, extraPrefsFirefox: firefoxPrefs,
    defaultViewport: viewport, timeout: deadlineMs,
  });
  return {
    name: "firefox",
    async open(url, size) {
      const page = await browser.newPage();
      if (size) await page.setViewport(size);
      return wrap("firefox", page, url, (path) => page.screenshot({ path }));
    },
    close: () => browser.close(),
  };
}

/** callState is what a page knows of its call: no secret, and no names but those that a test gave. It runs in the page. */
async function callState() {
  const call = window.__sotto;
  const short = (connId) => connId.slice(0, 6);
  const seen = {
    age_s: Math.round(performance.now() / 1000),
    phase: document.querySelector(".room")?.dataset.phase ?? document.querySelector("h1")?.textContent,
    problems: [...document.querySelectorAll("[data-problem]")].map((e) => e.dataset.problem),
  };
  if (!call?.connId()) return seen;
  const { state, epoch, members, knocks } = call.group;
  const media = (await call.stats()).filter((s) => /^(in|out)bound-rtp$/.test(s.type) && (s.packetsReceived ?? s.packetsSent) > 0);
  return {
    ...seen, self: short(call.connId()), media: call.connectionState(), sessions: call.sessions,
    group: { state, epoch, members: members.map((m) => `${short(m.connId)} ${m.name}`), knocks: knocks.length, notices: call.notices },
    peers: call.peers().map((p) => `${short(p.connId)} ${p.name}: ${p.state}, ${p.tracks.map((t) => (t.muted ? `(${t.source})` : t.source)).join(" ")}`),
    tiles: call.tiles().map((t) => `${short(t.connId)} ${t.source}: ${t.videoHeight} lines${t.hasPicture ? ", picture" : ""}${t.live ? ", live" : ""}`),
    slots: call.slots().filter((s) => s.connId).map((s) => `${s.mid}: ${short(s.connId)} ${s.source} ${s.paused}`),
    received: media.filter((s) => s.type === "inbound-rtp").map((s) => `${s.mid}: ${s.packetsReceived} packets, ${s.framesDecoded ?? "no"} frames`),
    sent: media.filter((s) => s.type === "outbound-rtp").map((s) => `${s.kind} ${s.rid ?? ""}: ${s.packetsSent} packets, ${s.framesEncoded ?? "no"} frames`),
    worker: call.workerStats, errors: call.errors,
  };
}

/** callStates tells what all open pages know of their calls, a line for each. */
async function callStates() {
  const lines = [...openPages].map(async ({ browser, page }) => {
    const silence = new Promise((_, reject) => setTimeout(reject, 5000, new Error("no answer")).unref());
    const state = await Promise.race([page.evaluate(callState), silence]).catch((e) => ({ error: e.message }));
    return `  ${browser}: ${JSON.stringify(state)}`;
  });
  return (await Promise.all(lines)).join("\n");
}

async function wrap(browser, page, url, screenshot) {
  const origin = new URL(url).origin;
  const complaints = [];
  page.on("console", (m) => {
    if (m.type() === "error" || /Content.Security.Policy|TrustedScript|Trusted Type/i.test(m.text())) complaints.push(`console: ${m.text()}`);
  });
  page.on("pageerror", (e) => complaints.push(`page error: ${e.message}`));
  page.on("request", (r) => {
    const u = new URL(r.url());
    const local = u.protocol === "blob:" || u.protocol === "data:" || u.protocol === "about:";
    if (!local && u.host !== new URL(origin).host) complaints.push(`request to another origin: ${u.host}`);
  });
  page.setDefaultTimeout(deadlineMs);
  await page.goto(url);
  const p = {
    browser, page, complaints, screenshot,
    run: (fn, arg) => page.evaluate(fn, arg),
    async until(fn, arg, what, ms = deadlineMs) {
      const end = Date.now() + ms;
      for (;;) {
        let last;
        try {
          last = await page.evaluate(fn, arg);
        } catch (e) {
          if (Date.now() > end) throw e;
        }
        if (last) return last;
        if (Date.now() > end) throw new Error(`${browser}: ${what} did not come true within ${ms} ms\n${await callStates()}`);
        await new Promise((r) => setTimeout(r, 100));
      }
    },
    async goto(to) { await page.goto(to); },
    close: () => page.close(),
  };
  openPages.add(p);
  page.on("close", () => openPages.delete(p));
  return p;
}

