// Browsers and native participants in one encrypted group: who is in it decodes everybody, who is out decodes nothing.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { deadlineMs, launch } from "./browsers.mjs";
import { newSecret, roomLink } from "./link.mjs";
import { Native } from "./native.mjs";
import { complaints, enter, shoot, sleep } from "./room.mjs";
import { startSotto } from "./server.mjs";

// Frames wait half a second for their key: on a machine where pages pause for half of that, some are lost to waiting.
const lateMs = 250;

let server, chromium, firefox;
let natives = [];

before(async () => {
  // Firefox takes no media from 127.0.0.1.
  server = await startSotto("--media-listen", ":0");
  [chromium, firefox] = await Promise.all([launch("chromium"), launch("firefox")]);
});
afterEach(async () => {
  await Promise.all(natives.map((n) => n.end()));
  natives = [];
});
after(async () => {
  await chromium?.close();
  await firefox?.close();
  assert.equal(await server?.stop(), 0, "sotto dev must end cleanly");
});

function native(secret, name, ...flags) {
  const n = new Native(roomLink(server.page, secret).replace("?", ""), name, ...flags);
  natives.push(n);
  return n;
}

/** group is what a page knows of its group. */
function group(page) {
  return page.run(() => {
    const { state, epoch, isHost, locked, knock, members, knocks, lines } = window.__sotto.group;
    return { state, epoch, isHost, locked, knock, members, knocks, lines: lines.map(({ name, text }) => ({ name, text })) };
  });
}

/** code asks a page for the safety code of the group. */
async function code(page) {
  await page.run(() => window.__sotto.group.askCodes());
  return page.until(() => window.__sotto.group.codes?.group.digits, null, "the safety code");
}

/** settled waits until everybody is in one epoch with count members, and returns it. */
async function settled(pages, count) {
  const everybody = [...pages.map((p) => async () => group(p)), ...natives.map((n) => async () => n.membership)];
  const end = Date.now() + deadlineMs;
  let seen;
  while (Date.now() < end) {
    seen = await Promise.all(everybody.map((ask) => ask()));
    const [first] = seen;
    if (seen.every((m) => m?.state === "member" && m.members.length === count && m.epoch === first.epoch)) return first.epoch;
    await sleep(100);
  }
  assert.fail(`no common epoch of ${count}: ${JSON.stringify(seen.map((m) => m && [m.state, m.epoch, m.members.length]))}`);
}

/** decoded tells, for each person that a page should hear and see, how much it has decoded. */
function decoded(page, people) {
  return page.run(async (people) => {
    const stats = await window.__sotto.stats();
    return people.map(({ connId, source }) => {
      const mid = window.__sotto.midOf(connId, source);
      const s = stats.find((x) => x.type === "inbound-rtp" && x.mid === mid);
      if (!s) return 0;
      return source === "mic" ? (s.totalSamplesReceived ?? 0) - (s.concealedSamples ?? 0) : (s.framesDecoded ?? 0);
    });
  }, people);
}

/** everybodyDecodesEverybody: within the time each count of each pair has grown. */
async function everybodyDecodesEverybody(pages) {
  const people = [...pages.map((p) => ({ connId: p.connId, source: "mic" })), ...pages.map((p) => ({ connId: p.connId, source: "camera" })), ...natives.map((n) => ({ connId: n.connId, source: "mic" }))];
  const counts = async () => [
    ...(await Promise.all(pages.map(async (p) => {
      const others = people.filter((x) => x.connId !== p.connId);
      return (await decoded(p, others)).map((n, i) => [`page ${p.connId} of ${others[i].connId} ${others[i].source}`, n]);
    }))).flat(),
    ...natives.flatMap((n) => people.filter((x) => x.connId !== n.connId).map((x) => [`${n.name} of ${x.connId} ${x.source}`, n.opened(x.connId, x.source)])),
  ];
  const start = new Map(await counts());
  const end = Date.now() + deadlineMs;
  let still = [];
  while (Date.now() < end) {
    still = (await counts()).filter(([key, n]) => n <= (start.get(key) ?? 0)).map(([key]) => key);
    if (still.length === 0) return;
    await sleep(200);
  }
  assert.fail(`nothing new decoded: ${still.join("; ")}`);
}

/** undecryptable counts what could not be opened for want of a key, by who and why. */
async function undecryptable(pages) {
  const reasons = ["e2ee_no_key", "e2ee_auth_fail", "e2ee_hold_expired", "e2ee_hold_full"];
  const dropped = [
    ...(await Promise.all(pages.map(async (p) => [p.browser, await p.run(() => window.__sotto.workerStats?.dropped ?? {})]))),
    ...natives.map((n) => [n.name, n.stats?.dropped ?? {}]),
  ];
  return Object.fromEntries(dropped.flatMap(([who, counts]) => reasons.map((r) => [`${who} ${r}`, counts[r] ?? 0])));
}

/** notePauses makes a page note how long it did nothing at all: what came meanwhile, keys too, was late. */
function notePauses(page) {
  return page.run(() => {
    let last = performance.now();
    window.testPause = 0;
    setInterval(() => {
      const now = performance.now();
      window.testPause = Math.max(window.testPause, now - last);
      last = now;
    }, 20);
  });
}

test("a room of 8: joins, a leave, a reload, a kick", async (t) => {
  const secret = newSecret();
  const ada = await enter(chromium, server, secret, { name: "Ada", w: 640, h: 360 });
  await ada.until(() => window.__sotto.group.state === "member", null, "membership of the first");
  assert.ok((await group(ada)).isHost, "who founds the room is its host");
  const bea = await enter(firefox, server, secret, { name: "Bea", w: 640, h: 360 });
  for (const name of ["Nan 1", "Nan 2"]) native(secret, name, "--audio");
  await settled([ada, bea], 4);
  await everybodyDecodesEverybody([ada, bea]);

  // Nobody who is present misses a frame while others join.
  await sleep(2500); // the statistics of the workers come every 2 s
  const before = await undecryptable([ada, bea]);
  for (const page of [ada, bea]) await notePauses(page);
  const present = [...natives];
  for (const name of ["Nan 3", "Nan 4", "Nan 5", "Nan 6"]) native(secret, name, "--audio");
  await settled([ada, bea], 8);
  await everybodyDecodesEverybody([ada, bea]);
  await sleep(2500);
  const newcomers = natives.splice(2);
  const missed = Object.entries(await undecryptable([ada, bea])).filter(([what, n]) => n !== before[what]).map(([what, n]) => `${what} ${n - before[what]}`);
  const pauses = await Promise.all([ada, bea].map((page) => page.run(() => Math.round(window.testPause))));
  t.diagnostic(`while four people joined: the pages paused for ${pauses.join(" and ")} ms at most, frames that could not be opened: ${missed.join(", ") || "none"}`);
  // What a page could not take in time is no fault of the group's; a frame that does not open with its key is.
  assert.deepEqual(missed.filter((what) => Math.max(...pauses) < lateMs || !what.includes("hold_")), []);
  natives.push(...newcomers);
  assert.equal(natives.length, present.length + 4);

  const codes = new Set([await code(ada), await code(bea), ...natives.map((n) => n.membership.code)]);
  assert.equal(codes.size, 1, `safety codes ${[...codes].join(", ")}`);
  t.diagnostic(`safety code of 8: ${[...codes][0]}`);

  // What is said reaches everybody, under the right name.
  await ada.run(() => window.__sotto.group.say("hello everybody"));
  natives[0].tell("say hello from a terminal");
  await bea.until(() => window.__sotto.group.lines.length === 2, null, "both lines");
  assert.deepEqual((await group(bea)).lines.map((l) => `${l.name}: ${l.text}`).sort(), ["Ada: hello everybody", "Nan 1: hello from a terminal"]);
  await natives[5].until((n) => n.events.some((e) => e.event === "chat" && e.text === "hello everybody"), "chat");

  // One leaves.
  const epoch = (await group(ada)).epoch;
  assert.equal(await natives.pop().leave(), 0);
  assert.ok((await settled([ada, bea], 7)) > epoch, "a leave begins a new epoch");
  await everybodyDecodesEverybody([ada, bea]);

  // One reloads: the same person, nobody is asked.
  const fingerprint = (await group(ada)).members.find((m) => m.connId === bea.connId).fingerprint;
  const old = bea.connId;
  await bea.run(() => void setTimeout(() => location.reload()));
  bea.connId = await bea.until((old) => {
    const id = window.__sotto?.connectionState() === "connected" ? window.__sotto.connId() : "";
    return id !== "" && id !== old && id;
  }, old, "the call after the reload");
  await settled([ada, bea], 7);
  assert.equal((await group(ada)).members.find((m) => m.connId === bea.connId)?.fingerprint, fingerprint, "a reload keeps the identity");
  await everybodyDecodesEverybody([ada, bea]);

  // One is removed.
  const out = natives.pop();
  const left = (await group(ada)).epoch;
  await ada.run((connId) => window.__sotto.group.kick(connId), out.connId);
  await out.exited;
  assert.match(out.errors, /kicked/);
  assert.ok((await settled([ada, bea], 6)) > left);
  await everybodyDecodesEverybody([ada, bea]);
  const after = new Set([await code(ada), await code(bea), ...natives.map((n) => n.membership.code)]);
  assert.equal(after.size, 1);
  assert.ok(!after.has([...codes][0]), "the code is of another epoch");

  await shoot(ada, "group-chromium");
  for (const page of [ada, bea]) {
    assert.deepEqual(await complaints(page), []);
    await page.close();
  }
});

test("a knock is answered by a person, a locked room opens for nobody", async () => {
  const secret = newSecret();
  const ada = await enter(chromium, server, secret, { name: "Ada", w: 320, h: 180 });
  await ada.until(() => window.__sotto.group.state === "member", null, "membership");
  await ada.run(() => window.__sotto.group.setPolicy(false, true));
  await ada.until(() => window.__sotto.group.knock, null, "the policy");

  const guest = native(secret, "Guest", "--audio");
  await ada.until(() => window.__sotto.group.knocks.length === 1, null, "the knock");
  assert.equal((await group(ada)).knocks[0].name, "Guest");
  await sleep(1500);
  assert.equal(guest.membership.state, "waiting", "nobody is let in by a clock");
  await ada.run(() => document.querySelector(".knocks .primary").click());
  await settled([ada], 2);
  await everybodyDecodesEverybody([ada]);

  await ada.run(() => window.__sotto.group.setPolicy(true, false));
  await guest.until((n) => n.membership.locked, "the lock");
  const late = native(secret, "Late", "--audio");
  await late.until((n) => n.membership, "the room");
  await sleep(4000);
  assert.equal(late.membership.state, "waiting");
  assert.equal(late.stats?.opened ?? 0, 0, "who is not let in opens nothing");
  await ada.close();
});

test("a file goes from one browser to the other", async () => {
  const secret = newSecret();
  const ada = await enter(chromium, server, secret, { name: "Ada", w: 320, h: 180 });
  const bea = await enter(firefox, server, secret, { name: "Bea", w: 320, h: 180 });
  await settled([ada, bea], 2);
  await ada.run(() => {
    const bytes = new Uint8Array(200_000).map((_, i) => i * 7);
    void window.__sotto.group.sendFile(new File([bytes], "numbers.bin"));
  });
  await bea.until(() => window.__sotto.group.lines[0]?.file?.state === "offered", null, "the offer");
  const digest = await bea.run(async () => {
    // Where it would be saved, look at it instead.
    const saved = new Promise((resolve) => {
      URL.createObjectURL = (blob) => {
        resolve(blob);
        return "#";
      };
    });
    const [line] = window.__sotto.group.lines;
    void window.__sotto.group.openFile(line);
    const blob = await saved;
    const bytes = new Uint8Array(await blob.arrayBuffer());
    return { size: bytes.length, right: bytes.every((b, i) => b === ((i * 7) & 0xff)), type: blob.type };
  });
  assert.deepEqual(digest, { size: 200_000, right: true, type: "application/octet-stream" });
  await ada.close();
  await bea.close();
});

test("a new link: the old one is no longer good", async () => {
  const secret = newSecret();
  const ada = await enter(chromium, server, secret, { name: "Ada", w: 320, h: 180 });
  const bea = await enter(firefox, server, secret, { name: "Bea", w: 320, h: 180 });
  await settled([ada, bea], 2);
  const path = await ada.run(() => location.pathname);
  await ada.run(() => window.__sotto.group.rotate());
  await ada.until((path) => location.pathname !== path, path, "the new room id");
  await bea.until((path) => location.pathname !== path, path, "the new room id");
  assert.equal(await ada.run(() => location.pathname), await bea.run(() => location.pathname));

  const late = await chromium.open(roomLink(server.page, secret, { autojoin: 1 }));
  await late.until(() => document.querySelector("[data-problem=link_replaced]") !== null, null, "the refusal of the old link");
  await late.close();

  const room = await ada.run(() => JSON.parse(sessionStorage.getItem("sotto.room")));
  const cyd = new Native(`${server.page}/r/${room.roomId}#${room.secret}`, "Cyd", "--audio");
  natives.push(cyd);
  await settled([ada, bea], 3);
  await everybodyDecodesEverybody([ada, bea]);
  await ada.close();
  await bea.close();
});
