// Names: what may be one, and who hears it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { acceptName, cleanName } from "../src/profile.ts";
import { join, relay, room, TestEngine } from "./fixtures.ts";

test("a name is shown as it came or not at all", () => {
  for (const name of ["Ada", "Åsa Öberg", "李小龍", "محمد", "👩‍🚀 Sally", "x".repeat(64)]) assert.equal(acceptName(name), name, name);
  for (const name of [
    "", " Ada", "Ada ", "Ada\n", "A\u0000da", "A\u202eda", "\u2066Ada", "A\u200bda", "\ufeffAda", "Ada\u2028",
    "\u00e5".normalize("NFD"), "x".repeat(65), "é".repeat(33), "\ud800", 7, null, undefined, {}, ["Ada"],
  ]) {
    assert.equal(acceptName(name), null, JSON.stringify(name));
  }
});

test("what a person types becomes a name", () => {
  assert.equal(cleanName("  Ada\tL. "), "Ada L.");
  assert.equal(cleanName("A\u202eda\u0007"), "Ada");
  assert.equal(cleanName("\u00e5".normalize("NFD")), "å");
  assert.equal(cleanName("\u200b \u2028"), "");
  const long = cleanName("é".repeat(100));
  assert.equal(long, "é".repeat(32));
  assert.doesNotThrow(() => encodeURIComponent(cleanName("👩‍🚀".repeat(20)))); // no half of a character
  assert.equal(cleanName("a\u200b\u0301"), "á");
  assert.equal(cleanName("\u200d"), "");
});

const nameOf = (viewer: TestEngine, of: TestEngine): string | undefined => viewer.of("profile").filter((m) => m.connId === of.connId).at(-1)?.name;

test("those in the room and those who come later hear a name, and a new one", async () => {
  const [alice, bob] = (await room(2)) as [TestEngine, TestEngine];
  await alice.handle({ type: "profile", name: "Alice" });
  await relay([alice, bob]);
  assert.equal(nameOf(bob, alice), "Alice");
  const carol = new TestEngine();
  await carol.handle({ type: "init", secret: alice.linkSecret, host: "meet.example" });
  await carol.handle({ type: "profile", name: "Carol" });
  await join([alice, bob], carol, 2);
  assert.equal(nameOf(carol, alice), "Alice");
  assert.equal(nameOf(carol, bob), undefined);
  assert.equal(nameOf(alice, carol), "Carol");
  await alice.handle({ type: "profile", name: "Alice B." });
  await relay([alice, bob, carol]);
  assert.equal(nameOf(carol, alice), "Alice B.");
});

test("a name that is none is refused and counted", async () => {
  const [alice, bob] = (await room(2)) as [TestEngine, TestEngine];
  const session = (alice as unknown as { session: { send: (to: null, type: number, body: object) => Promise<void> } }).session;
  for (const body of [{}, { name: 5 }, { name: "" }, { name: "A\u202eda" }]) await session.send(null, 3, body);
  for (const data of alice.takeEnvelopes()) await bob.handle({ type: "envelope", data });
  assert.equal(bob.dropped("envelope_refused"), 4);
  assert.equal(nameOf(bob, alice), undefined);
});
