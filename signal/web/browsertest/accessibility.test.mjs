// axe looks at every screen, in light and dark, on a desktop and on a phone: nothing serious, nothing critical.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import axe from "axe-core";
import { launch } from "./browsers.mjs";
import { newSecret, roomLink } from "./link.mjs";
import { complaints, enter } from "./room.mjs";
import { startSotto } from "./server.mjs";

const sizes = { desktop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };
const schemes = ["light", "dark"];
const standards = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

// Goes into every page before its own scripts and past its Content-Security-Policy, as debuggers do; ?browser= takes something away.
const script = `${axe.source}
switch (new URLSearchParams(location.search).get("browser")) {
  case "denies": navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("", "NotAllowedError")); break;
  case "old": delete window.RTCRtpScriptTransform;
}`;

let server, chromium;

before(async () => {
  server = await startSotto();
  chromium = await launch("chromium", { script });
});
after(async () => {
  await chromium?.close();
  assert.equal(await server?.stop(), 0, "sotto dev must end cleanly");
});

const moderate = new Map(); // by rule: the screens

/** audit runs axe on what a page shows now, in all schemes and sizes. */
async function audit(page, screen) {
  const grave = [];
  await page.page.bringToFront(); // others hardly render
  for (const [size, viewport] of Object.entries(sizes)) {
    await page.page.setViewportSize(viewport);
    for (const colorScheme of schemes) {
      // Colours that are still changing have no contrast to speak of.
      await page.page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      const found = await page.run(async (standards) => {
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        const { violations } = await window.axe.run(document, { runOnly: standards, rules: { "target-size": { enabled: true } }, resultTypes: ["violations"] });
        return violations.map(({ id, impact, help, nodes }) => ({ id, impact, help, nodes: nodes.map((n) => `${n.target.join(" ")}: ${[...n.any, ...n.all, ...n.none].map((c) => c.message).join("; ")}`) }));
      }, standards);
      for (const { id, impact, help, nodes } of found) {
        if (impact === "serious" || impact === "critical") grave.push(`${screen}, ${size}, ${colorScheme}: ${id} (${impact}): ${help}\n    ${nodes.join("\n    ")}`);
        else moderate.set(id, (moderate.get(id) ?? new Set()).add(screen));
      }
    }
    // WCAG 1.4.10: nobody scrolls in two directions.
    const overflow = await page.run(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (overflow > 0) grave.push(`${screen}, ${size}: scrolls sideways by ${overflow} px`);
  }
  assert.equal(grave.length, 0, grave.join("\n"));
}

/** seen waits until a page has an element; text: that says this. */
const seen = (page, selector, text = "") => page.until(({ selector, text }) => [...document.querySelectorAll(selector)].some((e) => e.checkVisibility() && e.textContent.includes(text)), { selector, text }, `${selector} ${text}`);
const open = (query = {}, secret = newSecret()) => chromium.open(roomLink(server.page, secret, query));

/** visit shows a screen of a page of its own. */
async function visit(t, screen, opening, selector, text) {
  await t.test(screen, async () => {
    const page = await opening();
    await seen(page, selector, text);
    await audit(page, screen);
    assert.deepEqual(await complaints(page), []);
    await page.close();
  });
}

test("nothing serious or critical", async (t) => {
  await visit(t, "start", () => chromium.open(`${server.page}/`), ".start");
  await visit(t, "before joining", () => open({ w: 960, h: 540 }), ".preview video");
  await visit(t, "before joining, no permission", () => open({ browser: "denies" }), ".notices .notice");
  await visit(t, "an old browser", () => open({ browser: "old" }), "[data-problem=browser_no_e2ee]");
  await visit(t, "half a link", () => chromium.open(roomLink(server.page, newSecret()).split("#")[0]), "[data-problem=link_incomplete]");

  const secret = newSecret();
  const ada = await enter(chromium, server, secret, { name: "Ada", w: 640, h: 360 });
  const shows = (screen, page, selector, text) => t.test(screen, async () => {
    await seen(page, selector, text);
    await audit(page, screen);
  });
  const press = (page, key) => page.page.keyboard.press(key);

  await shows("alone in the room", ada, ".alone", "Nobody else");
  await ada.run(() => window.__sotto.group.setPolicy(false, true));
  await ada.until(() => window.__sotto.group.knock, null, "the policy");
  const grace = await enter(chromium, server, secret, { name: "Grace", source: "canvas", screen: "canvas", w: 640, h: 360 });
  await shows("somebody knocks", ada, ".knocks .notice", "wants to come in");
  await shows("waiting to be let in", grace, "[data-problem=waiting_to_be_let_in]");
  await ada.run(() => document.querySelector(".knocks .primary").click());
  for (const page of [ada, grace]) await page.until(() => window.__sotto.tiles().some((t) => t.hasPicture && t.live), null, "the picture");

  await shows("two in the room", ada, ".tile .name", "Grace");
  await press(grace, "m");
  await press(grace, "v");
  await press(grace, "h");
  await press(ada, "1");
  await shows("pinned, muted, a hand, no camera", ada, ".tile.featured .hand");
  await press(ada, "1");
  await press(grace, "p");
  await shows("a shared screen", ada, ".tile.featured .name", "Grace, screen");
  await press(grace, "p");

  await ada.run(() => void window.__sotto.group.sendFile(new File([new Uint8Array(3000)], "plans.bin")));
  await ada.run(() => window.__sotto.group.say("Here they are."));
  await grace.until(() => window.__sotto.group.lines.length === 2, null, "the file and the line");
  await press(grace, "c");
  await shows("chat with a file", grace, ".chat .file button", "plans.bin");
  await press(ada, "u");
  await seen(ada, ".people-panel .digits");
  await ada.run(() => document.querySelector(".people-panel [aria-expanded]").click());
  await shows("people, and a person's code", ada, ".people-panel li .digits");
  await press(ada, "Escape");
  await press(ada, "s");
  await shows("statistics", ada, ".panel tbody", "×");
  await press(ada, "s");
  await press(ada, "?");
  await shows("keys", ada, "dialog.help");
  await press(ada, "Escape");

  const niels = await open({ autojoin: 1, w: 320, h: 180 }, secret);
  await seen(niels, ".leave");
  await niels.run(() => document.querySelector(".leave").click());
  await shows("left", niels, ".message h1", "You have left");
  await ada.run((connId) => window.__sotto.group.kick(connId), grace.connId);
  await shows("removed", grace, "[data-problem=kicked]");
  for (const page of [ada, grace, niels]) assert.deepEqual(await complaints(page), []);
  await server.stop();
  await shows("coming back", ada, ".banner .notice", "Coming back");
  for (const [rule, screens] of moderate) t.diagnostic(`less than serious: ${rule}: ${[...screens].join(", ")}`);
});
