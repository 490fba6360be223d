import assert from "node:assert/strict";
import test from "node:test";

import { headcount, isHidden, Roster } from "./roster.ts";

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
