// Who is taken for whom: trust on first use.

import assert from "node:assert/strict";
import { test } from "node:test";
import { People, type Contact } from "../src/people.ts";
import { memoryStorage } from "../src/storage.ts";

test("a name that looks like one of another key is a conflict", async () => {
  const people = await People.load(memoryStorage().store<Contact>("people"), true);
  assert.equal(people.meet("a", "Alice", 1), "new");
  for (const [i, name] of ["Alice", "ALICE", "Ａlice", "Ali\u200dce", "Alice\u034f", "Alice\ufe0f", "Alice\u3164"].entries()) {
    assert.equal(people.meet(`b${i}`, name, 2), "name_conflict", JSON.stringify(name));
  }
  assert.equal(people.meet("c", "Alicia", 3), "new");
  assert.equal(people.meet("a", "Alice", 4), "new"); // for this meeting
});

test("those who were verified stay, however many others come", async () => {
  const storage = memoryStorage();
  const people = await People.load(storage.store<Contact>("people"), true);
  for (let i = 0; i < 2000; i++) {
    people.meet(`v${i}`, `Friend ${i}`, i);
    people.verify(`v${i}`, `Friend ${i}`, true, i);
  }
  for (let i = 0; i < 50; i++) people.meet(`u${i}`, `Stranger ${i}`, 5000 + i);
  const later = await People.load(storage.store<Contact>("people"), true);
  assert.equal(later.look("v0", "Friend 0"), "verified");
  assert.equal(later.look("x", "Friend 0"), "name_conflict");
  assert.equal((await storage.store<Contact>("people").all()).length, 2000);
});

test("who only knocks is not met, and takes no name", async () => {
  const storage = memoryStorage();
  const people = await People.load(storage.store<Contact>("people"), true);
  people.meet("a", "Alice", 1);
  assert.equal(people.look("x", "Alice"), "name_conflict");
  assert.equal(people.look("x", "Bob"), "new");
  assert.equal(people.meet("b", "Bob", 2), "new");
  const later = await People.load(storage.store<Contact>("people"), true);
  assert.equal(later.look("x", "Carol"), "new");
  assert.equal(later.look("b", "Bob"), "known");
});
