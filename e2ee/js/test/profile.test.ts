// Names: what may be one.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { acceptName, cleanName } from "../src/profile.ts";

const names = JSON.parse(readFileSync("../testdata/names.json", "utf8")) as { accepted: string[]; refused: string[] };

test("names are judged as in Go", () => {
  for (const name of names.accepted) assert.equal(acceptName(name), name, JSON.stringify(name));
  for (const name of names.refused) assert.equal(acceptName(name), null, JSON.stringify(name));
});

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
  for (const blank of ["\u200d", "\u3164", "\u2800 \u3164", `${"\u3164".repeat(30)}Ada`]) assert.equal(cleanName(blank), "");
});
