// A call by Tab, Enter and Escape alone: where the focus is can be seen, closing gives it back, and what happens is said.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch } from "./browsers.mjs";
import { roomLink } from "./link.mjs";
import { complaints, enter } from "./room.mjs";
import { startSotto } from "./server.mjs";

let server, chromium;

before(async () => {
  server = await startSotto();
  chromium = await launch("chromium");
});
after(async () => {
  await chromium?.close();
  assert.equal(await server?.stop(), 0, "sotto dev must end cleanly");
});

/** focused is what a person at the keyboard is told and sees of the element with the focus; null when the browser's own part has it. */
function focused(page) {
  return page.run(() => {
    const at = document.activeElement;
    if (at === document.body) return null;
    const { outlineStyle, outlineWidth } = getComputedStyle(at);
    return { name: (at.ariaLabel ?? at.textContent).trim(), seen: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 };
  });
}

/** tabTo presses Tab until the element of that name has the focus; each one on the way shows that it has it. */
async function tabTo(page, name) {
  const passed = [];
  for (let i = 0; i < 40; i++) {
    await page.page.keyboard.press("Tab");
    const at = await focused(page);
    if (!at) continue;
    assert.ok(at.seen, `${at.name} has the focus and does not show it`);
    if (at.name === name) return;
    passed.push(at.name);
  }
  assert.fail(`Tab does not lead to ${name}, but to ${[...new Set(passed)].join(", ")}`);
}

/** listen notes what a screen reader is told. */
const listen = (page) => page.run(() => {
  window.testSaid = [];
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes) for (const { textContent } of addedNodes) window.testSaid.push(textContent);
  }).observe(document.querySelector("#announce"), { childList: true });
});
const said = (page, text) => page.until((text) => window.testSaid.includes(text), text, `"${text}" is said`);

test("a call by keyboard alone", async (t) => {
  const ada = await chromium.open(`${server.page}/?w=640&h=360`);
  const press = (key) => ada.page.keyboard.press(key);
  const heading = () => ada.run(() => document.activeElement.matches("h1") ? document.activeElement.textContent : "");
  await listen(ada);

  await t.test("from the start page into the room", async () => {
    await tabTo(ada, "New room");
    await press("Enter");
    await ada.until(() => document.querySelector(".preview video")?.videoWidth > 0, null, "the preview");
    assert.equal(await heading(), "Your room is open");
    await tabTo(ada, "Join");
    await press("Enter");
    await said(ada, "You are in the room");
  });

  const { roomId, secret } = await ada.run(() => JSON.parse(sessionStorage.getItem("sotto.room")));
  const link = Buffer.from(secret, "base64url");
  assert.ok(roomLink(server.page, link).includes(roomId));
  const grace = await enter(chromium, server, link, { name: "Grace", source: "canvas", w: 320, h: 180 });
  await grace.until(() => window.__sotto.group.state === "member", null, "the group");
  await ada.page.bringToFront();

  await t.test("who comes, raises a hand and writes is told of", async () => {
    await said(ada, "Grace joined");
    await grace.run(() => window.__sotto.group.raiseHand(true));
    await said(ada, "Grace raised a hand");
    await grace.run(() => window.__sotto.group.say("Hello."));
    await said(ada, "New in the chat");
  });

  await t.test("the microphone", async () => {
    await tabTo(ada, "Mute");
    await press("Enter");
    await said(ada, "Microphone off");
    await grace.until(() => [...document.querySelectorAll(".tile .muted")].some((m) => !m.hidden), null, "the mute state");
    await press("Enter");
    await said(ada, "Microphone on");
  });

  for (const [name, panel] of [["People", ".people-panel"], ["Chat, 1 new", ".chat"], ["Statistics", "[aria-label=Statistics].panel"], ["Keys", "dialog.help"]]) {
    await t.test(`${name}: opens, takes the focus, gives it back`, async () => {
      await tabTo(ada, name);
      await press("Enter");
      const within = await ada.run((panel) => document.querySelector(panel).checkVisibility() && document.querySelector(panel).contains(document.activeElement), panel);
      assert.ok(within, "the focus is in the panel");
      await press("Tab");
      assert.ok((await focused(ada))?.seen ?? true);
      await press("Escape");
      assert.equal(await ada.run((panel) => document.querySelector(panel).checkVisibility(), panel), false, "Escape closes it");
      const back = await focused(ada);
      assert.equal(back.name, name.replace(", 1 new", ""));
      assert.ok(back.seen);
    });
  }

  await t.test("who goes is told of; warnings interrupt; leaving", async () => {
    await grace.run(() => document.querySelector(".leave").click());
    await said(ada, "Grace left");
    const role = await ada.run(() => { // at once: it comes back soon
      window.__sotto.breakMedia();
      return document.querySelector("[data-problem=media_lost]")?.role;
    });
    assert.equal(role, "alert");
    await tabTo(ada, "Leave");
    await press("Enter");
    await ada.until(() => document.querySelector(".message") !== null, null, "the farewell");
    assert.equal(await heading(), "You have left");
    assert.deepEqual(await complaints(ada), []);
  });
});
