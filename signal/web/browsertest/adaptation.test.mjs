// One short scenario of adaptation.mjs with bounds that a busy machine keeps too: does a viewer in Chromium follow a link that
// narrows and widens? `task test:long` measures the targets.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";

// `task browser` builds it, on Linux.
const impair = process.env.SOTTO_IMPAIR ?? new URL("../../../bin/impair", import.meta.url).pathname;

/** missing says what this machine lacks for a network of its own; "" is nothing. */
function missing() {
  if (process.platform !== "linux") return "the emulated network needs Linux";
  if (process.getuid() !== 0) return "the emulated network needs root, for network namespaces and TUN devices";
  const trial = spawnSync(impair, ["-hosts", "1", "true"], { encoding: "utf8" });
  if (trial.error) throw trial.error;
  return trial.status === 0 ? "" : `no emulated network: ${trial.stderr.trim()}`;
}

const lacks = missing();

test("a viewer follows a link that narrows and widens", { skip: lacks || false }, async (t) => {
  const run = spawn(impair, ["-hosts", "2", process.execPath, "adaptation.mjs", "--attempts", "3", "adaptation/smoke.json"], {
    cwd: new URL(".", import.meta.url), stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  for (const stream of [run.stdout, run.stderr]) stream.on("data", (d) => { out += d; });
  const [code] = await once(run, "close");
  t.diagnostic(out);
  assert.equal(code, 0, out);
});
