import assert from "node:assert/strict";
import test from "node:test";

import { headcount, isHidden, needsTag, Roster } from "./roster.ts";

test("a member of the group whom the service does not list is counted and told apart", () => {
  const roster = new Roster();
  roster.meet([{ connId: "a", leaf: 1, tracks: [] }, { connId: "b", leaf: 2, tracks: [] }], true);
  const me = { connId: "me", self: true };
  const [a, hidden] = [{ connId: "a", self: false }, { connId: "x", self: false }];
  assert.equal(headcount(roster.all(), [me, a]), 3); // b waits for the group
  assert.equal(headcount(roster.all(), [me, a, hidden]), 4);
  assert.equal(headcount([], [me, hidden]), 2);
  assert.equal(headcount([], []), 1);
  assert.deepEqual([me, a, hidden].map((g) => isHidden(roster.all(), g)), [false, false, true]);
});

test("a name that could be taken for somebody else's is shown with the key", () => {
  for (const name of ["You", "you", "YOU (host)", "Ｙou", "Yo\u200du", "Guest 2"]) assert.ok(needsTag({ name, known: "new" }), name);
  for (const name of ["Ada", "Young", "Youssef", ""]) assert.ok(!needsTag({ name, known: "known" }), name);
  const roster = new Roster();
  roster.meet([{ connId: "a", leaf: 1, tracks: [] }], true);
  const ada = { connId: "a", name: "Ada", host: false, self: false, fingerprint: "f00", known: "name_conflict" } as const;
  assert.ok(roster.setGroup([ada]));
  assert.equal(roster.all()[0]?.tag, "f00");
  assert.ok(roster.setGroup([{ ...ada, known: "verified" }]));
  assert.equal(roster.all()[0]?.tag, "");
});
