// Engines with the membership machine as WebAssembly: who gets in, which frames
// open, what is heard.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Bytes } from "../src/encoding.ts";
import { parseFrame, vp8 } from "../src/frame.ts";
import { FakeTransform, frame, toHex, World, type Participant } from "./fixtures.ts";

const plain = (text: string): Bytes => new TextEncoder().encode("\x01" + text) as Bytes;

async function protect(send: FakeTransform, ...texts: string[]): Promise<Bytes[]> {
  for (const t of texts) send.put(frame("video/VP8", plain(t)));
  return send.take(texts.length);
}

test("two people meet: created, joined, chat, frames", async () => {
  const { world, people } = await World.of("Alice", "Bob");
  const [alice, bob] = people as [Participant, Participant];
  assert.deepEqual(alice.names(), ["Alice", "Bob"]);
  assert.deepEqual(bob.names(), ["Alice", "Bob"]);
  assert.equal(alice.membership().isHost, true);
  assert.equal(bob.membership().isHost, false);
  assert.equal(alice.membership().epoch, bob.membership().epoch);
  assert.deepEqual(bob.membership().members.map((m) => [m.name, m.host, m.self]), [["Alice", true, false], ["Bob", false, true]]);
  assert.equal(bob.state(alice.connId), "encrypted");

  await alice.handle({ type: "app", kind: "chat", body: { id: "1", text: "hello" } });
  await alice.handle({ type: "app", kind: "hand", body: { raised: true } });
  await world.settle();
  assert.deepEqual(bob.heard(), [
    { type: "app", connId: alice.connId, kind: "chat", body: { id: "1", text: "hello" } },
    { type: "app", connId: alice.connId, kind: "hand", body: { raised: true } },
  ]);

  await bob.handle({ type: "slots", slots: [{ mid: "0", connId: alice.connId, source: "camera" }] });
  const send = new FakeTransform(alice, { side: "send", source: "camera" });
  const receive = new FakeTransform(bob, { side: "receive", mid: "0" });
  for (const data of await protect(send, "a", "b")) receive.put(frame("video/VP8", data));
  assert.deepEqual((await receive.take(2)).map(toHex), [plain("a"), plain("b")].map(toHex));
});

test("frames pass from epoch to epoch, and the departed derive no later key", async () => {
  const { world, people } = await World.of("Alice", "Bob");
  const [alice, bob] = people as [Participant, Participant];
  await bob.handle({ type: "slots", slots: [{ mid: "0", connId: alice.connId, source: "camera" }] });
  const send = new FakeTransform(alice, { side: "send", source: "camera" });
  const receive = new FakeTransform(bob, { side: "receive", mid: "0" });
  const kids = new Map<number, Set<number>>();
  let texts = 0;
  const pass = async (): Promise<void> => {
    const text = `${texts++}`;
    const [data] = await protect(send, text);
    const { kid, ctr } = parseFrame(vp8, data!)!;
    const used = kids.get(kid) ?? new Set();
    assert.ok(!used.has(ctr), "a counter came twice");
    kids.set(kid, used.add(ctr));
    receive.put(frame("video/VP8", data!, 3000 * texts));
    assert.deepEqual((await receive.take(1)).map(toHex), [toHex(plain(text))], `frame ${text}`);
  };
  await pass();
  const carol = await world.participant("Carol");
  await world.enter(carol);
  for (let i = 0; i < 60; i++) {
    await pass();
    await world.advance(50);
  }
  assert.deepEqual(alice.names(), ["Alice", "Bob", "Carol"]);
  assert.deepEqual(carol.names(), ["Alice", "Bob", "Carol"]);
  const before = alice.membership().epoch;
  assert.ok(kids.size >= 2, "the epoch has changed under way");

  await world.leave(carol);
  for (let i = 0; i < 60; i++) {
    await pass();
    await world.advance(50);
  }
  assert.deepEqual(alice.names(), ["Alice", "Bob"]);
  assert.equal(alice.membership().epoch, before + 1);
  assert.equal(bob.sums().dropped.e2ee_auth_fail, undefined);

  // Carol has every envelope up to her leaving, and the link.
  await carol.handle({ type: "slots", slots: [{ mid: "0", connId: alice.connId, source: "camera" }] });
  const listening = new FakeTransform(carol, { side: "receive", mid: "0" });
  const [later] = await protect(send, "later");
  listening.put(frame("video/VP8", later!));
  assert.deepEqual(await listening.end(), []);
});

test("four people join at once and one after the other leaves", async () => {
  const world = new World();
  const people: Participant[] = [];
  for (const name of ["A", "B", "C", "D"]) people.push(await world.participant(name));
  for (const p of people) await world.enter(p);
  await world.until(() => people.every((p) => p.of("membership").at(-1)?.members.length === 4));
  assert.equal(new Set(people.map((p) => p.membership().epoch)).size, 1);
  for (let left = people.pop(); people.length > 0; left = people.pop()) {
    await world.leave(left!);
    await world.until(() => people.every((p) => p.membership().members.length === people.length));
  }
});

test("codes are equal, and differ after a change", async () => {
  const { world, people } = await World.of("Alice", "Bob");
  const codes = async (p: Participant) => {
    const before = p.of("codes").length;
    await p.handle({ type: "codes" });
    while (p.of("codes").length === before) await new Promise((r) => setTimeout(r, 5));
    return p.last("codes");
  };
  const [alice, bob] = people as [Participant, Participant];
  const [a, b] = [await codes(alice), await codes(bob)];
  assert.deepEqual(a.group, b.group);
  assert.deepEqual(a.persons[0]!.code, b.persons[0]!.code);
  const carol = await world.participant("Carol");
  await world.enter(carol);
  await world.until(() => alice.membership().members.length === 3);
  assert.notDeepEqual((await codes(alice)).group, a.group);
});
